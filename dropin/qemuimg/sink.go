package qemuimg

import (
	"bytes"

	"virtls/qcow2"
)

// A sink takes the pieces of a disk in ascending order.
type sink interface {
	data(off int64, p []byte) error
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

// data leaves gaps where there are zeros for long enough.
func (s *rawSink) data(off int64, p []byte) error {
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

func (s *imageSink) data(off int64, p []byte) error {
	for len(p) > 0 {
		cluster := p[:min(int64(len(p)), s.ClusterSize())]
		var err error
		switch {
		case s.sparse > 0 && isZero(cluster):
			err = s.zeros(off, int64(len(cluster)))
		case s.compress:
			err = s.Compressed(off, cluster)
		default:
			err = s.Data(off, cluster)
		}
		if err != nil {
			return err
		}
		p, off = p[len(cluster):], off+s.ClusterSize()
	}
	return nil
}
