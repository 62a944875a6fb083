package tlsengine

import (
	"crypto"
	"errors"

	"virtls/tlsengine/internal/sigs"
	"virtls/tlsengine/internal/wire"
)

// A signature is what a handshake waits for: nothing of the peer is looked at
// before it is there.
type signature struct {
	key     crypto.Signer
	scheme  wire.SignatureScheme
	content []byte
	then    func(signature []byte) error // goes on with the handshake

	made  bool
	value []byte
	err   error
}

func (s *signature) sign() ([]byte, error) { return sigs.Sign(s.key, s.scheme, s.content) }

// sign has the chosen identity sign the content, and goes on with then.
func (e *Engine) sign(content []byte, then func([]byte) error) error {
	e.hs.signing = &signature{key: e.hs.identity.Key, scheme: e.state.Scheme, content: content, then: then}
	return nil
}

// signed goes on with a handshake that has its signature.
func (e *Engine) signed(s *signature) error {
	if !s.made {
		s.value, s.err = s.sign()
	}
	e.hs.signing = nil
	if s.err != nil {
		return wire.Errorf(wire.InternalError, "signing the handshake: %v", s.err)
	}
	return s.then(s.value)
}

// Sign makes the signature that a handshake with the status [Signing] waits
// for, however long the key takes. Other methods do not wait for it. Then
// Handshake goes on, and fails if signing did.
func (e *Engine) Sign() error {
	e.in.mu.Lock()
	var s *signature
	if e.hs != nil {
		s = e.hs.signing
	}
	e.in.mu.Unlock()
	if s == nil {
		return errors.New("tlsengine: Sign without need of a signature")
	}
	value, err := s.sign()
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	s.value, s.err, s.made = value, err, true
	return err
}
