package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtls/creds"
	"virtls/object"
	"virtls/session"
)

// TestMain lets the test binary be a process that runs gateways, for what cannot
// be undone in this one.
func TestMain(m *testing.M) {
	if config := os.Getenv("GATEWAY_TEST_CONFIG"); config != "" {
		if err := helper(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper runs the gateways of a configuration until SIGTERM. At SIGUSR1 it tries
// to read a file that it has no business with.
func helper(config string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	usr := make(chan os.Signal, 1)
	signal.Notify(usr, syscall.SIGUSR1)
	c, err := ReadConfig(config)
	if err != nil {
		return err
	}
	reg := &object.Registry{}
	defer reg.Close()
	for _, o := range c.Objects {
		if _, err := reg.Add(string(o)); err != nil {
			return err
		}
	}
	list, used, err := c.Options(reg)
	if err != nil {
		return err
	}
	r := Runner{Credentials: used, Process: c.Process, Notify: NewNotifier(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for _, o := range list {
		o.Log = r.Log
		g, err := New(o)
		if err != nil {
			return err
		}
		r.Gateways = append(r.Gateways, g)
	}
	go func() {
		<-usr
		_, err := os.ReadFile("/etc/passwd")
		r.Log.Info("tried", "outcome", fmt.Sprint(err))
	}()
	return r.Run(ctx)
}

// A process with a socket that systemd passes, confined by Landlock, still loads
// renewed credentials and reaches its service, and ends when it is told to.
func TestProcess(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	config := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
objects: ["tls-creds-x509,id=tls0,endpoint=server,dir=%s"]
gateways:
- {name: a, listen: "fd://tls", listen-tls-creds: tls0, connect: "%s"}
`, dir, serve(t, "unix", echo)), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	passed, err := l.(*net.TCPListener).File()
	must(t, err)
	defer passed.Close()
	log := &journal{}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "GATEWAY_TEST_CONFIG="+config, "LISTEN_FDS=1", "LISTEN_FDNAMES=tls")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{passed}, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	defer cmd.Process.Kill()
	log.await(t, "msg=listening", l.Addr().String())
	line := log.await(t, "Landlock")

	open := func() *session.Conn {
		t.Helper()
		nc, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		c, err := session.Open(t.Context(), nc, session.Options{Credentials: holder(t, dir, creds.Client).Current(), Hostname: "localhost"})
		must(t, err)
		exchange(t, c, "hello")
		return c
	}
	open().Close()
	if strings.Contains(line, "confined") {
		must(t, cmd.Process.Signal(syscall.SIGUSR1))
		log.await(t, "msg=tried", "permission denied")
	}
	renewed := ca.renew(t, dir, "localhost", "ec")
	log.await(t, "credentials loaded", renewed.SerialHex())
	open().Close()
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ends with %v\n%s", err, log)
	}
	log.await(t, "msg=stopped")

	// Without a socket it says so.
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GATEWAY_TEST_CONFIG="+config)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "systemd passed no such socket") {
		t.Errorf("%v\n%s", err, out)
	}
}

// readProxy takes a header apart, as a service would.
func readProxy(r io.Reader) (command byte, src, dst netip.AddrPort, tlvs map[byte][]byte, err error) {
	head := make([]byte, 16)
	if _, err = io.ReadFull(r, head); err != nil {
		return
	}
	if !bytes.HasPrefix(head, []byte("\r\n\r\n\x00\r\nQUIT\n")) {
		err = fmt.Errorf("no header: %q", head)
		return
	}
	body := make([]byte, binary.BigEndian.Uint16(head[14:]))
	if _, err = io.ReadFull(r, body); err != nil || head[12] == 0x20 {
		return head[12], src, dst, nil, err
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[head[13]]
	a, _ := netip.AddrFromSlice(body[:size])
	b, _ := netip.AddrFromSlice(body[size : 2*size])
	src = netip.AddrPortFrom(a, binary.BigEndian.Uint16(body[2*size:]))
	dst = netip.AddrPortFrom(b, binary.BigEndian.Uint16(body[2*size+2:]))
	return head[12], src, dst, readTLVs(body[2*size+4:]), nil
}

func readTLVs(b []byte) map[byte][]byte {
	tlvs := map[byte][]byte{}
	for len(b) >= 3 {
		n := int(binary.BigEndian.Uint16(b[1:]))
		tlvs[b[0]] = b[3 : 3+n]
		b = b[3+n:]
	}
	return tlvs
}

// The service learns who comes.
func TestProxyProtocol(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		type header struct {
			command  byte
			src, dst netip.AddrPort
			tlvs     map[byte][]byte
			err      error
		}
		headers := make(chan header, 1)
		gw := run(t, Options{
			SendProxy: true,
			Listen:    Side{address(t, "tls://"+host+":0"), holder(t, dir, creds.Server)},
			Connect: Side{Address: address(t, serve(t, "tcp", func(c net.Conn) {
				var h header
				h.command, h.src, h.dst, h.tlvs, h.err = readProxy(c)
				headers <- h
				echo(c)
			}))},
		})
		c, err := gw.open(t, dir)
		must(t, err)
		exchange(t, c, "hello")
		h := <-headers
		must(t, h.err)
		if h.command != 0x21 || h.src.String() != c.LocalAddr().String() || h.dst.String() != c.RemoteAddr().String() {
			t.Errorf("%#x %v -> %v, want %v -> %v", h.command, h.src, h.dst, c.LocalAddr(), c.RemoteAddr())
		}
		if got := string(h.tlvs[0xe0]); got != "O=Example,CN=localhost" {
			t.Errorf("DN %q", got)
		}
		ssl := h.tlvs[0x20]
		if len(ssl) < 5 || ssl[0] != 3 || binary.BigEndian.Uint32(ssl[1:]) != 0 {
			t.Fatalf("TLS %x", ssl)
		}
		inner := readTLVs(ssl[5:])
		if string(inner[0x21]) != "TLSv1.3" || string(inner[0x22]) != "localhost" || string(inner[0x23]) != "TLS_AES_128_GCM_SHA256" {
			t.Errorf("TLS %q", inner)
		}
	}
	// A client over a UNIX socket comes from nowhere.
	if command, _, _, _, err := readProxy(bytes.NewReader(proxyHeader(netip.AddrPort{}, netip.AddrPort{}, nil))); err != nil || command != 0x20 {
		t.Errorf("%#x, %v", command, err)
	}
	// Names that do not fit are left out.
	long := &session.State{Version: "TLS 1.3", PeerName: strings.Repeat("x", 70000), Authenticated: true}
	if _, _, _, tlvs, err := readProxy(bytes.NewReader(proxyHeader(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), long))); err != nil || tlvs[0xe0] != nil || tlvs[0x20] == nil {
		t.Errorf("%v, %v", tlvs, err)
	}
}
