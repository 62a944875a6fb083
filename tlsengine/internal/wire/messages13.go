package wire

import "golang.org/x/crypto/cryptobyte"

// EncryptedExtensions are a TLS 1.3 server's answers to extensions that need
// no protection from change (RFC 8446, section 4.3.1).
type EncryptedExtensions struct {
	RecordSizeLimit uint16
	Groups          []Group
	Protocol        []byte

	Extensions Extensions
}

// ParseEncryptedExtensions reads the message's body.
func ParseEncryptedExtensions(body []byte) (*EncryptedExtensions, error) {
	const what = "encrypted_extensions"
	r := reader{String: body}
	list := r.vector16(0)
	if err := r.end(what); err != nil {
		return nil, err
	}
	m := &EncryptedExtensions{}
	var err error
	if m.Extensions, err = parseExtensions(list, what); err != nil {
		return nil, err
	}
	for _, e := range m.Extensions {
		r := reader{String: e.Data}
		switch e.Type {
		case ExtServerName: // an acknowledgement: empty (RFC 6066, section 3)
		case ExtRecordSizeLimit:
			m.RecordSizeLimit = r.uint16()
		case ExtSupportedGroups:
			m.Groups = readList16[Group](&r, r.vector16(2))
		case ExtALPN:
			if names := r.names16(1, (*reader).vector8); len(names) == 1 {
				m.Protocol = names[0]
			} else {
				r.bad = true
			}
		default:
			continue
		}
		if err := r.end("extension " + e.Type.String()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Marshal writes the message.
func (m *EncryptedExtensions) Marshal() Message {
	var exts Extensions
	if m.RecordSizeLimit != 0 {
		exts.add(ExtRecordSizeLimit, func(b *cryptobyte.Builder) { b.AddUint16(m.RecordSizeLimit) })
	}
	if m.Protocol != nil {
		exts.add(ExtALPN, func(b *cryptobyte.Builder) { addNames16(b, [][]byte{m.Protocol}, addVector8) })
	}
	return build(TypeEncryptedExtensions, func(b *cryptobyte.Builder) { addExtensions(b, exts) })
}

// CertificateRequest13 asks a client for a certificate (RFC 8446, section 4.3.2).
type CertificateRequest13 struct {
	Context     []byte
	Schemes     []SignatureScheme
	CertSchemes []SignatureScheme
	Authorities [][]byte
}

// ParseCertificateRequest13 reads the message's body.
func ParseCertificateRequest13(body []byte) (*CertificateRequest13, error) {
	const what = "certificate_request"
	r := reader{String: body}
	m := &CertificateRequest13{Context: r.vector8(0)}
	list := r.vector16(2)
	if err := r.end(what); err != nil {
		return nil, err
	}
	exts, err := parseExtensions(list, what)
	if err != nil {
		return nil, err
	}
	for _, e := range exts {
		r := reader{String: e.Data}
		switch e.Type {
		case ExtSignatureAlgorithms:
			m.Schemes = readList16[SignatureScheme](&r, r.vector16(2))
		case ExtSignatureAlgorithmsCert:
			m.CertSchemes = readList16[SignatureScheme](&r, r.vector16(2))
		case ExtCertificateAuthorities:
			m.Authorities = r.names16(1, (*reader).vector16)
		default:
			continue
		}
		if err := r.end("extension " + e.Type.String()); err != nil {
			return nil, err
		}
	}
	if m.Schemes == nil {
		return nil, Errorf(MissingExtension, "%s without signature_algorithms", what)
	}
	return m, nil
}

// Marshal writes the message.
func (m *CertificateRequest13) Marshal() Message {
	var exts Extensions
	exts.add(ExtSignatureAlgorithms, func(b *cryptobyte.Builder) { addList16(b, m.Schemes) })
	if m.CertSchemes != nil {
		exts.add(ExtSignatureAlgorithmsCert, func(b *cryptobyte.Builder) { addList16(b, m.CertSchemes) })
	}
	if len(m.Authorities) > 0 {
		exts.add(ExtCertificateAuthorities, func(b *cryptobyte.Builder) { addNames16(b, m.Authorities, addVector16) })
	}
	return build(TypeCertificateRequest, func(b *cryptobyte.Builder) {
		addVector8(b, m.Context)
		addExtensions(b, exts)
	})
}

// Certificate13 is a certificate with its issuers (RFC 8446, section 4.4.2).
// Extensions of entries are read and dropped: none was asked for.
type Certificate13 struct {
	Context []byte
	Chain   [][]byte // DER, the end entity's first
	// Answered lists the types of the entries' extensions.
	Answered []ExtensionType
}

// ParseCertificate13 reads the message's body.
func ParseCertificate13(body []byte) (*Certificate13, error) {
	const what = "certificate"
	r := reader{String: body}
	m := &Certificate13{Context: r.vector8(0)}
	list := reader{String: r.vector24(0)}
	for !list.bad && !list.Empty() {
		m.Chain = append(m.Chain, list.vector24(1))
		exts, err := parseExtensions(list.vector16(0), what)
		if err != nil {
			return nil, err
		}
		for _, e := range exts {
			m.Answered = append(m.Answered, e.Type)
		}
	}
	r.ok(!list.bad)
	return m, r.end(what)
}

// Marshal writes the message.
func (m *Certificate13) Marshal() Message {
	return build(TypeCertificate, func(b *cryptobyte.Builder) {
		addVector8(b, m.Context)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, c := range m.Chain {
				addVector24(b, c)
				b.AddUint16(0)
			}
		})
	})
}

// CertificateVerify proves the possession of a certificate's key (RFC 8446,
// section 4.4.3; in TLS 1.2 RFC 5246, section 7.4.8).
type CertificateVerify struct {
	Scheme    SignatureScheme
	Signature []byte
}

// ParseCertificateVerify reads the message's body.
func ParseCertificateVerify(body []byte) (*CertificateVerify, error) {
	r := reader{String: body}
	m := &CertificateVerify{SignatureScheme(r.uint16()), r.vector16(0)}
	return m, r.end("certificate_verify")
}

// Marshal writes the message.
func (m *CertificateVerify) Marshal() Message {
	return build(TypeCertificateVerify, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(m.Scheme))
		addVector16(b, m.Signature)
	})
}

// ParseKeyUpdate reads a KeyUpdate's body and tells whether the peer asks for
// one in return (RFC 8446, section 4.6.3).
func ParseKeyUpdate(body []byte) (requested bool, err error) {
	if len(body) != 1 {
		return false, Errorf(DecodeError, "malformed key_update")
	}
	if body[0] > 1 {
		return false, Errorf(IllegalParameter, "key_update with request %d", body[0])
	}
	return body[0] == 1, nil
}

// KeyUpdate returns a KeyUpdate message.
func KeyUpdate(request bool) Message {
	var v byte
	if request {
		v = 1
	}
	return NewMessage(TypeKeyUpdate, []byte{v})
}

// CheckNewSessionTicket tells whether a ticket is well formed (RFC 8446,
// section 4.6.1). Tickets are not kept.
func CheckNewSessionTicket(body []byte) error {
	r := reader{String: body}
	r.uint32()
	r.uint32()
	r.vector8(0)
	r.vector16(1)
	list := r.vector16(0)
	if err := r.end("new_session_ticket"); err != nil {
		return err
	}
	_, err := parseExtensions(list, "new_session_ticket")
	return err
}
