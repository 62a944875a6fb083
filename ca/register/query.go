package register

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"strings"
	"time"

	"virtls/pki"
)

// A Filter says which certificates [DB.List] returns. Its zero value is all.
type Filter struct {
	Authority     string    // name
	Holder        string    // exact
	Slot          string    // exact
	Text          string    // part of the holder, subject or a name, or the beginning of the serial number; any case
	ExpiresAfter  time.Time // not expired at that time
	ExpiresBefore time.Time // expired at that time
	Event         int64     // made by that event
	Valid         bool      // not revoked
	Current       bool      // not revoked, and the newest such of its holder and slot
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(...any) error }

const certificateColumns = `SELECT c.id, a.name, c.serial, c.how, c.holder, c.slot, c.subject, c.names, c.key_type,
	c.not_before, c.not_after, c.fingerprint, e.id, e.at, e.asked_by, e.command, e.kind, e.note, r.reason, r.at, c.der
	FROM certificates c JOIN authorities a ON a.id = c.authority JOIN events e ON e.id = c.event
	LEFT JOIN revocations r ON r.certificate = c.id `

func scanCertificate(from row) (id int64, c Certificate, err error) {
	var names string
	var notBefore, notAfter, reason, revokedAt sql.NullInt64
	var fingerprint sql.NullString
	var at int64
	err = from.Scan(&c.ID, &c.Authority, &c.Serial, (*string)(&c.How), &c.Holder, &c.Slot, &c.Subject, &names, &c.KeyType,
		&notBefore, &notAfter, &fingerprint, &c.Event.ID, &at, &c.Event.By, &c.Event.Command, &c.Event.Kind, &c.Event.Note,
		&reason, &revokedAt, &c.DER)
	c.Fingerprint, c.Event.At = fingerprint.String, fromUnix(at)
	c.NotBefore, c.NotAfter = fromNull(notBefore), fromNull(notAfter)
	if names != "" {
		c.Names = strings.Split(names, "\n")
	}
	if reason.Valid {
		c.Revoked = &Revocation{Serial: c.Serial, Reason: pki.RevocationReason(reason.Int64), At: fromNull(revokedAt)}
	}
	return c.ID, c, err
}

// List returns the certificates that pass the filter, oldest first.
func (db *DB) List(ctx context.Context, f Filter) iter.Seq2[Certificate, error] {
	where, args := f.where()
	return list(ctx, db, certificateColumns+"WHERE c.id > ?"+where+" ORDER BY c.id", args, scanCertificate)
}

