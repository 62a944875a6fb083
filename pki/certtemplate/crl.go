package certtemplate

import (
	"encoding/binary"
	"math/big"
	"time"
)

// CRLValues are what a template says about a certificate revocation list.
type CRLValues struct {
	RevocationDate time.Time // of every certificate that is added
	ThisUpdate     time.Time
	NextUpdate     time.Time
	Number         *big.Int // nil if the template has none: see [NewCRLNumber]
}

// CRL returns what the template says about a revocation list. An error is an
// [*Error] with certtool's words.
func (t *Template) CRL(c Clock) (*CRLValues, error) {
	revoked, err := t.date("crl_revocation_date", c)
	if err != nil {
		return nil, err
	}
	this, err := t.date("crl_this_update_date", c)
	if err != nil {
		return nil, err
	}
	next, err := t.dateOrDays("crl_next_update_date", "crl_next_update", c)
	if err != nil {
		return nil, err
	}
	values := &CRLValues{RevocationDate: timeOf(revoked), ThisUpdate: timeOf(this), NextUpdate: timeOf(next)}
	octets, ok, err := t.integer("crl_number")
	if ok && err == nil {
		values.Number, err = checkedNumber(octets, "CRL's serial number", "5.2.3")
	}
	return values, err
}

// NewCRLNumber returns the number that certtool gives a list without one: five
// octets of seconds, four of nanoseconds, eleven random ones. Lists made later
// have higher numbers.
func NewCRLNumber(now time.Time, random [11]byte) *big.Int {
	octets := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))[3:]
	octets = binary.BigEndian.AppendUint32(octets, uint32(now.Nanosecond()))
	octets[0] &= 0x7f
	return new(big.Int).SetBytes(append(octets, random[:]...))
}
