package certtool

import (
	"virtls/dropin"
)

func flag(long string, short byte, help string) dropin.ToolOption {
	return dropin.ToolOption{Option: dropin.Option{Long: long, Short: short}, Help: help}
}

func value(long, kind, help string) dropin.ToolOption {
	return dropin.ToolOption{Option: dropin.Option{Long: long, Arg: dropin.RequiredArg}, Kind: kind, Help: help}
}

func number(long string, help string) dropin.ToolOption { return value(long, "num", help) }

// alias is another spelling of an option without argument; it is not shown.
func alias(long, as string) dropin.ToolOption {
	return dropin.ToolOption{Option: dropin.Option{Long: long, As: as}}
}

func short(letter byte, o dropin.ToolOption) dropin.ToolOption {
	o.Short = letter
	return o
}

func negatable(o dropin.ToolOption, byDefault bool) dropin.ToolOption {
	o.Negatable, o.Default = true, byDefault
	return o
}

func atMost(n int, o dropin.ToolOption) dropin.ToolOption {
	o.Max = n
	return o
}

func mustExist(o dropin.ToolOption) dropin.ToolOption {
	o.MustExist = true
	return o
}

func prohibits(other string, o dropin.ToolOption) dropin.ToolOption {
	o.Prohibits = []string{other}
	return o
}

func requires(other string, o dropin.ToolOption) dropin.ToolOption {
	o.Requires = []string{other}
	return o
}

