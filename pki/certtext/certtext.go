// Package certtext writes certificates, requests, CRLs, keys and DH parameters
// as text, byte for byte as GnuTLS's certtool prints them.
//
// Scripts read that text, so its exact form is part of certtool's interface.
// Where GnuTLS versions differ, the form is that of 3.8.13; ML-DSA keys look as
// they do in a GnuTLS that can use them. A value that does not decode becomes a
// line "error: ...", as in GnuTLS; the reason given there is always a general one.
//
// The text ends with the last line of information. The blank line that certtool
// puts between it and a PEM block is certtool's affair.
package certtext

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"virtls/pki"
)

// Options change how numbers are written.
type Options struct {
	// HexNumbers puts each number of a public key on one line, without colons
	// (certtool --hex-numbers). Signatures keep their form.
	HexNumbers bool
}

// Certificate writes what certtool --certificate-info shows.
func Certificate(w io.Writer, c *pki.Certificate, o Options) error {
	p := printer{Options: o}
	p.certificate(c, false)
	return p.flush(w)
}

// Unsigned writes a certificate that is about to be signed, as certtool shows
// it while issuing: without issuer, signature and fingerprint.
func Unsigned(w io.Writer, s *pki.Spec) error {
	key, err := pki.PublicKeyOf(s.PublicKey)
	if err != nil {
		return err
	}
	version := s.Version
	if version == 0 {
		version = 3
	}
	serial, err := asn1.Marshal(s.Serial)
	if err != nil {
		return err
	}
	var p printer
	p.certificate(&pki.Certificate{
		Version:         version,
		RawSerial:       integerContent(serial),
		NotBefore:       s.NotBefore,
		NotAfter:        s.NotAfter,
		Subject:         s.Subject,
		PublicKey:       key,
		IssuerUniqueID:  s.IssuerUniqueID,
		SubjectUniqueID: s.SubjectUniqueID,
		Extensions:      s.Extensions,
	}, true)
	return p.flush(w)
}

// Request writes what certtool --crq-info shows, up to but without the line
// that tells whether the request's own signature is right.
func Request(w io.Writer, r *pki.Request, o Options) error {
	p := printer{Options: o}
	p.request(r)
	return p.flush(w)
}

// CRL writes what certtool --crl-info shows.
func CRL(w io.Writer, c *pki.CRL) error {
	var p printer
	p.crl(c)
	return p.flush(w)
}

// PublicKey writes what certtool --pubkey-info shows. usage is what a
// certificate or request around the key says of it, 0 for nothing.
func PublicKey(w io.Writer, k *pki.PublicKey, usage pki.KeyUsage, o Options) error {
	p := printer{Options: o}
	p.line("Public Key Information:")
	shown := p.publicKey("", k, false)
	p.line("")
	if usage != 0 {
		p.line("Public Key Usage:")
		p.usageWords("\t", usage)
	}
	if shown {
		p.keyID("", k)
	}
	return p.flush(w)
}

// printer collects the text, so that one write gives it away.
type printer struct {
	Options
	bytes.Buffer
}

func (p *printer) flush(w io.Writer) error {
	_, err := w.Write(p.Bytes())
	return err
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

// dump writes octets in lines of 16, with colons between those of a line.
func (p *printer) dump(indent string, data []byte) {
	if len(data) == 0 {
		p.WriteString(indent)
	}
	for len(data) > 0 {
		n := min(16, len(data))
		p.line("%s%s", indent, colons(data[:n]))
		data = data[n:]
	}
}

func colons(data []byte) string {
	octets := make([]string, len(data))
	for i, b := range data {
		octets[i] = fmt.Sprintf("%02x", b)
	}
	return strings.Join(octets, ":")
}

// hexString is how GnuTLS writes octets on one line: nothing at all is a zero.
func hexString(data []byte) string {
	if len(data) == 0 {
		return "00"
	}
	return hex.EncodeToString(data)
}

// raw writes a value that is not decoded.
func (p *printer) raw(indent string, data []byte) {
	p.line("%sASCII: %s", indent, printable(data))
	p.line("%sHexdump: %s", indent, hexString(data))
}

// printable puts a dot where an octet is no printable ASCII character.
func printable(data []byte) string {
	text := bytes.Clone(data)
	for i, b := range text {
		if b < ' ' || b > '~' {
			text[i] = '.'
		}
	}
	return string(text)
}

func timeText(t time.Time) string { return t.UTC().Format("Mon Jan 02 15:04:05 UTC 2006") }

func criticality(critical bool) string {
	if critical {
		return "critical"
	}
	return "not critical"
}

// keyID writes the identifiers of a public key.
func (p *printer) keyID(indent string, k *pki.PublicKey) {
	p.line("%sPublic Key ID:", indent)
	p.line("%s\tsha1:%x", indent, k.ID())
	p.line("%s\tsha256:%x", indent, k.ID256())
	p.line("%sPublic Key PIN:", indent)
	p.line("%s\tpin-sha256:%s", indent, base64.StdEncoding.EncodeToString(k.ID256()))
}

// integerContent takes tag and length off a DER INTEGER of our own making.
func integerContent(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil
	}
	return v.Bytes
}
