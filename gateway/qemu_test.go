package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/session"
)

// firmware is a guest that needs no disk: it counts in memory and sends
// back what comes over the first serial port, 14 octets at most at a time.
func firmware(t *testing.T) string {
	t.Helper()
	rom := make([]byte, 64<<10)
	copy(rom, []byte{
		0x31, 0xc0, //                   xor ax, ax
		0x8e, 0xd8, //                   mov ds, ax
		0xba, 0xfa, 0x03, //             mov dx, 0x3fa
		0xb0, 0xc7, //                   mov al, 0xc7: a FIFO that takes 14 octets at once; QEMU 7.2
		// forgets what TLS has decrypted and no device takes
		0xee,                         // out dx, al
		0x66, 0xff, 0x06, 0x00, 0x10, // loop: inc dword [0x1000]
		0xba, 0xfd, 0x03, //             mov dx, 0x3fd
		0xec,       //                   in al, dx
		0xa8, 0x01, //                   test al, 1
		0x74, 0xf3, //                   jz loop
		0xba, 0xf8, 0x03, //             mov dx, 0x3f8
		0xec,       //                   in al, dx
		0xee,       //                   out dx, al
		0xeb, 0xec, //                   jmp loop
	})
	copy(rom[0xfff0:], []byte{0xea, 0, 0, 0, 0xf0}) // jmp 0xf000:0
	file := filepath.Join(t.TempDir(), "guest.rom")
	must(t, os.WriteFile(file, rom, 0o644))
	return file
}

// A guest is a QEMU with its monitor.
type guest struct {
	*peertest.Proc
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

// boot starts QEMU without KVM, devices or disks.
func boot(t *testing.T, g peertest.Generation, rom string, args ...string) *guest {
	t.Helper()
	sock := filepath.Join(peertest.SocketDir(t), "qmp")
	p := g.Start(t, peertest.Options{}, peertest.ListeningUnix(sock), "qemu-system-x86_64", append([]string{
		"-accel", "tcg", "-machine", "pc", "-m", "32", "-nodefaults", "-no-user-config", "-display", "none", "-bios", rom,
		"-qmp", "unix:" + sock + ",server=on,wait=off"}, args...)...).Ready()
	c, err := net.Dial("unix", sock)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	q := &guest{Proc: p, t: t, c: c, in: bufio.NewReader(c)}
	q.reply("QMP")
	q.do("qmp_capabilities", nil)
	return q
}

// reply returns the value of the next message with a key.
func (q *guest) reply(key string) json.RawMessage {
	q.t.Helper()
	must(q.t, q.c.SetDeadline(time.Now().Add(20*time.Second)))
	for {
		line, err := q.in.ReadBytes('\n')
		if err != nil {
			q.t.Fatalf("QMP: %v\n%s", err, q.Stderr())
		}
		var m map[string]json.RawMessage
		must(q.t, json.Unmarshal(line, &m))
		if e, failed := m["error"]; failed {
			q.t.Fatalf("QMP: %s", e)
		}
		if v, ok := m[key]; ok {
			return v
		}
	}
}

// do executes a command.
func (q *guest) do(command string, args any) json.RawMessage {
	q.t.Helper()
	m := map[string]any{"execute": command}
	if args != nil {
		m["arguments"] = args
	}
	b, err := json.Marshal(m)
	must(q.t, err)
	_, err = q.c.Write(append(b, '\n'))
	must(q.t, err)
	return q.reply("return")
}

// count reads what the guest has counted.
func (q *guest) count() (n uint32) {
	q.t.Helper()
	file := filepath.Join(peertest.SocketDir(q.t), "memory")
	q.do("pmemsave", map[string]any{"val": 0x1000, "size": 4, "filename": file})
	b, err := os.ReadFile(file)
	must(q.t, err)
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// runs wants the guest to go on counting.
func (q *guest) runs() {
	q.t.Helper()
	before := q.count()
	for end := time.Now().Add(20 * time.Second); q.count() == before; {
		if time.Now().After(end) {
			q.t.Fatalf("the guest does not run: it has counted to %d", before)
		}
	}
}

func qemuCreds(dir string, end creds.Endpoint) []string {
	return []string{"-object", fmt.Sprintf("tls-creds-x509,id=tls0,endpoint=%s,dir=%s", end, dir)}
}

// A chardev of QEMU without TLS is a server behind a gateway; the gateway lets in
// whom it should.
func TestQemuChardevBehind(t *testing.T) {
	ca := shared().ca
	server := ca.dir(t, "localhost", "ec")
	rom := firmware(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		sock := filepath.Join(peertest.SocketDir(t), "chardev")
		boot(t, g, rom, "-chardev", "socket,id=c0,server=on,wait=off,path="+sock, "-serial", "chardev:c0").runs()
		gw := run(t, Options{
			Listen:  Side{address(t, "tls://127.0.0.1:0"), holder(t, server, creds.Server)},
			Connect: Side{Address: address(t, "unix://"+sock)},
			Access:  Access{{DN: "O=Example,CN=operator*"}},
		})
		for _, tt := range clients(t) {
			t.Run(tt.name, func(t *testing.T) {
				c, err := gw.open(t, tt.dir)
				if err == nil {
					defer c.Close()
					err = tryExchange(c, "hello guest")
				}
				if (err == nil) != (tt.code == "") {
					t.Fatalf("the exchange ends with %v", err)
				}
				if tt.code != "" {
					gw.log.await(t, "verdict=refused", "code="+tt.code, "mend=", "peer=127.0.0.1:")
				}
			})
		}
	})
}

// clients are who may come in, and who may not.
func clients(t *testing.T) []struct{ name, dir, code string } {
	ca, foreign := shared().ca, shared().foreign
	// Trusts the server, but has the certificate of somebody else.
	stranger := foreign.dir(t, "operator1", "ec")
	must(t, os.WriteFile(filepath.Join(stranger, "ca-cert.pem"), append(ca.cert.PEM(), foreign.cert.PEM()...), 0o644))
	return []struct{ name, dir, code string }{
		{"allowed", ca.dir(t, "operator1", "ec"), ""},
		{"allowed RSA", ca.dir(t, "operator2", "rsa2048"), ""},
		{"another name", ca.dir(t, "visitor", "ec"), "peer-denied"},
		{"another authority", stranger, "peer-untrusted"},
		{"no certificate", ca.dir(t, "", ""), "peer-no-certificate"},
	}
}

func tryExchange(c net.Conn, text string) error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("sent %q, got %q", text, got)
	}
	return nil
}

