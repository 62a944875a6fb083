package priority

import (
	"math"
	"slices"
	"strings"

	"virtls/finding"
)

func (m *machine) note(f finding.Finding) { m.notes = append(m.notes, f) }

// finish turns what the elements left on the lists into the result: it applies
// the system's policy, takes away what does not go together, and makes suites
// of key exchanges, ciphers and MACs. Lacking names what keeps GnuTLS from
// taking the string ("No or insufficient priorities were set").
func (m *machine) finish(text string) (list *List, lacking string) {
	m.applyPolicy()
	m.dropVersions(text, "no build has it, or the system disables it", func(v member) bool {
		return m.policy.allows(v)
	})
	if reason := m.rulesOutTLS13(); reason != "" {
		m.dropVersions(text, reason+" rules TLS 1.3 out", func(v member) bool { return v.id != tls13 })
	}
	if len(m.versions) == 0 {
		return nil, "no protocol version"
	}
	has13, has12, hasOld := m.has(tls13), m.has(tls12), m.has(ssl30, tls10, tls11)
	psk := m.hasKX(plainPSK, ellipticPSK, finitePSK)
	if !psk && has13 && len(m.versions) == 1 {
		m.keyExchanges = nil // TLS 1.3 needs none
	}
	list = &List{Text: text, Build: m.build}
	suites := m.suites()
	negotiatedGroups := m.negotiatedGroups(suites, has13)
	negotiatedSignatures := m.negotiatedSignatures()
	if len(negotiatedSignatures) == 0 {
		m.dropVersions(text, "no signature scheme is left, which (D)TLS 1.2 and later need", func(v member) bool {
			return v.id != tls12 && v.id != tls13 && v.id != dtls12
		})
	}
	if len(m.versions) == 0 || len(m.versions) == 1 && m.versions[0].id == ssl30 {
		return nil, "no protocol version"
	}
	if len(suites) == 0 {
		return nil, "no cipher suite"
	}
	if has13 && !psk && len(negotiatedGroups) == 0 {
		m.dropVersions(text, "TLS 1.3 needs a group", func(v member) bool { return v.id != tls13 })
	} else if has13 && hasOld && !has12 {
		m.dropVersions(text, "TLS 1.3 goes with older versions only if TLS 1.2 is there", func(v member) bool { return v.id != tls13 })
	}
	m.raiseProfile()
	list.Suites = m.printable(suites)
	list.Versions, list.Ciphers, list.MACs = m.versions.entries(), m.ciphers.entries(), m.macs.entries()
	list.KeyExchanges, list.Groups, list.Signatures = m.keyExchanges.entries(), m.groups.entries(), m.signatures.entries()
	list.NegotiatedGroups, list.NegotiatedSignatures = negotiatedGroups.entries(), negotiatedSignatures.entries()
	list.ClientCertificates, list.ServerCertificates = m.clientTypes.entries(), m.serverTypes.entries()
	list.Options, list.Profile, list.MinDHBits = m.options, profiles[m.profile].name, dhBits[m.level]
	list.Notes = m.notes
	return list, ""
}

// applyPolicy takes away what the system disables, and sets what it demands.
func (m *machine) applyPolicy() {
	switch m.policy.sessionHash {
	case "request":
		m.options.ForceSessionHash, m.options.NoSessionHash = false, false
	case "require":
		m.options.ForceSessionHash, m.options.NoSessionHash = true, false
	}
	if m.policy.allowlist {
		return // what @SYSTEM brings is all there is, unless the string adds to it
	}
	m.keyExchanges.remove(m.policy.keyExchanges...)
	m.groups.remove(m.policy.groups...)
	m.ciphers.remove(m.policy.ciphers...)
	m.macs.remove(m.policy.macs...)
}

// allows tells whether a version is there. An allowlist lets a string enable
// even those that it does not list, SSL 3.0 included.
func (p policy) allows(v member) bool {
	return p.allowlist || v.role != unsupported && !lists(p.versions, v.name)
}

// raiseProfile holds the profile to the system's least one.
func (m *machine) raiseProfile() {
	if least := m.policy.minProfile; m.level < profiles[least].level {
		m.profile, m.level = least, profiles[least].level
	}
}

// rulesOutTLS13 names what TLS 1.3 cannot be negotiated with, if that is there.
func (m *machine) rulesOutTLS13() string {
	switch {
	case m.ciphers.index("NULL") >= 0:
		return "the NULL cipher"
	case m.hasKX(srp):
		return "SRP"
	case m.hasKX(rsaPSK):
		return "RSA-PSK"
	case m.options.NoExtensions:
		return "%NO_EXTENSIONS"
	}
	return ""
}

// dropVersions removes versions that do not fit, and notes which.
func (m *machine) dropVersions(text, reason string, fits func(member) bool) {
	for _, v := range m.versions {
		if !fits(v) {
			m.note(kindDropped.Found(where(text, 0), "VERS-"+v.name).WithText("GnuTLS silently drops %s: %s", v.name, reason).
				WithWant("", m.build.String()))
		}
	}
	m.versions.keep(fits)
}

