package tlsengine

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"io"
	"slices"

	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// A PSK is an external pre-shared key.
type PSK struct {
	Identity []byte
	Key      []byte
	Hash     crypto.Hash // the key's hash; SHA-256 if 0, as for all keys of psktool

	// Import has the key imported (RFC 9258): a key of its own is derived for
	// each hash of TLS 1.3, and the key is never used as it is, nor in TLS 1.2.
	// Both ends must agree on it; GnuTLS and OpenSSL want their files' keys as
	// they are.
	Import  bool
	Context []byte // that both ends give an imported key; may be empty
}

func (p *PSK) hash() crypto.Hash {
	if p.Hash == 0 {
		return crypto.SHA256
	}
	return p.Hash
}

// fits tells whether the key can be used with a suite of TLS 1.3.
func (p *PSK) fits(s *suite) bool { return p.Import || s.hash == p.hash() }

// offered returns the key as it is offered for suites with a hash.
func (p *PSK) offered(h crypto.Hash) *offer {
	if !p.Import {
		return &offer{p.Identity, p.Identity, p.Key, p.hash(), schedule.ExternalBinder}
	}
	id := schedule.ImportedIdentity{Identity: p.Identity, Context: p.Context, Protocol: uint16(wire.TLS13), KDF: schedule.TargetKDF(h)}
	identity, key := schedule.Import(p.hash(), p.Key, id, h)
	return &offer{p.Identity, identity, key, h, schedule.ImportedBinder}
}

// maxPSKs is how many of the keys that a client offers a server looks for.
const maxPSKs = 16

// An offer is a pre-shared key as TLS 1.3 uses it.
type offer struct {
	user     []byte // whose key it is
	identity []byte // what is sent: the same, unless the key is imported
	key      []byte
	hash     crypto.Hash
	label    string // of the binder's key
}

func (o *offer) imported() bool { return o.label == schedule.ImportedBinder }

// binder returns the binder for what a ClientHello covers (RFC 8446, section 4.2.11.2).
func (o *offer) binder(s *schedule.Schedule, t *transcript, covered []byte) []byte {
	return s.Binder(o.label, t.with(o.hash, covered))
}

// offers returns what a client offers: one key, because GnuTLS's servers look
// at the first only, or an imported one for each hash that is left.
func (e *Engine) offers() (list []*offer) {
	psk := e.cfg.PSK
	for _, id := range e.cfg.Suites {
		s := suiteByID(id)
		taken := slices.ContainsFunc(list, func(o *offer) bool { return o.hash == s.hash })
		// After a HelloRetryRequest only its suite's hash is of use (RFC 8446, section 4.1.4).
		other := e.hs.retry != nil && suiteByID(e.hs.retry.Suite).hash != s.hash
		if isTLS13(s) && psk.fits(s) && !taken && !other {
			list = append(list, psk.offered(s.hash))
		}
	}
	return list
}

// offerPSK sends a ClientHello with the key and its binders, which cover the
// transcript up to their list (RFC 8446, section 4.2.11.2).
func (e *Engine) offerPSK(h *wire.ClientHello) {
	e.hs.offers = e.offers()
	h.PSKs, h.Binders = nil, nil
	for _, o := range e.hs.offers {
		h.PSKs = append(h.PSKs, wire.PSKIdentity{Identity: o.identity})
		h.Binders = append(h.Binders, make([]byte, o.hash.Size()))
	}
	m := h.Marshal()
	covered := m[:len(m)-h.BindersSize()]
	for i, o := range e.hs.offers {
		h.Binders[i] = o.binder(schedule.New(o.hash, o.key), &e.hs.transcript, covered)
	}
	e.send(h.Marshal())
}

// selectedPSK takes the server's choice among the keys.
func (e *Engine) selectedPSK(h *wire.ServerHello) error {
	if h.PSK == nil {
		if e.cfg.PSK != nil {
			return wire.Errorf(wire.HandshakeFailure, "the server did not choose the pre-shared key")
		}
		return nil
	}
	if int(*h.PSK) >= len(e.hs.offers) {
		return wire.Errorf(wire.IllegalParameter, "the server chose the pre-shared key %d, which was not offered", *h.PSK)
	}
	o := e.hs.offers[*h.PSK]
	if o.hash != e.hs.suite.hash {
		return wire.Errorf(wire.IllegalParameter, "the server chose %s for a key with %s", h.Suite, o.hash)
	}
	e.hs.psk, e.state.PSKIdentity = o, o.user
	return nil
}

