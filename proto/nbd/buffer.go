package nbd

import (
	"math/bits"
	"sync"
)

// Buffers for data come in powers of two from smallBuffer, each with room for a
// reply's header in front, so that header and data are one write.
const (
	headRoom    = extendedSize + 8
	smallBuffer = 16 << 10
)

var buffers [12]sync.Pool // of *buffer; the last one holds maxPayload

// A buffer is room for a header and data.
type buffer struct {
	all   []byte // head and data
	class int
}

// getBuffer returns a buffer for data of a size up to maxPayload.
func getBuffer(size int) *buffer {
	class := max(0, bits.Len(uint((size-1)/smallBuffer)))
	b, _ := buffers[class].Get().(*buffer)
	if b == nil {
		b = &buffer{all: make([]byte, headRoom+smallBuffer<<class), class: class}
	}
	return b
}

// data returns the room for data.
func (b *buffer) data(size int) []byte { return b.all[headRoom : headRoom+size] }

// message returns a header and the data that follows it. The header must have
// been written with head.
func (b *buffer) message(head, size int) []byte { return b.all[headRoom-head : headRoom+size] }

// head returns room for a header just in front of the data.
func (b *buffer) head(size int) []byte { return b.all[headRoom-size : headRoom-size] }

func (b *buffer) put() { buffers[b.class].Put(b) }
