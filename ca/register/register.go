package register

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// applicationID marks the file as a register of virtls in SQLite's header.
const applicationID = 0x7669_7274 // "virt"

// migrations holds, in N.sql, what makes schema version N of version N-1.
//
//go:embed migrations
var migrations embed.FS

// schemaVersion is the newest version in migrations.
const schemaVersion = 2

// A DB is an open register.
type DB struct {
	path    string
	sql     *sql.DB
	mu      sync.Mutex // held by Update and Done: SQLite has one writer
	queries sync.Map   // from text to *sql.Stmt: preparing one takes longer than most lookups
}

// busyTimeout is how long SQLite waits for another process's transaction, in
// milliseconds. Writers hold the lock of the state, so that only readers meet it.
const busyTimeout = 10_000

// Open opens the register at path for reading and writing, makes it if there
// is none (mode 0600), rolls back what a killed process left unfinished, and
// brings an older schema up to date. The caller holds the lock of the state.
func Open(path string) (*DB, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	db, err := open(path, url.Values{
		"mode": {"rw"},
		// EXTRA is FULL, and syncs the directory after the journal is gone: a
		// loss of power does not take back what was committed.
		"_pragma": {"journal_mode(DELETE)", "synchronous(EXTRA)", "foreign_keys(ON)", "recursive_triggers(ON)",
			"cache_size(-16000)", "temp_store(MEMORY)"},
		"_txlock": {"immediate"},
	})
	if err != nil {
		return nil, err
	}
	if err := db.migrate(); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// OpenReadOnly opens the register at path for reading. It never writes and
// leaves no file behind. A register that must be brought in order first is
// refused with [ErrNeedsWriter].
func OpenReadOnly(path string) (*DB, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, kindMissing.Found(path, "").Unable(err)
	}
	db, err := open(path, url.Values{
		"mode":    {"ro"},
		"_pragma": {"query_only(ON)", "cache_size(-16000)", "temp_store(MEMORY)"},
	})
	if err != nil {
		return nil, err
	}
	version, err := db.version()
	if err == nil && version < schemaVersion {
		err = kindUnusable.Found(path, fmt.Sprintf("schema version %d", version)).
			WithWant(fmt.Sprintf("schema version %d", schemaVersion), "").Unable(ErrNeedsWriter)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// create makes an empty file, which to SQLite is an empty database, so that
// the register has its mode from the start. SQLite gives its journal the same mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return kindUnusable.Found(path, "").Unable(err)
	}
	return f.Close()
}

func open(path string, params url.Values) (*DB, error) {
	params.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout))
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + params.Encode()
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(4)
	return &DB{path: path, sql: pool}, nil
}

// Path returns the file's path.
func (db *DB) Path() string { return db.path }

// Close closes the register.
func (db *DB) Close() error { return db.sql.Close() }

// query returns the prepared form of a query.
func (db *DB) query(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := db.queries.Load(text); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := db.sql.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if kept, loaded := db.queries.LoadOrStore(text, stmt); loaded {
		stmt.Close()
		return kept.(*sql.Stmt), nil
	}
	return stmt, nil
}

// version returns the schema version, 0 for an empty database.
func (db *DB) version() (int, error) {
	var id, version, tables int
	err := db.sql.QueryRow(`SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&id, &version, &tables)
	switch {
	case err != nil:
		return 0, db.failed(err)
	case tables == 0:
		return 0, nil
	case id != applicationID || version < 1:
		return 0, kindDamaged.Found(db.path, "a SQLite database that is no register of virtls").Unable(nil)
	case version > schemaVersion:
		return 0, KindTooNew.Found(db.path, fmt.Sprintf("schema version %d", version)).
			WithWant(fmt.Sprintf("schema version %d or lower", schemaVersion), "this version of virtls").Unable(nil)
	}
	return version, nil
}

// migrate brings the schema up to date, each version in a transaction of its own.
func (db *DB) migrate() error {
	version, err := db.version()
	if err != nil {
		return err
	}
	for v := version + 1; v <= schemaVersion; v++ {
		if err := db.migrateTo(v); err != nil {
			return db.failed(fmt.Errorf("making schema version %d: %w", v, err))
		}
	}
	return nil
}

func (db *DB) migrateTo(version int) error {
	script, err := migrations.ReadFile(fmt.Sprintf("migrations/%d.sql", version))
	if err != nil {
		return err
	}
	tx, err := db.sql.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec(fmt.Sprintf("%s; PRAGMA application_id = %d; PRAGMA user_version = %d", script, applicationID, version)); err != nil {
		return err
	}
	return tx.Commit()
}

// Snapshot writes a consistent and compact copy of the register, without the
// journal of unfinished placements, to a new file at path (mode 0600).
func (db *DB) Snapshot(ctx context.Context, path string) error {
	if err := create(path); err != nil {
		return err
	}
	if _, err := db.sql.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return db.failed(err)
	}
	snapshot, err := Open(path)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	if _, err := snapshot.sql.ExecContext(ctx, "DELETE FROM pending"); err != nil {
		return snapshot.failed(err)
	}
	return nil
}

// Check reads the whole register and fails if SQLite finds it damaged, or if
// its schema is not the one that this package makes: a trigger that somebody has
// added acts whenever the register is written to.
func (db *DB) Check(ctx context.Context) error {
	var result string
	if err := db.sql.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
		return db.failed(err)
	}
	if result != "ok" {
		return kindDamaged.Found(db.path, result).Unable(nil)
	}
	want, err := ownSchema(ctx)
	if err != nil {
		return err
	}
	have, err := schemaOf(ctx, db.sql)
	if err != nil {
		return db.failed(err)
	}
	for _, text := range have {
		if !slices.Contains(want, text) {
			return kindDamaged.Found(db.path, fmt.Sprintf("%.200q", text)).WithWant("nothing but what virtls makes", "").Unable(nil)
		}
	}
	if len(have) != len(want) {
		return kindDamaged.Found(db.path, "a part of its tables, indexes and triggers").WithWant("all of them", "").Unable(nil)
	}
	return nil
}

// ownSchema returns the schema that the migrations make.
func ownSchema(ctx context.Context) ([]string, error) {
	pool, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1) // each connection has a memory of its own
	fresh := &DB{path: ":memory:", sql: pool}
	if err := fresh.migrate(); err != nil {
		return nil, err
	}
	return schemaOf(ctx, pool)
}

// schemaOf returns the statements that made the tables, indexes, triggers and
// views of a database, by name. Indexes that SQLite makes by itself have none.
func schemaOf(ctx context.Context, pool *sql.DB) (list []string, err error) {
	rows, err := pool.QueryContext(ctx, "SELECT coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}
