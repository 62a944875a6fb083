package priority

import (
	"slices"

	"virtls/pki"
)

// A keyword is a word such as NORMAL that brings whole lists (GnuTLS manual,
// "Priority Strings"; lib/priority.c of 3.7.8, 3.8.9, 3.8.13).
type keyword struct {
	names        []string
	versions     []string // nil: none of its own
	ciphers      []string
	macs         []string
	keyExchanges []string
	signatures   []string
	groups       []string
	profile      profile // unset: none of its own
	level        level
	noTickets12  bool
}

// none is the word that, in the first place only, keeps the default versions,
// signature schemes and groups away.
const none = "NONE"

// A profile is a verification profile, in GnuTLS's order.
type profile int

const (
	profileUnset profile = iota
	veryWeakProfile
	lowProfile
	legacyProfile
	mediumProfile
	highProfile
	ultraProfile
	futureProfile
	suiteB128Profile
	suiteB192Profile
)

// profiles holds each profile's name, as certtool and min-verification-profile
// take it, and the level that it sets when it is asked for.
var profiles = [...]struct {
	name  pki.GnuTLSProfile
	level level
}{
	profileUnset:     {pki.NoGnuTLSProfile, levelUnset},
	veryWeakProfile:  {"very weak", veryWeak},
	lowProfile:       {"low", low},
	legacyProfile:    {"legacy", legacy},
	mediumProfile:    {"medium", medium},
	highProfile:      {"high", high},
	ultraProfile:     {"ultra", ultra},
	futureProfile:    {"future", future},
	suiteB128Profile: {"suiteb128", high},
	suiteB192Profile: {"suiteb192", ultra},
}

// A level is a security level; it decides how small a Diffie-Hellman prime may be.
type level int

const (
	levelUnset level = iota
	veryWeak
	weak
	low
	legacy
	medium
	high
	ultra
	future
)

// dhBits is the size of the smallest prime that each level takes, in bits
// (3.8.13, lib/algorithms/secparams.c).
var dhBits = [...]int{levelUnset: 0, veryWeak: 767, weak: 1008, low: 1024, legacy: 1776, medium: 2048, high: 3072, ultra: 8192, future: 15360}

