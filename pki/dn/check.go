package dn

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"virtls/finding"
)

var (
	kindEmpty = finding.Define("dn-empty", finding.Error,
		"the distinguished name is empty, and libvirt and QEMU reject a peer whose certificate has such a subject",
		"issue the certificate again with a common name")
	kindEmptyValue = finding.Define("dn-empty-value", finding.Error,
		"an attribute of the distinguished name has an empty value, so GnuTLS cannot give the name, and libvirt and QEMU reject a peer whose certificate has such a subject",
		"issue the certificate again without the attribute, or with a value for it")
	kindBlankValue = finding.Define("dn-blank-value", finding.Warning,
		"an attribute of the distinguished name has an empty value, which GnuTLS 3.7 and 3.8 show differently, so that access lists can match with one of them only",
		"issue the certificate again without the attribute, or with a value for it")
	kindUnprintable = finding.Define("dn-unprintable", finding.Error,
		"GnuTLS cannot give the distinguished name as text, so libvirt and QEMU reject a peer whose certificate has such a subject",
		"issue the certificate again without the attribute")
	kindHex = finding.Define("dn-hex-value", finding.Info,
		"an attribute of the distinguished name reads as hexadecimal digits in access lists, because GnuTLS does not know it or wants another string type for it",
		"write the digits, as virt-pki-query-dn prints them, in access lists")
	kindNotUTF8 = finding.Define("dn-not-utf8", finding.Warning,
		"the distinguished name is not UTF-8, for which the pattern matching of QEMU's and libvirt's access lists is not defined",
		"issue the certificate again with names in UTF-8")
	kindControl = finding.Define("dn-control-character", finding.Warning,
		"the distinguished name has control characters, which QEMU and libvirt write to their logs as they are",
		"issue the certificate again without them")
)

// maxOIDText is the length from which GnuTLS has no room for the dotted form
// of an object identifier.
const maxOIDText = 127

// maxFound is how many findings there are about one name, which may have
// attributes by the thousand.
const maxFound = 16

// Check returns what is wrong or surprising about the name as the subject of
// a certificate that GnuTLS, QEMU and libvirt read; subject says where the name
// is from. An error among the findings means that GnuTLS gives no text for the
// name. libvirt and QEMU ask for it whenever they judge a peer's certificate,
// with or without access lists, and reject the peer then.
func (n Name) Check(subject string) []finding.Finding {
	if len(n) == 0 {
		return []finding.Finding{kindEmpty.Found(subject, "")}
	}
	var found []finding.Finding
	for _, rdn := range n {
		for _, a := range rdn {
			if kind := a.check(); kind != nil && len(found) < maxFound {
				found = append(found, kind.Found(subject, fmt.Sprintf("%+q", Name{{a}}.Short())))
			}
		}
	}
	return found
}

func (a Attribute) check() *finding.Kind {
	t := lookupOID(a.Type)
	text, isText := a.text()
	_, decoded := a.decode()
	switch {
	case len(a.Type.String()) >= maxOIDText:
		return kindUnprintable
	case t != nil && t.tag == directoryString && a.empty():
		return kindEmptyValue
	case t != nil && t.tag > 0 && a.empty():
		return kindBlankValue
	case t != nil && t.tag == tagOctet && strings.IndexByte(text, 0) >= 0:
		return kindUnprintable
	case !isText || !decoded:
		return kindHex
	case !utf8.ValidString(text):
		return kindNotUTF8
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return kindControl
	}
	return nil
}
