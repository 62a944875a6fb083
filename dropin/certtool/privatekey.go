package certtool

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/certtext"
)

var keyLabels = []string{pki.PEMPrivateKey, pki.PEMEncryptedKey, pki.PEMRSAKey, pki.PEMECKey, "DSA PRIVATE KEY"}

// findKey returns the DER of the first private key in data. why is GnuTLS's
// reason if there is none.
func findKey(data []byte, isDER bool) (der []byte, why string) {
	if isDER {
		return data, ""
	}
	for block := range pemBlocks(data, keyLabels) {
		if block.Headers["Proc-Type"] != "" {
			return nil, "it is encrypted in OpenSSL's old form; rewrite it with `openssl pkcs8 -topk8`"
		}
		return block.Bytes, ""
	}
	if bytes.Contains(data, []byte(" PRIVATE KEY-----")) {
		return nil, badBase64
	}
	return nil, noData
}

// isEncrypted tells an EncryptedPrivateKeyInfo from all other keys: it begins
// with an AlgorithmIdentifier where they have a version.
func isEncrypted(der []byte) bool {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	return in.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.PeekASN1Tag(cbasn1.SEQUENCE)
}

// decodeKey reads a private key that is not encrypted.
func decodeKey(der []byte) (pki.PrivateKey, string) {
	key, err := pki.ParsePrivateKeyDER(der)
	switch {
	case err == nil:
		return key, ""
	case strings.Contains(err.Error(), "not supported"):
		return nil, err.Error()
	}
	return nil, certtext.Reason(der)
}

// decryptKey opens an encrypted private key.
func decryptKey(der []byte, password string) (pki.PrivateKey, string) {
	plain, err := pki.DecryptPKCS8(der, []byte(password))
	switch {
	case errors.Is(err, pki.ErrPassword):
		return nil, badPassword
	case err != nil:
		return nil, err.Error()
	}
	return decodeKey(plain)
}

// loadKey reads the private key of --load-privkey or --load-ca-privkey. It
// returns nil without error if the option is not given.
func (c *command) loadKey(option string) (pki.PrivateKey, error) {
	data, err := c.load(option)
	if data == nil {
		return nil, err
	}
	key, why, err := c.openKey(data)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return nil, fail("error loading file at --%s: %s: %s", option, c.value(option), why)
	}
	return key, nil
}

// needKey is loadKey for a key that must be there.
func (c *command) needKey(option string) (pki.PrivateKey, error) {
	key, err := c.loadKey(option)
	if err == nil && key == nil {
		return nil, fail("missing --%s", option)
	}
	return key, err
}

// openKey reads a private key. One that is encrypted is tried with the PIN
// first, and then with the password.
func (c *command) openKey(data []byte) (key pki.PrivateKey, why string, err error) {
	der, why := findKey(data, c.Enabled("inder"))
	if why != "" {
		return nil, why, nil
	}
	if !isEncrypted(der) {
		key, why = decodeKey(der)
		return key, why, nil
	}
	pin, err := c.pin()
	if err != nil {
		return nil, "", err
	}
	if key, why = decryptKey(der, pin); why != badPassword {
		return key, why, nil
	}
	password, _, err := c.newPassword(false)
	if err != nil {
		return nil, "", err
	}
	key, why = decryptKey(der, password)
	return key, why, nil
}

// writeKey writes a private key in the form that is asked for, with its text
// unless it is encrypted.
func (c *command) writeKey(key pki.PrivateKey) error {
	_, isRSA := key.(*rsa.PrivateKey)
	_, isEC := key.(*ecdsa.PrivateKey)
	if (isRSA || isEC) && !c.pkcs8 {
		return c.writePlainKey(key)
	}
	if !isRSA && !isEC && c.password == nil {
		c.password = new(string) // nobody is asked for the password of a key that has no other form
	}
	password, encrypt, err := c.newPassword(false)
	if err != nil {
		return err
	}
	return c.writePKCS8(key, password, encrypt, c.text())
}

// writePlainKey writes the forms that only RSA and EC keys have: PKCS #1 and SEC 1.
func (c *command) writePlainKey(key pki.PrivateKey) error {
	if c.text() {
		if err := certtext.PrivateKey(c.out, key); err != nil {
			return err
		}
	}
	label, der := pki.PEMRSAKey, []byte(nil)
	switch k := key.(type) {
	case *rsa.PrivateKey:
		der = x509.MarshalPKCS1PrivateKey(k)
	case *ecdsa.PrivateKey:
		var err error
		if der, err = x509.MarshalECPrivateKey(k); err != nil {
			return fail("privkey_export: %v", err)
		}
		label = pki.PEMECKey
	default:
		return c.writePKCS8(key, "", false, false)
	}
	_, err := c.out.Write(c.encode(label, der))
	return err
}

