package certtool

import (
	"crypto"
	"fmt"
	"strings"

	"virtls/pki"
	"virtls/pki/certtemplate"
)

// settings are what options say that matter to several actions.
type settings struct {
	keyType  pki.KeyAlgorithm
	hash     crypto.Hash // 0 if none was named
	form     pki.MLDSAForm
	pkcs8    bool
	curve    string // GnuTLS's name, "" if none was named
	pssSign  bool
	password *string // --password, or an empty one
}

// readSettings looks at the options that can be wrong, in certtool's order.
func (c *command) readSettings() error {
	for _, step := range []func() error{
		c.readKeyType,
		c.loadTemplate,
		c.readDebug,
		c.readHash,
		c.readTime,
		c.readKeyFormat,
		c.readCurve,
		c.readPassword,
		c.readProfile,
		c.readSignParams,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// keyTypes are certtool's names of the keys it makes.
var keyTypes = map[string]pki.KeyAlgorithm{
	"rsa": pki.RSA, "rsa-pss": pki.RSAPSS, "rsa-oaep": pki.RSAOAEP, "ecdsa": pki.ECDSA, "ecc": pki.ECDSA,
	"ed25519": pki.Ed25519, "eddsa": pki.Ed25519, "ed448": pki.Ed448, "x25519": pki.X25519, "x448": pki.X448,
	"mldsa44": pki.MLDSA44, "mldsa65": pki.MLDSA65, "mldsa87": pki.MLDSA87,
}

func (c *command) readKeyType() error {
	c.keyType = pki.RSA
	if c.Has("ecc") && !c.Has("rsa") {
		c.keyType = pki.ECDSA
	}
	name, ok := c.Last("key-type")
	if !ok {
		return nil
	}
	switch lower := strings.ToLower(name); lower {
	case "dsa", "gost01", "gost12-256", "gost12-512":
		return unsupported("--key-type "+lower, "DSA and GOST keys are neither made nor used")
	default:
		if c.keyType, ok = keyTypes[lower]; !ok {
			return fail("unknown key type: %s", name)
		}
	}
	return nil
}

// readDebug says what certtool says, and no more than that.
func (c *command) readDebug() error {
	if c.Has("debug") {
		fmt.Fprintf(c.std.Out, "Setting log level to %d\n", c.Number("debug", 0))
	}
	return nil
}

// hashes are certtool's names of hash functions.
var hashes = map[string]crypto.Hash{
	"md5": crypto.MD5, "sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
	"sha3-224": crypto.SHA3_224, "sha3-256": crypto.SHA3_256, "sha3-384": crypto.SHA3_384, "sha3-512": crypto.SHA3_512,
}

func (c *command) readHash() error {
	name, ok := c.Last("hash")
	if !ok {
		return nil
	}
	if c.hash, ok = hashes[strings.ToLower(name)]; !ok {
		return fail("invalid hash: %s", name)
	}
	if c.hash == crypto.MD5 {
		fmt.Fprintln(c.std.Err, "Warning: MD5 is broken, and should not be used any more for digital signatures.")
	}
	return nil
}

func (c *command) readTime() error {
	if text, ok := c.Last("attime"); ok {
		t, err := certtemplate.ParseDate(text, c.clock)
		if err != nil {
			return fail("attime option value %s is not a valid time", text)
		}
		c.clock.Today = t
	}
	return nil
}

func (c *command) readKeyFormat() error {
	name, ok := c.Last("key-format")
	if !ok {
		return nil
	}
	switch strings.ToLower(name) {
	case "seed":
		c.form = pki.MLDSASeed
	case "expanded":
		c.form = pki.MLDSAExpanded
	case "both":
	default:
		fmt.Fprintf(c.std.Err, "unknown key format: %s\n", name)
	}
	return nil
}

// curves are those that keys can be made on, by GnuTLS's names, with the key
// type that each belongs to.
var curves = []struct {
	name string
	alg  pki.KeyAlgorithm
	bits int
}{
	{"SECP224R1", pki.ECDSA, 224}, {"SECP256R1", pki.ECDSA, 256}, {"SECP384R1", pki.ECDSA, 384}, {"SECP521R1", pki.ECDSA, 521},
	{"X25519", pki.X25519, 256}, {"Ed25519", pki.Ed25519, 256}, {"X448", pki.X448, 448}, {"Ed448", pki.Ed448, 456},
}

func (c *command) readCurve() error {
	name, ok := c.Last("curve")
	if !ok {
		return nil
	}
	list := ""
	for _, known := range curves {
		if strings.EqualFold(known.name, name) {
			c.curve = known.name
			return nil
		}
		list += "\n\t- " + known.name
	}
	return fail("Unsupported curve: %s\nAvailable curves:%s", name, list)
}

func (c *command) readPassword() error {
	c.pkcs8 = c.Has("pkcs8")
	if password, ok := c.Last("password"); ok {
		c.password = &password
		if c.Has("generate-privkey") && !c.pkcs8 {
			fmt.Fprintln(c.std.Err, "Assuming PKCS #8 format...")
			c.pkcs8 = true
		}
	}
	if c.Has("null-password") || c.Has("empty-password") {
		c.password = new(string)
	}
	return nil
}

func (c *command) readProfile() error {
	if c.Has("verify-profile") || c.Has("verify-allow-broken") || !c.Has("verify-chain") && !c.Has("verify") {
		return nil
	}
	fmt.Fprintln(c.std.Err, "Note that no verification profile was selected. In the future the medium profile will be enabled by default.")
	fmt.Fprintln(c.std.Err, "Use --verify-profile low to apply the default verification of NORMAL priority string.")
	return nil
}

func (c *command) readSignParams() error {
	params, ok := c.Last("sign-params")
	if !ok {
		return nil
	}
	for param := range strings.FieldsFuncSeq(params, func(r rune) bool { return r == ',' }) {
		if !strings.EqualFold(param, "rsa-pss") {
			return fail("Unknown signature parameter: %s", param)
		}
		c.pssSign = true
	}
	return nil
}
