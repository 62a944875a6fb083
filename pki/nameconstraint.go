package pki

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"virtls/pki/dn"
)

// maxNameChecks bounds the comparisons of names with constraints in one
// chain. GnuTLS stops at 1<<20 (3.8.13), crypto/x509 at 250000.
const maxNameChecks = 1 << 18

// check returns what is malformed about the constraints (RFC 5280, 4.2.1.10).
// Constraints of kinds that are not understood pass: they are refused when a
// name of that kind turns up.
func (c *NameConstraints) check() error {
	for _, list := range []GeneralNames{c.Permitted, c.Excluded} {
		for _, n := range list {
			if !validConstraint(n) {
				return fmt.Errorf("malformed name constraint %s", n)
			}
		}
	}
	return nil
}

func validConstraint(n GeneralName) bool {
	host := strings.TrimPrefix(n.Text(), ".")
	switch n.Kind {
	case DNSKind:
		// RFC 5280 allows no leading dot here; OpenSSL's manual shows one, so
		// private authorities write it. It leaves out the domain itself.
		return n.Text() == "" || validHost(host)
	case URIKind:
		return validHost(host)
	case EmailKind:
		if strings.Contains(n.Text(), "@") {
			_, _, ok := splitEmail(n.Text())
			return ok
		}
		return n.Text() == "" || validHost(host)
	case IPKind:
		_, ok := n.Range()
		return ok
	case DirectoryKind:
		_, err := n.Directory()
		return err == nil
	}
	return true
}

// validHost tells whether s is a DNS name without wildcards. Underscores pass:
// they are in use on private networks.
func validHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// splitEmail splits a mailbox. A quoted local part, which may hold anything, is
// not taken: nobody could say which constraint it meets.
func splitEmail(s string) (local, host string, ok bool) {
	local, host, _ = strings.Cut(s, "@")
	return local, host, local != "" && !strings.ContainsAny(local, "\" \\") && validHost(host)
}

// constrainedNames returns the names in a certificate that constraints apply
// to: the alternative names, the subject, and what is in the subject and would
// be taken for a name: an email address if there is none among the alternative
// names (RFC 5280, 4.2.1.10) and, in a leaf, a CN that [MatchHostname] might use.
func (m *member) constrainedNames(leaf bool) GeneralNames {
	names := append(GeneralNames(nil), m.names...)
	if len(m.cert.Subject) > 0 {
		names = append(names, GeneralName{DirectoryKind, m.cert.RawSubject})
	}
	if !m.names.has(EmailKind) {
		for _, rdn := range m.cert.Subject {
			for _, a := range rdn {
				if a.Type.Equal(dn.EmailAddressOID) {
					names = append(names, Email(a.Text()))
				}
			}
		}
	}
	if cn, ok := fallbackName(m.cert); leaf && ok && validHost(strings.TrimPrefix(cn, "*.")) {
		names = append(names, DNSName(cn))
	}
	return names
}

func (names GeneralNames) has(kind NameKind) bool {
	for _, n := range names {
		if n.Kind == kind {
			return true
		}
	}
	return false
}

// checkNames applies an authority's constraints to the certificates below it.
// budget is what is left of [maxNameChecks].
func (m *member) checkNames(below []*member, budget *int) (problems []Problem) {
	if m.constraints == nil {
		return nil
	}
	for i, b := range below {
		if i > 0 && b.selfIssued() {
			continue
		}
		names := b.constrainedNames(i == 0)
		if *budget -= len(names) * (len(m.constraints.Permitted) + len(m.constraints.Excluded)); *budget < 0 {
			return append(problems, Problem{TooComplex, m.cert, "more names and name constraints than we compare",
				fmt.Sprintf("at most %d comparisons", maxNameChecks)})
		}
		for _, n := range names {
			if err := m.constraints.allows(n); err != nil {
				problems = append(problems, Problem{NameNotPermitted, b.cert, n.String(), fmt.Sprintf("what %s permits: %v", m.cert, err)})
			}
		}
	}
	return problems
}

