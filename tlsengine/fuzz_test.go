package tlsengine

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// steady is randomness that is the same each time, so that what a fuzzer finds
// it finds again.
type steady struct{ *rand.ChaCha8 }

func newSteady(seed byte) io.Reader { return steady{rand.NewChaCha8([32]byte{seed})} }

func (s steady) Read(p []byte) (int, error) { return s.ChaCha8.Read(p) }

// fuzzConfigs are the settings, with the same keys each time.
func fuzzConfigs(t testing.TB, n byte) (client, server Config) {
	s := settings[int(n)%len(settings)]
	client, server = s.client(t), s.server(t)
	client.Rand, server.Rand = newSteady(1), newSteady(2)
	if client.Anonymous {
		// The largest groups take longer than a fuzzer waits.
		client.Groups = []Group{wire.FFDHE2048}
		server.Groups = client.Groups
	}
	now := time.Unix(1_800_000_000, 0)
	client.Time = func() time.Time { return now }
	server.Time = client.Time
	// What a handshake may keep is what a fuzzer can fill.
	client.Limits = Limits{Message: 8 << 10, Handshake: 16 << 10}
	server.Limits = client.Limits
	return client, server
}

// checkEnd checks what holds for an end whatever its peer has sent.
func checkEnd(t *testing.T, e *Engine, err error) {
	t.Helper()
	switch again := e.Err(); {
	case err != nil && again == nil && !errors.Is(err, ErrWantInput) && err != io.EOF:
		t.Errorf("failed with %v, and goes on", err)
	case again != nil && e.in.plain != nil && len(e.in.plain) > record.MaxPlaintext:
		t.Errorf("%d octets of content", len(e.in.plain))
	}
	if kept := len(e.in.msgs); kept > e.cfg.Limits.Message+record.MaxPlaintext+wire.HeaderSize {
		t.Errorf("keeps %d octets of messages", kept)
	}
	var own *Error
	if errors.As(e.Err(), &own) && !e.out.closed {
		t.Errorf("ended with %v, and did not say so", own)
	}
}

// feedAll gives an end all octets, in pieces, and lets it do with them what it
// can. It returns what came of it.
func feedAll(e *Engine, data []byte, piece int) (err error) {
	buf := make([]byte, 1<<14)
	for len(data) > 0 && err == nil {
		data = data[e.Feed(data[:min(piece, len(data))]):]
		if _, err = e.Handshake(); err != nil || e.hs != nil {
			continue
		}
		for err == nil {
			_, err = e.Read(buf)
		}
		if errors.Is(err, ErrWantInput) {
			err = nil
		}
	}
	return err
}

// FuzzHandshake changes one message or more of a handshake, in whichever role
// and setting, and what else the evil end sends. Nobody may take a wrong end for
// the right one: with an unchanged key, a handshake is complete at both ends
// only if both have seen the same messages.
func FuzzHandshake(f *testing.F) {
	for n := range settings {
		for at := range byte(6) {
			f.Add(byte(n), at%2 == 0, at, byte(0), []byte{0}, byte(255))
		}
		f.Add(byte(n), true, byte(0), byte(1), []byte("good morning"), byte(7))
		f.Add(byte(n), false, byte(1), byte(2), []byte{22, 3, 3, 0, 1, 0}, byte(1))
		f.Add(byte(n), false, byte(2), byte(3), []byte{1, 2, 3, 4}, byte(3))
	}
	f.Fuzz(func(t *testing.T, setting byte, evilClient bool, at, how byte, data []byte, piece byte) {
		client, server := fuzzConfigs(t, setting)
		changed := false
		p := newEvilPair(t, client, server, evilClient, func(n int, m wire.Message) []byte {
			if n != int(at%8) || len(data) == 0 {
				return m
			}
			out := change(m, how, data)
			changed = changed || !bytes.Equal(out, m)
			return out
		})
		var err error
		for range 40 {
			_, evilErr := p.evil.Handshake()
			out := bytes.Clone(p.evil.Output())
			p.evil.Sent(len(out))
			if err = feedAll(p.victim, out, int(piece)+1); len(out) == 0 {
				_, err = p.victim.Handshake()
			}
			checkEnd(t, p.victim, err)
			back := p.victim.Output()
			p.victim.Sent(p.evil.Feed(back))
			if len(out) == 0 && len(back) == 0 || evilErr != nil && err != nil {
				break
			}
		}
		if changed && p.victim.hs == nil && p.evil.hs == nil && p.evil.Err() == nil && p.victim.Err() == nil {
			t.Errorf("%s, message %d changed by %d %x: the handshake is complete", settings[int(setting)%len(settings)].name, at, how, data)
		}
	})
}

// change returns what a message becomes.
func change(m wire.Message, how byte, data []byte) []byte {
	m = bytes.Clone(m)
	switch how % 4 {
	case 0: // octets of the body, the header is right
		return wire.NewMessage(m.Type(), data)
	case 1: // octets behind it
		return append(m, data...)
	case 2: // instead of it
		return data
	}
	// In the middle of it: a position, then what is put over.
	i := wire.HeaderSize
	if body := len(m) - i; body > 0 {
		i += int(data[0]) * body / 256
	}
	copy(m[i:], data[1:])
	return m
}

// FuzzRecords gives an end octets instead of records, before, within and after
// a handshake.
func FuzzRecords(f *testing.F) {
	client, server := fuzzConfigs(f, 0)
	p := newPair(f, client, server)
	p.client.Handshake()
	hello := bytes.Clone(p.client.Output())
	for _, data := range [][]byte{hello, hello[:100], {20, 3, 3, 0, 1, 1}, {21, 3, 3, 0, 2, 2, 40}, {23, 3, 3, 0, 5, 1, 2, 3, 4, 5}, {22, 3, 3, 0x41, 1}, []byte("NBDMAGICIHAVEOPT")} {
		for when := range byte(4) {
			f.Add(byte(0), true, when, data, byte(255))
			f.Add(byte(4), false, when, data, byte(0))
		}
	}
	f.Fuzz(func(t *testing.T, setting byte, atClient bool, when byte, data []byte, piece byte) {
		client, server := fuzzConfigs(t, setting)
		p := newPair(t, client, server)
		for range when % 8 { // flights first
			p.client.Handshake()
			carry(p.client, p.server, 1<<20)
			p.server.Handshake()
			carry(p.server, p.client, 1<<20)
		}
		e := p.server
		if atClient {
			e = p.client
			e.Handshake()
		}
		err := feedAll(e, data, int(piece)+1)
		checkEnd(t, e, err)
		e.Close()
		if e.in.mem != nil || e.in.msgs != nil {
			t.Error("something is kept after Close")
		}
	})
}
