package tlsengine

import (
	"bytes"
	"io"
	"slices"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// The steps of a TLS 1.3 server (RFC 8446, appendix A.2).
var (
	serverStart           = &step{name: "a server", want: []wire.HandshakeType{wire.TypeClientHello}}
	serverWaitRetry       = &step{name: "a server", want: []wire.HandshakeType{wire.TypeClientHello}}
	serverWaitCertificate = &step{name: "a server", want: []wire.HandshakeType{wire.TypeCertificate}}
	serverWaitVerify      = &step{name: "a server", want: []wire.HandshakeType{wire.TypeCertificateVerify}}
	serverWaitFinished    = &step{name: "a server", want: []wire.HandshakeType{wire.TypeFinished}}
)

func init() {
	// Set here because the steps refer to each other.
	serverStart.handle = (*Engine).clientHello
	serverWaitRetry.handle = (*Engine).clientHelloAgain
	serverWaitCertificate.handle = (*Engine).clientCertificate
	serverWaitVerify.handle = (*Engine).certificateVerify
	serverWaitFinished.handle = (*Engine).clientFinished
}

func (e *Engine) clientHello(m wire.Message) error {
	h, err := wire.ParseClientHello(m.Body())
	if err != nil {
		return err
	}
	e.hs.hello, e.hs.helloSeen = h, true
	if own := slices.Max(e.cfg.Versions); slices.Contains(h.Suites, wire.FallbackSCSV) && h.Best() < own {
		return wire.Errorf(wire.InappropriateFallback, "the client fell back to %s, and this side speaks %s", h.Best(), own)
	}
	switch v := e.chooseVersion(h); v {
	case wire.TLS13:
	case wire.TLS12:
		return e.answer12(h, m)
	default:
		return wire.Errorf(wire.ProtocolVersion, "no version in common: the client offers %v (%s), this side %v", h.Versions, h.Version, e.cfg.Versions)
	}
	if err := checkClientHello(h); err != nil {
		return err
	}
	if h.EarlyData {
		e.in.early = e.cfg.Limits.EarlyData
	}
	return e.answer(h, m)
}

// chooseVersion returns the best version in common, 0 if there is none.
func (e *Engine) chooseVersion(h *wire.ClientHello) wire.Version {
	has := func(v wire.Version) bool {
		if h.Versions == nil {
			return v <= h.Version && v < wire.TLS13
		}
		return slices.Contains(h.Versions, v)
	}
	for _, v := range []wire.Version{wire.TLS13, wire.TLS12} {
		if slices.Contains(e.cfg.Versions, v) && has(v) {
			return v
		}
	}
	return 0
}

// clientHelloAgain takes the answer to a HelloRetryRequest, in which nothing
// but what was asked for may have changed (RFC 8446, section 4.1.2).
func (e *Engine) clientHelloAgain(m wire.Message) error {
	h, err := wire.ParseClientHello(m.Body())
	if err != nil {
		return err
	}
	if err := checkClientHello(h); err != nil {
		return err
	}
	first := e.hs.hello
	if h.EarlyData {
		return wire.Errorf(wire.IllegalParameter, "the second client_hello announces early data")
	}
	same := h.Version == first.Version && h.Random == first.Random && bytes.Equal(h.SessionID, first.SessionID) &&
		slices.Equal(h.Suites, first.Suites) && slices.Equal(h.Groups, first.Groups) && slices.Equal(h.PSKModes, first.PSKModes)
	if !same {
		return wire.Errorf(wire.IllegalParameter, "the second client_hello differs from the first")
	}
	if len(h.KeyShares) != 1 || h.KeyShares[0].Group != e.hs.retry.RetryGroup {
		return wire.Errorf(wire.IllegalParameter, "the second client_hello lacks the one key share that was asked for")
	}
	e.hs.hello = h
	return e.answer(h, m)
}

// checkClientHello checks what TLS 1.3 wants of every ClientHello (RFC 8446,
// section 4.1.2).
func checkClientHello(h *wire.ClientHello) error {
	switch {
	case !slices.Contains(h.Versions, wire.TLS13):
		return wire.Errorf(wire.ProtocolVersion, "the client does not offer TLS 1.3")
	case !bytes.Equal(h.Compression, []byte{0}):
		return wire.Errorf(wire.IllegalParameter, "a client_hello for TLS 1.3 with compression")
	case h.Groups != nil && !h.HasKeyShares, h.Groups == nil && len(h.KeyShares) > 0:
		// Without groups GnuTLS 3.7 to 3.8 sends an empty list of shares.
		return wire.Errorf(wire.MissingExtension, "a client_hello with one of supported_groups and key_share")
	case h.PSKs != nil && h.PSKModes == nil:
		return wire.Errorf(wire.MissingExtension, "a client_hello with pre_shared_key and without psk_key_exchange_modes")
	case len(h.PSKs) != len(h.Binders):
		return wire.Errorf(wire.IllegalParameter, "%d pre-shared keys with %d binders", len(h.PSKs), len(h.Binders))
	}
	seen := map[wire.Group]bool{}
	for _, k := range h.KeyShares {
		if seen[k.Group] || !slices.Contains(h.Groups, k.Group) {
			return wire.Errorf(wire.IllegalParameter, "a key share for %s twice, or for a group that is not offered", k.Group)
		}
		seen[k.Group] = true
	}
	return nil
}

// answer chooses suite, key and group for a ClientHello, and sends the server's
// flight or a HelloRetryRequest.
func (e *Engine) answer(h *wire.ClientHello, m wire.Message) error {
	hs := e.hs
	index, err := e.chooseCredential(h, m)
	if err != nil {
		return err
	}
	if hs.retry != nil && hs.retry.Suite != hs.suite.id {
		return wire.Errorf(wire.IllegalParameter, "the second client_hello does not allow %s any more", hs.retry.Suite)
	}
	hs.transcript.choose(hs.suite.hash)
	share, err := e.chooseGroup(h)
	if err != nil {
		return err
	}
	if hs.group != 0 && share == nil {
		return e.requestRetry(h, m)
	}
	hs.transcript.add(m)
	if err := e.recordLimit(h.RecordSizeLimit); err != nil {
		return err
	}
	return e.serverFlight(h, index, share)
}

// chooseCredential chooses a pre-shared key, and returns its index, or else one
// of the identities.
func (e *Engine) chooseCredential(h *wire.ClientHello, m wire.Message) (int, error) {
	hs := e.hs
	first := hs.psk // before a HelloRetryRequest; what was chosen then is chosen again or not at all
	hs.psk, hs.unfit = nil, nil
	late := hs.retry != nil && first == nil // a key that the first client_hello did not bring
	if h.PSKs != nil && !late && e.cfg.FindPSK != nil && (len(e.cfg.Identities) == 0 || e.takesMode(h)) {
		index, err := e.choosePSK(h, m)
		if err != nil {
			return 0, err
		}
		if hs.psk != nil && (first == nil || bytes.Equal(first.user, hs.psk.user)) {
			return index, nil
		}
	}
	switch {
	case first != nil: // nobody goes on with the first's proof
		if h.PSKs == nil {
			return 0, wire.Errorf(wire.MissingExtension, "the second client_hello has no pre-shared key")
		}
		return 0, wire.Errorf(wire.IllegalParameter, "the second client_hello lacks the pre-shared key of the first")
	case len(e.cfg.Identities) == 0 && h.PSKs == nil:
		return 0, wire.Errorf(wire.HandshakeFailure, "the client offers no pre-shared key")
	case len(e.cfg.Identities) == 0:
		return 0, e.unknownPSK(h, m[:len(m)-h.BindersSize()])
	case h.Schemes == nil:
		return 0, wire.Errorf(wire.MissingExtension, "a client_hello without signature_algorithms")
	}
	if hs.suite = e.chooseSuite(h.Suites, isTLS13); hs.suite == nil {
		return 0, wire.Errorf(wire.HandshakeFailure, "no cipher suite in common: the client offers %v", h.Suites)
	}
	hs.secrets = schedule.New(hs.suite.hash, nil)
	return 0, e.chooseIdentity(h)
}

// takesMode tells whether one of the client's ways to use keys is allowed here.
func (e *Engine) takesMode(h *wire.ClientHello) bool {
	return slices.Contains(h.PSKModes, wire.PSKWithDHE) || e.cfg.PSKAlone && slices.Contains(h.PSKModes, wire.PSKAlone)
}

func isTLS13(s *suite) bool { return s.kx == nil }

// inOrder returns the list whose order counts first, and then the other.
func inOrder[T any](e *Engine, own, peer []T) (first, second []T) {
	if e.cfg.PreferPeer {
		return peer, own
	}
	return own, peer
}

func (e *Engine) chooseSuite(offered []wire.Suite, fits func(*suite) bool) *suite {
	first, second := inOrder(e, e.cfg.Suites, offered)
	for _, id := range first {
		if s := suiteByID(id); s != nil && slices.Contains(second, id) && fits(s) {
			return s
		}
	}
	return nil
}

// chooseGroup chooses the group of the key exchange and returns the client's
// share for it, nil if it sent none. Without a group the key is used alone.
func (e *Engine) chooseGroup(h *wire.ClientHello) (*wire.KeyShare, error) {
	hs := e.hs
	if hs.psk == nil || slices.Contains(h.PSKModes, wire.PSKWithDHE) {
		first, second := inOrder(e, e.cfg.Groups, h.Groups)
		hs.group = 0
		for _, g := range first {
			if !slices.Contains(second, g) || !kex.Known(g) {
				continue
			}
			for i := range h.KeyShares {
				if h.KeyShares[i].Group == g {
					hs.group = g
					return &h.KeyShares[i], nil
				}
			}
			if hs.group == 0 {
				hs.group = g // worth another round trip only if no other has a share
			}
		}
		if hs.group != 0 {
			return nil, nil
		}
	}
	if hs.psk != nil && e.cfg.PSKAlone && slices.Contains(h.PSKModes, wire.PSKAlone) {
		return nil, nil
	}
	if h.Groups == nil && hs.psk == nil {
		return nil, wire.Errorf(wire.MissingExtension, "a client_hello without supported_groups")
	}
	return nil, wire.Errorf(wire.HandshakeFailure, "no key exchange in common: the client offers %v with the modes %v", h.Groups, h.PSKModes)
}

// requestRetry asks for a share of the chosen group.
func (e *Engine) requestRetry(h *wire.ClientHello, m wire.Message) error {
	hs := e.hs
	if hs.retry != nil {
		return wire.Errorf(wire.IllegalParameter, "the second client_hello has no share for %s", hs.group)
	}
	hs.transcript.add(m)
	hs.transcript.retried(hs.suite.hash)
	hs.retry = &wire.ServerHello{
		Version: wire.TLS12, Random: wire.RetryRandom(), SessionID: h.SessionID, Suite: hs.suite.id, Selected: wire.TLS13, RetryGroup: hs.group,
	}
	e.out.setVersion(wire.TLS12)
	e.send(hs.retry.Marshal())
	e.state.Retried = true
	if len(h.SessionID) > 0 {
		e.compatibilityMode()
	}
	hs.step = serverWaitRetry
	return nil
}

// serverFlight sends everything from ServerHello to Finished.
func (e *Engine) serverFlight(h *wire.ClientHello, index int, share *wire.KeyShare) error {
	hs := e.hs
	sh := &wire.ServerHello{Version: wire.TLS12, SessionID: h.SessionID, Suite: hs.suite.id, Selected: wire.TLS13}
	if hs.psk != nil {
		selected := uint16(index)
		sh.PSK, e.state.PSKIdentity = &selected, hs.psk.user
	}
	if _, err := io.ReadFull(e.cfg.Rand, sh.Random[:]); err != nil {
		return err
	}
	var shared []byte
	if share != nil {
		own, secret, err := kex.Respond(share.Group, share.Data, e.cfg.Rand)
		if err != nil {
			return wire.Errorf(wire.IllegalParameter, "%v (%s)", err, share.Group)
		}
		shared, sh.Share = secret, &wire.KeyShare{Group: share.Group, Data: own}
	}
	e.state.Version, e.state.Suite, e.state.Group = wire.TLS13, hs.suite.id, hs.group
	e.state.ServerName = h.ServerName
	e.out.setVersion(wire.TLS12)
	e.send(sh.Marshal())
	if len(h.SessionID) > 0 {
		e.compatibilityMode()
	}
	if err := e.handshakeKeys(shared); err != nil {
		return err
	}
	if err := e.writeKeys(hs.server); err != nil {
		return err
	}
	ee := &wire.EncryptedExtensions{}
	if h.RecordSizeLimit != 0 {
		ee.RecordSizeLimit = ownRecordLimit
	}
	e.send(ee.Marshal())
	hs.step = serverWaitFinished
	if hs.psk == nil {
		return e.sendServerCertificate(e.serverFinish)
	}
	return e.serverFinish()
}

// serverFinish sends the server's Finished.
func (e *Engine) serverFinish() error {
	hs := e.hs
	e.send(wire.NewMessage(wire.TypeFinished, schedule.Finished(hs.suite.hash, hs.server, hs.transcript.sum())))
	if err := e.applicationKeys(); err != nil {
		return err
	}
	if err := e.writeKeys(hs.serverApp); err != nil {
		return err
	}
	return e.readKeys(hs.client)
}

func (e *Engine) clientFinished(m wire.Message) error {
	if err := e.checkFinished(e.hs.client, m); err != nil {
		return err
	}
	if err := e.readKeys(e.hs.clientApp); err != nil {
		return err
	}
	e.complete()
	return nil
}
