package session

import (
	"cmp"
	"crypto/tls"
	"fmt"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/tlsengine"
)

// UnknownScheme is the scheme of a signature that was made by crypto/tls, which
// does not say.
const UnknownScheme = "unknown"

// State tells what was agreed in a session.
type State struct {
	Engine   string         // "crypto/tls" or "virtls"
	Endpoint creds.Endpoint // this end
	Type     string         // of the credentials: "tls-creds-x509"

	Version string // "TLS 1.3"
	Suite   string // "TLS_AES_128_GCM_SHA256"
	KeySize int    // of the cipher's key, in octets
	Group   string // of the key exchange, empty without one
	Scheme  string // of this end's signature; empty if there was none

	Identity *creds.Identity // that this end showed, nil if none
	Reason   string          // why it was not the first one

	PeerChain  []*pki.Certificate // that the peer sent, its own first
	PeerName   string             // the DN as access lists have it, or the user of a pre-shared key
	PeerScheme string             // of the peer's signature
	// Authenticated tells that the peer has proved who it is, by a certificate
	// that was judged or a pre-shared key. Without it there is only encryption.
	Authenticated bool

	// Request is what the server asked this client for, nil if it did not or the
	// engine is crypto/tls, which does not say.
	Request *tlsengine.CertificateRequest

	// Dropped names what a keyword of the priority string brings and no engine
	// has.
	Dropped []string
	// Warnings are what the peer's certificate should have otherwise, though
	// QEMU and libvirt do not mind.
	Warnings []finding.Finding
}

// subject names the session in findings.
func (s *State) subject() string { return fmt.Sprintf("TLS session (%s, %s)", s.Type, s.Endpoint) }

// keySizes are the sizes of suites' keys that are not 16 octets.
func keySize(suite uint16) int {
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return 32
	}
	return 16
}

// groupNames are crypto/tls's groups by the names that standards have.
var groupNames = map[tls.CurveID]string{
	tls.CurveP256: "secp256r1", tls.CurveP384: "secp384r1", tls.CurveP521: "secp521r1", tls.X25519: "x25519",
	tls.X25519MLKEM768: "X25519MLKEM768", tls.SecP256r1MLKEM768: "SecP256r1MLKEM768", tls.SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
}

func groupName(id tls.CurveID) string {
	if id == 0 {
		return ""
	}
	return cmp.Or(groupNames[id], id.String())
}
