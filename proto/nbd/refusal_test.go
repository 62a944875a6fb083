package nbd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// opt is an option as a client sends it.
func opt(number uint32, data string) string {
	b := binary.BigEndian.AppendUint64(nil, 0x49484156454f5054)
	b = binary.BigEndian.AppendUint32(b, number)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return string(b) + data
}

func lengthAnd(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// goFor is the data of INFO and GO.
func goFor(name string, infos string) string {
	return lengthAnd(name) + string(binary.BigEndian.AppendUint16(nil, uint16(len(infos)/2))) + infos
}

const (
	fixed      = "\x00\x00\x00\x03"
	repeatable = "\x00\x00\x00\x01"
)

// What clients send in plain text, by what it is.
var plainTalk = []struct{ name, text string }{
	{"unknown client flags", "\x00\x00\x00\x07" + opt(3, "")},
	{"not fixed", "\x00\x00\x00\x00" + opt(5, "")},
	{"bad magic", fixed + strings.Repeat("x", 16)},
	{"huge option", fixed + "IHAVEOPT\x00\x00\x00\x03\x02\x00\x00\x01"},
	{"export name", fixed + opt(1, "disk")},
	{"export name of none", fixed + opt(1, "nobody")},
	{"export name with zeroes", repeatable + opt(1, "disk")},
	{"abort", fixed + opt(2, "")},
	{"list", fixed + opt(3, "") + opt(2, "")},
	{"list with data", fixed + opt(3, "data") + opt(2, "")},
	{"starttls with data", fixed + opt(5, "data") + opt(2, "")},
	{"structured replies", fixed + opt(8, "") + opt(8, "") + opt(8, "data") + opt(2, "")},
	{"unknown option", fixed + opt(4, "data") + opt(99, "more data") + opt(2, "")},
	{"info of none", fixed + opt(6, goFor("nobody", "")) + opt(2, "")},
	{"info of a long name", fixed + opt(6, goFor(strings.Repeat("n", 200), "")) + opt(2, "")},
	{"info of too long a name", fixed + opt(6, goFor(strings.Repeat("n", 5000), "")) + opt(2, "")},
	{"info cut short", fixed + opt(6, "\x00") + opt(6, lengthAnd("disk")) + opt(6, "\x00\x00\x00\x10disk\x00\x00") + opt(2, "")},
	{"info with too much", fixed + opt(6, goFor("disk", "")+"data") + opt(2, "")},
	{"meta context too early", fixed + opt(10, lengthAnd("disk")+lengthAnd("")) + opt(2, "")},
	{"meta contexts", fixed + opt(8, "") + opt(9, lengthAnd("disk")+"\x00\x00\x00\x00") + opt(10, lengthAnd("disk")+"\x00\x00\x00\x02"+lengthAnd("base:allocation")+lengthAnd("other:thing")) +
		opt(9, lengthAnd("nobody")+"\x00\x00\x00\x00") + opt(10, lengthAnd("disk")+"\x00\x00\x00\x01\x00\x00\x00\x10") + opt(2, "")},
}

// talk sends a text and returns what comes back until the server is done with it.
func talk(t *testing.T, port int, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address(port))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	// The server may be done with it before it has read everything.
	_, _ = c.Write([]byte(text))
	_ = c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(c)
	return string(got)
}

// TestRefusalsAreQEMUs compares our answers with those of qemu-nbd, octet for octet.
func TestRefusalsAreQEMUs(t *testing.T) {
	for _, s := range []security{securities[0], securities[1]} {
		t.Run(s.name, func(t *testing.T) {
			path, _ := rawFile(t, 1<<20)
			exports := []nbd.Export{{Name: "disk", Description: "a disk", Device: openFile(t, path, true)}}
			ours := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: exports})
			mediated := mediate(t, s.secure(t, creds.Server), serve(t, &nbd.Server{Exports: append(exports, nbd.Export{Name: "nobody", Device: exports[0].Device})}))
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				args := []string{"--format=raw", "--export-name=disk", "--description=a disk", "--shared=8"}
				if s.kind != "" {
					args = append(args, "--object", s.qemuObject(t, creds.Server), "--tls-creds=tls0")
				}
				theirs := g.QemuNBD(t, peertest.Options{}, append(args, path)...).Ready().Port
				for _, c := range plainTalk {
					want, got := talk(t, theirs, c.text), talk(t, ours, c.text)
					// Which abilities an export has is not a matter of refusals.
					if c.name == "export name" || c.name == "export name with zeroes" {
						want, got = fmt.Sprint(len(want)), fmt.Sprint(len(got))
					}
					if got != want {
						t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
					}
					if got := talk(t, mediated, c.text); got != want && fmt.Sprint(len(got)) != want {
						t.Errorf("%s, mediated:\n got %q\nwant %q", c.name, got, want)
					}
					if says := map[string]string{"": "a disk", "tls-creds-psk": "Option 0x3 not permitted before TLS"}[s.kind]; c.name == "list" && !strings.Contains(got, says) {
						t.Errorf("the answer to LIST is %q, want %q in it", got, says)
					}
				}
			})
		})
	}
}

