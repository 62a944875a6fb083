package certtool

import (
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"virtls/pki/dh"
)

func TestNewDH(t *testing.T) {
	p, err := newDH(1024)
	must(t, err)
	if p.Prime.BitLen() != 1024 || p.KeyBits != 160 || !p.Prime.ProbablyPrime(10) {
		t.Errorf("prime of %d bits, keys of %d", p.Prime.BitLen(), p.KeyBits)
	}
	// The generator's order is a prime of as many bits as a key has: raised to
	// it, it gives 1. The order divides p-1.
	if p.Generator.Cmp(big.NewInt(1)) <= 0 || p.Generator.Cmp(p.Prime) >= 0 {
		t.Errorf("generator %v", p.Generator)
	}
	for _, bits := range []int{0, 511, 16385} {
		if _, err := newDH(bits); err == nil {
			t.Errorf("%d bits were accepted", bits)
		}
	}
}

func TestParseDH(t *testing.T) {
	good, err := dh.Group(2048).Marshal()
	must(t, err)
	p, err := parseDH(good)
	if err != nil || p.KeyBits != 256 || p.Prime.Cmp(dh.Group(2048).Prime) != 0 {
		t.Fatal(p, err)
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"another type":         "0500",
		"one number":           "3003020107",
		"negative prime":       "3006020187020102",
		"generator of 0":       "3006020107020100",
		"generator too large":  "3006020107020107",
		"keys too long":        "3009020107020102020109",
		"negative keys":        "30090201070201020201ff",
		"something behind":     "30060201070201020500",
		"something else in it": "300802010702010205 00",
	} {
		der, _ := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if _, err := parseDH(der); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	huge := dh.Params{Prime: new(big.Int).Lsh(big.NewInt(1), 20000), Generator: big.NewInt(2)}
	der, err := huge.Marshal()
	must(t, err)
	if _, err := parseDH(der); err == nil {
		t.Error("a prime of 20001 bits was accepted")
	}
}

func FuzzParseDH(f *testing.F) {
	good, err := dh.Group(2048).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\x30\x06\x02\x01\x07\x02\x01\x02"))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := parseDH(der)
		if err != nil {
			return
		}
		again, err := p.Marshal()
		must(t, err)
		if q, err := parseDH(again); err != nil || q.Prime.Cmp(p.Prime) != 0 || q.Generator.Cmp(p.Generator) != 0 || q.KeyBits != p.KeyBits {
			t.Fatalf("%x does not survive: %v", der, err)
		}
	})
}
