package kex

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"

	"virtls/pki/dh"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestExchange(t *testing.T) {
	for _, g := range Groups() {
		t.Run(g.String(), func(t *testing.T) {
			x, err := New(g, rand.Reader)
			must(t, err)
			share, secret, err := Respond(g, x.Share(), rand.Reader)
			must(t, err)
			got, err := x.Finish(share)
			must(t, err)
			if !bytes.Equal(got, secret) || len(secret) < 32 {
				t.Errorf("%x and %x", got, secret)
			}
			if fields[g] != 0 && len(secret) != fields[g]/8 {
				t.Errorf("a secret of %d octets in %s", len(secret), g)
			}
			for name, bad := range map[string][]byte{"empty": {}, "short": share[:len(share)-1], "long": append(bytes.Clone(share), 0), "zero": make([]byte, len(share))} {
				if _, err := x.Finish(bad); !errors.Is(err, ErrShare) {
					t.Errorf("%s share: %v", name, err)
				}
			}
			if _, _, err := Respond(g, x.Share()[1:], rand.Reader); err == nil {
				t.Error("a short share of the client was taken")
			}
		})
	}
}

// Values that give the secret away are refused.
func TestFiniteRefuses(t *testing.T) {
	p := dh.Group(2048)
	x, err := NewFinite(p, rand.Reader)
	must(t, err)
	one := big.NewInt(1)
	for name, v := range map[string]*big.Int{
		"0": big.NewInt(0), "1": one, "p-1": new(big.Int).Sub(p.Prime, one), "p": p.Prime, "p+1": new(big.Int).Add(p.Prime, one),
	} {
		if _, err := x.Finish(v.FillBytes(make([]byte, 256))); !errors.Is(err, ErrShare) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]dh.Params{
		"even prime": {Prime: big.NewInt(22), Generator: big.NewInt(2)}, "generator beyond the prime": {Prime: big.NewInt(23), Generator: big.NewInt(25)},
	} {
		if _, err := NewFinite(bad, rand.Reader); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestNamed(t *testing.T) {
	for g, bits := range fields {
		if got := Named(dh.Group(bits)); got != g {
			t.Errorf("%s is named %s", g, got)
		}
	}
	if got := Named(dh.Params{Prime: big.NewInt(23), Generator: big.NewInt(5)}); got != 0 {
		t.Errorf("a group of nobody is named %s", got)
	}
}

// A server's own prime costs a client no more than its size demands.
func TestLargePrimes(t *testing.T) {
	for bits, want := range map[uint]int{1024: 1024, 2048: 1024, 8192: 1024} {
		p := new(big.Int).Lsh(big.NewInt(1), bits)
		x, err := newFinite(dh.Params{Prime: p.Sub(p, big.NewInt(3)), Generator: big.NewInt(2)}, rand.Reader)
		must(t, err)
		if got := 8 * len(x.x); got != want {
			t.Errorf("a private key of %d bits for a prime of %d", got, bits)
		}
	}
}
