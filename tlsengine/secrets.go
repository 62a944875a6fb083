package tlsengine

import (
	"crypto"
	"errors"
	"fmt"

	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// An exporter makes keying material for what runs inside the session.
type exporter struct {
	version wire.Version
	hash    crypto.Hash
	secret  []byte           // TLS 1.3's exporter secret, or TLS 1.2's master secret
	randoms schedule.Randoms // TLS 1.2
}

func (x *exporter) forget() {
	clear(x.secret)
	x.secret = nil
}

// Export returns keying material that both ends have (RFC 8446, section 7.5;
// RFC 5705).
func (e *Engine) Export(label string, context []byte, size int) ([]byte, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	x := &e.exporter
	switch {
	case x.secret == nil || e.hs != nil:
		return nil, errors.New("tlsengine: Export outside of a session")
	case x.version == wire.TLS12:
		return schedule.Export12(x.hash, x.secret, x.randoms, label, context, size), nil
	}
	return schedule.Export(x.hash, x.secret, label, context, size), nil
}

// forget overwrites the secrets of a handshake that is over. Copies inside the
// standard library's ciphers and hashes are out of reach.
func (h *handshake) forget() {
	for _, s := range [][]byte{h.client, h.server} {
		clear(s)
	}
	if h.secrets != nil {
		h.secrets.Forget()
	}
	for _, o := range append(h.offers, h.psk, h.unfit) {
		if o != nil && o.imported() {
			clear(o.key)
		}
	}
}

// logSecret writes a secret to the key log, if there is one.
func (e *Engine) logSecret(label string, secret []byte) error {
	if e.cfg.KeyLog == nil {
		return nil
	}
	_, err := fmt.Fprintf(e.cfg.KeyLog, "%s %x %x\n", label, e.hs.hello.Random, secret)
	return err
}

func (e *Engine) logSecrets(labels [2]string, client, server []byte) error {
	return errors.Join(e.logSecret(labels[0], client), e.logSecret(labels[1], server))
}
