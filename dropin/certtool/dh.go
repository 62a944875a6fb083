package certtool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/certtext"
)

const pemDH = "DH PARAMETERS"

// Bounds on Diffie-Hellman parameters, in bits.
const (
	minDHBits = 512
	maxDHBits = 16384
)

// dhParams are Diffie-Hellman parameters as PKCS #3, 9 has them. Nothing of
// them is secret.
type dhParams struct {
	prime, generator *big.Int
	keyBits          int // privateValueLength, 0 if absent
}

func parseDH(der []byte) (p dhParams, err error) {
	malformed := errors.New(certtext.Reason(der))
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	p.prime, p.generator = new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(p.prime) || !seq.ReadASN1Integer(p.generator) {
		return p, malformed
	}
	if !seq.Empty() && (!seq.ReadASN1Integer(&p.keyBits) || !seq.Empty()) {
		return p, malformed
	}
	if p.prime.Sign() <= 0 || p.prime.BitLen() > maxDHBits || p.generator.Sign() <= 0 || p.generator.Cmp(p.prime) >= 0 ||
		p.keyBits < 0 || p.keyBits > p.prime.BitLen() {
		return p, errors.New("the numbers make no sense as Diffie-Hellman parameters")
	}
	return p, nil
}

func (p dhParams) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(p.prime)
		b.AddASN1BigInt(p.generator)
		if p.keyBits > 0 {
			b.AddASN1Int64(int64(p.keyBits))
		}
	})
	return b.Bytes()
}

// groups are those of RFC 7919, appendix A: the prime of so many bits is
// 2^bits - 2^(bits-64) + ((2^(bits-130) e rounded down) + offset) 2^64 - 1.
// keyBits are GnuTLS's.
var groups = []struct {
	bits    int
	offset  int64
	keyBits int
}{
	{2048, 560316, 256}, {3072, 2625351, 276}, {4096, 5736041, 336}, {6144, 15705020, 376}, {8192, 10965728, 512},
}

// group returns the smallest group of RFC 7919 with at least so many bits, or
// the largest.
func group(bits int) dhParams {
	g := groups[0]
	for _, next := range groups[1:] {
		if bits > g.bits {
			g = next
		}
	}
	power := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
	p := eulerBits(g.bits - 130)
	p.Add(p, big.NewInt(g.offset))
	p.Lsh(p, 64)
	p.Add(p, power(g.bits))
	p.Sub(p, power(g.bits-64))
	p.Sub(p, big.NewInt(1))
	return dhParams{p, big.NewInt(2), g.keyBits}
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

// subgroupBits returns the size that GnuTLS gives the subgroup, and so private
// keys, for a prime of so many bits.
func subgroupBits(bits int) int {
	for _, l := range []struct{ bits, subgroup int }{
		{512, 84}, {767, 128}, {1024, 160}, {1776, 192}, {3072, 256}, {8192, 384},
	} {
		if bits <= l.bits {
			return l.subgroup
		}
	}
	return 512
}

// newDH makes parameters: a prime p with a prime q that divides p-1, and a
// generator of the subgroup of order q.
func newDH(bits int) (p dhParams, err error) {
	if bits < minDHBits || bits > maxDHBits {
		return p, fmt.Errorf("a prime of %d bits: want %d to %d", bits, minDHBits, maxDHBits)
	}
	one := big.NewInt(1)
	p.keyBits = subgroupBits(bits)
	q, err := rand.Prime(rand.Reader, p.keyBits)
	if err != nil {
		return p, err
	}
	if p.prime, err = primeAbove(q, bits); err != nil {
		return p, err
	}
	cofactor := new(big.Int).Div(new(big.Int).Sub(p.prime, one), q)
	p.generator = new(big.Int)
	for h := int64(2); p.generator.Cmp(one) <= 0; h++ {
		p.generator.Exp(big.NewInt(h), cofactor, p.prime)
	}
	return p, nil
}

// primeAbove looks for a prime of exactly so many bits that is 1 modulo 2q.
func primeAbove(q *big.Int, bits int) (*big.Int, error) {
	twice := new(big.Int).Lsh(q, 1)
	top := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	for {
		p, err := rand.Int(rand.Reader, top)
		if err != nil {
			return nil, err
		}
		p.Add(p, top)
		p.Sub(p, new(big.Int).Mod(p, twice))
		p.Add(p, big.NewInt(1))
		if p.BitLen() == bits && p.ProbablyPrime(32) {
			return p, nil
		}
	}
}

// writeDH shows parameters and writes them. shownBits is the recommended
// length of keys that the text speaks of, 0 for none.
func (c *command) writeDH(p dhParams, shownBits int) error {
	if c.text() {
		if err := certtext.DHParameters(c.out, p.prime.Bytes(), p.generator.Bytes(), shownBits); err != nil {
			return err
		}
	}
	der, err := p.marshal()
	if err != nil {
		return fail("Error: %v", err)
	}
	if !c.Enabled("outder") {
		fmt.Fprintln(c.out)
	}
	_, err = c.out.Write(c.encode(pemDH, der))
	return err
}

// dhBits returns the size that is asked for. GnuTLS measures it as that of RSA keys.
func (c *command) dhBits() (int, error) { return c.bits(pki.RSA) }

func (c *command) generateDH() error {
	bits, err := c.dhBits()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.std.Err, "Generating DH parameters (%d bits)...\n(might take long time)\n", bits)
	p, err := newDH(bits)
	if err != nil {
		return fail("Error generating parameters: %v", err)
	}
	return c.writeDH(p, p.keyBits)
}

func (c *command) getDH() error {
	bits, err := c.dhBits()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.std.Err, "Retrieving DH parameters...")
	return c.writeDH(group(bits), 0)
}

func (c *command) dhInfo() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	ders, why := blocks(data, c.Enabled("inder"), pemDH)
	if why != "" {
		return fail("Error parsing dh params: %s", why)
	}
	p, err := parseDH(ders[0])
	if err != nil {
		return fail("Error parsing dh params: %v", err)
	}
	return c.writeDH(p, p.keyBits)
}