// TestNothingSurvivesStartTLS sends options in plain text behind STARTTLS, where
// a server that reads ahead would take them for the client's.
func TestNothingSurvivesStartTLS(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	s := securities[2]
	port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), AllowPlain: true, Exports: []nbd.Export{{Name: "disk", Device: openFile(t, path, true)}}})
	got := talk(t, port, fixed+opt(5, "")+opt(3, "")+opt(2, ""))
	ack := "\x00\x03\xe8\x89\x04\x55\x65\xa9\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x00"
	if len(got) < 18+len(ack) || got[18:18+len(ack)] != ack {
		t.Fatalf("STARTTLS is answered by %q", got)
	}
	if rest := got[18+len(ack):]; strings.Contains(rest, "disk") || strings.Contains(rest, "\x00\x03\xe8\x89") {
		t.Errorf("an option in plain text is answered after STARTTLS: %q", rest)
	}

	// What was negotiated before counts no more: SET_META_CONTEXT wants structured replies anew.
	c, err := net.Dial("tcp", address(port))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	say := func(c net.Conn, text string, size int) string {
		t.Helper()
		_, err := c.Write([]byte(text))
		must(t, err)
		b := make([]byte, size)
		_, err = io.ReadFull(c, b)
		must(t, err)
		return string(b)
	}
	say(c, fixed+opt(8, ""), 18+20)
	say(c, opt(5, ""), 20)
	secured, peer, err := s.secure(t, creds.Client)(t.Context(), c)
	must(t, err)
	if peer.Name != "CN=localhost" {
		t.Errorf("the server is %q", peer.Name)
	}
	want := "request option 'set meta context' when structured reply is not negotiated"
	if got := say(secured, opt(10, lengthAnd("disk")+"\x00\x00\x00\x00"), 20+len(want)); got[20:] != want {
		t.Errorf("got %q", got)
	}
	if got := say(secured, opt(5, ""), 20+len("TLS already enabled")); !strings.HasSuffix(got, "TLS already enabled") {
		t.Errorf("got %q", got)
	}
}

// TestHandshakeLimit ends connections of clients that say too little.
func TestHandshakeLimit(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	for _, text := range []string{"", "\x00", fixed + opt(5, ""), fixed + opt(5, "") + "\x16\x03\x01"} {
		port := serve(t, &nbd.Server{Secure: securities[1].secure(t, creds.Server), Limits: nbd.Limits{Handshake: 100 * time.Millisecond},
			Exports: []nbd.Export{{Device: openFile(t, path, false)}}})
		c, err := net.Dial("tcp", address(port))
		must(t, err)
		defer c.Close()
		_, err = c.Write([]byte(text))
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%q: the connection is still open", text)
		}
	}
}

// TestConnectionLimit sends away who is too many.
func TestConnectionLimit(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	port := serve(t, &nbd.Server{Limits: nbd.Limits{Connections: 1}, Exports: []nbd.Export{{Device: openFile(t, path, false)}}})
	first, err := net.Dial("tcp", address(port))
	must(t, err)
	defer first.Close()
	greeting := make([]byte, 18)
	_, err = io.ReadFull(first, greeting)
	must(t, err)
	if !bytes.HasPrefix(greeting, []byte("NBDMAGICIHAVEOPT")) {
		t.Errorf("greeting %q", greeting)
	}
	if got := talkSilently(t, port); got != "" {
		t.Errorf("the second connection gets %q", got)
	}
}

func talkSilently(t *testing.T, port int) string {
	c, err := net.Dial("tcp", address(port))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	got, _ := io.ReadAll(c)
	return string(got)
}
