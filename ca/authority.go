package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/readfile"
	"virtls/layout"
	"virtls/pki"
)

// DefaultName is the name of a fleet's authority.
const DefaultName = "ca"

// A Passphrase yields what opens and protects an authority's key. nil stands
// for a key that is not encrypted.
type Passphrase = pki.PasswordFunc

// An Authority is one that a [State] holds. Its exported fields are not to be
// changed. Its methods may be called by several goroutines at once after Unlock.
type Authority struct {
	Name        string             // of its files: ca/NAME-cert.pem
	Certificate *pki.Certificate   // the authority's own
	Chain       []*pki.Certificate // issuers of Certificate, up to the root; none for a root
	Findings    []finding.Finding  // what is worth knowing about it

	state *State
	row   register.Authority
	key   crypto.Signer // nil until unlocked
}

var authorityName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func checkName(name string) error {
	if !authorityName.MatchString(name) {
		return kindAuthorityName.Found(fmt.Sprintf("%.40q", name), "").
			WithWant("up to 32 lower-case letters, digits and hyphens", "virtls").Usage()
	}
	return nil
}

func (s *State) certPath(name string) string    { return s.path(authorityDir, name+"-cert.pem") }
func (s *State) keyPath(name string) string     { return s.path(authorityDir, name+"-key.pem") }
func (s *State) crlPath(name string) string     { return s.path(authorityDir, name+"-crl.pem") }
func (s *State) requestPath(name string) string { return s.path(authorityDir, name+"-request.pem") }

// CertificatePath returns the file that holds the certificate and its chain.
func (a *Authority) CertificatePath() string { return a.state.certPath(a.Name) }

// KeyPath returns the file that holds the private key.
func (a *Authority) KeyPath() string { return a.state.keyPath(a.Name) }

// CRLPath returns the file that holds the newest revocation list, if there is one.
func (a *Authority) CRLPath() string { return a.state.crlPath(a.Name) }

// Authorities returns the names of the authorities that have a certificate, sorted.
func (s *State) Authorities() ([]string, error) { return s.named("-cert.pem") }

