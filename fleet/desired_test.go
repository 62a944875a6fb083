package fleet

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"virtls/layout"
)

// fleets are the files testdata/NAME.yaml, for golden files and as seeds.
var fleets = []string{"hybrid", "exclusive", "modular", "psk", "unknown"}

// eachFleet runs f for the README's fleet and those in testdata.
func eachFleet(t *testing.T, f func(t *testing.T, name string, file *File)) {
	t.Run("example", func(t *testing.T) { f(t, "example", example(t)) })
	for _, name := range fleets {
		t.Run(name, func(t *testing.T) {
			file, err := Load(filepath.Join("testdata", name+".yaml"))
			must(t, err)
			f(t, name, file)
		})
	}
}

// What every holder is to have: subjects, names, identities and their files.
func TestHolders(t *testing.T) {
	eachFleet(t, func(t *testing.T, name string, file *File) {
		var b strings.Builder
		for h, err := range file.Holders {
			must(t, err)
			fmt.Fprintf(&b, "%s %s\n  subject %s\n", h.Kind, h.Name, h.Subject)
			for _, n := range h.Names {
				fmt.Fprintf(&b, "  name %s\n", n)
			}
			for _, id := range h.Identities {
				fmt.Fprintf(&b, "  %s %s\n", id.Slot, id.Key)
				for _, p := range id.Places {
					fmt.Fprintf(&b, "    %s %s\n    %s %s\n", p.Role, p.Cert.Path, p.Role, p.Key.Path)
				}
			}
			for _, l := range h.Locations {
				fmt.Fprintf(&b, "  trusts %s\n", l.CA())
			}
		}
		golden(t, name+".holders.golden", b.String())
	})
}

// What makes the files live, for every kind of host.
func TestActivation(t *testing.T) {
	eachFleet(t, func(t *testing.T, name string, file *File) {
		var b strings.Builder
		for h, err := range file.Holders {
			must(t, err)
			checkActivation(t, file, h)
			files := file.activation(h)
			for _, f := range sortedKeys(files) {
				fmt.Fprintf(&b, "== %s %s\n%s", h.ID(), f, files[f])
			}
		}
		golden(t, name+".activation.golden", b.String())
	})
}

// The manifest of a holder with everything in it.
func TestManifest(t *testing.T) {
	eachFleet(t, func(t *testing.T, name string, file *File) {
		r := &run{file: file, dir: "/state", bundles: map[bool][]byte{true: []byte("all"), false: []byte("classical")}, crls: map[bool][]byte{}}
		var b strings.Builder
		for h, err := range file.Holders {
			must(t, err)
			docs, err := r.documents(h)
			must(t, err)
			fmt.Fprintf(&b, "== %s\n", h.ID())
			for _, e := range h.entries(docs) {
				m := h.resolved(e)
				fmt.Fprintf(&b, "%s %s %s:%s %s %s secret=%t %.8s\n", m.ModeText, m.Type, m.Owner, m.Group, m.Path, m.SELinux, m.Secret, m.SHA256)
			}
			checkStaysInside(t, r, h)
		}
		golden(t, name+".manifest.golden", b.String())
	})
}

// A manifest reads as it was written, and refuses what is no mode.
func TestManifestJSON(t *testing.T) {
	e := ManifestEntry{Entry: layout.System(layout.QEMU, "").Secret("/etc/pki/qemu/server-key.pem"), ModeText: "0640"}
	data, err := json.Marshal(e)
	must(t, err)
	check(t, "JSON", string(data), `{"path":"/etc/pki/qemu/server-key.pem","type":"file","owner":"root","group":"@qemu","selinux":"cert_t","secret":true,"mode":"0640"}`)
	var back ManifestEntry
	must(t, back.UnmarshalJSON(data))
	check(t, "read back", back, e)
	for _, mode := range []string{"", "rw", "4755", "99", "0640x"} {
		if err := back.UnmarshalJSON([]byte(strings.Replace(string(data), "0640", mode, 1))); err == nil {
			t.Errorf("mode %q is accepted", mode)
		}
	}
}

// Holders stops when its caller does.
func TestHoldersStops(t *testing.T) {
	n := 0
	for range example(t).Holders {
		n++
		break
	}
	for h := range example(t).Holders {
		if n++; h.Kind == "client" {
			break
		}
	}
	check(t, "seen", n, 4)
}

func TestShortName(t *testing.T) {
	for name, want := range map[string]string{"kvm1.example.com": "kvm1", "kvm1": "", "a.b": "a"} {
		check(t, name, ShortName(name), want)
	}
}
