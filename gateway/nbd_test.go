package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
	"virtls/session"
)

const (
	keyOfAlice = "alice:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	keyOfBob   = "bob:101112131415161718191a1b1c1d1e1f000102030405060708090a0b0c0d0e0f\n"
)

// keys returns a directory with keys.psk.
func keys(t testing.TB, lines string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "keys.psk"), []byte(lines), 0o600))
	return dir
}

func keyHolder(t testing.TB, dir, user string) *creds.Holder {
	t.Helper()
	o := creds.PSKOptions{Dir: dir, Username: user, Endpoint: creds.Server}
	if user != "" {
		o.Endpoint = creds.Client
	}
	h, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadPSK(o)
		if err != nil {
			return nil, nil, err
		}
		return c, w, nil
	})
	must(t, err)
	return h
}

// disks makes a directory with two disks, a and b, and returns the path of a.
func disks(t testing.TB) (dir, a string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"a", "b"} {
		b := make([]byte, 1<<20)
		rand.Read(b)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return dir, filepath.Join(dir, "a")
}

func port(r *running) string { return fmt.Sprint(r.Addr().(*net.TCPAddr).Port) }

// image is QEMU's way to say which export is meant.
func image(r *running, export string, tls bool) string {
	text := "driver=nbd,host=localhost,port=" + port(r) + ",export=" + export
	if tls {
		text += ",tls-creds=tls0"
	}
	return text
}

// TestNBDFront has TLS, and rules for exports, in front of an nbdkit without.
func TestNBDFront(t *testing.T) {
	ca := shared().ca
	server, good, other := ca.dir(t, "localhost", "ec"), ca.dir(t, "client1", "ec"), ca.dir(t, "client2", "ec")
	psk := keys(t, keyOfAlice+keyOfBob)
	dir, a := disks(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		kit := g.Nbdkit(t, peertest.Options{}, "file", "dir="+dir).Ready()
		service := Side{Address: address(t, fmt.Sprintf("tcp://127.0.0.1:%d", kit.Port))}
		front := func(h *creds.Holder, forA, forB string) *running {
			return run(t, Options{
				Protocol: NBD, Listen: Side{address(t, "tls://127.0.0.1:0"), h}, Connect: service,
				Exports: Exports{{Name: "a", Names: []string{forA}}, {Name: "b", Names: []string{forB}}},
			})
		}
		x509 := front(holder(t, server, creds.Server), "O=Example,CN=client1", "*,CN=client2")
		shared := front(keyHolder(t, psk, ""), "alice", "bob")
		object := func(kind string) []string { return []string{"--object", kind + ",id=tls0,endpoint=client"} }
		of := func(dir string) []string { return object("tls-creds-x509,dir=" + dir) }
		as := func(user string) []string { return object("tls-creds-psk,dir=" + psk + ",username=" + user) }
		for _, tt := range []struct {
			name    string
			gateway *running
			object  []string
			export  string
			refusal string // empty: it gets the disk
			log     []string
		}{
			{"x509", x509, of(good), "a", "", []string{"accepted", "O=Example,CN=client1", "export=a"}},
			{"x509 of another", x509, of(other), "a", "export 'a' not present", []string{"denied", "CN=client2", "code=gateway-nbd-export", `export \"a\"`}},
			{"x509 for none", x509, of(good), "c", "export 'c' not present", []string{"denied", `export \"c\"`}},
			{"x509 without a certificate", x509, of(ca.dir(t, "", "")), "a", "", []string{"refused", "code=peer-no-certificate"}},
			{"plain", x509, nil, "a", "TLS negotiation required before option", []string{"refused", "code=gateway-nbd-plain"}},
			{"psk", shared, as("alice"), "a", "", []string{"accepted", "dn=alice", "export=a"}},
			{"psk of another", shared, as("bob"), "a", "export 'a' not present", []string{"denied", "dn=bob"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				args := append(append([]string{"convert", "-O", "raw"}, tt.object...), "--image-opts", image(tt.gateway, tt.export, tt.object != nil))
				out := filepath.Join(t.TempDir(), "out")
				r := g.Run(t, peertest.Options{}, "qemu-img", append(args, out)...)
				line := tt.gateway.log.await(t, tt.log...)
				if !strings.Contains(line, "accepted") {
					if r.Code == 0 || !strings.Contains(r.Stderr, tt.refusal) {
						t.Errorf("want a refusal with %q: %v", tt.refusal, r)
					}
					return
				}
				if r.Code != 0 {
					t.Fatal(r)
				}
				same(t, out, a)
			})
		}

		// libnbd's programs see what is theirs alone.
		for uri, want := range map[string]string{
			"nbds://localhost:" + port(x509) + "/?tls-certificates=" + good:                "a",
			"nbds://localhost:" + port(x509) + "/?tls-certificates=" + other:               "b",
			"nbds://bob@localhost:" + port(shared) + "/?tls-psk-file=" + psk + "/keys.psk": "b",
		} {
			r := g.Run(t, peertest.Options{}, "nbdinfo", "--list", uri)
			if r.Code != 0 || strings.Count(r.Stdout, "export=") != 1 || !strings.Contains(r.Stdout, `export="`+want+`"`) {
				t.Errorf("want the export %s alone: %v", want, r)
			}
		}
		out := filepath.Join(t.TempDir(), "out")
		if r := g.Run(t, peertest.Options{}, "nbdcopy", "nbds://localhost:"+port(x509)+"/a?tls-certificates="+good, out); r.Code != 0 {
			t.Fatal(r)
		}
		same(t, out, a)
	})
}

