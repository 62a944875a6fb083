package creds

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// full tells whether real programs are to look at everything.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// consumerOf returns the row of a generation's own build.
func consumerOf(t *testing.T, g peertest.Generation, name string) Consumer {
	t.Helper()
	version := g.Version(t, peertest.QEMU).Upstream
	if strings.HasPrefix(name, "libvirt-") {
		version = g.Version(t, peertest.Libvirt).Package
	}
	c, err := ConsumerFor(name, version)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A trial is real programs loading the files below a root directory.
type trial struct {
	g       peertest.Generation
	c       Consumer
	root    string
	objects []string // more of QEMU's objects
	extra   string   // more properties of QEMU's credential object
	conf    string   // more of libvirtd.conf
	off     bool     // without the sanity check
	opts    peertest.Options
}

// said returns whether the program loads the files, and what it says. Which is
// expected only matters to libvirtd, which has to be waited for.
func (r trial) said(t *testing.T, expected bool) (accepted bool, text string) {
	t.Helper()
	o := r.opts
	o.Mounts = map[string]string{"/etc/pki": filepath.Join(r.root, "etc/pki")}
	switch r.c.Name {
	case LibvirtServer:
		conf := r.conf
		if r.off {
			conf += "tls_no_sanity_certificate = 1\n"
		}
		daemon := r.g.Libvirtd(t, o, conf)
		if expected {
			return true, daemon.Ready().Stop().Stderr
		}
		return false, daemon.Refused().Stderr
	case LibvirtClient:
		uri := "test+tls://localhost:1/default"
		if r.off {
			uri += "?no_sanity=1"
		}
		got := r.g.Run(t, o, "virsh", "-c", uri, "uri")
		return strings.Contains(got.Stderr, "Connection refused"), got.Stderr // nobody listens there
	}
	object := fmt.Sprintf("tls-creds-x509,id=tls0,endpoint=%s,dir=/etc/pki/qemu%s", r.c.Endpoint, r.extra)
	if r.off {
		object += ",sanity-check=off"
	}
	args := []string{"info", "-f", "raw"}
	for _, o := range append(r.objects, object) {
		args = append(args, "--object", o)
	}
	got := r.g.Run(t, o, "qemu-img", append(args, "/etc/hosts")...)
	return got.Code == 0, got.Stderr
}

// compare has the program judge what Judge has judged.
func (r trial) compare(t *testing.T, j Judgement) {
	t.Helper()
	accepted, text := r.said(t, j.Accepted)
	want := ""
	if p := j.Refused(); p != nil {
		want = p.Text
	}
	if accepted != j.Accepted || !strings.Contains(text, want) {
		t.Errorf("%s %s: predicted %s\nthe program accepts: %t, and says: %s", r.g.Name, r.c, verdict(j), accepted, text)
	}
	for _, p := range j.Problems {
		if p.Finding.Code == kindDHDeprecated.Code && j.Accepted && !strings.Contains(text, p.Text) {
			t.Errorf("%s %s: no warning %q: %s", r.g.Name, r.c, p.Text, text)
		}
	}
}

// QEMU and libvirt of every generation make of the set-ups what their builds'
// rows predict, in these words.
func TestJudgeAsPeers(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, name := range ConsumerNames() {
			c := consumerOf(t, g, name)
			for _, s := range setups() {
				if !s.peer && !full() || s.name == circle && c.WholeChain {
					continue
				}
				if name == QEMUServer && !strings.HasPrefix(s.name, "DH ") && !c.WholeChain {
					s.files = s.files.with("dh", testDH) // or it takes a second to make some
				}
				root, names := s.files.place(t, c)
				for _, off := range []bool{false, true} {
					if off && !full() {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/off=%t", name, s.name, off), func(t *testing.T) {
						trial{g: g, c: c, root: root, off: off}.compare(t, c.Judge(names, JudgeOptions{Root: root, NoSanityCheck: off}))
					})
				}
			}
		}
	})
}

// Files that libvirtd.conf names must be there, up to 11.9 but for the
// revocation list.
func TestNamedAsPeers(t *testing.T) {
	const dir = "/etc/pki/own/"
	w := theWorld()
	content := map[string][]byte{"ca": pemOf(w.root), "crl": w.crl(w.root, testNow.Add(day)).PEM(), "cert": pemOf(w.leaf), "key": keyOf(w.leaf)}
	for _, missing := range []string{"nothing", "ca", "crl", "cert", "key"} {
		t.Run(missing, func(t *testing.T) {
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				c := consumerOf(t, g, LibvirtServer)
				root, usual := w.good().place(t, c) // which count for nothing
				if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
				for name, data := range content {
					if name != missing {
						writeFile(t, filepath.Join(root, dir, name), string(data))
					}
				}
				names := layout.Files{Service: layout.Libvirt, Role: layout.Server, CA: dir + "ca", CRL: dir + "crl",
					Pairs: []layout.Pair{{Index: layout.NoIndex, Cert: dir + "cert", Key: dir + "key"}},
					Named: true, CRLNamed: c.ParallelIdentities}
				conf := fmt.Sprintf("ca_file = %q\ncrl_file = %q\ncert_file = %q\nkey_file = %q\n", names.CA, names.CRL, dir+"cert", dir+"key")
				j := c.Judge(names, JudgeOptions{Root: root})
				if refuses := missing != "nothing" && (missing != "crl" || c.ParallelIdentities); refuses == j.Accepted {
					t.Errorf("%s: %s", c, verdict(j))
				}
				trial{g: g, c: c, root: root, conf: conf}.compare(t, j)
				if j := c.Judge(usual, JudgeOptions{Root: root}); !j.Accepted {
					t.Error(verdict(j))
				}
			})
		})
	}
}
