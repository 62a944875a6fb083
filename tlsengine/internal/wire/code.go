package wire

import "fmt"

// ContentType is the type of a record (RFC 8446, section 5.1).
type ContentType uint8

// The content types.
const (
	ChangeCipherSpec ContentType = 20
	AlertRecord      ContentType = 21
	HandshakeRecord  ContentType = 22
	ApplicationData  ContentType = 23
)

func (t ContentType) String() string {
	return name(contentTypeNames, t, "record type")
}

var contentTypeNames = map[ContentType]string{
	ChangeCipherSpec: "change_cipher_spec", AlertRecord: "alert", HandshakeRecord: "handshake", ApplicationData: "application_data",
}

// Version is a protocol version as it is on the wire.
type Version uint16

// The versions. Those before TLS 1.2 are known so that they can be named.
const (
	SSL30 Version = 0x0300
	TLS10 Version = 0x0301
	TLS11 Version = 0x0302
	TLS12 Version = 0x0303
	TLS13 Version = 0x0304
)

func (v Version) String() string { return name(versionNames, v, "version") }

var versionNames = map[Version]string{SSL30: "SSL 3.0", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}

// Suite is a cipher suite.
type Suite uint16

// The suites that the engine has: those with an AEAD (RFC 8446, 5288, 5289,
// 5487, 7905, 8442), and the signalling values (RFC 5746, 7507).
const (
	AES128GCMSHA256        Suite = 0x1301
	AES256GCMSHA384        Suite = 0x1302
	ChaCha20Poly1305SHA256 Suite = 0x1303

	DHERSAWithAES128GCM        Suite = 0x009e
	DHERSAWithAES256GCM        Suite = 0x009f
	DHERSAWithChaCha20         Suite = 0xccaa
	ECDHEECDSAWithAES128GCM    Suite = 0xc02b
	ECDHEECDSAWithAES256GCM    Suite = 0xc02c
	ECDHEECDSAWithChaCha20     Suite = 0xcca9
	ECDHERSAWithAES128GCM      Suite = 0xc02f
	ECDHERSAWithAES256GCM      Suite = 0xc030
	ECDHERSAWithChaCha20       Suite = 0xcca8
	DHAnonWithAES128GCM        Suite = 0x00a6
	DHAnonWithAES256GCM        Suite = 0x00a7
	PSKWithAES128GCM           Suite = 0x00a8
	PSKWithAES256GCM           Suite = 0x00a9
	PSKWithChaCha20            Suite = 0xccab
	DHEPSKWithAES128GCM        Suite = 0x00aa
	DHEPSKWithAES256GCM        Suite = 0x00ab
	DHEPSKWithChaCha20         Suite = 0xccad
	ECDHEPSKWithAES128GCM      Suite = 0xd001
	ECDHEPSKWithAES256GCM      Suite = 0xd002
	ECDHEPSKWithChaCha20       Suite = 0xccac
	EmptyRenegotiationInfoSCSV Suite = 0x00ff
	FallbackSCSV               Suite = 0x5600
)

func (s Suite) String() string { return name(suiteNames, s, "cipher suite") }

var suiteNames = map[Suite]string{
	AES128GCMSHA256: "TLS_AES_128_GCM_SHA256", AES256GCMSHA384: "TLS_AES_256_GCM_SHA384", ChaCha20Poly1305SHA256: "TLS_CHACHA20_POLY1305_SHA256",
	DHERSAWithAES128GCM: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", DHERSAWithAES256GCM: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
	DHERSAWithChaCha20:      "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	ECDHEECDSAWithAES128GCM: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ECDHEECDSAWithAES256GCM: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	ECDHEECDSAWithChaCha20: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	ECDHERSAWithAES128GCM:  "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ECDHERSAWithAES256GCM: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	ECDHERSAWithChaCha20: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	DHAnonWithAES128GCM:  "TLS_DH_anon_WITH_AES_128_GCM_SHA256", DHAnonWithAES256GCM: "TLS_DH_anon_WITH_AES_256_GCM_SHA384",
	PSKWithAES128GCM: "TLS_PSK_WITH_AES_128_GCM_SHA256", PSKWithAES256GCM: "TLS_PSK_WITH_AES_256_GCM_SHA384",
	PSKWithChaCha20:     "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
	DHEPSKWithAES128GCM: "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256", DHEPSKWithAES256GCM: "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384",
	DHEPSKWithChaCha20:    "TLS_DHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
	ECDHEPSKWithAES128GCM: "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", ECDHEPSKWithAES256GCM: "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",
	ECDHEPSKWithChaCha20:       "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
	EmptyRenegotiationInfoSCSV: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", FallbackSCSV: "TLS_FALLBACK_SCSV",
}

