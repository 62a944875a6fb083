package validate

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

var (
	kindGap = finding.Define("identity-not-read", finding.Warning,
		"nobody reads this identity: indices are tried from 0 on, up to the first that has no files",
		"rename the files so that no index is left out")
	kindOddName = finding.Define("credential-name-unknown", finding.Warning,
		"the name is nearly one that is read, so nobody reads the file",
		"give the file a name that is read, or delete it")
	kindSoon = finding.Define("cert-expires-soon", finding.Warning,
		"the certificate ends soon", "renew it: virtls renew, or virtls apply for a fleet")
	kindAnchorSoon = finding.Define("anchor-expires-soon", finding.Warning,
		"a trusted authority ends soon, and everything that it has issued with it",
		"put the authority's next certificate beside this one, and have everything issued anew")
	kindNameMissing = finding.Define("cert-name-missing", finding.Warning,
		"the server's certificate lacks names of this host, so clients that connect by one of them refuse it",
		"issue the certificate anew with all names by which clients connect, or have them connect by one that is there")
	kindUnrelated = finding.Define("anchor-unrelated", finding.Info,
		"the authority has issued nothing here; whoever has a certificate of it is trusted all the same",
		"take it out of the CA file unless peers have certificates of it")
	kindManyAnchors = finding.Define("anchors-beyond-16", finding.Warning,
		"the own check looks at the first 16 certificates of the CA file only",
		"put the authorities of this host's own certificates first")
	kindKeyInPublic = finding.Define("key-in-public-file", finding.Error,
		"a private key is in a file that is meant to be public",
		"take the key out of the file; replace it if others have had the chance to read it")
)

// check makes the checks that no consumer makes.
func (t *tree) check(s *set, inv *inventory) {
	t.checkIndices(s, inv)
	t.checkOddNames(s, inv)
	t.checkNames(s, inv)
	t.checkAnchors(s, inv)
	for _, p := range inv.pairs {
		t.checkPair(s, p)
	}
	t.checkPublic(inv)
	t.listCRLs(inv)
}

// checkIndices finds identities behind a gap.
func (t *tree) checkIndices(s *set, inv *inventory) {
	if inv.files.Named {
		return
	}
	gap := layout.NoIndex
	for _, p := range inv.pairs {
		switch there := p.certThere || p.keyThere; {
		case p.Index == layout.NoIndex:
		case !there && gap == layout.NoIndex:
			gap = p.Index
		case there && gap != layout.NoIndex:
			file := p.Cert
			if !p.certThere {
				file = p.Key
			}
			t.note(kindGap.Found(file, fmt.Sprintf("index %d and no index %d", p.Index, gap)).
				WithWant(fmt.Sprintf("index %d", gap), "QEMU 10.2 and libvirt 11.10 and newer"))
		}
	}
}

// oddName matches names that look as if they belonged to an identity or a bundle.
var oddName = regexp.MustCompile(`^((server|client)[-_]?(cert|key)|ca[-_]?(cert|crl))[-_]?[0-9]*\.(pem|crt|cer|key)$`)

// checkOddNames finds files that are nearly called what a consumer reads.
func (t *tree) checkOddNames(s *set, inv *inventory) {
	f := inv.files
	if f.Named {
		return
	}
	dirs := map[string]bool{path.Dir(f.CA): true}
	for _, p := range f.Pairs {
		dirs[path.Dir(p.Cert)], dirs[path.Dir(p.Key)] = true, true
	}
	known := namesOf(f.Service)
	for dir := range dirs {
		for _, name := range t.list(dir) {
			file := path.Join(dir, name)
			if !oddName.MatchString(name) || slices.Contains(known, name) || !strings.HasPrefix(name, s.role.String()) && !strings.HasPrefix(name, "ca") {
				continue
			}
			if near := finding.Nearest(name, known); near != "" {
				t.note(kindOddName.Found(file, name).WithWant(near, program(s.consumer)))
			}
		}
	}
}

// namesOf lists the names of all files that a service reads.
func namesOf(s layout.Service) (names []string) {
	loc := layout.System(s, "")
	names = []string{path.Base(loc.CA()), path.Base(loc.CRL()), path.Base(loc.DH())}
	for _, r := range []layout.Role{layout.Server, layout.Client} {
		for _, p := range loc.Files(r).Pairs {
			names = append(names, path.Base(p.Cert), path.Base(p.Key))
		}
	}
	return names
}

