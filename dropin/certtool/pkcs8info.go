package certtool

import (
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/certtext"
)

var oidPBES2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}

// schemes are the ciphers of PBES2, by GnuTLS's names.
var schemes = []struct {
	oid            asn1.ObjectIdentifier
	cipher, schema string
}{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, "AES-128-CBC", "PBES2-AES128-CBC"},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, "AES-192-CBC", "PBES2-AES192-CBC"},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, "AES-256-CBC", "PBES2-AES256-CBC"},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}, "3DES-CBC", "PBES2-3DES-CBC"},
}

// pbes2 is what there is to show of a PBES2 AlgorithmIdentifier (RFC 8018, A.4).
type pbes2 struct {
	cipher     asn1.ObjectIdentifier
	salt       []byte
	iterations int
}

// readPBES2 reads the identifier. other is the object identifier of another
// scheme, nil if it is PBES2.
func readPBES2(in *cryptobyte.String) (p pbes2, other asn1.ObjectIdentifier, ok bool) {
	var id, params, kdf, kdfParams, cipher, salt cryptobyte.String
	var scheme, kdfOID asn1.ObjectIdentifier
	if !in.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1ObjectIdentifier(&scheme) {
		return p, nil, false
	}
	if !scheme.Equal(oidPBES2) {
		return p, scheme, true
	}
	ok = id.ReadASN1(&params, cbasn1.SEQUENCE) && params.ReadASN1(&kdf, cbasn1.SEQUENCE) &&
		kdf.ReadASN1ObjectIdentifier(&kdfOID) && kdf.ReadASN1(&kdfParams, cbasn1.SEQUENCE) &&
		kdfParams.ReadASN1(&salt, cbasn1.OCTET_STRING) && kdfParams.ReadASN1Integer(&p.iterations) &&
		params.ReadASN1(&cipher, cbasn1.SEQUENCE) && cipher.ReadASN1ObjectIdentifier(&p.cipher)
	p.salt = salt
	return p, nil, ok
}

// text returns the lines that certtool prints.
func (p pbes2) text(indent string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, indent+"\t"+format+"\n", args...) }
	for _, s := range schemes {
		if s.oid.Equal(p.cipher) {
			line("Cipher: %s", s.cipher)
			line("Schema: %s (%s)", s.schema, s.oid)
		}
	}
	line("Salt: %x", p.salt)
	line("Salt size: %d", len(p.salt))
	line("Iteration count: %d", p.iterations)
	return b.String()
}

// encryptionText tells how an encrypted PKCS #8 key is encrypted; false if der is no such key.
func encryptionText(der []byte, indent string) (string, bool) {
	const title = "PKCS #8 information:\n"
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return "", false
	}
	p, other, ok := readPBES2(&seq)
	switch {
	case !ok:
		return "", false
	case other != nil:
		return fmt.Sprintf("%s\tSchema: unsupported (%s)\n", title, other), true
	}
	return indent + title + p.text(indent) + "\n", true
}

func (c *command) pkcs8Info() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	ders, why := blocks(data, c.Enabled("inder"), pki.PEMEncryptedKey, pki.PEMPrivateKey)
	if why != "" {
		return fail("PKCS #8 read error: %s", why)
	}
	if text, ok := encryptionText(ders[0], ""); ok {
		fmt.Fprint(c.out, text)
		return nil
	}
	if _, err := pki.ParsePKCS8(ders[0]); err != nil {
		return fail("PKCS #8 read error: %s", certtext.Reason(ders[0]))
	}
	fmt.Fprint(c.out, "PKCS #8 information:\n\tSchema: unencrypted key\n")
	return nil
}
