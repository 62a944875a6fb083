package pki

import (
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"math/bits"
	"sync"
)

const (
	rsaExponent = 65537
	sieveBound  = 1 << 17 // numbers with a factor below it are not tested for primality
	sieveWindow = 8       // odd numbers that are sieved at once, per bit: 23 times the mean distance of two primes
)

// newRSAKey makes an RSA key of so many bits. crypto/rsa draws every candidate
// for a prime anew and divides it by the primes up to 1619; this looks from one
// random number on, so that it can sieve by the primes up to 2^17, and has a
// third fewer exponentiations to do. Primes after long gaps are likelier so,
// which costs less than one bit of entropy (Brandt and Damgård, "On generation
// of probable primes by incremental search", 1992). FIPS 186-5 does not have
// this search: where Go's FIPS mode is on, crypto/rsa makes the key.
func newRSAKey(size int) (*rsa.PrivateKey, error) {
	if fips140.Enabled() {
		return rsa.GenerateKey(rand.Reader, size)
	}
	for {
		key := rsaKeyOf(rsaPrime((size+1)/2), rsaPrime(size/2))
		if key == nil {
			continue // e divides p-1 or q-1: once in 30,000 keys
		}
		key.Precompute()
		// The distance of the primes, the size of d and a signature are judged here.
		return key, key.Validate()
	}
}

// rsaKeyOf returns the key of two primes, nil if the exponent does not go with
// them. As FIPS 186-5, A.1.1 has it, d is the inverse modulo lcm(p-1, q-1).
func rsaKeyOf(p, q *big.Int) *rsa.PrivateKey {
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	gcd := new(big.Int).GCD(nil, nil, p1, q1)
	lcm := p1.Mul(p1.Div(p1, gcd), q1)
	d := new(big.Int).ModInverse(big.NewInt(rsaExponent), lcm)
	if d == nil {
		return nil
	}
	return &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: rsaExponent},
		D:         d,
		Primes:    []*big.Int{p, q},
	}
}

// rsaPrime returns a prime of so many bits whose two highest are set, so that
// the product of two has all of its bits.
func rsaPrime(size int) *big.Int {
	for {
		start := rsaStart(size)
		for _, i := range sieve(start, sieveWindow*size) {
			p := new(big.Int).Add(start, big.NewInt(2*int64(i)))
			// Five rounds of Miller-Rabin are what FIPS 186-5, B.3 wants of numbers of 476
			// bits and more that nobody chose; Baillie-PSW comes with them.
			if p.ProbablyPrime(5) && p.BitLen() == size {
				return p
			}
		}
	}
}

func rsaStart(size int) *big.Int {
	b := make([]byte, (size+7)/8)
	rand.Read(b)
	start := new(big.Int).SetBytes(b)
	start.Rsh(start, uint(len(b)*8-size))
	for _, bit := range []int{size - 1, size - 2, 0} {
		start.SetBit(start, bit, 1)
	}
	return start
}

// sieve returns the i in order, below n, for which start + 2i has no small
// factor. Start is odd and above sieveBound.
func sieve(start *big.Int, n int) []int {
	composite := make([]bool, n)
	for _, g := range smallPrimes() {
		rest := modWord(start, g.product)
		for _, p := range g.primes {
			// The first i with start + 2i = 0 modulo p: half of -start.
			i := p - uint(rest%uint64(p))
			if i%2 == 1 {
				i += p
			}
			for i = i / 2 % p; i < uint(n); i += p {
				composite[i] = true
			}
		}
	}
	var left []int
	for i, c := range composite {
		if !c {
			left = append(left, i)
		}
	}
	return left
}

// primeGroup are primes whose product fits into 64 bits: a long number is
// divided once for all of them.
type primeGroup struct {
	product uint64
	primes  []uint
}

// smallPrimes returns the odd primes below sieveBound.
var smallPrimes = sync.OnceValue(func() (groups []primeGroup) {
	composite := make([]bool, sieveBound)
	g := primeGroup{product: 1}
	for p := uint(3); p < sieveBound; p += 2 {
		if composite[p] {
			continue
		}
		for i := p * p; i < sieveBound; i += 2 * p {
			composite[i] = true
		}
		if high, _ := bits.Mul64(g.product, uint64(p)); high != 0 {
			groups = append(groups, g)
			g = primeGroup{product: 1}
		}
		g.product *= uint64(p)
		g.primes = append(g.primes, p)
	}
	return append(groups, g)
})

// modWord returns x modulo m.
func modWord(x *big.Int, m uint64) (rest uint64) {
	words := x.Bits()
	for i := len(words) - 1; i >= 0; i-- {
		if bits.UintSize == 32 {
			rest = bits.Rem64(rest>>32, rest<<32|uint64(words[i]), m)
		} else {
			rest = bits.Rem64(rest, uint64(words[i]), m)
		}
	}
	return rest
}
