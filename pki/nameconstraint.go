package pki

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"virtls/pki/dn"
)

// maxNameWork bounds the comparisons of names with constraints, and the like,
// in one chain: the octets of all that is compared, and nameWork for each
// comparison, which makes 1<<18 of them at most. GnuTLS stops at 1<<20
// comparisons (3.8.13), crypto/x509 at 250000, whatever their lengths.
const (
	maxNameWork = 1 << 24
	nameWork    = 64
)

// A comparand is a name or a constraint, decoded once to be compared often.
type comparand struct {
	GeneralName
	ok     bool         // it is understood; as a constraint, well-formed
	host   string       // in lower case and without a final dot: a DNS name, the host of a mailbox or a URI
	below  bool         // of a constraint: what is below the host alone, for it began with a dot
	local  string       // of a mailbox
	addr   netip.Addr   // of an address
	prefix netip.Prefix // of a constraint of addresses
	dir    dn.Folded    // of a directory name
}

// newName decodes a name. One that is not understood meets no constraint.
func newName(n GeneralName) comparand {
	c := comparand{GeneralName: n}
	text := n.Text()
	switch n.Kind {
	case DNSKind:
		c.host, c.ok = text, validHost(strings.TrimPrefix(text, "*."))
	case EmailKind:
		c.local, c.host, c.ok = splitEmail(text)
	case URIKind:
		c.host = uriHost(text)
		c.ok = c.host != ""
	case IPKind:
		c.addr, c.ok = n.IP()
	case DirectoryKind:
		c.dir, c.ok = fold(n)
	}
	c.host = canonicalHost(c.host)
	return c
}

// newConstraint decodes a constraint (RFC 5280, 4.2.1.10). Those of kinds that
// are not understood pass: names of that kind are refused when one turns up.
func newConstraint(n GeneralName) comparand {
	c := comparand{GeneralName: n, ok: true}
	text := n.Text()
	c.host, c.below = strings.CutPrefix(text, ".")
	switch n.Kind {
	case DNSKind:
		// RFC 5280 allows no leading dot here; OpenSSL's manual shows one, so
		// private authorities write it. It leaves out the domain itself.
		c.ok = text == "" || validHost(c.host)
	case URIKind:
		c.ok = validHost(c.host)
	case EmailKind:
		if strings.Contains(text, "@") {
			c.local, c.host, c.ok = splitEmail(text)
		} else {
			c.ok = text == "" || validHost(c.host)
		}
	case IPKind:
		c.prefix, c.ok = n.Range()
	case DirectoryKind:
		c.dir, c.ok = fold(n)
	}
	c.host = canonicalHost(c.host)
	return c
}

func fold(n GeneralName) (dn.Folded, bool) {
	name, err := n.Directory()
	return name.Fold(), err == nil
}

// subtrees are name constraints, decoded.
type subtrees struct {
	permitted, excluded []comparand
	octets              int // of all of them
}

// subtrees decodes the constraints. The error names the first that is
// malformed: constraints of which one cannot be read are not applied.
func (c NameConstraints) subtrees() (*subtrees, error) {
	s := new(subtrees)
	decode := func(list GeneralNames) (decoded []comparand, err error) {
		for _, n := range list {
			x := newConstraint(n)
			if !x.ok {
				return nil, fmt.Errorf("malformed name constraint %s", n)
			}
			decoded = append(decoded, x)
			s.octets += len(n.Bytes)
		}
		return decoded, nil
	}
	var err error
	if s.permitted, err = decode(c.Permitted); err == nil {
		s.excluded, err = decode(c.Excluded)
	}
	return s, err
}

func (s *subtrees) len() int { return len(s.permitted) + len(s.excluded) }

