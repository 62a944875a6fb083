// Package schedule derives the keys of TLS 1.3 (RFC 8446, section 7) and
// imports external pre-shared keys (RFC 9258).
package schedule

import (
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	_ "crypto/sha256" // the hashes of TLS 1.3
	_ "crypto/sha512"

	"golang.org/x/crypto/cryptobyte"
)

// Schedule is a connection's chain of secrets. It moves from the early secret
// to the handshake secret and on to the master secret, and not back.
type Schedule struct {
	hash   crypto.Hash
	secret []byte
}

// New starts a schedule at the early secret. psk is nil in a handshake without one.
func New(h crypto.Hash, psk []byte) *Schedule {
	if psk == nil {
		psk = make([]byte, h.Size())
	}
	return &Schedule{h, extract(h, psk, nil)}
}

// Labels of binder keys: of external keys, and of those imported by RFC 9258.
const (
	ExternalBinder = "ext binder"
	ImportedBinder = "imp binder"
)

// Binder returns the binder of a pre-shared key (RFC 8446, section 4.2.11.2)
// for the transcript up to the list of binders. The schedule is at the early secret.
func (s *Schedule) Binder(label string, transcript []byte) []byte {
	return Finished(s.hash, s.derive(label, emptyHash(s.hash)), transcript)
}

// Handshake moves on to the handshake secret. shared is the result of the key
// exchange, nil without one (psk_ke).
func (s *Schedule) Handshake(shared []byte) { s.next(shared) }

// Master moves on to the master secret.
func (s *Schedule) Master() { s.next(nil) }

// Forget overwrites the secret.
func (s *Schedule) Forget() { clear(s.secret) }

func (s *Schedule) next(input []byte) {
	if input == nil {
		input = make([]byte, s.hash.Size())
	}
	salt := s.derive("derived", emptyHash(s.hash))
	clear(s.secret)
	s.secret = extract(s.hash, input, salt)
	clear(salt)
}

// HandshakeTraffic returns the secrets of the handshake's records for the
// transcript up to ServerHello.
func (s *Schedule) HandshakeTraffic(transcript []byte) (client, server []byte) {
	return s.derive("c hs traffic", transcript), s.derive("s hs traffic", transcript)
}

// ApplicationTraffic returns the first secrets of application data for the
// transcript up to the server's Finished.
func (s *Schedule) ApplicationTraffic(transcript []byte) (client, server []byte) {
	return s.derive("c ap traffic", transcript), s.derive("s ap traffic", transcript)
}

// Exporter returns the exporter's master secret for the transcript up to the
// server's Finished.
func (s *Schedule) Exporter(transcript []byte) []byte { return s.derive("exp master", transcript) }

func (s *Schedule) derive(label string, transcript []byte) []byte {
	return ExpandLabel(s.hash, s.secret, label, transcript, s.hash.Size())
}

// Next returns the traffic secret after a KeyUpdate (RFC 8446, section 7.2).
func Next(h crypto.Hash, secret []byte) []byte {
	return ExpandLabel(h, secret, "traffic upd", nil, h.Size())
}

// Keys returns the key and the nonce's mask for a traffic secret (RFC 8446,
// section 7.3).
func Keys(h crypto.Hash, secret []byte, keySize int) (key, iv []byte) {
	return ExpandLabel(h, secret, "key", nil, keySize), ExpandLabel(h, secret, "iv", nil, 12)
}

// Finished returns the content of a Finished message, or a binder, for a base
// key (RFC 8446, section 4.4.4).
func Finished(h crypto.Hash, secret, transcript []byte) []byte {
	mac := hmac.New(h.New, ExpandLabel(h, secret, "finished", nil, h.Size()))
	mac.Write(transcript)
	return mac.Sum(nil)
}

// Export returns keying material for an application (RFC 8446, section 7.5).
func Export(h crypto.Hash, exporter []byte, label string, context []byte, size int) []byte {
	secret := ExpandLabel(h, exporter, label, emptyHash(h), h.Size())
	return ExpandLabel(h, secret, "exporter", sum(h, context), size)
}

// ExpandLabel is HKDF-Expand-Label (RFC 8446, section 7.1).
func ExpandLabel(h crypto.Hash, secret []byte, label string, context []byte, size int) []byte {
	var b cryptobyte.Builder
	b.AddUint16(uint16(size))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	out, err := hkdf.Expand(h.New, secret, string(b.BytesOrPanic()), size)
	if err != nil {
		panic("schedule: " + err.Error()) // a size that HKDF does not allow: a caller's mistake
	}
	return out
}

func extract(h crypto.Hash, secret, salt []byte) []byte {
	out, err := hkdf.Extract(h.New, secret, salt)
	if err != nil {
		panic("schedule: " + err.Error()) // only where FIPS 140 is enforced, which the engine does not support
	}
	return out
}

func emptyHash(h crypto.Hash) []byte { return sum(h, nil) }

func sum(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}

// Target KDFs of an imported identity (RFC 9258, section 5.1).
const (
	TargetKDFSHA256 = 1
	TargetKDFSHA384 = 2
)

// An ImportedIdentity is what an imported key is offered as (RFC 9258, section
// 5.1).
type ImportedIdentity struct {
	Identity []byte // of the external key
	Context  []byte
	Protocol uint16 // for which the key is
	KDF      uint16
}

// TargetKDF returns the code of the KDF with a hash of TLS 1.3.
func TargetKDF(h crypto.Hash) uint16 {
	if h == crypto.SHA384 {
		return TargetKDFSHA384
	}
	return TargetKDFSHA256
}

// TargetHash returns the hash of the identity's KDF, 0 if it is not known.
func (id ImportedIdentity) TargetHash() crypto.Hash {
	switch id.KDF {
	case TargetKDFSHA256:
		return crypto.SHA256
	case TargetKDFSHA384:
		return crypto.SHA384
	}
	return 0
}

// Marshal writes the identity.
func (id ImportedIdentity) Marshal() []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(id.Identity) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(id.Context) })
	b.AddUint16(id.Protocol)
	b.AddUint16(id.KDF)
	return b.BytesOrPanic()
}

// ParseImported reads an identity; it reports false if it is none.
func ParseImported(b []byte) (id ImportedIdentity, ok bool) {
	s := cryptobyte.String(b)
	var identity, context cryptobyte.String
	ok = s.ReadUint16LengthPrefixed(&identity) && len(identity) > 0 && s.ReadUint16LengthPrefixed(&context) &&
		s.ReadUint16(&id.Protocol) && s.ReadUint16(&id.KDF) && s.Empty()
	id.Identity, id.Context = identity, context
	return id, ok
}

// Import derives a key for suites of TLS 1.3 with the target hash from an
// external one (RFC 9258, section 5.1), and the identity to offer it as. keyHash is
// the external key's own hash: GnuTLS takes the target's instead, which is another
// key where the two differ.
func Import(keyHash crypto.Hash, key []byte, id ImportedIdentity, target crypto.Hash) (imported, ipskx []byte) {
	imported = id.Marshal()
	epskx := extract(keyHash, key, nil)
	return imported, ExpandLabel(keyHash, epskx, "derived psk", sum(keyHash, imported), target.Size())
}
