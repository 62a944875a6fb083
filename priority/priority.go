// Package priority reads GnuTLS priority strings, which say what QEMU and
// libvirt offer and take in TLS, and expands them as a given build of GnuTLS does.
//
//	s, err := priority.Parse("NORMAL:-VERS-TLS1.0:-VERS-TLS1.1")
//	build, err := priority.BuildFor("3.8.9")
//	list, err := s.Expand(build, priority.SystemConfig{})
//
// A string is a list of elements between colons:
//
//	NORMAL, PFS, SECURE128, ...   a keyword: the first sets all lists, later ones append
//	+NAME, -NAME, !NAME           add an algorithm, version or class; remove it (- and ! are the same)
//	%OPTION                       change how sessions behave
//	@NAME,NAME                    in front only: a string of the system's configuration
//
// [String.Expand] yields what gnutls-cli --list --priority prints with that
// build, and what remains of it in a hello. The rules are those of GnuTLS's
// manual ("Priority Strings") and of lib/priority.c; tests compare the result
// with gnutls-cli 3.7.9, 3.8.9 and 3.8.13 for thousands of strings. Oddities are
// kept: adding what is there changes no order, "-SIGN-GOST-ALL" clears all
// signatures, "+MAC-FOO" passes unnoticed, elements behind the 128th do not count.
//
// [List.For] says what of a list an engine honours. Nothing here touches files
// or the network but [ReadSystem]. All types are immutable and safe for
// concurrent use.
package priority

import (
	"errors"
	"fmt"
	"strings"

	"virtls/finding"
	"virtls/pki"
)

const (
	maxLength   = 1 << 14 // octets of a string; GnuTLS knows no bound
	maxElements = 128     // GnuTLS ignores what follows
)

// A String is a priority string that at least one build of GnuTLS understands.
type String struct {
	text     string
	names    []string  // behind @
	elements []element // of the string itself
	at       bool
}

// An element is what stands between two colons.
type element struct {
	text string
	pos  int // offset in the string
}

// Parse reads a string. The error is a *[finding.Failure] that names the first
// element that no build knows, its position, and the word that was probably
// meant. A string that is right for some builds only is no error here, but in
// [String.Expand] for the others.
func Parse(s string) (*String, error) {
	p, err := scan(s)
	if err != nil {
		return nil, err
	}
	m := newMachine(anyBuild, policy{}, none)
	for i, e := range p.elements {
		if i == 0 && !p.at && sameName(e.text, none) {
			continue
		}
		if i == maxElements {
			break
		}
		if m.apply(e.text, true) == unknown {
			return nil, syntaxError(p.text, e, anyBuild)
		}
	}
	return p, nil
}

// scan takes a string apart, whatever its elements may be.
func scan(s string) (*String, error) {
	if len(s) > maxLength {
		return nil, kindSyntax.Found("priority string", fmt.Sprintf("%d octets", len(s))).
			WithWant(fmt.Sprintf("at most %d octets", maxLength), "").Usage()
	}
	p := &String{text: s}
	start := 0
	for start < len(s) && isSpace(s[start]) {
		start++
	}
	if strings.HasPrefix(s[start:], "@") {
		p.at = true
		names, _, more := strings.Cut(s[start+1:], ":")
		p.names = strings.Split(names, ",")
		if !more {
			return p, nil
		}
		for start += 1 + len(names) + 1; start < len(s) && s[start] == ' '; {
			start++
		}
	}
	p.elements = split(s, start)
	return p, nil
}

// split returns the elements of s from an offset on. Blanks count only in front
// of an element, and there they are skipped.
func split(s string, start int) []element {
	var elements []element
	for pos := start; ; {
		text, _, more := strings.Cut(s[pos:], ":")
		elements = append(elements, element{text, pos})
		if !more {
			return elements
		}
		pos += len(text) + 1
		for pos < len(s) && s[pos] == ' ' {
			pos++
		}
	}
}

// String returns the text that was parsed.
func (s *String) String() string { return s.text }

// Expand returns the lists that a build of GnuTLS makes of the string on a
// system. The error is a *[finding.Failure]: an element that this build does not
// know, though others do; a @NAME that the system does not have; or a list
// with nothing to negotiate, with which GnuTLS makes no session.
func (s *String) Expand(b Build, sys SystemConfig) (*List, error) {
	m, err := s.run(b, sys)
	if err != nil {
		return nil, err
	}
	list, lacking := m.finish(s.text)
	if lacking == "" && len(list.Versions) == 0 {
		lacking = "no protocol version"
	}
	if lacking != "" {
		found := kindEmpty.Found(where(s.text, 0), lacking).WithWant("a version and a cipher suite", b.String())
		if !m.keywordSeen {
			found = found.WithFix("begin with a keyword, such as NORMAL")
		}
		return nil, found.Usage()
	}
	return list, nil
}

