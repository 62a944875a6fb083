package nbd

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// need fails unless the server announced what a request needs.
func (c *Client) need(f Flags, command command, off, length int64) error {
	if c.info.Flags.Has(f) {
		return nil
	}
	return fmt.Errorf("nbd: %s of %d octets at %d: the server does not know it: %w", commandNames[command], length, off, errors.ErrUnsupported)
}

// writable fails if the export is read-only.
func (c *Client) writable() error {
	if c.info.Flags.Has(ReadOnly) {
		return fmt.Errorf("nbd: the export is read-only: %w", EPERM)
	}
	return nil
}

// inside fails unless a range lies within the export.
func (c *Client) inside(off, length int64) error {
	if off < 0 || length < 0 || off > c.info.Size || length > c.info.Size-off {
		return fmt.Errorf("nbd: %d octets at %d of an export of %d: %w", length, off, c.info.Size, EINVAL)
	}
	return nil
}

// piece returns how much of a length may be asked for at once.
func (c *Client) piece(length int64, data bool) int64 {
	limit := int64(math.MaxInt64)
	switch {
	case data:
		limit = int64(min(c.info.BlockSize.Max, maxPayload))
	case c.mode < extended:
		limit = math.MaxUint32
	}
	return min(length, limit/int64(c.info.BlockSize.Min)*int64(c.info.BlockSize.Min))
}

// ReadAt implements [io.ReaderAt].
func (c *Client) ReadAt(p []byte, off int64) (n int, err error) {
	var end error
	if off >= 0 && int64(len(p)) > c.info.Size-off {
		p, end = p[:max(0, c.info.Size-off)], io.EOF
	}
	if err := c.inside(off, int64(len(p))); err != nil && end == nil {
		return 0, err
	}
	for n < len(p) {
		size := int(c.piece(int64(len(p)-n), true))
		k := &call{request: request{command: cmdRead, offset: uint64(off) + uint64(n), length: uint64(size)}, into: p[n : n+size]}
		if err := c.do(k, nil); err != nil {
			return n, err
		}
		n += size
	}
	return n, end
}

// WriteAt implements [io.WriterAt].
func (c *Client) WriteAt(p []byte, off int64) (int, error) { return c.Write(p, off, 0) }

// Write writes with flags, of which FUA is one that the server may know.
func (c *Client) Write(p []byte, off int64, flags CommandFlag) (n int, err error) {
	if err := c.change(cmdWrite, off, int64(len(p)), flags, 0); err != nil {
		return 0, err
	}
	for n < len(p) {
		size := int(c.piece(int64(len(p)-n), true))
		k := &call{request: request{command: cmdWrite, flags: flags, offset: uint64(off) + uint64(n), length: uint64(size)}}
		if err := c.do(k, p[n:n+size]); err != nil {
			return n, err
		}
		n += size
	}
	return n, nil
}

// change fails unless the export can be changed in that way.
func (c *Client) change(command command, off, length int64, flags CommandFlag, need Flags) error {
	if flags&FUA != 0 {
		need |= SendFUA
	}
	if flags&FastZero != 0 {
		need |= SendFastZero
	}
	return errors.Join(c.writable(), c.need(need, command, off, length), c.inside(off, length))
}

// ranged makes as many requests without data as a range needs.
func (c *Client) ranged(command command, off, length int64, flags CommandFlag) error {
	for length > 0 {
		size := c.piece(length, false)
		if err := c.do(&call{request: request{command: command, flags: flags, offset: uint64(off), length: uint64(size)}}, nil); err != nil {
			return err
		}
		off, length = off+size, length-size
	}
	return nil
}

// Flush implements [Flusher]. Where the server has nothing to flush it does nothing.
func (c *Client) Flush() error {
	if !c.info.Flags.Has(SendFlush) {
		return nil
	}
	return c.do(&call{request: request{command: cmdFlush}}, nil)
}

// Trim implements [Trimmer].
func (c *Client) Trim(off, length int64) error { return c.TrimFlags(off, length, 0) }

// TrimFlags trims with flags, of which there is FUA.
func (c *Client) TrimFlags(off, length int64, flags CommandFlag) error {
	if err := c.change(cmdTrim, off, length, flags, SendTrim); err != nil {
		return err
	}
	return c.ranged(cmdTrim, off, length, flags)
}

// WriteZeroes implements [Zeroer]; FUA, too, may be among the flags.
func (c *Client) WriteZeroes(off, length int64, flags CommandFlag) error {
	if err := c.change(cmdWriteZeroes, off, length, flags, SendWriteZeroes); err != nil {
		return err
	}
	return c.ranged(cmdWriteZeroes, off, length, flags)
}

// Cache implements [Cacher].
func (c *Client) Cache(off, length int64) error {
	if err := errors.Join(c.need(SendCache, cmdCache, off, length), c.inside(off, length)); err != nil {
		return err
	}
	return c.ranged(cmdCache, off, length, 0)
}

// Extents implements [Extenter], by one request. A server that knows nothing of
// extents has data everywhere.
func (c *Client) Extents(off, length int64, limit int) ([]Extent, error) {
	if err := c.inside(off, length); err != nil || length == 0 {
		return nil, err
	}
	if len(c.info.Contexts) == 0 || c.mode < structured {
		return []Extent{{Length: length}}, nil
	}
	k := &call{request: request{command: cmdBlockStatus, offset: uint64(off), length: uint64(c.piece(length, false))}}
	if limit == 1 {
		k.flags = reqOne
	}
	if err := c.do(k, nil); err != nil {
		return nil, err
	}
	if len(k.extents) == 0 {
		return nil, fmt.Errorf("nbd: the server says nothing about the block status at %d", off)
	}
	return k.extents[:min(len(k.extents), limit)], nil
}
