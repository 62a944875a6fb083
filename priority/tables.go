package priority

import "slices"

// An algorithm is one name of a class, and what GnuTLS makes of it. What a
// name is and does comes from gnutls-cli and the tables of the releases
// (lib/algorithms of 3.7.8, 3.8.9, 3.8.13); code points are IANA's.
type algorithm struct {
	name  string
	id    uint16
	since release
	needs need
	role  role
	hash  string // of a signature scheme
	curve string // of a group, the one it computes with
	group string // of a curve, empty if it is none
}

// A need is a way of building GnuTLS without which it does not know a name.
type need int

const (
	needsNothing need = iota
	needsSRP
	needsLeancrypto
)

// A role is what matters about an algorithm beyond its name. It belongs to the
// algorithm's class.
type role int

const (
	plain role = iota

	noEffect // the name is known and does nothing

	// Protocol versions.
	stream
	datagram
	unsupported // the name is known, but no build has the version

	// Key exchanges, by what they need of the other lists.
	ellipticKX
	finiteKX
	plainPSK
	ellipticPSK
	finitePSK
	rsaPSK
	srp

	// Groups.
	ellipticGroup
	finiteGroup
	hybridGroup

	// Signature schemes, by the versions that negotiate them.
	anyTLS
	onlyTLS12 // and before
	onlyTLS13
)

func (a algorithm) in(b Build) bool {
	switch a.needs {
	case needsSRP:
		if !b.SRP {
			return false
		}
	case needsLeancrypto:
		if !b.Leancrypto {
			return false
		}
	}
	return a.since <= b.release
}

// find looks a name up as GnuTLS does: in any case, ASCII only.
func find(table []algorithm, name string, b Build) (algorithm, bool) {
	for _, a := range table {
		if sameName(a.name, name) && a.in(b) {
			return a, true
		}
	}
	return algorithm{}, false
}

// named returns the algorithms of those names, which must be in the table.
func named(table []algorithm, names ...string) []algorithm {
	var found []algorithm
	for _, name := range names {
		i := slices.IndexFunc(table, func(a algorithm) bool { return a.name == name })
		found = append(found, table[i])
	}
	return found
}

// Code points of the versions that rules speak of.
const (
	ssl30  = 0x0300
	tls10  = 0x0301
	tls11  = 0x0302
	tls12  = 0x0303
	tls13  = 0x0304
	dtls09 = 0x0100
	dtls10 = 0xfeff
	dtls12 = 0xfefd
)

var versions = []algorithm{
	{name: "SSL3.0", id: ssl30, role: unsupported},
	{name: "TLS1.0", id: tls10, role: stream},
	{name: "TLS1.1", id: tls11, role: stream},
	{name: "TLS1.2", id: tls12, role: stream},
	{name: "TLS1.3", id: tls13, role: stream},
	{name: "DTLS0.9", id: dtls09, role: datagram},
	{name: "DTLS1.0", id: dtls10, role: datagram},
	{name: "DTLS1.2", id: dtls12, role: datagram},
}

var macs = []algorithm{
	{name: "SHA1"}, {name: "SHA256"}, {name: "SHA384"}, {name: "SHA512"}, {name: "SHA224"},
	{name: "UMAC-96"}, {name: "UMAC-128"}, {name: "AEAD"}, {name: "MD5"},
	{name: "GOSTR341194"}, {name: "STREEBOG-256"}, {name: "STREEBOG-512"},
	{name: "AES-CMAC-128"}, {name: "AES-CMAC-256"},
	{name: "AES-GMAC-128"}, {name: "AES-GMAC-192"}, {name: "AES-GMAC-256"},
	{name: "GOST28147-TC26Z-IMIT"}, {name: "OMAC-MAGMA"}, {name: "OMAC-KUZNYECHIK"},
	{name: "PBMAC1", since: r389},
}

