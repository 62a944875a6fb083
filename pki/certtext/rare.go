package certtext

import (
	"crypto"
	"encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
)

// Identifiers that pki has no use for.
var (
	oidProxyCertInfo = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}
	oidSCTs          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// proxy shows a ProxyCertInfo (RFC 3820, 3.8).
func (p *printer) proxy(_ string, e pki.Extension) {
	var policy, content cryptobyte.String
	var language asn1.ObjectIdentifier
	var hasContent bool
	pathLen := -1
	seq, ok := sequenceOf(e.Value)
	if ok && seq.PeekASN1Tag(cbasn1.INTEGER) {
		ok = seq.ReadASN1Integer(&pathLen)
	}
	if !ok || !seq.ReadASN1(&policy, cbasn1.SEQUENCE) || !seq.Empty() || !policy.ReadASN1ObjectIdentifier(&language) ||
		!policy.ReadOptionalASN1(&content, &hasContent, cbasn1.OCTET_STRING) || !policy.Empty() {
		p.failed("get_proxy", e)
		return
	}
	if pathLen >= 0 {
		p.line("\t\t\tPath Length Constraint: %d", pathLen)
	}
	names := map[string]string{
		"1.3.6.1.5.5.7.21.1": " (id-ppl-inheritALL)",
		"1.3.6.1.5.5.7.21.2": " (id-ppl-independent)",
	}
	p.line("\t\t\tPolicy Language: %s%s", language, names[language.String()])
	if len(content) > 0 {
		p.line("\t\t\tPolicy:")
		p.raw("\t\t\t\t", content)
	}
}

// An sct is a signed certificate timestamp of version 1 (RFC 6962, 3.2).
type sct struct {
	version   uint8
	log       []byte
	millis    uint64
	hash, key uint8
	signature []byte
}

func readSCT(in *cryptobyte.String) (s sct, ok bool) {
	var one, extensions, signature cryptobyte.String
	if !in.ReadUint16LengthPrefixed(&one) || !one.ReadUint8(&s.version) {
		return s, false
	}
	if s.version != 0 {
		return s, true
	}
	ok = one.ReadBytes(&s.log, 32) && one.ReadUint64(&s.millis) && one.ReadUint16LengthPrefixed(&extensions) &&
		one.ReadUint8(&s.hash) && one.ReadUint8(&s.key) && one.ReadUint16LengthPrefixed(&signature) && one.Empty()
	s.signature = signature
	return s, ok
}

// algorithm names how a timestamp is signed, by the numbers of TLS 1.2 (RFC
// 5246, 7.4.1.4.1).
func (s sct) algorithm() string {
	hashes := map[uint8]crypto.Hash{2: crypto.SHA1, 3: crypto.SHA224, 4: crypto.SHA256, 5: crypto.SHA384, 6: crypto.SHA512}
	keys := map[uint8]pki.KeyAlgorithm{1: pki.RSA, 2: pki.DSA, 3: pki.ECDSA}
	return pki.SignatureAlgorithm{Key: keys[s.key], Hash: hashes[s.hash]}.String()
}

func (p *printer) timestamps(indent string, e pki.Extension) {
	in := cryptobyte.String(e.Value)
	var octets, list cryptobyte.String
	if !in.ReadASN1(&octets, cbasn1.OCTET_STRING) || !in.Empty() {
		p.failed("gnutls_x509_ext_ct_import_scts()", e)
		return
	}
	ok := octets.ReadUint16LengthPrefixed(&list) && octets.Empty()
	var scts []sct
	for ok && !list.Empty() {
		var s sct
		s, ok = readSCT(&list)
		scts = append(scts, s)
	}
	if !ok {
		p.error("gnutls_x509_ext_ct_import_scts()", errAbsent)
		return
	}
	for i, s := range scts {
		p.line("%sSigned Certificate Timestamp %d:", indent, i+1)
		if s.version != 0 {
			p.line("%s\tVersion: %d (unknown SCT version)", indent, int(s.version)+1)
			continue
		}
		p.line("%s\tVersion: 1", indent)
		p.line("%s\tLog ID: %s", indent, hexString(s.log))
		p.line("%s\tTime: %s", indent, time.UnixMilli(int64(s.millis)).UTC().Format("Mon, Jan 02 15:04:05 UTC 2006"))
		p.line("%s\tExtensions: none", indent)
		p.line("%s\tSignature algorithm: %s", indent, s.algorithm())
		p.line("%s\tSignature: %s", indent, hexString(s.signature))
	}
}

// privateKeyUsage shows the validity of the private key (RFC 3280, 4.2.1.4).
func (p *printer) privateKeyUsage(_ string, e pki.Extension) {
	var notBefore, notAfter cryptobyte.String
	seq, ok := sequenceOf(e.Value)
	if !ok || !seq.ReadASN1(&notBefore, cbasn1.Tag(0).ContextSpecific()) ||
		!seq.ReadASN1(&notAfter, cbasn1.Tag(1).ContextSpecific()) || !seq.Empty() {
		p.failed("get_private_key_usage_period", e)
		return
	}
	const generalizedTime = "20060102150405Z"
	from, err1 := time.Parse(generalizedTime, string(notBefore))
	to, err2 := time.Parse(generalizedTime, string(notAfter))
	if err1 != nil || err2 != nil {
		p.failed("get_private_key_usage_period", e)
		return
	}
	p.line("\t\t\tNot Before: %s", timeText(from))
	p.line("\t\t\tNot After: %s", timeText(to))
}

// commonName shows an attribute that somebody took for an extension.
func (p *printer) commonName(indent string, e pki.Extension) {
	text, ok := stringOf(cbasn1.PrintableString)(e.Value)
	if !ok {
		p.failed("x509_decode_string", e)
		return
	}
	p.line("%s%s", indent, cString(text))
}
