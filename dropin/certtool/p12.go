package certtool

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/certtext"
)

const pemPKCS12 = "PKCS12"

// maxKeys is how many private keys certtool takes from one file.
const maxKeys = 256

// loadKeys reads all private keys of --load-privkey.
func (c *command) loadKeys() (keys []pki.PrivateKey, err error) {
	fmt.Fprintln(c.std.Err, "Loading private key list...")
	data, err := c.load("load-privkey")
	if data == nil {
		return nil, err
	}
	if c.Enabled("inder") {
		return c.addKey(nil, data)
	}
	var blocks []*pem.Block
	var ders [][]byte
	for block := range pemBlocks(data, keyLabels) {
		if len(blocks) == maxKeys {
			break
		}
		blocks, ders = append(blocks, block), append(ders, block.Bytes)
	}
	if err := checkRounds(0, ders...); err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if keys, err = c.addKey(keys, pem.EncodeToMemory(block)); err != nil {
			return nil, err
		}
	}
	if keys == nil {
		return nil, fail("privkey_import: %s", noData)
	}
	fmt.Fprintf(c.std.Err, "Loaded %d private keys.\n", len(keys))
	return keys, nil
}

func (c *command) addKey(keys []pki.PrivateKey, data []byte) ([]pki.PrivateKey, error) {
	key, why, err := c.openKey(data)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return nil, fail("privkey_import: %s", why)
	}
	return append(keys, key), nil
}

// p12Input is what goes into a PKCS #12 file.
type p12Input struct {
	keys      []pki.PrivateKey
	certs     []*pki.Certificate
	crls      []*pki.CRL
	authority *pki.Certificate
	name      string
	password  string
}

func (c *command) toPKCS12() error {
	fmt.Fprintln(c.std.Err, "Generating a PKCS #12 structure...")
	in, err := c.loadP12Input()
	if err != nil {
		return err
	}
	cipher, plain, err := c.cipher()
	if err != nil {
		return err
	}
	if plain {
		return unsupported("--to-p12 without encryption", "the file would show its private keys to everybody")
	}
	safes, err := in.safes(cipher, c.form)
	if err != nil {
		return fail("key_export: %v", err)
	}
	hash := c.hash
	if hash == 0 {
		hash = crypto.SHA256
	}
	der, err := marshalPFX(safes, c.macPassword(in.password), hash, iterations)
	if err != nil {
		return fail("generate_mac: %v", err)
	}
	_, err = c.out.Write(c.encode(pemPKCS12, der))
	return err
}

// macPassword tells no password from an empty one.
func (c *command) macPassword(password string) *string {
	if c.Has("null-password") {
		return nil
	}
	return &password
}

func (c *command) loadP12Input() (in p12Input, err error) {
	if in.keys, err = c.loadKeys(); err != nil {
		return in, err
	}
	if in.certs, err = c.loadCertificates(); err != nil {
		return in, err
	}
	if in.authority, err = c.loadAuthority(); err != nil {
		return in, err
	}
	if in.crls, err = c.loadCRLs(); err != nil {
		return in, err
	}
	if in.keys == nil && in.certs == nil && in.authority == nil && in.crls == nil {
		return in, fail("You must specify one of\n\t--load-privkey\n\t--load-certificate\n\t--load-ca-certificate\n\t--load-crl")
	}
	if in.name, err = c.p12Name(); err != nil {
		return in, err
	}
	password, encrypt, err := c.newPassword(true)
	if err == nil && !encrypt {
		err = fail("certtool: a PKCS #12 file needs a password: use --password, or `password` in the template")
	}
	in.password = password
	return in, err
}

func (c *command) p12Name() (string, error) {
	if name, ok := c.Last("p12-name"); ok {
		return name, nil
	}
	if c.batch() {
		return c.template.PKCS12KeyName(), nil
	}
	for {
		name, more := c.ask("Enter a name for the key: ")
		switch {
		case name != "":
			return name, nil
		case !more:
			return "", errEnd()
		}
	}
}

// safes puts each object in a safe of its own, in certtool's order.
func (in p12Input) safes(cipher pki.Cipher, form pki.MLDSAForm) (safes []safe, err error) {
	seal := func(b bag) {
		s, sealErr := safe{bags: []bag{b}}.seal(in.password, cipher, iterations)
		err = errors.Join(err, sealErr)
		safes = append(safes, s)
	}
	for i, cert := range in.certs {
		b := bag{kind: certBag, data: cert.Raw, keyID: cert.PublicKey.ID()}
		if i == 0 {
			b.name = in.name
		}
		seal(b)
	}
	for _, crl := range in.crls {
		seal(bag{kind: crlBag, data: crl.Raw})
	}
	if in.authority != nil {
		seal(bag{kind: certBag, data: in.authority.Raw})
	}
	for _, key := range in.keys {
		der, keyErr := pki.MarshalPKCS8(key, form)
		if keyErr != nil {
			return nil, keyErr
		}
		der, keyErr = pki.EncryptPKCS8(der, []byte(in.password), cipher, iterations)
		id, idErr := pki.KeyIDFor(key.Public())
		err = errors.Join(err, keyErr, idErr)
		safes = append(safes, safe{bags: []bag{{kind: shroudedKeyBag, data: der, name: in.name, keyID: id}}})
	}
	return safes, err
}

