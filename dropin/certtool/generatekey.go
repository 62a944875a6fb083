package certtool

import (
	"fmt"
	"strings"

	"virtls/pki"
	"virtls/pki/certtext"
)

// securityLevels are the names of --sec-param, with the sizes of RSA keys and
// of curves that belong to them.
var securityLevels = []struct {
	name    string
	rsa, ec int
}{
	{"low", 1024, 160}, {"legacy", 1776, 192}, {"normal", 2048, 224}, {"medium", 2048, 224},
	{"high", 3072, 256}, {"ultra", 8192, 384}, {"future", 15360, 512},
}

// bits returns the size of a new key as certtool counts it: that of --bits, or
// of --sec-param, or high. The algorithm matters for what the sizes are.
func (c *command) bits(alg pki.KeyAlgorithm) (int, error) {
	if n := c.Number("bits", 0); c.Has("bits") && n != 0 {
		level := certtext.SecurityLevel(alg, n)
		if n < 0 {
			level = "Medium"
		}
		if alg.IsMLDSA() {
			level = "High" // GnuTLS compares with octets here too
		}
		fmt.Fprintf(c.std.Err, "** Note: You may use '--sec-param %s' instead of '--bits %d'\n", level, n)
		return n, nil
	}
	name, ok := c.Last("sec-param")
	if !ok {
		name = "high"
	}
	for _, l := range securityLevels {
		if !strings.EqualFold(l.name, name) {
			continue
		}
		if alg.HasCurve() {
			return l.ec, nil
		}
		return l.rsa, nil
	}
	return 0, fail("Unknown security parameter string: %s", name)
}

// newKey makes a private key as the options want it.
func (c *command) newKey() (pki.PrivateKey, error) {
	spec := pki.KeySpec{Algorithm: c.keyType}
	bits, name := 0, ""
	if c.curve != "" {
		for _, known := range curves {
			if known.name != c.curve {
				continue
			}
			if known.alg != c.keyType {
				return nil, fail("certtool: a key of type %s has no curve %s: use --key-type", c.keyType, c.curve)
			}
			bits, spec.Bits, name = (known.bits+7)/8*8, known.bits, "("+known.name+")"
		}
	} else {
		var err error
		if bits, err = c.bits(c.keyType); err != nil {
			return nil, err
		}
		spec.Bits = bits
		if c.keyType == pki.ECDSA {
			spec.Bits = curveBits(bits)
		}
	}
	c.announceKey(bits, name)
	key, err := pki.GenerateKey(spec)
	if err != nil {
		return nil, fail("privkey_generate: %v", err)
	}
	return key, c.restrict(key)
}

// restrict binds a new RSA-PSS key to the hash function that was named, if one was.
func (c *command) restrict(key pki.PrivateKey) error {
	pss, ok := key.(*pki.PSSKey)
	switch {
	case !ok || c.hash == 0 && !c.Has("salt-size"):
		return nil
	case c.hash == 0:
		return fail("You must provide the hash algorithm and optionally the salt size for RSA-PSS")
	}
	pss.Hash, pss.SaltLength = c.hash, c.Number("salt-size", c.hash.Size())
	return nil
}

// curveBits returns the size of the curve that GnuTLS takes for so many bits:
// the next larger one, P-256 if there is none.
func curveBits(bits int) int {
	for _, size := range []int{192, 224, 256, 384, 521} {
		if bits <= size {
			return size
		}
	}
	return 256
}

// announceKey says what is being made.
func (c *command) announceKey(bits int, curve string) {
	switch c.keyType {
	case pki.ECDSA, pki.Ed25519, pki.Ed448:
		fmt.Fprintf(c.log, "Generating a %d bit %s private key %s...\n", bits, c.keyType, curve)
		if bits < 256 {
			fmt.Fprint(c.std.Err, "Note that ECDSA keys with size less than 256 are not widely supported.\n\n")
		}
	case pki.MLDSA44, pki.MLDSA65, pki.MLDSA87:
		fmt.Fprintf(c.log, "Generating an %s private key...\n", c.keyType)
	default:
		fmt.Fprintf(c.log, "Generating a %d bit %s private key...\n", bits, c.keyType)
	}
}

func (c *command) generatePrivateKey() error {
	key, err := c.newKey()
	if err != nil {
		return err
	}
	return c.writeKey(key)
}
