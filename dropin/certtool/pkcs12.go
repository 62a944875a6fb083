package certtool

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
)

// The structure of PKCS #12 files (RFC 7292) is written and read here, because
// certtool shows it bag by bag, with the friendly names, key identifiers and
// revocation lists that no library lets one see or set.

// maxRounds bounds the rounds of a hash function that opening all of a
// foreign file may ask for, which take seconds: 83 objects that GnuTLS has
// encrypted one by one, or 50 with a million rounds.
const maxRounds = 50_000_000

// iterations are those of the keys and PKCS #12 files that are written:
// GnuTLS's. They are a variable for tests alone, most of which want fewer.
var iterations = pki.DefaultPBKDF2Iterations

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	bagTypes     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1}
	oidX509Cert  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidX509CRL   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 23, 1}
	oidName      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalKey  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}
)

// A bagKind is the last number of a bag's object identifier (RFC 7292, 4.2).
type bagKind int

const (
	keyBag bagKind = iota + 1
	shroudedKeyBag
	certBag
	crlBag
	secretBag
)

// A bag holds one object. Data is its DER: of the key, certificate or list
// itself, without the wrapping that the kind of bag asks for.
type bag struct {
	kind  bagKind
	data  []byte
	name  string // friendly name, "" if absent
	keyID []byte
}

// A safe is a group of bags, encrypted together or not at all.
type safe struct {
	bags      []bag
	encrypted []byte // EncryptedPrivateKeyInfo around the bags, nil if they are in clear
}

// A pfx is a PKCS #12 file.
type pfx struct {
	safes    []safe
	content  []byte // what the MAC is about
	mac      macData
	isSigned bool
}

type macData struct {
	hash         crypto.Hash
	oid          asn1.ObjectIdentifier
	digest, salt []byte
	iterations   int
}

func explicit(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// sequence adds a SEQUENCE that begins with an object identifier.
func sequence(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, rest func(*cryptobyte.Builder)) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		rest(b)
	})
}

// wrapped adds an OCTET STRING inside [0].
func wrapped(b *cryptobyte.Builder, content []byte) {
	b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
}

func (x bag) add(b *cryptobyte.Builder) {
	oid := append(append(asn1.ObjectIdentifier{}, bagTypes...), int(x.kind))
	sequence(b, oid, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			switch x.kind {
			case certBag:
				sequence(b, oidX509Cert, func(b *cryptobyte.Builder) { wrapped(b, x.data) })
			case crlBag:
				sequence(b, oidX509CRL, func(b *cryptobyte.Builder) { wrapped(b, x.data) })
			default:
				b.AddBytes(x.data)
			}
		})
		if x.name == "" && x.keyID == nil {
			return
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			if x.name != "" {
				attribute(b, oidName, cbasn1.Tag(30), bmpString(x.name))
			}
			if x.keyID != nil {
				attribute(b, oidLocalKey, cbasn1.OCTET_STRING, x.keyID)
			}
		})
	})
}

func attribute(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, tag cbasn1.Tag, content []byte) {
	sequence(b, oid, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
		})
	})
}

// bmpString encodes text in UTF-16, as friendly names and the passwords of MACs are.
func bmpString(text string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit>>8), byte(unit))
	}
	return b
}

func decodeBMP(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, uint16(b[0])<<8|uint16(b[1]))
	}
	return string(utf16.Decode(units))
}

// contents returns the SafeContents of a safe.
func (s safe) contents() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, x := range s.bags {
			x.add(b)
		}
	})
	return b.Bytes()
}

// seal makes an encrypted safe. PBES2 looks the same around a private key and
// around bags; only what holds it differs.
func (s safe) seal(password string, cipher pki.Cipher, iterations int) (safe, error) {
	contents, err := s.contents()
	if err != nil {
		return safe{}, err
	}
	s.encrypted, err = pki.EncryptPKCS8(contents, []byte(password), cipher, iterations)
	return s, err
}

// open decrypts a safe.
func (s safe) open(password string) ([]bag, error) {
	contents, err := pki.DecryptPKCS8(s.encrypted, []byte(password))
	if err != nil {
		return nil, err
	}
	return readBags(contents)
}

// checkRounds refuses a file that asks for too much work: so many rounds for
// its MAC, and what opening each structure takes. What cannot be opened at all
// takes none.
func checkRounds(mac int, encrypted ...[]byte) error {
	total := mac
	for _, der := range encrypted {
		rounds, _ := pki.PKCS8Rounds(der)
		total += rounds
	}
	if total > maxRounds {
		return fail("certtool: the file asks for %d rounds of key derivation; at most %d are done", total, maxRounds)
	}
	return nil
}