// choosePSK chooses a suite and a key that go together, and checks the binder.
// It chooses nothing if no key is known.
func (e *Engine) choosePSK(h *wire.ClientHello, m wire.Message) (index int, err error) {
	hs := e.hs
	covered := m[:len(m)-h.BindersSize()]
	for i, offered := range h.PSKs[:min(len(h.PSKs), maxPSKs)] {
		o, err := e.findPSK(offered.Identity)
		if err != nil {
			return 0, err
		}
		if o == nil {
			continue
		}
		s := e.chooseSuite(h.Suites, func(s *suite) bool { return isTLS13(s) && s.hash == o.hash })
		if s == nil {
			hs.unfit = o
			continue
		}
		secrets := schedule.New(s.hash, o.key)
		if !hmac.Equal(h.Binders[i], o.binder(secrets, &hs.transcript, covered)) {
			return 0, wire.PSKErrorf(wire.DecryptError, "user %q has another key than this side's", o.user)
		}
		hs.suite, hs.psk, hs.secrets = s, o, secrets
		return i, nil
	}
	return 0, nil
}

// findPSK returns the key for an identity of TLS 1.3, nil if there is none: a
// user's, or what a user's key is imported as.
func (e *Engine) findPSK(identity []byte) (*offer, error) {
	psk, err := e.cfg.FindPSK(identity)
	if err != nil {
		return nil, err
	}
	if psk != nil && !psk.Import {
		return psk.offered(0), nil
	}
	id, ok := schedule.ParseImported(identity)
	h := id.TargetHash()
	if !ok || h == 0 || id.Protocol != uint16(wire.TLS13) {
		return nil, nil
	}
	if psk, err = e.cfg.FindPSK(id.Identity); err != nil || psk == nil || !psk.Import || !bytes.Equal(psk.Context, id.Context) {
		return nil, err
	}
	return psk.offered(h), nil
}

// unknownPSK refuses a ClientHello without a known key as one with a wrong key
// is refused, after as much work, so that nobody learns which users there are.
func (e *Engine) unknownPSK(h *wire.ClientHello, covered []byte) error {
	s := e.chooseSuite(h.Suites, isTLS13)
	if s == nil {
		return wire.Errorf(wire.HandshakeFailure, "no cipher suite in common: the client offers %v", h.Suites)
	}
	key, err := e.nobodysKey()
	if err != nil {
		return err
	}
	dummy := &offer{key: key, hash: s.hash, label: schedule.ExternalBinder}
	hmac.Equal(h.Binders[0], dummy.binder(schedule.New(s.hash, key), &e.hs.transcript, covered))
	if o := e.hs.unfit; o != nil {
		return wire.PSKErrorf(wire.DecryptError, "user %q has a key for %s, and the client offers no suite with it", o.user, o.hash)
	}
	return wire.PSKErrorf(wire.DecryptError, "user %q is not known here", h.PSKs[0].Identity)
}

// nobodysKey returns a key that nobody has.
func (e *Engine) nobodysKey() ([]byte, error) {
	key := make([]byte, 32)
	_, err := io.ReadFull(e.cfg.Rand, key)
	return key, err
}

// findPSK12 returns the key of a user in TLS 1.2. One that is not known gets a
// key that nobody has: the client's Finished then does not decrypt, as with a
// wrong key (RFC 4279, section 2).
func (e *Engine) findPSK12(identity []byte) (*offer, error) {
	identity = bytes.Clone(identity)
	e.state.PSKIdentity = identity
	psk, err := e.cfg.FindPSK(identity)
	if err != nil {
		return nil, err
	}
	if psk != nil && !psk.Import {
		return psk.offered(0), nil
	}
	e.hs.v12.unknown = true
	key, err := e.nobodysKey()
	return &offer{user: identity, identity: identity, key: key}, err
}
