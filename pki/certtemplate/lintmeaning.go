package certtemplate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"virtls/finding"
	"virtls/pki"
)

var (
	kindNeedsCA = finding.Define("template-needs-ca", finding.Error,
		"certtool passes the option over unless the certificate is an authority's",
		"write ca in a line of its own, or delete this one")
	kindCannotSign = finding.Define("template-ca-cannot-sign", finding.Warning,
		"the authority says nothing about signing certificates; certtool gives it no key usage at all",
		"add the lines cert_signing_key and crl_signing_key")
	kindEncryption = finding.Define("template-encryption-ignored", finding.Warning,
		"only RSA keys encrypt; with any other key certtool leaves keyEncipherment out, and libvirt before 11.6 refuses the certificate for that",
		"delete encryption_key if all libvirt hosts have 11.6 or later, else make an RSA key")
	kindKeyUsage = finding.Define("template-usage-not-for-key", finding.Error,
		"keys of this type must not be marked for that use",
		"delete the line")
	kindEmail = finding.Define("template-email-ignored", finding.Error,
		"certtool leaves the e-mail address out of a server's certificate, without a word",
		"delete the line, or make another certificate for e-mail")
	kindNoNames = finding.Define("template-server-without-names", finding.Warning,
		"the server has no alternative names; clients other than GnuTLS and those that connect to an address refuse it",
		"add a dns_name for each name and an ip_address for each address of the server")
	kindCNUnnamed = finding.Define("template-cn-not-named", finding.Warning,
		"the common name looks like a host name, but peers compare only the alternative names, and it is not among them",
		"add it as dns_name")
	kindPurposeTwice = finding.Define("template-purpose-twice", finding.Warning,
		"the key purpose is there twice",
		"delete one of the lines")
	kindPolicyGap = finding.Define("template-policy-gap", finding.Error,
		"certtool reads policies up to the first missing number, and texts only of those that it reads",
		"number the policies from 1 on without gaps")
	kindReplaced = finding.Define("template-extension-replaced", finding.Error,
		"certtool writes this extension itself, and replaces the one given here or gives up",
		"use the options that make the extension")
	kindFixedSerial = finding.Define("template-fixed-serial", finding.Warning,
		"a serial number must be different in each certificate of an authority; this template can be used once",
		"delete the line: a random number is chosen then")
	kindBothExpirations = finding.Define("template-two-expirations", finding.Warning,
		"expiration_days does not count beside expiration_date",
		"delete one of the lines")
	kindOutlives = finding.Define("template-outlives-issuer", finding.Error,
		"the certificate would outlive its authority; peers refuse it from then on",
		"choose an earlier date, or renew the authority first")
	kindEnded = finding.Define("template-ends-before", finding.Error,
		"the certificate would never be valid",
		"choose a later date for its end")
	kindNeedsRequest = finding.Define("template-needs-request", finding.Warning,
		"the option only matters when a certificate is made from a request",
		"delete the line, or give a request")
	kindFromRequest = finding.Define("template-ignored-with-request", finding.Warning,
		"what the option says comes from the request; the template's value does not count",
		"delete the line, or make the certificate without the request")
	kindRejected = finding.Define("template-rejected", finding.Error,
		"certtool refuses the template",
		"correct the template")
)

// combinations looks at options that only make sense together with others, or
// without them.
func (l *linter) combinations() {
	l.authority()
	l.keyUsage()
	l.policies()
	l.fromRequest()
	for _, e := range l.t.Entries {
		switch {
		case e.Name == "email" && l.t.has("tls_www_server"):
			l.add(e.Line, l.at(e.Line, kindEmail, e.Value))
		case e.Name == "serial":
			l.add(e.Line, l.at(e.Line, kindFixedSerial, e.Value))
		case e.Name == "expiration_days" && l.t.has("expiration_date"):
			l.add(e.Line, l.at(e.Line, kindBothExpirations, e.text()))
		case strings.HasPrefix(e.Name, "add_") && strings.HasSuffix(e.Name, "extension"):
			l.rawExtension(e)
		}
	}
}

func (l *linter) authority() {
	if l.t.has("ca") {
		switch {
		case l.t.has("cert_signing_key"):
		case slices.ContainsFunc([]string{"signing_key", "crl_signing_key", "key_agreement", "data_encipherment", "non_repudiation", "tls_www_server"}, l.t.has):
			l.add(l.line("ca"), l.at(l.line("ca"), kindCannotSign, "a key usage without keyCertSign").WithSeverity(finding.Error).
				WithText("the authority must not sign certificates, because other uses of its key are named and this one is not"))
		default:
			l.add(l.line("ca"), l.at(l.line("ca"), kindCannotSign, ""))
		}
		return
	}
	for _, e := range l.t.Entries {
		switch e.Name {
		case "cert_signing_key", "crl_signing_key", "path_len",
			"nc_permit_dns", "nc_exclude_dns", "nc_permit_ip", "nc_exclude_ip", "nc_permit_email", "nc_exclude_email":
			l.add(e.Line, l.at(e.Line, kindNeedsCA, e.text()))
		}
	}
}

// notForKey names the standard that forbids a use for a key, "" if none does.
func notForKey(option string, alg pki.KeyAlgorithm) (rfc string) {
	agrees, encrypts := option == "key_agreement", option == "data_encipherment"
	switch {
	case alg.IsMLDSA() && (agrees || encrypts):
		return "RFC 9881, 5"
	case (alg == pki.Ed25519 || alg == pki.Ed448) && (agrees || encrypts):
		return "RFC 9295, 3"
	case alg == pki.ECDSA && encrypts:
		return "RFC 8813, 3"
	}
	return ""
}

