package priority

import (
	"slices"

	"virtls/finding"
)

// A member is an algorithm on a list.
type member struct {
	algorithm
	named bool // a "+" of the string itself names it
}

// members are an ordered list without duplicates.
type members []member

func (l members) index(name string) int {
	return slices.IndexFunc(l, func(m member) bool { return m.name == name })
}

// add appends what is not there yet. What is there keeps its place.
func (l *members) add(named bool, all ...algorithm) {
	for _, a := range all {
		if i := l.index(a.name); i >= 0 {
			(*l)[i].named = (*l)[i].named || named
			continue
		}
		*l = append(*l, member{a, named})
	}
}

func (l *members) remove(all ...algorithm) {
	for _, a := range all {
		if i := l.index(a.name); i >= 0 {
			*l = slices.Delete(*l, i, i+1)
		}
	}
}

// keep removes what does not fit.
func (l *members) keep(fits func(member) bool) {
	*l = slices.DeleteFunc(*l, func(m member) bool { return !fits(m) })
}

// A machine reads the elements of a string one after the other, as GnuTLS does,
// for one build with one system configuration.
type machine struct {
	build    Build
	policy   policy
	keywords []keyword

	versions, macs, ciphers, keyExchanges members
	groups, signatures                    members
	clientTypes, serverTypes              members
	options                               Options
	profile                               profile
	level                                 level
	keywordSeen                           bool // the first keyword replaces lists, later ones append
	notes                                 []finding.Finding
}

// newMachine returns a machine in the state before the first element.
func newMachine(b Build, p policy, first string) *machine {
	m := &machine{build: b, policy: p, keywords: b.keywords()}
	if sameName(first, none) {
		m.keywordSeen = true
		return m
	}
	m.versions.add(false, named(versions, defaultVersions...)...)
	m.clientTypes.add(false, named(certificateTypes, x509Name)...)
	m.serverTypes.add(false, named(certificateTypes, x509Name)...)
	m.signatures.add(false, named(signatures, b.normalSignatures()...)...)
	m.groups.add(false, named(groups, normalGroups...)...)
	return m
}

// An effect is what became of an element.
type effect int

const (
	unknown effect = iota // the build does not know it: a syntax error
	nothing               // known, and without any effect
	done
)

// apply reads one element. Written says that it stands in the string itself,
// not in the system's configuration.
func (m *machine) apply(element string, written bool) effect {
	for _, k := range m.keywords {
		if k.is(element) {
			m.bring(k, m.keywordSeen)
			m.keywordSeen = true
			return done
		}
	}
	if element == "" {
		return unknown
	}
	switch name := element[1:]; element[0] {
	case '+':
		for _, k := range m.keywords {
			if k.is(name) {
				m.bring(k, true)
				return done
			}
		}
		return m.change(name, change{add: true, named: written})
	case '-', '!':
		return m.change(name, change{})
	case '%':
		return m.option(name)
	}
	return unknown
}

// bring applies a keyword. It lowers the profile and the level, never raises
// them; tickets are as the last keyword has them.
func (m *machine) bring(k keyword, appending bool) {
	set := func(l *members, table []algorithm, names []string) {
		if names == nil {
			return
		}
		if !appending {
			*l = nil
		}
		l.add(false, named(table, names...)...)
	}
	set(&m.versions, versions, k.versions)
	set(&m.ciphers, ciphers, k.ciphers)
	set(&m.keyExchanges, keyExchanges, k.keyExchanges)
	set(&m.macs, macs, k.macs)
	set(&m.signatures, signatures, k.signatures)
	set(&m.groups, groups, k.groups)
	if k.profile != profileUnset && (m.profile == profileUnset || m.profile > k.profile) {
		m.profile = k.profile
	}
	if m.level == levelUnset || m.level > k.level {
		m.level = k.level
	}
	m.options.NoTickets, m.options.NoTicketsTLS12 = false, k.noTickets12
}

func (m *machine) option(name string) effect {
	for _, o := range options {
		if o.name != name || o.since > m.build.release {
			continue
		}
		if o.set == nil {
			return nothing
		}
		o.set(m)
		return done
	}
	return unknown
}

// A change adds to lists or removes from them.
type change struct {
	add   bool
	named bool
}

// one adds or removes one algorithm.
func (c change) one(l *members, a algorithm) effect {
	switch {
	case a.role == noEffect:
		return nothing
	case c.add:
		l.add(c.named, a)
	default:
		l.remove(a)
	}
	return done
}

// some adds the algorithms of a class to a list, or removes them from it.
func (c change) some(l *members, table []algorithm, names ...string) effect {
	if c.add {
		l.add(false, named(table, names...)...)
	} else {
		l.remove(named(table, names...)...)
	}
	return done
}

// all adds the algorithms of a class to a list, or empties the list of whatever it holds.
func (c change) all(l *members, table []algorithm, names ...string) effect {
	if c.add {
		return c.some(l, table, names...)
	}
	*l = nil
	return done
}

// change applies the name behind +, - or !. Classes are told by the beginning
// of the name alone: VERS-TLS-ALL is meant by VERS-TLS-ALLIANCE too.
func (m *machine) change(name string, c change) effect {
	if a, ok := find(macs, name, m.build); ok {
		return c.one(&m.macs, a)
	}
	if a, ok := find(ciphers, name, m.build); ok {
		return c.one(&m.ciphers, a)
	}
	if a, ok := find(keyExchanges, name, m.build); ok {
		return c.one(&m.keyExchanges, a)
	}
	for _, class := range classes {
		if rest, ok := cutPrefixFold(name, class.prefix); ok {
			return class.apply(m, c, rest)
		}
	}
	return unknown
}

