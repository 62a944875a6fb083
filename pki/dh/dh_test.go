package dh

import (
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"virtls/internal/peertest"
)

func TestGroups(t *testing.T) {
	for _, bits := range []int{2048, 3072, 4096, 6144, 8192} {
		g := Group(bits)
		if g.Prime.BitLen() != bits || g.Generator.Int64() != 2 {
			t.Errorf("%d: a prime of %d bits, generator %v", bits, g.Prime.BitLen(), g.Generator)
		}
		// A prime p and the prime (p-1)/2: RFC 7919 has safe primes.
		if q := new(big.Int).Rsh(g.Prime, 1); bits <= 3072 && (!g.Prime.ProbablyPrime(1) || !q.ProbablyPrime(1)) {
			t.Errorf("%d: no safe prime", bits)
		}
	}
	for bits, want := range map[int]int{1: 2048, 2048: 2048, 2049: 3072, 9999: 8192} {
		if got := Group(bits).Prime.BitLen(); got != want {
			t.Errorf("Group(%d) has %d bits, want %d", bits, got, want)
		}
	}
}

func TestPeerOpenssl(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, name := range []struct {
			group string
			bits  int
		}{{"ffdhe2048", 2048}, {"ffdhe3072", 3072}, {"ffdhe8192", 8192}} {
			r := g.Run(t, peertest.Options{}, "openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:"+name.group)
			// OpenSSL writes named groups as X9.42 or PKCS #3 by version; dhparam turns them.
			file := filepath.Join(t.TempDir(), "params.pem")
			if err := os.WriteFile(file, []byte(r.Stdout), 0o644); err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode([]byte(r.Stdout))
			if block == nil {
				t.Fatal(r)
			}
			if block.Type != Label {
				t.Fatalf("OpenSSL writes %s", block.Type)
			}
			p, err := Parse(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if want := Group(name.bits); p.Prime.Cmp(want.Prime) != 0 || p.Generator.Cmp(want.Generator) != 0 {
				t.Errorf("%s has other numbers", name.group)
			}
		}
	})
}

func TestMarshal(t *testing.T) {
	want := Group(2048)
	der, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(der)
	if err != nil || got.Prime.Cmp(want.Prime) != 0 || got.Generator.Cmp(want.Generator) != 0 || got.KeyBits != want.KeyBits {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []Params{{big.NewInt(23), big.NewInt(23), 0}, {big.NewInt(23), big.NewInt(5), 99}, {big.NewInt(-23), big.NewInt(5), 0}} {
		der, err := bad.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(der); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	der, err := Group(2048).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{48, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		if _, err := p.Marshal(); err != nil {
			t.Error(err)
		}
	})
}