func (c *command) pkcs12Info() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	ders, why := blocks(data, c.Enabled("inder"), pemPKCS12)
	if why != "" {
		return fail("p12_import: %s", why)
	}
	f, err := parsePFX(ders[0])
	if err != nil {
		return fail("p12_import: %s", certtext.Reason(ders[0]))
	}
	if err := f.checkRounds(); err != nil {
		return err
	}
	if f.isSigned && c.text() {
		c.showMAC(f.mac)
	}
	password, _, err := c.newPassword(false)
	if err != nil {
		return err
	}
	ok := true
	if f.isSigned && (f.mac.hash == 0 || !f.verify(c.macPassword(password))) {
		ok = false
		fmt.Fprintln(c.std.Err, "verify_mac: The Message Authentication Code verification failed.")
	}
	for i, s := range f.safes {
		ok = c.showSafe(i, s, password) && ok
	}
	if !ok {
		return fail("There were errors parsing the structure")
	}
	return nil
}

func (c *command) showMAC(m macData) {
	fmt.Fprintln(c.out, "MAC info:")
	if m.hash == 0 {
		fmt.Fprintf(c.out, "\tMAC: unknown (%s)\n", m.oid)
		return
	}
	fmt.Fprintf(c.out, "\tMAC: %s (%s)\n\tSalt: %x\n\tSalt size: %d\n\tIteration count: %d\n\n",
		pki.HashName(m.hash), m.oid, m.salt, len(m.salt), m.iterations)
}

// showSafe shows the bags of a safe, and tells whether it could be opened.
func (c *command) showSafe(i int, s safe, password string) bool {
	text := c.text()
	if text && i > 0 {
		fmt.Fprintln(c.out)
	}
	if text {
		fmt.Fprintf(c.out, "BAG #%d\n", i)
	}
	if s.encrypted != nil {
		if text {
			fmt.Fprintf(c.out, "\tType: Encrypted\n%s\n\tDecrypting...\n", safeEncryptionText(s.encrypted))
		}
		bags, err := s.open(password)
		switch {
		case errors.Is(err, pki.ErrPassword):
			fmt.Fprintf(c.std.Err, "bag_decrypt: %s\n", badPassword)
			return false
		case err != nil:
			fmt.Fprintf(c.std.Err, "bag_decrypt: %v\n", err)
			return false
		}
		s.bags = bags
	}
	if text {
		fmt.Fprintf(c.out, "\tElements: %d\n", len(s.bags))
	}
	for _, b := range s.bags {
		c.showBag(b, text)
	}
	return true
}

func safeEncryptionText(encrypted []byte) string {
	in := cryptobyte.String(encrypted)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return ""
	}
	p, other, ok := readPBES2(&seq)
	switch {
	case !ok:
		return ""
	case other != nil:
		return fmt.Sprintf("\tSchema: unsupported (%s)\n", other)
	}
	return p.text("")
}

var bagTitles = map[bagKind]struct{ title, label string }{
	keyBag:         {"PKCS #8 Key", pki.PEMPrivateKey},
	shroudedKeyBag: {"PKCS #8 Encrypted key", pki.PEMEncryptedKey},
	certBag:        {"Certificate", pki.PEMCertificate},
	crlBag:         {"CRL", "CRL"},
	secretBag:      {"Secret", ""},
}

func (c *command) showBag(b bag, text bool) {
	form, ok := bagTitles[b.kind]
	if !ok {
		form.title = "Unknown"
	}
	if text {
		fmt.Fprintf(c.out, "\tType: %s\n", form.title)
		if info, ok := encryptionText(b.data, "\t"); ok && b.kind == shroudedKeyBag {
			fmt.Fprint(c.out, info)
		}
		if b.name != "" {
			fmt.Fprintf(c.out, "\tFriendly name: %s\n", b.name)
		}
		if len(b.keyID) > 0 {
			fmt.Fprintf(c.out, "\tKey ID: %s\n", colons(b.keyID))
		}
	}
	if form.label != "" {
		fmt.Fprintf(c.out, "%s", pki.EncodePEM(form.label, b.data))
	}
}

// colons writes octets as certtool writes key identifiers.
func colons(b []byte) string {
	octets := make([]string, len(b))
	for i, o := range b {
		octets[i] = fmt.Sprintf("%02X", o)
	}
	return strings.Join(octets, ":")
}
