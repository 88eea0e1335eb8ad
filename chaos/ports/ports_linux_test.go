package ports

import "testing"

func TestAReservedPortIsNotReservedAgain(t *testing.T) {
	chosen, err := Choose(1)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := reserve(chosen[0].Number); err == nil {
		p.Release()
		t.Error("a reserved port was reserved again")
	}
	chosen[0].Release()
	p, err := reserve(chosen[0].Number)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	p.Release()
}
