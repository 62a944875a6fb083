package ca

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
)

// backedUp makes a state with all kinds of files, and its backup.
func backedUp(t *testing.T) (s *State, backup string) {
	t.Helper()
	s, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	cert := issueOne(t, a, order(t, "kvm1"))
	_, err := s.Revoke(t.Context(), []string{cert.SerialHex()}, pki.Superseded)
	must(t, err)
	_, err = a.NewCRL(t.Context(), 0)
	must(t, err)
	_, err = s.RequestAuthority(t.Context(), AuthoritySpec{Name: "second", Subject: cn("Intermediate")})
	must(t, err)
	issueOne(t, a, orderWithFiles(t, s, "kvm2")) // its files are never placed
	backup = filepath.Join(t.TempDir(), "backup.tar")
	must(t, s.Export(t.Context(), backup))
	return s, backup
}

func TestBackup(t *testing.T) {
	s, backup := backedUp(t)
	info, err := os.Stat(backup)
	must(t, err)
	check(t, "mode of the backup", info.Mode().Perm(), os.FileMode(0o600))
	must(t, s.Export(t.Context(), backup)) // over the old one
	files := tree(t, s.Dir()+"/ca")

	dir := stateDir(t)
	must(t, Restore(t.Context(), backup, dir, Options{User: "bob"}))
	check(t, "authorities' files", tree(t, dir+"/ca"), files)
	check(t, "tree", names(t, dir), []string{"./ 0700", "ca/ 0700", "ca/ca-cert.pem 0644", "ca/ca-crl.pem 0644", "ca/ca-key.pem 0600",
		"ca/second-key.pem 0600", "ca/second-request.pem 0644", "version 0600"})
	restored := open(t, dir, Options{})
	check(t, "findings", codes(restored.Findings()), []string(nil))
	asJSON := func(list []register.Certificate) string { data, _ := json.Marshal(list); return string(data) }
	check(t, "certificates", asJSON(certificates(t, restored.Register(), filterAll)), asJSON(certificates(t, s.Register(), filterAll)))
	var kinds []string
	for e, err := range restored.Register().History(t.Context()) {
		must(t, err)
		kinds = append(kinds, e.Kind)
	}
	check(t, "history", kinds, []string{"create", "issue", "revoke", "crl", "request", "issue", "export", "export", "restore"})
	a, err := restored.Authority(t.Context(), "ca")
	must(t, err)
	must(t, a.Unlock(nil))
	issueOne(t, a, order(t, "kvm3"))

	err = Restore(t.Context(), backup, s.Dir(), Options{})
	checkFailure(t, err, kindStateLocked, finding.ExitUnable)
	must(t, restored.Close())
	before := tree(t, dir)
	checkFailure(t, Restore(t.Context(), backup, dir, Options{}), kindAuthorityExists, finding.ExitUnable)
	check(t, "after a refused restore", tree(t, dir), before)

	// An authority that is only in the register is one, too.
	must(t, os.RemoveAll(dir+"/ca"))
	checkFailure(t, Restore(t.Context(), backup, dir, Options{}), kindAuthorityExists, finding.ExitUnable)
}

// rewrite returns a backup with its files changed.
func rewrite(t *testing.T, backup string, change func(head *tar.Header, data []byte) (*tar.Header, []byte)) []byte {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(read(t, backup)))
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for {
		head, err := in.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		data, err := io.ReadAll(in)
		must(t, err)
		if head, data = change(head, data); head != nil {
			head.Size = int64(len(data))
			must(t, w.WriteHeader(head))
			_, err = w.Write(data)
			must(t, err)
		}
	}
	must(t, w.Close())
	return out.Bytes()
}

