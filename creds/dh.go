package creds

import (
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"virtls/pki"
)

// DHParams are the parameters of a finite-field Diffie-Hellman group (PKCS #3).
// They are public.
type DHParams struct {
	P, G *big.Int
	Bits int // recommended length of private values, 0 if none is given
}

// maxDHBits bounds the prime: what GnuTLS takes (3.8.13, gnutls_dh_params_import_pkcs3).
const maxDHBits = 16384

// ParseDHParams reads DH PARAMETERS in PEM form.
func ParseDHParams(data []byte) (*DHParams, error) {
	if len(data) > pki.MaxFileSize {
		return nil, errTooLarge
	}
	var block *pem.Block
	for {
		if block, data = pem.Decode(data); block == nil {
			return nil, &pki.ErrNoPEM{Want: "DH PARAMETERS"}
		}
		if block.Type == "DH PARAMETERS" {
			break
		}
	}
	var seq struct {
		P, G *big.Int
		Bits int `asn1:"optional"`
	}
	rest, err := asn1.Unmarshal(block.Bytes, &seq)
	switch {
	case err != nil || len(rest) > 0:
		return nil, errors.New("malformed PKCS #3 parameters")
	case seq.P.Sign() <= 0 || seq.G.Sign() <= 0:
		return nil, errors.New("the prime and the generator must be positive")
	case seq.P.BitLen() > maxDHBits || seq.G.Cmp(seq.P) >= 0:
		return nil, fmt.Errorf("a prime of %d bits with a generator of %d; want at most %d bits and a smaller generator", seq.P.BitLen(), seq.G.BitLen(), maxDHBits)
	}
	return &DHParams{seq.P, seq.G, seq.Bits}, nil
}

// dh loads a server's parameters if they are there.
func (l *loader) dh() {
	if l.present(l.files.DH, false) {
		l.loadDH()
	}
}

// loadDH reads dh-params.pem (QEMU crypto/tlscreds.c,
// qcrypto_tls_creds_get_dh_params_file).
func (l *loader) loadDH() {
	path := l.files.DH
	if l.DHDeprecated {
		l.problem(kindDHDeprecated.Found(path, "").WithWant("no such file", "QEMU 10.2"),
			fmt.Sprintf("Use of an external DH parameters file '%s' is deprecated and will be removed in a future release", path))
	}
	prefix := "Unable to load DH parameters from " + path + ": "
	data, err := l.disk.read(path)
	if err != nil {
		l.unreadableFile(path, err, "Unable to load DH parameters from %s", path)
		return
	}
	if l.x.DH, err = ParseDHParams(cString(data)); err != nil {
		l.problem(kindDH.Found(path, err.Error()), prefix)
	}
}