// allows applies the constraints to a name. A name that cannot be understood
// meets none.
func (c *NameConstraints) allows(n GeneralName) error {
	for _, x := range c.Excluded {
		if x.Kind == n.Kind && (!understood(n) || x.overlaps(n)) {
			return fmt.Errorf("%s is excluded", x)
		}
	}
	permitted, constrained := false, false
	for _, p := range c.Permitted {
		if p.Kind == n.Kind {
			constrained = true
			permitted = permitted || understood(n) && p.includes(n)
		}
	}
	if constrained && !permitted {
		return errors.New("only " + c.Permitted.String() + " is permitted")
	}
	return nil
}

// understood tells whether a name can be compared with constraints at all.
func understood(n GeneralName) bool {
	switch n.Kind {
	case DNSKind:
		return validHost(strings.TrimPrefix(n.Text(), "*."))
	case EmailKind:
		_, _, ok := splitEmail(n.Text())
		return ok
	case URIKind:
		return uriHost(n.Text()) != ""
	case IPKind:
		_, ok := n.IP()
		return ok
	case DirectoryKind:
		_, err := n.Directory()
		return err == nil
	}
	return false
}

// uriHost returns the host name of a URI, "" if it has none (RFC 5280,
// 4.2.1.10: such a URI is to be refused; so is an address).
func uriHost(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || !validHost(host) {
		return ""
	}
	return host
}

// includes tells whether everything that a name stands for lies within the
// constraint c, overlaps whether anything does: they differ for wildcards
// (CVE-2025-61727).
func (c GeneralName) includes(n GeneralName) bool {
	base, wild := strings.CutPrefix(n.Text(), "*.")
	if n.Kind != DNSKind || !wild {
		return c.matches(n)
	}
	return withinDomain(base, strings.TrimPrefix(c.Text(), "."))
}

func (c GeneralName) overlaps(n GeneralName) bool {
	base, wild := strings.CutPrefix(n.Text(), "*.")
	if n.Kind != DNSKind || !wild {
		return c.matches(n)
	}
	_, parent, _ := strings.Cut(c.Text(), ".")
	return withinDomain(base, strings.TrimPrefix(c.Text(), ".")) || sameHost(base, parent)
}

// matches compares a name without wildcard.
func (c GeneralName) matches(n GeneralName) bool {
	switch n.Kind {
	case DNSKind:
		return withinConstraint(n.Text(), c.Text())
	case URIKind:
		return hostMatches(uriHost(n.Text()), c.Text())
	case EmailKind:
		local, host, _ := splitEmail(n.Text())
		if wantLocal, wantHost, ok := splitEmail(c.Text()); ok {
			return local == wantLocal && sameHost(host, wantHost)
		}
		return c.Text() == "" || hostMatches(host, c.Text())
	case IPKind:
		addr, _ := n.IP()
		prefix, ok := c.Range()
		return ok && prefix.Contains(addr)
	case DirectoryKind:
		name, _ := n.Directory()
		base, err := c.Directory()
		return err == nil && name.Fold().Within(base.Fold())
	}
	return true
}

// withinConstraint is the rule of DNS constraints: the domain and everything
// below it, or only what is below it if it begins with a dot.
func withinConstraint(host, constraint string) bool {
	if below, ok := strings.CutPrefix(constraint, "."); ok {
		return withinDomain(host, below) && !sameHost(host, below)
	}
	return withinDomain(host, constraint)
}

// hostMatches is the rule of URI and email constraints: that host alone, or
// with a leading dot everything below it.
func hostMatches(host, constraint string) bool {
	if strings.HasPrefix(constraint, ".") {
		return withinConstraint(host, constraint)
	}
	return sameHost(host, constraint)
}

func withinDomain(host, domain string) bool {
	host, domain = canonicalHost(host), canonicalHost(domain)
	return domain == "" || host == domain || strings.HasSuffix(host, "."+domain)
}

func sameHost(a, b string) bool { return canonicalHost(a) == canonicalHost(b) }

func canonicalHost(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
