package peertest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// diskImage makes a raw image of a size that nothing else has.
func diskImage(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	writeFile(t, name, strings.Repeat("virtls ", 3<<20/7)+"\n\n\n\n\n\n")
	if err := os.Truncate(name, 3<<20); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestQemuNBD(t *testing.T) {
	pki, foreign := newPKI(t), newPKI(t)
	anonymous := t.TempDir() // a client without a certificate
	writeFile(t, anonymous+"/ca-cert.pem", readFile(t, pki.qemu+"/ca-cert.pem"))
	keys := t.TempDir()
	if r := Host.Run(t, Options{}, "psktool", "--username=rich", "--pskfile="+keys+"/keys.psk"); r.Code != 0 {
		t.Fatal(r)
	}
	otherKeys := t.TempDir()
	writeFile(t, otherKeys+"/keys.psk", "rich:0123456789abcdef\n")
	image := diskImage(t)

	tests := []struct {
		name           string
		server, client string // properties of the credential objects
		refused        string // what the client then says
	}{
		{name: "x509", server: "tls-creds-x509,dir=" + pki.qemu, client: "tls-creds-x509,dir=" + pki.qemu},
		{name: "x509 without client certificate", server: "tls-creds-x509,dir=" + pki.qemu, client: "tls-creds-x509,dir=" + anonymous,
			refused: "Could not open"},
		{name: "x509 foreign authority", server: "tls-creds-x509,dir=" + pki.qemu, client: "tls-creds-x509,dir=" + foreign.qemu,
			refused: "certificate hasn't got a known issuer"},
		{name: "psk", server: "tls-creds-psk,dir=" + keys, client: "tls-creds-psk,username=rich,dir=" + keys},
		{name: "psk wrong key", server: "tls-creds-psk,dir=" + keys, client: "tls-creds-psk,username=rich,dir=" + otherKeys,
			refused: "Could not open"},
	}
	Each(t, func(t *testing.T, g Generation) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				server := g.QemuNBD(t, Options{}, "--object", tt.server+",id=tls0,endpoint=server", "--tls-creds=tls0",
					"--read-only", "--format=raw", image).Ready()
				r := g.Run(t, Options{}, "qemu-img", "info", "--object", tt.client+",id=tls0,endpoint=client",
					"--image-opts", fmt.Sprintf("driver=nbd,host=localhost,port=%d,tls-creds=tls0", server.Port))
				if tt.refused == "" {
					wantCode(t, r, 0, "virtual size: 3 MiB (3145728 bytes)")
				} else {
					wantCode(t, r, 1, tt.refused)
				}
			})
		}
	})
}

func TestQemuNBDRefusesToStart(t *testing.T) {
	image := diskImage(t)
	Each(t, func(t *testing.T, g Generation) {
		r := g.QemuNBD(t, Options{}, "--object", "tls-creds-x509,id=tls0,endpoint=server,dir=/nonexistent",
			"--tls-creds=tls0", "--format=raw", image).Refused()
		wantCode(t, r, 1, "Unable to access credentials /nonexistent/ca-cert.pem")
	})
}

func TestNbdkit(t *testing.T) {
	pki := newPKI(t)
	Each(t, func(t *testing.T, g Generation) {
		server := g.Nbdkit(t, Options{}, "--tls=require", "--tls-certificates="+pki.qemu, "--tls-verify-peer", "memory", "3M").Ready()
		address := fmt.Sprintf("localhost:%d/", server.Port)
		r := g.Run(t, Options{}, "nbdinfo", "--size", "nbds://"+address+"?tls-certificates="+pki.qemu)
		wantCode(t, r, 0, "3145728")
		r = g.Run(t, Options{}, "nbdinfo", "--size", "nbd://"+address)
		wantCode(t, r, 1, "nbdinfo: ")
	})
}

