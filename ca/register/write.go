package register

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"virtls/pki"
)

// A Tx adds rows to the register within [DB.Update]. It is not safe for
// concurrent use.
type Tx struct {
	db    *DB
	tx    *sql.Tx
	event int64
	stmts map[string]*sql.Stmt
}

// Update does one act: it records the event and what f, if not nil, adds, all or nothing.
// The event's time is at. When Update returns without error the change is on
// the disk. ctx can end it only before it is committed.
func (db *DB) Update(ctx context.Context, at time.Time, act Act, f func(*Tx) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	// The statements of a batch run without ctx: watching it costs more than
	// most of them, so it is looked at once before the commit.
	sqlTx, err := db.sql.BeginTx(context.Background(), nil)
	if err != nil {
		return db.failed(err)
	}
	defer sqlTx.Rollback()
	tx := &Tx{db: db, tx: sqlTx, stmts: map[string]*sql.Stmt{}}
	tx.event, err = tx.exec("INSERT INTO events (at, asked_by, command, kind, note) VALUES (?, ?, ?, ?, ?)",
		at.Unix(), act.By, act.Command, act.Kind, act.Note)
	if err != nil {
		return err
	}
	if f != nil {
		if err := f(tx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return db.failed(sqlTx.Commit())
}

// prepare keeps each statement for the next row.
func (tx *Tx) prepare(query string) (*sql.Stmt, error) {
	stmt := tx.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = tx.tx.Prepare(query); err != nil {
			return nil, tx.db.failed(err)
		}
		tx.stmts[query] = stmt
	}
	return stmt, nil
}

// exec runs one statement and returns the id of the row inserted.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	stmt, err := tx.prepare(query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.Exec(args...)
	if err != nil {
		return 0, tx.db.failed(err)
	}
	return result.LastInsertId()
}

// AddAuthority adds an authority's certificate and returns its id.
func (tx *Tx) AddAuthority(name string, cert *pki.Certificate) (int64, error) {
	return tx.exec(`INSERT INTO authorities (event, name, subject, key_id, fingerprint, not_before, not_after, der)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, tx.event, name, cert.Subject.String(), KeyID(cert),
		fingerprint(cert), cert.NotBefore.Unix(), cert.NotAfter.Unix(), cert.Raw)
}

// KeyID returns an authority's [Authority.KeyID].
func KeyID(cert *pki.Certificate) string { return hex.EncodeToString(cert.PublicKey.ID256()) }

func fingerprint(cert *pki.Certificate) string {
	sum := cert.SHA256()
	return hex.EncodeToString(sum[:])
}

// AddCertificate adds a certificate that the authority of that id issued.
func (tx *Tx) AddCertificate(authority int64, cert *pki.Certificate, how How, holder, slot string) (int64, error) {
	return tx.addCertificate(authority, &Certificate{
		Serial: SerialText(cert.Serial), How: how, Holder: holder, Slot: slot,
		Subject: cert.Subject.String(), Names: nameTexts(cert), KeyType: pki.KeySpecOf(cert.PublicKey.Key).String(),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Fingerprint: fingerprint(cert), DER: cert.Raw,
	})
}

// AddUnseen adds a certificate of which only what another authority's index
// or CRL says is known: the serial number and, if not zero, subject and end.
func (tx *Tx) AddUnseen(authority int64, serial, subject string, notAfter time.Time) (int64, error) {
	return tx.addCertificate(authority, &Certificate{Serial: serial, How: Import, Subject: subject, NotAfter: notAfter})
}

func (tx *Tx) addCertificate(authority int64, c *Certificate) (int64, error) {
	id, err := tx.exec(`INSERT INTO certificates
		(event, authority, serial, how, holder, slot, subject, names, key_type, not_before, not_after, fingerprint, der)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, tx.event, authority, c.Serial, string(c.How), c.Holder, c.Slot,
		c.Subject, strings.Join(c.Names, "\n"), c.KeyType, nullTime(c.NotBefore), nullTime(c.NotAfter), null(c.Fingerprint), c.DER)
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return 0, kindSerialUsed.Found("serial number "+c.Serial, "").Unable(nil)
	}
	return id, err
}

// null returns s for a column in which the empty text is NULL.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

// nameTexts returns the alternative names as people write them.
func nameTexts(cert *pki.Certificate) []string {
	names, err := cert.Extensions.SubjectAltName()
	if err != nil {
		return nil
	}
	var texts []string
	for _, n := range names {
		if ip, ok := n.IP(); ok {
			texts = append(texts, ip.String())
		} else if text := n.Text(); text != "" {
			texts = append(texts, strings.ReplaceAll(text, "\n", " "))
		}
	}
	return texts
}

// Revoke marks the certificate of that id as revoked. It must not be already.
func (tx *Tx) Revoke(certificate int64, reason pki.RevocationReason, at time.Time) error {
	_, err := tx.exec("INSERT INTO revocations (certificate, event, reason, at) VALUES (?, ?, ?, ?)",
		certificate, tx.event, int(reason), at.Unix())
	return err
}

// FindSerial looks for a certificate by its serial number in the form of
// [SerialText]. The id is 0 if there is none.
func (tx *Tx) FindSerial(serial string) (id int64, revoked bool, err error) {
	stmt, err := tx.prepare("SELECT c.id, r.certificate IS NOT NULL FROM certificates c LEFT JOIN revocations r ON r.certificate = c.id WHERE c.serial = ?")
	if err != nil {
		return 0, false, err
	}
	err = stmt.QueryRow(serial).Scan(&id, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return id, revoked, tx.db.failed(err)
}

// AddCRL adds a revocation list that the authority of that id signed.
func (tx *Tx) AddCRL(authority int64, crl *pki.CRL) error {
	number := crl.Number()
	if number == nil {
		return fmt.Errorf("the CRL has no number")
	}
	_, err := tx.exec("INSERT INTO crls (event, authority, number, this_update, next_update, der) VALUES (?, ?, ?, ?, ?, ?)",
		tx.event, authority, SerialText(number), crl.ThisUpdate.Unix(), nullTime(crl.NextUpdate), crl.Raw)
	return err
}

// AddPending journals files that must reach their places, and sets p's ID.
func (tx *Tx) AddPending(p *Placement) error {
	files, err := json.Marshal(p)
	if err != nil {
		return err
	}
	p.ID, err = tx.exec("INSERT INTO pending (files) VALUES (?)", files)
	return err
}

// RemovePending takes a placement out of the journal.
func (tx *Tx) RemovePending(id int64) error {
	_, err := tx.exec("DELETE FROM pending WHERE id = ?", id)
	return err
}

// Done removes placements from the journal: their files are in place and on the disk.
func (db *DB) Done(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	_, err = db.sql.ExecContext(ctx, "DELETE FROM pending WHERE id IN (SELECT value FROM json_each(?))", string(list))
	return db.failed(err)
}
