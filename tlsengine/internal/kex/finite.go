package kex

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/bigmod"

	"virtls/pki/dh"
	"virtls/tlsengine/internal/wire"
)

// fields are the sizes of the groups of RFC 7919, in bits.
var fields = map[wire.Group]int{
	wire.FFDHE2048: 2048, wire.FFDHE3072: 3072, wire.FFDHE4096: 4096, wire.FFDHE6144: 6144, wire.FFDHE8192: 8192,
}

// Parameters returns the numbers of a group of RFC 7919.
func Parameters(g wire.Group) (dh.Params, bool) {
	bits, ok := fields[g]
	return dh.Group(bits), ok
}

// Named returns the group of RFC 7919 that has the parameters' numbers, 0 if
// none has.
func Named(p dh.Params) wire.Group {
	for g, bits := range fields {
		if n := dh.Group(bits); n.Prime.Cmp(p.Prime) == 0 && n.Generator.Cmp(p.Generator) == 0 {
			return g
		}
	}
	return 0
}

// A finite is an exchange in a finite field. It computes in constant time.
type finite struct {
	m     *bigmod.Modulus
	x     []byte
	share []byte
	whole bool // the peer's value is as long as the prime
}

// newNamed makes an exchange of TLS 1.3 in a group of RFC 7919.
func newNamed(bits int, rand io.Reader) (Exchange, error) {
	f, err := newFinite(dh.Group(bits), rand)
	if err != nil {
		return nil, err
	}
	f.whole = true
	return f, nil
}

// maxKeyBits bounds private keys for parameters that name no size. No prime that
// is taken has more strength than half of that (RFC 7919, section 5.2), and with
// keys as long as a prime of 8192 bits a server could cost its clients seconds.
const maxKeyBits = 1024

// NewFinite makes an exchange of TLS 1.2 with any parameters whose prime is odd. Those of
// RFC 7919 have private keys as short as the group's strength allows.
func NewFinite(p dh.Params, rand io.Reader) (Exchange, error) { return newFinite(p, rand) }

func newFinite(p dh.Params, rand io.Reader) (*finite, error) {
	if p.Prime.Bit(0) == 0 {
		return nil, errors.New("kex: the prime of the Diffie-Hellman parameters is even")
	}
	m, err := bigmod.NewModulus(p.Prime.Bytes())
	if err != nil {
		return nil, fmt.Errorf("kex: the prime of the Diffie-Hellman parameters: %w", err)
	}
	bits := p.KeyBits
	if bits == 0 {
		bits = min(p.Prime.BitLen(), maxKeyBits)
	}
	f := &finite{m: m, x: make([]byte, (bits+7)/8)}
	if _, err := io.ReadFull(rand, f.x); err != nil {
		return nil, err
	}
	// The key is below the prime, whatever it is reduced to otherwise.
	f.x[0] &= byte(0xff >> (8*len(f.x) - bits + 1))
	g, err := bigmod.NewNat().SetBytes(p.Generator.FillBytes(make([]byte, m.Size())), m)
	if err != nil {
		return nil, fmt.Errorf("kex: the generator of the Diffie-Hellman parameters: %w", err)
	}
	f.share = bigmod.NewNat().Exp(g, f.x, m).Bytes(m)
	return f, nil
}

// Share returns the public value, as long as the prime (RFC 8446, section 4.2.8.1).
func (f *finite) Share() []byte { return f.share }

// Finish returns the secret, as long as the prime. The peer's value must be
// between 1 and the prime less 1, the ends excluded (RFC 7919, section 5.1). TLS
// 1.3 has leading zeros in front of a short one, TLS 1.2 need not.
func (f *finite) Finish(peer []byte) ([]byte, error) {
	if len(peer) == 0 || len(peer) > f.m.Size() || f.whole && len(peer) != f.m.Size() {
		return nil, ErrShare
	}
	padded := make([]byte, f.m.Size())
	copy(padded[len(padded)-len(peer):], peer)
	y, err := bigmod.NewNat().SetBytes(padded, f.m)
	if err != nil || y.IsZero()|y.IsOne()|y.IsMinusOne(f.m) == 1 {
		return nil, ErrShare
	}
	secret := bigmod.NewNat().Exp(y, f.x, f.m)
	if secret.IsOne() == 1 {
		return nil, ErrShare
	}
	return secret.Bytes(f.m), nil
}
