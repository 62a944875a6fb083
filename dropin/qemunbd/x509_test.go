package qemunbd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/dropin"
	"virtls/dropin/qemuimg"
	"virtls/internal/peertest"
)

// credentials makes directories of QEMU's credentials: "server", for localhost,
// and clients that are called by their directory's name.
func credentials(t *testing.T, clients ...string) string {
	t.Helper()
	dir := t.TempDir()
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var caKey *ecdsa.PrivateKey
	var caPEM []byte
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	issue := func(c *x509.Certificate) (certPEM, keyPEM []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(err)
		if c.IsCA {
			caKey = key
		}
		c.SerialNumber = big.NewInt(time.Now().UnixNano())
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
		check(err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		check(err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	}
	caPEM, _ = issue(ca)
	lay := func(who, role string, c *x509.Certificate) {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		cert, key := issue(c)
		at := filepath.Join(dir, who)
		check(errors.Join(os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(at, "ca-cert.pem"), caPEM, 0o600),
			os.WriteFile(filepath.Join(at, role+"-cert.pem"), cert, 0o600), os.WriteFile(filepath.Join(at, role+"-key.pem"), key, 0o600)))
	}
	lay("server", "server", &x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for _, name := range clients {
		lay(name, "client", &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	return dir
}

// overX509 are command lines that meet a server on PORT that lets in CN=alice;
// CREDS is the directory of the credentials.
var overX509 = []string{
	"qemu-img info --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/alice --image-opts driver=nbd,host=localhost,port=PORT,export=disk,tls-creds=tls0",
	"qemu-img info --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/alice --image-opts driver=nbd,host=127.0.0.1,port=PORT,export=disk,tls-creds=tls0,tls-hostname=other.example.com",
	"qemu-img info --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/mallory --image-opts driver=nbd,host=localhost,port=PORT,export=disk,tls-creds=tls0",
	"qemu-nbd -L -b localhost -p PORT --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/alice --tls-creds tls0",
	"qemu-nbd -L -b 127.0.0.1 -p PORT --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/alice --tls-creds tls0",
	"qemu-nbd -L -b localhost -p PORT --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/alice --tls-creds tls0 --tls-hostname other.example.com",
	"qemu-nbd -L -b localhost -p PORT --object tls-creds-x509,id=tls0,endpoint=client,dir=CREDS/mallory --tls-creds tls0",
	"qemu-nbd -L -b localhost -p PORT",
}

// afterHandshake is what QEMU's programs print when a server has ended the
// connection after its end of a handshake: the write or the read of the first
// option fails, or the client's end of the handshake.
var afterHandshake = regexp.MustCompile(`Failed to (read option reply|send option request header): .*(TLS channel: |Connection reset by peer|Broken pipe)|TLS handshake failed: Error in the push function`)

// TestX509 has both sides prove themselves, with an access list on the server:
// their programs and ours see the same of our server and of the real one.
func TestX509(t *testing.T) {
	pki := credentials(t, "alice", "mallory")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		disk := filepath.Join(t.TempDir(), "disk.raw")
		if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-x", "disk", "-D", "a disk", "-f", "raw", "--object", "tls-creds-x509,id=tls0,endpoint=server,dir=" + pki + "/server", "--object", "authz-simple,id=auth0,identity=CN=alice",
			"--tls-creds", "tls0", "--tls-authz", "auth0", disk}
		port := peertest.FreePort(t)
		serve(t, append([]string{"-t", "-b", "127.0.0.1", "-p", strconv.Itoa(port)}, args...)...)
		theirServer := g.QemuNBD(t, peertest.Options{}, args...).Ready()
		for _, line := range overX509 {
			type outcome struct {
				code     int
				out, err string
			}
			results := map[string]outcome{}
			for server, p := range map[string]int{"our server": port, "their server": theirServer.Port} {
				number := strconv.Itoa(p)
				args := strings.Fields(strings.NewReplacer("PORT", number, "CREDS", pki).Replace(line))
				theirs := g.Run(t, peertest.Options{}, args[0], args[1:]...)
				var out, errs bytes.Buffer
				std := dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs}
				code := 0
				if args[0] == "qemu-img" {
					code = qemuimg.Run(args[1:], std)
				} else {
					code = runAs(t.Context(), generations[g.Name], args[1:], std)
				}
				same := strings.NewReplacer(number, "PORT")
				first, _, _ := strings.Cut(out.String(), "Child node") // which newer ones print
				if args[0] == "qemu-nbd" {
					first = out.String()
				}
				said := func(text string) string {
					// What a client sees of its refusal depends on GnuTLS and on who is faster; ours says by an alert what it is for.
					if afterHandshake.MatchString(text) {
						return "refused after the handshake"
					}
					return same.Replace(text)
				}
				results["our client, "+server] = outcome{code, same.Replace(first), said(errs.String())}
				first, _, _ = strings.Cut(theirs.Stdout, "Child node")
				results["their client, "+server] = outcome{theirs.Code, same.Replace(first), said(theirs.Stderr)}
			}
			want := results["their client, their server"]
			for who, got := range results {
				// Our server can do more than each of theirs, which lists tell.
				if strings.Contains(who, "our server") && want.code == 0 {
					got.out, want.out = "", ""
				}
				if got != want {
					t.Errorf("%s\n%s: %+v\nwant %+v", line, who, got, want)
				}
				want = results["their client, their server"]
			}
		}
	})
}

// TestShared lets in as many clients at once as -e says. Others wait.
func TestShared(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-e", "2", "-x", "disk", "-f", "raw", disk}
	port := peertest.FreePort(t)
	serve(t, append([]string{"-t", "-b", "127.0.0.1", "-p", strconv.Itoa(port)}, args...)...)
	for who, port := range map[string]int{"ours": port, "the real one": peertest.Host.QemuNBD(t, peertest.Options{}, args...).Ready().Port} {
		t.Run(who, func(t *testing.T) {
			var clients []net.Conn
			for i := range 3 {
				c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				clients = append(clients, c)
				if greeted := greets(t, c, 300*time.Millisecond+time.Duration(2-i)*5*time.Second); greeted != (i < 2) {
					t.Errorf("client %d: greeted %v", i, greeted)
				}
			}
			clients[0].Close()
			if !greets(t, clients[2], 20*time.Second) {
				t.Error("nobody comes in when one has gone")
			}
		})
	}
}

// greets waits for the server's first word.
func greets(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 18)
	_, err := io.ReadFull(c, b)
	return err == nil && bytes.HasPrefix(b, []byte("NBDMAGIC"))
}

// TestHandshakeLimit sends away who does not get ready, as the real ones do that
// have the option.
func TestHandshakeLimit(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		disk := filepath.Join(t.TempDir(), "disk.raw")
		if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--handshake-limit=1", "-x", "disk", "-f", "raw", disk}
		port := peertest.FreePort(t)
		serve(t, append([]string{"-t", "-b", "127.0.0.1", "-p", strconv.Itoa(port)}, args...)...)
		ports := []int{port}
		if strings.Contains(g.Run(t, peertest.Options{}, "qemu-nbd", "--help").Stdout, "--handshake-limit") {
			ports = append(ports, g.QemuNBD(t, peertest.Options{}, args...).Ready().Port)
		}
		for _, port := range ports {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			start := time.Now()
			if !greets(t, c, 10*time.Second) {
				t.Fatal("no greeting")
			}
			if err := c.SetReadDeadline(start.Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err = c.Read(make([]byte, 1))
			if took := time.Since(start); took < 500*time.Millisecond || errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
				t.Errorf("sent away after %v: %v", took, err)
			}
		}
	})
}
