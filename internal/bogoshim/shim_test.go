package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strconv"
	"testing"
	"time"
)

// identity makes a certificate for the runner's part.
func identity(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// play does what the runner does in a simple test: it takes the shim's number,
// shakes hands and wants its octets back reversed.
func play(l net.Listener, cfg *tls.Config) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	var id [8]byte
	if _, err := io.ReadFull(conn, id[:]); err != nil || binary.LittleEndian.Uint64(id[:]) != 7 {
		return errors.Join(err, errors.New("not the shim's number"))
	}
	peer := tls.Server(conn, cfg)
	buf := []byte("abc")
	if _, err := peer.Write(buf); err != nil {
		return err
	}
	if _, err := io.ReadFull(peer, buf); err != nil || buf[0] != 'a'^0xff {
		return errors.Join(err, errors.New("not the reply"))
	}
	return peer.Close()
}

// TestShim plays without BoringSSL, so that the shim does not rot.
func TestShim(t *testing.T) {
	cfg := &tls.Config{Certificates: []tls.Certificate{identity(t)}}
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"TLS 1.3", []string{"-min-version", "772", "-expect-version", "772"}, 0},
		{"TLS 1.2, octet by octet", []string{"-max-version", "771", "-expect-version", "771", "-async"}, 0},
		{"another version than expected", []string{"-expect-version", "771"}, exitFailed},
		{"not for the first connection", []string{"-on-resume-expect-version", "771"}, 0},
		{"resumption", []string{"-resume-count", "1"}, exitUnimplemented},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan error, 1)
			go func() { done <- play(l, cfg) }()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			if got := run(append([]string{"-port", port, "-shim-id", strconv.Itoa(7)}, tt.args...)); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
			if err := <-done; err != nil && tt.want != exitFailed {
				t.Error(err)
			}
		})
	}
}

// What the engine does not have is said before a connection is made.
func TestUnimplemented(t *testing.T) {
	for _, flag := range []string{"-quic", "-enable-early-data", "-on-resume-enable-early-data", "-no-such-flag"} {
		if got := run([]string{flag}); got != exitUnimplemented {
			t.Errorf("%s: exit code %d", flag, got)
		}
	}
	if got := run([]string{"-is-handshaker-supported"}); got != 0 {
		t.Errorf("exit code %d", got)
	}
}