// writePKCS8 writes a private key as PKCS #8.
func (c *command) writePKCS8(key pki.PrivateKey, password string, encrypt, text bool) error {
	cipher, plain, err := c.cipher()
	if err != nil {
		return err
	}
	encrypt = encrypt && !plain
	if text && !encrypt {
		if err := certtext.PrivateKey(c.out, key); err != nil {
			return err
		}
	}
	der, err := pki.MarshalPKCS8(key, c.form)
	if err != nil {
		return fail("privkey_export_pkcs8: %v", err)
	}
	label := pki.PEMPrivateKey
	if encrypt {
		label = pki.PEMEncryptedKey
		if der, err = pki.EncryptPKCS8(der, []byte(password), cipher, iterations); err != nil {
			return fail("privkey_export_pkcs8: %v", err)
		}
	}
	_, err = c.out.Write(c.encode(label, der))
	return err
}

// cipher returns what --pkcs-cipher names; plain is true for "none".
func (c *command) cipher() (cipher pki.Cipher, plain bool, err error) {
	name, ok := c.Last("pkcs-cipher")
	if !ok {
		name = "aes-128"
	}
	lower := strings.ToLower(name)
	if lower == "none" {
		return cipher, true, nil
	}
	if cipher, ok = pki.CipherByName(lower); ok {
		return cipher, false, nil
	}
	switch lower {
	case "3des-pkcs12", "arcfour", "rc2-40", "gost28147-tc26z", "gost28147-cpa", "gost28147-cpb", "gost28147-cpc", "gost28147-cpd":
		return cipher, false, unsupported("--pkcs-cipher "+lower, "it protects nothing, or nobody else can read it")
	}
	return cipher, false, fail("unknown cipher %s", name)
}

// inputKey reads the private key to be shown or rewritten. Of an encrypted one
// it shows how that is encrypted, which goes above the key, or to standard
// error if the key is written as DER.
func (c *command) inputKey() (pki.PrivateKey, error) {
	data, err := c.input()
	if err != nil {
		return nil, err
	}
	der, why := findKey(data, c.Enabled("inder"))
	var key pki.PrivateKey
	switch {
	case why != "":
	case !isEncrypted(der):
		key, why = decodeKey(der)
	default:
		fmt.Fprintln(c.std.Err, "Encrypted structure detected...")
		if text, ok := encryptionText(der, ""); ok && c.Enabled("outder") {
			fmt.Fprint(c.std.Err, text)
		} else if ok {
			fmt.Fprint(c.out, text)
		}
		password, _, err := c.newPassword(false)
		if err != nil {
			return nil, err
		}
		key, why = decryptKey(der, password)
	}
	if why != "" {
		return nil, fail("import error: %s", why)
	}
	return key, nil
}

func (c *command) keyInfo() error {
	key, err := c.inputKey()
	if err != nil {
		return err
	}
	c.pkcs8 = false
	return c.writeKey(key)
}

func (c *command) toRSA() error {
	key, err := c.inputKey()
	if err != nil {
		return err
	}
	switch k := key.(type) {
	case *pki.PSSKey:
		key = k.PrivateKey
	case *rsa.PrivateKey:
	default:
		return fail("unexpected key type: %s", pki.AlgorithmOf(key.Public()))
	}
	_, err = c.out.Write(c.encode(pki.PEMRSAKey, x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))))
	return err
}

func (c *command) toPKCS8() error {
	fmt.Fprintln(c.std.Err, "Generating a PKCS #8 key structure...")
	data, err := c.load("load-privkey")
	if err != nil {
		return err
	}
	if data == nil {
		return fail("missing --load-privkey")
	}
	key, why, err := c.openKey(data)
	switch {
	case err != nil:
		return err
	case why == noHeader:
		return fail("import error: could not find a valid PEM header; check if your key is PEM encoded")
	case why != "":
		return fail("error importing private key: %s: %s", c.value("load-privkey"), why)
	}
	password, encrypt, err := c.newPassword(true)
	if err != nil {
		return err
	}
	return c.writePKCS8(key, password, encrypt, false)
}
