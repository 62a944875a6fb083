package ca

import (
	"archive/tar"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
)

// doctored returns a backup whose register somebody has changed, and whose
// manifest is right about it.
func doctored(t *testing.T, backup string, statements ...string) []byte {
	t.Helper()
	var doctored []byte
	rewrite(t, backup, func(h *tar.Header, data []byte) (*tar.Header, []byte) {
		if h.Name != registerFile {
			return h, data
		}
		path := write(t, t.TempDir(), registerFile, data)
		db, err := sql.Open("sqlite", path)
		must(t, err)
		for _, statement := range statements {
			_, err = db.Exec(statement)
			must(t, err)
		}
		must(t, db.Close())
		doctored = read(t, path)
		return h, data
	})
	return rewrite(t, backup, func(h *tar.Header, data []byte) (*tar.Header, []byte) {
		switch h.Name {
		case registerFile:
			return h, doctored
		case manifestName:
			var m manifest
			must(t, json.Unmarshal(data, &m))
			sum := sha256.Sum256(doctored)
			m.Files[0].Size, m.Files[0].SHA256 = int64(len(doctored)), hex.EncodeToString(sum[:])
			var err error
			data, err = json.Marshal(m)
			must(t, err)
		}
		return h, data
	})
}

// A backup cannot have its restorer write files elsewhere.
func TestRestoreRefusesWhatActs(t *testing.T) {
	_, backup := backedUp(t)
	victim := filepath.Join(t.TempDir(), "victim")
	row := `'{"content":"` + "ZXZpbA==" + `","paths":["` + victim + `"]}'`
	tests := []struct {
		name       string
		statements []string
		kind       *finding.Kind
	}{
		{"files to be placed", []string{"INSERT INTO pending (files) VALUES (" + row + ")"}, kindBackup},
		{"a trigger that places files", []string{"CREATE TRIGGER t AFTER INSERT ON events BEGIN INSERT INTO pending (files) VALUES (" + row + "); END"}, nil},
		{"a view", []string{"CREATE VIEW v AS SELECT 1"}, nil},
		{"history that can be changed", []string{"DROP TRIGGER events_delete"}, nil},
		{"another trigger of the same name", []string{"DROP TRIGGER events_delete", "CREATE TRIGGER events_delete BEFORE DELETE ON events BEGIN SELECT 1; END"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			path := write(t, t.TempDir(), "backup.tar", doctored(t, backup, test.statements...))
			err := Restore(t.Context(), path, dir, Options{})
			f, ok := errors.AsType[*finding.Failure](err)
			if want := "register-damaged"; test.kind == nil && (!ok || f.Code != want) {
				t.Errorf("error %v, want %s", err, want)
			} else if test.kind != nil {
				checkFailure(t, err, test.kind, finding.ExitUnable)
			}
			check(t, "left behind", names(t, dir), []string{"./ 0700", "version 0600"})
			open(t, dir, Options{}).Close()
			if _, err := os.Lstat(victim); err == nil {
				t.Error("the backup wrote a file")
			}
		})
	}
	dir := stateDir(t)
	must(t, Restore(t.Context(), write(t, t.TempDir(), "backup.tar", doctored(t, backup)), dir, Options{}))
}

