package tlsengine

import (
	"bytes"
	"crypto/hmac"
	"io"
	"slices"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// The steps of a TLS 1.3 client (RFC 8446, appendix A.1).
var (
	clientStart = &step{name: "a client", want: []wire.HandshakeType{wire.TypeServerHello}}

	clientWaitExtensions = &step{name: "a client", want: []wire.HandshakeType{wire.TypeEncryptedExtensions}}

	clientWaitCertificate = &step{name: "a client", want: []wire.HandshakeType{wire.TypeCertificateRequest, wire.TypeCertificate}}

	clientWaitRequested = &step{name: "a client", want: []wire.HandshakeType{wire.TypeCertificate}} // after a request

	clientWaitVerify = &step{name: "a client", want: []wire.HandshakeType{wire.TypeCertificateVerify}}

	clientWaitFinished = &step{name: "a client", want: []wire.HandshakeType{wire.TypeFinished}}
)

func init() {
	// Set here because the steps refer to each other.
	clientStart.start, clientStart.handle = (*Engine).sendClientHello, (*Engine).serverHello
	clientWaitExtensions.handle = (*Engine).encryptedExtensions
	clientWaitCertificate.handle = (*Engine).serverCertificate
	clientWaitRequested.handle = (*Engine).serverCertificate
	clientWaitVerify.handle = (*Engine).certificateVerify
	clientWaitFinished.handle = (*Engine).serverFinished
}

func (e *Engine) sendClientHello() error {
	h := &wire.ClientHello{
		Version: wire.TLS12, Suites: e.cfg.Suites, Compression: []byte{0}, RecordSizeLimit: ownRecordLimit,
	}
	groups := e.cfg.Groups
	if slices.Contains(e.cfg.Versions, wire.TLS13) {
		h.Versions, h.SessionID = e.cfg.Versions, make([]byte, 32) // of the compatibility mode
	} else {
		groups = slices.DeleteFunc(slices.Clone(groups), wire.Group.IsHybrid)
	}
	if slices.Contains(e.cfg.Versions, wire.TLS12) {
		h.ExtendedMasterSecret, h.RenegotiationInfo, h.PointFormats = true, []byte{}, []byte{0}
	}
	for _, b := range [][]byte{h.Random[:], h.SessionID} {
		if _, err := io.ReadFull(e.cfg.Rand, b); err != nil {
			return err
		}
	}
	if len(groups) > 0 {
		h.Groups, h.HasKeyShares = groups, h.Versions != nil
		h.PSKModes = append(h.PSKModes, wire.PSKWithDHE)
	}
	if e.cfg.PSKAlone {
		h.PSKModes = append(h.PSKModes, wire.PSKAlone)
	}
	e.hs.shares = map[wire.Group]kex.Exchange{}
	for _, g := range e.cfg.Groups[:e.cfg.KeyShares] {
		if h.Versions == nil {
			break
		}
		if err := e.addShare(h, g); err != nil {
			return err
		}
	}
	if e.cfg.PSK == nil || h.Versions == nil {
		h.PSKModes = nil
	}
	if e.cfg.PSK == nil && !e.cfg.Anonymous {
		h.Schemes = e.cfg.Schemes
		h.ServerName, h.HasServerName = e.cfg.ServerName, e.cfg.ServerName != ""
	}
	e.offer(h)
	e.hs.helloSeen = true
	return nil
}

// offer sends a ClientHello, with the key if there is one.
func (e *Engine) offer(h *wire.ClientHello) {
	e.hs.hello = h
	if e.cfg.PSK != nil && h.Versions != nil {
		e.offerPSK(h)
		return
	}
	e.send(h.Marshal())
}

func (e *Engine) addShare(h *wire.ClientHello, g wire.Group) error {
	x, err := kex.New(g, e.cfg.Rand)
	if err != nil {
		return err
	}
	e.hs.shares[g] = x
	h.KeyShares = append(h.KeyShares, wire.KeyShare{Group: g, Data: x.Share()})
	return nil
}

// Extensions that a ServerHello and a HelloRetryRequest may have (RFC 8446,
// section 4.2).
var (
	inServerHello = []wire.ExtensionType{wire.ExtSupportedVersions, wire.ExtKeyShare, wire.ExtPreSharedKey}
	inRetry       = []wire.ExtensionType{wire.ExtSupportedVersions, wire.ExtKeyShare, wire.ExtCookie}
	inEncrypted   = []wire.ExtensionType{wire.ExtRecordSizeLimit, wire.ExtSupportedGroups}
)

func checkExtensions(exts wire.Extensions, allowed []wire.ExtensionType, where string) error {
	for _, x := range exts {
		if !slices.Contains(allowed, x.Type) {
			return wire.Errorf(wire.UnsupportedExtension, "%s with the extension %s, which was not asked for", where, x.Type)
		}
	}
	return nil
}

func (e *Engine) serverHello(m wire.Message) error {
	h, err := wire.ParseServerHello(m.Body())
	if err != nil {
		return err
	}
	if h.Selected == 0 && h.Version == wire.TLS12 && slices.Contains(e.cfg.Versions, wire.TLS12) && !h.IsRetry() && e.hs.retry == nil {
		return e.serverHello12(h, m)
	}
	if err := e.checkServerHello(h); err != nil {
		return err
	}
	if h.IsRetry() {
		return e.retryRequest(h, m)
	}
	hs := e.hs
	hs.suite = suiteByID(h.Suite)
	if hs.retry != nil && hs.retry.Suite != h.Suite {
		return wire.Errorf(wire.IllegalParameter, "the server asked for %s first and chose %s then", hs.retry.Suite, h.Suite)
	}
	shared, err := e.serverShare(h)
	if err != nil {
		return err
	}
	hs.secrets = schedule.New(hs.suite.hash, hs.key())
	hs.transcript.choose(hs.suite.hash)
	hs.transcript.add(m)
	if err := e.handshakeKeys(shared); err != nil {
		return err
	}
	if err := e.readKeys(hs.server); err != nil {
		return err
	}
	e.compatibilityMode()
	if err := e.writeKeys(hs.client); err != nil {
		return err
	}
	e.state.Version, e.state.Suite = wire.TLS13, h.Suite
	hs.step = clientWaitExtensions
	return nil
}

// checkServerHello checks what a ServerHello and a HelloRetryRequest have in
// common (RFC 8446, section 4.1.3).
func (e *Engine) checkServerHello(h *wire.ServerHello) error {
	where, allowed := "a server_hello", inServerHello
	if h.IsRetry() {
		where, allowed = "a hello_retry_request", inRetry
	}
	switch {
	case h.Selected == 0:
		return wire.Errorf(wire.ProtocolVersion, "the server speaks %s at most, and this side wants %v", h.Version, e.cfg.Versions)
	case h.Version != wire.TLS12:
		return wire.Errorf(wire.IllegalParameter, "%s with the legacy version %s", where, h.Version)
	case h.Selected != wire.TLS13:
		return wire.Errorf(wire.IllegalParameter, "the server chose %s, which was not offered", h.Selected)
	case !bytes.Equal(h.SessionID, e.hs.hello.SessionID):
		return wire.Errorf(wire.IllegalParameter, "%s with another session id", where)
	case h.Compression != 0:
		return wire.Errorf(wire.DecodeError, "%s with compression", where)
	case !slices.Contains(e.cfg.Suites, h.Suite) || suiteByID(h.Suite).kx != nil:
		return wire.Errorf(wire.IllegalParameter, "the server chose %s, which was not offered", h.Suite)
	}
	return checkExtensions(h.Extensions, allowed, where)
}

// serverShare finishes the key exchange, and checks that the choice of a
// pre-shared key goes with it.
func (e *Engine) serverShare(h *wire.ServerHello) (shared []byte, err error) {
	if h.PSK != nil && e.cfg.PSK == nil {
		return nil, wire.Errorf(wire.UnsupportedExtension, "the server chose a pre-shared key, and none was offered")
	}
	if err := e.selectedPSK(h); err != nil {
		return nil, err
	}
	if h.Share == nil {
		if h.PSK != nil && e.cfg.PSKAlone {
			return nil, nil
		}
		return nil, wire.Errorf(wire.MissingExtension, "a server_hello without key_share")
	}
	x := e.hs.shares[h.Share.Group]
	if x == nil {
		return nil, wire.Errorf(wire.IllegalParameter, "the server chose %s, for which it got no share", h.Share.Group)
	}
	if e.hs.retry != nil && e.hs.retry.RetryGroup != 0 && e.hs.retry.RetryGroup != h.Share.Group {
		return nil, wire.Errorf(wire.IllegalParameter, "the server asked for %s and chose %s", e.hs.retry.RetryGroup, h.Share.Group)
	}
	e.state.Group = h.Share.Group
	if shared, err = x.Finish(h.Share.Data); err != nil {
		return nil, wire.Errorf(wire.IllegalParameter, "%v (%s)", err, h.Share.Group)
	}
	return shared, nil
}

// retryRequest answers a HelloRetryRequest (RFC 8446, section 4.1.4).
func (e *Engine) retryRequest(r *wire.ServerHello, m wire.Message) error {
	hs := e.hs
	if hs.retry != nil {
		return wire.Errorf(wire.UnexpectedMessage, "a second hello_retry_request")
	}
	if r.RetryGroup == 0 && r.Cookie == nil {
		return wire.Errorf(wire.IllegalParameter, "a hello_retry_request that changes nothing")
	}
	hs.retry = r
	h := *hs.hello
	if g := r.RetryGroup; g != 0 {
		if !slices.Contains(e.cfg.Groups, g) || hs.shares[g] != nil {
			return wire.Errorf(wire.IllegalParameter, "a hello_retry_request for %s, which was not offered or has a share", g)
		}
		hs.shares, h.KeyShares = map[wire.Group]kex.Exchange{}, nil
		if err := e.addShare(&h, g); err != nil {
			return err
		}
	}
	h.Cookie = r.Cookie
	hs.transcript.retried(suiteByID(r.Suite).hash)
	hs.transcript.add(m)
	e.state.Retried = true
	e.out.setVersion(wire.TLS12)
	e.compatibilityMode()
	e.offer(&h)
	return nil
}

func (e *Engine) encryptedExtensions(m wire.Message) error {
	x, err := wire.ParseEncryptedExtensions(m.Body())
	if err != nil {
		return err
	}
	allowed := inEncrypted
	if e.hs.hello.HasServerName {
		allowed = append(slices.Clone(allowed), wire.ExtServerName)
	}
	if err := checkExtensions(x.Extensions, allowed, "encrypted_extensions"); err != nil {
		return err
	}
	if err := e.recordLimit(x.RecordSizeLimit); err != nil {
		return err
	}
	e.hs.transcript.add(m)
	e.hs.step = clientWaitFinished
	if e.hs.psk == nil {
		e.hs.step = clientWaitCertificate
	}
	return nil
}

func (e *Engine) serverFinished(m wire.Message) error {
	hs := e.hs
	if err := e.checkFinished(hs.server, m); err != nil {
		return err
	}
	if e.cfg.Observe {
		return ErrObserved
	}
	hs.transcript.add(m)
	if err := e.applicationKeys(); err != nil {
		return err
	}
	if err := e.readKeys(hs.serverApp); err != nil {
		return err
	}
	if hs.request != nil {
		return e.sendClientCertificate(e.clientFinish)
	}
	return e.clientFinish()
}

// clientFinish sends the client's Finished.
func (e *Engine) clientFinish() error {
	hs := e.hs
	e.send(wire.NewMessage(wire.TypeFinished, schedule.Finished(hs.suite.hash, hs.client, hs.transcript.sum())))
	if err := e.writeKeys(hs.clientApp); err != nil {
		return err
	}
	e.complete()
	return nil
}

// checkFinished checks the peer's Finished against the transcript before it.
func (e *Engine) checkFinished(secret []byte, m wire.Message) error {
	if !hmac.Equal(m.Body(), schedule.Finished(e.hs.suite.hash, secret, e.hs.transcript.sum())) {
		return wire.Errorf(wire.DecryptError, "the peer's finished does not fit the handshake")
	}
	return nil
}
