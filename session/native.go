package session

import (
	"crypto"
	"errors"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki/dh"
	"virtls/priority"
	"virtls/psk"
	"virtls/tlsengine"
)

// nativeSession is our own engine.
type nativeSession struct {
	*tlsengine.Engine
	p *plan
}

func newNativeEngine(p *plan) (*nativeSession, error) {
	cfg := &tlsengine.Config{StrictPQC: p.o.StrictPQC, KeyLog: p.o.KeyLog, Time: p.o.Now, KeyShares: 2, Observe: p.o.Observe, DeferSigning: p.o.DeferSigning,
		Limits: tlsengine.Limits{RecordsPerKey: p.o.RecordsPerKey}}
	if p.list != nil {
		cfg.Suites = codePoints[tlsengine.Suite](suiteCodes(p.list))
		cfg.Groups = codePoints[tlsengine.Group](entryCodes(p.list.NegotiatedGroups))
		cfg.Schemes = codePoints[tlsengine.SignatureScheme](entryCodes(p.list.NegotiatedSignatures))
		cfg.Versions = codePoints[tlsengine.Version](entryCodes(p.list.Versions))
		cfg.PreferPeer = !p.list.Options.ServerPrecedence
		cfg.MinDHBits = p.list.MinDHBits
	}
	switch {
	case p.psk != nil:
		p.psks(cfg)
		cfg.DH = params(p.psk.DH)
	case p.anon != nil:
		cfg.Anonymous, cfg.DH = true, params(p.anon.DH)
	case p.x509 != nil:
		for _, id := range p.x509.Identities {
			cfg.Identities = append(cfg.Identities, tlsengine.Identity{Chain: id.Chain, Key: id.Key.(crypto.Signer), MatchIssuer: !p.server()})
		}
		cfg.RequestCertificate, cfg.DH = true, params(p.x509.DH)
		if !p.o.WithholdNames {
			for _, c := range p.x509.Anchors {
				cfg.Authorities = append(cfg.Authorities, c.RawSubject)
			}
		}
	}
	start := tlsengine.Client
	if p.server() {
		start = tlsengine.Server
	}
	e, err := start(cfg)
	if err != nil {
		return nil, wrong(kindEngine.Found(p.subject(), "").WithText("%v", err), err)
	}
	return &nativeSession{e, p}, nil
}

// params are the Diffie-Hellman parameters of a file, nil without one.
func params(d *creds.DHParams) *dh.Params {
	if d == nil {
		return nil
	}
	return &dh.Params{Prime: d.P, Generator: d.G}
}

// psks sets up pre-shared keys. A key alone (psk_ke) is taken only from who asks
// for it in a priority string: it has no forward secrecy.
func (p *plan) psks(cfg *tlsengine.Config) {
	if p.list != nil {
		for _, kx := range p.list.KeyExchanges {
			cfg.PSKAlone = cfg.PSKAlone || p.server() && kx.Name == "PSK"
		}
	}
	if !p.server() {
		cfg.PSK = p.key([]byte(p.psk.Username()), p.psk.Key())
		return
	}
	cfg.FindPSK = func(identity []byte) (*tlsengine.PSK, error) {
		key, err := p.psk.Lookup(string(identity))
		if err != nil {
			p.chosen.reason = err.Error()
			return nil, nil
		}
		return p.key(identity, key), nil
	}
}

func (p *plan) key(identity []byte, key psk.Key) *tlsengine.PSK {
	return &tlsengine.PSK{Identity: identity, Key: key.Bytes(), Import: p.o.ImportPSK, Context: p.o.PSKContext}
}

func suiteCodes(l *priority.List) (ids []uint16) {
	for _, s := range l.Suites {
		ids = append(ids, s.ID)
	}
	return ids
}

func entryCodes(list []priority.Entry) (ids []uint16) {
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

func codePoints[T ~uint16](ids []uint16) []T {
	out := make([]T, 0, len(ids))
	for _, id := range ids {
		out = append(out, T(id))
	}
	return out
}

// Handshake is complete for a client that only looks when it has seen all.
func (n *nativeSession) Handshake() (Status, error) {
	status, err := n.Engine.Handshake()
	if errors.Is(err, tlsengine.ErrObserved) {
		return Complete, nil
	}
	return status, err
}

func (n *nativeSession) close() { n.Engine.Close() }

// alerts tell a peer why it was refused.
var alerts = map[string]tlsengine.Alert{
	kindNoPeerCertificate.Code: tlsengine.CertificateRequired,
	kindPeerUntrusted.Code:     tlsengine.UnknownCA,
	kindPeerExpired.Code:       tlsengine.CertificateExpired,
	kindPeerRevoked.Code:       tlsengine.CertificateRevoked,
	kindPeerName.Code:          tlsengine.BadCertificate,
	kindPeerUsage.Code:         tlsengine.BadCertificate,
}

func (n *nativeSession) refuse(verdict error) {
	if n.p.o.Rules == Libvirt { // which closes the connection without a word
		return
	}
	alert, ok := alerts[finding.Of(verdict).Code]
	switch {
	case !ok:
		alert = tlsengine.AccessDenied
	case alert == tlsengine.CertificateRequired && n.Engine.State().Version == tlsengine.TLS12:
		alert = tlsengine.BadCertificate
	}
	n.Engine.Refuse(alert)
}

func (n *nativeSession) fill(s *State) {
	e := n.Engine.State()
	if s.Request = e.Request; e.Version == 0 {
		return
	}
	s.Version, s.Suite, s.KeySize = e.Version.String(), e.Suite.String(), e.KeySize()
	if e.Group != 0 {
		s.Group = e.Group.String()
	}
	if e.Scheme != 0 {
		s.Scheme = e.Scheme.String()
	}
	if e.PeerScheme != 0 {
		s.PeerScheme = e.PeerScheme.String()
	}
	if e.Identity >= 0 {
		s.Identity = &n.p.x509.Identities[e.Identity]
	}
	s.Reason, s.PeerChain = e.Reason, e.PeerChain
	if n.p.psk != nil && s.Endpoint == creds.Server {
		s.PeerName = string(e.PSKIdentity)
	}
}
