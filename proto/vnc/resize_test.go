package vnc

import (
	"context"
	"fmt"
	"image"
	"net"
	"strconv"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// A screen that changes its size while a viewer looks: the picture follows.
func TestPeerResize(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		port := peertest.FreePort(t)
		monitor, path := peertest.QMPSocket(t)
		args := append(monitor, "-nodefaults", "-machine", "pc", "-accel", "tcg", "-m", "16", "-vga", "std", "-S", "-vnc", fmt.Sprintf("127.0.0.1:%d", port-5900))
		p := g.Start(t, peertest.Options{}, peertest.ListeningUnix(path), "qemu-system-x86_64", args...).Ready()
		p.Until(peertest.Listening(port))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		q := &qemu{p, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
		c, err := q.dial(t, Options{})
		must(t, err)
		s, err := NewScreen(ctx, c, true)
		must(t, err)
		before, err := s.Picture(ctx)
		must(t, err)
		peertest.DialQMP(t, path).Do("cont", nil)
		after := before
		for after.Rect == before.Rect {
			time.Sleep(20 * time.Millisecond) // for the guest
			after, err = s.Picture(ctx)
			must(t, err)
		}
		t.Logf("%v, then %v", before.Rect, after.Rect)
		if after.Rect != image.Rect(0, 0, s.Width, s.Height) {
			t.Errorf("a picture of %v, on a screen of %d by %d", after.Rect, s.Width, s.Height)
		}
	})
}
