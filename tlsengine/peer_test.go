package tlsengine

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/wire"
)

// conn drives an engine over a connection, for tests of the engine alone.
type conn struct {
	net.Conn
	*Engine
}

func (c conn) flush() error {
	for out := c.Output(); len(out) > 0; out = c.Output() {
		n, err := c.Conn.Write(out)
		c.Sent(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c conn) fill() error {
	buf := make([]byte, 1<<14)
	n, err := c.Conn.Read(buf)
	c.Feed(buf[:n])
	if n > 0 {
		return nil
	}
	return err
}

func (c conn) handshake() error {
	for {
		status, err := c.Engine.Handshake()
		if flushErr := c.flush(); err == nil {
			err = flushErr
		}
		if err != nil || status == Complete {
			return err
		}
		if status == Receiving {
			if err := c.fill(); err != nil {
				return fmt.Errorf("during the handshake: %w", err)
			}
		}
	}
}

func (c conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Engine.Read(p)
		if flushErr := c.flush(); flushErr != nil {
			return n, flushErr
		}
		if !errors.Is(err, ErrWantInput) {
			return n, err
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

func (c conn) Write(p []byte) (int, error) {
	n, err := c.Engine.Write(p)
	if err != nil {
		return n, err
	}
	return n, c.flush()
}

func dial(t testing.TB, port int, cfg Config) conn {
	t.Helper()
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	must(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	e, err := Client(&cfg)
	must(t, err)
	return conn{nc, e}
}

func keysFile(t testing.TB, keys ...*PSK) string {
	t.Helper()
	dir := t.TempDir()
	var text strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&text, "%s:%s\n", k.Identity, hex.EncodeToString(k.Key))
	}
	must(t, os.WriteFile(filepath.Join(dir, "keys.psk"), []byte(text.String()), 0o600))
	must(t, os.Chmod(dir, 0o755))
	return dir
}

const (
	qemuPriority = "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK"
	greeting     = "good morning\n"
)

var wrongPSK = &PSK{Identity: testPSK.Identity, Key: []byte("fedcba9876543210fedcba9876543210")}

// variants are what a client can insist on.
var variants = []struct {
	name string
	cfg  Config
	want State
}{
	{"defaults", Config{KeyShares: 4}, State{Suite: wire.AES128GCMSHA256}},
	{"AES-128-GCM, P-256", Config{Suites: []Suite{wire.AES128GCMSHA256}, Groups: []Group{wire.P256}}, State{Suite: wire.AES128GCMSHA256, Group: wire.P256}},
	{"ChaCha20, X25519", Config{Suites: []Suite{wire.ChaCha20Poly1305SHA256}, Groups: []Group{wire.X25519}}, State{Suite: wire.ChaCha20Poly1305SHA256, Group: wire.X25519}},
	{"P-384", Config{Groups: []Group{wire.P384}}, State{Suite: wire.AES128GCMSHA256, Group: wire.P384}},
	{"P-521", Config{Groups: []Group{wire.P521}}, State{Suite: wire.AES128GCMSHA256, Group: wire.P521}},
}

func TestPeerGnutlsServer(t *testing.T) {
	dir := keysFile(t, testPSK)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.GnutlsServ(t, peertest.Options{}, "--echo", "--pskpasswd", dir+"/keys.psk", "--priority", qemuPriority).Ready()
		for _, v := range variants {
			t.Run(v.name, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "TLS 1.3 PSK "+v.name)
				v.cfg.PSK = testPSK
				c := dial(t, server.Port, v.cfg)
				must(t, c.handshake())
				checkState(t, c.Engine, v.want)
				echo(t, c)
				must(t, c.KeyUpdate(true))
				echo(t, c)
			})
		}
		t.Run("alone", func(t *testing.T) {
			met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "TLS 1.3 PSK alone")
			c := dial(t, server.Port, Config{PSK: testPSK, PSKAlone: true, Groups: []Group{}})
			must(t, c.handshake())
			echo(t, c)
		})
		t.Run("wrong key", func(t *testing.T) {
			met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "TLS 1.3 PSK wrong key")
			var alert *AlertError
			if err := dial(t, server.Port, Config{PSK: wrongPSK, KeyShares: 4}).handshake(); !errors.As(err, &alert) || alert.Alert != wire.IllegalParameter {
				t.Errorf("got %v, want the alert illegal_parameter", err)
			}
		})
	})
}

func checkState(t *testing.T, e *Engine, want State) {
	t.Helper()
	got := e.State()
	if got.Version != wire.TLS13 || got.Suite != want.Suite || want.Group != 0 && got.Group != want.Group {
		t.Errorf("%s %s %s, want %s %s", got.Version, got.Suite, got.Group, want.Suite, want.Group)
	}
}

func echo(t *testing.T, c io.ReadWriter) {
	t.Helper()
	_, err := io.WriteString(c, greeting)
	must(t, err)
	got := make([]byte, len(greeting))
	_, err = io.ReadFull(c, got)
	must(t, err)
	if string(got) != greeting {
		t.Errorf("echo of %q is %q", greeting, got)
	}
}

