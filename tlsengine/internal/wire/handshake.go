package wire

import (
	"golang.org/x/crypto/cryptobyte"
)

// HandshakeType is the type of a handshake message (RFC 8446, section 4).
type HandshakeType uint8

// The handshake types. MessageHash stands for a first ClientHello in the
// transcript of a handshake with a HelloRetryRequest.
const (
	TypeHelloRequest        HandshakeType = 0
	TypeClientHello         HandshakeType = 1
	TypeServerHello         HandshakeType = 2
	TypeNewSessionTicket    HandshakeType = 4
	TypeEndOfEarlyData      HandshakeType = 5
	TypeEncryptedExtensions HandshakeType = 8
	TypeCertificate         HandshakeType = 11
	TypeServerKeyExchange   HandshakeType = 12
	TypeCertificateRequest  HandshakeType = 13
	TypeServerHelloDone     HandshakeType = 14
	TypeCertificateVerify   HandshakeType = 15
	TypeClientKeyExchange   HandshakeType = 16
	TypeFinished            HandshakeType = 20
	TypeCertificateStatus   HandshakeType = 22
	TypeKeyUpdate           HandshakeType = 24
	TypeMessageHash         HandshakeType = 254
)

func (t HandshakeType) String() string { return name(handshakeNames, t, "handshake message") }

var handshakeNames = map[HandshakeType]string{
	TypeHelloRequest: "hello_request", TypeClientHello: "client_hello", TypeServerHello: "server_hello", TypeNewSessionTicket: "new_session_ticket",
	TypeEndOfEarlyData: "end_of_early_data", TypeEncryptedExtensions: "encrypted_extensions", TypeCertificate: "certificate",
	TypeServerKeyExchange: "server_key_exchange", TypeCertificateRequest: "certificate_request", TypeServerHelloDone: "server_hello_done",
	TypeCertificateVerify: "certificate_verify", TypeClientKeyExchange: "client_key_exchange", TypeFinished: "finished",
	TypeCertificateStatus: "certificate_status", TypeKeyUpdate: "key_update", TypeMessageHash: "message_hash",
}

// HeaderSize is the size of a handshake message's header.
const HeaderSize = 4

// Message is a handshake message with its header, as it goes into the transcript.
type Message []byte

// NewMessage puts a header before a body.
func NewMessage(t HandshakeType, body []byte) Message {
	n := len(body)
	return append(Message{byte(t), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// Type returns the message's type.
func (m Message) Type() HandshakeType { return HandshakeType(m[0]) }

// Body returns the message without its header.
func (m Message) Body() []byte { return m[HeaderSize:] }

// BodySize reads the size of the body from a header, which is all of m that
// needs to be there.
func (m Message) BodySize() int { return int(m[1])<<16 | int(m[2])<<8 | int(m[3]) }

// build returns a message whose body is written by f. It panics if a length
// does not fit, which only a caller's mistake can bring about.
func build(t HandshakeType, f func(b *cryptobyte.Builder)) Message {
	var b cryptobyte.Builder
	b.AddUint8(uint8(t))
	b.AddUint24LengthPrefixed(f)
	return b.BytesOrPanic()
}

// reader reads a message's body. The first failure sticks.
type reader struct {
	cryptobyte.String
	bad bool
}

func (r *reader) ok(done bool) bool {
	if !done {
		r.bad = true
	}
	return !r.bad
}

func (r *reader) uint8() (v uint8)   { r.ok(r.ReadUint8(&v)); return v }
func (r *reader) uint16() (v uint16) { r.ok(r.ReadUint16(&v)); return v }
func (r *reader) uint32() (v uint32) { r.ok(r.ReadUint32(&v)); return v }

func (r *reader) bytes(n int) (v []byte) { r.ok(r.ReadBytes(&v, n)); return v }

// vector8, vector16 and vector24 read a vector with a length of so many bits,
// of at least min octets.
func (r *reader) vector8(min int) []byte  { return r.vector(r.ReadUint8LengthPrefixed, min) }
func (r *reader) vector16(min int) []byte { return r.vector(r.ReadUint16LengthPrefixed, min) }
func (r *reader) vector24(min int) []byte { return r.vector(r.ReadUint24LengthPrefixed, min) }

func (r *reader) vector(read func(*cryptobyte.String) bool, min int) []byte {
	var v cryptobyte.String
	r.ok(read(&v) && len(v) >= min)
	return v
}

// end returns a decode error if something could not be read or is left.
func (r *reader) end(what string) error {
	if r.bad || !r.Empty() {
		return Errorf(DecodeError, "malformed %s", what)
	}
	return nil
}

// list16 reads a list of two-octet code points.
func list16[T ~uint16](v []byte) ([]T, bool) {
	if len(v)%2 != 0 {
		return nil, false
	}
	list := make([]T, 0, len(v)/2)
	for ; len(v) > 0; v = v[2:] {
		list = append(list, T(v[0])<<8|T(v[1]))
	}
	return list, true
}

func addList16[T ~uint16](b *cryptobyte.Builder, list []T) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range list {
			b.AddUint16(uint16(v))
		}
	})
}

func addVector8(b *cryptobyte.Builder, v []byte) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

func addVector16(b *cryptobyte.Builder, v []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}

func addVector24(b *cryptobyte.Builder, v []byte) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
}
