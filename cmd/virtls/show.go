package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"virtls/finding"
	"virtls/fleet"
	"virtls/pki"
	"virtls/pki/certtext"
	"virtls/psk"
)

type showCmd struct {
	File []string `arg:"" help:"Files: certificates, private keys, requests, revocation lists, PSK files; - for standard input."`
	Text bool     `help:"Print the full text, as certtool -i does."`
}

func (*showCmd) Help() string {
	return `Says what is in a file. The subject is printed in both orders: the one that tls_allowed_dn_list and
QEMU's access lists are matched against, and the reverse one that certtool -i prints.

Examples:
  virtls show /etc/pki/libvirt/servercert.pem
  virtls show --json server-cert.pem server-key.pem`
}

// An item is one object of a file, for --json.
type item struct {
	File        string     `json:"file"`
	Kind        string     `json:"kind"` // certificate, private key, request, crl, psk
	Subject     string     `json:"subject,omitempty"`
	RFC4514     string     `json:"subjectRFC4514,omitempty"`
	Issuer      string     `json:"issuer,omitempty"`
	Names       []string   `json:"names,omitempty"`
	Uses        []string   `json:"uses,omitempty"`
	Key         string     `json:"key,omitempty"`
	KeyID       string     `json:"keyID,omitempty"` // equal for a key, its certificate and its request
	Serial      string     `json:"serial,omitempty"`
	Fingerprint string     `json:"sha256,omitempty"`
	NotBefore   *time.Time `json:"notBefore,omitempty"`
	NotAfter    *time.Time `json:"notAfter,omitempty"`
	DaysLeft    *int       `json:"daysLeft,omitempty"`
	Encrypted   bool       `json:"encrypted,omitempty"`
	Count       int        `json:"count,omitempty"` // revoked certificates, users

	text func(io.Writer) error
}

type showReport struct {
	finding.Report
	Items []item `json:"items"`
}

func (c *showCmd) Run(a *app, g *Globals) error {
	report := showReport{Items: []item{}}
	unable := false
	for _, path := range c.File {
		items, findings, err := a.examine(path)
		if err != nil {
			if len(c.File) == 1 || a.ctx.Err() != nil {
				return err
			}
			findings, unable = append(findings, finding.Of(err)), true // the other files are shown all the same
		}
		report.Items = append(report.Items, items...)
		report.Findings = append(report.Findings, findings...)
	}
	report.Report = finding.NewReport(capped(report.Findings))
	err := c.print(a, report)
	if unable && errors.Is(err, errWrong) {
		return errUnable
	}
	return err
}

// examine takes a file apart.
func (a *app) examine(path string) ([]item, []finding.Finding, error) {
	data, err := a.input(path)
	if err != nil {
		return nil, nil, err
	}
	defer clear(data)
	return examine(path, data, time.Now())
}

func (c *showCmd) print(a *app, report showReport) error {
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
		return a.judge(report.Findings)
	}
	if !c.Text {
		printItems(a.stdout, report.Items)
		return a.judge(report.Findings)
	}
	for _, it := range report.Items {
		if it.text == nil {
			it.print(a.stdout)
		} else if err := it.text(a.stdout); err != nil {
			return err
		}
	}
	return a.judge(report.Findings)
}

// printItems prints items with a blank line between them.
func printItems(w io.Writer, items []item) {
	for i, it := range items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		it.print(w)
	}
}

