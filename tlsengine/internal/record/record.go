// Package record protects the records of TLS 1.3 (RFC 8446, section 5) and, with
// the same AEADs, of TLS 1.2 (RFC 5246, 5288 and 7905). It knows nothing of what
// records carry.
package record

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"virtls/tlsengine/internal/wire"
)

// Sizes, in octets.
const (
	HeaderSize   = 5
	MaxPlaintext = 1 << 14
	// maxExpansion is how much longer than its plaintext a protected record may
	// be. TLS 1.2 allows more (RFC 5246, section 6.2.3), its AEADs need less.
	maxExpansion = 256
	MaxRecord    = HeaderSize + MaxPlaintext + maxExpansion
	nonceSize    = 12
	explicitSize = 8 // of TLS 1.2's GCM (RFC 5288)
)

// AEAD is an algorithm that protects records.
type AEAD int

// The algorithms.
const (
	AES128GCM AEAD = iota
	AES256GCM
	ChaCha20Poly1305
)

// KeySize returns the size of the algorithm's key in octets.
func (a AEAD) KeySize() int {
	if a == AES128GCM {
		return 16
	}
	return 32
}

// FixedIVSize returns how many octets of the key block of TLS 1.2 are the
// nonce's fixed part (RFC 5288, section 3; RFC 7905, section 2).
func (a AEAD) FixedIVSize() int {
	if a == ChaCha20Poly1305 {
		return nonceSize
	}
	return nonceSize - explicitSize
}

