package ca

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"io/fs"
	"os"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/pki"
	"virtls/pki/dn"
)

// Defaults of authorities and of what they issue.
const (
	DefaultAuthorityDays = 3650
	DefaultDays          = 365
	DefaultCRLDays       = 30
)

// backdate is how far validity begins before now, for peers whose clock is slow.
const backdate = 5 * time.Minute

// An AuthoritySpec is an authority to be made.
type AuthoritySpec struct {
	Name        string // of its files; DefaultName if empty
	Subject     dn.Name
	Key         pki.KeySpec          // P-256 if zero
	Days        int                  // DefaultAuthorityDays if 0
	PathLen     int                  // how many authorities may stand between it and a certificate; -1 for any number
	Constraints *pki.NameConstraints // nil for none
	Passphrase  Passphrase           // protects the key; nil leaves it unencrypted
}

func (spec *AuthoritySpec) complete() error {
	spec.Name = cmp.Or(spec.Name, DefaultName)
	spec.Days = cmp.Or(spec.Days, DefaultAuthorityDays)
	spec.Key = cmp.Or(spec.Key, pki.KeySpec{Algorithm: pki.ECDSA, Bits: 256})
	if len(spec.Subject) == 0 {
		return kindOrder.Found("authority "+spec.Name, "an empty subject").WithWant("a name, such as CN=Example CA", "").Usage()
	}
	if spec.Days < 1 {
		return kindOrder.Found("authority "+spec.Name, "").WithText("an authority lives at least one day").Usage()
	}
	return checkName(spec.Name)
}

// extensions are those of an authority: certtool's for the keys ca,
// cert_signing_key and crl_signing_key, in its order.
func (spec *AuthoritySpec) extensions() pki.Extensions {
	x := pki.Extensions{
		pki.BasicConstraints{CA: true, PathLen: spec.PathLen}.Extension(),
		(pki.KeyCertSign | pki.CRLSign).Extension(true),
	}
	if spec.Constraints != nil {
		x = append(x, spec.Constraints.Extension())
	}
	return x
}

// CreateAuthority makes a root. Its key is unlocked.
func (s *State) CreateAuthority(ctx context.Context, spec AuthoritySpec) (*Authority, error) {
	if err := spec.complete(); err != nil {
		return nil, err
	}
	if err := s.vacant(ctx, spec.Name, ""); err != nil {
		return nil, err
	}
	key, err := pki.GenerateSigner(spec.Key)
	if err != nil {
		return nil, err
	}
	id, err := pki.KeyIDFor(key.Public())
	if err != nil {
		return nil, err
	}
	now := s.Now().Truncate(time.Second)
	cert, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: spec.Subject, PublicKey: key.Public(),
		NotBefore: now.Add(-backdate), NotAfter: endAfter(now, spec.Days),
		Extensions: append(spec.extensions(), pki.SubjectKeyIDExtension(id)),
	}, nil, key, pki.SignatureAlgorithm{})
	if err != nil {
		return nil, err
	}
	return s.enter(ctx, "create", &Authority{Name: spec.Name, Certificate: cert, key: key}, spec.Passphrase, nil)
}

// endAfter returns the end of a life of so many days, at most the last moment
// that a certificate can express.
func endAfter(from time.Time, days int) time.Time {
	if to := from.AddDate(0, 0, days); to.Before(pki.NeverExpires) {
		return to
	}
	return pki.NeverExpires
}

// vacant returns an error if an authority of that name is there or on its way,
// or has been there with another key than keyID's and has issued certificates:
// a new key under its name would make an authority that nobody trusts, and
// nobody could tell the two apart.
func (s *State) vacant(ctx context.Context, name, keyID string) error {
	for _, path := range []string{s.certPath(name), s.keyPath(name), s.requestPath(name)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return kindAuthorityExists.Found(path, "").Unable(err)
		}
	}
	for a, err := range s.register.Authorities(ctx) {
		if err != nil {
			return err
		}
		if a.Name == name && a.KeyID == keyID {
			return s.makeAuthorityDir()
		}
	}
	if err := s.checkLost(ctx, name); err != nil {
		return err
	}
	return s.makeAuthorityDir()
}

