package qemuimg

import "sync"

// A pipeline copies pieces of a disk, several at once: each is read and made
// ready as soon as there is a buffer, and written when those before it are, or,
// out of order, at once.
type pipeline struct {
	ordered bool
	buffers chan []byte
	running sync.WaitGroup
	last    chan struct{} // closed when the piece before the next one is written

	mu  sync.Mutex
	err error
}

// newPipeline makes a pipeline for so many pieces at once, of up to size octets.
func newPipeline(pieces int, size int64, ordered bool) *pipeline {
	p := &pipeline{ordered: ordered, buffers: make(chan []byte, pieces), last: make(chan struct{})}
	close(p.last)
	for range pieces {
		p.buffers <- make([]byte, size)
	}
	return p
}

// add begins a piece when there is a buffer. It fails if an earlier piece did.
func (p *pipeline) add(read func(buf []byte) (write func() error, err error)) error {
	buf := <-p.buffers
	if err := p.failed(); err != nil {
		p.buffers <- buf
		return err
	}
	before, done := p.last, make(chan struct{})
	p.last = done
	p.running.Go(func() {
		write, err := read(buf)
		if p.ordered {
			<-before
		}
		if err == nil && p.failed() == nil {
			err = write()
		}
		p.fail(err)
		close(done)
		p.buffers <- buf
	})
	return nil
}

// wait returns when all pieces are written, or the first error.
func (p *pipeline) wait() error {
	p.running.Wait()
	return p.failed()
}

func (p *pipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *pipeline) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
