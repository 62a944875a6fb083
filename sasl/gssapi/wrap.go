package gssapi

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/common"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/types"

	"virtls/sasl"
)

// An encryption is a type of encryption that is used here. Sizes are in octets.
type encryption struct {
	name     string
	key, mac int
}

// encryptions are those whose messages RFC 4121 protects, with keys that are not
// broken (RFC 3962, RFC 8009).
var encryptions = map[int32]encryption{
	etypeID.AES128_CTS_HMAC_SHA1_96:    {"aes128-cts-hmac-sha1-96", 16, 12},
	etypeID.AES256_CTS_HMAC_SHA1_96:    {"aes256-cts-hmac-sha1-96", 32, 12},
	etypeID.AES128_CTS_HMAC_SHA256_128: {"aes128-cts-hmac-sha256-128", 16, 16},
	etypeID.AES256_CTS_HMAC_SHA384_192: {"aes256-cts-hmac-sha384-192", 32, 24},
}

// refused names others that KDCs still have keys for.
var refused = map[int32]string{
	etypeID.DES3_CBC_SHA1_KD: "des3-cbc-sha1", etypeID.RC4_HMAC: "rc4-hmac", etypeID.RC4_HMAC_EXP: "rc4-hmac-exp",
	etypeID.CAMELLIA128_CTS_CMAC: "camellia128-cts-cmac", etypeID.CAMELLIA256_CTS_CMAC: "camellia256-cts-cmac",
}

const confounderSize = 16 // of all of them

// encryptionOf finds a type of encryption by its number.
func encryptionOf(id int32) (encryption, error) {
	if e, ok := encryptions[id]; ok {
		return e, nil
	}
	var known []string
	for _, id := range slices.Sorted(maps.Keys(encryptions)) {
		known = append(known, encryptions[id].name)
	}
	name, ok := refused[id]
	if !ok {
		name = fmt.Sprintf("number %d", id)
	}
	return encryption{}, fmt.Errorf("a key for the encryption %s, which is not used here: there are %s", name, strings.Join(known, ", "))
}

// checkKey tells whether a key can be used.
func checkKey(k types.EncryptionKey) error {
	e, err := encryptionOf(k.KeyType)
	if err == nil && len(k.KeyValue) != e.key {
		err = fmt.Errorf("a key of %d octets for %s", len(k.KeyValue), e.name)
	}
	return err
}

// Flags of a wrapped message (RFC 4121, 4.2.2).
const (
	sentByAcceptor = 1 << iota
	sealed
	acceptorSubkey
)

const headerSize = 16

// Usages of keys for wrapped messages, of the acceptor's and of the initiator's
// (RFC 4121, 2).
const (
	usageAcceptor  = 22
	usageInitiator = 24
)

// A wrapper protects the messages of one context. It implements sasl.Seal.
type wrapper struct {
	key        types.EncryptionKey
	encryption encryption
	method     etype.EType
	ours       direction
	theirs     direction
	max        int // octets that a wrapped message to the other end may have
}

// A direction is that of one end's messages.
type direction struct {
	flags byte   // that all messages have
	usage uint32 // of the key
	next  uint64 // sequence number
}

// newWrapper returns an end's wrapper. The context's key is the acceptor's, if
// it has chosen one.
func newWrapper(key types.EncryptionKey, initiator, fromAcceptor bool, ours, theirs int64) (*wrapper, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	method, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	var flags byte
	if fromAcceptor {
		flags = acceptorSubkey
	}
	// Numbers of 32 bits, which some programs write as negative ones.
	a := direction{flags | sentByAcceptor, usageAcceptor, uint64(uint32(theirs))}
	i := direction{flags, usageInitiator, uint64(uint32(ours))}
	w := &wrapper{key: key, encryption: encryptions[key.KeyType], method: method, ours: i, theirs: a}
	if !initiator {
		a.next, i.next = uint64(uint32(ours)), uint64(uint32(theirs))
		w.ours, w.theirs = a, i
	}
	return w, nil
}

// SSF implements sasl.Seal.
func (w *wrapper) SSF() int { return w.encryption.key * 8 }

// overhead is by how much a sealed message is longer than what is in it.
func (w *wrapper) overhead() int { return 2*headerSize + confounderSize + w.encryption.mac }

