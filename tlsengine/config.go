package tlsengine

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"virtls/pki"
	"virtls/pki/dh"
	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/sigs"
	"virtls/tlsengine/internal/wire"
)

// Code points, as they are on the wire.
type (
	Suite           = wire.Suite
	Group           = wire.Group
	SignatureScheme = wire.SignatureScheme
	Version         = wire.Version
	Alert           = wire.Alert
)

// The groups that can be chosen (RFC 8446, section 4.2.7;
// draft-ietf-tls-ecdhe-mlkem).
const (
	P256               = wire.P256
	P384               = wire.P384
	P521               = wire.P521
	X25519             = wire.X25519
	X25519MLKEM768     = wire.X25519MLKEM768
	SecP256r1MLKEM768  = wire.SecP256r1MLKEM768
	SecP384r1MLKEM1024 = wire.SecP384r1MLKEM1024
)

// The alerts for [Engine.Refuse].
const (
	IllegalParameter    = wire.IllegalParameter
	DecryptError        = wire.DecryptError
	BadRecordMAC        = wire.BadRecordMAC
	UnknownPSKIdentity  = wire.UnknownPSKIdentity
	MissingExtension    = wire.MissingExtension
	AccessDenied        = wire.AccessDenied // for a peer that has proved its identity and may not come in
	BadCertificate      = wire.BadCertificate
	CertificateExpired  = wire.CertificateExpired
	CertificateRevoked  = wire.CertificateRevoked
	CertificateRequired = wire.CertificateRequired // of TLS 1.3 alone; TLS 1.2 has bad_certificate
	UnknownCA           = wire.UnknownCA
)

// Suites lists the cipher suites that the engine has, preferred ones first.
func Suites() (list []Suite) {
	for _, s := range allSuites {
		list = append(list, s.id)
	}
	return list
}

// The versions.
const (
	TLS12 = wire.TLS12
	TLS13 = wire.TLS13
)

// Groups lists the groups of key exchanges.
func Groups() []Group { return kex.Groups() }

// Schemes lists the signature schemes.
func Schemes() []SignatureScheme { return sigs.All() }

// An Identity is a certificate with its issuers, its own first, and its key.
type Identity struct {
	Chain []*pki.Certificate
	Key   crypto.Signer
	// Schemes are what the key signs with, in this order: TPMs and tokens lack
	// some. nil stands for those of [Config.Schemes].
	Schemes []SignatureScheme
	// MatchIssuer keeps the identity for peers that name one of the chain's
	// issuers, or none (RFC 8446, section 4.2.4), as GnuTLS's clients do.
	MatchIssuer bool
}

// scheme returns what the identity signs with for a peer, 0 if there is
// nothing in common.
func (id *Identity) scheme(c *Config, v Version, peers []SignatureScheme) SignatureScheme {
	own := id.Schemes
	if own == nil {
		own = c.Schemes
	}
	return sigs.Choose(id.Key.Public(), v, own, peers)
}

// Config tells what an end of a connection offers and accepts.
type Config struct {
	// Rand is crypto/rand.Reader if nil. ML-KEM's shares of a server do not come
	// from it: crypto/mlkem takes no other source than its own.
	Rand io.Reader
	Time func() time.Time // time.Now if nil

	// Limits bound what a peer may cost.
	Limits Limits
	// DeferSigning lets Handshake return [Signing] where a signature is needed,
	// for keys that are slow or elsewhere: the caller has [Engine.Sign] called,
	// by whatever goroutine it likes. Without it Handshake calls the key.
	DeferSigning bool
	// KeyLog gets the connection's secrets, in the format of
	// draft-ietf-tls-keylogfile, for debugging: whoever has them reads and writes
	// the session. No environment variable sets it.
	KeyLog io.Writer

	// Versions are offered, or accepted. nil stands for TLS 1.3 and 1.2.
	Versions []Version
	// Suites are offered, or accepted, in this order. nil stands for all, those
	// with AES-128-GCM first: with SHA-256 keys GnuTLS would take ChaCha20,
	// which is slower where the processor has AES.
	Suites []Suite
	// PreferPeer lets a server take the first suite and group of the client's
	// order, as GnuTLS does without %SERVER_PRECEDENCE.
	PreferPeer bool
	// Groups are offered, or accepted, in this order. nil stands for all, an empty
	// list for none, which leaves keys alone.
	Groups []Group
	// KeyShares is for how many of the groups a client sends a share at once: 1 if 0.
	KeyShares int

	// PSK is a client's key: one, because GnuTLS's servers look at the first only.
	PSK *PSK
	// FindPSK returns a server's key for an identity, nil if there is none. It
	// may be called by several connections at once, and more than once by each.
	FindPSK func(identity []byte) (*PSK, error)
	// PSKAlone allows pre-shared keys without a key exchange (psk_ke), which
	// have no forward secrecy. A server prefers those with one; a client offers both.
	PSKAlone bool

	// Anonymous has sessions without any proof of identity (DH_anon, TLS 1.2
	// only): encryption against who only listens.
	Anonymous bool
	// DH are the parameters that a server of TLS 1.2 uses for clients that name
	// no group of RFC 7919; its group of 2048 bits if nil.
	DH *dh.Params
	// MinDHBits is the size of the smallest prime that a client of TLS 1.2 takes,
	// in bits: 2048 if 0.
	MinDHBits int

	// Identities are what this end can prove to be. The first is used that the
	// peer can verify.
	Identities []Identity
	// StrictPQC lets a server use an ML-DSA identity whenever the client claims
	// to verify ML-DSA. Without it the client must also offer an ML-KEM group,
	// if there is another identity: GnuTLS 3.8.13 without leancrypto offers
	// ML-DSA and then fails.
	StrictPQC bool
	// Schemes are used and accepted for handshakes and chains, in this order. nil
	// stands for all.
	Schemes []SignatureScheme
	// ServerName is sent by a client (RFC 6066, section 3), unless it is empty.
	ServerName string
	// RequestCertificate makes a server ask for the client's certificate. A
	// client without one goes on without.
	RequestCertificate bool
	// Authorities are names, as DER, that a server says the client's
	// certificate should have among its issuers.
	Authorities [][]byte
	// VerifyPeer judges the peer's chain during the handshake. An [Error] has
	// the alert that the peer is sent, others send bad_certificate. If it is nil
	// nothing but the possession of the key is checked, and the caller judges
	// [State.PeerChain].
	VerifyPeer func(chain []*pki.Certificate) error

	// Observe has a client look at the server and no more: the handshake ends
	// with [ErrObserved] when the server has said all it says before the client
	// has to answer, which in TLS 1.3 is its Finished and in TLS 1.2 its
	// ServerHelloDone. No session comes about.
	Observe bool
}

