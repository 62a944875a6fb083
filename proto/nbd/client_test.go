package nbd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/proto/nbd"
)

// connect connects to a server of ours.
func connect(t testing.TB, port int, export string, o nbd.Options) (*nbd.Client, error) {
	t.Helper()
	o.Export = export
	conn, err := net.Dial("tcp", address(port))
	must(t, err)
	c, err := nbd.NewClient(context.Background(), conn, o)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func query(t testing.TB, port int, o nbd.Options) ([]nbd.Info, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address(port))
	must(t, err)
	return nbd.Query(context.Background(), conn, o)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if f := finding.Of(err); err == nil || f.Code != code {
		t.Errorf("error %v, want the finding %s", err, code)
	}
}

// TestAccess shows each peer the exports that are for it, and calls the others unknown.
func TestAccess(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	d := openFile(t, path, false)
	only := func(name string) authz.Authorizer { return authz.DNList{name} }
	for _, c := range []struct {
		security security
		name     string
	}{{securities[1], pskUser}, {securities[2], clientDN}} {
		t.Run(c.security.name, func(t *testing.T) {
			port := serve(t, &nbd.Server{Secure: c.security.secure(t, creds.Server), AllowPlain: true, Exports: []nbd.Export{
				{Name: "mine", Device: d, Access: only(c.name)}, {Name: "theirs", Device: d, Access: only("somebody")}, {Name: "all", Device: d},
			}})
			names := func(o nbd.Options) string {
				list, err := query(t, port, o)
				must(t, err)
				var names []string
				for _, i := range list {
					names = append(names, i.Name)
				}
				return strings.Join(names, " ")
			}
			known := nbd.Options{Secure: c.security.secure(t, creds.Client)}
			if got := names(known); got != "mine all" {
				t.Errorf("the peer sees %q", got)
			}
			if got := names(nbd.Options{}); got != "all" {
				t.Errorf("everybody sees %q", got)
			}
			_, err := connect(t, port, "theirs", known)
			wantCode(t, err, "nbd-export-unknown")
			_, err = connect(t, port, "mine", nbd.Options{})
			wantCode(t, err, "nbd-export-unknown")
			_, err = connect(t, port, "mine", known)
			must(t, err)
		})
	}
	// A name that nobody proved is none.
	s := securities[3]
	port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Name: "mine", Device: d, Access: only("*")}}})
	_, err := connect(t, port, "mine", nbd.Options{Secure: s.secure(t, creds.Client)})
	wantCode(t, err, "nbd-export-unknown")
}

// TestPostures meets servers that demand TLS, that have none, and that speak something else.
func TestPostures(t *testing.T) {
	path, _ := rawFile(t, 1<<20)
	d := openFile(t, path, false)
	s := securities[1]
	plain := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: d}}})
	secured := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Device: d}}})
	client := nbd.Options{Secure: s.secure(t, creds.Client)}

	_, err := connect(t, plain, "", client)
	wantCode(t, err, "nbd-tls-missing")
	if text := "Denied by server for option 5 (starttls)"; !strings.Contains(finding.Of(err).Text, text) || finding.Of(err).Got != "server reported: TLS not configured" {
		t.Errorf("got %v, want %s", finding.Of(err), text)
	}
	_, err = connect(t, secured, "", nbd.Options{})
	wantCode(t, err, "nbd-tls-required")
	if text := "TLS negotiation required before option 7 (go)"; !strings.Contains(finding.Of(err).Text, text) {
		t.Errorf("got %v, want %s", err, text)
	}
	_, err = query(t, secured, nbd.Options{})
	wantCode(t, err, "nbd-tls-required")
	client.AllowPlain = true
	c, err := connect(t, plain, "", client)
	must(t, err)
	if c.Peer().Secured {
		t.Error("TLS with a server that has none")
	}
	c, err = connect(t, secured, "", client)
	must(t, err)
	if !c.Peer().Secured {
		t.Error("no TLS with a server that insists on it")
	}
	_, err = (nbd.Target{Network: "unix", Path: "/nonexistent/socket"}).Dial(t.Context())
	wantCode(t, err, "nbd-unreachable")
}

// answering is a server that says a text and nothing more, whatever it is told.
func answering(t *testing.T, text string) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() { server.Close() })
	return recital{client, strings.NewReader(text)}
}

type recital struct {
	net.Conn
	text io.Reader
}

func (r recital) Read(p []byte) (int, error)  { return r.text.Read(p) }
func (r recital) Write(p []byte) (int, error) { return len(p), nil }

