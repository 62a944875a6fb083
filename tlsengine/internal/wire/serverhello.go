package wire

import (
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
)

// retryRandom is the random value of a ServerHello that is a HelloRetryRequest
// (RFC 8446, section 4.1.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// RetryRandom returns the random value that marks a HelloRetryRequest.
func RetryRandom() [32]byte { return retryRandom }

// ServerHello is a server's first message, or its request for another
// ClientHello (RFC 8446, sections 4.1.3 and 4.1.4; RFC 5246, section 7.4.1.3).
type ServerHello struct {
	Version     Version // legacy_version
	Random      [32]byte
	SessionID   []byte
	Suite       Suite
	Compression uint8

	Selected             Version // supported_versions; 0 if not sent
	Share                *KeyShare
	RetryGroup           Group // of a HelloRetryRequest's key_share; 0 if not sent
	Cookie               []byte
	PSK                  *uint16 // selected_identity
	ExtendedMasterSecret bool
	RenegotiationInfo    []byte
	PointFormats         []byte
	RecordSizeLimit      uint16 // TLS 1.2 only
	Protocol             []byte // ALPN, TLS 1.2 only

	Extensions Extensions // all that was received
}

// IsRetry tells whether the message is a HelloRetryRequest.
func (h *ServerHello) IsRetry() bool { return h.Random == retryRandom }

// ParseServerHello reads a ServerHello's body.
func ParseServerHello(body []byte) (*ServerHello, error) {
	const what = "server_hello"
	r := reader{String: body}
	h := &ServerHello{Version: Version(r.uint16())}
	copy(h.Random[:], r.bytes(32))
	h.SessionID = r.vector8(0)
	h.Suite = Suite(r.uint16())
	h.Compression = r.uint8()
	var list []byte
	if !r.bad && !r.Empty() {
		list = r.vector16(0)
	}
	if err := r.end(what); err != nil {
		return nil, err
	}
	if len(h.SessionID) > 32 {
		return nil, Errorf(DecodeError, "malformed %s", what)
	}
	var err error
	if h.Extensions, err = parseExtensions(list, what); err != nil {
		return nil, err
	}
	for _, e := range h.Extensions {
		if err := h.read(e); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *ServerHello) read(e Extension) error {
	r := reader{String: e.Data}
	switch e.Type {
	case ExtSupportedVersions:
		h.Selected = Version(r.uint16())
	case ExtKeyShare:
		if h.IsRetry() {
			h.RetryGroup = Group(r.uint16())
		} else {
			share := r.keyShare()
			h.Share = &share
		}
	case ExtCookie:
		h.Cookie = r.vector16(1)
	case ExtPreSharedKey:
		i := r.uint16()
		h.PSK = &i
	case ExtServerName: // an acknowledgement: empty (RFC 6066, section 3)
	case ExtExtendedMasterSecret:
		h.ExtendedMasterSecret = true
	case ExtRenegotiationInfo:
		h.RenegotiationInfo = r.vector8(0)
	case ExtPointFormats:
		h.PointFormats = r.vector8(1)
	case ExtRecordSizeLimit:
		h.RecordSizeLimit = r.uint16()
	case ExtALPN:
		if names := r.names16(1, (*reader).vector8); len(names) == 1 {
			h.Protocol = names[0]
		} else {
			r.bad = true
		}
	default:
		return nil
	}
	return r.end("extension " + e.Type.String())
}

// Marshal writes the message from the fields above Extensions.
func (h *ServerHello) Marshal() Message {
	var exts Extensions
	if h.ExtendedMasterSecret {
		exts.add(ExtExtendedMasterSecret, nil)
	}
	if h.RenegotiationInfo != nil {
		exts.add(ExtRenegotiationInfo, func(b *cryptobyte.Builder) { addVector8(b, h.RenegotiationInfo) })
	}
	if h.PointFormats != nil {
		exts.add(ExtPointFormats, func(b *cryptobyte.Builder) { addVector8(b, h.PointFormats) })
	}
	if h.RecordSizeLimit != 0 {
		exts.add(ExtRecordSizeLimit, func(b *cryptobyte.Builder) { b.AddUint16(h.RecordSizeLimit) })
	}
	if h.Selected != 0 {
		exts.add(ExtSupportedVersions, func(b *cryptobyte.Builder) { b.AddUint16(uint16(h.Selected)) })
	}
	if h.Cookie != nil {
		exts.add(ExtCookie, func(b *cryptobyte.Builder) { addVector16(b, h.Cookie) })
	}
	if h.RetryGroup != 0 {
		exts.add(ExtKeyShare, func(b *cryptobyte.Builder) { b.AddUint16(uint16(h.RetryGroup)) })
	}
	if h.Share != nil {
		exts.add(ExtKeyShare, h.Share.add)
	}
	if h.PSK != nil {
		exts.add(ExtPreSharedKey, func(b *cryptobyte.Builder) { b.AddUint16(*h.PSK) })
	}
	return build(TypeServerHello, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(h.Version))
		b.AddBytes(h.Random[:])
		addVector8(b, h.SessionID)
		b.AddUint16(uint16(h.Suite))
		b.AddUint8(h.Compression)
		if exts != nil {
			addExtensions(b, exts)
		}
	})
}