// same wants two files with the same content.
func same(t testing.TB, one, other string) {
	t.Helper()
	b1, err := os.ReadFile(one)
	must(t, err)
	b2, err := os.ReadFile(other)
	must(t, err)
	if !bytes.Equal(b1, b2) {
		t.Error("the disk is not what was read or written")
	}
}

// TestNBDBack has clients without TLS, or with another, use servers that insist on it.
func TestNBDBack(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	psk := keys(t, keyOfAlice)
	peertest.WithDH(t, dir)
	peertest.WithDH(t, psk)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		_, a := disks(t)
		nbdServer := func(object string) Address {
			p := g.QemuNBD(t, peertest.Options{}, "--format=raw", "--export-name=disk", "--shared=8", "--object", object+",id=tls0,endpoint=server", "--tls-creds=tls0", a).Ready()
			return address(t, fmt.Sprintf("tls://localhost:%d", p.Port))
		}
		x509 := nbdServer("tls-creds-x509,dir=" + dir)
		shared := nbdServer("tls-creds-psk,dir=" + psk)
		kit := address(t, fmt.Sprintf("tls://localhost:%d", g.Nbdkit(t, peertest.Options{}, "--tls=require", "--tls-certificates="+dir, "--tls-verify-peer", "memory", "1M").Ready().Port))
		plain := Side{Address: address(t, "tcp://127.0.0.1:0")}
		client := holder(t, dir, creds.Client)

		t.Run("plain to x509", func(t *testing.T) {
			gw := run(t, Options{Protocol: NBD, Listen: plain, Connect: Side{x509, client}})
			written := g.Run(t, peertest.Options{}, "qemu-io", "--image-opts", image(gw, "disk", false), "-c", "write -P 0x5a 64k 64k", "-c", "write -z 256k 64k", "-c", "flush", "-c", "read -P 0x5a 64k 64k")
			if written.Code != 0 || strings.Contains(written.Stdout, "failed") {
				t.Fatal(written)
			}
			out := filepath.Join(t.TempDir(), "out")
			if r := g.Run(t, peertest.Options{}, "nbdcopy", "nbd://localhost:"+port(gw)+"/disk", out); r.Code != 0 {
				t.Fatal(r)
			}
			same(t, out, a)
			gw.log.await(t, "accepted", "export=disk", `service-tls="TLS 1.3`)
			if r := g.Run(t, peertest.Options{}, "nbdinfo", "--list", "nbd://localhost:"+port(gw)); r.Code != 0 || !strings.Contains(r.Stdout, `export="disk"`) {
				t.Error(r)
			}
			// It has none to offer.
			if r := g.Run(t, peertest.Options{}, "qemu-img", "info", "--object", "tls-creds-x509,id=tls0,dir="+dir, "--image-opts", image(gw, "disk", true)); r.Code == 0 || !strings.Contains(r.Stderr, "TLS not configured") {
				t.Error(r)
			}
		})
		t.Run("plain to nbdkit", func(t *testing.T) {
			gw := run(t, Options{Protocol: NBD, Listen: plain, Connect: Side{kit, client}})
			if r := g.Run(t, peertest.Options{}, "nbdinfo", "--size", "nbd://localhost:"+port(gw)); strings.TrimSpace(r.Stdout) != "1048576" {
				t.Error(r)
			}
		})
		t.Run("x509 to psk", func(t *testing.T) {
			gw := run(t, Options{Protocol: NBD, Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}, Connect: Side{shared, keyHolder(t, psk, "alice")}})
			if r := g.Run(t, peertest.Options{}, "qemu-img", "info", "--object", "tls-creds-x509,id=tls0,dir="+dir, "--image-opts", image(gw, "disk", true)); r.Code != 0 || !strings.Contains(r.Stdout, "1 MiB") {
				t.Error(r)
			}
			gw.log.await(t, "accepted", `dn="O=Example,CN=localhost"`, "service-tls=")
		})
		for _, tt := range []struct {
			name    string
			service Side
			code    string
		}{
			{"a key that the server lacks", Side{shared, keyHolder(t, keys(t, keyOfBob), "bob")}, "psk-refused"},
			{"no certificate for the server", Side{x509, holder(t, ca.dir(t, "", ""), creds.Client)}, ""},
			{"no TLS for the server", Side{Address: address(t, strings.Replace(x509.String(), "tls:", "tcp:", 1))}, "nbd-tls-required"},
			{"a server of another authority", Side{x509, holder(t, foreignDir(t), creds.Client)}, "peer-untrusted"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				gw := run(t, Options{Protocol: NBD, Listen: plain, Connect: tt.service})
				r := g.Run(t, peertest.Options{}, "qemu-img", "info", "--image-opts", image(gw, "disk", false))
				if r.Code == 0 {
					t.Error(r)
				}
				if tt.code == "nbd-tls-required" {
					if !strings.Contains(r.Stderr, "TLS negotiation required before option 7 (go)") {
						t.Error(r)
					}
					return
				}
				gw.log.await(t, "refused", "code="+tt.code, "mend=")
			})
		}
	})
}

