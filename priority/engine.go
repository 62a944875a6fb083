package priority

import (
	"slices"
	"strings"

	"virtls/finding"
)

// An Engine is what an implementation of TLS has, by code points.
type Engine struct {
	Name       string // in messages: "crypto/tls"
	Versions   []uint16
	Suites     []uint16
	Groups     []uint16
	Signatures []uint16 // schemes; certificates are X.509
}

var kindUnsupported = finding.Define("priority-unsupported", finding.Error,
	"the priority string asks by name for what virtls does not have",
	"leave out what was found")

// For returns what an engine honours of a list, in the list's order. Dropped
// names what a keyword or class brings and the engine lacks, as elements of a
// string would ("VERS-TLS1.1", "AES-256-CBC"); versions of DTLS go without a
// word. What a "+" names and the engine lacks is an error, a *[finding.Failure],
// and so is a list of which no version or no suite is left.
func (l *List) For(e Engine) (honoured *List, dropped []string, err error) {
	r := restriction{}
	parts := e.parts()
	h := *l
	h.Versions = r.keep("VERS-", l.Versions, e.Versions)
	h.KeyExchanges = r.keepNames(l.KeyExchanges, parts)
	h.Ciphers = r.keepNames(l.Ciphers, parts)
	h.MACs = r.keepNames(l.MACs, parts)
	h.Groups = r.keep("GROUP-", l.Groups, e.Groups)
	h.Signatures = r.keep("SIGN-", l.Signatures, e.Signatures)
	h.ClientCertificates = r.keep("CTYPE-CLI-", l.ClientCertificates, []uint16{x509Type})
	h.ServerCertificates = r.keep("CTYPE-SRV-", l.ServerCertificates, []uint16{x509Type})
	if len(r.refused) > 0 {
		return nil, nil, kindUnsupported.Found(where(l.Text, 0), strings.Join(r.refused, ", ")).WithWant("what "+e.Name+" has", "").Usage()
	}
	quiet := restriction{}
	h.NegotiatedGroups = quiet.keep("", l.NegotiatedGroups, e.Groups)
	h.NegotiatedSignatures = quiet.keep("", l.NegotiatedSignatures, e.Signatures)
	h.Suites = slices.DeleteFunc(slices.Clone(l.Suites), func(s Suite) bool {
		return !slices.Contains(e.Suites, s.ID) || !h.speaks(s)
	})
	switch {
	case len(h.Versions) == 0:
		err = kindEmpty.Found(where(l.Text, 0), "no protocol version").WithWant("a version that "+e.Name+" has", "").Usage()
	case len(h.Suites) == 0:
		err = kindEmpty.Found(where(l.Text, 0), "no cipher suite").WithWant("a suite that "+e.Name+" has", "").Usage()
	}
	if err != nil {
		return nil, nil, err
	}
	return &h, r.dropped, nil
}

// speaks tells whether a version on the list has the suite.
func (l *List) speaks(s Suite) bool {
	return slices.ContainsFunc(l.Versions, func(v Entry) bool {
		if s.MinVersion == tls13 {
			return v.ID == tls13
		}
		return s.MinVersion <= v.ID && v.ID < tls13
	})
}

// parts are the key exchanges, ciphers and MACs that an engine's suites are made of.
func (e Engine) parts() map[string]bool {
	names := map[string]bool{}
	for _, s := range suites {
		if slices.Contains(e.Suites, s.ID) {
			names[s.KeyExchange], names[s.Cipher], names[s.MAC] = true, true, true
		}
	}
	return names
}

// A restriction collects what does not survive it.
type restriction struct{ dropped, refused []string }

func (r *restriction) keep(prefix string, entries []Entry, ids []uint16) []Entry {
	return r.filter(prefix, entries, func(e Entry) bool { return slices.Contains(ids, e.ID) && (e.ID != 0 || e.Name == x509Name) })
}

func (r *restriction) keepNames(entries []Entry, names map[string]bool) []Entry {
	return r.filter("", entries, func(e Entry) bool { return names[e.Name] })
}

func (r *restriction) filter(prefix string, entries []Entry, has func(Entry) bool) []Entry {
	var kept []Entry
	for _, e := range entries {
		switch {
		case has(e):
			kept = append(kept, e)
		case e.Named:
			r.refused = append(r.refused, "+"+prefix+e.Name)
		case !strings.HasPrefix(e.Name, "DTLS"):
			r.dropped = append(r.dropped, prefix+e.Name)
		}
	}
	return kept
}
