package checkers

// digest is FNV-1a over what tells things apart, by value, so that nothing is allocated for it: each applied entry of a night is hashed on each node.
type digest uint64

func newDigest() digest { return 0xcbf29ce484222325 }

func (d digest) byte(b byte) digest { return (d ^ digest(b)) * 0x100000001b3 }

func (d digest) number(n uint64) digest {
	for range 8 {
		d = d.byte(byte(n))
		n >>= 8
	}
	return d
}

// word takes a string and its end, so that no two words give what two others do.
func (d digest) word(s string) digest {
	for i := range len(s) {
		d = d.byte(s[i])
	}
	return d.number(uint64(len(s)))
}

func (d digest) sum() uint64 { return uint64(d) }
