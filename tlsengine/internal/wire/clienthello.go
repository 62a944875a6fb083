package wire

import (
	"golang.org/x/crypto/cryptobyte"
)

// PSKMode says whether a pre-shared key is used alone or with a key exchange
// (RFC 8446, section 4.2.9).
type PSKMode uint8

// The modes.
const (
	PSKAlone   PSKMode = 0 // psk_ke
	PSKWithDHE PSKMode = 1 // psk_dhe_ke
)

// PSKIdentity is an offered pre-shared key's name (RFC 8446, section 4.2.11).
type PSKIdentity struct {
	Identity []byte
	Age      uint32 // obfuscated ticket age; 0 for an external key
}

// ClientHello is a client's first message (RFC 8446, section 4.1.2). An
// extension that a client did not send has a nil field.
type ClientHello struct {
	Version     Version // legacy_version: of TLS 1.2 clients the highest
	Random      [32]byte
	SessionID   []byte
	Suites      []Suite
	Compression []byte

	ServerName           string
	HasServerName        bool
	StatusRequest        bool
	Groups               []Group
	PointFormats         []byte
	Schemes              []SignatureScheme
	CertSchemes          []SignatureScheme
	Protocols            [][]byte // ALPN
	ExtendedMasterSecret bool
	RecordSizeLimit      uint16 // 0 if not sent
	Versions             []Version
	Cookie               []byte
	PSKModes             []PSKMode
	Authorities          [][]byte // DER names
	KeyShares            []KeyShare
	HasKeyShares         bool // an empty list asks for a HelloRetryRequest
	EarlyData            bool
	SecureRenegotiation  bool   // renegotiation_info or its signalling suite
	RenegotiationInfo    []byte // nil unless the extension was sent
	PSKs                 []PSKIdentity
	Binders              [][]byte

	Extensions Extensions // all that was received
}

const helloName = "client_hello"

// ParseClientHello reads a ClientHello's body.
func ParseClientHello(body []byte) (*ClientHello, error) {
	r := reader{String: body}
	h := &ClientHello{Version: Version(r.uint16())}
	copy(h.Random[:], r.bytes(32))
	h.SessionID = r.vector8(0)
	suites := r.vector16(2)
	h.Compression = r.vector8(1)
	var list []byte
	if !r.bad && !r.Empty() {
		list = r.vector16(0)
	}
	if err := r.end(helloName); err != nil {
		return nil, err
	}
	var ok bool
	if h.Suites, ok = list16[Suite](suites); !ok || len(h.SessionID) > 32 {
		return nil, Errorf(DecodeError, "malformed %s", helloName)
	}
	for _, s := range h.Suites {
		h.SecureRenegotiation = h.SecureRenegotiation || s == EmptyRenegotiationInfoSCSV
	}
	var err error
	if h.Extensions, err = parseExtensions(list, helloName); err != nil {
		return nil, err
	}
	for i, e := range h.Extensions {
		if e.Type == ExtPreSharedKey && i != len(h.Extensions)-1 {
			return nil, Errorf(IllegalParameter, "pre_shared_key is not the last extension of client_hello")
		}
		if err := h.read(e); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *ClientHello) read(e Extension) error {
	r := reader{String: e.Data}
	switch e.Type {
	case ExtServerName:
		h.readServerName(&r)
	case ExtStatusRequest:
		h.StatusRequest = true
		return nil
	case ExtSupportedGroups:
		h.Groups = readList16[Group](&r, r.vector16(2))
	case ExtPointFormats:
		h.PointFormats = r.vector8(1)
	case ExtSignatureAlgorithms:
		h.Schemes = readList16[SignatureScheme](&r, r.vector16(2))
	case ExtSignatureAlgorithmsCert:
		h.CertSchemes = readList16[SignatureScheme](&r, r.vector16(2))
	case ExtALPN:
		h.Protocols = r.names16(1, (*reader).vector8)
	case ExtExtendedMasterSecret:
		h.ExtendedMasterSecret = true
	case ExtRecordSizeLimit:
		h.RecordSizeLimit = r.uint16()
	case ExtSupportedVersions:
		h.Versions = readList16[Version](&r, r.vector8(2))
	case ExtCookie:
		h.Cookie = r.vector16(1)
	case ExtPSKModes:
		for _, m := range r.vector8(1) {
			h.PSKModes = append(h.PSKModes, PSKMode(m))
		}
	case ExtCertificateAuthorities:
		h.Authorities = r.names16(1, (*reader).vector16)
	case ExtKeyShare:
		h.readKeyShares(&r)
	case ExtEarlyData:
		h.EarlyData = true
	case ExtRenegotiationInfo:
		h.RenegotiationInfo, h.SecureRenegotiation = r.vector8(0), true
	case ExtPreSharedKey:
		h.readPSKs(&r)
	default:
		return nil
	}
	return r.end("extension " + e.Type.String())
}

// Best returns the highest version that the client offers.
func (h *ClientHello) Best() Version {
	if h.Versions == nil {
		return min(h.Version, TLS12)
	}
	best := Version(0)
	for _, v := range h.Versions {
		if v <= TLS13 { // others are reserved values and drafts
			best = max(best, v)
		}
	}
	return best
}

// readServerName takes the one host name that RFC 6066, section 3 allows.
func (h *ClientHello) readServerName(r *reader) {
	list := reader{String: r.vector16(1)}
	for !list.bad && !list.Empty() {
		typ, value := list.uint8(), list.vector16(1)
		if typ == 0 && !list.bad {
			list.ok(!h.HasServerName)
			h.ServerName, h.HasServerName = string(value), true
		}
	}
	r.ok(!list.bad)
}

func (h *ClientHello) readKeyShares(r *reader) {
	list := reader{String: r.vector16(0)}
	h.HasKeyShares = true
	for !list.bad && !list.Empty() {
		h.KeyShares = append(h.KeyShares, list.keyShare())
	}
	r.ok(!list.bad)
}

func (h *ClientHello) readPSKs(r *reader) {
	ids, binders := reader{String: r.vector16(7)}, reader{String: r.vector16(2)}
	for !ids.bad && !ids.Empty() {
		h.PSKs = append(h.PSKs, PSKIdentity{ids.vector16(1), ids.uint32()})
	}
	for !binders.bad && !binders.Empty() {
		h.Binders = append(h.Binders, binders.vector8(1)) // a short one is just wrong
	}
	r.ok(!ids.bad && !binders.bad)
}

// names16 reads a list with a two-octet length of vectors that read reads.
func (r *reader) names16(min int, read func(*reader, int) []byte) (names [][]byte) {
	list := reader{String: r.vector16(min)}
	for !list.bad && !list.Empty() {
		names = append(names, read(&list, 1))
	}
	r.ok(!list.bad)
	return names
}

func readList16[T ~uint16](r *reader, v []byte) []T {
	list, ok := list16[T](v)
	r.ok(ok)
	return list
}

// BindersSize returns the size of the list of binders at the end of the
// message, its length included: what a binder does not cover.
func (h *ClientHello) BindersSize() int {
	n := 2
	for _, b := range h.Binders {
		n += 1 + len(b)
	}
	return n
}

// Marshal writes the message from the fields above Extensions; the extensions
// are in the order of their numbers' age, pre_shared_key last.
func (h *ClientHello) Marshal() Message {
	exts := h.extensions()
	return build(TypeClientHello, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(h.Version))
		b.AddBytes(h.Random[:])
		addVector8(b, h.SessionID)
		addList16(b, h.Suites)
		addVector8(b, h.Compression)
		addExtensions(b, exts)
	})
}

