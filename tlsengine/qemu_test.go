package tlsengine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/wire"
)

// x509Dir is a directory of credentials as QEMU wants it.
func x509Dir(t *testing.T, ca, id issued) string {
	t.Helper()
	cert, key, anchor := id.files(t, ca)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for to, from := range map[string]string{"ca-cert.pem": anchor, "server-cert.pem": cert, "server-key.pem": key, "client-cert.pem": cert, "client-key.pem": key} {
		data, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, to), data, 0o644))
	}
	return dir
}

// emptyDisk is an NBD server of one export of a MiB of zeros, for a client that
// wants TLS: just enough of the protocol for qemu-img and nbdinfo.
func emptyDisk(nc net.Conn, cfg Config) error {
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	const size = 1 << 20
	if _, err := nc.Write(append([]byte("NBDMAGICIHAVEOPT"), 0, 3)); err != nil {
		return err
	}
	if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil {
		return err
	}
	e, err := Server(&cfg)
	if err != nil {
		return err
	}
	tlsConn := conn{nc, e}
	var c io.ReadWriter = nc
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		option := binary.BigEndian.Uint32(head[8:])
		data := make([]byte, min(binary.BigEndian.Uint32(head[12:]), 4096))
		if _, err := io.ReadFull(c, data); err != nil {
			return err
		}
		reply := func(typ uint32, data []byte) {
			b := binary.BigEndian.AppendUint64(nil, 0x3e889045565a9)
			b = binary.BigEndian.AppendUint32(b, option)
			b = binary.BigEndian.AppendUint32(b, typ)
			b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
			c.Write(append(b, data...))
		}
		export := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64([]byte{0, 0}, size), 3) // read-only, has flags
		switch option {
		case 5: // STARTTLS
			reply(1, nil)
			if err := tlsConn.handshake(); err != nil {
				return err
			}
			c = tlsConn
		case 2: // ABORT
			reply(1, nil)
			return nil
		case 6: // INFO
			reply(3, export)
			reply(1, nil)
		case 7: // GO
			reply(3, export)
			reply(1, nil)
			return transmit(tlsConn)
		case 3: // LIST
			reply(2, []byte{0, 0, 0, 0})
			reply(1, nil)
		default:
			reply(1<<31|1, nil) // not supported
		}
	}
}

// transmit answers an NBD client's reads with zeros until it goes.
func transmit(c conn) error {
	for {
		head := make([]byte, 28)
		if _, err := io.ReadFull(c, head); err != nil {
			return err
		}
		reply := append([]byte{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0}, head[8:16]...)
		switch binary.BigEndian.Uint16(head[6:]) {
		case 0: // READ
			reply = append(reply, make([]byte, min(binary.BigEndian.Uint32(head[24:]), 1<<20))...)
		case 2: // DISC
			return nil
		}
		if _, err := c.Write(reply); err != nil {
			return err
		}
	}
}

// serveDisk serves emptyDisk as long as the test runs.
func serveDisk(t *testing.T, cfg Config) (port int, errs chan error) {
	t.Helper()
	errs = make(chan error, 100)
	return peertest.ServePort(t, func(nc net.Conn) { errs <- emptyDisk(nc, cfg) }), errs
}

// qemu-img and nbdinfo as clients of ours, with keys and with certificates.
func TestPeerNBDClients(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	x509, psk := x509Dir(t, ca, id), keysFile(t, testPSK)
	pskPort, pskErrs := serveDisk(t, Config{FindPSK: findPSK(testPSK)})
	certPort, certErrs := serveDisk(t, Config{Identities: []Identity{id.Identity}, RequestCertificate: true, VerifyPeer: wantChain})
	otherPort, otherErrs := serveDisk(t, Config{FindPSK: findPSK(wrongPSK)})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct {
			name, object string
			port         int
			errs         chan error
			refused      bool
		}{
			{"PSK", "tls-creds-psk,id=tls0,endpoint=client,username=rich,dir=" + psk, pskPort, pskErrs, false},
			{"PSK, another key", "tls-creds-psk,id=tls0,endpoint=client,username=rich,dir=" + psk, otherPort, otherErrs, true},
			{"certificates", "tls-creds-x509,id=tls0,endpoint=client,dir=" + x509, certPort, certErrs, false},
		} {
			t.Run(strings.ReplaceAll(tt.name, ",", ""), func(t *testing.T) {
				met(t, g, peertest.QEMU, "qemu-img", "server", tt.name)
				r := g.Run(t, peertest.Options{}, "qemu-img", "info", "--object", tt.object,
					"--image-opts", fmt.Sprintf("driver=nbd,host=localhost,port=%d,tls-creds=tls0", tt.port))
				if tt.refused {
					if err := <-tt.errs; err == nil || r.Code == 0 || !strings.Contains(err.Error(), "another key") {
						t.Errorf("%v\n%s", err, r)
					}
					return
				}
				if r.Code != 0 || !strings.Contains(r.Stdout, "1 MiB") {
					t.Errorf("%s", r)
				}
			})
		}
		if !g.Has("nbdinfo") {
			return
		}
		t.Run("nbdinfo", func(t *testing.T) {
			met(t, g, peertest.Nbdkit, "nbdinfo", "server", "PSK")
			r := g.Run(t, peertest.Options{}, "nbdinfo", "--json", fmt.Sprintf("nbds://rich@localhost:%d/?tls-psk-file=%s/keys.psk", pskPort, psk))
			if r.Code != 0 || !strings.Contains(r.Stdout, `"export-size": 1048576`) {
				t.Errorf("%s", r)
			}
		})
	})
}

