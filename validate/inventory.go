package validate

import (
	"slices"

	"virtls/creds"
	"virtls/layout"
	"virtls/pki"
)

// An inventory is what is in a set's files, read leniently and whether or not
// any consumer would.
type inventory struct {
	files   layout.Files
	anchors []*pki.Certificate
	crls    []*pki.CRL
	pairs   []pair
}

// A pair is what is in the files of one identity.
type pair struct {
	layout.Pair
	certThere, keyThere bool
	chain               []*pki.Certificate
	key                 pki.PrivateKey
	secret              bool // the certificate's file holds a private key
}

// leaf is the pair's first certificate, nil if there is none.
func (p pair) leaf() *pki.Certificate {
	if len(p.chain) == 0 {
		return nil
	}
	return p.chain[0]
}

func newInventory(f layout.Files, view layout.View, password []byte) *inventory {
	inv := &inventory{files: f}
	inv.anchors, _ = pki.ParseCertificatesPEM(read(view, f.CA))
	inv.crls, _ = pki.ParseCRLsPEM(read(view, f.CRL))
	ask := func() ([]byte, error) {
		if password == nil {
			return nil, pki.ErrNoPassword
		}
		return password, nil
	}
	for _, names := range f.Pairs {
		p := pair{Pair: names}
		if _, err := view.Stat(p.Cert); err == nil {
			p.certThere = true
			data := read(view, p.Cert)
			p.chain, _ = pki.ParseCertificatesPEM(data)
			p.secret = pki.HasPrivateKey(data)
		}
		if _, err := view.Stat(p.Key); err == nil {
			p.keyThere = true
			p.key, _ = pki.ParsePrivateKeyPEM(read(view, p.Key), ask)
		}
		inv.pairs = append(inv.pairs, p)
	}
	return inv
}

// read returns a file's content, nothing if it cannot be had.
func read(view layout.View, name string) []byte {
	if name == "" {
		return nil
	}
	data, err := view.ReadFile(name)
	if err != nil {
		return nil
	}
	return data
}

// relevant returns capabilities without those that do not matter to the files,
// so that fewer releases differ.
func (inv *inventory) relevant(c creds.Capabilities) creds.Capabilities {
	isMLDSA := func(c *pki.Certificate) bool {
		return c.PublicKey.Algorithm.IsMLDSA() || c.SignatureAlgorithm().Key.IsMLDSA()
	}
	mldsa := slices.ContainsFunc(inv.anchors, isMLDSA)
	enciphers := true
	for _, p := range inv.pairs {
		mldsa = mldsa || p.isMLDSA() || slices.ContainsFunc(p.chain, isMLDSA)
		enciphers = enciphers && (p.leaf() == nil || !forbidsEncipherment(p.leaf()))
	}
	if !mldsa {
		c.MLDSA = pki.MLDSAUnknown
	}
	if enciphers {
		c.Encipherment = creds.NoKeys
	}
	return c
}

// forbidsEncipherment tells whether some releases refuse a certificate because
// it does not allow key encipherment.
func forbidsEncipherment(c *pki.Certificate) bool {
	usage, present, err := c.Extensions.KeyUsage()
	return err == nil && present && usage&pki.KeyEncipherment == 0 && c.Extensions.Find(pki.OIDKeyUsage).Critical
}

// pairOf returns the pair that a file belongs to.
func (inv *inventory) pairOf(file string) *pair {
	for i := range inv.pairs {
		if p := &inv.pairs[i]; p.Cert == file || p.Key == file {
			return p
		}
	}
	return nil
}