func (l *linter) keyUsage() {
	alg, known := l.key()
	if !known {
		return
	}
	for _, e := range l.t.Entries {
		if rfc := notForKey(e.Name, alg); rfc != "" {
			l.add(e.Line, l.at(e.Line, kindKeyUsage, e.Name+" with a key of type "+alg.String()).WithWant("no "+e.Name, rfc))
		}
		if e.Name == "encryption_key" && alg != pki.RSA {
			l.add(e.Line, l.at(e.Line, kindEncryption, "a key of type "+alg.String()).WithWant("an RSA key", "libvirt before 11.6"))
		}
	}
}

// policies looks for numbers that certtool does not reach.
func (l *linter) policies() {
	reached := 0
	for reached < 8 && l.t.has(fmt.Sprintf("policy%d", reached+1)) {
		reached++
	}
	for _, e := range l.t.Entries {
		if isPolicyName(e.Name) && int(e.Name[len("policy")]-'0') > reached {
			l.add(e.Line, l.at(e.Line, kindPolicyGap, e.Name).WithWant(fmt.Sprintf("policy%d", reached+1), "certtool"))
		}
	}
}

func (l *linter) rawExtension(e Entry) {
	oid, _, _ := strings.Cut(e.Value, " ")
	always := map[string]string{
		pki.OIDBasicConstraints.String(): "ca and path_len",
		pki.OIDSubjectKeyID.String():     "none: it is computed from the key",
		pki.OIDAuthorityKeyID.String():   "none: it is taken from the authority",
	}
	if options, ok := always[oid]; ok {
		l.add(e.Line, l.at(e.Line, kindReplaced, oid).WithWant(options, "certtool"))
	}
}

func (l *linter) fromRequest() {
	for _, e := range l.t.Entries {
		switch e.Name {
		case "honor_crq_extensions", "honor_crq_ext":
			if l.in.Request == nil {
				l.add(e.Line, l.at(e.Line, kindNeedsRequest, e.text()))
			}
		case "dn", "cn", "country", "state", "locality", "organization", "o", "unit", "ou", "uid", "dc", "dn_oid", "pkcs9_email", "key_purpose_oid", "tls_feature":
			if l.in.Request != nil {
				l.add(e.Line, l.at(e.Line, kindFromRequest, quoteShort(e.text())))
			}
		}
	}
}

// compiled looks at the certificate that comes of the template, if nothing is
// wrong with that so far.
func (l *linter) compiled() {
	if _, known := l.key(); !known || l.hasErrors() {
		return
	}
	spec, _, err := l.t.Certificate(l.in)
	if err != nil {
		l.add(wholeFile, l.at(wholeFile, kindRejected, err.Error()))
		return
	}
	l.validity(spec)
	l.peerNames(spec)
	l.purposes(spec)
}

func (l *linter) validity(spec *pki.Spec) {
	line := min(l.line("expiration_date"), l.line("expiration_days"))
	until := spec.NotAfter.Format(time.RFC3339)
	if l.line("expiration_date") == wholeFile && l.line("expiration_days") == wholeFile {
		until += " (365 days, because the template does not say)"
	}
	if issuer := l.in.Issuer; issuer != nil && spec.NotAfter.After(issuer.NotAfter) {
		left := int(time.Unix(l.in.today(), 0).Sub(issuer.NotAfter).Hours() / -24)
		f := l.at(line, kindOutlives, until).WithWant("at most "+issuer.NotAfter.Format(time.RFC3339), "the authority's own end")
		if left > 0 {
			f = f.WithFix("write expiration_days = %d, or renew the authority first", left)
		}
		l.add(line, f)
	}
	if !spec.NotAfter.After(spec.NotBefore) || spec.NotAfter.Unix() <= l.in.today() {
		l.add(line, l.at(line, kindEnded, fmt.Sprintf("valid from %s to %s", spec.NotBefore.Format(time.RFC3339), until)))
	}
}

// peerNames looks at what peers will compare with the host that they meant.
func (l *linter) peerNames(spec *pki.Spec) {
	names, err := spec.Extensions.SubjectAltName()
	if err != nil {
		return
	}
	var hosts []string
	for _, n := range names {
		if n.Kind == pki.DNSKind || n.Kind == pki.IPKind {
			hosts = append(hosts, strings.ToLower(n.Text()))
		}
	}
	cn := spec.Subject.CommonName()
	switch {
	case l.t.has("tls_www_server") && hosts == nil:
		f := l.at(l.line("tls_www_server"), kindNoNames, "only the common name "+quoteShort(cn))
		if isHostName(cn) {
			f = f.WithFix("add dns_name = %s", cn)
		}
		l.add(l.line("tls_www_server"), f)
	case hosts != nil && isHostName(cn) && strings.Contains(cn, ".") && !slices.Contains(hosts, strings.ToLower(cn)):
		l.add(l.line("cn"), l.at(l.line("cn"), kindCNUnnamed, cn).WithFix("add dns_name = %s", cn))
	}
}

func (l *linter) purposes(spec *pki.Spec) {
	purposes, err := spec.Extensions.ExtKeyUsage()
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, p := range purposes {
		if seen[p.String()] {
			line := wholeFile
			for _, e := range l.t.Entries {
				if e.Name == "key_purpose_oid" && e.Value == p.String() {
					line = e.Line
				}
			}
			l.add(line, l.at(line, kindPurposeTwice, p.String()))
		}
		seen[p.String()] = true
	}
}
