package certtool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"virtls/pki"
	"virtls/pki/certtext"
	"virtls/pki/dh"
)

// Bounds on Diffie-Hellman parameters, in bits.
const (
	minDHBits = 512
	maxDHBits = dh.MaxBits
)

// parseDH reads parameters; its error is what certtool prints.
func parseDH(der []byte) (dh.Params, error) {
	p, err := dh.Parse(der)
	if errors.Is(err, dh.ErrMalformed) {
		err = errors.New(certtext.Reason(der))
	}
	return p, err
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
func newDH(bits int) (p dh.Params, err error) {
	if bits < minDHBits || bits > maxDHBits {
		return p, fmt.Errorf("a prime of %d bits: want %d to %d", bits, minDHBits, maxDHBits)
	}
	one := big.NewInt(1)
	p.KeyBits = subgroupBits(bits)
	q, err := rand.Prime(rand.Reader, p.KeyBits)
	if err != nil {
		return p, err
	}
	if p.Prime, err = primeAbove(q, bits); err != nil {
		return p, err
	}
	cofactor := new(big.Int).Div(new(big.Int).Sub(p.Prime, one), q)
	p.Generator = new(big.Int)
	for h := int64(2); p.Generator.Cmp(one) <= 0; h++ {
		p.Generator.Exp(big.NewInt(h), cofactor, p.Prime)
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
func (c *command) writeDH(p dh.Params, shownBits int) error {
	if c.text() {
		if err := certtext.DHParameters(c.out, p.Prime.Bytes(), p.Generator.Bytes(), shownBits); err != nil {
			return err
		}
	}
	der, err := p.Marshal()
	if err != nil {
		return fail("Error: %v", err)
	}
	if !c.Enabled("outder") {
		fmt.Fprintln(c.out)
	}
	_, err = c.out.Write(c.encode(dh.Label, der))
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
	return c.writeDH(p, p.KeyBits)
}

func (c *command) getDH() error {
	bits, err := c.dhBits()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.std.Err, "Retrieving DH parameters...")
	return c.writeDH(dh.Group(bits), 0)
}

func (c *command) dhInfo() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	ders, why := blocks(data, c.Enabled("inder"), dh.Label)
	if why != "" {
		return fail("Error parsing dh params: %s", why)
	}
	p, err := parseDH(ders[0])
	if err != nil {
		return fail("Error parsing dh params: %v", err)
	}
	return c.writeDH(p, p.KeyBits)
}
