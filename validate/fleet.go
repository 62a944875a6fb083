package validate

import (
	"encoding/hex"
	"path/filepath"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
)

var kindSharedKey = finding.Define("key-on-several-hosts", finding.Warning,
	"several hosts have the same private key, so each of them can pose as the other",
	"make a key for every host: virtls apply does")

// judgeFleet judges what shows only when several roots are compared.
func (r *run) judgeFleet(trees []*tree) {
	first := map[string]*tree{}
	var clients []dn.Name
	for _, t := range trees {
		for _, s := range t.sets {
			for _, p := range s.inv.pairs {
				leaf := p.leaf()
				if leaf == nil {
					continue
				}
				if s.role == layout.Client && s.inv.files.Service == layout.Libvirt {
					clients = append(clients, leaf.Subject)
				}
				id := hex.EncodeToString(leaf.PublicKey.ID())
				if other := first[id]; other == nil {
					first[id] = t
				} else if other != t && p.key != nil && pki.SameKey(leaf.PublicKey.Key, p.key) {
					t.note(kindSharedKey.Found(p.Key, "the key of "+filepath.Base(string(other.root))))
				}
			}
		}
	}
	for _, t := range trees {
		if t.daemonUse != nil {
			t.checkClients(*t.daemonUse, clients, len(trees) > 1)
		}
	}
}
