package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/proto/libvirt"
)

var update = flag.Bool("update", false, "write the golden files")

func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// A lab has the services of one generation, started when they are first asked for.
type lab struct {
	t     *testing.T
	g     peertest.Generation
	ports map[string]int
	procs map[string]*peertest.Proc // of services that are programs
	last  *peertest.Proc
}

func (l *lab) port(service string) int {
	if p, ok := l.ports[service]; ok {
		return p
	}
	start, ok := services[service]
	if !ok {
		start, ok = vncServices[service]
	}
	if !ok {
		l.t.Fatalf("there is no service %s", service)
	}
	l.last = nil
	l.ports[service] = start(l)
	l.procs[service] = l.last
	return l.ports[service]
}

// revokedClient is a certificate of ours that the lists revoke.
var revokedClient = sync.OnceValue(func() [2][]byte {
	cert, key := leaf{name: "revoked"}.issue("client")
	return [2][]byte{cert, key}
})

var (
	server = dir{server: &leaf{}}
	peer   = dir{client: &leaf{}}
	bare   = dir{} // trust alone
)

func (l *lab) libvirtd(d dir, conf string) int {
	path := d.write(l.t)
	files := fmt.Sprintf("ca_file = %q\ncert_file = %q\nkey_file = %q\n", path+"/cacert.pem", path+"/servercert.pem", path+"/serverkey.pem")
	if d.revoked != nil {
		files += fmt.Sprintf("crl_file = %q\n", path+"/cacrl.pem")
	}
	l.last = l.g.Libvirtd(l.t, peertest.Options{}, files+"tls_no_sanity_certificate = 1\n"+conf).Ready()
	return l.last.Port
}

// qemu starts QEMU with a character device or a migration that waits. "PORT" in
// the arguments is the port.
func (l *lab) qemu(args ...string) int {
	port := peertest.FreePort(l.t)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PORT", strconv.Itoa(port))
	}
	args = append([]string{"-nodefaults", "-display", "none", "-machine", "none", "-accel", "tcg"}, args...)
	l.last = l.g.Start(l.t, peertest.Options{}, peertest.Listening(port), "qemu-system-x86_64", args...).Ready()
	return port
}

// chardev is a character device with credentials; object is what is before its dir.
func (l *lab) chardev(object, path, more string) int {
	path = withDH(l.t, path)
	args := []string{"-object", object + ",id=tls0,endpoint=server,dir=" + path}
	if more != "" {
		args = append(args, "-object", "authz-simple,id=acl,identity=O=Test,,CN=somebody")
		more = ",tls-authz=acl"
	}
	return l.qemu(append(args, "-chardev", "socket,id=c,host=127.0.0.1,port=PORT,server=on,wait=off,tls-creds=tls0"+more, "-mon", "chardev=c")...)
}

// withDH puts Diffie-Hellman parameters into a directory, or a new one: QEMU
// before 10.2 makes some if there are none, which takes it up to half a minute.
func withDH(t testing.TB, path string) string {
	t.Helper()
	if path == "" {
		path = t.TempDir()
	}
	return peertest.WithDH(t, path)
}

func (l *lab) gnutls(d dir, args ...string) int {
	path := d.write(l.t)
	if d.server != nil {
		args = append(args, "--x509cafile", path+"/ca-cert.pem", "--x509certfile", path+"/server-cert.pem", "--x509keyfile", path+"/server-key.pem")
	}
	l.last = l.g.GnutlsServ(l.t, peertest.Options{}, append([]string{"--echo"}, args...)...).Ready()
	return l.last.Port
}

func (l *lab) openssl(d dir, args ...string) int {
	path := d.write(l.t)
	args = append([]string{"-cert", path + "/server-cert.pem", "-key", path + "/server-key.pem", "-CAfile", path + "/ca-cert.pem", "-quiet"}, args...)
	return l.g.OpensslSServer(l.t, peertest.Options{}, args...).Ready().Port
}

func pskDir(t testing.TB) string {
	path := t.TempDir()
	must(t, os.WriteFile(filepath.Join(path, "keys.psk"), []byte("rich:"+pskKey+"\n"), 0o600))
	return path
}

const (
	pskKey   = "30313233343536373839616263646566"
	otherKey = "40313233343536373839616263646566"
)

