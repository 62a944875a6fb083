package peertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// FreePort returns a TCP port that nobody else gets until the test ends: the
// test keeps it bound, without listening and with SO_REUSEADDR, which lets a
// server that sets this option too (all of ours do) bind and listen.
func FreePort(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socket: %v", err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatalf("setsockopt: %v", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{}); err != nil {
		t.Fatalf("bind: %v", err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatalf("getsockname: %v", err)
	}
	return addr.(*syscall.SockaddrInet4).Port
}

// serve starts a server that is to listen on the port.
func (g Generation) serve(t testing.TB, o Options, port int, name string, first, args []string) *Proc {
	t.Helper()
	p := g.Start(t, o, Listening(port), name, append(first, args...)...)
	p.Port = port
	return p
}

// QemuNBD starts qemu-nbd, which serves any number of clients one after the
// other. The arguments name the image and all but the address.
func (g Generation) QemuNBD(t testing.TB, o Options, args ...string) *Proc {
	t.Helper()
	port := FreePort(t)
	return g.serve(t, o, port, "qemu-nbd", []string{"--persistent", "--bind=127.0.0.1", "--port=" + strconv.Itoa(port)}, args)
}

// Nbdkit starts nbdkit; the arguments end with a plugin and its parameters.
func (g Generation) Nbdkit(t testing.TB, o Options, args ...string) *Proc {
	t.Helper()
	port := FreePort(t)
	return g.serve(t, o, port, "nbdkit", []string{"--foreground", "--ipaddr=127.0.0.1", "--port=" + strconv.Itoa(port)}, args)
}

// GnutlsServ starts gnutls-serv, which listens on every address.
func (g Generation) GnutlsServ(t testing.TB, o Options, args ...string) *Proc {
	t.Helper()
	port := FreePort(t)
	return g.serve(t, o, port, "gnutls-serv", []string{"--port=" + strconv.Itoa(port)}, args)
}

// OpensslSServer starts openssl s_server.
func (g Generation) OpensslSServer(t testing.TB, o Options, args ...string) *Proc {
	t.Helper()
	port := FreePort(t)
	return g.serve(t, o, port, "openssl", []string{"s_server", "-accept", "127.0.0.1:" + strconv.Itoa(port)}, args)
}

// Libvirtd starts libvirtd with a TLS listener and UNIX sockets in Proc.Dir
// ("libvirt-sock", "libvirt-admin-sock"), logging warnings to standard error.
// conf is text for libvirtd.conf; its settings prevail. Without ca_file,
// cert_file and key_file it reads /etc/pki (Options.Mounts) or, unprivileged,
// .pki/libvirt of Options.Home. Complaints about D-Bus, dnsmasq, dmidecode and
// udev are normal. It knows the drivers test and qemu:
// "test+tls://localhost:PORT/default" needs no guests.
func (g Generation) Libvirtd(t testing.TB, o Options, conf string) *Proc {
	t.Helper()
	dir, port := SocketDir(t), FreePort(t)
	// libvirt takes the first of two settings with the same name.
	conf += fmt.Sprintf(`
listen_tls = 1
listen_addr = "127.0.0.1"
tls_port = "%d"
unix_sock_dir = "%s"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
`, port, dir)
	file := filepath.Join(dir, "libvirtd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if o.Unprivileged && os.Geteuid() == 0 {
		if err := os.Chown(dir, unprivilegedUID, unprivilegedUID); err != nil {
			t.Fatal(err)
		}
	}
	p := g.serve(t, o, port, "libvirtd", []string{"--listen", "--config", file}, nil)
	p.Dir = dir
	return p
}

// StartX starts an X server without a screen, which lasts until the test ends, and
// returns its display. A number is drawn, because servers with process ids of their
// own cannot tell whose the lock of the first free one is.
func StartX(t testing.TB) (display string) {
	t.Helper()
	display = fmt.Sprintf(":%d", 1000+rand.IntN(50_000))
	Host.Start(t, Options{}, Logged(display[1:]), "Xvfb", display, "-screen", "0", "800x600x24", "-nolisten", "tcp", "-ac", "-displayfd", "1").Ready()
	return display
}