// named returns the names of authorities that have a file, sorted.
func (s *State) named(suffix string) ([]string, error) {
	entries, err := os.ReadDir(s.path(authorityDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, kindAuthorityUnreadable.Found(s.path(authorityDir), "").Unable(err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && authorityName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Absent returns a finding for each authority that has no certificate: a
// warning if its request is with its parent, an error if it has lost it.
func (s *State) Absent(ctx context.Context) ([]finding.Finding, error) {
	names, err := s.named("-request.pem")
	if err != nil {
		return nil, err
	}
	for a, err := range s.register.Authorities(ctx) {
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	var findings []finding.Finding
	for _, name := range names {
		if _, err := os.Lstat(s.certPath(name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		switch err := s.absent(ctx, name); {
		case isKind(err, kindAuthorityWaits):
			findings = append(findings, finding.Of(err).WithSeverity(finding.Warning))
		case isKind(err, kindAuthorityLost):
			findings = append(findings, finding.Of(err))
		case !IsMissing(err):
			return nil, err
		}
	}
	return findings, nil
}

func (s *State) waits(name string) finding.Finding {
	f := kindAuthorityWaits.Found(s.requestPath(name), "")
	if name != DefaultName {
		f = f.WithFix("have its request signed by the parent authority, and run: virtls ca install --name %s ANSWER PARENT...", layout.ShellQuote(name))
	}
	return f
}

// Authority loads an authority; its key stays locked. If there is none, the
// error is a finding of kind ca-missing, or ca-waiting while the authority's
// request is with its parent.
func (s *State) Authority(ctx context.Context, name string) (*Authority, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := s.certPath(name)
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.absent(ctx, name)
	}
	if err != nil {
		return nil, kindAuthorityUnreadable.Found(path, "").Unable(err)
	}
	certs, err := pki.ParseCertificatesPEM(data)
	if err != nil {
		return nil, kindAuthorityUnreadable.Found(path, "").Unable(err)
	}
	a := &Authority{Name: name, Certificate: certs[0], Chain: certs[1:], state: s}
	if a.Findings, err = checkAuthority(path, certs); err != nil {
		return nil, err
	}
	row, err := s.register.AuthorityOf(ctx, a.Certificate)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Name != name {
		return nil, kindAuthorityUnknown.Found(path, a.Certificate.String()).Unable(nil)
	}
	a.row = *row
	return a, nil
}

// absent says why there is no certificate of an authority.
func (s *State) absent(ctx context.Context, name string) error {
	if _, err := os.Lstat(s.requestPath(name)); err == nil {
		return s.waits(name).Unable(nil)
	}
	if err := s.checkLost(ctx, name); err != nil {
		return err
	}
	return kindAuthorityMissing.Found(s.certPath(name), "").Unable(nil)
}

// checkLost returns an error if an authority has issued certificates: it is
// called where its certificate or key is missing. While files of a killed run
// are still to be placed, nothing is known to be lost.
func (s *State) checkLost(ctx context.Context, name string) error {
	for _, err := range s.register.Pending(ctx) {
		return err
	}
	for cert, err := range s.register.List(ctx, register.Filter{Authority: name}) {
		if err != nil {
			return err
		}
		return kindAuthorityLost.Found(s.certPath(name), "").WithText("the register knows this authority, which has issued the certificate of %s, and its certificate or key is gone", cert.Subject).Unable(nil)
	}
	return nil
}

// readFile reads a regular file of the size that keys and certificates have at most.
func readFile(path string) ([]byte, error) {
	data, _, err := readfile.Regular(path, pki.MaxFileSize, 0)
	return data, err
}

// checkAuthority judges what stands in an authority's certificate file,
// whatever the time: an expired authority can still be looked at.
func checkAuthority(subject string, certs []*pki.Certificate) (findings []finding.Finding, err error) {
	for i, c := range certs {
		if !c.IsCA() {
			return nil, kindNotAuthority.Found(subject, c.String()).Wrong()
		}
		usage, present, err := c.Extensions.KeyUsage()
		if err != nil || present && usage&pki.KeyCertSign == 0 {
			return nil, kindNoCertSign.Found(subject, fmt.Sprintf("%s: %v", c, usage)).Wrong()
		}
		if i == 0 && present && usage&pki.CRLSign == 0 {
			findings = append(findings, kindNoCRLSign.Found(subject, usage.String()))
		}
		if i > 0 {
			child := certs[i-1]
			if !c.Issued(child) {
				return nil, kindChain.Found(subject, c.String()).WithWant("the issuer of "+child.String(), "").Wrong()
			}
			if err := child.CheckSignatureFrom(c); err != nil {
				return nil, kindChain.Found(subject, "").WithText("%s is not signed by %s: %v", child, c, err).Wrong()
			}
		}
	}
	if root := certs[len(certs)-1]; !root.SelfIssued() {
		findings = append(findings, kindChainShort.Found(subject, root.String()))
	}
	return findings, nil
}

// Unlock loads the authority's key and checks that it is the certificate's. It
// must be called before Issue and NewCRL.
func (a *Authority) Unlock(pass Passphrase) error {
	key, err := a.state.loadKey(a.Name, pass)
	if err != nil {
		return err
	}
	return a.useKey(key)
}

func (a *Authority) useKey(key crypto.Signer) error {
	if !pki.SameKey(a.Certificate.PublicKey.Key, key) {
		return kindKeyMismatch.Found(a.KeyPath(), "").WithWant("the key of "+a.Certificate.String(), "").Wrong()
	}
	a.key = key
	return nil
}

func (s *State) loadKey(name string, pass Passphrase) (crypto.Signer, error) {
	path := s.keyPath(name)
	data, err := readFile(path)
	if err != nil {
		return nil, kindAuthorityUnreadable.Found(path, "").Unable(err)
	}
	defer clear(data)
	return ownFiles.parseKey(path, data, pass)
}

// origin says how files that cannot be used are mended: those of the state
// directory come from a backup, those to be taken over from somebody else.
type origin struct{ file, passphrase *finding.Kind }

var (
	ownFiles     = origin{kindAuthorityUnreadable, kindPassphrase}
	foreignFiles = origin{kindForeignFile, kindForeignPassphrase}
)

func (o origin) unreadable(name string, data []byte) finding.Finding {
	f := o.file.Found(name, "")
	if o == foreignFiles && isPKCS12(data) {
		f = f.WithFix("it is a PKCS #12 file; write its certificate and key in PEM form, and give that file for both: openssl pkcs12 -in %s -out FILE.pem", layout.ShellQuote(name))
	}
	return f
}

// parseKey reads a private key that can sign.
func (o origin) parseKey(name string, data []byte, pass Passphrase) (crypto.Signer, error) {
	key, err := pki.ParsePrivateKeyPEM(data, pass)
	if err != nil && !pki.IsPEM(data) {
		if k, derErr := pki.ParsePrivateKeyDER(data); derErr == nil {
			key, err = k, nil
		}
	}
	switch {
	case errors.Is(err, pki.ErrNoPassword), errors.Is(err, pki.ErrPassword):
		return nil, o.passphrase.Found(name, "").Unable(err)
	case isFailure(err):
		return nil, err
	case err != nil:
		return nil, o.unreadable(name, data).Unable(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, o.file.Found(name, "a key that cannot sign").WithFix("give the key of the authority's certificate").Wrong()
	}
	return signer, nil
}

// certificates returns the authority's certificate and its chain.
func (a *Authority) certificates() []*pki.Certificate {
	return append([]*pki.Certificate{a.Certificate}, a.Chain...)
}

// intermediates returns the part of the chain that servers and clients send
// beside their own certificate: all but the root.
func (a *Authority) intermediates() (certs []*pki.Certificate) {
	for _, c := range a.certificates() {
		if !c.SelfIssued() {
			certs = append(certs, c)
		}
	}
	return certs
}

// End returns when the first of the authority's certificates expires: what it
// signs is worth nothing afterwards.
func (a *Authority) End() time.Time {
	end := a.Certificate.NotAfter
	for _, c := range a.Chain {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// ready tells whether the authority can sign something now.
func (a *Authority) ready() error {
	if a.key == nil {
		return kindPassphrase.Found(a.KeyPath(), "a key that is still locked").Unable(nil)
	}
	return a.CheckTime()
}

// CheckTime returns an error if the authority has expired or is not valid yet.
func (a *Authority) CheckTime() error {
	return checkTime(a.CertificatePath(), a.certificates(), a.state.Now())
}

func checkTime(subject string, certs []*pki.Certificate, now time.Time) error {
	for _, c := range certs {
		switch {
		case now.After(c.NotAfter):
			return kindExpired.Found(subject, fmt.Sprintf("%s, ended %s", c, c.NotAfter.Format(time.RFC3339))).Wrong()
		case now.Before(c.NotBefore):
			return kindNotYetValid.Found(subject, fmt.Sprintf("%s, begins %s", c, c.NotBefore.Format(time.RFC3339))).Wrong()
		}
	}
	return nil
}

// encodePEM returns certificates as one PEM file.
func encodePEM(certs []*pki.Certificate) (data []byte) {
	for _, c := range certs {
		data = append(data, c.PEM()...)
	}
	return data
}

// makeAuthorityDir makes the directory for authorities' files.
func (s *State) makeAuthorityDir() error {
	err := os.Mkdir(s.path(authorityDir), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return unwritable(err)
}