// foreignDir is a client's directory of the other authority.
func foreignDir(t testing.TB) string { return shared().foreign.dir(t, "localhost", "ec") }

// zeroes is a device.
type zeroes int64

func (z zeroes) Size() int64 { return int64(z) }
func (z zeroes) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// nbdService serves exports without TLS, and counts its connections.
func nbdService(t testing.TB, names ...string) (url string, came *atomic.Int64) {
	t.Helper()
	s := &nbd.Server{}
	for _, name := range names {
		s.Exports = append(s.Exports, nbd.Export{Name: name, Device: zeroes(1 << 20)})
	}
	came = new(atomic.Int64)
	return serve(t, "tcp", func(c net.Conn) {
		came.Add(1)
		s.ServeConn(context.Background(), c)
	}), came
}

// TestNBDService keeps clients that are not let in from the service, passes
// requests on for those who are, and drains.
func TestNBDService(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	url, came := nbdService(t, "", "disk")
	gw := run(t, Options{
		Protocol: NBD, Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}, Connect: Side{Address: address(t, url)},
		Access: Access{{DN: "*,CN=localhost"}}, Exports: Exports{{Name: "disk"}}, DrainLimit: 100 * time.Millisecond,
	})
	connect := func(dir, export string) (*nbd.Client, error) {
		h := holder(t, dir, creds.Client)
		return nbd.NewClient(t.Context(), gw.dial(t), nbd.Options{Export: export, Secure: nbd.Session(func() session.Options {
			return session.Options{Credentials: h.Current(), Hostname: "localhost"}
		})})
	}
	if _, err := connect(ca.dir(t, "visitor", "ec"), "disk"); err == nil {
		t.Error("a visitor is let in")
	}
	gw.log.await(t, "refused", "code=peer-denied", "CN=visitor")
	if _, err := nbd.NewClient(t.Context(), gw.dial(t), nbd.Options{Export: "disk"}); finding.Of(err).Code != "nbd-tls-required" {
		t.Errorf("without TLS: %v", err)
	}
	gw.dial(t).Close()
	c := gw.dial(t)
	c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	gw.log.await(t, "refused", "code=gateway-nbd-client", "unknown client flags")
	if n := came.Load(); n != 0 {
		t.Errorf("%d connections have reached the service", n)
	}
	// The export without a name has no rule.
	if _, err := connect(dir, ""); finding.Of(err).Code != "nbd-export-unknown" {
		t.Errorf("an export without a rule: %v", err)
	}
	gw.log.await(t, "closed", "CN=localhost", "left without")
	for end := time.Now().Add(20 * time.Second); gw.count() > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	client, err := connect(dir, "disk")
	must(t, err)
	defer client.Close()
	if n, err := client.ReadAt(make([]byte, 100000), 512); n != 100000 || err != nil {
		t.Error(n, err)
	}
	if s := gw.Status(); s.Open != 1 || s.Refused["gateway-nbd-plain"] != 1 || s.Refused["gateway-nbd-export"] != 1 || s.Handshakes != 2 {
		t.Errorf("%+v", s)
	}
	must(t, gw.stop())
	gw.log.await(t, "cut off")
	gw.log.await(t, "closed", "down=100040")
	if _, err := client.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("the connection goes on after the gateway has ended")
	}
}

