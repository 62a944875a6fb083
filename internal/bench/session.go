package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"virtls/creds"
	"virtls/session"
)

// A way is one way to make TLS connections.
type way struct {
	name           string
	server, client func(context.Context, net.Conn) (net.Conn, error)
}

// benchSession compares sessions with crypto/tls, in one process whose CPU time
// is counted, and with the programs of GnuTLS and OpenSSL.
func benchSession(b *bench) error {
	dir, err := b.credentials()
	if err != nil {
		return err
	}
	ways, err := waysOf(dir)
	if err != nil {
		return err
	}
	for _, part := range []func(*bench, string, []way) error{(*bench).sideBySide, (*bench).besidePrograms, (*bench).idleSessions} {
		if err := part(b, dir, ways); err != nil {
			return err
		}
	}
	return nil
}

// credentials makes files for both ends on this machine.
func (b *bench) credentials() (string, error) {
	file, state := filepath.Join(b.dir, "session.yaml"), filepath.Join(b.dir, "session")
	fleet := "organization: Bench\nhosts:\n  - {name: localhost.localdomain, names: [localhost], uses: {qemu: [server, client]}}\n"
	if err := os.WriteFile(file, []byte(fleet), 0o600); err != nil {
		return "", err
	}
	_, err := measure(exec.Command(b.virtls, "apply", "--no-passphrase", "--prove", "none", "--state", state, file))
	return filepath.Join(state, "hosts/localhost.localdomain/etc/pki/qemu"), err
}

// waysOf are crypto/tls by itself, then sessions with each engine. All of them
// show and verify certificates at both ends.
func waysOf(dir string) ([]way, error) {
	bare, err := bareTLS(dir)
	if err != nil {
		return nil, err
	}
	ways := []way{bare}
	server, _, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: creds.Server})
	if err != nil {
		return nil, err
	}
	client, _, err := creds.LoadX509(creds.X509Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	for _, e := range []session.EngineChoice{session.Std, session.Native} {
		open := func(o session.Options) func(context.Context, net.Conn) (net.Conn, error) {
			o.Engine = e
			return func(ctx context.Context, nc net.Conn) (net.Conn, error) {
				c, err := session.Open(ctx, nc, o)
				if err != nil {
					return nil, err
				}
				return c, nil
			}
		}
		name := map[session.EngineChoice]string{session.Std: "session, crypto/tls", session.Native: "session, our engine"}[e]
		ways = append(ways, way{name, open(session.Options{Credentials: server}), open(session.Options{Credentials: client, Hostname: "localhost"})})
	}
	return ways, nil
}

func bareTLS(dir string) (way, error) {
	pair := func(end string) (tls.Certificate, error) {
		return tls.LoadX509KeyPair(filepath.Join(dir, end+"-cert.pem"), filepath.Join(dir, end+"-key.pem"))
	}
	server, err1 := pair("server")
	client, err2 := pair("client")
	ca, err3 := os.ReadFile(filepath.Join(dir, "ca-cert.pem"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	serverConfig := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, SessionTicketsDisabled: true}
	clientConfig := &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool, ServerName: "localhost"}
	return way{"crypto/tls alone",
		func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			c := tls.Server(nc, serverConfig)
			return c, c.HandshakeContext(ctx)
		},
		func(ctx context.Context, nc net.Conn) (net.Conn, error) {
			c := tls.Client(nc, clientConfig)
			return c, c.HandshakeContext(ctx)
		}}, errors.Join(err1, err2, err3)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// loopback returns the ends of a TCP connection.
func loopback() (a, b net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	b, err = l.Accept()
	return a, b, err
}

// connect opens a connection of a way.
func (w way) connect() (server, client net.Conn, err error) {
	a, b, err := loopback()
	if err != nil {
		return nil, nil, err
	}
	served := make(chan error, 1)
	go func() {
		var err error
		server, err = w.server(context.Background(), a)
		served <- err
	}()
	client, err = w.client(context.Background(), b)
	return server, client, errors.Join(err, <-served)
}

// handshakes returns the CPU time of n handshakes, both ends together.
func (w way) handshakes(n int) (time.Duration, error) {
	start := cpuTime()
	for range n {
		s, c, err := w.connect()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", w.name, err)
		}
		c.Close()
		s.Close()
	}
	return cpuTime() - start, nil
}

// bulk returns the CPU time of sending n octets, both ends together.
func (w way) bulk(n int64) (time.Duration, error) {
	s, c, err := w.connect()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	defer c.Close()
	start := cpuTime()
	received := make(chan error, 1)
	go func() { received <- sink(s, n) }()
	if err := pour(c, n); err != nil {
		return 0, err
	}
	err = <-received
	return cpuTime() - start, err
}

