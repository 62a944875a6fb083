package creds

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// A userView shows files as a user sees them who is not their owner and in no
// group of theirs.
type userView struct{ layout.Root }

func (v userView) Stat(name string) (fs.FileInfo, error) {
	steps, err := v.Steps(name)
	for _, s := range steps {
		if s.Info.IsDir() && s.Info.Mode()&0o001 == 0 && s.Path != name {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrPermission}
		}
	}
	if err != nil {
		return nil, err
	}
	return steps[len(steps)-1].Info, nil
}

func (v userView) ReadFile(name string) ([]byte, error) {
	info, err := v.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode()&0o004 == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return v.Root.ReadFile(name)
}

// What is in the way of a file: rights, links, things that are no files. Real
// programs say what is predicted, as root and as an ordinary user.
func TestDiskAsPeers(t *testing.T) {
	chmod := func(which func(layout.Files) string, mode fs.FileMode) func(*testing.T, string, layout.Files) {
		return func(t *testing.T, root string, f layout.Files) {
			if err := os.Chmod(filepath.Join(root, which(f)), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(which func(layout.Files) string, by func(path string) error) func(*testing.T, string, layout.Files) {
		return func(t *testing.T, root string, f layout.Files) {
			path := filepath.Join(root, which(f))
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := by(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	ca := func(f layout.Files) string { return f.CA }
	crl := func(f layout.Files) string { return f.CRL }
	dh := func(f layout.Files) string { return f.DH }
	optional := func(which func(layout.Files) string, do func(*testing.T, string, layout.Files)) func(*testing.T, string, layout.Files) {
		return func(t *testing.T, root string, f layout.Files) {
			if which(f) != "" {
				do(t, root, f)
			}
		}
	}
	cert := func(f layout.Files) string { return f.Pairs[0].Cert }
	key := func(f layout.Files) string { return f.Pairs[0].Key }
	keyDir := func(f layout.Files) string { return filepath.Dir(f.Pairs[0].Key) }
	directory := func(path string) error { return os.Mkdir(path, 0o755) }
	link := func(target string) func(string) error {
		return func(path string) error { return os.Symlink(target, path) }
	}
	tests := []struct {
		name string
		user bool
		do   func(*testing.T, string, layout.Files)
	}{
		{"all readable", true, func(*testing.T, string, layout.Files) {}},
		{"CA unreadable", true, chmod(ca, 0o600)},
		{"certificate unreadable", true, chmod(cert, 0o600)},
		{"key unreadable", true, chmod(key, 0o600)},
		{"CRL unreadable", true, optional(crl, chmod(crl, 0o600))},
		{"DH parameters unreadable", true, optional(dh, chmod(dh, 0o600))},
		{"directory of keys not enterable", true, chmod(keyDir, 0o700)},
		{"CA is a directory", false, replace(ca, directory)},
		{"certificate is a directory", false, replace(cert, directory)},
		{"key is a directory", false, replace(key, directory)},
		{"key is a dangling link", false, replace(key, link("nowhere"))},
		{"CA is a link to itself", false, replace(ca, link("itself.pem"))},
		{"CA is an absolute link", false, func(t *testing.T, root string, f layout.Files) {
			moved := filepath.Join(root, "etc/pki/moved.pem")
			if err := os.Rename(filepath.Join(root, f.CA), moved); err != nil {
				t.Fatal(err)
			}
			replace(ca, link("/etc/pki/moved.pem"))(t, root, f)
		}},
		{"CRL is a directory", false, optional(crl, replace(crl, directory))},
		{"DH parameters are a directory", false, optional(dh, replace(dh, directory))},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, name := range []string{QEMUServer, QEMUClient, LibvirtClient} {
			c := consumerOf(t, g, name)
			for _, test := range tests {
				if test.user && name == LibvirtClient {
					continue // an ordinary user's looks at the home directory first
				}
				t.Run(name+"/"+test.name, func(t *testing.T) {
					s := theWorld().good().with("crl", theWorld().crl(theWorld().root, testNow.Add(day)).PEM())
					if name == QEMUServer {
						s = s.with("dh", testDH)
					}
					root, names := s.place(t, c)
					readable(t, root)
					test.do(t, root, names)
					o := JudgeOptions{Root: root}
					tr := trial{g: g, c: c, root: root}
					if test.user {
						o.View = userView{layout.Root(root)}
						tr.opts.Unprivileged = true
					}
					tr.compare(t, c.Judge(names, o))
				})
			}
		}
	})
}

// readable lets everybody read what is below root.
func readable(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "etc"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Files that are larger than any credential are refused unread.
func TestTooLarge(t *testing.T) {
	for _, c := range []Consumer{ourselves(Server), ourselves(Client)} {
		for _, what := range []string{"ca", "cert", "key"} {
			s := theWorld().good()
			root, names := s.with(what, []byte(strings.Repeat("x", 1<<20+1))).place(t, c)
			if p := c.Judge(names, JudgeOptions{Root: root}).Refused(); p == nil || p.Finding.Code != kindTooLarge.Code {
				t.Errorf("%s of more than 1 MiB, %s: %+v", what, c.Endpoint, p)
			}
		}
	}
}