// services are what the set-ups probe, by name; the first letters say the program.
var services = map[string]func(l *lab) int{
	"libvirtd":           func(l *lab) int { return l.libvirtd(server, "") },
	"libvirtd list":      func(l *lab) int { return l.libvirtd(server, `tls_allowed_dn_list = ["O=Test,CN=somebody"]`) },
	"libvirtd list ours": func(l *lab) int { return l.libvirtd(server, `tls_allowed_dn_list = ["O=Test,CN=client"]`) },
	"libvirtd revoked":   func(l *lab) int { return l.libvirtd(dir{server: &leaf{}, revoked: revokedClient()[0]}, "") },
	"libvirtd old list": func(l *lab) int {
		return l.libvirtd(dir{server: &leaf{}, revoked: revokedClient()[0], crlExpired: true}, "")
	},
	"libvirtd expired": func(l *lab) int {
		return l.libvirtd(dir{server: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}, "")
	},
	"libvirtd early": func(l *lab) int {
		return l.libvirtd(dir{server: &leaf{from: 24 * time.Hour, to: 2000 * time.Hour}}, "")
	},
	"libvirtd ends soon": func(l *lab) int {
		return l.libvirtd(dir{server: &leaf{from: -48 * time.Hour, to: 100 * time.Hour}}, "")
	},
	"libvirtd foreign":  func(l *lab) int { return l.libvirtd(dir{trust: foreign, server: &leaf{by: foreign}}, "") },
	"libvirtd namesake": func(l *lab) int { return l.libvirtd(dir{trust: namesake, server: &leaf{by: namesake}}, "") },
	"libvirtd other name": func(l *lab) int {
		return l.libvirtd(dir{server: &leaf{names: []string{"kvm1.example.com", "192.0.2.1"}}}, "")
	},
	"libvirtd CN":        func(l *lab) int { return l.libvirtd(dir{server: &leaf{name: "localhost", names: []string{""}}}, "") },
	"libvirtd no chain":  func(l *lab) int { return l.libvirtd(dir{server: &leaf{by: between}}, "") },
	"libvirtd purpose":   func(l *lab) int { return l.libvirtd(dir{server: &leaf{purpose: pki.PurposeClient}}, "") },
	"libvirtd everybody": func(l *lab) int { return l.libvirtd(server, "tls_no_verify_certificate = 1") },
	"libvirtd TLS 1.2":   func(l *lab) int { return l.libvirtd(server, `tls_priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2"`) },
	"libvirtd @SYSTEM":   func(l *lab) int { return l.libvirtd(server, `tls_priority = "@SYSTEM"`) },
	"libvirtd plain": func(l *lab) int {
		port := peertest.FreePort(l.t)
		l.last = l.g.Libvirtd(l.t, peertest.Options{}, fmt.Sprintf("listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\ntcp_port = \"%d\"\n", port)).Until(peertest.Listening(port))
		return port
	},
	"chardev":           func(l *lab) int { return l.chardev("tls-creds-x509", server.write(l.t), "") },
	"chardev list":      func(l *lab) int { return l.chardev("tls-creds-x509", server.write(l.t), "list") },
	"chardev everybody": func(l *lab) int { return l.chardev("tls-creds-x509,verify-peer=off", server.write(l.t), "") },
	"chardev foreign": func(l *lab) int {
		return l.chardev("tls-creds-x509", dir{trust: foreign, server: &leaf{by: foreign}}.write(l.t), "")
	},
	"chardev psk":       func(l *lab) int { return l.chardev("tls-creds-psk", pskDir(l.t), "") },
	"chardev anonymous": func(l *lab) int { return l.chardev("tls-creds-anon", "", "") },
	"chardev plain":     func(l *lab) int { return l.qemu("-chardev", "socket,id=c,host=127.0.0.1,port=PORT,server=on,wait=off") },
	"chardev TLS 1.2 psk": func(l *lab) int {
		return l.chardev("tls-creds-psk,priority=NORMAL:-VERS-ALL:+VERS-TLS1.2", pskDir(l.t), "")
	},
	"chardev TLS 1.3 psk": func(l *lab) int {
		return l.chardev("tls-creds-psk,priority=NORMAL:-VERS-ALL:+VERS-TLS1.3", pskDir(l.t), "")
	},
	"migration": func(l *lab) int {
		return l.migration("tls-creds-x509,id=tls0,endpoint=server,dir=" + withDH(l.t, server.write(l.t)))
	},
	"migration plain": func(l *lab) int { return l.migration("") },
	"gnutls TLS 1.1":  func(l *lab) int { return l.gnutls(server, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.1") },
	"gnutls CBC": func(l *lab) int {
		return l.gnutls(server, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC")
	},
	"gnutls X448":      func(l *lab) int { return l.gnutls(server, "--priority", "NORMAL:-GROUP-ALL:+GROUP-X448") },
	"gnutls":           func(l *lab) int { return l.gnutls(server) },
	"gnutls demands":   func(l *lab) int { return l.gnutls(server, "--require-client-cert", "--verify-client-cert") },
	"gnutls anonymous": func(l *lab) int { return l.gnutls(dir{}, "--priority", "NORMAL:-KX-ALL:+ANON-DH") },
	"gnutls psk": func(l *lab) int {
		return l.gnutls(dir{}, "--pskpasswd", pskDir(l.t)+"/keys.psk", "--priority", "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK")
	},
	"openssl":         func(l *lab) int { return l.openssl(server) },
	"openssl demands": func(l *lab) int { return l.openssl(server, "-Verify", "3", "-verify_return_error") },
	"openssl RSA": func(l *lab) int {
		return l.openssl(dir{server: &leaf{key: "rsa2048"}}, "-Verify", "3", "-verify_return_error", "-client_sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256")
	},
	"openssl no RSA": func(l *lab) int {
		return l.openssl(server, "-Verify", "3", "-verify_return_error", "-client_sigalgs", "ECDSA+SHA256")
	},
	"openssl Ed25519": func(l *lab) int { return l.openssl(dir{server: &leaf{key: "ed25519", usage: pki.DigitalSignature}}) },
	"openssl TLS 1.2": func(l *lab) int { return l.openssl(server, "-tls1_2") },
	"nothing":         func(l *lab) int { return peertest.FreePort(l.t) },
	"silence":         func(l *lab) int { return l.listener(func(c net.Conn) { time.Sleep(time.Hour); c.Close() }) },
	"VNC": func(l *lab) int {
		return l.listener(func(c net.Conn) { c.Write([]byte("RFB 003.008\n")); time.Sleep(time.Hour); c.Close() })
	},
	"hangs": func(l *lab) int {
		return l.listener(func(c net.Conn) { c.Write([]byte{22, 3, 3, 1, 0}); time.Sleep(time.Hour); c.Close() })
	},
	"wrong": func(l *lab) int {
		return l.listener(func(c net.Conn) { c.Write([]byte{22, 3, 3, 0, 4, 11, 0, 0, 0}); time.Sleep(time.Hour); c.Close() })
	},
	"drops": func(l *lab) int { return l.drops() },

	"qemu-nbd": func(l *lab) int { return l.qemuNBD("tls-creds-x509", server.write(l.t)) },
	"qemu-nbd list": func(l *lab) int {
		return l.qemuNBD("tls-creds-x509", server.write(l.t), "--object=authz-simple,id=acl,identity=O=Test,,CN=somebody", "--tls-authz=acl")
	},
	"qemu-nbd list ours": func(l *lab) int {
		return l.qemuNBD("tls-creds-x509", server.write(l.t), "--object=authz-simple,id=acl,identity=O=Test,,CN=client", "--tls-authz=acl")
	},
	"qemu-nbd everybody": func(l *lab) int { return l.qemuNBD("tls-creds-x509,verify-peer=off", server.write(l.t)) },
	"qemu-nbd foreign": func(l *lab) int {
		return l.qemuNBD("tls-creds-x509", dir{trust: foreign, server: &leaf{by: foreign}}.write(l.t))
	},
	"qemu-nbd expired": func(l *lab) int {
		return l.qemuNBD("tls-creds-x509,sanity-check=off", dir{server: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}.write(l.t))
	},
	"qemu-nbd other name": func(l *lab) int {
		return l.qemuNBD("tls-creds-x509", dir{server: &leaf{names: []string{"kvm1.example.com", "192.0.2.1"}}}.write(l.t))
	},
	"qemu-nbd psk":       func(l *lab) int { return l.qemuNBD("tls-creds-psk", pskDir(l.t)) },
	"qemu-nbd plain":     func(l *lab) int { return l.qemuNBD("", "") },
	"qemu-nbd read-only": func(l *lab) int { return l.qemuNBD("", "", "--read-only") },
	"nbdkit off":         func(l *lab) int { return l.nbdkit("--tls=off") },
	"nbdkit on": func(l *lab) int {
		return l.nbdkit("--tls=on", "--tls-verify-peer", "--tls-certificates="+server.write(l.t))
	},
	"nbdkit": func(l *lab) int {
		return l.nbdkit("--tls=require", "--tls-verify-peer", "--tls-certificates="+server.write(l.t))
	},
	"nbdkit everybody": func(l *lab) int { return l.nbdkit("--tls=require", "--tls-certificates="+server.write(l.t)) },
	"nbdkit psk":       func(l *lab) int { return l.nbdkit("--tls=require", "--tls-psk="+pskDir(l.t)+"/keys.psk") },
}

// qemuNBD serves a disk; object is what is before the dir of its credentials.
func (l *lab) qemuNBD(object, path string, args ...string) int {
	image := filepath.Join(l.t.TempDir(), "disk.raw")
	must(l.t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
	if object != "" {
		args = append([]string{"--object=" + object + ",id=tls0,endpoint=server,dir=" + withDH(l.t, path), "--tls-creds=tls0"}, args...)
	}
	l.last = l.g.QemuNBD(l.t, peertest.Options{}, append(args, "--format=raw", "--export-name=disk", image)...).Ready()
	return l.last.Port
}

func (l *lab) nbdkit(args ...string) int {
	l.last = l.g.Nbdkit(l.t, peertest.Options{}, append(append([]string{"--verbose"}, args...), "memory", "1M")...).Ready()
	return l.last.Port
}

func (l *lab) migration(object string) int {
	args := []string{"-incoming", "tcp:127.0.0.1:PORT"}
	if object != "" {
		args = append([]string{"-object", object, "-global", "migration.tls-creds=tls0"}, args...)
	}
	return l.qemu(args...)
}

// listener serves connections by itself.
func (l *lab) listener(serve func(net.Conn)) int {
	return peertest.ServePort(l.t, serve)
}

// drops is a port whose queue is full: the kernel drops what comes, as a
// firewall does.
func (l *lab) drops() int {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(l.t, err)
	l.t.Cleanup(func() { syscall.Close(fd) })
	must(l.t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(l.t, syscall.Listen(fd, 0))
	addr, err := syscall.Getsockname(fd)
	must(l.t, err)
	port := addr.(*syscall.SockaddrInet4).Port
	for range 8 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		var d net.Dialer
		if c, err := d.DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.t.Cleanup(func() { c.Close() })
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			l.t.Fatal(err)
		}
		cancel()
	}
	return port
}

// A setup is a service, a client, and what a probe says of them.
type setup struct {
	name    string
	service string
	client  dir    // of a libvirt URI, or of Options
	more    string // parameters of the URI
	options func(t testing.TB, o *Options)
	tls     bool   // tls:// in the place of a libvirt URI
	want    string // codes of what is found, without infos; "" if nothing is wrong
	posture Posture
	each    bool // runs with each generation always, not only when all is run
	host    bool // the generation does not matter
	scheme  string
	nbd     string // what is before and behind the host of an address of NBD: "nbds disk"
	vnc     string // scheme of VNC's
	log     int    // which of the candidates it is, by its number: the server's log must say what goes with it
}

func with(f ...func(t testing.TB, o *Options)) func(t testing.TB, o *Options) {
	return func(t testing.TB, o *Options) {
		for _, g := range f {
			g(t, o)
		}
	}
}

func complete(_ testing.TB, o *Options) { o.Complete = true }

func quick(_ testing.TB, o *Options) { o.Timeout = 300 * time.Millisecond }

// patient is quick enough for a service that has something to say before it is silent.
func patient(_ testing.TB, o *Options) { o.Timeout = 3 * time.Second }

func credentials(d dir, priority string) func(testing.TB, *Options) {
	return func(t testing.TB, o *Options) { o.Credentials = client(t, d.write(t), priority) }
}

func key(user, key, priority string) func(testing.TB, *Options) {
	return func(t testing.TB, o *Options) { o.Credentials = pskClient(t, user, key, priority) }
}

func anonymous(t testing.TB, o *Options) { o.Credentials = anonClient(t) }

// TestSetups probes every set-up. What it says is in golden files.
func TestSetups(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Parallel() // most of the time is spent on waiting for silent servers
		l := &lab{t: t, g: g, ports: map[string]int{}, procs: map[string]*peertest.Proc{}}
		for _, s := range slices.Concat(setups, vncSetups) {
			if g != peertest.Host && (s.host || !s.each && !full()) {
				continue
			}
			t.Run(s.name, func(t *testing.T) { s.run(t, l) })
		}
	})
}

func (s setup) run(t *testing.T, l *lab) {
	port := l.port(s.service)
	o := Options{Timeout: 20 * time.Second, Local: &Local{View: libvirt.Machine{}.View}}
	text := fmt.Sprintf("tls://localhost:%d", port)
	if s.nbd != "" {
		scheme, export, _ := strings.Cut(s.nbd, " ")
		text = fmt.Sprintf("%s://localhost:%d/%s", scheme, port, export)
	} else if s.vnc != "" {
		text = fmt.Sprintf("%s://localhost:%d%s", s.vnc, port, s.more)
	} else if !s.tls {
		scheme := "test+tls"
		if s.scheme != "" {
			scheme = s.scheme
		}
		path := s.client.write(t)
		if s.client.client != nil && s.client.client.name == "revoked" {
			for i, kind := range []string{"cert", "key"} {
				must(t, os.WriteFile(path+"/client"+kind+".pem", revokedClient()[i], 0o600))
			}
		}
		text = fmt.Sprintf("%s://localhost:%d/default?pkipath=%s%s", scheme, port, path, s.more)
	}
	if s.options != nil {
		s.options(t, &o)
	}
	target, err := ParseTarget(text)
	must(t, err)
	r := Run(t.Context(), target, o)
	var codes []string
	for _, f := range r.Findings {
		if f.Severity > finding.Info {
			codes = append(codes, f.Code)
		}
		if f.Code == "" || f.Text == "" || f.Subject == "" {
			t.Errorf("an incomplete finding: %+v", f)
		}
	}
	if got := strings.Join(codes, " "); got != s.want || r.Posture != s.posture {
		t.Errorf("found %q, posture %q; want %q, %q", got, r.Posture, s.want, s.posture)
	}
	wantNoSecrets(t, r, o)
	if s.log > 0 {
		s.checkLog(t, l.procs[s.service], r)
	}
	s.golden(t, l.g, r, port)
}

// checkLog looks into the server's log for what is to tell the cause.
func (s setup) checkLog(t *testing.T, p *peertest.Proc, r *Result) {
	t.Helper()
	if len(r.Candidates) < s.log || r.Decides == "" {
		t.Fatalf("%d candidates, and %q decides", len(r.Candidates), r.Decides)
	}
	wanted := r.Candidates[s.log-1].Log
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for text := range strings.SplitSeq(wanted, ", or: ") {
			if text, _, _ := strings.Cut(text, " ... "); strings.Contains(p.Stdout()+p.Stderr(), text) {
				return
			}
		}
	}
	t.Errorf("the server's log does not say %q:\n%s%s", wanted, p.Stdout(), p.Stderr())
}