func TestLibvirtd(t *testing.T) {
	pki, foreign := newPKI(t), newPKI(t)
	etc := Options{Mounts: map[string]string{"/etc/pki": pki.etc}}
	user := Options{Unprivileged: true, Home: pki.home}
	server := pki.home + "-server"
	for _, name := range []string{"cacert.pem", "servercert.pem", "serverkey.pem"} {
		writeFile(t, server+"/.pki/libvirt/"+name, readFile(t, pki.libvirt+"/"+name))
	}
	mixed := t.TempDir() // our authority, a client of the foreign one
	writeFile(t, mixed+"/cacert.pem", readFile(t, pki.libvirt+"/cacert.pem"))
	for _, name := range []string{"clientcert.pem", "clientkey.pem"} {
		writeFile(t, mixed+"/"+name, readFile(t, foreign.libvirt+"/"+name))
	}

	tests := []struct {
		name           string
		conf           string
		server, client Options
		host           string // in the client's URI
		query          string // of the client's URI
		refused        string // what the client then says
		because        string // what the server then says
	}{
		{name: "own etc/pki", server: etc, client: etc},
		{name: "unprivileged client", server: etc, client: user},
		{name: "unprivileged server", server: Options{Unprivileged: true, Home: server}, client: user},
		{name: "pkipath", server: etc, query: "?pkipath=" + pki.libvirt,
			conf: `tls_allowed_dn_list = ["O=Example,CN=client1"]`},
		{name: "client not listed", server: etc, client: etc, conf: `tls_allowed_dn_list = ["CN=other"]`,
			refused: "error: failed to connect", because: "not on the list"},
		{name: "foreign client", server: etc, query: "?no_sanity=1&pkipath=" + mixed,
			refused: "error: failed to connect", because: "certificate hasn't got a known issuer"},
		{name: "foreign authority", server: etc, query: "?pkipath=" + foreign.libvirt, refused: "Failed to verify peer's certificate"},
		{name: "no client files", server: etc, refused: "cacert.pem"},
		{name: "wrong name", server: etc, host: "host9.example.com", refused: "does not match the hostname",
			client: Options{Mounts: etc.Mounts, Hosts: []string{"127.0.0.1 host9.example.com"}}},
	}
	Each(t, func(t *testing.T, g Generation) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				server := g.Libvirtd(t, tt.server, tt.conf).Ready()
				r := g.Run(t, tt.client, "virsh", "-c",
					fmt.Sprintf("test+tls://%s:%d/default%s", cmp.Or(tt.host, "localhost"), server.Port, tt.query), "hostname")
				if tt.refused == "" {
					wantCode(t, r, 0, "peer")
					return
				}
				wantCode(t, r, 1, tt.refused)
				server.Until(Logged(tt.because))
			})
		}
	})
}

func TestLibvirtdSockets(t *testing.T) {
	pki := newPKI(t)
	Each(t, func(t *testing.T, g Generation) {
		server := g.Libvirtd(t, Options{Mounts: map[string]string{"/etc/pki": pki.etc}}, "").Ready()
		server.Until(ListeningUnix(server.Dir + "/libvirt-sock"))
		r := g.Run(t, Options{}, "virt-admin", "-c", "libvirtd+unix:///system?socket="+server.Dir+"/libvirt-admin-sock",
			"server-update-tls", "libvirtd")
		wantCode(t, r, 0, "succeed")
		wantCode(t, server.Stop(), 0, "")
	})
}

func TestLibvirtdRefusesToStart(t *testing.T) {
	Each(t, func(t *testing.T, g Generation) {
		r := g.Libvirtd(t, Options{}, "").Refused()
		if r.Code == 0 || !strings.Contains(r.Stderr, "/etc/pki/CA/cacert.pem") {
			t.Errorf("want a complaint about the missing CA, got %v", r)
		}
	})
}

