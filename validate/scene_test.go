package validate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"virtls/finding"
	"virtls/layout"
)

// A cast is what scenes are made of, the same for all.
type cast struct {
	root, other          *cert
	server, client       *cert
	rsaServer, rsaClient *cert
	oldServer            *cert // expired
}

var players struct {
	once sync.Once
	cast
}

func newCast(t testing.TB) *cast {
	t.Helper()
	players.once.Do(func() {
		c := &players.cast
		c.root, c.other = authority(t, nil), authority(t, nil, called("Other CA"))
		c.server = leaf(t, c.root, layout.Server, keyed(newKey("ec")))
		c.client = leaf(t, c.root, layout.Client, called("client1"), keyed(newKey("ec")))
		c.rsaServer = leaf(t, c.root, layout.Server, keyed(keyOf("rsa2048")))
		c.rsaClient = leaf(t, c.root, layout.Client, keyed(keyOf("rsa2048")))
		c.oldServer = leaf(t, c.root, layout.Server, expired)
	})
	return &players.cast
}

// A layer is files by their path below a root.
type layer map[string][]byte

// put adds what a location holds: CA, and a certificate with its key.
func (f layer) put(t testing.TB, l layout.Location, ca []byte, r layout.Role, c *cert) layer {
	t.Helper()
	f[l.CA()] = ca
	if c != nil {
		f[l.Cert(r, layout.NoIndex)] = bundle(c)
		f[l.Key(r, layout.NoIndex)] = c.keyPEM(t)
	}
	return f
}

// write writes the files below a new directory: keys for their owner alone.
func (f layer) write(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range f {
		file := filepath.Join(root, name)
		mode := os.FileMode(0o644)
		if strings.Contains(filepath.Base(name), "key") {
			mode = 0o600
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var (
	qemuAt    = layout.System(layout.QEMU, "")
	libvirtAt = layout.System(layout.Libvirt, "")
)

// flat is a directory that holds all files of a service, below a scene's root.
func flat(s layout.Service) layout.Location { return layout.System(s, "/creds") }

// codes lists the codes of findings with their severities: "error cert-expired".
func codes(r *Result) (list []string) {
	for _, f := range r.Findings {
		if c := f.Severity.String() + " " + f.Code; !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}

// found returns the first finding with a code.
func found(t testing.TB, r *Result, code string) finding.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Code == code {
			return f
		}
	}
	t.Fatalf("there is no %s among %v", code, r.Findings)
	return finding.Finding{}
}