// Group is a group for key exchange (RFC 8446, section 4.2.7; RFC 7919;
// draft-ietf-tls-ecdhe-mlkem).
type Group uint16

// The groups.
const (
	P256               Group = 0x0017
	P384               Group = 0x0018
	P521               Group = 0x0019
	X25519             Group = 0x001d
	FFDHE2048          Group = 0x0100
	FFDHE3072          Group = 0x0101
	FFDHE4096          Group = 0x0102
	FFDHE6144          Group = 0x0103
	FFDHE8192          Group = 0x0104
	SecP256r1MLKEM768  Group = 0x11eb
	X25519MLKEM768     Group = 0x11ec
	SecP384r1MLKEM1024 Group = 0x11ed
)

func (g Group) String() string { return name(groupNames, g, "group") }

var groupNames = map[Group]string{
	P256: "secp256r1", P384: "secp384r1", P521: "secp521r1", X25519: "x25519",
	FFDHE2048: "ffdhe2048", FFDHE3072: "ffdhe3072", FFDHE4096: "ffdhe4096", FFDHE6144: "ffdhe6144", FFDHE8192: "ffdhe8192",
	SecP256r1MLKEM768: "SecP256r1MLKEM768", X25519MLKEM768: "X25519MLKEM768", SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
}

// IsHybrid tells whether ML-KEM is a part of the group.
func (g Group) IsHybrid() bool {
	return g == X25519MLKEM768 || g == SecP256r1MLKEM768 || g == SecP384r1MLKEM1024
}

// IsFFDHE tells whether the group is one of RFC 7919: in TLS 1.2 the code
// points 256 to 511 are theirs.
func (g Group) IsFFDHE() bool { return g>>8 == 1 }

// SignatureScheme is a signature algorithm with its parameters (RFC 8446,
// section 4.2.3; draft-ietf-tls-mldsa).
type SignatureScheme uint16

// The signature schemes.
const (
	RSAPKCS1SHA256 SignatureScheme = 0x0401
	RSAPKCS1SHA384 SignatureScheme = 0x0501
	RSAPKCS1SHA512 SignatureScheme = 0x0601
	ECDSAP256      SignatureScheme = 0x0403
	ECDSAP384      SignatureScheme = 0x0503
	ECDSAP521      SignatureScheme = 0x0603
	RSAPSSSHA256   SignatureScheme = 0x0804 // rsaEncryption keys
	RSAPSSSHA384   SignatureScheme = 0x0805
	RSAPSSSHA512   SignatureScheme = 0x0806
	Ed25519        SignatureScheme = 0x0807
	Ed448          SignatureScheme = 0x0808 // of peers: GnuTLS and OpenSSL offer it
	PSSPSSSHA256   SignatureScheme = 0x0809 // RSASSA-PSS keys
	PSSPSSSHA384   SignatureScheme = 0x080a
	PSSPSSSHA512   SignatureScheme = 0x080b
	MLDSA44        SignatureScheme = 0x0904
	MLDSA65        SignatureScheme = 0x0905
	MLDSA87        SignatureScheme = 0x0906
	RSAPKCS1SHA1   SignatureScheme = 0x0201
	ECDSASHA1      SignatureScheme = 0x0203
)

func (s SignatureScheme) String() string { return name(schemeNames, s, "signature scheme") }

var schemeNames = map[SignatureScheme]string{
	RSAPKCS1SHA256: "rsa_pkcs1_sha256", RSAPKCS1SHA384: "rsa_pkcs1_sha384", RSAPKCS1SHA512: "rsa_pkcs1_sha512",
	ECDSAP256: "ecdsa_secp256r1_sha256", ECDSAP384: "ecdsa_secp384r1_sha384", ECDSAP521: "ecdsa_secp521r1_sha512",
	RSAPSSSHA256: "rsa_pss_rsae_sha256", RSAPSSSHA384: "rsa_pss_rsae_sha384", RSAPSSSHA512: "rsa_pss_rsae_sha512",
	Ed25519: "ed25519", Ed448: "ed448",
	PSSPSSSHA256: "rsa_pss_pss_sha256", PSSPSSSHA384: "rsa_pss_pss_sha384", PSSPSSSHA512: "rsa_pss_pss_sha512",
	MLDSA44: "mldsa44", MLDSA65: "mldsa65", MLDSA87: "mldsa87",
	RSAPKCS1SHA1: "rsa_pkcs1_sha1", ECDSASHA1: "ecdsa_sha1",
}

func name[T ~uint8 | ~uint16](names map[T]string, v T, what string) string {
	if s, ok := names[v]; ok {
		return s
	}
	return fmt.Sprintf("%s 0x%0*x", what, 2*widthOf(v), uint16(v))
}

func widthOf(v any) int {
	switch v.(type) {
	case ContentType, HandshakeType, Alert:
		return 1
	}
	return 2
}
