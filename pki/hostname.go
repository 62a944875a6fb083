package pki

import (
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// A NameMatch tells by which of its names a certificate was recognised.
type NameMatch int

// The ways to match. ByCommonName works with GnuTLS, and so with QEMU and
// libvirt, but with no program that follows RFC 9525, Go's and OpenSSL-based
// clients among them: callers warn of it.
const (
	ByDNSName NameMatch = iota + 1
	ByIPAddress
	ByCommonName
)

// A HostnameError says that a certificate is not one for a host.
type HostnameError struct {
	Certificate *Certificate
	Name        string
}

// ValidFor lists the names that the certificate can be used for.
func (e *HostnameError) ValidFor() []string {
	c := e.Certificate
	names, err := c.Extensions.SubjectAltName()
	if err != nil {
		return nil
	}
	var valid []string
	for _, n := range names {
		if ip, ok := n.IP(); ok {
			valid = append(valid, ip.String())
		} else if _, err := netip.ParseAddr(n.Text()); n.Kind == DNSKind && err == nil {
			valid = append(valid, n.Text()+" as a DNS name, which matches nothing")
		} else if n.Kind == DNSKind {
			valid = append(valid, n.Text())
		}
	}
	if cn, ok := fallbackName(c); ok {
		valid = append(valid, cn)
	}
	return valid
}

func (e *HostnameError) Error() string {
	return fmt.Sprintf("certificate %s is not for %s: it is for %s", e.Certificate, e.Name, e.found())
}

func (e *HostnameError) found() string {
	if names := e.ValidFor(); len(names) > 0 {
		return briefList(len(names), func(i int) string { return brief(names[i]) })
	}
	return "no host at all"
}

// MatchHostname tells whether c is a certificate for the host that somebody
// wants to talk to, by the rules of GnuTLS, which QEMU and libvirt use
// (gnutls_x509_crt_check_hostname, 3.7.9 to 3.8.13):
//
//   - a name with a colon or in IPv4 form is an address and compared with
//     iPAddress names only;
//   - any other name is turned into its ASCII form (IDNA) and compared with the
//     dNSNames, whatever the case of letters; a leading asterisk in a name of
//     three components or more stands for any text without a dot;
//   - if c has no dNSName, iPAddress, URI or SRV name at all, exactly one CN
//     and no key purpose other than a server's, the CN is compared in the same way.
//
// The error is a *HostnameError. Whether an authority may certify a name that
// nobody but a CN holds is seen by [Verify] alone, when it is told the name:
// name constraints do not mind a CN that is no well-formed host name until it
// is taken for one.
func MatchHostname(c *Certificate, name string) (NameMatch, error) {
	mismatch := &HostnameError{c, name}
	sans, err := c.Extensions.SubjectAltName()
	if err != nil {
		return 0, mismatch
	}
	if ip, ok := hostAddress(name); ok {
		for _, n := range sans {
			if n.Kind == IPKind && string(n.Bytes) == string(ip) {
				return ByIPAddress, nil
			}
		}
		return 0, mismatch
	}
	host := asciiHost(name)
	for _, n := range sans {
		if n.Kind == DNSKind && matchPattern(n.Text(), host) {
			return ByDNSName, nil
		}
	}
	if cn, ok := fallbackName(c); ok && matchPattern(cn, host) {
		return ByCommonName, nil
	}
	return 0, mismatch
}

// hostAddress reads an address as GnuTLS does: 4 octets from IPv4 form, 16 from
// any other. Brackets and zones are no part of an address.
func hostAddress(name string) ([]byte, bool) {
	ip, err := netip.ParseAddr(name)
	if err != nil || ip.Zone() != "" {
		return nil, false
	}
	return ip.AsSlice(), true
}

var (
	lookupIDNA       = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true))
	transitionalIDNA = idna.New(idna.MapForLookup(), idna.Transitional(true), idna.StrictDomainName(true))
)

// asciiHost returns the form of a host name that certificates hold. A name that
// has no such form stays as it is.
func asciiHost(name string) string {
	if printable(name) {
		return name
	}
	for _, profile := range []*idna.Profile{lookupIDNA, transitionalIDNA} {
		if ascii, err := profile.ToASCII(name); err == nil {
			return ascii
		}
	}
	return name
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// maxHostName is the longest name that GnuTLS compares.
const maxHostName = 255

func matchPattern(pattern, host string) bool {
	if pattern == "" || len(pattern) > maxHostName || !printable(pattern) {
		return false
	}
	rest, wild := strings.CutPrefix(pattern, "*")
	if !wild {
		return equalFoldASCII(pattern, host)
	}
	if strings.Count(pattern, ".") < 2 || strings.HasSuffix(pattern, ".") {
		return false
	}
	i := len(host) - len(rest)
	return i >= 0 && !strings.Contains(host[:i], ".") && equalFoldASCII(rest, host[i:])
}

// mayName tells whether a pattern may be the name of a host, whoever compares
// them: whether some well-formed name is like it.
func mayName(pattern string) bool {
	rest, wild := strings.CutPrefix(pattern, "*")
	return validHost(rest) || wild && validHost("a"+rest)
}

// equalFoldASCII is not strings.EqualFold, which takes the Kelvin sign for a k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

var oidSRVName = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}

// fallbackName returns the CN if it counts as a host name for want of a better one.
func fallbackName(c *Certificate) (string, bool) {
	sans, err := c.Extensions.SubjectAltName()
	if err != nil {
		return "", false
	}
	for _, n := range sans {
		switch n.Kind {
		case DNSKind, IPKind, URIKind:
			return "", false
		case OtherNameKind:
			if oid, _, ok := n.Other(); ok && oid.Equal(oidSRVName) {
				return "", false
			}
		}
	}
	purposes, err := c.Extensions.ExtKeyUsage()
	if err != nil || !allowsPurpose(purposes, PurposeServer) {
		return "", false
	}
	cns := c.Subject.CommonNames()
	if len(cns) != 1 || cns[0] == "" {
		return "", false
	}
	return cns[0], true
}
