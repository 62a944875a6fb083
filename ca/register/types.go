package register

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"virtls/pki"
)

// How tells how a certificate came into the register.
type How string

// The ways into the register.
const (
	Apply   How = "apply"   // for a host or client of a fleet file
	Issue   How = "issue"   // asked for by itself
	Request How = "request" // from a certificate request made elsewhere
	Renew   How = "renew"   // in place of an older one
	Import  How = "import"  // issued before the authority was taken over
)

// An Act says who changes the register, and why. It becomes an [Event].
type Act struct {
	By      string // user of the operating system
	Command string // as the user typed it, without secrets
	Kind    string // what is done, one word: issue, revoke, crl, ...
	Note    string // anything else worth keeping
}

// An Event is one entry of the history.
type Event struct {
	ID int64
	At time.Time
	Act
}

// An Authority is one certificate of an authority.
type Authority struct {
	ID          int64
	Name        string // of its files: ca/NAME-cert.pem
	Subject     string // in the form of [dn.Name.String]
	KeyID       string // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	Fingerprint string // SHA-256 of the certificate, hexadecimal
	NotBefore   time.Time
	NotAfter    time.Time
	DER         []byte
}

// A Certificate is one issued certificate. What is unknown of one that was
// taken over from another authority's index or CRL is zero.
type Certificate struct {
	ID          int64
	Authority   string // its name
	Serial      string // hexadecimal, lower case: see [SerialText]
	How         How
	Holder      string // who has it, such as host:kvm1.example.com
	Slot        string // which of the holder's identities, such as qemu/both
	Subject     string // in the form of [dn.Name.String]
	Names       []string
	KeyType     string // in the form of [pki.KeySpec.String]
	NotBefore   time.Time
	NotAfter    time.Time
	Fingerprint string // SHA-256, hexadecimal
	DER         []byte
	Event       Event       // who asked for it, when
	Revoked     *Revocation // nil if it is not
}

// Parse decodes the certificate.
func (c *Certificate) Parse() (*pki.Certificate, error) {
	if c.DER == nil {
		return nil, fmt.Errorf("the register has only the serial number %s, not the certificate: it was taken over from another authority's list", c.Serial)
	}
	return pki.ParseCertificate(c.DER)
}

// A Revocation is the end of a certificate before its time.
type Revocation struct {
	Serial string
	Reason pki.RevocationReason
	At     time.Time
}

// A CRL is one revocation list that an authority signed.
type CRL struct {
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time // zero if absent
	DER        []byte
}

// A Placement is a set of files that must reach their places together. It is
// journalled in the transaction that makes it necessary, and removed when all
// files are in place.
type Placement struct {
	ID       int64    `json:"-"`
	Key      string   `json:"key,omitempty"`      // staged private key, complete and on the disk; empty if the key is in its place
	KeyPaths []string `json:"keyPaths,omitempty"` // where the key belongs
	Content  []byte   `json:"content"`            // public file: certificates, request or CRL, PEM
	Paths    []string `json:"paths"`              // where that belongs
}

// SerialText returns the form in which the register keeps serial numbers:
// hexadecimal, lower case, whole octets, with a minus sign for the negative
// ones of certtool 3.7. certtool and OpenSSL print the same digits.
func SerialText(n *big.Int) string {
	text := n.Text(16)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	if len(text)%2 == 1 {
		text = "0" + text
	}
	return sign + text
}

// maxSerialDigits is far above the 40 of RFC 5280, 4.1.2.2.
const maxSerialDigits = 200

// ParseSerial reads a serial number as certtool, OpenSSL and browsers show it:
// hexadecimal in any case, with or without 0x, colons, blanks and leading
// zeros. It returns the form of [SerialText].
func ParseSerial(s string) (string, error) {
	digits := serialDigits(s)
	n, ok := new(big.Int).SetString(digits, 16)
	if !ok || len(digits) > maxSerialDigits || strings.Contains(digits, "+") {
		return "", errors.New("a serial number is written in hexadecimal digits, such as 4f:03:a1")
	}
	return SerialText(n), nil
}

// serialDigits strips what people and programs write into serial numbers.
func serialDigits(s string) string {
	digits, negative := strings.CutPrefix(strings.NewReplacer(":", "", " ", "").Replace(strings.ToLower(s)), "-")
	digits = strings.TrimPrefix(digits, "0x")
	if negative {
		return "-" + digits
	}
	return digits
}