// MaxPlain implements sasl.Seal.
func (w *wrapper) MaxPlain() int { return min(w.max, sasl.MaxSealed) - w.overhead() }

// Wrap implements sasl.Seal.
func (w *wrapper) Wrap(message []byte) ([]byte, error) { return w.wrap(message, true) }

// Unwrap implements sasl.Seal: a message that is signed only is refused.
func (w *wrapper) Unwrap(token []byte) ([]byte, error) { return w.unwrap(token, true) }

// header is that of a message: token id, flags, filler, EC, RRC, sequence number.
func (d *direction) header(flags byte, ec int) []byte {
	h := []byte{5, 4, d.flags | flags, 0xff, byte(ec >> 8), byte(ec), 0, 0}
	return binary.BigEndian.AppendUint64(h, d.next)
}

// wrap signs a message, or encrypts it too (RFC 4121, 4.2.4). No octets of the
// message are rotated.
func (w *wrapper) wrap(message []byte, seal bool) ([]byte, error) {
	d := &w.ours
	defer func() { d.next++ }()
	if !seal {
		sum, err := common.GetChecksumHash(append(message[:len(message):len(message)], d.header(0, 0)...), w.key.KeyValue, d.usage, w.method)
		if err != nil {
			return nil, err
		}
		return append(append(d.header(0, len(sum)), message...), sum...), nil
	}
	header := d.header(sealed, 0)
	_, cipher, err := w.method.EncryptMessage(w.key.KeyValue, append(message[:len(message):len(message)], header...), d.usage)
	if err != nil {
		return nil, err
	}
	return append(header, cipher...), nil
}

var errForged = errors.New("a message of Kerberos that was changed on the way, or is of another key")

// unwrap verifies a message, and decrypts it if it has to be sealed.
func (w *wrapper) unwrap(token []byte, seal bool) ([]byte, error) {
	d := &w.theirs
	var flags byte
	least := headerSize + w.encryption.mac
	if seal {
		flags, least = sealed, headerSize+confounderSize+headerSize+w.encryption.mac
	}
	if len(token) < least || len(token) > sasl.MaxSealed {
		return nil, fmt.Errorf("a message of Kerberos with %d octets; %d to %d were due", len(token), least, sasl.MaxSealed)
	}
	ec, rrc := int(binary.BigEndian.Uint16(token[4:])), int(binary.BigEndian.Uint16(token[6:]))
	switch want := d.header(flags, ec); {
	case string(token[:4]) != string(want[:4]):
		return nil, fmt.Errorf("a message of Kerberos that begins with %x; %x was due", token[:4], want[:4])
	case string(token[8:headerSize]) != string(want[8:]):
		return nil, fmt.Errorf("a message of Kerberos with the number %d; %d was due", binary.BigEndian.Uint64(token[8:]), d.next)
	}
	message, err := w.open(rotated(token[headerSize:], rrc), seal, ec)
	if err == nil {
		d.next++
	}
	return message, err
}

// rotated undoes a rotation to the right (RFC 4121, 4.2.5).
func rotated(p []byte, by int) []byte {
	by %= len(p)
	return append(append([]byte{}, p[by:]...), p[:by]...)
}

// open verifies what follows a header.
func (w *wrapper) open(body []byte, seal bool, ec int) ([]byte, error) {
	d := &w.theirs
	if !seal {
		at := len(body) - w.encryption.mac
		if ec != w.encryption.mac {
			return nil, fmt.Errorf("a checksum of Kerberos with %d octets; %d were due", ec, w.encryption.mac)
		}
		want, err := common.GetChecksumHash(append(body[:at:at], d.header(0, 0)...), w.key.KeyValue, d.usage, w.method)
		if err != nil || !hmac.Equal(want, body[at:]) {
			return nil, errForged
		}
		return body[:at], nil
	}
	plain, err := w.method.DecryptMessage(w.key.KeyValue, body, d.usage)
	if err != nil {
		return nil, errForged
	}
	// At the end is the header again, as it was before the rotation, after EC
	// octets of filling.
	end := len(plain) - headerSize - ec
	if end < 0 || !hmac.Equal(plain[len(plain)-headerSize:], d.header(sealed, ec)) {
		return nil, errForged
	}
	return plain[:end], nil
}