var ciphers = []algorithm{
	{name: "AES-256-CBC"}, {name: "AES-192-CBC"}, {name: "AES-128-CBC"},
	{name: "AES-128-GCM"}, {name: "AES-192-GCM"}, {name: "AES-256-GCM"},
	{name: "AES-128-CCM"}, {name: "AES-256-CCM"}, {name: "AES-128-CCM-8"}, {name: "AES-256-CCM-8"},
	{name: "ARCFOUR-128"}, {name: "ESTREAM-SALSA20-256"}, {name: "SALSA20-256"},
	{name: "CHACHA20-32"}, {name: "CHACHA20-64"},
	{name: "CAMELLIA-256-CBC"}, {name: "CAMELLIA-192-CBC"}, {name: "CAMELLIA-128-CBC"},
	{name: "CHACHA20-POLY1305"}, {name: "CAMELLIA-128-GCM"}, {name: "CAMELLIA-256-GCM"},
	{name: "GOST28147-TC26Z-CFB"}, {name: "GOST28147-CPA-CFB"}, {name: "GOST28147-CPB-CFB"},
	{name: "GOST28147-CPC-CFB"}, {name: "GOST28147-CPD-CFB"},
	{name: "AES-128-CFB8"}, {name: "AES-192-CFB8"}, {name: "AES-256-CFB8"},
	{name: "AES-128-CFB", since: r3813}, {name: "AES-192-CFB", since: r3813}, {name: "AES-256-CFB", since: r3813},
	{name: "AES-128-XTS"}, {name: "AES-256-XTS"}, {name: "AES-128-SIV"}, {name: "AES-256-SIV"},
	{name: "AES-128-SIV-GCM", since: r389}, {name: "AES-256-SIV-GCM", since: r389},
	{name: "GOST28147-TC26Z-CNT"}, {name: "MAGMA-CTR-ACPKM"}, {name: "KUZNYECHIK-CTR-ACPKM"},
	{name: "3DES-CBC"}, {name: "DES-CBC"}, {name: "RC2-40"}, {name: "NULL"},
	{name: "ARCFOUR-40", role: noEffect},
}

var keyExchanges = []algorithm{
	{name: "ECDHE-RSA", role: ellipticKX}, {name: "ECDHE-ECDSA", role: ellipticKX},
	{name: "RSA"}, {name: "DHE-RSA", role: finiteKX}, {name: "DHE-DSS", role: finiteKX},
	{name: "PSK", role: plainPSK}, {name: "RSA-PSK", role: rsaPSK},
	{name: "DHE-PSK", role: finitePSK}, {name: "ECDHE-PSK", role: ellipticPSK},
	{name: "SRP-DSS", role: srp, needs: needsSRP}, {name: "SRP-RSA", role: srp, needs: needsSRP},
	{name: "SRP", role: srp, needs: needsSRP},
	{name: "ANON-DH", role: finiteKX}, {name: "ANON-ECDH", role: ellipticKX},
	{name: "VKO-GOST-12", role: ellipticKX},
	{name: "RSA-EXPORT", role: noEffect},
}

// groups without a role are known by name but cannot be negotiated: Debian's
// Nettle lacks the curves, and a KEM alone is no TLS group.
var groups = []algorithm{
	{name: "SECP192R1", id: 19, role: ellipticGroup, curve: "SECP192R1"},
	{name: "SECP224R1", id: 21, role: ellipticGroup, curve: "SECP224R1"},
	{name: "SECP256R1", id: 23, role: ellipticGroup, curve: "SECP256R1"},
	{name: "SECP384R1", id: 24, role: ellipticGroup, curve: "SECP384R1"},
	{name: "SECP521R1", id: 25, role: ellipticGroup, curve: "SECP521R1"},
	{name: "X25519", id: 29, role: ellipticGroup, curve: "X25519"},
	{name: "GC256A", id: 34},
	{name: "GC256B", id: 35, role: ellipticGroup, curve: "TC26-256-B"},
	{name: "GC256C", id: 36},
	{name: "GC256D", id: 37},
	{name: "GC512A", id: 38, role: ellipticGroup, curve: "TC26-512-A"},
	{name: "GC512B", id: 39},
	{name: "GC512C", id: 40},
	{name: "X448", id: 30, role: ellipticGroup, curve: "X448"},
	{name: "FFDHE2048", id: 0x100, role: finiteGroup},
	{name: "FFDHE3072", id: 0x101, role: finiteGroup},
	{name: "FFDHE4096", id: 0x102, role: finiteGroup},
	{name: "FFDHE6144", id: 0x103, role: finiteGroup},
	{name: "FFDHE8192", id: 0x104, role: finiteGroup},
	{name: "MLKEM768", needs: needsLeancrypto, since: r389},
	{name: "MLKEM1024", needs: needsLeancrypto, since: r389},
	{name: "SECP256R1-MLKEM768", id: 0x11eb, role: hybridGroup, curve: "SECP256R1", needs: needsLeancrypto, since: r389},
	{name: "SECP384R1-MLKEM1024", id: 0x11ed, role: hybridGroup, curve: "SECP384R1", needs: needsLeancrypto, since: r389},
	{name: "X25519-MLKEM768", id: 0x11ec, role: hybridGroup, curve: "X25519", needs: needsLeancrypto, since: r389},
}