var (
	tempDirs = regexp.MustCompile(`/tmp/[A-Za-z0-9_/.-]*?/(0\d\d)`)
	times    = regexp.MustCompile(`\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?`)
	spans    = regexp.MustCompile(`\d+\.\d ms`)
	serials  = regexp.MustCompile(`serial [0-9a-f]+`)
	versions = regexp.MustCompile(`libvirt \d+\.\d+\.\d+`)
	monitor  = regexp.MustCompile(`QEMU \d+\.\d+\.\d+ monitor[^"]*`)
	groups   = regexp.MustCompile(`(TLS_AES_128_GCM_SHA256), (x25519|X25519MLKEM768)`)
	days     = regexp.MustCompile(`-?\d+ (days|hours) (left|ago)`)
)

// rendered is what a person sees, without what changes from run to run.
func rendered(r *Result, port int) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Target)
	for _, s := range r.Stages {
		fmt.Fprintln(&b, s)
	}
	_ = r.Print(&b) // a Builder takes everything
	_ = finding.Print(&b, r.Findings)
	text := strings.ReplaceAll(b.String(), fmt.Sprint(port), "PORT")
	text = tempDirs.ReplaceAllString(text, "DIR")
	text = spans.ReplaceAllString(text, "0.0 ms")
	text = times.ReplaceAllString(text, "TIME")
	text = serials.ReplaceAllString(text, "serial NUMBER")
	text = versions.ReplaceAllString(text, "libvirt VERSION")
	text = monitor.ReplaceAllString(text, "QEMU VERSION monitor")
	text = groups.ReplaceAllString(text, "$1, GROUP")
	text = days.ReplaceAllString(text, "N $1 $2")
	return regexp.MustCompile(` +0\.0 ms`).ReplaceAllString(text, "   0.0 ms")
}

// golden compares with the file of the set-up: the generation's own, if it
// differs from the oldest's.
func (s setup) golden(t *testing.T, g peertest.Generation, r *Result, port int) {
	t.Helper()
	got := rendered(r, port)
	name := filepath.Join("testdata", strings.NewReplacer(" ", "-", "'", "").Replace(s.name))
	own := name + "." + g.Name + ".txt"
	want, err := os.ReadFile(own)
	if g == peertest.Host || err != nil {
		own = name + ".txt"
		want, _ = os.ReadFile(own)
	}
	if string(want) == got {
		return
	}
	if !*update {
		t.Errorf("%s: %s; -update writes it", own, cmp.Diff(string(want), got))
		return
	}
	if g != peertest.Host {
		own = name + "." + g.Name + ".txt"
	}
	must(t, os.WriteFile(own, []byte(got), 0o644))
}