// checkRounds is that for all that is opened to show the file.
func (f *pfx) checkRounds() error {
	var encrypted [][]byte
	for _, s := range f.safes {
		encrypted = append(encrypted, s.encrypted)
	}
	return checkRounds(f.mac.iterations, encrypted...)
}

// addContentInfo writes a safe as an element of the AuthenticatedSafe.
func (s safe) addContentInfo(b *cryptobyte.Builder) {
	if s.encrypted == nil {
		contents, err := s.contents()
		if err != nil {
			b.SetError(err)
		}
		sequence(b, oidData, func(b *cryptobyte.Builder) { wrapped(b, contents) })
		return
	}
	in := cryptobyte.String(s.encrypted)
	var seq, algorithm, data cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) || !seq.ReadASN1(&data, cbasn1.OCTET_STRING) {
		b.SetError(errors.New("malformed encryption"))
		return
	}
	sequence(b, oidEncrypted, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				sequence(b, oidData, func(b *cryptobyte.Builder) {
					b.AddBytes(algorithm)
					b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(data) })
				})
			})
		})
	})
}

// macHashes are the hash functions of MACs.
var macHashes = []struct {
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
}{
	{crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}},
	{crypto.SHA224, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}},
	{crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	{crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
	{crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
}

// marshalPFX makes a file of safes, with a MAC under the password; nil is none
// at all, which is not the same as an empty one.
func marshalPFX(safes []safe, password *string, hash crypto.Hash, iterations int) ([]byte, error) {
	m := macData{hash: hash, salt: make([]byte, 8), iterations: iterations}
	for _, h := range macHashes {
		if h.hash == hash {
			m.oid = h.oid
		}
	}
	if m.oid == nil {
		return nil, fmt.Errorf("no MAC with %s", pki.HashName(hash))
	}
	rand.Read(m.salt)
	var inner cryptobyte.Builder
	inner.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, s := range safes {
			s.addContentInfo(b)
		}
	})
	content, err := inner.Bytes()
	if err != nil {
		return nil, err
	}
	m.digest = m.compute(content, password)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		sequence(b, oidData, func(b *cryptobyte.Builder) { wrapped(b, content) })
		b.AddASN1(cbasn1.SEQUENCE, m.add)
	})
	return b.Bytes()
}

func (m macData) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(m.oid)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(m.digest)
	})
	b.AddASN1OctetString(m.salt)
	b.AddASN1Int64(int64(m.iterations))
}

// compute returns the MAC of content (RFC 7292, appendix B).
func (m macData) compute(content []byte, password *string) []byte {
	var p []byte
	if password != nil {
		p = append(bmpString(*password), 0, 0)
	}
	h := hmac.New(m.hash.New, deriveMACKey(m.hash, p, m.salt, m.iterations))
	h.Write(content)
	return h.Sum(nil)
}

// deriveMACKey is the key derivation of RFC 7292, B.2, for as many octets as
// the hash function has, so that no more than one round is needed.
func deriveMACKey(hash crypto.Hash, password, salt []byte, iterations int) []byte {
	const macKey = 3
	h := hash.New()
	block := h.BlockSize()
	fill := func(b []byte) []byte {
		var out []byte
		for n := (len(b) + block - 1) / block * block; len(out) < n; {
			out = append(out, b[:min(len(b), n-len(out))]...)
		}
		return out
	}
	for range block {
		h.Write([]byte{macKey})
	}
	h.Write(fill(salt))
	h.Write(fill(password))
	key := h.Sum(nil)
	for range iterations - 1 {
		h.Reset()
		h.Write(key)
		key = h.Sum(key[:0])
	}
	return key
}

// verify tells whether the MAC is right.
func (f *pfx) verify(password *string) bool {
	return hmac.Equal(f.mac.compute(f.content, password), f.mac.digest)
}

var errPFX = errors.New("malformed PKCS #12 file")

// parsePFX reads a file. Safes that are not encrypted are read at once.
func parsePFX(der []byte) (*pfx, error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	var version int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) || version != 3 {
		return nil, errPFX
	}
	f := new(pfx)
	oid, content, ok := readContentInfo(&seq)
	if !ok || !oid.Equal(oidData) || !content.ReadASN1((*cryptobyte.String)(&f.content), cbasn1.OCTET_STRING) {
		return nil, errPFX
	}
	if f.isSigned = !seq.Empty(); f.isSigned {
		if f.mac, ok = readMAC(&seq); !ok {
			return nil, errPFX
		}
	}
	safes := cryptobyte.String(f.content)
	if !safes.ReadASN1(&seq, cbasn1.SEQUENCE) || !safes.Empty() {
		return nil, errPFX
	}
	for !seq.Empty() {
		s, err := readSafe(&seq)
		if err != nil {
			return nil, err
		}
		f.safes = append(f.safes, s)
	}
	return f, nil
}

