package ca

import (
	"context"
	"crypto"
	"errors"
	"io"
	"math/big"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

var errUnbuilt = errors.New("not built yet")

// Options tell how a state directory is opened. The zero value opens an
// existing one for writing and does not wait for its lock.
type Options struct {
	ReadOnly bool             // take no lock and change nothing
	Create   bool             // make the directory if there is none
	Wait     time.Duration    // how long to wait for another process's lock
	Command  string           // for the history: the command line, without secrets
	User     string           // for the history; the user of the operating system if empty
	Now      func() time.Time // time.Now if nil
}

// A State is an open state directory.
type State struct{}

// OpenState opens a state directory. For writing it takes the lock, and
// finishes what a killed process left unfinished ([State.Recovered] tells what).
func OpenState(dir string, opts Options) (*State, error) { return nil, errUnbuilt }

// Close releases the lock.
func (s *State) Close() error { return errUnbuilt }

// Dir returns the directory's path.
func (s *State) Dir() string { return "" }

// Register returns the register for queries.
func (s *State) Register() *register.DB { return nil }

// Recovered returns what OpenState found unfinished.
func (s *State) Recovered() []finding.Finding { return nil }

// Passphrase yields the passphrase of an authority's key; nil stands for a key
// that is not encrypted.
type Passphrase = pki.PasswordFunc

// An Authority is one that a State holds. Its exported fields are not to be changed.
type Authority struct {
	Name        string             // of its files: ca/NAME-cert.pem
	Certificate *pki.Certificate   // nil while a request waits for the parent's answer
	Chain       []*pki.Certificate // issuers of Certificate, up to the root; none for a root
}

// Authority loads an authority's certificate; its key stays locked. A finding
// of kind ca-missing says that there is none.
func (s *State) Authority(ctx context.Context, name string) (*Authority, error) {
	return nil, errUnbuilt
}

// Authorities returns the names of the authorities that the state holds, sorted.
func (s *State) Authorities() ([]string, error) { return nil, errUnbuilt }

// Unlock loads the authority's key. It must be called before Issue and NewCRL.
func (a *Authority) Unlock(pass Passphrase) error { return errUnbuilt }

// CertificatePath returns the file that holds the certificate and its chain.
func (a *Authority) CertificatePath() string { return "" }

// KeyPath returns the file that holds the private key.
func (a *Authority) KeyPath() string { return "" }

// CRLPath returns the file that holds the newest revocation list, if there is one.
func (a *Authority) CRLPath() string { return "" }

// An AuthoritySpec is an authority to be made.
type AuthoritySpec struct {
	Name        string // of its files; "ca" if empty
	Subject     dn.Name
	Key         pki.KeySpec // P-256 if zero
	Days        int         // 3650 if 0
	PathLen     int         // how many authorities may stand between it and a certificate; -1 for any number
	Constraints *pki.NameConstraints
	Passphrase  Passphrase // protects the key; nil leaves it unencrypted
}

// CreateAuthority makes a root. Its key is unlocked.
func (s *State) CreateAuthority(ctx context.Context, spec AuthoritySpec) (*Authority, error) {
	return nil, errUnbuilt
}

// RequestAuthority makes a key and a request for a parent authority to sign.
func (s *State) RequestAuthority(ctx context.Context, spec AuthoritySpec) (*pki.Request, error) {
	return nil, errUnbuilt
}

// InstallAuthority takes the parent's answer to RequestAuthority: the
// certificate first, then its chain. pass opens the key, which must be the certificate's.
func (s *State) InstallAuthority(ctx context.Context, name string, certs []*pki.Certificate, pass Passphrase) (*Authority, error) {
	return nil, errUnbuilt
}

// An Adoption is an authority that was made by another program.
type Adoption struct {
	Name        string
	Certificate []byte // PEM: the certificate, then its chain
	Key         []byte // PEM
	KeyPassword pki.PasswordFunc
	Passphrase  Passphrase                          // protects the key from now on; nil leaves it unencrypted
	Index       io.Reader                           // OpenSSL's index.txt, nil if there is none
	Issued      func(serial string) ([]byte, error) // the PEM or DER of a certificate in the index, nil if it cannot be had
	CRL         []byte                              // PEM or DER, nil if there is none
}

// AdoptAuthority takes over an authority.
func (s *State) AdoptAuthority(ctx context.Context, a Adoption) (*Authority, error) {
	return nil, errUnbuilt
}

// Uses tell what a certificate is for.
type Uses int

// The uses.
const (
	Server Uses = 1 << iota
	Client
)

// Leaf returns what a certificate for TLS looks like; who asks fills in the
// rest of an [Order].
func Leaf(subject dn.Name, names pki.GeneralNames, uses Uses, key crypto.PublicKey) (pki.Spec, error) {
	return pki.Spec{}, errUnbuilt
}

// An Order asks for one certificate.
type Order struct {
	Spec        pki.Spec // see Leaf, RenewalSpec; Serial, NotBefore and NotAfter may be zero
	Days        int      // life, if Spec.NotAfter is zero; 365 if 0
	How         register.How
	Holder      string              // who has it, such as host:kvm1.example.com
	Slot        string              // which of the holder's identities, such as qemu/both
	Place       *register.Placement // files to be journalled, nil if the caller has none; Content is filled in
	Subordinate bool                // allow a certificate that is itself an authority's
}

// An Issued certificate is in the register; its files are not yet in place.
type Issued struct {
	Certificate *pki.Certificate
	Place       *register.Placement // the order's, with ID and Content
	Findings    []finding.Finding   // what is worth knowing, such as a life cut to the authority's
}

// Issue signs all orders, on all cores, and registers them in one transaction: all or none.
func (a *Authority) Issue(ctx context.Context, orders []Order) ([]Issued, error) {
	return nil, errUnbuilt
}

// Place brings journalled files to their places and removes them from the journal.
func (s *State) Place(ctx context.Context, placements []*register.Placement) error { return errUnbuilt }

// CheckRequest judges a request made elsewhere: its signature and its key.
func CheckRequest(r *pki.Request, subject string) error { return errUnbuilt }

// RenewalSpec returns the certificate that takes old's place: same subject,
// names and uses, for the same key if key is nil.
func RenewalSpec(old *pki.Certificate, key crypto.PublicKey) (pki.Spec, error) {
	return pki.Spec{}, errUnbuilt
}

// Revoke marks certificates as revoked, by serial number as people write them.
// Those that are revoked already stay as they are. The next NewCRL lists them.
func (s *State) Revoke(ctx context.Context, serials []string, reason pki.Reason) ([]register.Certificate, error) {
	return nil, errUnbuilt
}

// NewCRL signs and writes a revocation list.
func (a *Authority) NewCRL(ctx context.Context, days int) (*pki.CRL, error) { return nil, errUnbuilt }

// CRLNumber returns the number of the newest revocation list, nil if there is none.
func (a *Authority) CRLNumber(ctx context.Context) (*big.Int, error) { return nil, errUnbuilt }

// Export writes the authorities and the register to one file, mode 0600.
func (s *State) Export(ctx context.Context, path string) error { return errUnbuilt }

// Restore makes a state directory of what Export wrote.
func Restore(ctx context.Context, backup, dir string, opts Options) error { return errUnbuilt }
