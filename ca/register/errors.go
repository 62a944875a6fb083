package register

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"virtls/finding"
)

// KindTooNew is the finding about a register, or a state directory, that a
// newer version of virtls has changed.
var KindTooNew = finding.Define("state-too-new", finding.Error,
	"the state was written by a newer version of virtls",
	"use that version or a later one")

var (
	kindMissing = finding.Define("register-missing", finding.Error,
		"there is no register",
		"make an authority with `virtls init`, or restore one with `virtls ca import`")
	kindDamaged = finding.Define("register-damaged", finding.Error,
		"the register is damaged",
		"restore the state from a backup with `virtls ca import BACKUP --state NEW-DIRECTORY`")
	kindUnusable = finding.Define("register-unusable", finding.Error,
		"the register cannot be read or written",
		"the reason says what the file system or another process is in the way with; mend it and run the command again")
	kindSerialUsed = finding.Define("serial-used", finding.Error,
		"the serial number is in the register already, and no serial number is used twice",
		"take the other authority over into a state directory of its own")
)

// ErrNeedsWriter is in the chain of the error of [OpenReadOnly] for a register
// that a killed process or an older version of virtls left in a state that
// only [Open] can bring in order.
var ErrNeedsWriter = errors.New("the register must be opened for writing once")

// ErrAppendOnly is in the chain of the error of whoever tries to change history.
var ErrAppendOnly = errors.New("the register is append-only")

// failed turns an error of SQLite into a finding about the register.
func (db *DB) failed(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*finding.Failure](err); ok {
		return err
	}
	var code int
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code = e.Code()
	}
	switch {
	case code == sqlite3.SQLITE_READONLY_ROLLBACK:
		return kindUnusable.Found(db.path, "a transaction that was not finished").Unable(ErrNeedsWriter)
	case code == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
		return kindUnusable.Found(db.path, "a change of history").Unable(ErrAppendOnly)
	case code&0xff == sqlite3.SQLITE_NOTADB, code&0xff == sqlite3.SQLITE_CORRUPT:
		return kindDamaged.Found(db.path, "").Unable(err)
	case code&0xff == sqlite3.SQLITE_FULL:
		return kindUnusable.Found(db.path, "a full disk").WithFix("make room on the file system and run the command again").Unable(err)
	}
	return kindUnusable.Found(db.path, "").Unable(err)
}