// tool has all the options of certtool 3.8.13, in its groups and order. Those
// without help are accepted so that they can be refused by name: see refusals.
var tool = dropin.Tool{
	Name:  "certtool",
	Title: "makes and shows keys, certificates, requests and revocation lists",
	Groups: []dropin.Group{
		{Heading: "None", Options: []dropin.ToolOption{
			atMost(9999, short('d', number("debug", "accepted, without effect"))),
			flag("verbose", 'V', "say more about files that are loaded"),
			mustExist(value("infile", "file", "input file; standard input without")),
			value("outfile", "str", "output file; standard output without"),
			value("attime", "timestamp", "take this for the current time"),
		}},
		{Heading: "Certificate related options", Options: []dropin.ToolOption{
			flag("certificate-info", 'i', "show certificates"),
			flag("pubkey-info", 0, "show a public key"),
			flag("generate-self-signed", 's', "make a self-signed certificate"),
			flag("generate-certificate", 'c', "make a certificate signed by an authority"),
			flag("generate-proxy", 0, ""),
			flag("update-certificate", 'u', "renew a certificate under its serial number"),
			flag("fingerprint", 0, "show a certificate's fingerprint"),
			flag("key-id", 0, "show a public key's identifier"),
			flag("certificate-pubkey", 0, "show certificates' public keys"),
			flag("v1", 0, "make certificates of version 1, without extensions"),
			value("sign-params", "str", "rsa-pss: sign with RSA-PSS"),
		}},
		{Heading: "Certificate request related options", Options: []dropin.ToolOption{
			flag("crq-info", 0, "show a certificate request"),
			prohibits("infile", flag("generate-request", 'q', "make a certificate request")),
			flag("no-crq-extensions", 0, "ask for no extensions in the request"),
		}},
		{Heading: "PKCS#12 file related options", Options: []dropin.ToolOption{
			flag("p12-info", 0, "show a PKCS #12 file"),
			value("p12-name", "str", "friendly name for the PKCS #12 file"),
			flag("to-p12", 0, "make a PKCS #12 file"),
			flag("pbmac1", 0, ""),
		}},
		{Heading: "Private key related options", Options: []dropin.ToolOption{
			flag("key-info", 'k', "show a private key"),
			flag("p8-info", 0, "show how a PKCS #8 key is encrypted"),
			flag("to-rsa", 0, "rewrite an RSA-PSS key as a plain RSA key"),
			flag("generate-privkey", 'p', "make a private key"),
			value("key-type", "str", "rsa, rsa-pss, rsa-oaep, ecdsa, ed25519, ed448, x25519, x448, mldsa44, mldsa65, mldsa87"),
			value("key-format", "str", "of ML-DSA keys: seed, expanded, both"),
			number("bits", "size of the key in bits"),
			value("curve", "str", "elliptic curve of the key"),
			value("sec-param", "Security parameter", "strength of the key: medium, high, ultra, future"),
			flag("to-p8", 0, "rewrite a private key as PKCS #8"),
			flag("pkcs8", '8', "write private keys as PKCS #8"),
			flag("provable", 0, ""),
			flag("verify-provable-privkey", 0, ""),
			value("seed", "str", ""),
		}},
		{Heading: "CRL related options", Options: []dropin.ToolOption{
			flag("crl-info", 'l', "show a certificate revocation list"),
			flag("generate-crl", 0, "make a certificate revocation list"),
			requires("load-ca-certificate", flag("verify-crl", 0, "verify a certificate revocation list")),
		}},
		{Heading: "Certificate verification related options", Options: []dropin.ToolOption{
			flag("verify-chain", 'e', "verify a chain whose last certificate is trusted"),
			flag("verify", 0, "verify a chain with --load-ca-certificate, or the system's authorities"),
			value("verify-hostname", "str", "the certificate must belong to this host"),
			prohibits("verify-hostname", value("verify-email", "str", "the certificate must belong to this address")),
			value("verify-purpose", "str", "the certificate must serve this purpose (an object identifier)"),
			flag("verify-allow-broken", 0, "allow MD5 and SHA-1"),
			value("verify-profile", "str", "strength that is demanded of keys and signatures"),
		}},
		{Heading: "PKCS#7 structure options", Options: []dropin.ToolOption{
			flag("p7-generate", 0, ""),
			flag("p7-sign", 0, ""),
			flag("p7-detached-sign", 0, ""),
			negatable(flag("p7-include-cert", 0, ""), true),
			negatable(flag("p7-time", 0, ""), false),
			negatable(flag("p7-show-data", 0, ""), false),
			flag("p7-info", 0, ""),
			flag("p7-verify", 0, ""),
			flag("smime-to-p7", 0, ""),
		}},
		{Heading: "Other options", Options: []dropin.ToolOption{
			flag("generate-dh-params", 0, "make Diffie-Hellman parameters"),
			flag("get-dh-params", 0, "write the Diffie-Hellman parameters of RFC 7919"),
			flag("dh-info", 0, "show Diffie-Hellman parameters"),
			value("load-privkey", "str", "file of the private key"),
			value("load-pubkey", "str", "file of the public key"),
			value("load-request", "str", "file of the certificate request"),
			value("load-certificate", "str", "file of certificates"),
			value("load-ca-privkey", "str", "file of the authority's private key"),
			value("load-ca-certificate", "str", "file of the authority's certificate"),
			value("load-crl", "str", "file of the revocation list"),
			value("load-data", "str", ""),
			value("password", "str", "password of private keys"),
			flag("null-password", 0, "no password at all"),
			flag("empty-password", 0, "a password without characters"),
			flag("hex-numbers", 0, "write the numbers of public keys on one line"),
			flag("cprint", 0, ""),
			flag("rsa", 0, ""),
			flag("dsa", 0, ""),
			flag("ecc", 0, ""),
			alias("ecdsa", "ecc"),
			value("hash", "str", "hash function of signatures, fingerprints and key identifiers"),
			number("salt-size", "least salt of a new RSA-PSS key"),
			value("label", "str", ""),
			negatable(flag("inder", 0, "input is DER"), false),
			alias("inraw", "inder"),
			negatable(flag("outder", 0, "output is DER"), false),
			alias("outraw", "outder"),
			flag("disable-quick-random", 0, ""),
			value("template", "str", "template file; without one certtool asks"),
			flag("stdout-info", 0, "write what is being done to standard output"),
			flag("ask-pass", 0, "ask for passwords even with a template"),
			value("pkcs-cipher", "Cipher", "cipher of private keys: 3des, aes-128, aes-192, aes-256, none"),
			value("provider", "str", ""),
			negatable(flag("text", 0, "text above PEM output"), true),
		}},
	},
	About: `Makes private keys, certificates, certificate requests and revocation lists, shows
and verifies them. Templates say what is to be in a certificate.
`,
}

// refusals are the options for which virtls has no use, and why.
var refusals = []struct{ option, why string }{
	{"generate-proxy", "proxy certificates are not made"},
	{"provable", "keys are made with the system's random source only"},
	{"seed", "keys are made with the system's random source only"},
	{"verify-provable-privkey", "provable keys are not made"},
	{"p7-generate", pkcs7}, {"p7-sign", pkcs7}, {"p7-detached-sign", pkcs7},
	{"p7-info", pkcs7}, {"p7-verify", pkcs7}, {"smime-to-p7", pkcs7}, {"load-data", pkcs7},
	{"pbmac1", "PKCS #12 files have the MAC of RFC 7292"},
	{"provider", "PKCS #11 modules are not used"},
	{"cprint", "numbers are not written as C source"},
	{"dsa", "DSA keys are neither made nor used"},
	{"label", "RSA-OAEP keys are made without a label"},
}

const pkcs7 = "PKCS #7 is not supported"