// examine takes the content of a file apart.
func examine(path string, data []byte, now time.Time) (items []item, findings []finding.Finding, err error) {
	if certs, err := pki.ParseCertificatesPEM(data); err == nil {
		for _, c := range certs {
			items = append(items, certificateItem(path, c, now))
			findings = append(findings, judgeCertificate(path, c, now)...)
		}
	} else if strings.Contains(string(data), "-----BEGIN CERTIFICATE-----") {
		return nil, nil, kindMalformed.Found(path, "").Unable(err)
	}
	if pki.HasPrivateKey(data) {
		it, err := keyItem(path, data)
		if err != nil {
			return nil, nil, err
		}
		items = append(items, it)
	}
	if r, err := pki.ParseRequestPEM(data); err == nil {
		items = append(items, requestItem(path, r))
	}
	if crls, err := pki.ParseCRLsPEM(data); err == nil {
		for _, crl := range crls {
			items = append(items, crlItem(path, crl, now))
			if !crl.NextUpdate.IsZero() && now.After(crl.NextUpdate) {
				findings = append(findings, kindShowStale.Found(path, crl.NextUpdate.UTC().Format(time.RFC3339)))
			}
		}
	}
	if items != nil {
		return items, findings, nil
	}
	if f, err := psk.Parse(path, data); err == nil && looksLikePSK(path, f) {
		return []item{{File: path, Kind: "psk", Count: len(f.Entries())}}, f.Check(), nil
	}
	return nil, nil, kindMalformed.Found(path, "").
		WithText("this is no certificate, key, request, revocation list or PSK file that virtls can read").Unable(nil)
}

// looksLikePSK tells a PSK file from other text with colons: one user at least
// has a usable key, or the name says what it is.
func looksLikePSK(path string, f *psk.File) bool {
	return filepath.Ext(path) == ".psk" || slices.ContainsFunc(f.Entries(), func(e psk.Entry) bool { return e.Key.Size() > 0 })
}

func certificateItem(path string, c *pki.Certificate, now time.Time) item {
	left := fleet.DaysLeft(c.NotAfter, now)
	sum := c.SHA256()
	it := item{
		File: path, Kind: "certificate", Subject: c.Subject.String(), RFC4514: c.Subject.RFC4514(), Issuer: c.Issuer.String(),
		Key: keyName(c.PublicKey), KeyID: hex.EncodeToString(c.PublicKey.ID()), Serial: c.SerialHex(),
		Fingerprint: hex.EncodeToString(sum[:]), NotBefore: &c.NotBefore, NotAfter: &c.NotAfter, DaysLeft: &left,
		Names: nameTexts(c.Extensions), Uses: uses(c),
		text: func(w io.Writer) error { return certtext.Certificate(w, c, certtext.Options{}) },
	}
	return it
}

func keyName(k *pki.PublicKey) string {
	if k.Key == nil {
		return fmt.Sprintf("%s (%v)", k.Algorithm, k.Err)
	}
	if k.Algorithm.IsMLDSA() {
		return k.Algorithm.String() // the name says the size
	}
	return fmt.Sprintf("%s, %d bits", k.Algorithm, k.Size())
}

func nameTexts(x pki.Extensions) []string {
	names, _ := x.SubjectAltName()
	var texts []string
	for _, n := range names {
		if ip, ok := n.IP(); ok {
			texts = append(texts, ip.String())
		} else if n.Text() != "" {
			texts = append(texts, n.Text())
		}
	}
	return texts
}

// uses says in words what a certificate may do.
func uses(c *pki.Certificate) []string {
	if c.IsCA() {
		return []string{"authority"}
	}
	purposes, err := c.Extensions.ExtKeyUsage()
	if err != nil || purposes == nil {
		return []string{"anything"}
	}
	var list []string
	for _, p := range purposes {
		switch {
		case p.Equal(pki.PurposeServer):
			list = append(list, "server")
		case p.Equal(pki.PurposeClient):
			list = append(list, "client")
		default:
			list = append(list, p.String())
		}
	}
	return list
}

var (
	kindShowExpired = finding.Define("shown-certificate-expired", finding.Error, "the certificate has expired", "renew it: virtls renew, or virtls apply for a fleet")
	kindShowEarly   = finding.Define("shown-certificate-early", finding.Error, "the certificate is not valid yet", "check the clock of this machine and of the one that issued it")
	kindShowNoName  = finding.Define("shown-certificate-nameless", finding.Error, "the certificate has an empty subject, which makes libvirt's peers refuse it", "issue it again with a CN")
	kindShowCNOnly  = finding.Define("shown-certificate-cn-only", finding.Warning, "the server certificate has its name only in the CN, which programs other than GnuTLS's do not look at", "issue it again with the name among the DNS names")
	kindShowStale   = finding.Define("shown-crl-stale", finding.Warning, "the next revocation list was due, so this one may lack what was revoked since", "sign a new one: virtls ca crl, or virtls apply for a fleet")
)