// A CertificateRequest is what a server said of the certificate it wants (RFC
// 8446, section 4.3.2; RFC 5246, section 7.4.4).
type CertificateRequest struct {
	Schemes     []SignatureScheme // that it can verify in the handshake
	CertSchemes []SignatureScheme // and in the chain; nil if it did not say
	Authorities [][]byte          // names as DER; none if it named nobody
}

// State tells what was agreed.
type State struct {
	Version     wire.Version
	Suite       Suite
	Group       Group // 0 without a key exchange
	PSKIdentity []byte
	Retried     bool // by a HelloRetryRequest
	// ExtendedMasterSecret ties the keys of TLS 1.2 to the handshake (RFC 7627), as
	// those of TLS 1.3 always are.
	ExtendedMasterSecret bool

	Identity   int             // which of the configured ones was used; -1 if none was
	Reason     string          // why it was that one, where it was not the first
	Scheme     SignatureScheme // of this end's signature
	PeerChain  []*pki.Certificate
	PeerScheme SignatureScheme
	ServerName string // that the client asked for

	Request *CertificateRequest // of the server, as its client saw it; nil if there was none
}

// KeySize returns the size of the suite's key in octets, 0 before there is one.
func (s State) KeySize() int {
	if suite := suiteByID(s.Suite); suite != nil {
		return suite.aead.KeySize()
	}
	return 0
}

// complete checks the configuration and fills in what was left out.
func (c *Config) complete(client bool) (*Config, error) {
	full := *c
	if full.Rand == nil {
		full.Rand = rand.Reader
	}
	if full.Time == nil {
		full.Time = time.Now
	}
	full.Limits = full.Limits.complete()
	if full.Versions == nil {
		full.Versions = []Version{TLS13, TLS12}
	}
	for _, v := range full.Versions {
		if v != TLS13 && v != TLS12 {
			return nil, fmt.Errorf("tlsengine: %s is not there", v)
		}
	}
	if full.Anonymous {
		full.Versions = slices.DeleteFunc(slices.Clone(full.Versions), func(v Version) bool { return v != TLS12 })
	}
	if full.MinDHBits == 0 {
		full.MinDHBits = 2048
	}
	if full.Suites == nil {
		full.Suites = Suites()
	}
	if full.Groups == nil {
		full.Groups = kex.Groups()
	}
	if full.Schemes == nil {
		full.Schemes = sigs.All()
	}
	for _, s := range full.Schemes {
		if !sigs.Known(s) {
			return nil, fmt.Errorf("tlsengine: %s is not there", s)
		}
	}
	for i, id := range full.Identities {
		if len(id.Chain) == 0 || id.Key == nil {
			return nil, fmt.Errorf("tlsengine: identity %d lacks a certificate or a key", i)
		}
		for _, s := range id.Schemes {
			if !sigs.Known(s) {
				return nil, fmt.Errorf("tlsengine: %s of identity %d is not there", s, i)
			}
		}
	}
	for _, id := range full.Suites {
		if suiteByID(id) == nil {
			return nil, fmt.Errorf("tlsengine: %s is not there", id)
		}
	}
	for _, g := range full.Groups {
		if !kex.Known(g) {
			return nil, fmt.Errorf("tlsengine: %s is not there", g)
		}
	}
	full.Suites = slices.DeleteFunc(slices.Clone(full.Suites), func(id Suite) bool { return !full.usable(suiteByID(id)) })
	if len(full.Suites) == 0 {
		return nil, errors.New("tlsengine: no suite is left for the versions and credentials")
	}
	full.Versions = slices.DeleteFunc(slices.Clone(full.Versions), func(v Version) bool {
		return !slices.ContainsFunc(full.Suites, func(id Suite) bool { return isTLS13(suiteByID(id)) == (v == TLS13) })
	})
	if client {
		return full.completeClient()
	}
	if full.FindPSK == nil && full.Identities == nil && !full.Anonymous {
		return nil, errors.New("tlsengine: a server needs FindPSK, an identity or Anonymous")
	}
	return &full, nil
}

func (c *Config) completeClient() (*Config, error) {
	c.KeyShares = min(max(c.KeyShares, 1), len(c.Groups))
	if c.PSK == nil {
		if len(c.Groups) == 0 {
			return nil, errors.New("tlsengine: no group is left")
		}
		return c, nil
	}
	if len(c.PSK.Identity) == 0 || len(c.PSK.Key) == 0 {
		return nil, errors.New("tlsengine: the PSK lacks an identity or a key")
	}
	if len(c.Groups) == 0 && !c.PSKAlone {
		return nil, errors.New("tlsengine: no group is left")
	}
	return c, nil
}

// ownRecordLimit is the record_size_limit that is sent: a full record.
const ownRecordLimit = record.MaxPlaintext + 1
