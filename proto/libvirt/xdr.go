package libvirt

import (
	"encoding/binary"
	"fmt"
)

// MaxString is the longest string of the protocol (REMOTE_STRING_MAX).
const MaxString = 4 << 20

// xdrWriter writes the types of RFC 4506 that the protocol uses.
type xdrWriter []byte

func (w *xdrWriter) uint32(v uint32) { *w = binary.BigEndian.AppendUint32(*w, v) }
func (w *xdrWriter) uint64(v uint64) { *w = binary.BigEndian.AppendUint64(*w, v) }

func (w *xdrWriter) string(s string) {
	w.uint32(uint32(len(s)))
	*w = append(*w, s...)
	for len(*w)%4 != 0 {
		*w = append(*w, 0)
	}
}

// optional writes a string behind a mark that it is there.
func (w *xdrWriter) optional(s string) {
	w.uint32(1)
	w.string(s)
}

// xdrReader reads them. The first mistake sticks.
type xdrReader struct {
	rest []byte
	err  error
}

func (r *xdrReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("malformed message: "+format, args...)
	}
	r.rest = nil
}

func (r *xdrReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail("%d octets are left where %d are wanted", len(r.rest), n)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *xdrReader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *xdrReader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// bool reads what must be 0 or 1.
func (r *xdrReader) bool() bool {
	v := r.uint32()
	if v > 1 {
		r.fail("%d where 0 or 1 is wanted", v)
	}
	return v == 1
}

func (r *xdrReader) string(limit int) string {
	n := r.uint32()
	if n > uint32(limit) {
		r.fail("a string of %d octets; at most %d are taken", n, limit)
		return ""
	}
	s := string(r.bytes(int(n)))
	for _, b := range r.bytes(-len(s) & 3) {
		if b != 0 {
			r.fail("padding that is not zero")
		}
	}
	return s
}

func (r *xdrReader) optional(limit int) string {
	if !r.bool() {
		return ""
	}
	return r.string(limit)
}

// end returns the first mistake, which can be that something is left.
func (r *xdrReader) end() error {
	if len(r.rest) > 0 {
		r.fail("%d octets are left over", len(r.rest))
	}
	return r.err
}
