package libvirt

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"virtls/finding"
	"virtls/internal/peertest"
)

var uris = []struct {
	text   string
	want   URI
	remote string // what the server opens; empty if it is nobody's remote driver's
}{
	{"qemu://kvm1.example.com/system", URI{Driver: "qemu", Transport: TLS, Host: "kvm1.example.com", Port: 16514, Path: "/system"}, "qemu:///system"},
	{"qemu+tls://kvm1:10/system?pkipath=/a%20b/c+d&no_verify=1", URI{Driver: "qemu", Transport: TLS, Host: "kvm1", Port: 10, Path: "/system", PKIPath: "/a b/c+d", NoVerify: true}, "qemu:///system"},
	{"qemu+tls:///system", URI{Driver: "qemu", Transport: TLS, Host: "localhost", Port: 16514, Path: "/system"}, "qemu:///system"},
	{"test+tls://[::1]:10/default", URI{Driver: "test", Transport: TLS, Host: "::1", Port: 10, Path: "/default"}, "test:///default"},
	{"test://h/default?PKIPath=/x;TLS_priority=NORMAL%3a-VERS-TLS1.3&no_sanity=2", URI{
		Driver: "test", Transport: TLS, Host: "h", Port: 16514, Path: "/default", PKIPath: "/x", Priority: "NORMAL:-VERS-TLS1.3", NoSanity: true}, "test:///default"},
	{"test://h/default?name=test:///other", URI{Driver: "test", Transport: TLS, Host: "h", Port: 16514, Path: "/default", Name: "test:///other"}, "test:///other"},
	{"vpx://u@h/dc/cluster?foo=bar", URI{Driver: "vpx", Transport: TLS, Host: "h", Port: 16514, Path: "/dc/cluster", User: "u"}, "vpx:///dc/cluster?foo=bar"},
	{"qemu:///system", URI{Driver: "qemu", Transport: Unix, Host: "localhost", Path: "/system"}, "qemu:///system"},
	{"qemu+tcp://h/system", URI{Driver: "qemu", Transport: TCP, Host: "h", Port: 16509, Path: "/system"}, "qemu:///system"},
	{"qemu+ssh://root@h/system?keyfile=/k", URI{Driver: "qemu", Transport: "ssh", Host: "h", Path: "/system", User: "root"}, "qemu:///system"},
	{"test+tls://h", URI{Driver: "test", Transport: TLS, Host: "h", Port: 16514}, "test://"},
	{"test+tls://h/a%20b", URI{Driver: "test", Transport: TLS, Host: "h", Port: 16514, Path: "/a b"}, "test:///a%20b"},
}

func TestParseURI(t *testing.T) {
	for _, tt := range uris {
		t.Run(tt.text, func(t *testing.T) {
			u, err := ParseURI(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *u, cmpopts.IgnoreUnexported(URI{})); diff != "" {
				t.Error(diff)
			}
			if got := u.Remote(); got != tt.remote {
				t.Errorf("the server opens %q, want %q", got, tt.remote)
			}
		})
	}
}

func TestParseURIRefused(t *testing.T) {
	for _, text := range []string{
		"", "kvm1", "qemu:system", "://h", "+tls://h/", "qemu+://h/", "qemu://h:0/", "qemu://h:70000/", "qemu://h:x/", "qemu://h/%zz",
		"qemu://h/?no_verify=yes", "qemu://h/?no_verify", "qemu://h/?pkipath=%zz", "qemu://h/#x", "qemu://h\x00/", strings.Repeat("x", 1000),
	} {
		u, err := ParseURI(text)
		if err == nil || finding.Of(err).Code != "libvirt-uri" {
			t.Errorf("%q: %+v, %v", text, u, err)
		}
	}
}

var proceeding = regexp.MustCompile(`proceeding with name = (\S*)`)

// The real client makes the same of URIs.
func TestPeerURI(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range uris {
			if strings.Contains(tt.text, "ssh") || strings.HasPrefix(tt.text, "qemu:///") || strings.HasPrefix(tt.text, "vpx") {
				continue // others than the remote driver's TLS
			}
			got := g.Run(t, peertest.Options{Env: []string{"LIBVIRT_LOG_FILTERS=1:remote", "LIBVIRT_LOG_OUTPUTS=1:stderr"}}, "virsh", "-c", tt.text, "uri")
			m := proceeding.FindStringSubmatch(got.Stderr)
			if m == nil {
				t.Errorf("%s: virsh opens nothing: %v", tt.text, got)
			} else if m[1] != tt.remote {
				t.Errorf("%s: virsh has the server open %q, virtls %q", tt.text, m[1], tt.remote)
			}
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, tt := range uris {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err != nil {
			return
		}
		if u.Driver == "" || u.Transport == "" || u.Host == "" || u.Port < 0 || u.Port > 65535 {
			t.Errorf("%q: %+v", text, u)
		}
		// What the server is to open is a URI without a host, unless it was given as it is.
		if u.Name == "" && !strings.HasPrefix(u.Remote(), u.Driver+"://") {
			t.Errorf("%q: the server opens %q", text, u.Remote())
		}
	})
}
