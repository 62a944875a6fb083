package probe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The QEMU that serves an address is found by its arguments.
func TestQEMUOf(t *testing.T) {
	const object = " -object tls-creds-x509,id=a,dir=/pki/a,endpoint=server -object {\"qom-type\":\"tls-creds-x509\",\"id\":\"b\",\"dir\":\"/pki/b\",\"verify-peer\":true} -object secret,id=s,dir=/x"
	for _, tt := range []struct {
		args, at, socket string
		want             qemu
	}{
		{"/usr/bin/qemu-system-x86_64 -name guest=vm1,debug-threads=on -vnc 0.0.0.0:1,tls-creds=b,audiodev=x" + object, "192.0.2.1:5901", "", qemu{guest: "vm1", dir: "/pki/b"}},
		{"qemu-system-x86_64 -name vm2 -vnc :1,tls-creds=a" + object, "127.0.0.1:5901", "", qemu{guest: "vm2", dir: "/pki/a"}},
		{"/usr/libexec/qemu-kvm --vnc [::1]:1,tls-creds=a" + object, "[::1]:5901", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc localhost:1,tls-creds=a" + object, "127.0.0.1:5901", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc :1,websocket=on,tls-creds=a" + object, "127.0.0.1:5701", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc :1,websocket,tls-creds=a" + object, "127.0.0.1:5701", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc :1,websocket=7000,tls-creds=a" + object, "127.0.0.1:7000", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc :1,websocket=127.0.0.1:7000,tls-creds=a" + object, "127.0.0.1:7000", "", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -vnc unix:/run/a,,b,tls-creds=a" + object, "", "/run/a,b", qemu{dir: "/pki/a"}},
		{"qemu-system-x86_64 -object tls-creds-x509,id=a,dir=/pki/x,,y,endpoint=server -vnc :1,tls-creds=a", "127.0.0.1:5901", "", qemu{dir: "/pki/x,y"}},

		{"qemu-system-x86_64 -vnc :1,tls-creds=a" + object, "127.0.0.1:5902", "", qemu{}},
		{"qemu-system-x86_64 -vnc :1,tls-creds=a" + object, "127.0.0.1:5701", "", qemu{}},
		{"qemu-system-x86_64 -vnc :1,websocket=off,tls-creds=a" + object, "127.0.0.1:5701", "", qemu{}},
		{"qemu-system-x86_64 -vnc 192.0.2.9:1,tls-creds=a" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -vnc unix:/run/a,tls-creds=a" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -vnc :1,tls-creds=a" + object, "", "/run/a", qemu{}},
		{"qemu-system-x86_64 -vnc :1" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -vnc :1,tls-creds=s" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -vnc none" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -object {broken -vnc :1,tls-creds=a", "127.0.0.1:5901", "", qemu{}},
		{"vim -vnc :1,tls-creds=a" + object, "127.0.0.1:5901", "", qemu{}},
		{"qemu-system-x86_64 -vnc", "127.0.0.1:5901", "", qemu{}},
		{"", "127.0.0.1:5901", "", qemu{}},
	} {
		at, _ := netip.ParseAddrPort(tt.at)
		got, ok := qemuOf(strings.Split(tt.args, " "), at, tt.socket)
		if got.dir != tt.want.dir || ok && got != tt.want || ok != (tt.want.dir != "") {
			t.Errorf("%s at %s%s: %+v, %v; want %+v", tt.args, tt.at, tt.socket, got, ok, tt.want)
		}
	}
}

// Among the processes of a machine those of other networks are passed over.
func TestFindQEMU(t *testing.T) {
	proc := t.TempDir()
	process := func(number, network, args string) {
		dir := filepath.Join(proc, number)
		must(t, os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
		must(t, os.Symlink(network, filepath.Join(dir, "ns/net")))
		must(t, os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.ReplaceAll(args, " ", "\x00")+"\x00"), 0o644))
	}
	const args = "qemu-system-x86_64 -object tls-creds-x509,id=a,dir=/pki/DIR,endpoint=server -vnc :1,tls-creds=a"
	process("self", "net:[1]", "virtls")
	process("10", "net:[2]", strings.Replace(args, "DIR", "other", 1))
	process("11", "net:[1]", strings.Replace(args, "DIR", "ours", 1))
	process("12", "net:[1]", "")
	l := &Local{Proc: proc}
	if q, ok := l.qemu(netip.MustParseAddrPort("127.0.0.1:5901"), ""); !ok || q.dir != "/pki/ours" || q.root != filepath.Join(proc, "11/root") {
		t.Errorf("%+v, %v", q, ok)
	}
	for _, l := range []*Local{{}, {Proc: filepath.Join(proc, "none")}, {Proc: proc}} {
		if q, ok := l.qemu(netip.MustParseAddrPort("127.0.0.1:5999"), ""); ok {
			t.Errorf("%+v", q)
		}
	}
}

func FuzzQEMUOf(f *testing.F) {
	f.Add("qemu -vnc :1,tls-creds=a -object tls-creds-x509,id=a,dir=/x", "/s")
	f.Add("qemu -vnc unix:/s,tls-creds=a -object {\"id\":\"a\"}", "/s")
	f.Fuzz(func(t *testing.T, args, socket string) {
		if q, ok := qemuOf(strings.Split(args, " "), netip.MustParseAddrPort("127.0.0.1:5901"), socket); ok && q.dir == "" {
			t.Errorf("%q: %+v", args, q)
		}
	})
}
