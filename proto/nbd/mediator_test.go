package nbd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// mediate stands in front of a plain server until the test ends, lets nobody know
// of the export "nobody", and returns its port.
func mediate(t *testing.T, secure nbd.Secure, port int) int {
	t.Helper()
	return peertest.ServePort(t, func(c net.Conn) {
		_, _ = mediateOne(t.Context(), c, secure, nbd.Target{Network: "tcp", Host: "127.0.0.1", Port: strings.TrimPrefix(address(port), "127.0.0.1:")})
	})
}

func mediateOne(ctx context.Context, c net.Conn, secure nbd.Secure, to nbd.Target) (export string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m, err := nbd.Accept(ctx, c, secure)
	if err != nil {
		return "", err
	}
	service, err := to.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer service.Close()
	if err := m.Reach(ctx, service, nbd.Options{}); err != nil {
		return "", err
	}
	return m.Choose(ctx, func(name string, _ bool) bool { return name != "nobody" })
}

// TestMediatorJudgesClients has clients come that are not to reach the server.
func TestMediatorJudgesClients(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		want       error  // one of these
		text       string // or an error with this text
	}{
		{"a probe of the port", "", nbd.ErrLeft, ""},
		{"left after the greeting", fixed, nbd.ErrPlain, ""},
		{"left after a refusal", fixed + opt(3, "") + opt(7, goFor("disk", "")), nbd.ErrPlain, ""},
		{"left with a word", fixed + opt(2, ""), nbd.ErrPlain, ""},
		{"an export by name", fixed + opt(1, "disk"), nbd.ErrPlain, ""},
		{"not fixed", "\x00\x00\x00\x00" + opt(5, ""), nil, "unsupported option 0x5"},
		{"nonsense", "GET / HTTP/1.1\r\n\r\n", nil, "unknown client flags 0x47455420"},
		{"a huge option", fixed + "IHAVEOPT\x00\x00\x00\x03\x02\x00\x00\x01", nil, "is larger than max len"},
		{"starttls with data", fixed + opt(5, "data"), nil, "unexpected length"},
		{"plain text behind starttls", fixed + opt(5, "") + opt(3, ""), nil, "handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := peertest.TimedPair(t)
			_, err := near.Write([]byte(tt.says))
			must(t, err)
			must(t, near.(*net.TCPConn).CloseWrite())
			_, err = nbd.Accept(t.Context(), far, securities[1].secure(t, creds.Server))
			if tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && (err == nil || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestMediatorHides compares what is said of an export that a client may not have
// with what is said of one that is not there.
func TestMediatorHides(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	device := openFile(t, path, false)
	port := mediate(t, nil, serve(t, &nbd.Server{Exports: []nbd.Export{{Name: "disk", Device: device}, {Name: "nobody", Description: "a secret", Device: device}}}))
	for _, talks := range []func(name string) string{
		func(name string) string {
			return fixed + opt(6, goFor(name, "")) + opt(7, goFor(name, "")) + opt(2, "")
		},
		func(name string) string { return fixed + opt(1, name) },
		func(name string) string {
			none := lengthAnd(name) + "\x00\x00\x00\x00"
			return fixed + opt(8, "") + opt(9, none) + opt(10, none) + opt(2, "")
		},
	} {
		hidden, absent := talk(t, port, talks("nobody")), talk(t, port, talks("noboby"))
		if strings.ReplaceAll(absent, "noboby", "nobody") != hidden {
			t.Errorf("hidden: %q\nabsent: %q", hidden, absent)
		}
		if there := talk(t, port, talks("disk")); len(there) == len(hidden) {
			t.Errorf("of one that is there: %q", there)
		}
	}
	if got := talk(t, port, fixed+opt(3, "")+opt(2, "")); !strings.Contains(got, "disk") || strings.Contains(got, "nobody") || strings.Contains(got, "secret") {
		t.Errorf("the list is %q", got)
	}
	if got := talk(t, port, fixed+opt(6, goFor("disk", strings.Repeat("\x00\x03", 40000)))+opt(2, "")); !strings.Contains(got, "option 'info' has more than 65536 octets") {
		t.Errorf("a huge option is answered by %q", got)
	}
}

// TestMediatorZeroes lets client and server differ about the zeroes behind the
// answer to EXPORT_NAME.
func TestMediatorZeroes(t *testing.T) {
	for _, client := range []string{fixed, repeatable} {
		for _, server := range []string{"\x00\x03", "\x00\x01"} {
			near, far := peertest.TimedPair(t)
			service, end := peertest.TimedPair(t)
			go func() {
				_, _ = end.Write([]byte("NBDMAGICIHAVEOPT" + server))
				_, _ = io.ReadFull(end, make([]byte, 4+16+4))
				answer := string(binary.BigEndian.AppendUint64(nil, 4096)) + "\x00\x01"
				if server == "\x00\x01" {
					answer += strings.Repeat("\x00", 124)
				}
				_, _ = end.Write([]byte(answer + "blocks"))
			}()
			_, err := near.Write([]byte(client + opt(1, "disk")))
			must(t, err)
			m, err := nbd.Accept(t.Context(), far, nil)
			must(t, err)
			must(t, m.Reach(t.Context(), service, nbd.Options{}))
			if name, err := m.Choose(t.Context(), func(string, bool) bool { return true }); name != "disk" || err != nil {
				t.Fatal(name, err)
			}
			must(t, far.(*net.TCPConn).CloseWrite())
			got, err := io.ReadAll(near)
			must(t, err)
			if want := map[string]int{fixed: 18 + 10, repeatable: 18 + 134}[client]; len(got) != want {
				t.Errorf("client %q, server %q: %d octets, want %d", client, server, len(got), want)
			}
			rest := make([]byte, 6)
			if _, err := io.ReadFull(service, rest); err != nil || string(rest) != "blocks" {
				t.Errorf("the server goes on with %q, %v", rest, err)
			}
		}
	}
}

// TestMediatorRefusesServers has the server break the protocol.
func TestMediatorRefusesServers(t *testing.T) {
	list := opt(3, "")
	reply := func(option, kind uint32, data string) string {
		b := binary.BigEndian.AppendUint64(nil, 0x0003e889045565a9)
		b = binary.BigEndian.AppendUint32(b, option)
		b = binary.BigEndian.AppendUint32(b, kind)
		return string(b) + lengthAnd(data)
	}
	for _, tt := range []struct{ name, greeting, says, text string }{
		{"oldstyle", "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", "", "does not speak NBD"},
		{"not fixed", "NBDMAGICIHAVEOPT\x00\x00", "", "fixed newstyle"},
		{"nothing", "", "", "does not speak NBD"},
		{"left", "NBDMAGICIHAVEOPT\x00\x03", "", "closed the connection"},
		{"another option", "NBDMAGICIHAVEOPT\x00\x03", reply(7, 1, ""), "unexpected option type 7"},
		{"too long", "NBDMAGICIHAVEOPT\x00\x03", reply(3, 2, strings.Repeat("x", 9000)), "want at most"},
		{"an entry cut short", "NBDMAGICIHAVEOPT\x00\x03", reply(3, 2, "\x00\x00\x00\x09disk"), "too short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := peertest.TimedPair(t)
			service, end := peertest.TimedPair(t)
			_, err := end.Write([]byte(tt.greeting + tt.says))
			must(t, err)
			must(t, end.(*net.TCPConn).CloseWrite())
			_, err = near.Write([]byte(fixed + list))
			must(t, err)
			m, err := nbd.Accept(t.Context(), far, nil)
			must(t, err)
			if err = m.Reach(t.Context(), service, nbd.Options{}); err == nil {
				_, err = m.Choose(t.Context(), func(string, bool) bool { return true })
			}
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestMediatorLimits ends what takes too long, on either side.
func TestMediatorLimits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	near, far := peertest.TimedPair(t)
	_, err := near.Write([]byte(fixed))
	must(t, err)
	if _, err := nbd.Accept(ctx, far, securities[1].secure(t, creds.Server)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the client: %v", err)
	}
	near, far = peertest.TimedPair(t)
	_, err = near.Write([]byte(fixed))
	must(t, err)
	m, err := nbd.Accept(t.Context(), far, nil)
	must(t, err)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	service, _ := peertest.TimedPair(t)
	if err := m.Reach(ctx, service, nbd.Options{}); err == nil {
		t.Error("the server may say nothing for ever")
	}
}