func TestPeerOpensslServer(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.OpensslSServer(t, peertest.Options{}, "-nocert", "-psk", hex.EncodeToString(testPSK.Key), "-psk_identity", string(testPSK.Identity), "-tls1_3", "-rev",
			"-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256").Ready()
		for _, v := range variants {
			t.Run(v.name, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl s_server", "client", "TLS 1.3 PSK "+v.name)
				v.cfg.PSK = testPSK
				c := dial(t, server.Port, v.cfg)
				must(t, c.handshake())
				checkState(t, c.Engine, v.want)
				_, err := io.WriteString(c, "abc\n")
				must(t, err)
				line, err := bufio.NewReader(c).ReadString('\n')
				must(t, err)
				if line != "cba\n" {
					t.Errorf("got %q", line)
				}
			})
		}
	})
}

// serve runs our server once per connection, as long as the test runs.
func serve(t *testing.T, cfg Config) (port int, errs chan error) {
	t.Helper()
	errs = make(chan error, 100)
	return peertest.ServePort(t, func(nc net.Conn) { errs <- serveOne(nc, cfg) }), errs
}

func serveOne(nc net.Conn, cfg Config) error {
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	e, err := Server(&cfg)
	if err != nil {
		return err
	}
	c := conn{nc, e}
	if err := c.handshake(); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, line)
	c.CloseWrite()
	return errors.Join(err, c.flush())
}

func TestPeerGnutlsClient(t *testing.T) {
	port, errs := serve(t, Config{FindPSK: findPSK(testPSK), PSKAlone: true})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct{ name, key, priority, wantErr string }{
			{"defaults", hex.EncodeToString(testPSK.Key), qemuPriority, ""},
			{"X448 first", hex.EncodeToString(testPSK.Key), qemuPriority + ":-GROUP-ALL:+GROUP-X448:+GROUP-SECP384R1", ""},
			{"alone", hex.EncodeToString(testPSK.Key), "NORMAL:-KX-ALL:+PSK:-GROUP-ALL", ""},
			{"wrong key", hex.EncodeToString(wrongPSK.Key), qemuPriority, "has another key"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls-cli", "server", "TLS 1.3 PSK "+tt.name)
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", "--pskusername", string(testPSK.Identity), "--pskkey", tt.key,
					"--priority", tt.priority, "-p", fmt.Sprint(port), "127.0.0.1")
				err := <-errs
				if tt.wantErr != "" {
					if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
						t.Errorf("got %v, want %q", err, tt.wantErr)
					}
					return
				}
				if err != nil || !strings.Contains(r.Stdout, greeting) {
					t.Errorf("%v\n%s", err, r)
				}
			})
		}
	})
}

func TestPeerOpensslClient(t *testing.T) {
	port, errs := serve(t, Config{FindPSK: findPSK(testPSK)})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		met(t, g, peertest.OpenSSL, "openssl s_client", "server", "TLS 1.3 PSK")
		r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port), "-tls1_3", "-ign_eof",
			"-psk_identity", string(testPSK.Identity), "-psk", hex.EncodeToString(testPSK.Key))
		if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
			t.Errorf("%v\n%s", err, r)
		}
	})
}

// startTLS asks an NBD server for TLS (the NBD protocol's NBD_OPT_STARTTLS).
func startTLS(t testing.TB, c net.Conn) {
	t.Helper()
	hello := make([]byte, 18)
	_, err := io.ReadFull(c, hello)
	must(t, err)
	var request []byte
	request = binary.BigEndian.AppendUint32(request, 3)
	request = append(request, "IHAVEOPT"...)
	request = binary.BigEndian.AppendUint64(request, 5<<32)
	_, err = c.Write(request)
	must(t, err)
	reply := make([]byte, 20)
	_, err = io.ReadFull(c, reply)
	must(t, err)
	if typ := binary.BigEndian.Uint32(reply[12:]); typ != 1 {
		t.Fatalf("the server answers STARTTLS with %#x", typ)
	}
}

// listExports asks for the names of the exports, through TLS.
func listExports(t testing.TB, c io.ReadWriter) string {
	t.Helper()
	request := append([]byte("IHAVEOPT"), 0, 0, 0, 3, 0, 0, 0, 0)
	_, err := c.Write(request)
	must(t, err)
	head := make([]byte, 20)
	_, err = io.ReadFull(c, head)
	must(t, err)
	body := make([]byte, binary.BigEndian.Uint32(head[16:]))
	_, err = io.ReadFull(c, body)
	must(t, err)
	return string(body[4:])
}

func TestPeerQemuNBD(t *testing.T) {
	dir := keysFile(t, testPSK)
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		met(t, g, peertest.QEMU, "qemu-nbd", "client", "PSK, and a wrong key")
		server := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+dir, "--tls-creds", "tls0",
			"--format=raw", "--export-name", "disk", "--persistent", image).Ready()
		c := dial(t, server.Port, Config{PSK: testPSK, KeyShares: 4})
		startTLS(t, c.Conn)
		must(t, c.handshake())
		checkState(t, c.Engine, State{Suite: wire.AES128GCMSHA256})
		if got := listExports(t, c); got != "disk" {
			t.Errorf("exports %q", got)
		}
		c.Conn.Close() // it serves one client at a time
		c = dial(t, server.Port, Config{PSK: wrongPSK, KeyShares: 4})
		startTLS(t, c.Conn)
		if err := c.handshake(); err == nil {
			t.Error("qemu-nbd takes a wrong key")
		}
	})
}
