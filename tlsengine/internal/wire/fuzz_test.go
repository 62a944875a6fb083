package wire

import (
	"bytes"
	"testing"
)

// A message that was read is written and read again the same.
func FuzzMessages(f *testing.F) {
	share := KeyShare{X25519, make([]byte, 32)}
	one := uint16(1)
	for _, m := range []Message{
		(&ClientHello{
			Version: TLS12, SessionID: make([]byte, 32), Suites: []Suite{AES128GCMSHA256, EmptyRenegotiationInfoSCSV}, Compression: []byte{0},
			ServerName: "kvm1.example.com", HasServerName: true, Groups: []Group{X25519, P256}, PointFormats: []byte{0}, Schemes: []SignatureScheme{Ed25519},
			CertSchemes: []SignatureScheme{MLDSA65}, Protocols: [][]byte{[]byte("nbd")}, ExtendedMasterSecret: true, RecordSizeLimit: 1 << 14,
			Versions: []Version{TLS13, TLS12}, Cookie: []byte("cookie"), PSKModes: []PSKMode{PSKWithDHE, PSKAlone}, KeyShares: []KeyShare{share}, HasKeyShares: true,
			RenegotiationInfo: []byte{}, PSKs: []PSKIdentity{{[]byte("rich"), 0}}, Binders: [][]byte{make([]byte, 32)},
		}).Marshal(),
		(&ServerHello{Version: TLS12, SessionID: make([]byte, 32), Suite: AES128GCMSHA256, Selected: TLS13, Share: &share, PSK: &one}).Marshal(),
		(&ServerHello{Version: TLS12, Random: RetryRandom(), Suite: AES128GCMSHA256, Selected: TLS13, RetryGroup: P384, Cookie: []byte("c")}).Marshal(),
		(&ServerHello{Version: TLS12, Suite: PSKWithAES128GCM, ExtendedMasterSecret: true, RenegotiationInfo: []byte{}, PointFormats: []byte{0}, RecordSizeLimit: 99}).Marshal(),
		(&EncryptedExtensions{RecordSizeLimit: 99, Protocol: []byte("nbd")}).Marshal(),
		(&CertificateRequest13{Schemes: []SignatureScheme{Ed25519}, CertSchemes: []SignatureScheme{MLDSA44}, Authorities: [][]byte{{48, 0}}}).Marshal(),
		(&Certificate13{Chain: [][]byte{{1}, {2, 3}}}).Marshal(),
		(&CertificateVerify{Ed25519, make([]byte, 64)}).Marshal(),
		KeyUpdate(true),
	} {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < HeaderSize {
			return
		}
		m := Message(data)
		again, err := reread(m.Type(), m.Body())
		if err != nil || again == nil {
			return
		}
		third, err := reread(m.Type(), again.Body())
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%x", err, []byte(again))
		}
		if !bytes.Equal(again, third) {
			t.Errorf("%x, read and written again: %x", []byte(again), []byte(third))
		}
	})
}

// reread reads a message and writes it again.
func reread(typ HandshakeType, body []byte) (Message, error) {
	switch typ {
	case TypeClientHello:
		m, err := ParseClientHello(body)
		if err != nil {
			return nil, err
		}
		m.BindersSize()
		return m.Marshal(), nil
	case TypeServerHello:
		m, err := ParseServerHello(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	case TypeEncryptedExtensions:
		m, err := ParseEncryptedExtensions(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	case TypeCertificateRequest:
		m, err := ParseCertificateRequest13(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	case TypeCertificate:
		m, err := ParseCertificate13(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	case TypeCertificateVerify:
		m, err := ParseCertificateVerify(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	case TypeNewSessionTicket:
		return nil, CheckNewSessionTicket(body)
	case TypeKeyUpdate:
		_, err := ParseKeyUpdate(body)
		return nil, err
	}
	return nil, nil
}