// QEMU is the TLS client of a gateway with its chardev, and is let in or not.
func TestQemuChardevClient(t *testing.T) {
	server := shared().ca.dir(t, "localhost", "ec")
	rom := firmware(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range clients(t) {
			t.Run(tt.name, func(t *testing.T) {
				ready, answers := make(chan bool), make(chan error, 1)
				gw := run(t, Options{
					Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, server, creds.Server)},
					Connect: Side{Address: address(t, serve(t, "tcp", func(c net.Conn) {
						<-ready
						answers <- tryExchange(c, "hello guest")
					}))},
					Access: Access{{DN: "O=Example,CN=operator*"}},
				})
				port := gw.Addr().(*net.TCPAddr).Port
				q := boot(t, g, rom, append(qemuCreds(tt.dir, creds.Client),
					"-chardev", fmt.Sprintf("socket,id=c0,host=localhost,port=%d,ipv4=on,ipv6=off,tls-creds=tls0", port), "-serial", "chardev:c0")...)
				q.runs()
				close(ready)
				if tt.code != "" {
					gw.log.await(t, "verdict=refused", "code="+tt.code)
					return
				}
				gw.log.await(t, "verdict=accepted", "dn=\"O=Example,CN=operator")
				if err := <-answers; err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// QEMU is the TLS server behind a gateway, which takes TLS off for a plain client
// or changes one TLS for another.
func TestQemuChardevServer(t *testing.T) {
	ca := shared().ca
	both := ca.dir(t, "localhost", "ec")
	rom := firmware(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		port := peertest.FreePort(t)
		boot(t, g, rom, append(qemuCreds(both, creds.Server), "-object", "authz-simple,id=auth0,identity=O=Example,,CN=localhost",
			"-chardev", fmt.Sprintf("socket,id=c0,server=on,wait=off,host=127.0.0.1,port=%d,tls-creds=tls0,tls-authz=auth0", port), "-serial", "chardev:c0")...).runs()
		service := Side{address(t, fmt.Sprintf("tls://localhost:%d", port)), holder(t, both, creds.Client)}
		for _, tt := range []struct {
			name     string
			dir      string // of the gateway as client
			front    bool   // TLS in front as well
			hostname string
			code     string // of the gateway's refusal; "-" if QEMU refuses, without a word
		}{
			{"plain client", both, false, "", ""},
			{"TLS client", both, true, "", ""},
			{"server of another name", both, false, "example.com", "peer-name-mismatch"},
			{"server of another authority", shared().foreign.dir(t, "localhost", "ec"), false, "", "peer-untrusted"},
			{"name that QEMU does not let in", ca.dir(t, "visitor", "ec"), false, "", "-"},
			{"no certificate", ca.dir(t, "", ""), false, "", "-"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				o := Options{Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Connect: service, Hostname: tt.hostname}
				o.Connect.Credentials = holder(t, tt.dir, creds.Client)
				if tt.front {
					o.Listen = Side{address(t, "tls://127.0.0.1:0"), holder(t, both, creds.Server)}
				}
				gw := run(t, o)
				var c net.Conn = gw.dial(t)
				if tt.front {
					s, err := session.Open(t.Context(), c, session.Options{Credentials: holder(t, both, creds.Client).Current(), Hostname: "localhost"})
					must(t, err)
					c = s
				}
				err := tryExchange(c, "hello guest")
				c.Close()
				if (err == nil) != (tt.code == "") {
					t.Fatalf("the exchange ends with %v", err)
				}
				if strings.HasPrefix(tt.code, "peer") {
					gw.log.await(t, "verdict=refused", "code="+tt.code)
				}
			})
		}
	})
}
