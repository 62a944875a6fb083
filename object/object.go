// Package object makes credentials and access lists from QEMU's object syntax,
// "tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu", and keeps them in
// the one space of identifiers by which services refer to them.
//
// QEMU reads this syntax in two ways: see [Dialect]. What both refuse is refused
// here with QEMU's words, which 7.2, 10.0 and 11.1 share wherever nothing else
// is said, and with the corrected text where it can be told what was meant.
package object

import (
	"maps"
	"slices"
	"sync"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
)

var (
	kindExists = finding.Define("object-exists", finding.Error,
		"there is an object with this id already; credentials, secrets and access lists share their ids",
		"give each object an id of its own")
	kindInUse = finding.Define("object-in-use", finding.Error,
		"the object is in use and cannot be removed",
		"stop the services that use it first")
	kindUnknown = finding.Define("object-unknown", finding.Error,
		"there is no object with this id",
		"define it with --object before what refers to it, or correct the id")
	kindOther = finding.Define("object-other-type", finding.Error,
		"the object is of another type than is wanted here",
		"give the id of an object of the right type")
	kindEndpoint = finding.Define("object-endpoint", finding.Error,
		"the credentials are for the other end of a connection",
		"say endpoint=server for what listens; what connects has endpoint=client, the default")
)

// A Registry holds objects by their ids. The zero Registry is empty and reads
// the dialect of QEMU's tools. It may be used by any number of goroutines.
type Registry struct {
	Dialect Dialect

	// Report, if set, is called when the file of an access list becomes bad,
	// with a finding that says why, and with nil when it is good again. It must
	// be set before the first object is added, and must not call Del or Close.
	Report func(id string, err error)

	mu      sync.RWMutex
	entries map[string]*entry
}

// An entry is an object: one of holder, authorizer and secret.
type entry struct {
	ready      bool // false while it is made
	users      int
	holder     *creds.Holder
	authorizer authz.Authorizer
	secret     *creds.Secret
	release    func() // of the object that this one uses; may be nil
	close      func() // may be nil
	file       string // that is read again while the object is there; may be empty
}

func (e *entry) end() {
	if e.release != nil {
		e.release()
	}
	if e.close != nil {
		e.close()
	}
}

// Files returns the files of access lists, which are read again when they change.
// Those of credentials are known to themselves: [creds.Credentials].
func (r *Registry) Files() (files []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, id := range slices.Sorted(maps.Keys(r.entries)) {
		if e := r.entries[id]; e.ready && e.file != "" {
			files = append(files, e.file)
		}
	}
	return files
}

// subject names an object in findings.
func subject(id string) string { return "object " + id }

// Add makes the object that a text describes, as --object of QEMU's programs
// and object_add of its monitor do; a text that begins with a brace is JSON, as
// QMP's object-add has it. The findings are warnings. The error is a *[Help] if
// the text asks for help; else it is a [finding.Failure] whose text is QEMU's.
// Secrets are in neither.
//
// Loading takes place before Add returns, without keeping others from the
// registry.
func (r *Registry) Add(text string) ([]finding.Finding, error) {
	s, warnings, err := r.Dialect.read(text)
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if err := r.reserve(s, e); err != nil {
		return nil, err
	}
	more, err := s.make(r, s.id, e)

	r.mu.Lock()
	if err == nil {
		e.ready = true
	} else {
		delete(r.entries, s.id)
	}
	r.mu.Unlock()

	if err != nil {
		e.end()
		return nil, err
	}
	return append(warnings, more...), nil
}

// reserve takes an id for an object that is yet to be made.
func (r *Registry) reserve(s *spec, e *entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[s.id] != nil {
		f := kindExists.Found(subject(s.id), "")
		if s.options {
			return f.WithText("Duplicate ID '%s' for object", s.id).Usage()
		}
		return f.WithText("attempt to add duplicate property '%s' to object (type 'container')", s.id).Usage()
	}
	if r.entries == nil {
		r.entries = map[string]*entry{}
	}
	r.entries[s.id] = e
	return nil
}

// Del removes an object that nobody uses. QEMU removes also what is in use, and
// its users keep it; here the error says so.
func (r *Registry) Del(id string) error {
	r.mu.Lock()
	e := r.entries[id]
	switch {
	case e == nil || !e.ready:
		r.mu.Unlock()
		return kindUnknown.Found(subject(id), "").WithText("object '%s' not found", id).Usage()
	case e.users > 0:
		r.mu.Unlock()
		return kindInUse.Found(subject(id), "").WithText("object '%s' is in use, can not be deleted", id).Usage()
	}
	delete(r.entries, id)
	r.mu.Unlock()
	e.end()
	return nil
}

