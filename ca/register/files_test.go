package register

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/finding"
)

func TestFiles(t *testing.T) {
	// A path that means something else in a URI.
	dir := filepath.Join(t.TempDir(), "a b?mode=rw#c%20d&e")
	must(t, os.Mkdir(dir, 0o700))
	path := filepath.Join(dir, "register.db")
	_, err := OpenReadOnly(path)
	checkFailure(t, err, "register-missing", finding.ExitUnable)
	names := func() (names []string) {
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			names = append(names, fmt.Sprintf("%s %04o", e.Name(), info.Mode().Perm()))
		}
		return names
	}
	check(t, "made by a reader", names(), []string(nil))
	db, err := Open(path)
	must(t, err)
	err = db.Update(t.Context(), testNow, testAct, func(tx *Tx) error {
		_, err := tx.AddAuthority("ca", issue(t, "CA", 1))
		// The journal holds what the register holds, so it has the same mode.
		check(t, "in a transaction", names(), []string{"register.db 0600", "register.db-journal 0600"})
		return err
	})
	must(t, err)
	check(t, "after a transaction", names(), []string{"register.db 0600"})
	reader, err := OpenReadOnly(path)
	must(t, err)
	for _, err := range reader.List(t.Context(), Filter{}) {
		must(t, err)
	}
	check(t, "with a reader", names(), []string{"register.db 0600"})
	if err := reader.Update(t.Context(), testNow, testAct, nil); err == nil {
		t.Error("a reader wrote")
	}
	must(t, reader.Close())
	must(t, db.Close())
	check(t, "after all", names(), []string{"register.db 0600"})
}

func checkFailure(t *testing.T, err error, code string, exit int) {
	t.Helper()
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok || f.Code != code || f.Exit != exit {
		t.Errorf("error %v, want finding %s with exit code %d", err, code, exit)
		return
	}
	if f.Fix == "" || f.Text == "" {
		t.Errorf("%s says not what to do: %+v", code, f)
	}
}

func TestUnusableFiles(t *testing.T) {
	valid := func(t *testing.T) string {
		db := openNew(t)
		fleet(t, db, 30)
		must(t, db.Close())
		return db.path
	}
	edit := func(change func(data []byte) []byte) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := valid(t)
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, change(data), 0o600))
			return path
		}
	}
	query := func(statement string) func(t *testing.T) string {
		return func(t *testing.T) string {
			path := valid(t)
			db, err := sql.Open("sqlite", path)
			must(t, err)
			defer db.Close()
			_, err = db.Exec(statement)
			must(t, err)
			return path
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T) string
		code string
	}{
		{"garbage", edit(func([]byte) []byte { return []byte(strings.Repeat("no database ", 1000)) }), "register-damaged"},
		{"one page", edit(func(b []byte) []byte { return b[:4096] }), "register-damaged"},
		{"overwritten", edit(func(b []byte) []byte { clear(b[4096:]); return b }), "register-damaged"},
		{"another program's", query("PRAGMA application_id = 0"), "register-damaged"},
		{"newer", query("PRAGMA user_version = 99"), "state-too-new"},
		{"directory", func(t *testing.T) string { return t.TempDir() }, "register-unusable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := test.make(t)
			for name, open := range map[string]func(string) (*DB, error){"for writing": Open, "for reading": OpenReadOnly} {
				db, err := open(path)
				if err == nil {
					err = readAll(t, db)
					db.Close()
				}
				t.Log(name, err)
				checkFailure(t, err, test.code, finding.ExitUnable)
			}
		})
	}
}

