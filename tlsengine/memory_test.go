package tlsengine

import (
	"errors"
	"io"
	"testing"
)

// idle tells whether an engine has none of the shared memory.
func idle(e *Engine) bool { return e.in.mem == nil && e.out.mem == nil && e.out.buf == nil }

// An engine that waits has no memory for records, whatever it did before.
func TestIdleMemory(t *testing.T) {
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
	check := func(when string) {
		t.Helper()
		if !idle(p.client) || !idle(p.server) {
			t.Errorf("%s an engine keeps memory", when)
		}
	}
	check("after the handshake")
	transfer(t, p.client, p.server, random(1<<20))
	if _, err := p.server.Read(make([]byte, 1)); !errors.Is(err, ErrWantInput) {
		t.Fatal(err)
	}
	check("after a transfer")
	must(t, p.client.KeyUpdate(true))
	for carry(p.client, p.server, 1) {
	}
	if _, err := p.server.Read(make([]byte, 1)); !errors.Is(err, ErrWantInput) {
		t.Fatal(err)
	}
	for carry(p.server, p.client, 1) {
	}
	if _, err := p.client.Read(make([]byte, 1)); !errors.Is(err, ErrWantInput) {
		t.Fatal(err)
	}
	check("after a change of keys")
}

// FeedFrom takes what the transport has into the engine's own memory.
func TestFeedFrom(t *testing.T) {
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
	again := errors.New("nothing there")
	if n, err := p.server.FeedFrom(func([]byte) (int, error) { return -1, again }); n != -1 || err != again || !idle(p.server) {
		t.Errorf("without input: %d, %v", n, err)
	}
	data := random(100_000)
	_, err := p.client.Write(data)
	must(t, err)
	got := make([]byte, len(data))
	for have := 0; have < len(data); {
		n, err := p.server.FeedFrom(func(p2 []byte) (int, error) { return copy(p2, p.client.Output()), nil })
		must(t, err)
		p.client.Sent(n)
		for {
			pending := p.server.Pending()
			if seen, err := p.server.Peek(); pending > 0 && (err != nil || len(seen) != pending) {
				t.Errorf("Pending said %d, Peek shows %d, %v", pending, len(seen), err)
			} else if pending > 0 && have == 0 {
				have += copy(got, seen[:1])
				p.server.Discard(1)
				pending--
			}
			n, err := p.server.Read(got[have:])
			if n != pending {
				t.Errorf("Pending said %d, Read brought %d", pending, n)
			}
			have += n
			if errors.Is(err, ErrWantInput) || have == len(data) {
				break
			}
			must(t, err)
		}
	}
	if string(got) != string(data) {
		t.Error("other octets came than were sent")
	}
	p.client.CloseWrite()
	for carry(p.client, p.server, 1) {
	}
	if n := p.server.Pending(); n != 0 {
		t.Errorf("Pending at the end: %d", n)
	}
	if _, err := p.server.Read(got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}