// curves are what CURVE- takes, and which group that is. GnuTLS takes even
// curves that are no group; gnutls-cli shows them as "GROUP-(null)".
var curves = []algorithm{
	{name: "SECP192R1", group: "SECP192R1"},
	{name: "SECP224R1", group: "SECP224R1"},
	{name: "SECP256R1", group: "SECP256R1"},
	{name: "SECP384R1", group: "SECP384R1"},
	{name: "SECP521R1", group: "SECP521R1"},
	{name: "X25519", group: "X25519"},
	{name: "X448", group: "X448"},
	{name: "TC26-256-B", group: "GC256B"},
	{name: "TC26-512-A", group: "GC512A"},
	{name: "Ed25519"}, {name: "Ed448"}, {name: "CryptoPro-A"}, {name: "CryptoPro-XchA"},
}

// signatures without a role are known by name and never negotiated, for want of
// a code point or because their hash is broken.
var signatures = []algorithm{
	{name: "RSA-SHA256", id: 0x0401, role: anyTLS, hash: "SHA256"},
	{name: "RSA-SHA384", id: 0x0501, role: anyTLS, hash: "SHA384"},
	{name: "RSA-SHA512", id: 0x0601, role: anyTLS, hash: "SHA512"},
	{name: "RSA-PSS-SHA256", id: 0x0809, role: anyTLS, hash: "SHA256"},
	{name: "RSA-PSS-RSAE-SHA256", id: 0x0804, role: anyTLS, hash: "SHA256"},
	{name: "RSA-PSS-SHA384", id: 0x080a, role: anyTLS, hash: "SHA384"},
	{name: "RSA-PSS-RSAE-SHA384", id: 0x0805, role: anyTLS, hash: "SHA384"},
	{name: "RSA-PSS-SHA512", id: 0x080b, role: anyTLS, hash: "SHA512"},
	{name: "RSA-PSS-RSAE-SHA512", id: 0x0806, role: anyTLS, hash: "SHA512"},
	{name: "EdDSA-Ed25519", id: 0x0807, role: anyTLS, hash: "SHA512"},
	{name: "EdDSA-Ed448", id: 0x0808, role: anyTLS, hash: "SHAKE-256"},
	{name: "ECDSA-SHA256", id: 0x0403, role: onlyTLS12, hash: "SHA256"},
	{name: "ECDSA-SHA384", id: 0x0503, role: onlyTLS12, hash: "SHA384"},
	{name: "ECDSA-SHA512", id: 0x0603, role: onlyTLS12, hash: "SHA512"},
	{name: "ECDSA-SECP256R1-SHA256", id: 0x0403, role: onlyTLS13, hash: "SHA256"},
	{name: "ECDSA-SECP384R1-SHA384", id: 0x0503, role: onlyTLS13, hash: "SHA384"},
	{name: "ECDSA-SECP521R1-SHA512", id: 0x0603, role: onlyTLS13, hash: "SHA512"},
	{name: "RSA-SHA1", id: 0x0201, role: anyTLS, hash: "SHA1"},
	{name: "DSA-SHA1", id: 0x0202, role: onlyTLS12, hash: "SHA1"},
	{name: "ECDSA-SHA1", id: 0x0203, role: anyTLS, hash: "SHA1"},
	{name: "GOSTR341012-512", id: 0x0841, role: onlyTLS12, hash: "STREEBOG-512"},
	{name: "GOSTR341012-256", id: 0x0840, role: onlyTLS12, hash: "STREEBOG-256"},
	{name: "ML-DSA-44", id: 0x0904, role: onlyTLS13, hash: "SHAKE-256", since: r389},
	{name: "ML-DSA-65", id: 0x0905, role: onlyTLS13, hash: "SHAKE-256", since: r389},
	{name: "ML-DSA-87", id: 0x0906, role: onlyTLS13, hash: "SHAKE-256", since: r389},
	{name: "ECDSA-SHA3-224"}, {name: "ECDSA-SHA3-256"}, {name: "ECDSA-SHA3-384"}, {name: "ECDSA-SHA3-512"},
	{name: "RSA-SHA3-224"}, {name: "RSA-SHA3-256"}, {name: "RSA-SHA3-384"}, {name: "RSA-SHA3-512"},
	{name: "DSA-SHA3-224"}, {name: "DSA-SHA3-256"}, {name: "DSA-SHA3-384"}, {name: "DSA-SHA3-512"},
	{name: "RSA-RAW"}, {name: "RSA-SHA224"}, {name: "RSA-RMD160"},
	{name: "DSA-SHA224"}, {name: "DSA-SHA256"}, {name: "DSA-SHA384"}, {name: "DSA-SHA512"},
	{name: "RSA-MD5"}, {name: "RSA-MD2"}, {name: "ECDSA-SHA224"}, {name: "GOSTR341001"},
}

// The type of certificates that all the world has (RFC 7250).
const (
	x509Name = "X509"
	x509Type = 0
)

var certificateTypes = []algorithm{
	{name: x509Name, id: x509Type},
	{name: "RAWPK", id: 2},
}
