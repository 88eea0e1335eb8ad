package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// kept is a writer that the test may look into.
type kept struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(p)
}

// A log whose space is given back is read to its last byte all the same, and its end can still be looked at.
func TestALogThatIsSpentLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n1.log")
	var to kept
	f := follow(path, &to, true)
	var want bytes.Buffer
	for i := 0; want.Len() < 6*keepBytes; i++ {
		log, err := appendTo(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			i++
			line := fmt.Sprintf("line %d %s\n", i, bytes.Repeat([]byte("x"), 400))
			want.WriteString(line)
			if _, err := log.WriteString(line); err != nil {
				t.Fatal(err)
			}
		}
		log.Close()
	}
	if err := f.finish(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(to.b.Bytes(), want.Bytes()) {
		t.Fatalf("%d bytes were read, and they are not the %d that were written", to.b.Len(), want.Len())
	}
	if tail := tailOf(path, 0); len(tail) == 0 || !bytes.HasSuffix(want.Bytes(), tail) {
		t.Errorf("the end reads as %q", tail)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() != int64(want.Len()) {
		t.Errorf("the file has %d bytes", st.Size())
	}
	if used := st.Sys().(*syscall.Stat_t).Blocks * 512; runtime.GOOS == "linux" && f.spend && used > keepBytes+spendBytes+1<<20 {
		t.Errorf("the file takes %d bytes of the disk", used)
	}
}
