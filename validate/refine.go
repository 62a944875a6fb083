package validate

import (
	"fmt"
	"slices"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

var (
	kindLeafNotFirst = finding.Define("leaf-not-first", finding.Error,
		"the own certificate is not the first in its file, so an authority's is taken for it",
		"put the own certificate first, then its issuer, then that one's issuer")
	kindIntermediate = finding.Define("intermediate-misplaced", finding.Error,
		"the intermediate authority is behind the own certificate, where these releases do not look when they check it",
		"put the intermediate authority into the CA file, too")
	kindPQC = finding.Define("ml-dsa-not-loadable", finding.Error,
		"the identity is an ML-DSA one, and GnuTLS as distributions build it cannot load it",
		"use a GnuTLS 3.8.10 or later that is built with leancrypto (and say so with --ml-dsa), or give the host a classical identity")
	kindUnusable = finding.Define("cert-usage-useless", finding.Error,
		"the certificate is loaded and never used: its key usage does not allow signatures, so every handshake fails",
		"issue the certificate anew with the usage digitalSignature (certtool: signing_key)")
)

// A problem is what one release says, perhaps in other words of ours.
type problem struct {
	creds.Problem
	refuses bool // the release refuses the files for it
}

// refine says of problems what brought them about, where the files tell.
func refine(problems []creds.Problem, row release, inv *inventory) []problem {
	var list []problem
	for _, p := range problems {
		if p.Finding.Code == "cert-usage-encipherment" && p.Finding.Severity != finding.Error {
			continue // nobody misses it: TLS 1.3 knows no key encipherment, and EC keys cannot do it
		}
		q := problem{p, p.Finding.Severity == finding.Error}
		if own := inv.pairOf(p.Finding.Subject); own != nil {
			if f, ok := cause(p.Finding, row, inv, own); ok {
				q.Finding = f
			}
		}
		list = append(list, q)
	}
	return list
}

// cause finds what is behind a problem with a pair.
func cause(f finding.Finding, row release, inv *inventory, own *pair) (finding.Finding, bool) {
	switch f.Code {
	case "credential-missing":
		if own.certThere != own.keyThere {
			return halfPair(own), true
		}
	case "cert-is-ca":
		if i := own.keysCertificate(); i > 0 {
			return notFirst(own, i), true
		}
	case "chain-unknown-issuer", "chain-untrusted":
		if len(own.chain) > 1 && !row.WholeChain && chainHolds(own.chain, row, inv) {
			return kindIntermediate.Found(own.Cert, own.chain[1].String()).WithWant("it in "+inv.files.CA, "").
				WithFix("sed '1,/-----END CERTIFICATE-----/d' %s >> %s", layout.ShellQuote(own.Cert), layout.ShellQuote(inv.files.CA)), true
		}
	case "private-key-malformed", "cert-malformed":
		if own.isMLDSA() && row.MLDSA != pki.MLDSAUsable {
			return kindPQC.Found(own.Key, "").WithWant("a GnuTLS that can compute ML-DSA", ""), true
		}
	case "private-key-mismatch":
		if i := own.keysCertificate(); i > 0 {
			return notFirst(own, i), true
		}
		if other := inv.keysFile(own); other != "" {
			f.Got = "the key of " + other
			return f, true
		}
	case "cert-usage-signature":
		if f.Severity == finding.Warning {
			return kindUnusable.Found(f.Subject, f.Got).WithWant(f.Want, "GnuTLS"), true
		}
	case "cert-purpose":
		if wrongRole(own.leaf(), inv.files.Role) {
			return f.WithSeverity(finding.Error).WithText("a %s's certificate lies where one of a %s belongs",
				layout.Server+layout.Client-inv.files.Role, inv.files.Role), true
		}
	}
	return f, false
}

// halfPair is what newer releases say of half a pair.
func halfPair(own *pair) finding.Finding {
	there, missing, got := own.Cert, own.Key, "no key"
	if own.keyThere {
		there, missing, got = own.Key, own.Cert, "no certificate"
	}
	all := finding.Catalogue()
	i := slices.IndexFunc(all, func(k finding.Kind) bool { return k.Code == "pair-incomplete" })
	return all[i].Found(there, got).WithWant(missing, "")
}

func notFirst(own *pair, place int) finding.Finding {
	return kindLeafNotFirst.Found(own.Cert, fmt.Sprintf("%s first, and the key's certificate at place %d", own.chain[0], place+1))
}

// keysCertificate returns the place of the certificate that the key belongs to,
// -1 if it is not in the file.
func (p *pair) keysCertificate() int {
	return slices.IndexFunc(p.chain, func(c *pki.Certificate) bool { return p.key != nil && pki.SameKey(c.PublicKey.Key, p.key) })
}

// isMLDSA tells whether certificate or key are ML-DSA's.
func (p *pair) isMLDSA() bool {
	return p.key != nil && pki.AlgorithmOf(p.key.Public()).IsMLDSA() || p.leaf() != nil && p.leaf().PublicKey.Algorithm.IsMLDSA()
}

// keysFile returns the certificate's file that a pair's key belongs to, another
// one than its own.
func (inv *inventory) keysFile(own *pair) string {
	for _, p := range inv.pairs {
		if leaf := p.leaf(); leaf != nil && own.key != nil && p.Cert != own.Cert && pki.SameKey(leaf.PublicKey.Key, own.key) {
			return p.Cert
		}
	}
	return ""
}

// chainHolds tells whether the own file's chain as a whole leads to an anchor.
func chainHolds(chain []*pki.Certificate, row release, inv *inventory) bool {
	return pki.PredictGnuTLS(chain, pki.GnuTLSOptions{Trusted: inv.anchors, Own: true, MLDSA: row.MLDSA}) == nil
}

// wrongRole tells whether a certificate is made for the other role, and not for this one.
func wrongRole(c *pki.Certificate, r layout.Role) bool {
	if c == nil {
		return false
	}
	purposes, _ := c.Extensions.ExtKeyUsage()
	has := func(r layout.Role) bool {
		want := pki.PurposeServer
		if r == layout.Client {
			want = pki.PurposeClient
		}
		return slices.ContainsFunc(purposes, want.Equal)
	}
	return has(layout.Server+layout.Client-r) && !has(r)
}

// A consequence follows from a cause: of the same file, or of the CA's file.
var consequences = map[string][]string{
	"leaf-not-first":             {"private-key-mismatch", "cert-purpose", "cert-usage-signature", "cert-usage-useless", "cert-usage-encipherment", "chain-unordered", "chain-untrusted", "chain-unknown-issuer"},
	"cert-is-ca":                 {"cert-purpose", "cert-usage-signature", "cert-usage-useless", "cert-usage-encipherment", "anchor-not-ca", "chain-untrusted"},
	"intermediate-misplaced":     {"chain-incomplete", "chain-untrusted", "chain-unknown-issuer"},
	"chain-unordered":            {"chain-untrusted", "chain-unknown-issuer", "anchor-not-ca"},
	"chain-incomplete":           {"chain-untrusted", "chain-unknown-issuer"},
	"cert-expired":               {"chain-untrusted", "cert-expires-soon"},
	"cert-not-yet-valid":         {"chain-untrusted"},
	"cert-extension-malformed":   {"chain-untrusted", "cert-purpose"},
	"anchor-expired":             {"chain-untrusted", "anchor-expires-soon"},
	"anchor-not-yet-valid":       {"chain-untrusted"},
	"anchor-not-ca":              {"chain-untrusted", "chain-unknown-issuer"},
	"anchor-without-constraints": {"chain-untrusted", "chain-unknown-issuer"},
	"anchor-usage":               {"chain-untrusted", "chain-unknown-issuer"},
	"anchors-malformed":          {"chain-incomplete", "chain-untrusted", "chain-unknown-issuer"},
	"credential-missing":         {"chain-incomplete", "chain-untrusted", "chain-unknown-issuer"},
	"cert-malformed":             {"private-key-mismatch"},
	"ml-dsa-not-loadable":        {"private-key-mismatch", "chain-untrusted", "chain-weak", "private-key-malformed", "identity-missing"},
	"private-key-malformed":      {"private-key-mismatch", "identity-missing"},
	"private-key-encrypted":      {"identity-missing"},
	"private-key-password":       {"identity-missing"},
	"private-key-mismatch":       {"identity-missing"},
	"pair-incomplete":            {"identity-missing"},
}

// hide leaves out what follows from something else among the problems: from
// something about the same pair, or about the CA's file.
func hide(problems []problem, files layout.Files) []problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p problem) bool {
		return slices.ContainsFunc(problems, func(q problem) bool {
			return slices.Contains(consequences[q.Finding.Code], p.Finding.Code) && (q.refuses || !p.refuses) &&
				related(q.Finding.Subject, p.Finding.Subject, files)
		})
	})
}

// related tells whether two files belong together: they are one, a pair, or the
// first is the CA's.
func related(a, b string, files layout.Files) bool {
	return a == b || a == files.CA || slices.ContainsFunc(files.Pairs, func(p layout.Pair) bool {
		return (p.Cert == a || p.Key == a) && (p.Cert == b || p.Key == b || b == files.CA)
	})
}
