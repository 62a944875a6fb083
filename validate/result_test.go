package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/layout"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// golden compares text with a file of testdata, without what changes from run to run.
func golden(t *testing.T, name, text, root string) {
	t.Helper()
	for _, v := range []struct{ pattern, with string }{
		{regexp.QuoteMeta(root), "ROOT"},
		{`[0-9a-f]{40}`, "SERIAL"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME"},
		{` \d{10}\n`, " SECONDS\n"},
		{`(days_left\{.*\} -?)[0-9.]+`, "${1}DAYS"},
	} {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.with)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s, to be made anew with -update (-want +got):\n%s", file, diff)
	}
}

// mixture has something good, something that releases disagree about and
// something bad.
func mixture(t *testing.T) (root string) {
	t.Helper()
	c := newCast(t)
	ca := bundle(c.root)
	f := layer{}.put(t, libvirtAt, ca, layout.Server, leaf(t, c.root, layout.Server, usageSignature))
	f.put(t, libvirtAt, ca, layout.Client, c.client)
	f.put(t, qemuAt, ca, layout.Server, c.oldServer)
	return f.write(t)
}

func usageSignature(o *order) { usage(1, true)(o) }

func TestPrint(t *testing.T) {
	root := mixture(t)
	r, err := Dir(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text, metrics, script bytes.Buffer
	if err := errors.Join(r.Print(&text), r.Prometheus(&metrics), Script(&script, Steps(r.Findings))); err != nil {
		t.Fatal(err)
	}
	golden(t, "print.golden", text.String(), root)
	golden(t, "prometheus.golden", metrics.String(), root)
	golden(t, "script.golden", script.String(), root)
}

// Of many directories only those with which something is wrong are printed.
func TestPrintMany(t *testing.T) {
	r := &Result{}
	for i := range 20 {
		r.Verdicts = append(r.Verdicts, Verdict{Subject: fmt.Sprintf("/%d", i), Consumer: "qemu-server", Version: "11.1", Accepted: i != 7, Says: map[bool]string{i == 7: "No"}[true]})
	}
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	want := "/7\n  qemu-server  refused  by QEMU 11.1: No\n19 other directories are accepted by every consumer and version.\n\nNothing is wrong in 20 directories.\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}

// The names that programs rely on.
func TestVerdictJSON(t *testing.T) {
	root := mixture(t)
	r, err := Dir(t.Context(), root, Options{For: []string{"qemu-server"}, Against: []string{"11.1"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r.Verdicts)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"subject":"` + root + `/etc/pki/qemu","consumer":"qemu-server","version":"11.1","accepted":false,"because":["cert-expired"],` +
		`"says":"The server certificate /etc/pki/qemu/server-cert.pem has expired"}]`
	if string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}

func TestForAndAgainst(t *testing.T) {
	root := mixture(t)
	tests := []struct {
		o    Options
		want []string
	}{
		{Options{For: []string{"libvirt-server"}, Against: []string{"9.0"}}, []string{"libvirt-server 9.0 false"}},
		{Options{For: []string{"libvirt-server"}, Against: []string{"11.3.0-3+deb13u3"}}, []string{"libvirt-server 11.3.0-3+deb13u3 true"}},
		{Options{For: []string{"libvirt-server"}, Against: []string{"9.0", "12.8"}}, []string{"libvirt-server 9.0 false", "libvirt-server 12.8 true"}},
		{Options{For: []string{"libvirt-client", "qemu-server"}, Against: []string{"11.1"}}, []string{"libvirt-client 11.1 true", "qemu-server 11.1 false"}},
		{Options{Against: []string{"11.1"}}, []string{"qemu-server 11.1 false"}},
		{Options{Against: []string{"libvirt-11.1"}}, []string{"libvirt-server 11.1 false", "libvirt-client 11.1 true"}},
		{Options{Against: []string{"QEMU 11.1", "12.8"}}, []string{"libvirt-server 12.8 true", "libvirt-client 12.8 true", "qemu-server 11.1 false"}},
		{Options{For: []string{"qemu-client"}, Against: []string{"7.2"}}, []string{"qemu-client 7.2 true"}},
	}
	for _, tt := range tests {
		r, err := Dir(t.Context(), root, tt.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range r.Verdicts {
			got = append(got, fmt.Sprintf("%s %s %t", v.Consumer, v.Version, v.Accepted))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v against %v (-want +got):\n%s", tt.o.For, tt.o.Against, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	root := mixture(t)
	tests := []struct {
		name, dir string
		o         Options
		code      string
		exit      int
	}{
		{"no directory", root + "/nothing", Options{}, "directory-unreadable", finding.ExitUnable},
		{"a file", root + "/etc/pki/CA/cacert.pem", Options{}, "directory-unreadable", finding.ExitUnable},
		{"consumer", root, Options{For: []string{"nginx"}}, "consumer-unknown", finding.ExitUsage},
		{"version", root, Options{Against: []string{"newest"}}, "consumer-version", finding.ExitUsage},
		{"version of one program alone", root, Options{Against: []string{"8.2"}}, "consumer-version", finding.ExitUsage},
		{"version of another", root, Options{For: []string{"qemu-server"}, Against: []string{"libvirt-9.0"}}, "version-not-for-consumer", finding.ExitUsage},
		{"user", root, Options{As: "nobody-here"}, "user-unknown", finding.ExitUsage},
	}
	for _, tt := range tests {
		_, err := Dir(t.Context(), tt.dir, tt.o)
		f, ok := errors.AsType[*finding.Failure](err)
		if !ok || f.Code != tt.code || f.Exit != tt.exit {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := Machine(t.Context(), Options{Root: layout.Root(root + "/nothing")}); finding.ExitCode(err) != finding.ExitUnable {
		t.Error(err)
	}
	r, err := Dir(t.Context(), t.TempDir(), Options{})
	if err != nil || !slices.Equal(codes(r), []string{"error no-credentials"}) {
		t.Error(r, err)
	}
}

// The places that a path stands for.
func TestDirs(t *testing.T) {
	c := newCast(t)
	ca := bundle(c.root)
	host := func(name string) layer {
		f := layer{}
		f.put(t, libvirtAt, ca, layout.Server, leaf(t, c.root, layout.Server, keyed(newKey("ec"))))
		g := layer{}
		for file, data := range f {
			g[name+file] = data
		}
		return g
	}
	fleet := layer{}
	for _, part := range []layer{host("/pki/hosts/kvm1.example.com"), host("/pki/hosts/kvm2.example.com")} {
		for file, data := range part {
			fleet[file] = data
		}
	}
	fleet["/pki/clients/admin/.pki/libvirt/cacert.pem"] = ca
	fleet["/pki/clients/admin/manifest.json"] = []byte("{}\n")
	base := fleet.write(t)
	tests := []struct {
		dir  string
		want []string
	}{
		{"/pki", []string{"/pki/hosts/kvm1.example.com/etc/pki", "/pki/hosts/kvm2.example.com/etc/pki", "/pki/clients/admin/.pki/libvirt"}},
		{"/pki/hosts", []string{"/pki/hosts/kvm1.example.com/etc/pki", "/pki/hosts/kvm2.example.com/etc/pki"}},
		{"/pki/hosts/kvm1.example.com/etc/pki", []string{"/pki/hosts/kvm1.example.com/etc/pki"}},
		{"/pki/hosts/kvm1.example.com/etc/pki/libvirt", []string{"/pki/hosts/kvm1.example.com/etc/pki"}},
		{"/pki/clients/admin", []string{"/pki/clients/admin/.pki/libvirt"}},
		{"/pki/clients/admin/.pki", []string{"/pki/clients/admin/.pki/libvirt"}},
		{"/pki/clients/admin/.pki/libvirt", []string{"/pki/clients/admin/.pki/libvirt"}},
	}
	for _, tt := range tests {
		r, err := Dir(t.Context(), base+tt.dir, Options{Against: []string{"12.8"}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range r.Verdicts {
			got = append(got, strings.TrimPrefix(v.Subject, base))
			if !v.Accepted {
				t.Errorf("%s: %+v", tt.dir, v)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.dir, diff)
		}
	}
	// A host's directory says by which name peers know it.
	r, err := Dir(t.Context(), base+"/pki/hosts/kvm1.example.com", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f := found(t, r, "cert-name-missing"); f.Want != "kvm1.example.com" {
		t.Error(f)
	}
}

// Hosts with one key can pose as each other.
func TestFleet(t *testing.T) {
	c := newCast(t)
	f := layer{}
	for _, host := range []string{"/h1", "/h2"} {
		for file, data := range (layer{}).put(t, qemuAt, bundle(c.root), layout.Server, c.server) {
			f[host+file] = data
		}
	}
	root := f.write(t)
	r, err := Dir(t.Context(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f := found(t, r, "key-on-several-hosts"); f.Subject != root+"/h2/etc/pki/qemu/server-key.pem" || f.Got != "the key of h1" {
		t.Error(f)
	}
	if r.Hosts != 2 || len(r.Certificates) != 4 {
		t.Errorf("%d hosts, %d certificates", r.Hosts, len(r.Certificates))
	}
}
