package nbd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"virtls/proto/nbd"
)

// slow is a device whose reads wait, and which cannot zero fast.
type slow struct {
	nbd.Device
	asked, answer chan struct{}
}

func (s slow) ReadAt(p []byte, _ int64) (int, error) {
	s.asked <- struct{}{}
	<-s.answer
	for i := range p {
		p[i] = 7
	}
	return len(p), nil
}

func (slow) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func (slow) WriteZeroes(_, _ int64, f nbd.CommandFlag) error {
	if f&nbd.FastZero != 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// TestStopAnswers stops a server while a request is served: it is answered.
func TestStopAnswers(t *testing.T) {
	d := slow{nbd.Discard(1 << 20), make(chan struct{}), make(chan struct{})}
	l := value(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- (&nbd.Server{Exports: []nbd.Export{{Device: d}}}).Serve(ctx, l) }()
	c, err := nbd.NewClient(t.Context(), value(net.Dial("tcp", l.Addr().String())), nbd.Options{})
	must(t, err)
	defer c.Close()
	answered := make(chan error, 1)
	p := make([]byte, 100)
	go func() {
		_, err := c.ReadAt(p, 0)
		answered <- err
	}()
	<-d.asked
	cancel()
	select {
	case <-stopped:
		t.Fatal("the server ends while it serves a request")
	case <-time.After(50 * time.Millisecond):
	}
	close(d.answer)
	if err := <-answered; err != nil || p[99] != 7 {
		t.Errorf("the request that was served when the server stopped: %v", err)
	}
	must(t, <-stopped)
}

// TestFastZero tells that zeroing is not fast, as such, and zeroes slowly.
func TestFastZero(t *testing.T) {
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: slow{Device: nbd.Discard(1 << 20)}}}})
	for _, shape := range []nbd.Replies{nbd.AnyReplies, nbd.StructuredReplies, nbd.SimpleReplies} {
		c, err := connect(t, port, "", nbd.Options{Replies: shape})
		must(t, err)
		if err := c.WriteZeroes(0, 4096, nbd.FastZero); !errors.Is(err, syscall.ENOTSUP) {
			t.Errorf("fast zeroes: %v", err)
		}
		must(t, c.WriteZeroes(0, 4096, 0))
	}
}

// zeroes is a large device without extents.
type zeroes struct{}

func (zeroes) Size() int64 { return 1 << 40 }

func (zeroes) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// TestMemoryBound has clients ask for as much as they can, and take nothing in:
// the server holds no more than the window for each of them.
func TestMemoryBound(t *testing.T) {
	const connections, window = 4, 32 << 20
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: zeroes{}}}})
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	for range connections {
		c := value(net.Dial("tcp", address(port)))
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		_, err := io.ReadFull(c, make([]byte, 18))
		must(t, err)
		b := append([]byte{0, 0, 0, 3}, "IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"...) // EXPORT_NAME of no name
		for i := range 64 {
			b = binary.BigEndian.AppendUint32(b, 0x25609513)
			b = binary.BigEndian.AppendUint32(b, 0) // a read
			b = binary.BigEndian.AppendUint64(b, uint64(i))
			b = binary.BigEndian.AppendUint64(b, uint64(i)*window)
			b = binary.BigEndian.AppendUint32(b, window)
		}
		_, err = c.Write(b)
		must(t, err)
		_, err = io.ReadFull(c, make([]byte, 10+16)) // the export, and the first answer's header
		must(t, err)
	}
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		runtime.ReadMemStats(&now)
		if held := int64(now.HeapAlloc) - int64(before.HeapAlloc); held > connections*window*3/2 {
			t.Fatalf("%d connections make the server hold %d MiB, want at most %d of each", connections, held>>20, window>>20)
		}
	}
}