// enter registers an authority that was made or taken over, and places its
// files. more, if not nil, adds to the same act and returns further files.
func (s *State) enter(ctx context.Context, kind string, a *Authority, pass Passphrase,
	more func(tx *register.Tx, id int64) ([]*register.Placement, error)) (*Authority, error) {
	if _, err := checkAuthority(a.Name, a.certificates()); err != nil {
		return nil, err
	}
	staged, err := s.stageAuthorityKey(a.Name, a.key, pass)
	if err != nil {
		return nil, err
	}
	known, err := s.register.AuthorityOf(ctx, a.Certificate)
	if err == nil && known != nil && known.Name != a.Name {
		err = kindAuthorityExists.Found(s.certPath(known.Name), a.Certificate.String()).Unable(nil)
	}
	if err != nil {
		staged.Discard()
		return nil, err
	}
	placements := []*register.Placement{s.keyPlacement(a.Name, staged, encodePEM(a.certificates()), s.certPath(a.Name))}
	err = s.update(ctx, kind, a.Certificate.Subject.String(), func(tx *register.Tx) error {
		if known != nil { // it had lost its files
			return s.journal(tx, placements)
		}
		id, err := tx.AddAuthority(a.Name, a.Certificate)
		if err != nil {
			return err
		}
		if more != nil {
			further, err := more(tx, id)
			if err != nil {
				return err
			}
			placements = append(placements, further...)
		}
		return s.journal(tx, placements)
	})
	if err != nil {
		staged.Discard()
		return nil, err
	}
	return s.placed(ctx, a.Name, a.key, placements)
}

// placed places an authority's files and loads it from them.
func (s *State) placed(ctx context.Context, name string, key crypto.Signer, placements []*register.Placement) (*Authority, error) {
	if err := s.Place(ctx, placements); err != nil {
		return nil, err
	}
	a, err := s.Authority(ctx, name)
	if err != nil {
		return nil, err
	}
	return a, a.useKey(key)
}

// stageAuthorityKey brings an authority's key to the disk under a temporary name.
func (s *State) stageAuthorityKey(name string, key crypto.Signer, pass Passphrase) (*atomicfile.Staged, error) {
	data, err := protectKey(s.keyPath(name), key, pass)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	staged, err := atomicfile.Stage(s.keyPath(name), data, 0o600)
	if err != nil {
		return nil, unwritable(err)
	}
	if err := atomicfile.Sync([]*atomicfile.Staged{staged}); err != nil {
		staged.Discard()
		return nil, unwritable(err)
	}
	return staged, nil
}

// encryptKey is a variable for tests alone, most of which are not about how
// long a key takes to open.
var encryptKey = pki.EncodeEncryptedKeyPEM

func protectKey(subject string, key crypto.Signer, pass Passphrase) ([]byte, error) {
	if pass == nil {
		return pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
	}
	password, err := pass()
	if err != nil {
		return nil, err
	}
	defer clear(password)
	if len(password) == 0 {
		return nil, kindPassphrase.Found(subject, "an empty passphrase").Usage()
	}
	return encryptKey(key, password)
}

func (s *State) keyPlacement(name string, staged *atomicfile.Staged, content []byte, path string) *register.Placement {
	return &register.Placement{Key: staged.Temp(), KeyPaths: []string{s.keyPath(name)}, Content: content, Paths: []string{path}}
}

// journal adds placements to the journal, and makes their paths absolute.
func (s *State) journal(tx *register.Tx, placements []*register.Placement) error {
	for _, p := range placements {
		j, err := s.journalled(p)
		if err != nil {
			return err
		}
		if err := tx.AddPending(j); err != nil {
			return err
		}
		*p = *s.resolved(j)
	}
	return nil
}

// RequestAuthority makes a key and a request for a parent authority to sign.
// The answer goes to [State.InstallAuthority].
func (s *State) RequestAuthority(ctx context.Context, spec AuthoritySpec) (*pki.Request, error) {
	if err := spec.complete(); err != nil {
		return nil, err
	}
	if err := s.vacant(ctx, spec.Name, ""); err != nil {
		return nil, err
	}
	key, err := pki.GenerateSigner(spec.Key)
	if err != nil {
		return nil, err
	}
	request, err := pki.SignRequest(&pki.RequestSpec{Subject: spec.Subject, Extensions: spec.extensions()}, key, pki.SignatureAlgorithm{})
	if err != nil {
		return nil, err
	}
	staged, err := s.stageAuthorityKey(spec.Name, key, spec.Passphrase)
	if err != nil {
		return nil, err
	}
	placements := []*register.Placement{s.keyPlacement(spec.Name, staged, request.PEM(), s.requestPath(spec.Name))}
	err = s.update(ctx, "request", spec.Subject.String(), func(tx *register.Tx) error { return s.journal(tx, placements) })
	if err != nil {
		staged.Discard()
		return nil, err
	}
	return request, s.Place(ctx, placements)
}

