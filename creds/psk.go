package creds

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"

	"virtls/finding"
	"virtls/layout"
	"virtls/psk"
)

// PSKOptions are the properties of a tls-creds-psk object; the zero value of
// each is QEMU's default.
type PSKOptions struct {
	Dir          string // of keys.psk
	File         string // of any name, in the place of Dir, as libnbd's addresses name it
	Endpoint     Endpoint
	Username     string // a client's; "qemu" if empty
	NoVerifyPeer bool   // verify-peer=off, which changes nothing
	Priority     string // a GnuTLS priority string, empty for the default
}

// codeUserUnknown is the code by which package psk says that a file lacks a user.
const codeUserUnknown = "psk-user-unknown"

// defaultUsername is a client's (QEMU crypto/tlscredspsk.c).
const defaultUsername = "qemu"

var kindServerUsername = finding.Define("psk-server-username", finding.Error,
	"a server has no user name of its own: clients name themselves",
	"leave out username=, or make the object a client's with endpoint=client")

// A PSK is a client's pre-shared key, or a server's file of them. It is
// immutable, but a server's file is not: see [PSK.Lookup].
type PSK struct {
	Options PSKOptions // with the username that is used
	DH      *DHParams  // of a server that still has them, else nil
	key     psk.Key
}

// LoadPSK loads a tls-creds-psk object as the newest QEMU does
// (crypto/tlscredspsk.c): a client's key is looked up now, a server's file must
// be there and is read at every handshake. The findings and the error are as
// with [LoadX509].
func LoadPSK(o PSKOptions) (*PSK, []finding.Finding, error) {
	p := &PSK{Options: o}
	if o.Endpoint == Server && o.Username != "" {
		return nil, nil, failure(Problem{kindServerUsername.Found("username", o.Username), "username should not be set when endpoint=server"})
	}
	if o.File != "" {
		p.Options.Dir = path.Dir(o.File)
	}
	if p.Options.Dir == "" {
		return nil, nil, failure(noDir())
	}
	l := newObjectLoader(o.Endpoint, p.Options.Dir)
	l.dh()
	l.present(p.file(), true)
	if err := l.failure(); err != nil {
		return nil, nil, err
	}
	p.DH = l.x.DH
	file, err := psk.Read(p.file())
	if err != nil {
		return nil, nil, pskFailure(err, "Cannot read PSK file "+p.file())
	}
	if o.Endpoint == Server {
		return p, append(l.warnings(), pskWarnings(file)...), nil
	}
	if p.Options.Username == "" {
		p.Options.Username = defaultUsername
	}
	if p.key, err = file.ClientKey(p.Options.Username); err != nil {
		text := "Cannot set PSK client credentials"
		if finding.Of(err).Code == codeUserUnknown {
			text = fmt.Sprintf("Username %s not found in PSK file %s", p.Options.Username, p.file())
		}
		return nil, nil, pskFailure(err, text)
	}
	return p, l.warnings(), nil
}

// pskWarnings are what will go wrong for some users of a server.
func pskWarnings(file *psk.File) []finding.Finding {
	warnings := file.Check()
	for i := range warnings {
		warnings[i].Severity = min(warnings[i].Severity, finding.Warning)
	}
	return warnings
}

// pskFailure puts QEMU's words in the place of those of package psk.
func pskFailure(err error, text string) error {
	var f *finding.Failure
	if !errors.As(err, &f) {
		return err
	}
	return &finding.Failure{Finding: f.Finding.WithText("%s", text), Exit: f.Exit, Cause: f.Cause}
}

func (p *PSK) file() string { return cmp.Or(p.Options.File, path.Join(p.Options.Dir, layout.PSKFile)) }

// Username returns a client's identity; servers have none.
func (p *PSK) Username() string { return p.Options.Username }

// Key returns a client's key; servers have none.
func (p *PSK) Key() psk.Key { return p.key }

// Lookup returns the key of a client that names itself to a server. It reads
// the file anew at every call, as GnuTLS does, so that edits take effect at
// once. Tell the peer nothing of the error, so that users cannot be guessed.
func (p *PSK) Lookup(identity string) (psk.Key, error) {
	file, err := psk.Read(p.file())
	if err != nil {
		return psk.Key{}, err
	}
	return file.ServerKey(identity)
}

// Endpoint implements [Credentials].
func (p *PSK) Endpoint() Endpoint { return p.Options.Endpoint }

// Type returns "tls-creds-psk".
func (p *PSK) Type() string { return "tls-creds-psk" }

// Priority implements [Credentials].
func (p *PSK) Priority() string { return p.Options.Priority }

// VerifyPeer implements [Credentials].
func (p *PSK) VerifyPeer() bool { return !p.Options.NoVerifyPeer }

// Files implements [Credentials].
func (p *PSK) Files() []string {
	files := []string{p.file()}
	if p.Options.Endpoint == Server {
		files = append(files, layout.System(layout.QEMU, p.Options.Dir).DH())
	}
	return slices.Clip(files)
}
