package gssapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/finding"
	"virtls/sasl"
)

// Identifiers of the messages that make a context (RFC 4121, 4.1).
const (
	tokenRequest = 0x0100
	tokenReply   = 0x0200
	tokenError   = 0x0300
)

// kerberos is the object identifier 1.2.840.113554.1.2.2 of Kerberos 5.
var kerberos = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02}

// frame is the form of a message that makes a context (RFC 2743, 3.1).
func frame(id uint16, message []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cryptoasn1.Tag(0).Constructed()|0x40, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptoasn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(kerberos) })
		b.AddUint16(id)
		b.AddBytes(message)
	})
	return b.BytesOrPanic()
}

// unframe returns the message of that kind. If the other end tells of an error
// instead, that is the error.
func unframe(token []byte, want uint16) ([]byte, error) {
	if len(token) > sasl.MaxSealed {
		return nil, fmt.Errorf("a message of %d octets; at most %d are taken", len(token), sasl.MaxSealed)
	}
	var body, oid cryptobyte.String
	var id uint16
	s := cryptobyte.String(token)
	switch {
	case !s.ReadASN1(&body, cryptoasn1.Tag(0).Constructed()|0x40) || !s.Empty() ||
		!body.ReadASN1(&oid, cryptoasn1.OBJECT_IDENTIFIER) || string(oid) != string(kerberos) || !body.ReadUint16(&id):
		return nil, errors.New("a message that is not of Kerberos 5")
	case id == want:
		return body, nil
	case id == tokenError:
		var e messages.KRBError
		if err := guarded(func() error { return e.Unmarshal(body) }); err == nil {
			return nil, fmt.Errorf("the other end says: %w", shown(e))
		}
	}
	return nil, fmt.Errorf("a message of Kerberos of the kind %04x; %04x was due", id, want)
}

// guarded runs a part of the library on what a stranger has sent. The library
// does not promise that it never panics, and a server must not end by that.
func guarded(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("a message of Kerberos that cannot be read")
		}
	}()
	return f()
}

// maxShown is how much of an error is shown, in octets.
const maxShown = 300

// shown is an error of the library, which may quote what the other end sent, made
// safe to show.
func shown(err error) error {
	text := finding.Printable(err.Error())
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return errors.New(text)
}

// Flags of a context (RFC 4121, 4.1.1.1).
const (
	flagMutual   = 2
	flagSequence = 8
	flagSealed   = 16
	flagSigned   = 32
)

// contextChecksum is what an authenticator says of the context.
func contextChecksum(flags uint32) types.Checksum {
	sum := binary.LittleEndian.AppendUint32(nil, 16)
	sum = append(sum, make([]byte, 16)...) // no channel is bound
	return types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: binary.LittleEndian.AppendUint32(sum, flags)}
}

// contextFlags reads it.
func contextFlags(c types.Checksum) (uint32, error) {
	if c.CksumType != chksumtype.GSSAPI || len(c.Checksum) < 24 || binary.LittleEndian.Uint32(c.Checksum) != 16 {
		return 0, errors.New("a ticket that comes without the checksum of RFC 4121")
	}
	return binary.LittleEndian.Uint32(c.Checksum[20:]), nil
}

// checkCipher tells whether something can be decrypted at all: the library takes
// the length of what it is given for granted.
func checkCipher(d types.EncryptedData) error {
	e, err := encryptionOf(d.EType)
	if err == nil && len(d.Cipher) < confounderSize+e.mac {
		err = errors.New("a message of Kerberos that is cut off")
	}
	return err
}

// reply makes a server's answer to a request (RFC 4120, 5.5.2).
func reply(to types.Authenticator, session, subkey types.EncryptionKey, number int64) ([]byte, error) {
	part, err := asn1.Marshal(messages.EncAPRepPart{CTime: to.CTime, Cusec: to.Cusec, Subkey: subkey, SequenceNumber: number})
	if err != nil {
		return nil, err
	}
	part = asn1tools.AddASNAppTag(part, asnAppTag.EncAPRepPart)
	cipher, err := crypto.GetEncryptedData(part, session, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	whole, err := asn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: cipher})
	if err != nil {
		return nil, err
	}
	return frame(tokenReply, asn1tools.AddASNAppTag(whole, asnAppTag.APREP)), nil
}

// readReply verifies a server's answer to a request.
func readReply(token []byte, to types.Authenticator, session types.EncryptionKey) (part messages.EncAPRepPart, err error) {
	body, err := unframe(token, tokenReply)
	if err != nil {
		return part, err
	}
	err = guarded(func() error {
		var r messages.APRep
		if err := r.Unmarshal(body); err != nil {
			return shown(err)
		}
		if err := checkCipher(r.EncPart); err != nil {
			return err
		}
		plain, err := crypto.DecryptEncPart(r.EncPart, session, keyusage.AP_REP_ENCPART)
		if err != nil {
			return errors.New("the server does not know the key of its own ticket")
		}
		if err := part.Unmarshal(plain); err != nil {
			return shown(err)
		}
		return nil
	})
	// An answer to another request proves nothing.
	if err == nil && (part.CTime.Unix() != to.CTime.Unix() || part.Cusec != to.Cusec) {
		err = errors.New("the server's answer is one to another request")
	}
	return part, err
}
