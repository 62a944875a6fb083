package ca

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"virtls/ca/register"
	"virtls/pki"
	"virtls/pki/dn"
)

// An indexEntry is one line of the index.txt of `openssl ca` and easy-rsa.
type indexEntry struct {
	serial   string // in the form of register.SerialText
	written  string // as it stands in the index, where files are named after it
	subject  string // in the form of dn.Name.String, or as it stands there if it is no name
	notAfter time.Time
	revoked  *register.Revocation
}

// maxIndexLine bounds a line of an index: OpenSSL writes a name and some numbers.
const maxIndexLine = 64 << 10

// readIndex reads an index line by line. It ends with the first error, which
// names the file.
func readIndex(name string, r io.Reader) iter.Seq2[indexEntry, error] {
	return func(yield func(indexEntry, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxIndexLine)
		n := 0
		for lines.Scan() {
			n++
			if strings.TrimSpace(lines.Text()) == "" {
				continue
			}
			entry, err := parseIndexLine(lines.Text())
			if err != nil {
				yield(entry, kindIndex.Found(fmt.Sprintf("%s:%d", name, n), err.Error()).Wrong())
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(indexEntry{}, kindIndex.Found(fmt.Sprintf("%s:%d", name, n+1), "").Unable(err))
		}
	}
}

// parseIndexLine reads status, end, revocation, serial number, file name and
// subject, with a tab between each two (OpenSSL, apps/include/apps.h).
func parseIndexLine(line string) (e indexEntry, err error) {
	fields := strings.Split(strings.TrimRight(line, "\r"), "\t")
	if len(fields) != 6 {
		return e, fmt.Errorf("%d of the 6 fields between tabs", len(fields))
	}
	status, end, revocation, serial, subject := fields[0], fields[1], fields[2], fields[3], fields[5]
	e.written = serial
	if e.serial, err = register.ParseSerial(serial); err != nil {
		return e, fmt.Errorf("serial number %.60q", serial)
	}
	if e.notAfter, err = indexTime(end); err != nil {
		return e, err
	}
	e.subject = subject
	if name, err := dn.ParseOpenSSL(subject); err == nil {
		e.subject = name.String()
	}
	switch status {
	case "V", "E":
		return e, nil
	case "R":
		e.revoked, err = indexRevocation(revocation)
		return e, err
	}
	return e, fmt.Errorf("status %.20q", status)
}

// indexTime reads a time as ASN.1 writes it, with two or four digits of the year.
func indexTime(s string) (time.Time, error) {
	if t, err := time.Parse("20060102150405Z", s); err == nil {
		return t, nil
	}
	t, err := time.Parse("060102150405Z", s)
	if err != nil {
		return t, fmt.Errorf("time %.40q", s)
	}
	if t.Year() >= 2050 { // RFC 5280, 4.1.2.5.1
		t = t.AddDate(-100, 0, 0)
	}
	return t, nil
}

// indexRevocation reads "time", "time,reason" or "time,reason,more".
func indexRevocation(s string) (*register.Revocation, error) {
	at, rest, _ := strings.Cut(s, ",")
	reason, _, _ := strings.Cut(rest, ",")
	t, err := indexTime(at)
	if err != nil {
		return nil, err
	}
	r := &register.Revocation{At: t}
	switch strings.ToLower(reason) {
	case "":
	case "holdinstruction": // openssl ca -crl_hold
		r.Reason = pki.CertificateHold
	case "keytime": // openssl ca -crl_compromise
		r.Reason = pki.KeyCompromise
	case "cakeytime": // openssl ca -crl_CA_compromise
		r.Reason = pki.CACompromise
	default:
		if r.Reason, err = parseReasonFold(reason); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parseReasonFold reads a reason as OpenSSL spells it: CACompromise where RFC
// 5280 has cACompromise.
func parseReasonFold(s string) (pki.RevocationReason, error) {
	for r := pki.Unspecified; r <= pki.AACompromise; r++ {
		if strings.EqualFold(r.String(), s) && r != pki.RemoveFromCRL {
			return r, nil
		}
	}
	return 0, fmt.Errorf("revocation reason %.40q", s)
}
