package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"virtls/ca/register"
	"virtls/finding"
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

// Waiting returns a warning for each authority whose request is with its parent.
func (s *State) Waiting() ([]finding.Finding, error) {
	names, err := s.named("-request.pem")
	if err != nil {
		return nil, err
	}
	var findings []finding.Finding
	for _, name := range names {
		if _, err := os.Lstat(s.certPath(name)); errors.Is(err, fs.ErrNotExist) {
			findings = append(findings, s.waits(name).WithSeverity(finding.Warning))
		}
	}
	return findings, nil
}

func (s *State) waits(name string) finding.Finding {
	f := kindAuthorityWaits.Found(s.requestPath(name), "")
	if name != DefaultName {
		f = f.WithFix("have its request signed by the parent authority, and run: virtls ca install --name %s ANSWER PARENT...", name)
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
		if _, err := os.Lstat(s.requestPath(name)); err == nil {
			return nil, s.waits(name).Unable(nil)
		}
		return nil, kindAuthorityMissing.Found(path, "").Unable(nil)
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

// readFile reads a file of the size that keys and certificates have at most.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, pki.MaxFileSize+1))
	if err == nil && len(data) > pki.MaxFileSize {
		err = fmt.Errorf("%s is larger than %d octets", path, pki.MaxFileSize)
	}
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
	return parseKey(path, data, pass)
}

// parseKey reads a private key that can sign.
func parseKey(subject string, data []byte, pass Passphrase) (crypto.Signer, error) {
	key, err := pki.ParsePrivateKeyPEM(data, pass)
	switch {
	case errors.Is(err, pki.ErrNoPassword), errors.Is(err, pki.ErrPassword):
		return nil, kindPassphrase.Found(subject, "").Unable(err)
	case isFailure(err):
		return nil, err
	case err != nil:
		return nil, kindAuthorityUnreadable.Found(subject, "").Unable(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, kindAuthorityUnreadable.Found(subject, "a key that cannot sign").Wrong()
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

// end returns when the first of the authority's certificates expires: what it
// signs is worth nothing afterwards.
func (a *Authority) end() time.Time {
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
	now := a.state.Now()
	for _, c := range a.certificates() {
		switch {
		case now.After(c.NotAfter):
			return kindExpired.Found(a.CertificatePath(), fmt.Sprintf("%s, ended %s", c, c.NotAfter.Format(time.RFC3339))).Wrong()
		case now.Before(c.NotBefore):
			return kindNotYetValid.Found(a.CertificatePath(), fmt.Sprintf("%s, begins %s", c, c.NotBefore.Format(time.RFC3339))).Wrong()
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