// qemu-nbd with certificates and nbdkit with keys, as servers of ours.
func TestPeerNBDServers(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	x509, psk := x509Dir(t, ca, id), keysFile(t, testPSK)
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Run("qemu-nbd", func(t *testing.T) {
			met(t, g, peertest.QEMU, "qemu-nbd", "client", "certificates")
			server := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-x509,id=tls0,endpoint=server,sanity-check=off,dir="+x509, "--tls-creds", "tls0",
				"--format=raw", "--export-name", "disk", "--persistent", image).Ready()
			c := dial(t, server.Port, Config{Identities: []Identity{id.Identity}})
			startTLS(t, c.Conn)
			must(t, c.handshake())
			if got := listExports(t, c); got != "disk" {
				t.Errorf("exports %q", got)
			}
		})
		if !g.Has("nbdkit") {
			return
		}
		t.Run("nbdkit", func(t *testing.T) {
			met(t, g, peertest.Nbdkit, "nbdkit", "client", "PSK")
			server := g.Nbdkit(t, peertest.Options{}, "--tls=require", "--tls-psk="+psk+"/keys.psk", "memory", "1M").Ready()
			c := dial(t, server.Port, Config{PSK: testPSK})
			startTLS(t, c.Conn)
			must(t, c.handshake())
			checkState(t, c.Engine, State{Suite: wire.AES128GCMSHA256})
			if got := listExports(t, c); got != "" {
				t.Errorf("exports %q", got)
			}
			c = dial(t, server.Port, Config{PSK: wrongPSK})
			startTLS(t, c.Conn)
			if err := c.handshake(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
				t.Errorf("a wrong key: %v, want the end of the connection without an alert", err)
			}
		})
	})
}

// QEMU's character devices with anonymous credentials, in both roles: its
// monitor greets through TLS.
func TestPeerChardevAnonymous(t *testing.T) {
	const greets = `{"QMP":`
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		qemu := func(t *testing.T, endpoint, chardev string, ready peertest.Condition) *peertest.Proc {
			return g.Start(t, peertest.Options{}, ready, "qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none",
				"-object", "tls-creds-anon,id=tls0,endpoint="+endpoint, "-chardev", "socket,id=c0,host=127.0.0.1,tls-creds=tls0,"+chardev, "-mon", "chardev=c0,mode=control")
		}
		greeted := func(t *testing.T, c conn) {
			t.Helper()
			line, err := bufio.NewReader(c).ReadString('\n')
			if s := c.State(); err != nil || !strings.HasPrefix(line, greets) || s.Version != TLS12 || !s.Group.IsFFDHE() || s.PeerChain != nil {
				t.Errorf("%q, %v, %+v", line, err, s)
			}
		}
		t.Run("server", func(t *testing.T) {
			met(t, g, peertest.QEMU, "chardev", "client", "anonymous")
			port := peertest.FreePort(t)
			qemu(t, "server", fmt.Sprintf("port=%d,server=on,wait=off", port), peertest.Listening(port)).Ready()
			c := dial(t, port, Config{Anonymous: true})
			must(t, c.handshake())
			greeted(t, c)
		})
		t.Run("client", func(t *testing.T) {
			met(t, g, peertest.QEMU, "chardev", "server", "anonymous")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(25*time.Second)))
			qemu(t, "client", fmt.Sprintf("port=%d", l.Addr().(*net.TCPAddr).Port), peertest.Condition{})
			nc, err := l.Accept()
			must(t, err)
			defer nc.Close()
			must(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
			e, err := Server(&Config{Anonymous: true})
			must(t, err)
			c := conn{nc, e}
			must(t, c.handshake())
			greeted(t, c)
		})
	})
}

// Node's OpenSSL with ML-DSA, in both roles.
func TestPeerNode(t *testing.T) {
	node := peertest.Node(t)
	for _, spec := range []string{"ec", "mldsa44", "mldsa65", "mldsa87"} {
		t.Run(spec, func(t *testing.T) {
			t.Cleanup(func() {
				result := "ok"
				if t.Failed() {
					result = "FAILED"
				}
				noteMeeting(peertest.Host.Name, "node", "both", "certificates "+spec, result)
			})
			ca := newCA(t, spec)
			id := ca.newLeaf(t, spec)
			cert, key, anchor := id.files(t, ca)
			options := fmt.Sprintf(`{cert: read(%q), key: read(%q), ca: read(%q), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3', servername: 'localhost'}`, cert, key, anchor)
			const head = `const tls = require('tls'), read = require('fs').readFileSync;`
			server := exec.CommandContext(t.Context(), node, "-e", head+`
const s = tls.createServer(`+options+`, c => c.pipe(c));
s.listen(0, '127.0.0.1', () => console.log(s.address().port));`)
			out, err := server.StdoutPipe()
			must(t, err)
			must(t, server.Start())
			defer func() { server.Process.Kill(); server.Wait() }()
			var port int
			_, err = fmt.Fscan(out, &port)
			must(t, err)
			c := dial(t, port, Config{Identities: []Identity{id.Identity}})
			must(t, c.handshake())
			echo(t, c)
			if s := c.State(); s.PeerScheme == 0 || s.Group != wire.X25519MLKEM768 {
				t.Errorf("%+v", s)
			}
			port, errs := serve(t, Config{Identities: []Identity{id.Identity}, RequestCertificate: true, VerifyPeer: wantChain})
			client := exec.CommandContext(t.Context(), node, "-e", head+fmt.Sprintf(`
const c = tls.connect(%d, '127.0.0.1', `, port)+options+`, () => c.write(`+fmt.Sprintf("%q", greeting)+`));
c.pipe(process.stdout);`)
			text, err := client.CombinedOutput()
			if err := errors.Join(err, <-errs); err != nil || string(text) != greeting {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}