// Close removes all objects, used or not, and returns when nothing is left
// running. Nobody may use the registry meanwhile.
func (r *Registry) Close() {
	r.mu.Lock()
	entries := r.entries
	r.entries = nil
	r.mu.Unlock()
	for _, e := range entries {
		e.release = nil
		e.end()
	}
}

// find returns the object with an id, nil if there is none or it is not ready.
func (r *Registry) find(id string) *entry {
	if e := r.entries[id]; e != nil && e.ready {
		return e
	}
	return nil
}

// use counts a user of e; the caller holds the lock. What it returns ends the
// use, once.
func (r *Registry) use(e *entry) (release func()) {
	e.users++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		e.users--
		r.mu.Unlock()
	})
}

// Use keeps an object, of whatever type, from being removed until release is
// called.
func (r *Registry) Use(id string) (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(id)
	if e == nil {
		return nil, kindUnknown.Found(subject(id), "").WithText("object '%s' not found", id).Usage()
	}
	return r.use(e), nil
}

// Creds returns the credentials with an id for one end of connections, and
// keeps them from being removed until release is called. The errors are those of
// QEMU's services.
func (r *Registry) Creds(id string, want creds.Endpoint) (h *creds.Holder, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(id)
	if e == nil {
		return nil, nil, kindUnknown.Found(subject(id), "").WithText("No TLS credentials with id '%s'", id).Usage()
	}
	if e.holder == nil {
		return nil, nil, kindOther.Found(subject(id), "").WithText("Object with id '%s' is not TLS credentials", id).Usage()
	}
	if have := e.holder.Current().Endpoint(); have != want {
		return nil, nil, kindEndpoint.Found(subject(id), "endpoint="+have.String()).
			WithText("Expected TLS credentials for a %s endpoint", want).
			WithWant("endpoint="+want.String(), "").Usage()
	}
	return e.holder, r.use(e), nil
}

// Holders returns all credentials for one end of connections, by their ids. They
// are not kept from being removed.
func (r *Registry) Holders(end creds.Endpoint) map[string]*creds.Holder {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := map[string]*creds.Holder{}
	for id := range r.entries {
		if e := r.find(id); e != nil && e.holder != nil && e.holder.Current().Endpoint() == end {
			all[id] = e.holder
		}
	}
	return all
}

// Authz returns what decides by the access list with an id. As QEMU does, it
// looks for the list anew at every question: another list may take the id, and
// while there is none everybody is denied. [Registry.Use] keeps a list in place.
func (r *Registry) Authz(id string) authz.Authorizer { return byID{r, id} }

type byID struct {
	registry *Registry
	id       string
}

// Allowed implements [authz.Authorizer]; errors of the lookup have QEMU's texts.
func (a byID) Allowed(identity string) (bool, error) {
	r := a.registry
	r.mu.RLock()
	e := r.find(a.id)
	r.mu.RUnlock()
	switch {
	case e == nil:
		return false, kindUnknown.Found(subject(a.id), "").WithText("Cannot find QAuthZ object ID %s", a.id).Usage()
	case e.authorizer == nil:
		return false, kindOther.Found(subject(a.id), "").WithText("Object '%s' is not a QAuthZ subclass", a.id).Usage()
	}
	return e.authorizer.Allowed(identity)
}

// secret returns a secret that another object refers to.
func (r *Registry) secret(id string) (*creds.Secret, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, err := r.findSecret(id)
	if err != nil {
		return nil, err
	}
	return e.secret, nil
}

func (r *Registry) useSecret(id string) (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.findSecret(id)
	if err != nil {
		return nil, err
	}
	return r.use(e), nil
}

func (r *Registry) findSecret(id string) (*entry, error) {
	e := r.entries[id]
	switch {
	case e == nil:
		return nil, kindUnknown.Found(subject(id), "").WithText("No secret with id '%s'", id).Usage()
	case !e.ready:
		// A secret that is encrypted with itself.
		return nil, kindUnknown.Found(subject(id), "").WithText("Secret with id '%s' has no data", id).Usage()
	case e.secret == nil:
		return nil, kindOther.Found(subject(id), "").WithText("Object with id '%s' is not a secret", id).Usage()
	}
	return e, nil
}
