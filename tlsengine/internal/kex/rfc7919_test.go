package kex

import (
	"crypto/rand"
	"math/big"
	"testing"

	"virtls/tlsengine/internal/wire"
)

// The primes of RFC 7919 are p = 2^b - 2^(b-64) + (floor(2^(b-130) e) + X) 2^64 - 1
// (appendix A), and private keys have at least twice the bits of the group's
// strength (appendix A and section 5.2).
func TestRFC7919(t *testing.T) {
	for _, tt := range []struct {
		g        wire.Group
		bits     uint
		x        int64
		exponent int
	}{
		{wire.FFDHE2048, 2048, 560316, 225}, {wire.FFDHE3072, 3072, 2625351, 275}, {wire.FFDHE4096, 4096, 5736041, 325},
		{wire.FFDHE6144, 6144, 15705020, 375}, {wire.FFDHE8192, 8192, 10965728, 400},
	} {
		one := big.NewInt(1)
		p := new(big.Int).Sub(new(big.Int).Lsh(one, tt.bits), new(big.Int).Lsh(one, tt.bits-64))
		middle := new(big.Int).Add(euler(tt.bits-130), big.NewInt(tt.x))
		p.Add(p, middle.Lsh(middle, 64)).Sub(p, one)
		got, ok := Parameters(tt.g)
		if !ok || got.Prime.Cmp(p) != 0 || got.Generator.Int64() != 2 {
			t.Errorf("%s has another prime or generator", tt.g)
		}
		x, err := newNamed(int(tt.bits), rand.Reader)
		must(t, err)
		if n := 8 * len(x.(*finite).x); n < tt.exponent || n > tt.exponent+128 {
			t.Errorf("%s: private keys of %d bits, want %d", tt.g, n, tt.exponent)
		}
	}
}

// euler returns floor(2^shift e), with 100 bits more while it is summed up.
func euler(shift uint) *big.Int {
	term := new(big.Int).Lsh(big.NewInt(1), shift+100)
	sum := new(big.Int)
	for k := int64(1); term.Sign() > 0; k++ {
		sum.Add(sum, term)
		term.Quo(term, big.NewInt(k))
	}
	return sum.Rsh(sum, 100)
}
