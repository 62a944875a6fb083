package qemuimg

import (
	"bytes"
	"fmt"

	"virtls/qcow2"
)

// A sink takes the pieces of a disk, in ascending order unless any order will do.
type sink interface {
	anyOrder() bool
	// data does what can be done before the pieces in front are written, and
	// returns the rest.
	data(off int64, p []byte) (write func() error, err error)
	zeros(off, length int64) error
	skip(off, length int64) error // the backing file has it
}

// A rawSink writes a raw disk.
type rawSink struct {
	*conversion
	target
}

func (s *rawSink) skip(off, length int64) error { return s.zeros(off, length) }

func (s *rawSink) zeros(off, length int64) error {
	if s.zero {
		return nil
	}
	return writeZeros(s.target, off, length)
}

func (s *rawSink) anyOrder() bool { return true }

func (s *rawSink) data(off int64, p []byte) (func() error, error) {
	return func() error { return s.write(off, p) }, nil
}

// write leaves gaps where there are zeros for long enough.
func (s *rawSink) write(off int64, p []byte) error {
	for len(p) > 0 {
		zeros, n := s.split(p)
		var err error
		if zeros {
			err = s.zeros(off, int64(n))
		} else {
			_, err = s.WriteAt(p[:n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// split returns the length of what p begins with: zeros that become a gap, or
// anything else.
func (s *rawSink) split(p []byte) (zeros bool, n int) {
	step := int(s.sparse)
	if step == 0 {
		return false, len(p)
	}
	for n < len(p) {
		part := p[n:min(n+step, len(p))]
		z := isZero(part)
		if n == 0 {
			zeros = z
		} else if z != zeros {
			break
		}
		n += len(part)
	}
	return zeros, n
}

func isZero(p []byte) bool { return len(p) == 0 || p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:]) }

// An imageSink writes a qcow2 image.
type imageSink struct {
	*conversion
	*qcow2.Writer
	target target
}

func (s *imageSink) skip(off, length int64) error { return s.reserve(off, length) }

func (s *imageSink) zeros(off, length int64) error {
	if s.options.BackingFile == "" {
		return s.reserve(off, length)
	}
	for end := off + length; off < end; off += s.ClusterSize() {
		if err := s.Zero(off); err != nil {
			return err
		}
	}
	return nil
}

// reserve allocates what has no content, if that is wanted.
func (s *imageSink) reserve(off, length int64) error {
	if s.preallocation == "" || s.preallocation == "off" {
		return nil
	}
	for end := off + length; off < end; off += s.ClusterSize() {
		place, err := s.Reserve(off)
		if err != nil {
			return err
		}
		if err := allocate(s.target, s.preallocation, place, s.ClusterSize()); err != nil {
			return err
		}
	}
	return nil
}

func (s *imageSink) anyOrder() bool { return false }

// data compresses at once.
func (s *imageSink) data(off int64, p []byte) (func() error, error) {
	var writes []func() error
	for ; len(p) > 0; off += s.ClusterSize() {
		at, cluster := off, p[:min(int64(len(p)), s.ClusterSize())]
		p = p[len(cluster):]
		if s.sparse > 0 && isZero(cluster) {
			writes = append(writes, func() error { return s.zeros(at, int64(len(cluster))) })
			continue
		}
		var packed []byte
		if s.compress {
			var err error
			if packed, err = s.Compress(cluster); err != nil {
				return nil, fmt.Errorf("error while compressing at byte %d: %w", at, err)
			}
		}
		writes = append(writes, func() error {
			if packed != nil {
				return s.Compressed(at, packed)
			}
			return s.Data(at, cluster)
		})
	}
	return func() error {
		for _, write := range writes {
			if err := write(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
