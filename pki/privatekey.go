package pki

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// MarshalPKCS8 returns the PKCS#8 form (RFC 5958) of a private key. form only
// matters for ML-DSA keys.
func MarshalPKCS8(key PrivateKey, form MLDSAForm) ([]byte, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, *ecdh.PrivateKey:
		return x509.MarshalPKCS8PrivateKey(k)
	case *PSSKey:
		return marshalPKCS8(k.Public().(*PSSPublicKey).identifier(), rawBytes(x509.MarshalPKCS1PrivateKey(k.PrivateKey)))
	case *OAEPKey:
		return marshalPKCS8(AlgorithmIdentifier{RSAOAEP.OID(), k.parameters}, rawBytes(x509.MarshalPKCS1PrivateKey(k.rsa)))
	case ed448.PrivateKey:
		return marshalPKCS8(bare(Ed448), octets(k.Seed()))
	case *X448Key:
		return marshalPKCS8(bare(X448), octets(k.secret[:]))
	case *mldsa.PrivateKey, *MLDSAExpandedKey:
		return marshalPKCS8(bare(AlgorithmOf(key.Public())), func(b *cryptobyte.Builder) error {
			return addMLDSA(b, key, form)
		})
	}
	return nil, fmt.Errorf("a private key of type %T cannot be written", key)
}

func rawBytes(p []byte) func(*cryptobyte.Builder) error {
	return func(b *cryptobyte.Builder) error { b.AddBytes(p); return nil }
}

func octets(p []byte) func(*cryptobyte.Builder) error {
	return func(b *cryptobyte.Builder) error { b.AddASN1OctetString(p); return nil }
}

// bare is the identifier of an algorithm without parameters.
func bare(alg KeyAlgorithm) AlgorithmIdentifier { return AlgorithmIdentifier{OID: alg.OID()} }

func marshalPKCS8(id AlgorithmIdentifier, content func(*cryptobyte.Builder) error) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		id.add(b)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			if err := content(b); err != nil {
				b.SetError(err)
			}
		})
	})
	return b.Bytes()
}

// ParsePKCS8 reads an unencrypted PKCS#8 private key (RFC 5958). Attributes
// and the optional public key are passed over.
func ParsePKCS8(der []byte) (PrivateKey, error) {
	malformed := errors.New("malformed PKCS#8 private key")
	in := cryptobyte.String(der)
	var seq, content cryptobyte.String
	var version int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) || version < 0 || version > 1 {
		return nil, malformed
	}
	id, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&content, cbasn1.OCTET_STRING) {
		return nil, malformed
	}
	switch alg := keyAlgorithmOf(id.OID); alg {
	case MLDSA44, MLDSA65, MLDSA87:
		if id.Parameters != nil {
			return nil, fmt.Errorf("a key of type %s must have no parameters (RFC 9881, section 2)", alg)
		}
		return readMLDSA(alg, content)
	case RSAPSS, RSAOAEP:
		k, err := x509.ParsePKCS1PrivateKey(content)
		if err != nil {
			return nil, cleanX509(err)
		}
		if alg == RSAOAEP {
			return &OAEPKey{k, id.Parameters}, nil
		}
		public, err := newPSSPublicKey(&k.PublicKey, id.Parameters)
		if err != nil {
			return nil, err
		}
		return &PSSKey{k, public.Hash, public.SaltLength, id.Parameters}, nil
	case Ed448, X448:
		var raw cryptobyte.String
		if !content.ReadASN1(&raw, cbasn1.OCTET_STRING) || !content.Empty() {
			return nil, malformed
		}
		if alg == X448 {
			return newX448Key(raw)
		}
		if len(raw) != ed448.SeedSize {
			return nil, malformed
		}
		return ed448.NewKeyFromSeed(raw), nil
	case RSA, ECDSA, Ed25519, X25519:
		if alg == ECDSA {
			if _, err := namedCurve(id.Parameters); err != nil {
				return nil, err
			}
		}
		k, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, cleanX509(err)
		}
		return k.(PrivateKey), nil
	default:
		return nil, fmt.Errorf("private keys of type %s (%s) are not supported", alg, dn.ShortOID(id.OID))
	}
}

// cleanX509 takes the name of somebody else's package off an error text.
func cleanX509(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "x509: ", ""))
}

// ParsePrivateKeyDER reads an unencrypted private key in PKCS#8, PKCS#1 (RSA)
// or SEC1 (EC) form.
func ParsePrivateKeyDER(der []byte) (PrivateKey, error) {
	key, err := ParsePKCS8(der)
	if err == nil {
		return key, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return nil, err
}

// A PKCS#8 EncryptedPrivateKeyInfo is told from a plain one by what follows
// the opening SEQUENCE: an AlgorithmIdentifier instead of a version.
func isEncryptedPKCS8(der []byte) bool {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	return in.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.PeekASN1Tag(cbasn1.SEQUENCE)
}

var oidPBES2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