func (m *machine) has(ids ...uint16) bool {
	return slices.ContainsFunc(m.versions, func(v member) bool { return slices.Contains(ids, v.id) })
}

func (m *machine) hasKX(roles ...role) bool {
	return slices.ContainsFunc(m.keyExchanges, func(k member) bool { return slices.Contains(roles, k.role) })
}

// suiteKey is what tells suites apart.
type suiteKey struct{ keyExchange, cipher, mac string }

var suiteByParts = func() map[suiteKey]Suite {
	index := map[suiteKey]Suite{}
	for _, s := range suites {
		index[suiteKey{s.KeyExchange, s.Cipher, s.MAC}] = s
	}
	return index
}()

// suites combines the lists: those of TLS 1.3 first, then by key exchange, by
// cipher, by MAC.
func (m *machine) suites() []Suite {
	var all []Suite
	for _, kx := range append(members{{}}, m.keyExchanges...) {
		for _, cipher := range m.ciphers {
			for _, mac := range m.macs {
				s, ok := suiteByParts[suiteKey{kx.name, cipher.name, mac.name}]
				if ok && !m.policy.hashInsecure(s.hash()) {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// hash returns the hash of a suite's key derivation.
func (s Suite) hash() string {
	switch {
	case strings.HasSuffix(s.Name, "SHA384"):
		return "SHA384"
	case s.KeyExchange == "VKO-GOST-12":
		return "STREEBOG-256"
	}
	return "SHA256"
}

// printable leaves the suites that a version on the list knows.
func (m *machine) printable(all []Suite) []Suite {
	var tls, dtls uint16
	for _, v := range m.versions {
		if v.role == datagram {
			dtls = max(dtls, datagramAge(v.id))
		} else {
			tls = max(tls, v.id)
		}
	}
	return slices.DeleteFunc(all, func(s Suite) bool { return tls < s.MinVersion && dtls < s.minDatagram() })
}

// datagramAge orders the versions of DTLS, whose code points count backwards.
func datagramAge(id uint16) uint16 {
	return uint16(slices.Index([]uint16{dtls09, dtls10, dtls12}, id) + 1)
}

// minDatagram returns the age of the least version of DTLS that has the suite.
func (s Suite) minDatagram() uint16 {
	switch {
	case s.MinVersion == tls13, s.Cipher == "ARCFOUR-128", s.KeyExchange == "VKO-GOST-12":
		return math.MaxUint16
	case s.MinVersion == tls12, s.Name == "TLS_ECDHE_PSK_NULL_SHA384":
		return datagramAge(dtls12)
	}
	return datagramAge(dtls09)
}

// negotiatedGroups returns the groups of a hello: hybrid ones if there is a
// suite of TLS 1.3, then each kind where the first suite needs it; with TLS 1.3
// also those that no suite needs.
func (m *machine) negotiatedGroups(suites []Suite, has13 bool) members {
	var usable, ordered members
	for _, g := range m.groups {
		if g.role != plain && (g.curve == "" || !m.policy.curveDisabled(g.curve)) {
			usable = append(usable, g)
		}
	}
	take := func(kind role) {
		for _, g := range usable {
			if g.role == kind && ordered.index(g.name) < 0 {
				ordered = append(ordered, g)
			}
		}
	}
	for _, s := range suites {
		switch m.kxRole(s.KeyExchange) {
		case noKX:
			take(hybridGroup)
		case ellipticKX, ellipticPSK:
			take(ellipticGroup)
		case finiteKX, finitePSK:
			take(finiteGroup)
		}
	}
	if has13 {
		for _, g := range usable {
			take(g.role)
		}
	}
	return ordered
}

// noKX stands for the key exchange of TLS 1.3, which suites do not name.
const noKX role = -1

func (m *machine) kxRole(name string) role {
	if i := m.keyExchanges.index(name); i >= 0 {
		return m.keyExchanges[i].role
	}
	return noKX
}

// negotiatedSignatures returns the schemes of a hello: those that a version on
// the list uses and the system lets be.
func (m *machine) negotiatedSignatures() members {
	var kept members
	has13 := m.has(tls13)
	before13 := len(m.versions) > 1 || !has13
	for _, s := range m.signatures {
		usable := s.role == anyTLS || s.role == onlyTLS12 && before13 || s.role == onlyTLS13 && has13
		if strings.HasPrefix(s.name, "ML-DSA-") && m.build.release < r3813 {
			usable = false // 3.8.9 has no code points for it
		}
		p := m.policy
		if usable && (p.allowlist || !lists(p.signatures, s.name) && !lists(p.hashes, s.hash)) {
			kept = append(kept, s)
		}
	}
	return kept
}

// entries returns the list in its exported form.
func (l members) entries() []Entry {
	var entries []Entry
	for _, a := range l {
		entries = append(entries, Entry{Name: a.name, ID: a.id, Named: a.named})
	}
	return entries
}