func (a AEAD) new(key []byte) (cipher.AEAD, error) {
	if a == ChaCha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// A Protector protects the records of one direction under one key. It is not
// safe for concurrent use.
type Protector struct {
	alg   AEAD
	aead  cipher.AEAD
	iv    [nonceSize]byte
	seq   uint64
	tls13 bool

	// Of the record at hand; here so that they need no memory each time.
	nonce [nonceSize]byte
	ad    [13]byte
}

// NewTLS13 returns a protector for TLS 1.3.
func NewTLS13(a AEAD, key, iv []byte) (*Protector, error) { return newProtector(a, key, iv, true) }

// NewTLS12 returns a protector for TLS 1.2. iv is the fixed part of the nonce.
func NewTLS12(a AEAD, key, iv []byte) (*Protector, error) { return newProtector(a, key, iv, false) }

func newProtector(a AEAD, key, iv []byte, tls13 bool) (*Protector, error) {
	aead, err := a.new(key)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	p := &Protector{alg: a, aead: aead, tls13: tls13}
	copy(p.iv[:], iv)
	return p, nil
}

// Sealed returns how many records the key has protected or opened.
func (p *Protector) Sealed() uint64 { return p.seq }

// SetSealed makes n records pass: both ends of a test come near a limit by it.
func (p *Protector) SetSealed(n uint64) { p.seq = n }

// explicit tells whether records carry a part of their nonce.
func (p *Protector) explicit() bool { return !p.tls13 && p.alg != ChaCha20Poly1305 }

// Overhead returns how much longer than its payload a record is, header
// included.
func (p *Protector) Overhead() int {
	switch {
	case p == nil:
		return HeaderSize
	case p.tls13:
		return HeaderSize + 1 + p.aead.Overhead()
	case p.explicit():
		return HeaderSize + explicitSize + p.aead.Overhead()
	}
	return HeaderSize + p.aead.Overhead()
}

// header appends a record's header.
func header(dst []byte, t wire.ContentType, v wire.Version, size int) []byte {
	return append(dst, byte(t), byte(v>>8), byte(v), byte(size>>8), byte(size))
}

// AppendPlain appends an unprotected record.
func AppendPlain(dst []byte, t wire.ContentType, v wire.Version, payload []byte) []byte {
	return append(header(dst, t, v, len(payload)), payload...)
}

// Append appends a protected record. payload is at most [MaxPlaintext] octets
// and does not overlap with the free space of dst.
func (p *Protector) Append(dst []byte, t wire.ContentType, payload []byte) ([]byte, error) {
	if p.seq == ^uint64(0) {
		return dst, errors.New("record: the sequence number is used up")
	}
	start := len(dst)
	p.setNonce()
	if p.tls13 {
		dst = header(dst, wire.ApplicationData, wire.TLS12, len(payload)+1+p.aead.Overhead())
		dst = append(append(dst, payload...), byte(t))
		body := start + HeaderSize
		dst = p.aead.Seal(dst[:body], p.nonce[:], dst[body:], dst[start:body])
		p.seq++
		return dst, nil
	}
	dst = header(dst, t, wire.TLS12, p.Overhead()-HeaderSize+len(payload))
	if p.explicit() {
		dst = binary.BigEndian.AppendUint64(dst, p.seq)
	}
	body := len(dst)
	dst = append(dst, payload...)
	dst = p.aead.Seal(dst[:body], p.nonce[:], dst[body:], p.additional12(t, len(payload)))
	p.seq++
	return dst, nil
}

// setNonce puts the sequence number over the fixed part: after a fixed part of
// four octets the number itself, with a full one their difference.
func (p *Protector) setNonce() {
	binary.BigEndian.PutUint64(p.nonce[4:], binary.BigEndian.Uint64(p.iv[4:])^p.seq)
	copy(p.nonce[:4], p.iv[:4])
}

// additional12 is TLS 1.2's additional data (RFC 5246, section 6.2.3.3).
func (p *Protector) additional12(t wire.ContentType, size int) []byte {
	binary.BigEndian.PutUint64(p.ad[:8], p.seq)
	return header(p.ad[:8], t, wire.TLS12, size)
}

// Open removes the protection of a whole record in place, and returns its type
// and payload, which share its memory.
func (p *Protector) Open(rec []byte) (wire.ContentType, []byte, error) {
	t, body := wire.ContentType(rec[0]), rec[HeaderSize:]
	if len(body) > MaxPlaintext+maxExpansion {
		return 0, nil, wire.Errorf(wire.RecordOverflow, "a record of %d octets", len(body))
	}
	if p.tls13 {
		return p.open13(t, rec[:HeaderSize], body)
	}
	p.setNonce()
	if p.explicit() {
		if len(body) < explicitSize {
			return 0, nil, badMAC()
		}
		copy(p.nonce[nonceSize-explicitSize:], body)
		body = body[explicitSize:]
	}
	if len(body) < p.aead.Overhead() {
		return 0, nil, badMAC()
	}
	plain, err := p.aead.Open(body[:0], p.nonce[:], body, p.additional12(t, len(body)-p.aead.Overhead()))
	if err != nil {
		return 0, nil, badMAC()
	}
	p.seq++
	return t, plain, checkSize(plain, MaxPlaintext)
}

func (p *Protector) open13(t wire.ContentType, head, body []byte) (wire.ContentType, []byte, error) {
	if head[1] != 3 || head[2] != 3 {
		return 0, nil, wire.Errorf(wire.ProtocolVersion, "a record of version 0x%02x%02x in TLS 1.3", head[1], head[2])
	}
	if t != wire.ApplicationData {
		return 0, nil, wire.Errorf(wire.BadRecordMAC, "an unprotected record of type %s", t)
	}
	p.setNonce()
	plain, err := p.aead.Open(body[:0], p.nonce[:], body, head)
	if err != nil {
		return 0, nil, badMAC()
	}
	p.seq++
	if err := checkSize(plain, MaxPlaintext+1); err != nil {
		return 0, nil, err
	}
	// The type is the last octet that is not padding.
	n := len(plain)
	for n > 0 && plain[n-1] == 0 {
		n--
	}
	if n == 0 {
		return 0, nil, wire.Errorf(wire.UnexpectedMessage, "a record without a type")
	}
	t, plain = wire.ContentType(plain[n-1]), plain[:n-1]
	return t, plain, nil
}

func checkSize(plain []byte, limit int) error {
	if len(plain) > limit {
		return wire.Errorf(wire.RecordOverflow, "a record with %d octets of content", len(plain))
	}
	return nil
}

// badMAC says no more than that, whatever is wrong with a record.
func badMAC() error { return wire.Errorf(wire.BadRecordMAC, "a record that cannot be decrypted") }