// Check expands the string for several builds and returns what is wrong with it
// for each, and what each silently makes of it otherwise than it says.
func (s *String) Check(sys SystemConfig, builds ...Build) []finding.Finding {
	var found []finding.Finding
	for _, b := range builds {
		list, err := s.Expand(b, sys)
		var failure *finding.Failure
		switch {
		case errors.As(err, &failure):
			found = append(found, failure.Finding)
		case err == nil:
			found = append(found, list.Notes...)
		}
	}
	return found
}

// run reads all elements, those of the system's string first.
func (s *String) run(b Build, sys SystemConfig) (*machine, error) {
	p := sys.policy(b)
	all := s.elements
	var origin setting // of what stands in front of the string's own elements
	if s.at {
		var err error
		if origin, err = s.resolve(p, sys, b); err != nil {
			return nil, err
		}
		all = append(split(origin.value, 0), s.elements...)
	}
	own := len(all) - len(s.elements)
	m := newMachine(b, p, all[0].text)
	for i, e := range all {
		if i == 0 && sameName(e.text, none) {
			continue
		}
		if i == maxElements {
			m.note(kindIgnored.Found(where(s.text, e.pos), fmt.Sprintf("%d elements", len(all))).
				WithWant(fmt.Sprintf("at most %d elements", maxElements), b.String()))
			break
		}
		switch effect := m.apply(e.text, i >= own); {
		case effect == unknown && i < own:
			return nil, kindSystemString.Found(sys.at(origin.line), clip(e.text)).WithWant("what it knows", b.String()).Usage()
		case effect == unknown && newMachine(b, policy{}, none).apply(e.text, true) != unknown:
			return nil, kindCurveDisabled.Found(where(s.text, e.pos), clip(e.text)).WithWant("a curve that "+sys.where()+" enables", b.String()).Usage()
		case effect == unknown:
			return nil, syntaxError(s.text, e, b)
		case effect == nothing && i >= own:
			m.note(kindIgnored.Found(where(s.text, e.pos), clip(e.text)).WithWant("", b.String()))
		}
	}
	return m, nil
}

// resolve finds what the system puts in place of @NAME,NAME.
func (s *String) resolve(p policy, sys SystemConfig, b Build) (setting, error) {
	for _, name := range s.names {
		if found, ok := p.lookup(name); ok {
			return found, nil
		}
	}
	return setting{}, kindSystem.Found(where(s.text, 0), clip("@"+strings.Join(s.names, ","))).
		WithWant(fmt.Sprintf("a setting %s below [priorities] in %s", clip(strings.Join(s.names, " or ")), sys.where()), b.String()).
		WithFix("write NORMAL instead, or have such a setting").Usage()
}

// where tells findings what the string and the position in it are. Positions
// count octets from 1.
func where(s string, pos int) string {
	if pos == 0 {
		return "priority " + clip(s)
	}
	return fmt.Sprintf("priority %s, character %d", clip(s), pos+1)
}

// clip quotes foreign text for a message, shortened.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

func (c SystemConfig) where() string {
	if c.file == "" {
		return SystemFile
	}
	return c.file
}

// A List is what a string expands to. Lists are ordered, the preferred first.
type List struct {
	Text  string // the string
	Build Build

	// What gnutls-cli --list --priority prints.
	Suites       []Suite
	Versions     []Entry
	Ciphers      []Entry
	MACs         []Entry
	KeyExchanges []Entry
	Groups       []Entry
	Signatures   []Entry

	// What is left of groups and signatures in a hello: hybrid groups come
	// first, those that no suite needs go, and so do signatures that no version
	// uses or the system disables. Engines negotiate these.
	NegotiatedGroups     []Entry
	NegotiatedSignatures []Entry

	ClientCertificates []Entry // types of certificates: "X509", "RAWPK"
	ServerCertificates []Entry

	Options   Options
	Profile   pki.GnuTLSProfile // for verification of certificates
	MinDHBits int               // size of the smallest Diffie-Hellman prime that is taken, in bits

	// Notes tell what GnuTLS silently does otherwise than the string says:
	// elements without effect, versions that are gone.
	Notes []finding.Finding
}

// An Entry is one algorithm, version, group or scheme by GnuTLS's name.
type Entry struct {
	Name  string // as gnutls-cli prints it: "AES-256-GCM"; without VERS-, GROUP-, SIGN-
	ID    uint16 // code point on the wire, 0 for what has none by itself (ciphers, MACs, key exchanges)
	Named bool   // a "+" names it; else a keyword, a class such as +SIGN-ALL or the system brings it
}

// A Suite is a cipher suite by GnuTLS's name.
type Suite struct {
	Name        string // "TLS_ECDHE_RSA_AES_128_GCM_SHA256"
	ID          uint16
	KeyExchange string // empty for those of TLS 1.3
	Cipher      string
	MAC         string // "AEAD" if it has none of its own
	MinVersion  uint16 // least version of TLS: 0x0303
}
