package fleet

import (
	"fmt"
	"path"
	"slices"

	"virtls/layout"
	"virtls/psk"
	"virtls/tlsengine"
)

// provePSK proves a holder's pre-shared keys, each by a handshake between what
// a server and what a client reads in the staged files, and lists them.
func (p *prover) provePSK(h *Holder) ([]IdentityRow, error) {
	loc := h.pskLocation()
	var rows []IdentityRow
	add := func(slot, user, dir string, server *Holder, key func() (psk.Key, error)) {
		row := IdentityRow{Slot: slot, Key: fmt.Sprintf("psk%d", 8*psk.DefaultKeySize), Path: path.Join(dir, layout.PSKFile), Proof: notAsked}
		if p.run.opts.Prove != ProveNone {
			row.Proof, row.Proved = "proved", true
			if err := p.shakePSK(user, server, key); err != nil {
				row.Proof, row.Proved = "failed: "+err.Error(), false
				p.run.findings = append(p.run.findings, kindNotProved.Found(h.ID()+" "+slot, "").WithText("a TLS handshake with the key just staged failed: %v", err))
			}
		}
		rows = append(rows, row)
	}
	for _, u := range p.run.file.PSK {
		if slices.Contains(u.Servers, h.Name) {
			// Its clients may not be staged yet; the run knows their keys.
			known := func() (psk.Key, error) { return p.run.psk[pskPair{u.User, h.Name}], nil }
			add("psk/server "+u.User, u.User, layout.PSKServer(loc), h, known)
		}
		for _, name := range h.pskServers(&u) {
			server, err := p.run.file.holderOfHost(p.run.file.hosts[name])
			if err != nil {
				return nil, err
			}
			dir := layout.PSKClient(loc, name)
			add("psk/client "+u.User, u.User, dir, server, func() (psk.Key, error) {
				f, err := p.pskFile(h, dir)
				if err != nil {
					return psk.Key{}, err
				}
				return f.ClientKey(u.User)
			})
		}
	}
	return rows, nil
}

func (p *prover) pskFile(h *Holder, dir string) (*psk.File, error) {
	name := path.Join(dir, layout.PSKFile)
	return parsed(p, h, name, func(data []byte) (*psk.File, error) { return psk.Parse(name, data) })
}

// shakePSK has a client with a key shake hands with what a server has in its file.
func (p *prover) shakePSK(user string, server *Holder, key func() (psk.Key, error)) error {
	users, err := p.pskFile(server, layout.PSKServer(server.pskLocation()))
	if err != nil {
		return err
	}
	own, err := key()
	if err != nil {
		return err
	}
	groups := []tlsengine.Group{tlsengine.X25519}
	s, err := tlsengine.Server(&tlsengine.Config{Groups: groups, FindPSK: func(identity []byte) (*tlsengine.PSK, error) {
		k, err := users.ServerKey(string(identity))
		return &tlsengine.PSK{Identity: identity, Key: k.Bytes()}, err
	}})
	if err != nil {
		return err
	}
	c, err := tlsengine.Client(&tlsengine.Config{Groups: groups, PSK: &tlsengine.PSK{Identity: []byte(user), Key: own.Bytes()}})
	if err != nil {
		return err
	}
	p.handshakes++
	serverErr, clientErr := converse(s, c)
	switch {
	case serverErr != nil && !isAlert(serverErr):
		return fmt.Errorf("host:%s refuses user %q: %w", server.Name, user, serverErr)
	case clientErr != nil:
		return fmt.Errorf("user %q refuses host:%s: %w", user, server.Name, clientErr)
	}
	return serverErr
}
