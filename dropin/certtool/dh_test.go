package certtool

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
)

// TestGroups checks that the primes are the safe primes of RFC 7919: their
// first and last octets, and for two of them all. The real certtool's own are
// compared in TestSteps.
func TestGroups(t *testing.T) {
	for _, g := range groups {
		p := group(g.bits)
		text := hex.EncodeToString(p.prime.Bytes())
		if p.prime.BitLen() != g.bits || !strings.HasPrefix(text, "ffffffffffffffffadf85458a2bb4a9a") || !strings.HasSuffix(text, "ffffffffffffffff") {
			t.Errorf("%d bits: %s", g.bits, text)
		}
		half := new(big.Int).Rsh(p.prime, 1)
		if g.bits <= 3072 && (!p.prime.ProbablyPrime(10) || !half.ProbablyPrime(10)) {
			t.Errorf("%d bits: no safe prime", g.bits)
		}
	}
	if sum := sha256.Sum256(group(1).prime.Bytes()); group(9000).prime.BitLen() != 8192 || sum != sha256.Sum256(group(2048).prime.Bytes()) {
		t.Error("sizes out of range do not give the nearest group")
	}
}

func TestNewDH(t *testing.T) {
	p, err := newDH(1024)
	must(t, err)
	if p.prime.BitLen() != 1024 || p.keyBits != 160 || !p.prime.ProbablyPrime(10) {
		t.Errorf("prime of %d bits, keys of %d", p.prime.BitLen(), p.keyBits)
	}
	// The generator's order is a prime of as many bits as a key has: raised to
	// it, it gives 1. The order divides p-1.
	if p.generator.Cmp(big.NewInt(1)) <= 0 || p.generator.Cmp(p.prime) >= 0 {
		t.Errorf("generator %v", p.generator)
	}
	for _, bits := range []int{0, 511, 16385} {
		if _, err := newDH(bits); err == nil {
			t.Errorf("%d bits were accepted", bits)
		}
	}
}

func TestParseDH(t *testing.T) {
	good, err := group(2048).marshal()
	must(t, err)
	p, err := parseDH(good)
	if err != nil || p.keyBits != 256 || p.prime.Cmp(group(2048).prime) != 0 {
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
	huge := dhParams{new(big.Int).Lsh(big.NewInt(1), 20000), big.NewInt(2), 0}
	der, err := huge.marshal()
	must(t, err)
	if _, err := parseDH(der); err == nil {
		t.Error("a prime of 20001 bits was accepted")
	}
}

func FuzzParseDH(f *testing.F) {
	good, err := group(2048).marshal()
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
		again, err := p.marshal()
		must(t, err)
		if q, err := parseDH(again); err != nil || q.prime.Cmp(p.prime) != 0 || q.generator.Cmp(p.generator) != 0 || q.keyBits != p.keyBits {
			t.Fatalf("%x does not survive: %v", der, err)
		}
	})
}
