package creds

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/finding"
	"virtls/pki"
)

// DHParams are the parameters of a finite-field Diffie-Hellman group (PKCS #3).
// They are public. GnuTLS takes any positive numbers; who computes with them
// heeds [DHParams.Usable].
type DHParams struct {
	P, G *big.Int
}

// Bounds of a usable prime in bits.
const (
	minDHBits = 2048
	maxDHBits = 16384
)

var kindDHWeak = finding.Define("dh-params-weak", finding.Warning,
	"the Diffie-Hellman parameters are not fit for use",
	"remove the file: without it a group of RFC 7919 is used")

// ParseDHParams reads the first DH PARAMETERS of a file in PEM form, with any
// text around them, as GnuTLS does (gnutls_dh_params_import_pkcs3, 3.7.9 to
// 3.8.13): the numbers count as positive whatever their sign bit.
func ParseDHParams(data []byte) (*DHParams, error) {
	if len(data) > pki.MaxFileSize {
		return nil, errTooLarge
	}
	const label = "DH PARAMETERS"
	begin := bytes.Index(data, []byte("-----BEGIN "+label+"-----"))
	if begin < 0 {
		return nil, &pki.ErrNoPEM{Want: label}
	}
	block, _ := pem.Decode(data[begin:])
	if block == nil || block.Type != label {
		return nil, errors.New("a damaged PEM block")
	}
	in := cryptobyte.String(block.Bytes)
	var seq, p, g cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1(&p, cbasn1.INTEGER) || !seq.ReadASN1(&g, cbasn1.INTEGER) ||
		!seq.SkipOptionalASN1(cbasn1.INTEGER) || !seq.Empty() {
		return nil, errors.New("malformed PKCS #3 parameters")
	}
	d := &DHParams{new(big.Int).SetBytes(p), new(big.Int).SetBytes(g)}
	if d.P.Sign() == 0 || d.G.Sign() == 0 {
		return nil, errors.New("a prime or generator of 0")
	}
	return d, nil
}

// Usable returns nil if the group may be used: its modulus is odd and has 2048
// to 16384 bits, and its generator is one. Whether the modulus is a prime is
// not tested.
func (d *DHParams) Usable() error {
	one := big.NewInt(1)
	switch bits := d.P.BitLen(); {
	case bits < minDHBits || bits > maxDHBits:
		return fmt.Errorf("a prime of %d bits; want %d to %d", bits, minDHBits, maxDHBits)
	case d.P.Bit(0) == 0:
		return errors.New("an even number for a prime")
	case d.G.Cmp(one) <= 0 || d.G.Cmp(new(big.Int).Sub(d.P, one)) >= 0:
		return errors.New("a generator that generates nothing")
	}
	return nil
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
		l.problem(kindDHDeprecated.Found(path, "").WithWant("no such file", l.Consumer.String()),
			fmt.Sprintf("Use of an external DH parameters file '%s' is deprecated and will be removed in a future release", path))
	}
	data, err := l.disk.read(path)
	if err != nil {
		l.unreadableFile(path, err, "%s", path) // QEMU says what GLib says, and that depends on its version
		return
	}
	params, err := ParseDHParams(data)
	if err != nil {
		l.problem(kindDH.Found(path, err.Error()), "Unable to load DH parameters from "+path)
		return
	}
	if err := params.Usable(); err != nil {
		l.problem(kindDHWeak.Found(path, err.Error()), "")
	}
	l.x.DH = params
}