func judgeCertificate(path string, c *pki.Certificate, now time.Time) []finding.Finding {
	var list []finding.Finding
	if now.After(c.NotAfter) {
		list = append(list, kindShowExpired.Found(path, c.NotAfter.UTC().Format(time.RFC3339)))
	}
	if now.Before(c.NotBefore) {
		list = append(list, kindShowEarly.Found(path, c.NotBefore.UTC().Format(time.RFC3339)))
	}
	if len(c.Subject) == 0 {
		list = append(list, kindShowNoName.Found(path, ""))
	}
	names, _ := c.Extensions.SubjectAltName()
	for _, use := range uses(c) {
		if use == "server" && names == nil {
			list = append(list, kindShowCNOnly.Found(path, c.Subject.String()))
		}
	}
	return list
}

func keyItem(path string, data []byte) (item, error) {
	key, err := pki.ParsePrivateKeyPEM(data, nil)
	if err == pki.ErrNoPassword {
		return item{File: path, Kind: "private key", Encrypted: true}, nil
	}
	if err != nil {
		return item{}, kindMalformed.Found(path, "").Unable(err)
	}
	public, err := pki.PublicKeyOf(key.Public())
	if err != nil {
		return item{}, kindMalformed.Found(path, "").Unable(err)
	}
	return item{File: path, Kind: "private key", Key: keyName(public), KeyID: hex.EncodeToString(public.ID())}, nil
}

func requestItem(path string, r *pki.Request) item {
	return item{
		File: path, Kind: "request", Subject: r.Subject.String(), RFC4514: r.Subject.RFC4514(),
		Key: keyName(r.PublicKey), KeyID: hex.EncodeToString(r.PublicKey.ID()), Names: nameTexts(r.Extensions),
		text: func(w io.Writer) error { return certtext.Request(w, r, certtext.Options{}) },
	}
}

func crlItem(path string, c *pki.CRL, now time.Time) item {
	it := item{
		File: path, Kind: "crl", Issuer: c.Issuer.String(), NotBefore: &c.ThisUpdate, Count: len(c.Revoked),
		text: func(w io.Writer) error { return certtext.CRL(w, c) },
	}
	if n := c.Number(); n != nil {
		it.Serial = n.Text(16)
	}
	if !c.NextUpdate.IsZero() {
		left := fleet.DaysLeft(c.NextUpdate, now)
		it.NotAfter, it.DaysLeft = &c.NextUpdate, &left
	}
	return it
}

// print writes what is known, one line a fact.
func (it item) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", oneLine(it.File), it.Kind)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-13s %s\n", label, oneLine(text))
		}
	}
	line("subject", it.Subject)
	line("certtool -i", it.RFC4514)
	line("issuer", it.Issuer)
	line("names", strings.Join(it.Names, ", "))
	line("for", strings.Join(it.Uses, ", "))
	line("key", it.Key)
	line("key id", it.KeyID)
	if it.Kind == "crl" {
		line("number", it.Serial)
		line("revoked", fmt.Sprint(it.Count))
	} else {
		line("serial", it.Serial)
	}
	line("sha256", it.Fingerprint)
	if it.NotBefore != nil {
		line("from", it.NotBefore.UTC().Format(time.RFC3339))
	}
	if it.NotAfter != nil {
		line("until", fmt.Sprintf("%s (%d days left)", it.NotAfter.UTC().Format(time.RFC3339), *it.DaysLeft))
	}
	if it.Encrypted {
		line("encrypted", "yes")
	}
	if it.Kind == "psk" {
		line("users", fmt.Sprint(it.Count))
	}
}
