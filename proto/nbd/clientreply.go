package nbd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

var commandNames = map[command]string{
	cmdRead: "read", cmdWrite: "write", cmdFlush: "flush", cmdTrim: "trim", cmdCache: "cache", cmdWriteZeroes: "write zeroes", cmdBlockStatus: "block status",
}

func (k *call) failed(e Errno, text string) {
	if k.err == nil {
		k.err = &RequestError{commandNames[k.command], k.offset, k.length, e, strings.ToValidUTF8(text, "\uFFFD")}
	}
}

// reply takes in one reply, or one piece of one. An error ends the connection.
func (n *connection) reply(in *bufio.Reader) error {
	b, err := in.Peek(4)
	if err != nil {
		return err
	}
	switch magic := be.Uint32(b); {
	case magic == magicSimple && n.mode != extended:
		return n.simple(in)
	case magic == magicStructured && n.mode == structured, magic == magicExtReply && n.mode == extended:
		return n.chunk(in)
	default:
		return fmt.Errorf("invalid magic of a reply (got 0x%x)", magic)
	}
}

// simple takes in a simple reply.
func (n *connection) simple(in *bufio.Reader) error {
	b, err := in.Peek(simpleSize)
	if err != nil {
		return err
	}
	e, cookie := Errno(be.Uint32(b[4:])), be.Uint64(b[8:])
	in.Discard(simpleSize)
	k, err := n.lookup(cookie)
	if err != nil {
		return err
	}
	switch {
	case e != 0:
		k.failed(e, "")
	case k.command == cmdRead && n.mode != simple:
		return errors.New("a simple reply to a read, where structured replies were agreed on")
	case k.command == cmdRead:
		if _, err := io.ReadFull(in, k.into); err != nil {
			return err
		}
	case k.command == cmdBlockStatus:
		return errors.New("a simple reply to a question for the block status")
	}
	n.finish(k)
	return nil
}

// A chunk is the header of a structured reply.
type chunk struct {
	flags, kind    uint16
	cookie, length uint64
}

// maxStatus bounds the descriptors of one answer about the block status.
const maxStatus = 16 << 20

// chunk takes in a structured reply.
func (n *connection) chunk(in *bufio.Reader) error {
	size := n.mode.replySize()
	b, err := in.Peek(size)
	if err != nil {
		return err
	}
	h := chunk{flags: be.Uint16(b[4:]), kind: be.Uint16(b[6:]), cookie: be.Uint64(b[8:])}
	if n.mode == extended {
		h.length = be.Uint64(b[24:])
	} else {
		h.length = uint64(be.Uint32(b[16:]))
	}
	in.Discard(size)
	k, err := n.lookup(h.cookie)
	if err != nil {
		return err
	}
	if err := n.body(in, k, h); err != nil {
		return err
	}
	if h.flags&chunkDone == 0 {
		return nil
	}
	if k.err == nil && k.command == cmdRead && k.got != k.length {
		return fmt.Errorf("%d octets of a read of %d", k.got, k.length)
	}
	n.finish(k)
	return nil
}

// body takes in what follows a chunk's header.
func (n *connection) body(in *bufio.Reader, k *call, h chunk) error {
	wrong := func() error {
		return fmt.Errorf("a structured reply of kind %d with %d octets to a %s", h.kind, h.length, commandNames[k.command])
	}
	switch {
	case h.kind&chunkErrorBit != 0:
		return n.errorChunk(in, k, h)
	case h.kind == chunkNone:
		if h.length != 0 || h.flags&chunkDone == 0 {
			return wrong()
		}
		return nil
	case k.command == cmdRead && h.kind == chunkData && h.length > 8:
		into, err := k.part(in, h.length-8)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(in, into)
		return err
	case k.command == cmdRead && h.kind == chunkHole && h.length == 12:
		b, err := in.Peek(12)
		if err != nil {
			return err
		}
		into, err := k.part(in, uint64(be.Uint32(b[8:])))
		if err != nil {
			return err
		}
		in.Discard(4)
		clear(into)
		return nil
	case k.command == cmdBlockStatus && h.length <= maxStatus &&
		(h.kind == chunkStatus && n.mode == structured && h.length >= 12 && h.length%8 == 4 ||
			h.kind == chunkStatusExt && n.mode == extended && h.length >= 24 && h.length%16 == 8):
		return n.statusChunk(in, k, h)
	}
	return wrong()
}

// part reads an offset and returns the part of the read that begins there.
func (k *call) part(in *bufio.Reader, length uint64) ([]byte, error) {
	b, err := in.Peek(8)
	if err != nil {
		return nil, err
	}
	off := be.Uint64(b)
	in.Discard(8)
	if off < k.offset || off-k.offset > k.length || length > k.length-(off-k.offset) || length > k.length-k.got {
		return nil, fmt.Errorf("%d octets at %d in the reply to a read of %d octets at %d", length, off, k.length, k.offset)
	}
	k.got += length
	return k.into[off-k.offset:][:length], nil
}

// errorChunk takes in an error.
func (n *connection) errorChunk(in *bufio.Reader, k *call, h chunk) error {
	if h.length < 6 || h.length > maxString+6+8 {
		return fmt.Errorf("an error of %d octets", h.length)
	}
	b := make([]byte, h.length)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	e, size := Errno(be.Uint32(b)), int(be.Uint16(b[4:]))
	if e == 0 || 6+size > len(b) {
		return fmt.Errorf("an error of number %d with a text of %d octets in %d", e, size, len(b))
	}
	k.failed(e, string(b[6:6+size]))
	return nil
}

// statusChunk takes in the block status.
func (n *connection) statusChunk(in *bufio.Reader, k *call, h chunk) error {
	b := make([]byte, h.length)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	if be.Uint32(b) != n.statusID {
		return nil // of a context that nobody asked for
	}
	if k.extents != nil {
		return errors.New("two answers about the block status")
	}
	step := 8
	if b = b[4:]; h.kind == chunkStatusExt {
		if uint64(be.Uint32(b))*16 != h.length-8 {
			return fmt.Errorf("%d descriptors in %d octets", be.Uint32(b), h.length-8)
		}
		b, step = b[4:], 16
	}
	var total uint64
	for ; len(b) > 0; b = b[step:] {
		length, status := uint64(be.Uint32(b)), uint64(be.Uint32(b[4:]))
		if step == 16 {
			length, status = be.Uint64(b), be.Uint64(b[8:])
		}
		// What is said of the part after the range is of no interest.
		length = min(length, k.length-total)
		if length == 0 {
			if total == 0 {
				return errors.New("an empty extent")
			}
			break
		}
		total += length
		k.extents = append(k.extents, extentOf(length, status))
	}
	return nil
}
