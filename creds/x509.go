package creds

import (
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// X509Options are the properties of a tls-creds-x509 object; the zero value of
// each is QEMU's default.
type X509Options struct {
	Dir           string // of QEMU's file names
	Endpoint      Endpoint
	NoVerifyPeer  bool   // verify-peer=off
	NoSanityCheck bool   // sanity-check=off
	Priority      string // a GnuTLS priority string, empty for the default
	Password      []byte // of all encrypted keys, nil if there is none

	// Files name the files one by one, in the place of Dir: those of libvirt,
	// or of a service that a configuration file sets up.
	Files *layout.Files

	Now time.Time // by which the sanity check judges validity; the present if zero
}

// An X509 is a loaded set of certificates. It is immutable.
type X509 struct {
	Options    X509Options // without the password
	Anchors    []*pki.Certificate
	CRLs       []*pki.CRL
	Identities []Identity // in the order of their files, which decides among those that suit a peer
	DH         *DHParams  // of a server that still has them, else nil
}

// An Identity is what one end of a connection shows and proves.
type Identity struct {
	Index             int // [layout.NoIndex] for the plain file names
	CertFile, KeyFile string
	Chain             []*pki.Certificate // leaf first
	Key               pki.PrivateKey
}

// LoadX509 loads the files of a tls-creds-x509 object as the newest QEMU does
// and makes its sanity check. The findings are warnings: what QEMU lets pass
// and others do not, or what will go wrong later (see [X509.Check]). The error
// is a *[finding.Failure] whose text is QEMU's.
func LoadX509(o X509Options) (*X509, []finding.Finding, error) {
	files, err := o.files()
	if err != nil {
		return nil, nil, err
	}
	l := newLoader(ourselves(o.Endpoint), files, JudgeOptions{Now: o.Now, Password: o.Password, NoSanityCheck: o.NoSanityCheck})
	l.load()
	if err := l.failure(); err != nil {
		return nil, nil, err
	}
	l.x.Options = o
	l.x.Options.Password = nil
	return &l.x, append(l.warnings(), l.x.Check(l.now)...), nil
}

// ourselves is the consumer by whose rules virtls loads its own credentials: the
// newest QEMU, with engines that have ML-DSA.
func ourselves(e Endpoint) Consumer {
	name := QEMUClient
	if e == Server {
		name = QEMUServer
	}
	c := qemuReleases[len(qemuReleases)-1].consumer(name)
	c.MLDSA = pki.MLDSAUsable
	return c
}

// newObjectLoader returns a loader for the files that all kinds of credential
// objects have.
func newObjectLoader(e Endpoint, dir string) *loader {
	return newLoader(ourselves(e), layout.System(layout.QEMU, dir).Files(e.Role()), JudgeOptions{})
}

// failure returns the first problem that refuses the files as an error.
func (l *loader) failure() error {
	for _, p := range l.problems {
		if p.refuses() {
			return failure(p)
		}
	}
	return nil
}

// warnings returns the problems of a loading that has succeeded.
func (l *loader) warnings() (list []finding.Finding) {
	for _, p := range l.problems {
		list = append(list, p.Finding)
	}
	return list
}

func (o X509Options) files() (layout.Files, error) {
	switch {
	case o.Files != nil:
		return *o.Files, nil
	case o.Dir == "":
		return layout.Files{}, failure(noDir())
	}
	return layout.System(layout.QEMU, o.Dir).Files(o.Endpoint.Role()), nil
}

func noDir() Problem { return Problem{kindNoDir.Found("dir", ""), "Missing 'dir' property value"} }

// failure ends a loading with what QEMU says of a problem.
func failure(p Problem) *finding.Failure {
	f := p.Finding
	if p.Text != "" {
		f = f.WithText("%s", p.Text)
	}
	return f.Wrong()
}

// Endpoint implements [Credentials].
func (x *X509) Endpoint() Endpoint { return x.Options.Endpoint }

// Type returns "tls-creds-x509".
func (x *X509) Type() string { return "tls-creds-x509" }

// Priority implements [Credentials].
func (x *X509) Priority() string { return x.Options.Priority }

// VerifyPeer implements [Credentials].
func (x *X509) VerifyPeer() bool { return !x.Options.NoVerifyPeer }

// Files implements [Credentials].
func (x *X509) Files() []string {
	files, err := x.Options.files()
	if err != nil {
		return nil
	}
	list := []string{files.CA}
	for _, p := range files.Pairs {
		list = append(list, p.Cert, p.Key)
	}
	for _, name := range []string{files.CRL, files.DH} {
		if name != "" {
			list = append(list, name)
		}
	}
	return list
}
