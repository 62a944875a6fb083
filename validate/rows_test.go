package validate

import (
	"strings"
	"testing"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
)

// By whom something is wanted is said in few words.
func TestDemand(t *testing.T) {
	known, err := newRun(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := newRun(t.Context(), Options{Against: []string{"QEMU-7.2", "QEMU-11.1"}})
	if err != nil {
		t.Fatal(err)
	}
	last := len(known.rows[creds.QEMUServer]) - 1
	var every []int
	for i := range known.rows[creds.LibvirtClient] {
		every = append(every, i)
	}
	tests := []struct {
		r    *run
		d    demand
		want string
	}{
		{known, demand{}, ""},
		{known, demand{"QEMU": {0, 1, 2, 3}}, "QEMU 7.2 to 10.0.7"},
		{known, demand{"QEMU": {last, last - 1}}, "QEMU 10.2 and newer"},
		{known, demand{"QEMU": {0, 2}}, "QEMU 7.2, 10.0"},
		{known, demand{"QEMU": {last}}, "QEMU 11.1"},
		{known, demand{"libvirt": every, "QEMU": {0}}, "QEMU 7.2, libvirt"},
		{asked, demand{"QEMU": {0}}, "QEMU 7.2"},
		{asked, demand{"QEMU": {1, 0}}, "QEMU 7.2 to 11.1"},
	}
	for _, tt := range tests {
		if got := tt.r.of(tt.d); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.d, got, tt.want)
		}
	}
}

// What follows from something else is left out, unless it alone explains a refusal.
func TestHide(t *testing.T) {
	files := layout.Files{CA: "/ca", Pairs: []layout.Pair{{Cert: "/cert", Key: "/key"}, {Cert: "/cert0", Key: "/key0"}}}
	p := func(code, subject string, refuses bool) problem {
		return problem{creds.Problem{Finding: finding.Finding{Code: code, Subject: subject}}, refuses}
	}
	tests := []struct {
		name string
		list []problem
		want string
	}{
		{"one file", []problem{p("cert-expired", "/cert", true), p("chain-untrusted", "/cert", true)}, "cert-expired"},
		{"another identity", []problem{p("cert-expired", "/cert", true), p("chain-untrusted", "/cert0", true)}, "cert-expired chain-untrusted"},
		{"the CA's file", []problem{p("anchor-expired", "/ca", true), p("chain-untrusted", "/cert0", true)}, "anchor-expired"},
		{"a pair", []problem{p("leaf-not-first", "/cert", true), p("private-key-mismatch", "/key", true)}, "leaf-not-first"},
		{"a warning hides no error", []problem{p("anchor-usage", "/ca", false), p("chain-untrusted", "/cert", true)}, "anchor-usage chain-untrusted"},
		{"nothing to do with it", []problem{p("cert-expired", "/cert", true), p("private-key-mismatch", "/key", true)}, "cert-expired private-key-mismatch"},
	}
	for _, tt := range tests {
		var got []string
		for _, left := range hide(tt.list, files) {
			got = append(got, left.Finding.Code)
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
	}
	for cause, hidden := range consequences {
		codes := map[string]bool{}
		for _, k := range finding.Catalogue() {
			codes[k.Code] = true
		}
		for _, code := range append(hidden, cause) {
			if !codes[code] {
				t.Errorf("there is no finding %s", code)
			}
		}
	}
}

// Paths of a host become paths of this machine.
func TestLocal(t *testing.T) {
	tree := &tree{root: "/srv/h1"}
	for text, want := range map[string]string{
		"/etc/pki/CA/cacert.pem":                      "/srv/h1/etc/pki/CA/cacert.pem",
		"/etc/libvirt/libvirtd.conf:7":                "/srv/h1/etc/libvirt/libvirtd.conf:7",
		"chmod 0600 /srv/h1/etc/pki/key":              "chmod 0600 /srv/h1/etc/pki/key",
		"the key of /a.pem, not of '/b.pem'":          "the key of /srv/h1/a.pem, not of '/srv/h1/b.pem'",
		"at most 5/6, O=a/b, virtls show FILE":        "at most 5/6, O=a/b, virtls show FILE",
		"restorecon -Rv /etc/pki/ && echo 'x' > /y z": "restorecon -Rv /srv/h1/etc/pki/ && echo 'x' > /srv/h1/y z",
	} {
		if got := tree.local(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
