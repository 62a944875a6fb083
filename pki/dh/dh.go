// Package dh has the parameters of finite-field Diffie-Hellman key exchanges:
// the groups of RFC 7919, and the files of PKCS #3 that people still have.
// Nothing of them is secret.
package dh

import (
	"errors"
	"math/big"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Label is the label of parameters in PEM files.
const Label = "DH PARAMETERS"

// MaxBits bounds the size of a prime.
const MaxBits = 16384

// Params are the parameters of a group (PKCS #3, section 9).
type Params struct {
	Prime, Generator *big.Int
	KeyBits          int // size of private keys in bits, 0 if it is not said
}

// named are the groups of RFC 7919, appendix A: the prime of so many bits is
// 2^bits - 2^(bits-64) + ((2^(bits-130) e rounded down) + offset) 2^64 - 1.
// keyBits are GnuTLS's, not below what the RFC asks for.
var named = []struct {
	bits    int
	offset  int64
	keyBits int
	make    func() Params
}{
	{bits: 2048, offset: 560316, keyBits: 256}, {bits: 3072, offset: 2625351, keyBits: 276}, {bits: 4096, offset: 5736041, keyBits: 336},
	{bits: 6144, offset: 15705020, keyBits: 376}, {bits: 8192, offset: 10965728, keyBits: 512},
}

func init() {
	for i := range named {
		g := &named[i]
		g.make = sync.OnceValue(func() Params { return compute(g.bits, g.offset, g.keyBits) })
	}
}

// Group returns the smallest group of RFC 7919 with at least so many bits, or
// the largest. Its numbers must not be changed.
func Group(bits int) Params {
	for i := range named {
		if bits <= named[i].bits {
			return named[i].make()
		}
	}
	return named[len(named)-1].make()
}

func compute(bits int, offset int64, keyBits int) Params {
	power := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
	p := eulerBits(bits - 130)
	p.Add(p, big.NewInt(offset))
	p.Lsh(p, 64)
	p.Add(p, power(bits))
	p.Sub(p, power(bits-64))
	p.Sub(p, big.NewInt(1))
	return Params{p, big.NewInt(2), keyBits}
}

// eulerBits returns 2^n e, rounded down. The series of 1/k! is summed with 64
// bits more, which no rounding error reaches.
func eulerBits(n int) *big.Int {
	term := new(big.Int).Lsh(big.NewInt(1), uint(n+64))
	sum := new(big.Int).Set(term)
	for k := int64(1); term.Sign() > 0; k++ {
		term.Div(term, big.NewInt(k))
		sum.Add(sum, term)
	}
	return sum.Rsh(sum, 64)
}

// Parse reads the DER form.
func Parse(der []byte) (p Params, err error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	p.Prime, p.Generator = new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(p.Prime) || !seq.ReadASN1Integer(p.Generator) {
		return p, ErrMalformed
	}
	if !seq.Empty() && (!seq.ReadASN1Integer(&p.KeyBits) || !seq.Empty()) {
		return p, ErrMalformed
	}
	return p, p.check()
}

// ErrMalformed means that something is no DER of parameters.
var ErrMalformed = errors.New("malformed Diffie-Hellman parameters")

func (p Params) check() error {
	if p.Prime.Sign() <= 0 || p.Prime.BitLen() > MaxBits || p.Generator.Sign() <= 0 || p.Generator.Cmp(p.Prime) >= 0 ||
		p.KeyBits < 0 || p.KeyBits > p.Prime.BitLen() {
		return errors.New("the numbers make no sense as Diffie-Hellman parameters")
	}
	return nil
}

// Marshal writes the DER form.
func (p Params) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(p.Prime)
		b.AddASN1BigInt(p.Generator)
		if p.KeyBits > 0 {
			b.AddASN1Int64(int64(p.KeyBits))
		}
	})
	return b.Bytes()
}