// TestStrangeServers meets servers that do not speak NBD, or not well.
func TestStrangeServers(t *testing.T) {
	const hello = "NBDMAGICIHAVEOPT\x00\x03"
	secure := securities[1].secure(t, creds.Client)
	rep := func(option byte, kind uint32, data string) string {
		return "\x00\x03\xe8\x89\x04\x55\x65\xa9\x00\x00\x00" + string([]byte{option, byte(kind >> 24), 0, 0, byte(kind)}) + lengthAnd(data)
	}
	for _, c := range []struct {
		name, says string
		secure     nbd.Secure
		code, text string
	}{
		{"nothing", "", nil, "nbd-not-nbd", ""},
		{"ssh", "SSH-2.0-OpenSSH_9.2p1\r\n", nil, "nbd-not-nbd", ""},
		{"oldstyle", "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", nil, "nbd-not-nbd", ""},
		{"oldstyle with TLS", "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", secure, "nbd-tls-missing", "Server does not support STARTTLS"},
		{"not fixed with TLS", "NBDMAGICIHAVEOPT\x00\x00", secure, "nbd-tls-missing", "Server does not support STARTTLS"},
		{"starttls unknown", hello + rep(5, 0x80000001, ""), secure, "nbd-tls-missing", "Server don't support STARTTLS option"},
		{"starttls denied", hello + rep(5, 0x80000002, "no"), secure, "nbd-tls-missing", "Denied by server for option 5 (starttls)"},
		{"starttls invalid", hello + rep(5, 0x80000003, ""), secure, "nbd-tls-missing", "Invalid parameters for option 5 (starttls)"},
		{"starttls platform", hello + rep(5, 0x80000004, ""), secure, "nbd-tls-missing", "Server lacks support for option 5 (starttls)"},
		{"starttls with data", hello + rep(5, 1, "data"), secure, "nbd-protocol", "Option 5 ('starttls') response length is 4 (it should be zero)"},
		{"starttls answered by an export", hello + rep(5, 2, ""), secure, "nbd-protocol", "Server answered option 5 (starttls) with unexpected reply 2 (server)"},
		{"starttls and gone", hello + rep(5, 1, ""), secure, "psk-refused", ""},
		{"another option's answer", hello + rep(4, 1, ""), nil, "nbd-protocol", ""},
		{"a long answer", hello + "\x00\x03\xe8\x89\x04\x55\x65\xa9\x00\x00\x00\x0b\x00\x00\x00\x01\xff\xff\xff\xff", nil, "nbd-protocol", ""},
		{"policy", hello + rep(11, 0x80000001, "") + rep(8, 0x80000001, "") + rep(7, 0x80000002, "go away"), nil, "nbd-refused", "Denied by server for option 7 (go)"},
		{"no size", hello + rep(11, 0x80000001, "") + rep(8, 0x80000001, "") + rep(7, 1, ""), nil, "nbd-protocol", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := nbd.NewClient(t.Context(), answering(t, c.says), nbd.Options{Secure: c.secure})
			wantCode(t, err, c.code)
			if c.text != "" && finding.Of(err).Text != c.text {
				t.Errorf("text %q, want %q", finding.Of(err).Text, c.text)
			}
		})
	}
}

// TestRequests asks for what cannot be, and for what the ends of an export allow.
func TestRequests(t *testing.T) {
	const size = 1 << 20
	path, content := rawFile(t, size)
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Name: "w", Device: openFile(t, path, true)}, {Name: "r", Device: openFile(t, path, true), ReadOnly: true}}})
	for _, shape := range []nbd.Replies{nbd.AnyReplies, nbd.StructuredReplies, nbd.SimpleReplies} {
		w, err := connect(t, port, "w", nbd.Options{Replies: shape})
		must(t, err)
		r, err := connect(t, port, "r", nbd.Options{Replies: shape})
		must(t, err)
		buf := make([]byte, 100)
		if n, err := w.ReadAt(buf, size-10); n != 10 || err != io.EOF || !bytes.Equal(buf[:10], content[size-10:]) {
			t.Errorf("read %d octets at the end, error %v", n, err)
		}
		if n, err := w.ReadAt(buf, size); n != 0 || err != io.EOF {
			t.Errorf("read %d octets after the end, error %v", n, err)
		}
		if _, err := w.WriteAt(buf, size-10); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a write past the end: %v", err)
		}
		if _, err := r.WriteAt(buf, 0); !errors.Is(err, syscall.EPERM) {
			t.Errorf("a write to what is read-only: %v", err)
		}
		if !r.Flags().Has(nbd.ReadOnly) || r.Flags().Has(nbd.SendResize) || r.Flags().Has(nbd.SendTrim) || !w.Flags().Has(nbd.SendFlush|nbd.SendFUA|nbd.SendTrim|nbd.SendWriteZeroes|nbd.SendFastZero|nbd.CanMultiConn|nbd.SendCache) {
			t.Errorf("flags %b and %b", r.Flags(), w.Flags())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.WithContext(ctx).ReadAt(buf, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context: %v", err)
		}
		must(t, w.Close())
		if _, err := w.ReadAt(buf, 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// aligned is a device that wants whole sectors.
type aligned struct{ nbd.Device }

func (aligned) BlockSize() nbd.BlockSize {
	return nbd.BlockSize{Min: 512, Preferred: 4096, Max: 1 << 20}
}

// TestBlockSizes tells of sizes, splits requests by them, and refuses others.
func TestBlockSizes(t *testing.T) {
	path, content := rawFile(t, 4<<20)
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: aligned{openFile(t, path, false)}}}})
	c, err := connect(t, port, "", nbd.Options{})
	must(t, err)
	if got := c.BlockSize(); got != (nbd.BlockSize{Min: 512, Preferred: 4096, Max: 1 << 20}) {
		t.Errorf("block sizes %+v", got)
	}
	got := make([]byte, len(content))
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a read of several requests: %v", err)
	}
	if _, err := c.ReadAt(got[:100], 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("an unaligned read: %v", err)
	}
}