// TestNBDReload has the next client see new credentials, and the old go on.
func TestNBDReload(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	url, _ := nbdService(t, "disk")
	h := holder(t, dir, creds.Server)
	gw := run(t, Options{Protocol: NBD, Listen: Side{address(t, "tls://127.0.0.1:0"), h}, Connect: Side{Address: address(t, url)}})
	connect := func() (*nbd.Client, string) {
		mine := holder(t, dir, creds.Client)
		c, err := nbd.NewClient(t.Context(), gw.dial(t), nbd.Options{Export: "disk", Secure: nbd.Session(func() session.Options {
			return session.Options{Credentials: mine.Current(), Hostname: "localhost"}
		})})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c, c.Peer().Name
	}
	old, name := connect()
	ca.renew(t, dir, "renewed", "ec")
	must(t, h.Reload(t.Context()))
	if _, now := connect(); name != "O=Example,CN=localhost" || now != "O=Example,CN=renewed" {
		t.Errorf("%s, then %s", name, now)
	}
	_, err := old.ReadAt(make([]byte, 512), 0)
	must(t, err)
}

func TestNBDRefused(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"names without TLS", Options{Protocol: NBD, Exports: Exports{{Name: "a", Names: []string{"alice"}}}}, "clients without TLS have none"},
		{"two rules", Options{Protocol: NBD, Exports: Exports{{Name: "a"}, {Name: "a"}}}, "two rules"},
		{"an empty name", Options{Protocol: NBD, Exports: Exports{{Name: "a", Names: []string{""}}}}, "empty"},
		{"another protocol", Options{Protocol: TLS, Listen: Side{Credentials: holder(t, dir, creds.Server)}, Exports: Exports{{Name: "a"}}}, "for the protocol nbd alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Listen.Address, tt.o.Connect.Address = address(t, "tcp://127.0.0.1:0"), address(t, "unix:///run/x")
			if _, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	for text, want := range map[string]string{"disk": "is not one of", "name=a,allow=O=Example,CN=b": "double the commas", "nam=a": "is not one of", "name=a,tls-authz=": "names no list"} {
		_, err := ParseExport(text)
		if f, ok := errors.AsType[*finding.Failure](err); !ok || !strings.Contains(f.Text+f.Fix, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	e, err := ParseExport("name=a,,b,allow=O=Example,,CN=b,allow=alice,tls-authz=list")
	if err != nil || e.Name != "a,b" || len(e.Allow) != 2 || e.Allow[0] != "O=Example,CN=b" || e.TLSAuthz != "list" {
		t.Errorf("%+v, %v", e, err)
	}
}