// readContentInfo reads a ContentInfo and opens the [0] of its content.
func readContentInfo(in *cryptobyte.String) (oid asn1.ObjectIdentifier, content cryptobyte.String, ok bool) {
	var seq cryptobyte.String
	ok = in.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1ObjectIdentifier(&oid) && seq.ReadASN1(&content, explicit(0)) && seq.Empty()
	return oid, content, ok
}

func readMAC(in *cryptobyte.String) (m macData, ok bool) {
	var seq, info, algorithm, digest, salt cryptobyte.String
	m.iterations = 1
	ok = in.ReadASN1(&seq, cbasn1.SEQUENCE) && in.Empty() && seq.ReadASN1(&info, cbasn1.SEQUENCE) &&
		info.ReadASN1(&algorithm, cbasn1.SEQUENCE) && algorithm.ReadASN1ObjectIdentifier(&m.oid) &&
		info.ReadASN1(&digest, cbasn1.OCTET_STRING) && seq.ReadASN1(&salt, cbasn1.OCTET_STRING) &&
		(seq.Empty() || seq.ReadASN1Integer(&m.iterations))
	for _, h := range macHashes {
		if h.oid.Equal(m.oid) {
			m.hash = h.hash
		}
	}
	m.digest, m.salt = digest, salt
	return m, ok && m.iterations >= 1 && m.iterations <= maxRounds
}

func readSafe(in *cryptobyte.String) (s safe, err error) {
	oid, content, ok := readContentInfo(in)
	if !ok {
		return s, errPFX
	}
	var octets, seq, info, algorithm, data cryptobyte.String
	switch {
	case oid.Equal(oidData):
		if !content.ReadASN1(&octets, cbasn1.OCTET_STRING) {
			return s, errPFX
		}
		s.bags, err = readBags(octets)
		return s, err
	case oid.Equal(oidEncrypted):
		var version int
		var kind asn1.ObjectIdentifier
		if !content.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(&version) || !seq.ReadASN1(&info, cbasn1.SEQUENCE) ||
			!info.ReadASN1ObjectIdentifier(&kind) || !info.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) ||
			!info.ReadASN1(&data, cbasn1.Tag(0).ContextSpecific()) {
			return s, errPFX
		}
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(algorithm)
			b.AddASN1OctetString(data)
		})
		s.encrypted, err = b.Bytes()
		return s, err
	}
	return s, fmt.Errorf("the PKCS #12 file has contents of type %v", oid)
}

func readBags(der []byte) (bags []bag, err error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, errPFX
	}
	for !seq.Empty() {
		x, ok := readBag(&seq)
		if !ok {
			return nil, errPFX
		}
		bags = append(bags, x)
	}
	return bags, nil
}

func readBag(in *cryptobyte.String) (x bag, ok bool) {
	var seq, value, attributes cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) || !seq.ReadASN1(&value, explicit(0)) {
		return x, false
	}
	if n := len(bagTypes); len(oid) == n+1 && oid[:n].Equal(bagTypes) {
		x.kind = bagKind(oid[n])
	}
	x.data = value
	if x.kind == certBag || x.kind == crlBag {
		_, content, ok := readContentInfo(&value)
		if !ok || !content.ReadASN1((*cryptobyte.String)(&x.data), cbasn1.OCTET_STRING) {
			return x, false
		}
	}
	if seq.Empty() {
		return x, true
	}
	if !seq.ReadASN1(&attributes, cbasn1.SET) {
		return x, false
	}
	for !attributes.Empty() {
		if !x.readAttribute(&attributes) {
			return x, false
		}
	}
	return x, seq.Empty()
}

func (x *bag) readAttribute(in *cryptobyte.String) bool {
	var seq, set, content cryptobyte.String
	var oid asn1.ObjectIdentifier
	var tag cbasn1.Tag
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) || !seq.ReadASN1(&set, cbasn1.SET) ||
		!set.ReadAnyASN1(&content, &tag) {
		return false
	}
	switch {
	case oid.Equal(oidName):
		x.name = decodeBMP(content)
	case oid.Equal(oidLocalKey):
		x.keyID = content
	}
	return true
}
