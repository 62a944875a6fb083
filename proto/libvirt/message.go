package libvirt

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Programs of the protocol, with their versions (src/remote/remote_protocol.x,
// src/rpc/virkeepaliveprotocol.x).
const (
	RemoteProgram    = 0x20008086
	RemoteVersion    = 1
	KeepaliveProgram = 0x6b656570
	KeepaliveVersion = 1
)

// Procedures of [RemoteProgram].
const (
	procOpen       = 1
	procClose      = 2
	procHostname   = 59
	procAuthList   = 66
	procLibVersion = 157
)

// Procedures of [KeepaliveProgram].
const (
	procPing = 1
	procPong = 2
)

// A MessageType says what a message is (src/rpc/virnetprotocol.x).
type MessageType uint32

// The types.
const (
	Call  MessageType = 0
	Reply MessageType = 1
	Event MessageType = 2 // VIR_NET_MESSAGE: nobody asked, nobody answers
)

// A Status says how a call ended.
type Status uint32

// The statuses.
const (
	OK     Status = 0
	Failed Status = 1
)

// Sizes, in octets.
const (
	headerSize = 24
	// MaxMessage is the longest message of the protocol, its length included
	// (VIR_NET_MESSAGE_MAX + VIR_NET_MESSAGE_LEN_MAX).
	MaxMessage = 32<<20 + 4
)

// A Header begins every message.
type Header struct {
	Program, Version uint32
	Procedure        uint32
	Type             MessageType
	Serial           uint32
	Status           Status
}

// A Message is a header and what the procedure says.
type Message struct {
	Header
	Body []byte
}

// Append appends the message as it is on the wire.
func (m *Message) Append(b []byte) []byte {
	w := xdrWriter(b)
	w.uint32(uint32(4 + headerSize + len(m.Body)))
	for _, v := range []uint32{m.Program, m.Version, m.Procedure, uint32(m.Type), m.Serial, uint32(m.Status)} {
		w.uint32(v)
	}
	return append(w, m.Body...)
}

// ReadMessage reads a message of at most limit octets, or [MaxMessage] if that
// is less. What it allocates grows with what has come.
func ReadMessage(r io.Reader, limit int) (*Message, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	switch {
	case n < 4+headerSize:
		return nil, fmt.Errorf("a message of %d octets; %d are the least: the peer does not speak libvirt's protocol (it begins with %q)", n, 4+headerSize, size[:])
	case n > uint32(min(limit, MaxMessage)):
		return nil, fmt.Errorf("a message of %d octets; at most %d are taken (it begins with %q)", n, min(limit, MaxMessage), size[:])
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)-4))
	if err == nil && len(b) < int(n)-4 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return parseMessage(b)
}

// parseMessage reads a message behind its length.
func parseMessage(b []byte) (*Message, error) {
	x := xdrReader{rest: b}
	m := &Message{Header: Header{
		Program: x.uint32(), Version: x.uint32(), Procedure: x.uint32(), Type: MessageType(x.uint32()), Serial: x.uint32(), Status: Status(x.uint32()),
	}}
	m.Body = x.rest
	return m, x.err
}

// A RemoteError is what a server says went wrong.
type RemoteError struct {
	Code    int32 // virErrorNumber
	Domain  int32 // virErrorDomain
	Message string
}

func (e *RemoteError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the libvirt server reports error %d of domain %d", e.Code, e.Domain)
	}
	return "the libvirt server says: " + e.Message
}

const (
	uuidSize = 16
	maxText  = 64 << 10 // of an error, which is for people
)

// parseRemoteError reads a remote_error. Everything after the message is read
// and dropped.
func parseRemoteError(b []byte) (*RemoteError, error) {
	r := xdrReader{rest: b}
	e := &RemoteError{Code: int32(r.uint32()), Domain: int32(r.uint32()), Message: r.optional(maxText)}
	r.uint32() // level
	if r.bool() {
		r.string(maxText)
		r.bytes(uuidSize)
		r.uint32() // the domain's id
	}
	for range 3 {
		r.optional(maxText)
	}
	r.uint32()
	r.uint32()
	if r.bool() { // a network
		r.string(maxText)
		r.bytes(uuidSize)
	}
	return e, r.end()
}

// body writes the error as a reply has it.
func (e *RemoteError) body() []byte {
	var w xdrWriter
	w.uint32(uint32(e.Code))
	w.uint32(uint32(e.Domain))
	w.optional(e.Message)
	w.uint32(2) // VIR_ERR_ERROR
	w.uint32(0)
	for range 3 {
		w.uint32(0)
	}
	w.uint32(0)
	w.uint32(0)
	w.uint32(0)
	return w
}