// validHost tells whether s is a DNS name without wildcards. Underscores pass:
// they are in use on private networks.
func validHost(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
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
// names (RFC 5280, 4.2.1.10), and the CN where it counts as a host name.
func (m *member) constrainedNames() GeneralNames {
	names := slices.Clip(m.names)
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
	if m.hostCN != "" {
		names = append(names, DNSName(m.hostCN))
	}
	return names
}

func (names GeneralNames) has(kind NameKind) bool {
	return slices.ContainsFunc(names, func(n GeneralName) bool { return n.Kind == kind })
}

// decodedNames returns the names that constraints apply to, unless comparing
// them is more than the budget allows.
func (m *member) decodedNames(s *subtrees, budget *int) (names []comparand, ok bool) {
	if m.held == nil {
		m.held = m.constrainedNames()
		for _, n := range m.held {
			m.heldOctets += len(n.Bytes)
		}
	}
	if *budget -= len(m.held)*(s.octets+nameWork*s.len()) + s.len()*m.heldOctets; *budget < 0 {
		return nil, false
	}
	if m.decoded == nil {
		for _, n := range m.held {
			m.decoded = append(m.decoded, newName(n))
		}
	}
	return m.decoded, true
}

// checkNames applies an authority's constraints to the certificates below it,
// and returns the first thing that is wrong with the names of each. budget is
// what is left of [maxNameWork].
func (m *member) checkNames(below []*member, budget *int) (problems []Problem) {
	if m.constraints == nil || m.constraints.len() == 0 {
		return nil
	}
	for i, b := range below {
		if i > 0 && b.selfIssued {
			continue
		}
		names, ok := b.decodedNames(m.constraints, budget)
		if !ok {
			return append(problems, Problem{TooComplex, m.cert, "more names and name constraints than we compare",
				fmt.Sprintf("at most %d comparisons, fewer of long names", maxNameWork/nameWork)})
		}
		for _, n := range names {
			if err := m.constraints.allows(n); err != nil {
				problems = append(problems, Problem{NameNotPermitted, b.cert, n.String(), fmt.Sprintf("what %s permits: %v", m.cert, err)})
				break
			}
		}
	}
	return problems
}

// allows applies the constraints to a name. A name that cannot be understood
// meets none.
func (s *subtrees) allows(n comparand) error {
	for _, x := range s.excluded {
		if x.Kind == n.Kind && (!n.ok || x.overlaps(n)) {
			return fmt.Errorf("%s is excluded", x)
		}
	}
	constrained := false
	for _, p := range s.permitted {
		if p.Kind == n.Kind && n.ok && p.includes(n) {
			return nil
		}
		constrained = constrained || p.Kind == n.Kind
	}
	if constrained {
		return fmt.Errorf("only %s is permitted", ofKind(s.permitted, n.Kind))
	}
	return nil
}

func ofKind(list []comparand, kind NameKind) (names GeneralNames) {
	for _, c := range list {
		if c.Kind == kind {
			names = append(names, c.GeneralName)
		}
	}
	return names
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
// constraint c, overlaps whether anything does or might: they differ for
// wildcards (CVE-2025-61727), for directory names ([dn.Folded.MayLieWithin])
// and for IPv4 addresses in the form of IPv6.
func (c comparand) includes(n comparand) bool {
	if base, wild := n.wildcard(); wild {
		return withinDomain(base, c.host)
	}
	return c.matches(n)
}

func (c comparand) overlaps(n comparand) bool {
	if base, wild := n.wildcard(); wild {
		_, parent, _ := strings.Cut(c.host, ".")
		return withinDomain(base, c.host) || !c.below && base == parent
	}
	switch n.Kind {
	case DirectoryKind:
		return n.dir.MayLieWithin(c.dir)
	case IPKind:
		return c.matches(n) || unmapped(c.prefix).Contains(n.addr.Unmap())
	}
	return c.matches(n)
}

// wildcard returns the domain below which a DNS name stands for everything.
func (c comparand) wildcard() (base string, ok bool) {
	if c.Kind != DNSKind {
		return "", false
	}
	return strings.CutPrefix(c.host, "*.")
}

// unmapped returns the IPv4 form of a range of IPv4 addresses.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// matches compares a name without wildcard, or as if it had none.
func (c comparand) matches(n comparand) bool {
	switch n.Kind {
	case DNSKind:
		return withinDomain(n.host, c.host) && !(c.below && n.host == c.host)
	case URIKind:
		return c.matchesHost(n.host)
	case EmailKind:
		if c.local != "" {
			return n.local == c.local && n.host == c.host
		}
		return len(c.Bytes) == 0 || c.matchesHost(n.host)
	case IPKind:
		return c.prefix.Contains(n.addr)
	case DirectoryKind:
		return n.dir.Within(c.dir)
	}
	return true
}

// matchesHost is the rule of URI and email constraints: that host alone, or
// with a leading dot everything below it.
func (c comparand) matchesHost(host string) bool {
	if c.below {
		return withinDomain(host, c.host) && host != c.host
	}
	return host == c.host
}

// withinDomain compares canonical names. Everything lies within "".
func withinDomain(host, domain string) bool {
	above, ok := strings.CutSuffix(host, domain)
	return ok && (above == "" || domain == "" || strings.HasSuffix(above, "."))
}

func canonicalHost(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
