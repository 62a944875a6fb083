package pki

import (
	"math/big"
	"slices"
	"sync"
	"testing"
)

// TestSieve compares with a test of each number by itself: what the sieve drops
// has a small factor, what it leaves has none.
func TestSieve(t *testing.T) {
	for name, start := range map[string]*big.Int{
		"one word":       big.NewInt(1<<40 + 1),
		"multiple":       product(3, 5, 7, 131071, 1<<20+7),
		"rest 1 of many": new(big.Int).Add(new(big.Int).MulRange(1, 2000), big.NewInt(1)),
		"random":         rsaStart(1536),
	} {
		t.Run(name, func(t *testing.T) {
			const n = 200
			var want []int
			for i := range n {
				if !smallFactor(new(big.Int).Add(start, big.NewInt(2*int64(i)))) {
					want = append(want, i)
				}
			}
			if got := sieve(start, n); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func product(factors ...int64) *big.Int {
	x := big.NewInt(1)
	for _, f := range factors {
		x.Mul(x, big.NewInt(f))
	}
	return x
}

// smallFactor tells of a factor below the bound by one division, not by sieving.
func smallFactor(x *big.Int) bool {
	return new(big.Int).GCD(nil, nil, x, smallOdd()).Cmp(big.NewInt(1)) != 0
}

var smallOdd = sync.OnceValue(func() *big.Int {
	x := big.NewInt(1)
	for p := int64(3); p < sieveBound; p += 2 {
		if big.NewInt(p).ProbablyPrime(0) {
			x.Mul(x, big.NewInt(p))
		}
	}
	return x
})

func TestRSAKey(t *testing.T) {
	for _, size := range []int{1024, 2048, 2049, 3072} {
		key, err := newRSAKey(size)
		if err != nil {
			t.Fatal(err)
		}
		if key.N.BitLen() != size || key.E != 65537 || len(key.Primes) != 2 {
			t.Errorf("asked for %d bits: got %d, exponent %d, %d primes", size, key.N.BitLen(), key.E, len(key.Primes))
		}
		for _, p := range key.Primes {
			if !p.ProbablyPrime(20) || p.Bit(p.BitLen()-2) != 1 {
				t.Errorf("%v is no prime for a key of %d bits", p, size)
			}
		}
	}
}

// TestRSAKeyExponent: primes that do not go with the exponent make no key.
func TestRSAKeyExponent(t *testing.T) {
	p := new(big.Int).Add(big.NewInt(2*rsaExponent), big.NewInt(1))
	for !p.ProbablyPrime(10) {
		p.Add(p, big.NewInt(2*rsaExponent))
	}
	if key := rsaKeyOf(p, rsaPrime(512)); key != nil {
		t.Errorf("a key of the prime %v", p)
	}
}

// TestRSAPrimeSpread: starts are drawn anew, so primes do not come again.
func TestRSAPrimeSpread(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		p := rsaPrime(128).String()
		if seen[p] {
			t.Fatalf("%s twice", p)
		}
		seen[p] = true
	}
}

func BenchmarkRSAKey(b *testing.B) {
	for b.Loop() {
		if _, err := newRSAKey(3072); err != nil {
			b.Fatal(err)
		}
	}
}