// checkPair judges one identity's dates.
func (t *tree) checkPair(s *set, p pair) {
	leaf := p.leaf()
	if leaf == nil {
		return
	}
	t.certificate(p.Cert, s.role.String(), leaf)
	t.soon(kindSoon, p.Cert, leaf)
	t.noteAll(leaf.Subject.Check(p.Cert))
}

// soon notes what ends within the time that counts as soon, of its life at most a third.
func (t *tree) soon(kind *finding.Kind, file string, c *pki.Certificate) {
	left := c.NotAfter.Sub(t.o.Now)
	if limit := min(t.o.Soon, c.NotAfter.Sub(c.NotBefore)/3); left >= 0 && left < limit {
		t.note(kind.Found(file, fmt.Sprintf("%s, which ends in %s, on %s", c, duration(left), c.NotAfter.UTC().Format(time.RFC3339))))
	}
}

// checkNames wants all names of the host in a server's certificate.
func (t *tree) checkNames(s *set, inv *inventory) {
	if s.role != layout.Server {
		return
	}
	for _, p := range inv.pairs {
		leaf := p.leaf()
		if leaf == nil {
			continue
		}
		var missing []string
		for _, name := range t.names {
			if _, err := pki.MatchHostname(leaf, name); err != nil && !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			has := (&pki.HostnameError{Certificate: leaf}).ValidFor()
			t.note(kindNameMissing.Found(p.Cert, "names "+strings.Join(has, ", ")).WithWant(strings.Join(missing, ", "), "clients of this host"))
		}
	}
}

// checkAnchors judges the CA's file as a whole.
func (t *tree) checkAnchors(s *set, inv *inventory) {
	used := map[*pki.Certificate]bool{}
	for _, p := range inv.pairs {
		for _, c := range p.chain {
			markIssuers(c, inv.anchors, used)
		}
	}
	for _, ca := range inv.anchors {
		t.certificate(inv.files.CA, "authority", ca)
		t.soon(kindAnchorSoon, inv.files.CA, ca)
		if len(used) > 0 && !used[ca] && ca.IsCA() {
			t.note(kindUnrelated.Found(inv.files.CA, ca.String()))
		}
	}
	const checked = 16
	for i, row := range t.rows[s.consumer] {
		if n := len(inv.anchors); row.CheckedAnchors == checked && n > checked {
			t.noteBy(kindManyAnchors.Found(inv.files.CA, fmt.Sprintf("%d certificates", n)).WithWant(fmt.Sprintf("at most %d", checked), ""), s.consumer, i)
		}
	}
}

// markIssuers marks the anchors above a certificate.
func markIssuers(c *pki.Certificate, anchors []*pki.Certificate, used map[*pki.Certificate]bool) {
	for _, ca := range anchors {
		if !used[ca] && (ca.Issued(c) || pki.SameCertificate(ca, c)) {
			used[ca] = true
			markIssuers(ca, anchors, used)
		}
	}
}

// checkPublic finds private keys in public files.
func (t *tree) checkPublic(inv *inventory) {
	for _, p := range inv.pairs {
		if p.secret && p.Cert != p.Key {
			t.note(kindKeyInPublic.Found(p.Cert, "").WithWant("the key in "+p.Key+" alone", ""))
		}
	}
	if pki.HasPrivateKey(read(t.view, inv.files.CA)) {
		t.note(kindKeyInPublic.Found(inv.files.CA, "").WithWant("certificates of authorities alone", ""))
	}
}

// certificate notes that one was met, for those who watch the days that are left.
func (t *tree) certificate(file, use string, c *pki.Certificate) {
	t.met(Certificate{File: t.at(file), Use: use, Subject: c.Subject.String(), Serial: c.SerialHex(), NotAfter: c.NotAfter})
}

func (t *tree) met(c Certificate) {
	c.DaysLeft = c.NotAfter.Sub(t.o.Now).Hours() / 24
	if !slices.Contains(t.certificates, c) {
		t.certificates = append(t.certificates, c)
	}
}

func (t *tree) listCRLs(inv *inventory) {
	for _, crl := range inv.crls {
		if !crl.NextUpdate.IsZero() {
			t.met(Certificate{File: t.at(inv.files.CRL), Use: "revocation list", Subject: crl.Issuer.String(), NotAfter: crl.NextUpdate})
		}
	}
}

// duration says how long a time is: "3 days", "5 hours".
func duration(d time.Duration) string {
	if days := int(d.Hours() / 24); days > 0 {
		return fmt.Sprintf("%d days", days)
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}