func (h *ClientHello) extensions() (exts Extensions) {
	if h.HasServerName {
		exts.add(ExtServerName, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0)
				addVector16(b, []byte(h.ServerName))
			})
		})
	}
	if h.Groups != nil {
		exts.add(ExtSupportedGroups, func(b *cryptobyte.Builder) { addList16(b, h.Groups) })
	}
	if h.PointFormats != nil {
		exts.add(ExtPointFormats, func(b *cryptobyte.Builder) { addVector8(b, h.PointFormats) })
	}
	if h.Schemes != nil {
		exts.add(ExtSignatureAlgorithms, func(b *cryptobyte.Builder) { addList16(b, h.Schemes) })
	}
	if h.CertSchemes != nil {
		exts.add(ExtSignatureAlgorithmsCert, func(b *cryptobyte.Builder) { addList16(b, h.CertSchemes) })
	}
	if h.Protocols != nil {
		exts.add(ExtALPN, func(b *cryptobyte.Builder) { addNames16(b, h.Protocols, addVector8) })
	}
	if h.ExtendedMasterSecret {
		exts.add(ExtExtendedMasterSecret, nil)
	}
	if h.RecordSizeLimit != 0 {
		exts.add(ExtRecordSizeLimit, func(b *cryptobyte.Builder) { b.AddUint16(h.RecordSizeLimit) })
	}
	if h.RenegotiationInfo != nil {
		exts.add(ExtRenegotiationInfo, func(b *cryptobyte.Builder) { addVector8(b, h.RenegotiationInfo) })
	}
	if h.Versions != nil {
		exts.add(ExtSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, v := range h.Versions {
					b.AddUint16(uint16(v))
				}
			})
		})
	}
	if h.Cookie != nil {
		exts.add(ExtCookie, func(b *cryptobyte.Builder) { addVector16(b, h.Cookie) })
	}
	if h.PSKModes != nil {
		exts.add(ExtPSKModes, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, m := range h.PSKModes {
					b.AddUint8(uint8(m))
				}
			})
		})
	}
	if h.HasKeyShares {
		exts.add(ExtKeyShare, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, k := range h.KeyShares {
					k.add(b)
				}
			})
		})
	}
	if h.EarlyData {
		exts.add(ExtEarlyData, nil)
	}
	if h.PSKs != nil {
		exts.add(ExtPreSharedKey, h.addPSKs)
	}
	return exts
}

func (h *ClientHello) addPSKs(b *cryptobyte.Builder) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, id := range h.PSKs {
			addVector16(b, id.Identity)
			b.AddUint32(id.Age)
		}
	})
	addNames16(b, h.Binders, addVector8)
}

func addNames16(b *cryptobyte.Builder, names [][]byte, add func(*cryptobyte.Builder, []byte)) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, n := range names {
			add(b, n)
		}
	})
}