// A reader meets a transaction that a killed writer has not finished.
func TestHotJournal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "register.db")
	db, err := Open(path)
	must(t, err)
	defer db.Close()
	authority, _ := fleet(t, db, 3)
	// The copy of both files in the middle of a transaction is what a kill leaves.
	killed := filepath.Join(t.TempDir(), "register.db")
	update(t, db, func(tx *Tx) error {
		if _, err := tx.tx.Exec("PRAGMA cache_size = 1"); err != nil {
			return err
		}
		for i := range 2000 {
			if _, err := tx.AddUnseen(authority, fmt.Sprintf("%08x", i), strings.Repeat("x", 100), testNow); err != nil {
				return err
			}
		}
		for _, suffix := range []string{"", "-journal"} {
			data, err := os.ReadFile(path + suffix)
			must(t, err)
			must(t, os.WriteFile(killed+suffix, data, 0o600))
		}
		return nil
	})
	if _, err := OpenReadOnly(killed); !errors.Is(err, ErrNeedsWriter) {
		t.Fatalf("error %v, want ErrNeedsWriter", err)
	}
	writer, err := Open(killed)
	must(t, err)
	defer writer.Close()
	check(t, "certificates after the rollback", len(hosts(t, writer, Filter{})), 3)
	must(t, writer.Check(t.Context()))
	reader, err := OpenReadOnly(killed)
	must(t, err)
	must(t, reader.Close())
}

func TestSnapshot(t *testing.T) {
	db := openNew(t)
	fleet(t, db, 3)
	update(t, db, func(tx *Tx) error { return tx.AddPending(&Placement{Paths: []string{"x"}}) })
	path := filepath.Join(t.TempDir(), "copy.db")
	must(t, db.Snapshot(t.Context(), path))
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	check(t, "files", len(entries), 1)
	info, err := os.Stat(path)
	must(t, err)
	check(t, "mode", info.Mode().Perm(), os.FileMode(0o600))
	snapshot, err := OpenReadOnly(path)
	must(t, err)
	defer snapshot.Close()
	check(t, "certificates", hosts(t, snapshot, Filter{}), hosts(t, db, Filter{}))
	for p := range snapshot.Pending(t.Context()) {
		t.Errorf("the copy still has to place %v", p)
	}
	must(t, snapshot.Check(t.Context()))
}

// Each older schema is kept as the SQL text that a register of its time gives,
// with a row in every table.
func TestMigrate(t *testing.T) {
	for version := 1; version < schemaVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			script, err := os.ReadFile(fmt.Sprintf("testdata/register-%d.sql", version))
			must(t, err)
			path := filepath.Join(t.TempDir(), "register.db")
			old, err := sql.Open("sqlite", path)
			must(t, err)
			_, err = old.Exec(string(script))
			must(t, err)
			must(t, old.Close())

			if _, err := OpenReadOnly(path); !errors.Is(err, ErrNeedsWriter) {
				t.Errorf("reader: error %v, want ErrNeedsWriter", err)
			}
			db, err := Open(path)
			must(t, err)
			defer db.Close()
			check(t, "certificates", hosts(t, db, Filter{}), []string{"kvm1.example.com", "kvm2.example.com"})
			check(t, "current", hosts(t, db, Filter{Current: true}), []string{"kvm1.example.com"})
			must(t, db.Check(t.Context()))
			got, err := db.version()
			must(t, err)
			check(t, "version", got, schemaVersion)
			check(t, "schema", schema(t, db), schema(t, openNew(t)))
			if _, err := db.sql.Exec("DELETE FROM certificates"); err == nil {
				t.Error("history is not protected")
			}
			reader, err := OpenReadOnly(path)
			must(t, err)
			must(t, reader.Close())
		})
	}
}

// schema returns the definitions of all tables, indexes and triggers.
func schema(t *testing.T, db *DB) (list []string) {
	t.Helper()
	rows, err := db.sql.Query("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type, name")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		list = append(list, s)
	}
	return list
}

// readAll looks everywhere, as damage may lie where opening does not look.
func readAll(t *testing.T, db *DB) error {
	if _, err := db.ByFingerprint(t.Context(), "00"); err != nil {
		return err
	}
	for _, err := range db.List(t.Context(), Filter{}) {
		if err != nil {
			return err
		}
	}
	return db.Check(t.Context())
}
