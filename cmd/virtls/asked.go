package main

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

var kindNamesTaken = finding.Define("request-names", finding.Error,
	"the request asks for a name that its maker may not have",
	"give the names yourself with --cn and --dns, or sign what it asks for with --allow-names")

// checkAsked prints what a request asks for, and refuses names that its maker
// chose and that are somebody else's, or stand for many. Names given by flags
// are the operator's choice.
func (c *issueCmd) checkAsked(a *app, state *ca.State, spec *pki.Spec) error {
	subject := ""
	if c.CN == "" && c.Subject == "" {
		subject = spec.Subject.String()
	}
	names := c.asked(spec, subject != "")
	if !a.json {
		a.printf("%s asks for %s\n", oneLine(c.Request), oneLine(spec.Subject.String()))
		if texts := nameTexts(spec.Extensions); len(texts) > 0 {
			a.printf("  names: %s\n", oneLine(strings.Join(texts, ", ")))
		}
	}
	if c.AllowAny {
		return nil
	}
	for _, name := range names {
		if strings.Contains(name, "*") {
			return kindNamesTaken.Found(c.Request, oneLine(name)).WithText("the request asks for a name that stands for many").Wrong()
		}
	}
	public, err := pki.PublicKeyOf(spec.PublicKey)
	if err != nil {
		return kindMalformed.Found(c.Request, "").Unable(err)
	}
	now := time.Now()
	for entry, err := range state.Register().List(a.ctx, register.Filter{Valid: true, ExpiresAfter: now}) {
		if err != nil {
			return err
		}
		taken := sharedName(&entry, subject, names)
		if taken == "" {
			continue
		}
		if cert, err := entry.Parse(); err == nil && bytes.Equal(cert.PublicKey.Raw, public.Raw) {
			continue
		}
		return kindNamesTaken.Found(c.Request, oneLine(taken)).
			WithText("the request asks for what the valid certificate %s of %s has", entry.Serial, oneLine(entry.Holder)).
			WithFix("if it is to take that one's place: virtls revoke %s; if both may have the name: --allow-names", entry.Serial).Wrong()
	}
	return nil
}

// asked returns the names by which peers would know the certificate's owner and
// that no flag gives.
func (c *issueCmd) asked(spec *pki.Spec, subject bool) (names []string) {
	given := func(name string) bool {
		return slices.ContainsFunc(slices.Concat(c.DNS, c.IP), func(flag string) bool {
			ip, err := netip.ParseAddr(flag)
			return strings.EqualFold(flag, name) || err == nil && ip.String() == name
		})
	}
	for _, name := range nameTexts(spec.Extensions) {
		cn := spec.Subject.CommonName()
		if !given(name) && (subject || name != cn && name != shortName(cn)) {
			names = append(names, name)
		}
	}
	if cn := spec.Subject.CommonName(); subject && cn != "" {
		names = append(names, cn)
	}
	return names
}

// sharedName returns what a certificate of the register has of a subject and
// names, empty if it has nothing.
func sharedName(entry *register.Certificate, subject string, names []string) string {
	if subject != "" && strings.EqualFold(entry.Subject, subject) {
		return subject
	}
	theirs := entry.Names
	if name, err := dn.Parse(entry.Subject); err == nil && name.CommonName() != "" {
		theirs = append(slices.Clone(theirs), name.CommonName())
	}
	for _, name := range names {
		if slices.ContainsFunc(theirs, func(t string) bool { return strings.EqualFold(t, name) }) {
			return name
		}
	}
	return ""
}
