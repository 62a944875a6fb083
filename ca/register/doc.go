// Package register keeps the history of authorities in one SQLite file: each
// certificate they issued, with who asked for it and how, each revocation and
// each revocation list.
//
// History is only ever added to: the database itself refuses to change or
// delete its rows, and a serial number that was used once can never be used
// again. The one table whose rows go away is the journal of files that still
// have to reach their places ([Placement]), which package ca explains.
//
// A transaction that [DB.Update] has committed survives a loss of power. There
// is no file beside register.db except SQLite's rollback journal while a
// transaction is written; readers ([OpenReadOnly]) leave none at all.
//
// A [DB] may be used by several goroutines at once. Lists are read in pages, so
// that memory stays flat however long they are and no lock is held while the
// caller looks at a row.
package register