// InstallAuthority takes the parent's answer to [State.RequestAuthority], or a
// new certificate for an authority that has one: the certificate first, then
// its chain. pass opens the key, which must be the certificate's. The
// authority is unlocked.
func (s *State) InstallAuthority(ctx context.Context, name string, certs []*pki.Certificate, pass Passphrase) (*Authority, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, kindChain.Found(name, "no certificate").Usage()
	}
	if _, err := checkAuthority(name, certs); isKind(err, kindNotAuthority) {
		return nil, finding.Of(err).WithFix("have the parent sign the request as an authority's, with basic constraints CA:TRUE, as docs/guide/ca.md does; openssl x509 -req needs -copy_extensions copyall or an -extfile for it").Wrong()
	} else if err != nil {
		return nil, err
	}
	if err := checkTime(name, certs, s.Now()); isKind(err, kindExpired) {
		return nil, err
	}
	key, err := s.loadKey(name, pass)
	if err != nil {
		return nil, err
	}
	if !pki.SameKey(certs[0].PublicKey.Key, key) {
		return nil, kindKeyMismatch.Found(certs[0].String(), "").WithWant("a certificate for the key in "+s.keyPath(name), "").
			WithFix("name the parent's answer to this authority's request first, then the parents' certificates").Wrong()
	}
	known, err := s.register.AuthorityOf(ctx, certs[0])
	if err != nil {
		return nil, err
	}
	placements := []*register.Placement{{Content: encodePEM(certs), Paths: []string{s.certPath(name)}}}
	err = s.update(ctx, "install", certs[0].Subject.String(), func(tx *register.Tx) error {
		if known == nil { // else only its chain is new
			if _, err := tx.AddAuthority(name, certs[0]); err != nil {
				return err
			}
		}
		return s.journal(tx, placements)
	})
	if err != nil {
		return nil, err
	}
	a, err := s.placed(ctx, name, key, placements)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(s.requestPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unwritable(err)
	}
	return a, nil
}

// RenewAuthority gives a root a new certificate with the same subject, key and
// extensions, so that what it has issued stays good. days is its life; as long
// as before if 0. pass opens the key. The authority is unlocked.
func (s *State) RenewAuthority(ctx context.Context, name string, days int, pass Passphrase) (*Authority, error) {
	a, err := s.Authority(ctx, name)
	if err != nil {
		return nil, err
	}
	old := a.Certificate
	if !old.SelfIssued() {
		return nil, kindNotRoot.Found(a.CertificatePath(), old.String()+", issued by "+old.Issuer.String()).Wrong()
	}
	if days < 0 {
		return nil, kindOrder.Found("authority "+name, "").WithText("an authority lives at least one day").Usage()
	}
	if err := a.Unlock(pass); err != nil {
		return nil, err
	}
	now := s.Now().Truncate(time.Second)
	spec := &pki.Spec{
		Serial: pki.NewSerial(), Subject: old.Subject, PublicKey: a.key.Public(),
		NotBefore: now.Add(-backdate), NotAfter: now.Add(old.NotAfter.Sub(old.NotBefore) - backdate),
	}
	if days > 0 {
		spec.NotAfter = endAfter(now, days)
	}
	for _, e := range old.Extensions {
		if !e.OID.Equal(pki.OIDAuthorityKeyID) { // it may have the old serial number
			spec.Extensions = append(spec.Extensions, e)
		}
	}
	cert, err := pki.Sign(spec, nil, a.key, pki.SignatureAlgorithm{})
	if err != nil {
		return nil, err
	}
	a, err = s.InstallAuthority(ctx, name, []*pki.Certificate{cert}, pass)
	if err == nil && cert.NotAfter.Before(old.NotAfter) {
		a.Findings = append(a.Findings, kindEndsEarlier.Found(a.CertificatePath(), cert.NotAfter.UTC().Format(time.DateOnly)).
			WithWant(old.NotAfter.UTC().Format(time.DateOnly)+" or later", ""))
	}
	return a, err
}