func TestVirtPkiValidate(t *testing.T) {
	needSandbox(t)
	pki := newPKI(t)
	mismatch := regexp.MustCompile(`not .*match the host ?name`)
	Each(t, func(t *testing.T, g Generation) {
		wantCode(t, g.Run(t, Options{}, "virt-pki-validate"), 1, "/etc/pki/CA")
		for _, hostname := range []string{"localhost", "host1"} {
			r := g.Run(t, Options{Mounts: map[string]string{"/etc/pki": pki.etc}, Hostname: hostname}, "virt-pki-validate")
			if mismatch.MatchString(r.Stdout) != (hostname == "host1") {
				t.Errorf("the certificate is for localhost and no other: %v", r)
			}
		}
	})
}

func TestGnutls(t *testing.T) {
	pki, foreign := newPKI(t), newPKI(t)
	Each(t, func(t *testing.T, g Generation) {
		server := g.GnutlsServ(t, Options{}, "--echo", "--x509cafile="+pki.qemu+"/ca-cert.pem",
			"--x509certfile="+pki.qemu+"/server-cert.pem", "--x509keyfile="+pki.qemu+"/server-key.pem",
			"--require-client-cert", "--verify-client-cert").Ready()
		connect := func(ca, client string) Result {
			return g.Run(t, Options{}, "gnutls-cli", "--port="+strconv.Itoa(server.Port), "--x509cafile="+ca+"/ca-cert.pem",
				"--x509certfile="+client+"/client-cert.pem", "--x509keyfile="+client+"/client-key.pem", "localhost")
		}
		wantCode(t, connect(pki.qemu, pki.qemu), 0, "Handshake was completed")
		wantCode(t, connect(foreign.qemu, pki.qemu), 1, "certificate is NOT trusted")
		connect(pki.qemu, foreign.qemu) // TLS 1.3 clients may end before they hear of it
		server.Until(Logged("Error in the certificate"))
	})
}

func TestOpenssl(t *testing.T) {
	Each(t, func(t *testing.T, g Generation) {
		keyTypes := []string{"ed25519"}
		if g.Version(t, OpenSSL).AtLeast("3.5") {
			keyTypes = append(keyTypes, "ML-DSA-65")
		}
		for _, keyType := range keyTypes {
			t.Run(keyType, func(t *testing.T) {
				d := t.TempDir()
				r := g.Run(t, Options{Dir: d}, "openssl", "req", "-x509", "-newkey", keyType, "-noenc", "-keyout", "key.pem",
					"-out", "cert.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
				if r.Code != 0 {
					t.Fatal(r)
				}
				server := g.OpensslSServer(t, Options{Dir: d}, "-cert", "cert.pem", "-key", "key.pem", "-Verify", "1",
					"-verify_return_error", "-CAfile", "cert.pem").Ready()
				connect := []string{"s_client", "-connect", "localhost:" + strconv.Itoa(server.Port), "-tls1_3",
					"-verify_return_error", "-verify_hostname", "localhost", "-CAfile", "cert.pem"}
				r = g.Run(t, Options{Dir: d}, "openssl", append(connect, "-cert", "cert.pem", "-key", "key.pem")...)
				wantCode(t, r, 0, "Verify return code: 0 (ok)")
				server.Until(Logged("CIPHER is TLS_"))
				g.Run(t, Options{Dir: d}, "openssl", connect...)
				server.Until(Logged("peer did not return a certificate"))
			})
		}
	})
}

func TestFreePort(t *testing.T) {
	port := FreePort(t)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatalf("a server cannot have the port: %v", err)
	}
	l.Close()

	// Nobody gets it who takes any port: these may take only this one.
	only := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if controlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, port<<16|port)
		}); controlErr != nil {
			return controlErr
		}
		return err
	}}
	l, err = only.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if errors.Is(err, unix.ENOPROTOOPT) {
		Missing(t, "the choice of a port cannot be forced: IP_LOCAL_PORT_RANGE needs Linux 6.3", "run the test there")
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("somebody else got the port: %v, %v", l, err)
	}
}
