// Package psk reads, judges and changes files of TLS pre-shared keys
// (keys.psk) as QEMU clients and GnuTLS servers read them.
//
// The file has one USER:HEXKEY per line. Its two readers differ, as measured
// with QEMU 7.2, 10.0, 11.1 and GnuTLS 3.7.9, 3.8.9, 3.8.13:
//
//   - A server (GnuTLS, behind QEMU's endpoint=server) searches the file at
//     every handshake. The user is what precedes the first colon; a user
//     written as # and hexadecimal digits is decoded first. [File.ServerKey].
//   - A QEMU client takes the first line that begins with its username and a
//     colon, without decoding anything. [File.ClientKey].
//
// Both take the first of several lines for a user, skip lines without a colon,
// and want the rest of the line to be hexadecimal digits and nothing else: a
// blank or the CR of a CRLF makes the key unusable. Neither knows comments;
// a line such as "# who: what" is skipped because its user is no hexadecimal.
//
// Parsing and changing a [File] touches no disk; [Read] and [Update] do.
package psk

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"

	"virtls/finding"
)

// Sizes of keys in bytes.
const (
	DefaultKeySize = 32  // what psktool makes
	MinKeySize     = 16  // least for a new key: RFC 9257 section 6 wants 128 bits of entropy
	MaxKeySize     = 512 // most for a new key: psktool's bound
	usableKeySize  = 4   // a GnuTLS client refuses shorter ones
)

// A Key is a pre-shared key. However it is printed, logged or marshalled, only
// its size shows; [Key.Bytes] and [Key.Hex] are the ways to the key itself.
// The zero Key is no key. Keys are immutable.
type Key struct {
	// A function, because fmt prints all other kinds of unexported fields of
	// the values it is given, without asking their methods.
	secret func() []byte
}

// NewKey returns a key with a copy of secret, of any size.
func NewKey(secret []byte) Key {
	return newKey(append([]byte(nil), secret...))
}

func newKey(secret []byte) Key { return Key{func() []byte { return secret }} }

var kindKeySize = finding.Define("psk-key-size", finding.Error,
	"a new pre-shared key cannot have this size",
	"take 32 bytes")

// Generate returns a new random key of size bytes, from [MinKeySize] to
// [MaxKeySize].
func Generate(size int) (Key, error) {
	if err := checkSize(size); err != nil {
		return Key{}, err
	}
	secret := make([]byte, size)
	rand.Read(secret) // never fails
	return newKey(secret), nil
}

func checkSize(size int) error {
	if size < MinKeySize || size > MaxKeySize {
		return kindKeySize.Found("", fmt.Sprintf("%d bytes", size)).
			WithWant(fmt.Sprintf("%d to %d bytes", MinKeySize, MaxKeySize), "").Usage()
	}
	return nil
}

// Bytes returns a copy of the key.
func (k Key) Bytes() []byte { return append([]byte(nil), k.bytes()...) }

// Hex returns the key as it is written in a file.
func (k Key) Hex() string { return hex.EncodeToString(k.bytes()) }

// Size returns the length of the key in bytes, 0 for no key.
func (k Key) Size() int { return len(k.bytes()) }

// Equal compares two keys in a time that depends on their sizes alone.
func (k Key) Equal(other Key) bool {
	return subtle.ConstantTimeCompare(k.bytes(), other.bytes()) == 1
}

func (k Key) bytes() []byte {
	if k.secret == nil {
		return nil
	}
	return k.secret()
}

// String says how long the key is.
func (k Key) String() string { return fmt.Sprintf("[key of %d bytes]", k.Size()) }

// Format prints the same as [Key.String] for every verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalText returns the same as [Key.String], for JSON and other encodings.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue logs the same as [Key.String].
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