// where returns the filter's conditions, each beginning with AND.
func (f Filter) where() (string, []any) {
	var conditions strings.Builder
	var args []any
	add := func(given bool, condition string, values ...any) {
		if given {
			conditions.WriteString(" AND " + condition)
			args = append(args, values...)
		}
	}
	add(f.Authority != "", "a.name = ?", f.Authority)
	add(f.Holder != "", "c.holder = ?", f.Holder)
	add(f.Slot != "", "c.slot = ?", f.Slot)
	add(f.Event != 0, "c.event = ?", f.Event)
	add(!f.ExpiresAfter.IsZero(), "c.not_after > ?", f.ExpiresAfter.Unix())
	add(!f.ExpiresBefore.IsZero(), "c.not_after <= ?", f.ExpiresBefore.Unix())
	add(f.Valid || f.Current, "r.certificate IS NULL")
	add(f.Current, `(c.holder = '' OR NOT EXISTS (SELECT 1 FROM certificates n LEFT JOIN revocations nr ON nr.certificate = n.id
		WHERE n.holder = c.holder AND n.slot = c.slot AND n.id > c.id AND nr.certificate IS NULL))`)
	if f.Text != "" {
		part := "%" + likeEscaper.Replace(f.Text) + "%"
		serial := likeEscaper.Replace(serialDigits(f.Text)) + "%"
		add(true, `(c.holder LIKE ? ESCAPE '\' OR c.subject LIKE ? ESCAPE '\' OR c.names LIKE ? ESCAPE '\' OR c.serial LIKE ? ESCAPE '\')`,
			part, part, part, serial)
	}
	return conditions.String(), args
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// pageSize is how many rows are read at a time.
const pageSize = 500

// list reads rows page by page. The query's first parameter is the id after
// which it begins, and it is ordered by that id; scan returns each row's.
func list[T any](ctx context.Context, db *DB, query string, args []any, scan func(row) (int64, T, error)) iter.Seq2[T, error] {
	query += fmt.Sprintf(" LIMIT %d", pageSize)
	readPage := func(after int64) (page []T, last int64, err error) {
		stmt, err := db.query(ctx, query)
		if err != nil {
			return nil, 0, err
		}
		rows, err := stmt.QueryContext(ctx, append([]any{after}, args...)...)
		if err != nil {
			return nil, 0, err
		}
		defer rows.Close()
		for rows.Next() {
			var item T
			if last, item, err = scan(rows); err != nil {
				return nil, 0, err
			}
			page = append(page, item)
		}
		return page, last, rows.Err()
	}
	return func(yield func(T, error) bool) {
		for after := int64(0); ; {
			page, last, err := readPage(after)
			if err != nil {
				var none T
				yield(none, db.failed(err))
				return
			}
			for _, item := range page {
				if !yield(item, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			after = last
		}
	}
}

// one reads the first row, nil if there is none.
func one[T any](ctx context.Context, db *DB, query string, args []any, scan func(row) (int64, T, error)) (*T, error) {
	stmt, err := db.query(ctx, query)
	if err != nil {
		return nil, db.failed(err)
	}
	_, item, err := scan(stmt.QueryRowContext(ctx, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, db.failed(err)
	}
	return &item, nil
}

// BySerial returns the certificate with a serial number in the form of
// [SerialText], nil if there is none.
func (db *DB) BySerial(ctx context.Context, serial string) (*Certificate, error) {
	return one(ctx, db, certificateColumns+"WHERE c.serial = ?", []any{serial}, scanCertificate)
}

// ByFingerprint returns the certificate with a SHA-256 fingerprint in
// hexadecimal, lower case, nil if there is none.
func (db *DB) ByFingerprint(ctx context.Context, fingerprint string) (*Certificate, error) {
	return one(ctx, db, certificateColumns+"WHERE c.fingerprint = ?", []any{fingerprint}, scanCertificate)
}

// Newest returns the newest certificate of a holder's slot that is not
// revoked, nil if there is none. It may have expired. For many at once, List
// with [Filter].Current is faster.
func (db *DB) Newest(ctx context.Context, holder, slot string) (*Certificate, error) {
	return one(ctx, db, certificateColumns+"WHERE c.holder = ? AND c.slot = ? AND r.certificate IS NULL ORDER BY c.id DESC LIMIT 1",
		[]any{holder, slot}, scanCertificate)
}

const authorityColumns = "SELECT id, name, subject, key_id, fingerprint, not_before, not_after, der FROM authorities "

func scanAuthority(from row) (id int64, a Authority, err error) {
	var notBefore, notAfter int64
	err = from.Scan(&a.ID, &a.Name, &a.Subject, &a.KeyID, &a.Fingerprint, &notBefore, &notAfter, &a.DER)
	a.NotBefore, a.NotAfter = fromUnix(notBefore), fromUnix(notAfter)
	return a.ID, a, err
}

// Authorities returns every certificate of every authority, oldest first.
func (db *DB) Authorities(ctx context.Context) iter.Seq2[Authority, error] {
	return list(ctx, db, authorityColumns+"WHERE id > ? ORDER BY id", nil, scanAuthority)
}

// AuthorityOf returns the row of an authority's certificate, nil if there is none.
func (db *DB) AuthorityOf(ctx context.Context, cert *pki.Certificate) (*Authority, error) {
	return one(ctx, db, authorityColumns+"WHERE fingerprint = ?", []any{fingerprint(cert)}, scanAuthority)
}

// Revoked returns what a new revocation list of the authority with that key
// must list: every revoked certificate that had not expired when the last list
// was made. A list made after a certificate's end must have had it once
// (RFC 5280, 3.3); later ones need not.
func (db *DB) Revoked(ctx context.Context, keyID string, lastList time.Time) iter.Seq2[Revocation, error] {
	return list(ctx, db, `SELECT c.id, c.serial, r.reason, r.at
		FROM revocations r JOIN certificates c ON c.id = r.certificate JOIN authorities a ON a.id = c.authority
		WHERE r.certificate > ? AND a.key_id = ? AND (c.not_after IS NULL OR c.not_after > ?) ORDER BY r.certificate`,
		[]any{keyID, lastList.Unix()}, func(from row) (id int64, r Revocation, err error) {
			var reason, at int64
			err = from.Scan(&id, &r.Serial, &reason, &at)
			r.Reason, r.At = pki.RevocationReason(reason), fromUnix(at)
			return id, r, err
		})
}

// LastCRL returns the newest revocation list of the authority with that key,
// nil if there is none.
func (db *DB) LastCRL(ctx context.Context, keyID string) (*CRL, error) {
	return one(ctx, db, `SELECT l.id, l.number, l.this_update, l.next_update, l.der FROM crls l
		JOIN authorities a ON a.id = l.authority WHERE a.key_id = ? ORDER BY l.id DESC LIMIT 1`,
		[]any{keyID}, func(from row) (id int64, crl CRL, err error) {
			var number string
			var thisUpdate int64
			var nextUpdate sql.NullInt64
			if err := from.Scan(&id, &number, &thisUpdate, &nextUpdate, &crl.DER); err != nil {
				return 0, crl, err
			}
			var ok bool
			if crl.Number, ok = new(big.Int).SetString(number, 16); !ok {
				return 0, crl, kindDamaged.Found(db.path, fmt.Sprintf("the CRL number %q", number)).Unable(nil)
			}
			crl.ThisUpdate, crl.NextUpdate = fromUnix(thisUpdate), fromNull(nextUpdate)
			return id, crl, nil
		})
}

// History returns every event, oldest first.
func (db *DB) History(ctx context.Context) iter.Seq2[Event, error] {
	return list(ctx, db, "SELECT id, at, asked_by, command, kind, note FROM events WHERE id > ? ORDER BY id", nil,
		func(from row) (id int64, e Event, err error) {
			var at int64
			err = from.Scan(&e.ID, &at, &e.By, &e.Command, &e.Kind, &e.Note)
			e.At = fromUnix(at)
			return e.ID, e, err
		})
}

// Pending returns the placements that were journalled and not yet removed, in order.
func (db *DB) Pending(ctx context.Context) iter.Seq2[Placement, error] {
	return list(ctx, db, "SELECT id, files FROM pending WHERE id > ? ORDER BY id", nil,
		func(from row) (id int64, p Placement, err error) {
			var files []byte
			if err := from.Scan(&id, &files); err != nil {
				return 0, p, err
			}
			if err := json.Unmarshal(files, &p); err != nil {
				return 0, p, kindDamaged.Found(db.path, fmt.Sprintf("entry %d of the journal", id)).Unable(err)
			}
			p.ID = id
			return id, p, nil
		})
}

// fromUnix is the inverse of [time.Time.Unix], in UTC.
func fromUnix(n int64) time.Time { return time.Unix(n, 0).UTC() }

func fromNull(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return fromUnix(n.Int64)
}