// classes are the beginnings of names, tried in this order.
var classes = []struct {
	prefix string
	apply  func(m *machine, c change, rest string) effect
}{
	{"VERS-", (*machine).changeVersion},
	{"COMP-", func(*machine, change, string) effect { return nothing }},
	{"CURVE-", (*machine).changeCurve},
	{"GROUP-", (*machine).changeGroup},
	{"CTYPE-", (*machine).changeCertificateType},
	{"SIGN-", (*machine).changeSignature},
	{"MAC-", func(m *machine, c change, rest string) effect {
		return c.classOf(rest, &m.macs, macs, normalMACs, gostMACs)
	}},
	{"CIPHER-", func(m *machine, c change, rest string) effect {
		return c.classOf(rest, &m.ciphers, ciphers, normalCiphers, gostCiphers)
	}},
	{"KX-", func(m *machine, c change, rest string) effect {
		return c.classOf(rest, &m.keyExchanges, keyExchanges, normalKX, gostKX)
	}},
	{"GOST", func(m *machine, c change, _ string) effect {
		c.some(&m.groups, groups, gostGroups...)
		c.all(&m.signatures, signatures, gostSignatures...)
		c.all(&m.macs, macs, gostMACs...)
		c.all(&m.ciphers, ciphers, gostCiphers...)
		return c.all(&m.keyExchanges, keyExchanges, gostKX...)
	}},
}

// classOf applies MAC-ALL and its like. Any other name is ignored, however it
// is spelt.
func (c change) classOf(rest string, l *members, table []algorithm, normal, gost []string) effect {
	switch {
	case hasPrefixFold(rest, "ALL"):
		return c.all(l, table, normal...)
	case hasPrefixFold(rest, "GOST-ALL"):
		return c.all(l, table, gost...)
	}
	return nothing
}

func (m *machine) changeVersion(c change, rest string) effect {
	switch {
	case hasPrefixFold(rest, "TLS-ALL"):
		return c.some(&m.versions, versions, streamVersions...)
	case hasPrefixFold(rest, "DTLS-ALL"):
		if c.add {
			return c.some(&m.versions, versions, datagramVersions...)
		}
		return c.some(&m.versions, versions, append([]string{"DTLS0.9"}, datagramVersions...)...)
	case hasPrefixFold(rest, "ALL"):
		return c.all(&m.versions, versions, defaultVersions...)
	}
	return m.changeOne(c, rest, &m.versions, versions)
}

func (m *machine) changeCurve(c change, rest string) effect {
	if hasPrefixFold(rest, "ALL") {
		return c.all(&m.groups, groups, normalGroups...)
	}
	curve, ok := find(curves, rest, m.build)
	switch {
	case !ok || m.policy.curveDisabled(curve.name):
		return unknown
	case curve.group == "":
		return c.one(&m.groups, algorithm{name: curve.name})
	}
	return c.one(&m.groups, named(groups, curve.group)[0])
}

func (m *machine) changeGroup(c change, rest string) effect {
	switch {
	case hasPrefixFold(rest, "ALL"):
		return c.all(&m.groups, groups, normalGroups...)
	case hasPrefixFold(rest, "DH-ALL"):
		return c.some(&m.groups, groups, finiteGroups...)
	case hasPrefixFold(rest, "EC-ALL"):
		return c.some(&m.groups, groups, ellipticGroups...)
	case hasPrefixFold(rest, "GOST-ALL"):
		return c.some(&m.groups, groups, gostGroups...)
	}
	return m.changeOne(c, rest, &m.groups, groups)
}

func (m *machine) changeCertificateType(c change, rest string) effect {
	both := []*members{&m.clientTypes, &m.serverTypes}
	lists := both
	if r, ok := cutPrefixFold(rest, "CLI-"); ok {
		rest, lists = r, both[:1]
	} else if r, ok := cutPrefixFold(rest, "SRV-"); ok {
		rest, lists = r, both[1:]
	} else if hasPrefixFold(rest, "OPENPGP") {
		return nothing
	}
	if hasPrefixFold(rest, "ALL") {
		for _, l := range lists {
			c.all(l, certificateTypes, x509Name, "RAWPK")
		}
		return done
	}
	if sameName(rest, "X.509") {
		rest = x509Name
	}
	a, ok := find(certificateTypes, rest, m.build)
	if !ok {
		return unknown
	}
	for _, l := range lists {
		c.one(l, a)
	}
	return done
}

func (m *machine) changeSignature(c change, rest string) effect {
	switch {
	case hasPrefixFold(rest, "ALL"):
		return c.all(&m.signatures, signatures, m.build.normalSignatures()...)
	case hasPrefixFold(rest, "GOST-ALL"):
		return c.all(&m.signatures, signatures, gostSignatures...)
	}
	return m.changeOne(c, rest, &m.signatures, signatures)
}

func (m *machine) changeOne(c change, name string, l *members, table []algorithm) effect {
	a, ok := find(table, name, m.build)
	if !ok {
		return unknown
	}
	return c.one(l, a)
}

// sameName compares names as GnuTLS does: in any case, ASCII only.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && sameName(s[:len(prefix)], prefix)
}

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if hasPrefixFold(s, prefix) {
		return s[len(prefix):], true
	}
	return s, false
}