func TestRestoreRefuses(t *testing.T) {
	_, backup := backedUp(t)
	good := read(t, backup)
	manifestWith := func(change func(m *manifest)) func(*tar.Header, []byte) (*tar.Header, []byte) {
		return func(head *tar.Header, data []byte) (*tar.Header, []byte) {
			if head.Name == manifestName {
				var m manifest
				must(t, json.Unmarshal(data, &m))
				change(&m)
				var err error
				data, err = json.Marshal(m)
				must(t, err)
			}
			return head, data
		}
	}
	onFile := func(name string, change func(*tar.Header, []byte) (*tar.Header, []byte)) func(*tar.Header, []byte) (*tar.Header, []byte) {
		return func(head *tar.Header, data []byte) (*tar.Header, []byte) {
			if head.Name == name {
				return change(head, data)
			}
			return head, data
		}
	}
	type row struct {
		name string
		data []byte
		kind *finding.Kind
	}
	tests := []row{
		{"empty", nil, kindBackup},
		{"short text", []byte("organization: Example Org\n"), kindNoBackup},
		{"garbage", bytes.Repeat([]byte("garbage "), 1000), kindNoBackup},
		{"changed register", rewrite(t, backup, onFile(registerFile, func(h *tar.Header, b []byte) (*tar.Header, []byte) { b[5000] ^= 1; return h, b })), kindBackup},
		{"longer key", rewrite(t, backup, onFile("ca/ca-key.pem", func(h *tar.Header, b []byte) (*tar.Header, []byte) { return h, append(b, '\n') })), kindBackup},
		{"missing file", rewrite(t, backup, onFile("ca/ca-key.pem", func(*tar.Header, []byte) (*tar.Header, []byte) { return nil, nil })), kindBackup},
		{"link", rewrite(t, backup, onFile("ca/ca-crl.pem", func(h *tar.Header, b []byte) (*tar.Header, []byte) {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd"
			return h, nil
		})), kindBackup},
		{"more files", rewrite(t, backup, manifestWith(func(m *manifest) { m.Files = m.Files[:len(m.Files)-1] })), kindBackup},
		{"path outside", rewrite(t, backup, func(h *tar.Header, b []byte) (*tar.Header, []byte) {
			if h.Name == "ca/ca-crl.pem" {
				h.Name = "ca/../../x-crl.pem"
			}
			return manifestWith(func(m *manifest) {
				for i := range m.Files {
					if m.Files[i].Name == "ca/ca-crl.pem" {
						m.Files[i].Name = "ca/../../x-crl.pem"
					}
				}
			})(h, b)
		}), kindBackup},
		{"no register", rewrite(t, backup, func(h *tar.Header, b []byte) (*tar.Header, []byte) {
			if h.Name == registerFile {
				return nil, nil
			}
			return manifestWith(func(m *manifest) { m.Files = m.Files[1:] })(h, b)
		}), kindBackup},
		{"same file twice", rewrite(t, backup, manifestWith(func(m *manifest) { m.Files = append(m.Files, m.Files[0]) })), kindBackup},
		{"no schema", rewrite(t, backup, manifestWith(func(m *manifest) { m.Schema = 0 })), kindBackup},
		{"newer", rewrite(t, backup, manifestWith(func(m *manifest) { m.Schema++ })), kindBackupTooNew},
		{"too many files", rewrite(t, backup, manifestWith(func(m *manifest) { m.Files = make([]manifestFile, maxBackupFiles+1) })), kindBackup},
	}
	for n := 512; n < len(good)-1024; n += 3*4096 + 512 {
		tests = append(tests, row{fmt.Sprintf("cut after %d octets", n), good[:n], kindBackup}, row{fmt.Sprintf("cut after %d octets", n+100), good[:n+100], kindBackup})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			path := write(t, t.TempDir(), "backup.tar", test.data)
			err := Restore(t.Context(), path, dir, Options{})
			checkFailure(t, err, test.kind, finding.ExitUnable)
			check(t, "left behind", names(t, dir), []string{"./ 0700", "version 0600"})
			// The same directory takes a good backup afterwards.
			must(t, Restore(t.Context(), backup, dir, Options{}))
		})
	}
	checkFailure(t, Restore(t.Context(), filepath.Join(t.TempDir(), "none"), stateDir(t), Options{}), kindNoBackup, finding.ExitUnable)
}

// restoreScenario restores dir.tar into dir.
func restoreScenario(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, restoreDir)); errors.Is(err, fs.ErrNotExist) {
		if names, err := os.ReadDir(filepath.Join(dir, authorityDir)); err == nil && len(names) > 0 {
			return nil // the killed one had come to its end
		}
	}
	return Restore(ctx, dir+".tar", dir, Options{})
}

func TestRestoreKilledAtEveryStep(t *testing.T) {
	s, backup := backedUp(t)
	files := tree(t, s.Dir()+"/ca")
	everyStep(t, "restore", func(t *testing.T, dir string) {
		write(t, filepath.Dir(dir), "pki.tar", read(t, backup))
	}, func(t *testing.T, dir string) {
		judgeTree(t, dir)
		runChild(t, "restore", dir, 0)
		check(t, "files", tree(t, dir+"/ca"), files)
		noTemps(t, dir)
		restored := open(t, dir, Options{ReadOnly: true})
		check(t, "certificates", len(certificates(t, restored.Register(), filterAll)), 2)
		must(t, restored.Close())
	})
}

// exportScenario writes a backup of dir to dir.tar.
func exportScenario(ctx context.Context, dir string) error {
	s, err := OpenState(ctx, dir, Options{})
	if err != nil {
		return err
	}
	if err := s.Export(ctx, dir+".tar"); err != nil {
		return err
	}
	return s.Close()
}

func TestExportKilledAtEveryStep(t *testing.T) {
	everyStep(t, "export", func(t *testing.T, dir string) {
		s, _ := newCA(t, dir, Options{}, AuthoritySpec{})
		must(t, s.Close())
	}, func(t *testing.T, dir string) {
		if _, err := os.Stat(dir + ".tar"); err == nil {
			must(t, Restore(t.Context(), dir+".tar", dir+"-restored", Options{}))
		}
		runChild(t, "export", dir, 0)
		noTemps(t, dir)
		must(t, Restore(t.Context(), dir+".tar", dir+"-again", Options{}))
	})
}

func FuzzUnpack(f *testing.F) {
	var small bytes.Buffer
	w := tar.NewWriter(&small)
	m, err := json.Marshal(manifest{Schema: 1, Files: []manifestFile{{"register.db", 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"}, {Name: "ca/ca-key.pem"}}})
	if err != nil {
		f.Fatal(err)
	}
	w.WriteHeader(&tar.Header{Name: manifestName, Size: int64(len(m)), Mode: 0o600})
	w.Write(m)
	w.WriteHeader(&tar.Header{Name: "register.db", Size: 1, Mode: 0o600})
	w.Write([]byte{0})
	w.Close()
	f.Add(small.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		s := &State{dir: filepath.Join(dir, "pki")}
		must(t, os.MkdirAll(s.path(unpackDir, authorityDir), 0o700))
		in := tar.NewReader(bytes.NewReader(data))
		if _, err := in.Next(); err != nil {
			return
		}
		list, err := io.ReadAll(io.LimitReader(in, maxManifest))
		if err != nil {
			return
		}
		s.unpack(t.Context(), "backup", list, in)
		entries, err := os.ReadDir(dir)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("written outside the directory: %v", entries)
		}
	})
}
