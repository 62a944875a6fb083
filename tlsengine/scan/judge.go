package scan

import (
	"strings"

	"virtls/finding"
)

var (
	kindNoVersion = finding.Define("scan-nothing-accepted", finding.Error,
		"the server accepts no version of TLS with any suite", "look into its log; its priority string leaves nothing, it has no certificate, or with pre-shared keys alone it shows nothing to who has none")
	kindOldVersion = finding.Define("scan-old-version", finding.Warning,
		"the server accepts versions of TLS that are no longer to be used (RFC 8996)", "leave them out of its priority string: NORMAL:-VERS-TLS1.0:-VERS-TLS1.1")
	kindSSL = finding.Define("scan-ssl", finding.Error,
		"the server accepts SSL 3.0, which is broken (RFC 7568)", "leave it out of its priority string, and renew the software")
	kindBrokenSuite = finding.Define("scan-broken-suite", finding.Error,
		"the server accepts suites that encrypt badly or not at all", "take them out of its priority string or list of ciphers")
	kindAnonymousSuite = finding.Define("scan-anonymous", finding.Error,
		"the server accepts sessions in which nobody proves who he is: whoever is in between reads and changes everything", "use tls-creds-x509 or tls-creds-psk in the place of tls-creds-anon; leave +ANON-DH and +ANON-ECDH out of priority strings")
	kindNoForwardSecrecy = finding.Define("scan-no-forward-secrecy", finding.Warning,
		"the server accepts suites without forward secrecy: who has the key one day reads what was recorded before", "NORMAL:-RSA, and -PSK for pre-shared keys, take them away; nobody chooses them who has something better")
	kindCBC = finding.Define("scan-cbc", finding.Info,
		"the server accepts suites with CBC, which current clients do not choose", "NORMAL:-AES-128-CBC:-AES-256-CBC takes them away")
	kindOnlyOld = finding.Define("scan-no-tls13", finding.Info,
		"the server accepts no TLS 1.3", "take -VERS-TLS1.3 and the like out of its priority string; anonymous credentials have TLS 1.2 only")
)

// broken are parts of names of suites that are no protection.
var broken = []string{"_NULL_", "_EXPORT_", "_RC4_", "_DES_", "_3DES_", "_RC2_", "_IDEA_", "_MD5"}

// judge finds what is weak.
func (r *Result) judge() {
	var old, weak, anonymous, static, cbc []string
	accepted := false
	for _, v := range r.Versions {
		accepted = accepted || v.Accepted
		if v.Accepted && (v.Version == TLS10.String() || v.Version == TLS11.String()) {
			old = append(old, v.Version)
		}
		if v.Accepted && v.Version == SSL30.String() {
			r.find(kindSSL, []string{v.Version})
		}
		for _, s := range v.Suites {
			switch {
			case containsAny(s.Name, broken):
				weak = add(weak, s.Name)
			case s.Class() == Anonymous:
				anonymous = add(anonymous, s.Name)
			case strings.HasPrefix(s.Name, "TLS_RSA_") || strings.HasPrefix(s.Name, "TLS_PSK_WITH"):
				static = add(static, s.Name)
			case strings.Contains(s.Name, "_CBC_"):
				cbc = add(cbc, s.Name)
			}
		}
	}
	if !accepted {
		r.Findings = append(r.Findings, kindNoVersion.Found("", r.Versions[0].Refusal))
		return
	}
	r.find(kindBrokenSuite, weak)
	r.find(kindAnonymousSuite, anonymous)
	r.find(kindOldVersion, old)
	r.find(kindNoForwardSecrecy, static)
	r.find(kindCBC, cbc)
	if !r.Versions[0].Accepted {
		r.Findings = append(r.Findings, kindOnlyOld.Found("", r.Versions[0].Refusal))
	}
}

func (r *Result) find(k *finding.Kind, what []string) {
	if len(what) > 0 {
		r.Findings = append(r.Findings, k.Found("", strings.Join(what, ", ")))
	}
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text+"_", p) {
			return true
		}
	}
	return false
}

// add appends what is not there yet.
func add(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}
