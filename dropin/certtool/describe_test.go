package certtool

import (
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"virtls/pki"
)

// describeObjects replaces certificates, requests and lists in a text by what
// they say, field by field, without serial numbers, times, keys and signatures.
func describeObjects(text string) string {
	for _, kind := range []struct {
		label    string
		describe func([]byte) string
	}{
		{pki.PEMCertificate, describeCertificate}, {pki.PEMRequestOld, describeRequest}, {pki.PEMCRL, describeCRL},
	} {
		begin, end := "-----BEGIN "+kind.label+"-----\n", "-----END "+kind.label+"-----\n"
		var out strings.Builder
		for {
			before, rest, ok := strings.Cut(text, begin)
			out.WriteString(before)
			if !ok {
				break
			}
			body, after, _ := strings.Cut(rest, end)
			block, _ := pem.Decode([]byte(begin + body + end))
			if block == nil {
				out.WriteString("malformed " + kind.label + "\n")
			} else {
				out.WriteString(kind.describe(block.Bytes))
			}
			text = after
		}
		text = out.String()
	}
	return text
}

func describeCertificate(der []byte) string {
	c, err := pki.ParseCertificate(der)
	if err != nil {
		return err.Error()
	}
	life := c.NotAfter.Sub(c.NotBefore).Round(time.Minute) // the clock may go on between the two
	if c.NotAfter.Equal(pki.NeverExpires) {
		life = 0
	}
	serial := len(c.RawSerial)
	if serial > 16 {
		serial = 20 // certtool's random ones have fewer if they begin with zeroes
	}
	return fmt.Sprintf("certificate version %d of %d octets of serial, for %v, signed with %v\nissuer %x\nsubject %x\n%s%s",
		c.Version, serial, life, c.SignatureAlgorithm(), c.RawIssuer, c.RawSubject, describeKey(c.PublicKey),
		describeExtensions(c.Extensions, c.PublicKey))
}

func describeKey(k *pki.PublicKey) string {
	return fmt.Sprintf("key %v of %d bits, parameters %x\n", k.Algorithm, k.Size(), k.Identifier.Parameters)
}

// describeExtensions lists them in order. Key identifiers are not values but
// what they are of.
func describeExtensions(x pki.Extensions, key *pki.PublicKey) string {
	var b strings.Builder
	for _, e := range x {
		value := fmt.Sprintf("%x", e.Value)
		switch {
		case e.OID.Equal(pki.OIDSubjectKeyID) && key != nil:
			value = strings.Replace(value, fmt.Sprintf("%x", key.ID()), "<id of the key>", 1)
		case e.OID.Equal(pki.OIDAuthorityKeyID) && len(e.Value) > 20:
			value = fmt.Sprintf("%x<id of the issuer's key>", e.Value[:len(e.Value)-20])
		case e.OID.Equal(pki.OIDCRLNumber):
			value = fmt.Sprintf("<number of %d octets>", len(e.Value))
		}
		fmt.Fprintf(&b, "extension %v critical %v %s\n", e.OID, e.Critical, value)
	}
	return b.String()
}

func describeRequest(der []byte) string {
	r, err := pki.ParseRequest(der)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("request version %d signed with %v\nsubject %x\n%s", r.Version, r.SignatureAlgorithm(), r.RawSubject, describeKey(r.PublicKey))
	for _, a := range r.Attributes {
		text += fmt.Sprintf("attribute %v %x\n", a.OID, a.Values)
	}
	return text
}

func describeCRL(der []byte) string {
	c, err := pki.ParseCRL(der)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("list version %d for %v signed with %v\nissuer %x\n", c.Version, c.NextUpdate.Sub(c.ThisUpdate).Round(time.Minute),
		c.SignatureAlgorithm(), c.RawIssuer)
	for _, r := range c.Revoked {
		text += fmt.Sprintf("revoked %x\n%s", r.RawSerial, describeExtensions(r.Extensions, nil))
	}
	return text + describeExtensions(c.Extensions, nil)
}
