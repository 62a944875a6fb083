package validate

import (
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

// pairOf returns the pair that a file belongs to.
func (inv *inventory) pairOf(file string) *pair {
	for i := range inv.pairs {
		if p := &inv.pairs[i]; p.Cert == file || p.Key == file {
			return p
		}
	}
	return nil
}
