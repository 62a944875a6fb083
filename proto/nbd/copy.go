package nbd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A CopyOptions says how a copy is made.
type CopyOptions struct {
	Requests    int   // in flight at the same time; 64 if 0
	RequestSize int   // octets; 256 KiB if 0
	Start       int64 // where to begin: what is before it has been copied already

	// Blank tells that the destination reads as zeroes, so that zeroes need not be
	// written to it.
	Blank bool

	// Progress, if set, is told how much of the destination is as it should be.
	// Calls come one at a time. All before low is done, which a later copy may
	// begin at once the destination has been flushed; done counts what lies
	// further on, too.
	Progress func(low, done int64)
}

const (
	defaultRequests    = 64
	defaultRequestSize = 256 << 10
	// sparse is the size of pieces that are looked at for being zero.
	sparse = 4 << 10
	// span is how much of the source is asked for its extents at once, and the
	// most that is made zero by one request.
	span = 1 << 30
)

// A SizeError is what [Copy] refuses with a destination that is smaller than the
// source. Sizes are in octets.
type SizeError struct{ Destination, Source int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("nbd: the destination has %d octets, and the source %d", e.Destination, e.Source)
}

// Copy makes a destination the same as a source from end to end, and flushes it.
// Each side is one device, or several that are connections to the same one, over
// which requests are spread. Holes and zeroes are not sent where the destination
// knows how to do without. It takes Requests times RequestSize octets of memory.
// After an error the destination holds a part; a [SizeError] has changed nothing.
func Copy(ctx context.Context, to, from []Device, o CopyOptions) error {
	size := from[0].Size()
	if have := to[0].Size(); have < size {
		return &SizeError{Destination: have, Source: size}
	}
	o.Requests = cmp.Or(o.Requests, defaultRequests)
	o.RequestSize = cmp.Or(o.RequestSize, defaultRequestSize)
	o.RequestSize = min(o.RequestSize, maxOf(from), maxOf(to))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &copier{CopyOptions: o, to: writers(to), from: from, size: size, parts: make(chan part), progress: progress{low: o.Start, done: o.Start, tell: o.Progress}}
	if c.to == nil {
		return fmt.Errorf("nbd: the destination cannot be written to: %w", EPERM)
	}
	var running sync.WaitGroup
	for i := range o.Requests {
		running.Go(func() {
			if err := c.work(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	if err := c.plan(ctx); err != nil {
		cancel(err)
	}
	close(c.parts)
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if f, ok := to[0].(Flusher); ok {
		return f.Flush()
	}
	return nil
}

// maxOf returns the largest request that a side takes.
func maxOf(side []Device) int {
	if b, ok := side[0].(BlockSizer); ok {
		if s := b.BlockSize(); s.Max >= s.Min {
			return int(min(s.Max, maxPayload) / s.Min * s.Min)
		}
	}
	return maxPayload
}

func writers(side []Device) (list []destination) {
	for _, d := range side {
		w, ok := d.(io.WriterAt)
		if !ok {
			return nil
		}
		z, _ := d.(Zeroer)
		if f, ok := d.(Flagger); ok && !f.Flags().Has(SendWriteZeroes) {
			z = nil
		}
		list = append(list, destination{w, z})
	}
	return list
}

type destination struct {
	io.WriterAt
	zeroer Zeroer
}

// A part is what one request copies.
type part struct {
	off, length int64
	zero        bool
}

type copier struct {
	CopyOptions
	to    []destination
	from  []Device
	size  int64
	parts chan part
	progress
}

// plan cuts the source into parts, in order.
func (c *copier) plan(ctx context.Context) error {
	extenter, _ := c.from[0].(Extenter)
	for off := c.Start; off < c.size; {
		list := []Extent{{Length: min(span, c.size-off)}}
		if extenter != nil {
			var err error
			if list, err = extenter.Extents(off, list[0].Length, maxExtents); err != nil {
				return err
			}
		}
		for _, e := range list {
			end := min(off+e.Length, c.size)
			step := int64(c.RequestSize)
			if e.Zero {
				step = span
			}
			for off < end {
				p := part{off, min(step, end-off), e.Zero}
				select {
				case c.parts <- p:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				off += p.length
			}
		}
	}
	return nil
}

// work copies parts until there are no more.
func (c *copier) work(ctx context.Context, i int) error {
	from, to := c.from[i%len(c.from)], c.to[i%len(c.to)]
	var buf []byte
	for p := range c.parts {
		if ctx.Err() != nil {
			return nil
		}
		if buf == nil {
			buf = make([]byte, c.RequestSize)
		}
		if err := c.copy(from, to, p, buf); err != nil {
			return err
		}
		c.finished(p)
	}
	return nil
}

func (c *copier) copy(from Device, to destination, p part, buf []byte) error {
	if p.zero {
		return c.zero(to, p.off, p.length, buf)
	}
	data := buf[:p.length]
	if n, err := from.ReadAt(data, p.off); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	// Zeroes that the source did not tell of: whole blocks only, so that requests stay aligned and few.
	for off := 0; off < len(data); {
		end, zero := run(data, off)
		var err error
		if zero && (c.Blank || to.zeroer != nil) {
			err = c.zero(to, p.off+int64(off), int64(end-off), nil)
		} else {
			_, err = to.WriteAt(data[off:end], p.off+int64(off))
		}
		if err != nil {
			return err
		}
		off = end
	}
	return nil
}

var zeroes [sparse]byte

// run returns where the blocks end that are alike, all zero or not, from off on.
func run(data []byte, off int) (end int, zero bool) {
	for end = off; end < len(data); {
		next := min(end+sparse, len(data))
		is := bytes.Equal(data[end:next], zeroes[:next-end])
		if end == off {
			zero = is
		} else if is != zero {
			break
		}
		end = next
	}
	return end, zero
}

// zero makes a range of the destination zero. buf is room for zeroes, needed only
// if the destination cannot make them itself.
func (c *copier) zero(to destination, off, length int64, buf []byte) error {
	if c.Blank {
		return nil
	}
	if to.zeroer != nil {
		return to.zeroer.WriteZeroes(off, length, 0)
	}
	clear(buf)
	for length > 0 {
		n, err := to.WriteAt(buf[:min(length, int64(len(buf)))], off)
		if err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

// progress keeps how far a copy is.
type progress struct {
	mu        sync.Mutex
	low, done int64
	beyond    map[int64]int64 // parts that are done after one that is not: length by offset
	tell      func(low, done int64)
}

func (p *progress) finished(done part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beyond == nil {
		p.beyond = map[int64]int64{}
	}
	p.beyond[done.off] = done.length
	for length, ok := p.beyond[p.low]; ok; length, ok = p.beyond[p.low] {
		delete(p.beyond, p.low)
		p.low += length
	}
	p.done += done.length
	if p.tell != nil {
		p.tell(p.low, p.done)
	}
}

// Discard is a destination that keeps nothing, for measuring how fast a source is.
func Discard(size int64) Device { return discard(size) }

type discard int64

func (d discard) Size() int64                                 { return int64(d) }
func (d discard) ReadAt(p []byte, off int64) (int, error)     { clear(p); return len(p), nil }
func (d discard) WriteAt(p []byte, off int64) (int, error)    { return len(p), nil }
func (d discard) WriteZeroes(int64, int64, CommandFlag) error { return nil }
