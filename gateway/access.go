package gateway

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"virtls/authz"
	"virtls/finding"
	"virtls/pki/dn"
)

var (
	kindAccess = finding.Define("gateway-access", finding.Error,
		"a rule of the access list cannot be understood, or has nothing to judge",
		"a name is a pattern for DNs as virtls show prints them first (* any run, ? one character); an address is 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
	kindFrom = finding.Define("gateway-address-denied", finding.Error,
		"the access list has no rule for the address that a client comes from",
		"add the address to a rule, with --allow-from or from: of the configuration, if the client is to come in")
)

// A Rule lets clients in: those with the name, if it has one, that come from one
// of the networks, if it has any. A rule with neither lets in everybody.
type Rule struct {
	DN   string         // pattern for the name, as libvirt's tls_allowed_dn_list has it
	From []netip.Prefix // clients over UNIX sockets come from nowhere
}

// Access is a list of rules, one of which must let a client in. Without rules
// everybody may come in whose certificate is good.
type Access []Rule

// ParsePrefix reads a network, or an address for a network of its own. An IPv4
// address that is written as an IPv6 one (::ffff:192.0.2.7) is an IPv4 address.
func ParsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			p, err = a.Prefix(a.BitLen())
		}
	}
	switch {
	case err != nil:
	case p.Addr().Is4In6() && p.Bits() >= 96:
		// Addresses of clients are judged without the mapping.
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	case strings.Contains(text, "%"):
		// A rule that forgot it would let in more than it says.
		return p, kindAccess.Found(text, "").WithText("the zone of an address cannot be judged").WithFix("leave out what begins with the per cent sign").Usage()
	}
	if err != nil || p != p.Masked() {
		f := kindAccess.Found(text, "").WithText("this is no network or address")
		if err == nil {
			f = f.WithText("there are bits set to the right of the network's").WithFix("write %s", p.Masked())
		}
		return p, f.Usage()
	}
	return p, nil
}

// ParsePrefixes reads networks, of which each text may have several with commas
// between them.
func ParsePrefixes(texts []string) (list []netip.Prefix, err error) {
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ",") {
			p, err := ParsePrefix(one)
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
	}
	return list, nil
}

// comesFrom tells whether the rule is for an address.
func (r Rule) comesFrom(addr netip.Addr) bool {
	if len(r.From) == 0 {
		return true
	}
	for _, p := range r.From {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// at returns the rules for clients that come from an address.
func (a Access) at(addr netip.Addr) Access {
	var rules Access
	for _, r := range a {
		if r.comesFrom(addr) {
			rules = append(rules, r)
		}
	}
	return rules
}

// names tells whether a rule judges names.
func (a Access) names() bool {
	for _, r := range a {
		if r.DN != "" {
			return true
		}
	}
	return false
}

// Allowed implements [authz.Authorizer] for the rules that are left of a list
// when the client's address has been judged.
func (a Access) Allowed(identity string) (bool, error) {
	for _, r := range a {
		if r.DN == "" {
			return true, nil
		}
	}
	var patterns authz.DNList
	for _, r := range a {
		patterns = append(patterns, r.DN)
	}
	return patterns.Allowed(identity)
}

// both wants two lists to let a name in.
type both [2]authz.Authorizer

// Allowed implements [authz.Authorizer].
func (b both) Allowed(identity string) (bool, error) {
	for _, list := range b {
		if ok, err := list.Allowed(identity); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// addrOf returns the address that a connection comes from, the zero one for a
// UNIX socket.
func addrOf(c net.Conn) netip.Addr {
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// explain says more of a refusal if a pattern would match the name with its parts
// in the other order: the one in which certtool and QEMU's documents print names.
func (a Access) explain(err error) error {
	var denied *finding.Failure
	if !errors.As(err, &denied) || denied.Code != "peer-denied" {
		return err
	}
	parts := strings.Split(denied.Got, ",")
	slices.Reverse(parts)
	reversed := strings.Join(parts, ",")
	for _, r := range a {
		if r.DN != "" && r.DN != denied.Got && dn.Match(r.DN, reversed) {
			better := *denied
			better.Finding = denied.WithFix("turn the pattern %s round: names are compared in the order of the certificate, which is %s", r.DN, denied.Got)
			return &better
		}
	}
	return err
}
