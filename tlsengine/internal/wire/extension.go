package wire

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// ExtensionType is the type of an extension (RFC 8446, section 4.2).
type ExtensionType uint16

// The extensions that the engine knows.
const (
	ExtServerName              ExtensionType = 0
	ExtMaxFragmentLength       ExtensionType = 1
	ExtStatusRequest           ExtensionType = 5
	ExtSupportedGroups         ExtensionType = 10
	ExtPointFormats            ExtensionType = 11
	ExtSignatureAlgorithms     ExtensionType = 13
	ExtALPN                    ExtensionType = 16
	ExtEncryptThenMAC          ExtensionType = 22
	ExtExtendedMasterSecret    ExtensionType = 23
	ExtRecordSizeLimit         ExtensionType = 28
	ExtSessionTicket           ExtensionType = 35
	ExtPreSharedKey            ExtensionType = 41
	ExtEarlyData               ExtensionType = 42
	ExtSupportedVersions       ExtensionType = 43
	ExtCookie                  ExtensionType = 44
	ExtPSKModes                ExtensionType = 45
	ExtCertificateAuthorities  ExtensionType = 47
	ExtPostHandshakeAuth       ExtensionType = 49
	ExtSignatureAlgorithmsCert ExtensionType = 50
	ExtKeyShare                ExtensionType = 51
	ExtRenegotiationInfo       ExtensionType = 0xff01
)

func (t ExtensionType) String() string { return name(extensionNames, t, "extension") }

var extensionNames = map[ExtensionType]string{
	ExtServerName: "server_name", ExtMaxFragmentLength: "max_fragment_length", ExtStatusRequest: "status_request",
	ExtSupportedGroups: "supported_groups", ExtPointFormats: "ec_point_formats", ExtSignatureAlgorithms: "signature_algorithms",
	ExtALPN: "application_layer_protocol_negotiation", ExtEncryptThenMAC: "encrypt_then_mac", ExtExtendedMasterSecret: "extended_master_secret",
	ExtRecordSizeLimit: "record_size_limit", ExtSessionTicket: "session_ticket", ExtPreSharedKey: "pre_shared_key", ExtEarlyData: "early_data",
	ExtSupportedVersions: "supported_versions", ExtCookie: "cookie", ExtPSKModes: "psk_key_exchange_modes",
	ExtCertificateAuthorities: "certificate_authorities", ExtPostHandshakeAuth: "post_handshake_auth",
	ExtSignatureAlgorithmsCert: "signature_algorithms_cert", ExtKeyShare: "key_share", ExtRenegotiationInfo: "renegotiation_info",
}

// maxExtensions bounds the work of looking for an extension sent twice.
const maxExtensions = 128

// Extension is an extension that has not been looked into.
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions are a message's extensions, in its order.
type Extensions []Extension

// parseExtensions reads a list of extensions. No extension may come twice (RFC
// 8446, section 4.2).
func parseExtensions(list []byte, what string) (Extensions, error) {
	r := reader{String: list}
	var exts Extensions
	for !r.Empty() {
		e := Extension{Type: ExtensionType(r.uint16())}
		e.Data = r.vector16(0)
		if r.bad {
			break
		}
		if len(exts) == maxExtensions {
			return nil, Errorf(DecodeError, "%s with more than %d extensions", what, maxExtensions)
		}
		if exts.Has(e.Type) {
			return nil, Errorf(DecodeError, "%s with two %s extensions", what, e.Type)
		}
		exts = append(exts, e)
	}
	return exts, r.end("extensions of " + what)
}

// Has tells whether there is an extension of a type.
func (exts Extensions) Has(t ExtensionType) bool {
	return slices.ContainsFunc(exts, func(e Extension) bool { return e.Type == t })
}

// add appends an extension whose data is written by f.
func (exts *Extensions) add(t ExtensionType, f func(b *cryptobyte.Builder)) {
	var b cryptobyte.Builder
	if f != nil {
		f(&b)
	}
	*exts = append(*exts, Extension{t, b.BytesOrPanic()})
}

func addExtensions(b *cryptobyte.Builder, exts Extensions) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, e := range exts {
			b.AddUint16(uint16(e.Type))
			addVector16(b, e.Data)
		}
	})
}

// KeyShare is a public value for a group (RFC 8446, section 4.2.8).
type KeyShare struct {
	Group Group
	Data  []byte
}

func (r *reader) keyShare() KeyShare {
	return KeyShare{Group(r.uint16()), r.vector16(1)}
}

func (k KeyShare) add(b *cryptobyte.Builder) {
	b.AddUint16(uint16(k.Group))
	addVector16(b, k.Data)
}
