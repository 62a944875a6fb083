package tlsengine

import (
	"crypto"
	"slices"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// A suite is a cipher suite's parts.
type suite struct {
	id   wire.Suite
	aead record.AEAD
	hash crypto.Hash
	kx   *keyExchange // of TLS 1.2; nil in TLS 1.3, whose suites leave that open
}

// A keyExchange is what a suite of TLS 1.2 says of keys and certificates.
type keyExchange struct {
	wire.KeyKind
	key certKey // of the server's certificate
}

// certKey is the kind of key that a server's certificate has.
type certKey int

const (
	noCertificate certKey = iota
	ecKey                 // ECDSA and EdDSA (RFC 8422, section 2.1)
	rsaKey
)

var (
	ecdheECDSA = &keyExchange{wire.KeyKind{Curve: true, Signed: true}, ecKey}
	ecdheRSA   = &keyExchange{wire.KeyKind{Curve: true, Signed: true}, rsaKey}
	dheRSA     = &keyExchange{wire.KeyKind{Finite: true, Signed: true}, rsaKey}
	ecdhePSK   = &keyExchange{wire.KeyKind{Curve: true, PSK: true}, noCertificate}
	dhePSK     = &keyExchange{wire.KeyKind{Finite: true, PSK: true}, noCertificate}
	plainPSK   = &keyExchange{wire.KeyKind{PSK: true}, noCertificate}
	dhAnon     = &keyExchange{wire.KeyKind{Finite: true}, noCertificate}
)

// allSuites are in the order in which they are preferred: AES-128-GCM first,
// then the hash that pre-shared keys of psktool need, keys without forward
// secrecy last.
var allSuites = []*suite{
	{wire.AES128GCMSHA256, record.AES128GCM, crypto.SHA256, nil},
	{wire.ChaCha20Poly1305SHA256, record.ChaCha20Poly1305, crypto.SHA256, nil},
	{wire.AES256GCMSHA384, record.AES256GCM, crypto.SHA384, nil},
	{wire.ECDHEECDSAWithAES128GCM, record.AES128GCM, crypto.SHA256, ecdheECDSA},
	{wire.ECDHERSAWithAES128GCM, record.AES128GCM, crypto.SHA256, ecdheRSA},
	{wire.ECDHEECDSAWithAES256GCM, record.AES256GCM, crypto.SHA384, ecdheECDSA},
	{wire.ECDHERSAWithAES256GCM, record.AES256GCM, crypto.SHA384, ecdheRSA},
	{wire.ECDHEECDSAWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, ecdheECDSA},
	{wire.ECDHERSAWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, ecdheRSA},
	{wire.DHERSAWithAES128GCM, record.AES128GCM, crypto.SHA256, dheRSA},
	{wire.DHERSAWithAES256GCM, record.AES256GCM, crypto.SHA384, dheRSA},
	{wire.DHERSAWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, dheRSA},
	{wire.ECDHEPSKWithAES128GCM, record.AES128GCM, crypto.SHA256, ecdhePSK},
	{wire.ECDHEPSKWithAES256GCM, record.AES256GCM, crypto.SHA384, ecdhePSK},
	{wire.ECDHEPSKWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, ecdhePSK},
	{wire.DHEPSKWithAES128GCM, record.AES128GCM, crypto.SHA256, dhePSK},
	{wire.DHEPSKWithAES256GCM, record.AES256GCM, crypto.SHA384, dhePSK},
	{wire.DHEPSKWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, dhePSK},
	{wire.PSKWithAES128GCM, record.AES128GCM, crypto.SHA256, plainPSK},
	{wire.PSKWithAES256GCM, record.AES256GCM, crypto.SHA384, plainPSK},
	{wire.PSKWithChaCha20, record.ChaCha20Poly1305, crypto.SHA256, plainPSK},
	{wire.DHAnonWithAES128GCM, record.AES128GCM, crypto.SHA256, dhAnon},
	{wire.DHAnonWithAES256GCM, record.AES256GCM, crypto.SHA384, dhAnon},
}

func suiteByID(id wire.Suite) *suite {
	for _, s := range allSuites {
		if s.id == id {
			return s
		}
	}
	return nil
}

// usable tells whether an end with this configuration can use a suite at all.
func (c *Config) usable(s *suite) bool {
	switch {
	case s.kx == nil:
		return slices.Contains(c.Versions, wire.TLS13) && (c.PSK == nil || c.PSK.fits(s))
	case !slices.Contains(c.Versions, wire.TLS12):
		return false
	case s.kx.PSK:
		return (c.PSK != nil && !c.PSK.Import || c.FindPSK != nil) && (c.PSKAlone || s.kx != plainPSK)
	case s.kx == dhAnon:
		return c.Anonymous
	}
	return c.PSK == nil && !c.Anonymous
}
