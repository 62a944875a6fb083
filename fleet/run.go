package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"virtls/ca"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// Names of the two authorities of a fleet.
const (
	ClassicalAuthority = ca.DefaultName
	PQCAuthority       = "mldsa"
)

// ProveLevel says how many handshakes prove the result.
type ProveLevel string

// The levels of proof.
const (
	ProveEach ProveLevel = "each" // every identity once in each of its roles
	ProveAll  ProveLevel = "all"  // every server identity with every client identity
	ProveNone ProveLevel = "none"
)

// Options tell how a fleet file is applied.
type Options struct {
	Passphrase ca.Passphrase // opens and protects the authorities' keys; nil for unencrypted ones
	Prove      ProveLevel    // ProveEach if empty
	Renew      bool          // renew everything now
	Rekey      bool          // make new keys for what is renewed
	Only       []string      // names of hosts and clients; all if empty
	Report     func(Row)     // called for each holder as it is finished, from one goroutine at a time; may be nil
}

// A Row is what became of one holder.
type Row struct {
	Holder     string        `json:"holder"` // such as host:kvm1.example.com
	Dir        string        `json:"dir"`    // where it is staged
	Issued     int           `json:"issued"`
	Written    int           `json:"written"` // files other than keys and certificates
	Identities []IdentityRow `json:"identities"`
}

// An IdentityRow is one line of the table that a run ends with.
type IdentityRow struct {
	Slot   string `json:"slot"`
	Key    string `json:"key"`
	Path   string `json:"path"`  // of the first certificate file, as on the host
	Until  string `json:"until"` // RFC 3339
	Did    string `json:"did"`   // unchanged, copied or issued; empty for what is not a certificate
	Why    string `json:"why,omitempty"`
	Proof  string `json:"proof"` // "proved as server and client", "proved" of a key, or "not proved: WHY" or "failed: WHY"
	Proved bool   `json:"proved"`
}

// A Result is what a run did.
type Result struct {
	Authorities []AuthorityRow    `json:"authorities"`
	Holders     int               `json:"holders"`
	Issued      int               `json:"issued"`
	Written     int               `json:"written"`
	Handshakes  int               `json:"handshakes"`
	Findings    []finding.Finding `json:"-"` // printed as a [finding.Report]
}

// An AuthorityRow is what a run says of an authority.
type AuthorityRow struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Key     string `json:"key"`
	Path    string `json:"path"`
	Until   string `json:"until"`
	Made    bool   `json:"made"` // by this run
}

// run is one pass over a fleet.
type run struct {
	file     *File
	state    *ca.State // nil in a plan without a state directory
	dir      string    // the state directory
	opts     Options
	ca       map[string]*ca.Authority // by name; what the fleet uses and has
	trust    []*pki.Certificate
	bundles  map[bool][]byte // CA bundle by whether the holder can use ML-DSA
	crls     map[bool][]byte
	psk      pskKeys
	findings []finding.Finding

	empty map[string]bool // directories of holders for which nothing is staged yet
	made  map[string]bool // directories of holders that this run found missing: what is in them is its own
	dirs  map[string]bool // directories that are there
}

func newRun(file *File, state *ca.State, opts Options) (*run, error) {
	if opts.Prove == "" {
		opts.Prove = ProveEach
	}
	r := &run{file: file, state: state, opts: opts, ca: map[string]*ca.Authority{}, bundles: map[bool][]byte{}, crls: map[bool][]byte{},
		empty: map[string]bool{}, made: map[string]bool{}, dirs: map[string]bool{}}
	if state != nil {
		r.dir, r.findings = state.Dir(), state.Findings()
	}
	if err := r.readTrust(); err != nil {
		return nil, err
	}
	for _, name := range opts.Only {
		if err := file.CheckHolder(name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// manyNames is how many names are too many for a message.
const manyNames = 12

// CheckHolder returns an error that helps to find the right name if the file
// has no host and no client of a name.
func (f *File) CheckHolder(name string) error {
	if f.hosts[name] != nil || f.clients[name] != nil {
		return nil
	}
	names := slices.Concat(slices.Sorted(maps.Keys(f.hosts)), slices.Sorted(maps.Keys(f.clients)))
	found := kindNoHolder.Found(f.name, "").WithText("there is no host or client %.80q in the fleet file%s", name, meant(name, names))
	switch {
	case len(names) == 0:
		found = found.WithFix("the file names nobody yet: add hosts and clients to it")
	case len(names) <= manyNames:
		found = found.WithFix("name one of: %s", strings.Join(names, ", "))
	default:
		found = found.WithFix("virtls status --all %s lists all %d", layout.ShellQuote(f.name), len(names))
	}
	return found.Usage()
}

// meant is suggest for the name of a holder: its first label alone, as people
// call a host, is nearer than whatever has as many letters.
func meant(name string, names []string) string {
	whole := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, name+".") })
	if name != "" && len(whole) == 1 {
		return fmt.Sprintf("; did you mean %q?", whole[0])
	}
	return suggest(name, names)
}