// pour writes n octets, 64 KiB at a time.
func pour(w io.Writer, n int64) error {
	buf := make([]byte, 64<<10)
	for ; n > 0; n -= int64(len(buf)) {
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func sink(r io.Reader, n int64) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		m, err := r.Read(buf)
		if n -= int64(m); err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// sideBySide measures all ways in turn, many times, so that what disturbs one
// disturbs them all, and compares the least that each needed: noise only adds.
func (b *bench) sideBySide(_ string, ways []way) error {
	rounds, shakes, octets := 15, 100, int64(256<<20)
	if b.quick {
		rounds, shakes, octets = 5, 30, 64<<20
	}
	shake, bulk := make([][]time.Duration, len(ways)), make([][]time.Duration, len(ways))
	for range rounds {
		for i, w := range ways {
			d, err := w.handshakes(shakes)
			if err != nil {
				return err
			}
			shake[i] = append(shake[i], d)
			if d, err = w.bulk(octets); err != nil {
				return err
			}
			bulk[i] = append(bulk[i], d)
		}
	}
	rows := [][]string{{"", "handshakes/CPU-s", "ratio", "MB/CPU-s", "ratio", "bar"}}
	bars := []float64{0, 0.95, 0.9}
	for i, w := range ways {
		a, c := slices.Min(shake[i]), slices.Min(bulk[i])
		ra, rc := float64(slices.Min(shake[0]))/float64(a), float64(slices.Min(bulk[0]))/float64(c)
		bar := ""
		if bars[i] > 0 {
			bar = fmt.Sprintf("at least %.2f: %s", bars[i], verdict(ra >= bars[i] && rc >= bars[i]))
		}
		rows = append(rows, []string{w.name, fmt.Sprintf("%.0f", float64(shakes)/a.Seconds()), fmt.Sprintf("%.2f", ra),
			fmt.Sprintf("%.0f", float64(octets)/1e6/c.Seconds()), fmt.Sprintf("%.2f", rc), bar})
	}
	table("sessions with certificates at both ends, TLS 1.3, both ends in one process over TCP", rows)
	return nil
}

// besidePrograms has OpenSSL's s_time connect to servers, and clients receive
// from a server: what counts is the CPU time of the program in question.
func (b *bench) besidePrograms(dir string, ways []way) error {
	rows := [][]string{{"", "CPU of a server for a handshake", "CPU of a client for 1 GB"}}
	for _, p := range b.programs(dir, ways) {
		shake, err := b.serverCost(p.server, p.port)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		bulk, err := b.clientCost(p.client, ways[0], p.slow)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, []string{p.name, fmt.Sprintf("%.3f ms", shake.Seconds()*1000), fmt.Sprintf("%.2f s", bulk.Seconds())})
	}
	table("beside other programs, TLS 1.3, P-256 certificates; a server by openssl s_time -new, a client from a server of crypto/tls", rows)
	return nil
}

// program is a TLS program as server and as client.
type program struct {
	name   string
	port   int
	server []string
	client func(port string) []string
	slow   bool // it takes minutes for a gigabyte
}

func (b *bench) programs(dir string, ways []way) []program {
	file := func(name string) string { return filepath.Join(dir, name) }
	gnutls, openssl := unusedPort(), unusedPort()
	list := []program{
		{"GnuTLS (gnutls-serv, gnutls-cli)", gnutls,
			[]string{"gnutls-serv", "--quiet", "--noticket", "--http", "--port", strconv.Itoa(gnutls), "--x509certfile", file("server-cert.pem"), "--x509keyfile", file("server-key.pem")},
			func(port string) []string {
				return []string{"gnutls-cli", "--x509cafile", file("ca-cert.pem"), "--x509certfile", file("client-cert.pem"), "--x509keyfile", file("client-key.pem"), "--priority", "NORMAL:-AES-256-GCM:-CHACHA20-POLY1305", "-p", port, "localhost"}
			}, true},
		{"OpenSSL (s_server, s_client)", openssl,
			[]string{"openssl", "s_server", "-quiet", "-num_tickets", "0", "-accept", strconv.Itoa(openssl), "-cert", file("server-cert.pem"), "-key", file("server-key.pem")},
			func(port string) []string {
				return []string{"openssl", "s_client", "-quiet", "-CAfile", file("ca-cert.pem"), "-cert", file("client-cert.pem"), "-key", file("client-key.pem"), "-connect", "localhost:" + port}
			}, false},
	}
	for i, w := range ways {
		port := unusedPort()
		list = append(list, program{w.name, port, []string{"self", "serve", strconv.Itoa(i), dir, strconv.Itoa(port)},
			func(peer string) []string { return []string{"self", "receive", strconv.Itoa(i), dir, peer} }, false})
	}
	return list
}

// command is a program of a list; "self" is this one.
func (b *bench) command(args []string) *exec.Cmd {
	if args[0] != "self" {
		return exec.Command(args[0], args[1:]...)
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(args[1:], " "))
	return cmd
}
