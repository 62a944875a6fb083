package certtool

import (
	"bytes"
	"crypto"
	"fmt"

	"virtls/pki"
	"virtls/pki/certtext"
)

// eachCertificate shows every certificate of the input and writes something of it.
func (c *command) eachCertificate(write func(*pki.Certificate) error) error {
	data, err := c.input()
	if err != nil {
		return err
	}
	certs, why := certificates(data, c.Enabled("inder"))
	if why != "" {
		return fail("import error: %s", why)
	}
	text := c.text()
	if len(certs) > 1 && c.Enabled("outder") {
		fmt.Fprintln(c.std.Err, "Cannot output multiple certificates in DER format; using PEM instead")
		c.pemOnly = true
	}
	for i, cert := range certs {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if text {
			if err := certtext.Certificate(c.out, cert, c.numbers()); err != nil {
				return err
			}
			fmt.Fprintln(c.out)
		}
		if err := write(cert); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) certificateInfo() error {
	return c.eachCertificate(func(cert *pki.Certificate) error {
		_, err := c.out.Write(c.encode(pki.PEMCertificate, cert.Raw))
		return err
	})
}

func (c *command) certificatePublicKeys() error {
	return c.eachCertificate(func(cert *pki.Certificate) error { return c.writePublicKey(keyOf(cert)) })
}

// A usedKey is a public key with what is said about its use around it.
type usedKey struct {
	*pki.PublicKey
	usage pki.KeyUsage
}

func keyOf(cert *pki.Certificate) *usedKey {
	usage, _, _ := cert.Extensions.KeyUsage()
	return &usedKey{cert.PublicKey, usage}
}

// writePublicKey shows a public key and writes it.
func (c *command) writePublicKey(k *usedKey) error {
	if c.text() {
		if err := certtext.PublicKey(c.out, k.PublicKey, k.usage, c.numbers()); err != nil {
			return err
		}
		fmt.Fprint(c.out, "\n\n")
	}
	_, err := c.out.Write(c.encode(pki.PEMPublicKey, k.Raw))
	return err
}

// findPublicKey returns the public key of a certificate, a request or a key
// that an option names, else that of the input.
func (c *command) findPublicKey() (*usedKey, error) {
	certs, err := c.loadCertificates()
	if err != nil {
		return nil, err
	}
	r, err := c.loadRequest()
	switch {
	case err != nil:
		return nil, err
	case certs != nil:
		return keyOf(certs[0]), nil
	case r != nil:
		usage, _, _ := r.Extensions.KeyUsage()
		return &usedKey{r.PublicKey, usage}, nil
	}
	key, err := c.loadKey("load-privkey")
	if err != nil {
		return nil, err
	}
	if key != nil {
		k, err := pki.PublicKeyOf(key.Public())
		return &usedKey{PublicKey: k}, err
	}
	if k, err := c.loadPublicKey(); err != nil || k != nil {
		return &usedKey{PublicKey: k}, err
	}
	return c.inputPublicKey()
}

// inputPublicKey takes the input for a certificate if it looks like one.
func (c *command) inputPublicKey() (*usedKey, error) {
	data, err := c.input()
	if err != nil {
		return nil, err
	}
	if bytes.Contains(data, []byte("BEGIN CERTIFICATE")) || bytes.Contains(data, []byte("BEGIN X509")) {
		cert, why := certificate(data, false)
		if why != "" {
			return nil, fail("crt_import: %s", why)
		}
		return keyOf(cert), nil
	}
	k, why := publicKey(data, c.Enabled("inder"))
	if why != "" {
		return nil, fail("pubkey_import: %s", why)
	}
	return &usedKey{PublicKey: k}, nil
}

func (c *command) publicKeyInfo() error {
	k, err := c.findPublicKey()
	if err != nil {
		return err
	}
	return c.writePublicKey(k)
}

func (c *command) keyID() error {
	k, err := c.findPublicKey()
	if err != nil {
		return err
	}
	switch c.hash {
	case 0, crypto.SHA1, crypto.SHA256, crypto.SHA512:
		c.writeDigest(k.Raw)
		return nil
	}
	return fail("Cannot calculate key ID with the provided hash (use sha1, sha256 or sha512)")
}

func (c *command) fingerprint() error {
	certs, err := c.loadCertificates()
	if err != nil {
		return err
	}
	if certs == nil {
		data, err := c.input()
		if err != nil {
			return err
		}
		var why string
		certs, why = certificates(data, c.Enabled("inder"))
		switch {
		case why != "":
			return fail("import error: %s", why)
		case len(certs) > 1: // which is meant?
			return fail("too many certificates (%d).import error: The given memory buffer is too short to hold parameters.", len(certs))
		}
	}
	c.writeDigest(certs[0].Raw)
	return nil
}

// writeDigest writes a hash value: SHA-1 unless --hash says otherwise.
func (c *command) writeDigest(data []byte) {
	hash := c.hash
	if hash == 0 {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write(data)
	fmt.Fprintf(c.out, "%x\n", h.Sum(nil))
}