// applied returns the command that makes the state match the file.
func (f *File) applied() string { return "virtls apply " + layout.ShellQuote(f.name) }

// authority returns the authority that issues an identity; nil if there is none yet.
func (r *run) authority(pqc bool) *ca.Authority {
	if pqc {
		return r.ca[PQCAuthority]
	}
	return r.ca[ClassicalAuthority]
}

// authorityNames lists the authorities that the file asks for, preferred first.
func (f *File) authorityNames() []string {
	switch f.PQC {
	case PQCHybrid:
		return []string{PQCAuthority, ClassicalAuthority}
	case PQCExclusive:
		return []string{PQCAuthority}
	}
	return []string{ClassicalAuthority}
}

// trusted lists the authorities whose certificates and revocation lists a
// holder gets. One that cannot verify ML-DSA is given no ML-DSA authority.
func (f *File) trusted(pqc bool) []string {
	return slices.DeleteFunc(f.authorityNames(), func(name string) bool { return name == PQCAuthority && !pqc })
}

// authoritySpec returns the authority to make under a name.
func (f *File) authoritySpec(name string, pass ca.Passphrase) (ca.AuthoritySpec, error) {
	a := f.Authority
	cn, keyName := a.Name, a.Key
	if name == PQCAuthority {
		cn, keyName = cn+" (ML-DSA)", mldsaLevel.String()
	}
	key, err := pki.ParseKeySpec(keyName)
	subject := a.Subject.over(Subject{Organization: f.Organization}).name(cn)
	return ca.AuthoritySpec{Name: name, Subject: subject, Key: key, Days: a.Days, PathLen: -1, Passphrase: pass}, err
}

// readTrust reads the further authorities of the fleet file.
func (r *run) readTrust() error {
	for i, name := range r.file.Authority.Trust {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(r.file.name), path)
		}
		at := r.file.at(fmt.Sprintf("authority.trust[%d]", i))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return kindTrustUnreadable.Found(at, path).WithText("a file named under authority.trust is not there").
				WithFix("correct the name, which counts from the directory of the fleet file").Unable(nil)
		}
		data, err := readBounded(path)
		if err != nil {
			return err
		}
		certs, err := pki.ParseCertificatesPEM(data)
		if err != nil {
			return kindTrustUnreadable.Found(at, path).Unable(err)
		}
		for _, c := range certs {
			switch {
			case !c.IsCA():
				return kindTrustUnreadable.Found(at, path+": "+c.String()).WithText("a file named under authority.trust holds a certificate that is no authority's").Wrong()
			case r.now().After(c.NotAfter):
				r.findings = append(r.findings, kindTrustExpired.Found(at, fmt.Sprintf("%s: %s, ended %s", path, c, day(c.NotAfter))))
			default:
				r.trust = append(r.trust, c)
			}
		}
	}
	return nil
}

// now is the time by the state's clock.
func (r *run) now() time.Time {
	if r.state == nil {
		return time.Now()
	}
	return r.state.Now()
}

// bundle returns the trust anchors for a holder.
func (r *run) bundle(pqc bool) []byte {
	if b, ok := r.bundles[pqc]; ok {
		return b
	}
	var b []byte
	for _, name := range r.file.trusted(pqc) {
		if a := r.ca[name]; a != nil {
			b = append(b, a.Certificate.PEM()...)
			for _, c := range a.Chain {
				b = append(b, c.PEM()...)
			}
		}
	}
	for _, c := range r.trust {
		b = append(b, c.PEM()...)
	}
	r.bundles[pqc] = b
	return b
}

// selected tells whether a holder is among those asked for.
func (r *run) selected(h *Holder) bool { return r.selectedName(h.Name) }

func (r *run) selectedName(name string) bool {
	return len(r.opts.Only) == 0 || slices.Contains(r.opts.Only, name)
}

// checkPQC says what a holder cannot have.
func (r *run) checkPQC(h *Holder) {
	subject := h.ID()
	switch {
	case r.file.PQC == PQCExclusive && !h.PQC:
		r.findings = append(r.findings, kindCannotPQC.Found(subject, ""))
	case r.file.PQC == PQCHybrid && h.PQC && h.host != nil:
		for _, u := range h.host.Uses {
			if !h.Platform.ParallelIdentities(u.Service) {
				r.findings = append(r.findings, kindNoParallel.Found(subject+" "+string(u.Service), ""))
			}
		}
	}
}

// activationPath returns where a file of the activation directory is staged; it
// is for people and never installed.
func activationPath(name string) string { return activationDir + "/" + name }