var (
	defaultVersions  = []string{"TLS1.3", "TLS1.2", "TLS1.1", "TLS1.0", "DTLS1.2", "DTLS1.0"}
	streamVersions   = []string{"TLS1.3", "TLS1.2", "TLS1.1", "TLS1.0"}
	datagramVersions = []string{"DTLS1.2", "DTLS1.0"}

	ellipticGroups = []string{"SECP256R1", "SECP384R1", "SECP521R1", "X25519", "X448"}
	finiteGroups   = []string{"FFDHE2048", "FFDHE3072", "FFDHE4096", "FFDHE6144", "FFDHE8192"}
	normalGroups   = append(ellipticGroups[:len(ellipticGroups):len(ellipticGroups)], finiteGroups...)
	gostGroups     = []string{"GC256A", "GC256B", "GC256C", "GC256D", "GC512A", "GC512B", "GC512C"}

	normalCiphers = []string{"AES-256-GCM", "CHACHA20-POLY1305", "AES-256-CCM", "AES-256-CBC", "AES-128-GCM", "AES-128-CCM", "AES-128-CBC"}
	gostCiphers   = []string{"GOST28147-TC26Z-CNT"}

	normalMACs = []string{"SHA1", "AEAD"}
	aeadMACs   = []string{"AEAD"}
	gostMACs   = []string{"GOST28147-TC26Z-IMIT"}

	normalKX = []string{"ECDHE-ECDSA", "ECDHE-RSA", "RSA", "DHE-RSA"}
	gostKX   = []string{"VKO-GOST-12"}

	mldsaSignatures = []string{"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}
	secure192Sigs   = []string{
		"RSA-SHA384", "RSA-PSS-SHA384", "RSA-PSS-RSAE-SHA384", "ECDSA-SHA384", "ECDSA-SECP384R1-SHA384", "EdDSA-Ed448",
		"RSA-SHA512", "RSA-PSS-SHA512", "RSA-PSS-RSAE-SHA512", "ECDSA-SHA512", "ECDSA-SECP521R1-SHA512"}
	secure128Sigs = append([]string{
		"RSA-SHA256", "RSA-PSS-SHA256", "RSA-PSS-RSAE-SHA256", "ECDSA-SHA256", "ECDSA-SECP256R1-SHA256", "EdDSA-Ed25519"}, secure192Sigs...)
	sha1Signatures = []string{"RSA-SHA1", "ECDSA-SHA1"}
	gostSignatures = []string{"GOSTR341012-256", "GOSTR341012-512"}
)

// normalSignatures are the signature schemes of NORMAL. ML-DSA is there from
// 3.8.10 on, even in builds that cannot compute it.
func (b Build) normalSignatures() []string {
	var all []string
	if b.release >= r3813 {
		all = append(all, mldsaSignatures...)
	}
	return append(append(all, secure128Sigs...), sha1Signatures...)
}

// fastCiphers are the ciphers of PERFORMANCE.
func (b Build) fastCiphers() []string {
	first := []string{"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"}
	if b.SlowAES {
		first = []string{"CHACHA20-POLY1305", "AES-128-GCM", "AES-256-GCM"}
	}
	return append(first, "AES-128-CCM", "AES-256-CCM", "AES-128-CBC", "AES-256-CBC")
}

// keywords returns what each keyword brings on a build.
func (b Build) keywords() []keyword {
	normal := keyword{
		names: []string{"NORMAL"}, ciphers: normalCiphers, macs: normalMACs, keyExchanges: normalKX,
		signatures: b.normalSignatures(), groups: normalGroups, profile: lowProfile, level: weak,
	}
	pfs, oldNormal, performance := normal, normal, normal
	pfs.names, pfs.keyExchanges, pfs.noTickets12 = []string{"PFS"}, []string{"ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA"}, true
	oldNormal.names, oldNormal.profile, oldNormal.level = []string{"LEGACY"}, profileUnset, veryWeak
	performance.names, performance.ciphers = []string{"PERFORMANCE"}, b.fastCiphers()
	performance.keyExchanges = []string{"RSA", "ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA"}
	return []keyword{normal, pfs, oldNormal, performance,
		{
			names:   []string{"SECURE128", "SECURE"},
			ciphers: []string{"AES-256-GCM", "CHACHA20-POLY1305", "AES-256-CBC", "AES-256-CCM", "AES-128-GCM", "AES-128-CBC", "AES-128-CCM"},
			macs:    normalMACs, keyExchanges: normalKX, signatures: secure128Sigs, groups: normalGroups,
			profile: lowProfile, level: low,
		}, {
			names:   []string{"SECURE192", "SECURE256"},
			ciphers: []string{"AES-256-GCM", "CHACHA20-POLY1305", "AES-256-CBC", "AES-256-CCM"},
			macs:    aeadMACs, keyExchanges: normalKX, signatures: secure192Sigs, groups: []string{"SECP384R1", "SECP521R1", "FFDHE8192"},
			profile: highProfile, level: high,
		}, {
			names:    []string{"SUITEB128"},
			versions: []string{"TLS1.2"}, ciphers: []string{"AES-256-GCM", "AES-128-GCM"}, macs: aeadMACs, keyExchanges: []string{"ECDHE-ECDSA"},
			signatures: []string{"ECDSA-SHA256", "ECDSA-SECP256R1-SHA256", "ECDSA-SHA384", "ECDSA-SECP384R1-SHA384"},
			groups:     []string{"SECP256R1", "SECP384R1"}, profile: suiteB128Profile, level: high,
		}, {
			names:    []string{"SUITEB192"},
			versions: []string{"TLS1.2"}, ciphers: []string{"AES-256-GCM"}, macs: aeadMACs, keyExchanges: []string{"ECDHE-ECDSA"},
			signatures: []string{"ECDSA-SHA384", "ECDSA-SECP384R1-SHA384"},
			groups:     []string{"SECP384R1"}, profile: suiteB192Profile, level: ultra,
		},
	}
}

// is tells whether name is one of the keyword's, in any case.
func (k keyword) is(name string) bool {
	return slices.ContainsFunc(k.names, func(n string) bool { return sameName(n, name) })
}