// A journal that somebody has written into makes OpenState neither replace nor
// move nor read what no run of virtls would have left to it.
func TestDoctoredJournal(t *testing.T) {
	const precious = "precious"
	type files struct{ out, victim, cert string } // a directory, a file in it, and a certificate in PEM form
	tests := []struct {
		name string
		row  func(t *testing.T, f files) register.Placement
		made string // what may appear in the directory
	}{
		{"replaces a file", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte(f.cert), Paths: []string{f.victim}}
		}, ""},
		{"replaces a link", func(t *testing.T, f files) register.Placement {
			must(t, os.Symlink(f.victim, f.out+"/link"))
			return register.Placement{Content: []byte(f.cert), Paths: []string{f.out + "/link"}}
		}, ""},
		{"writes a crontab", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte("* * * * * root sh\n"), Paths: []string{f.out + "/crontab"}}
		}, ""},
		{"hides a crontab in a certificate", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte("* * * * * root sh\n" + f.cert), Paths: []string{f.out + "/crontab"}}
		}, ""},
		{"writes out of the state by a relative path", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte(f.cert), Paths: []string{"../../" + filepath.Base(f.out) + "/victim"}}
		}, ""},
		{"writes out of the state by a path that begins in it", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte(f.cert), Paths: []string{"STATE/.." + f.victim}}
		}, ""},
		{"moves a file", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Key: f.victim, KeyPaths: []string{f.out + "/moved"}, Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, ""},
		{"moves a temporary file from elsewhere", func(t *testing.T, f files) register.Placement {
			must(t, os.Mkdir(f.out+"/sub", 0o700))
			return register.Placement{Key: write(t, f.out+"/sub", ".key.pem.tmp-abcdefgh", []byte(precious)), KeyPaths: []string{f.out + "/key.pem"}, Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, ""},
		{"a key without a place", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Key: f.victim, Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, ""},
		{"copies what a link leads to", func(t *testing.T, f files) register.Placement {
			must(t, os.Symlink(f.victim, f.out+"/.key.pem.tmp-abcdefgh"))
			return register.Placement{Key: f.out + "/.key.pem.tmp-abcdefgh", KeyPaths: []string{f.out + "/key.pem", f.out + "/sub/copy.pem"}, Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, ""},
		{"replaces a key", func(t *testing.T, f files) register.Placement {
			return register.Placement{Key: write(t, f.out, ".victim.tmp-abcdefgh", []byte("another")), KeyPaths: []string{f.victim}, Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, ""},
		{"what a killed run may have left", func(_ *testing.T, f files) register.Placement {
			return register.Placement{Content: []byte(f.cert), Paths: []string{f.out + "/cert.pem"}}
		}, "cert.pem"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, out := stateDir(t), t.TempDir()
			s, a := newCA(t, dir, Options{}, AuthoritySpec{})
			cert := issueOne(t, a, order(t, "kvm1"))
			p := test.row(t, files{out, write(t, out, "victim", []byte(precious)), string(cert.PEM())})
			for i := range p.Paths {
				// As somebody would write it who has the register alone.
				p.Paths[i] = strings.Replace(p.Paths[i], "STATE", dir+strings.Repeat("/..", strings.Count(dir, "/")-1), 1)
			}
			must(t, s.update(t.Context(), "test", "", func(tx *register.Tx) error { return tx.AddPending(&p) }))
			before := names(t, out)
			must(t, s.Close())

			s = open(t, dir, Options{})
			check(t, "pending", pending(t, s), 0)
			check(t, "victim", string(read(t, out+"/victim")), precious)
			if test.made != "" {
				check(t, "findings", codes(s.Findings()), []string{kindFinished.Code})
				check(t, "made", len(names(t, out)), len(before)+1)
				read(t, filepath.Join(out, test.made))
				return
			}
			check(t, "findings", codes(s.Findings()), []string{kindAbandoned.Code})
			check(t, "files", names(t, out), before)
		})
	}
}

// What was placed before the kill is not written again, whoever has it now.
func TestPlacedBeforeTheKill(t *testing.T) {
	dir, out := stateDir(t), t.TempDir()
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	o := order(t, "kvm1")
	o.Place = &register.Placement{Paths: []string{out + "/a.pem", out + "/b.pem"}}
	cert := issueOne(t, a, o)
	write(t, out, "a.pem", cert.PEM())
	must(t, os.Chmod(out+"/a.pem", 0o600))
	s.abandon()
	s = open(t, dir, Options{})
	check(t, "findings", codes(s.Findings()), []string{kindFinished.Code})
	check(t, "files", names(t, out)[1:], []string{"a.pem 0600", "b.pem 0644"})
	certs, err := pki.ParseCertificatesPEM(read(t, out+"/b.pem"))
	must(t, err)
	check(t, "certificate", pki.SameCertificate(certs[0], cert), true)
}
