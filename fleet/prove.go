package fleet

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"virtls/internal/parallel"
	"virtls/layout"
	"virtls/pki"
)

// A prover shows that credentials work: it loads them from the staged files, as
// a consumer would, and has them shake hands with a peer's, each side judging
// the other by its own CA bundle and revocation lists.
//
// Every identity meets, in each of its roles, a representative of each distinct
// authority and key type among its peers; or, on request, every one of them.
type prover struct {
	run        *run
	peers      map[layout.Role][]*credential // the representatives
	everybody  []*credential                 // all that were proved, if all are to meet
	refused    map[*Identity]bool            // those whose failure is told
	handshakes int

	signatures pki.SignatureCache // an authority's list and a representative's certificate are checked once
}

// A credential is one identity in one role, loaded from the files of one place.
type credential struct {
	holder string
	pqc    bool // the holder can verify ML-DSA
	id     *Identity
	role   layout.Role
	name   string // that clients connect to
	chain  []*pki.Certificate
	key    crypto.Signer
	roots  []*pki.Certificate
	crls   []*pki.CRL
	now    time.Time // by which it judges others

	signatures *pki.SignatureCache
}

func newProver(r *run) *prover {
	return &prover{run: r, peers: map[layout.Role][]*credential{}, refused: map[*Identity]bool{}}
}

// representatives names the first holder of each kind of credential in the
// file. They are made first, so that everybody else can be proved with them.
func (f *File) representatives() (map[string]bool, error) {
	kinds, holders := map[string]bool{}, map[string]bool{}
	for h, err := range f.Holders {
		if err != nil {
			return nil, err
		}
		for i := range h.Identities {
			id := &h.Identities[i]
			for _, role := range id.Roles {
				kind := role.String() + " " + id.kind()
				if !kinds[kind] {
					kinds[kind] = true
					holders[h.ID()] = true
				}
			}
		}
	}
	return holders, nil
}

// kind tells apart what has to be proved with each: the authority and the type of the key.
func (id *Identity) kind() string {
	if id.PQC {
		return PQCAuthority + " " + id.Key.String()
	}
	return ClassicalAuthority + " " + id.Key.String()
}

// adopt makes representatives of what is staged for a holder that this run
// leaves alone. What is not as it should be represents nobody, except that it
// may be due for renewal.
func (p *prover) adopt(ctx context.Context, h *Holder) error {
	for i := range h.Identities {
		j, err := p.run.judge(ctx, h, &h.Identities[i])
		if err != nil {
			return err
		}
		if j.Verdict == Issue && !strings.HasPrefix(j.Why, whyDue) && j.Why != whyAsked {
			continue
		}
		creds, err := p.load(h, &h.Identities[i])
		if err != nil {
			continue
		}
		for _, c := range creds {
			p.represent(c)
		}
	}
	return nil
}

// prove proves the identities of a batch and fills in their rows.
func (p *prover) prove(ctx context.Context, batch []*work) error {
	var all []*credential
	for _, w := range batch {
		for i := range w.judgments {
			j := &w.judgments[i]
			w.row.Identities = append(w.row.Identities, identityRow(j))
			row := &w.row.Identities[len(w.row.Identities)-1]
			if j.Certificate == nil {
				continue
			}
			if p.run.opts.Prove == ProveNone {
				row.Proof = notAsked
				continue
			}
			creds, err := p.load(w.holder, j.Identity)
			if err != nil {
				p.failed(w.holder, j.Identity, row, err)
				continue
			}
			all = append(all, creds...)
		}
	}
	for _, c := range all {
		p.represent(c)
	}
	if p.run.opts.Prove == ProveAll {
		p.everybody = append(p.everybody, all...)
	}
	failures, err := p.shakeAll(ctx, p.withPeers(all, p.peers))
	if err != nil {
		return err
	}
	for _, w := range batch {
		p.report(w, failures)
		rows, err := p.provePSK(w.holder)
		if err != nil {
			return err
		}
		w.row.Identities = append(w.row.Identities, rows...)
	}
	return nil
}

const notAsked = "not proved: not asked for"

func identityRow(j *Judgment) IdentityRow {
	row := IdentityRow{Slot: j.Identity.Slot, Key: j.Identity.Key.String(), Path: j.Identity.Places[0].Cert.Path, Did: j.Verdict.did(), Why: j.Why}
	if j.Certificate != nil {
		row.Until = j.Certificate.NotAfter.UTC().Format(time.RFC3339)
	}
	return row
}

func (p *prover) failed(h *Holder, id *Identity, row *IdentityRow, err error) {
	p.refused[id] = true
	row.Proof = "failed: " + err.Error()
	p.run.findings = append(p.run.findings, kindNotProved.Found(h.ID()+" "+id.Slot, "").WithText("a TLS handshake with the credentials just staged failed: %v", err))
}

// report enters the outcome into the rows of a holder.
func (p *prover) report(w *work, failures map[*Identity]error) {
	for i := range w.judgments {
		id, row := w.judgments[i].Identity, &w.row.Identities[i]
		if row.Proof != "" {
			continue
		}
		if err, ok := failures[id]; ok && err != nil {
			p.failed(w.holder, id, row, err)
			continue
		} else if !ok {
			row.Proof = "not proved: there is no identity of the other role to prove it with"
			continue
		}
		row.Proved, row.Proof = true, "proved as "+id.roles()
	}
}

// represent makes c a representative if it is the first of its kind.
func (p *prover) represent(c *credential) {
	if !slices.ContainsFunc(p.peers[c.role], func(o *credential) bool { return o.id.kind() == c.id.kind() }) {
		p.peers[c.role] = append(p.peers[c.role], c)
	}
}

// A meeting is a handshake to be made for the sake of subject. peer is nil if
// nobody in the fleet has the other role.
type meeting struct{ subject, peer *credential }

func (p *prover) withPeers(creds []*credential, peers map[layout.Role][]*credential) []meeting {
	var list []meeting
	for _, c := range creds {
		others := slices.DeleteFunc(slices.Clone(peers[1-c.role]), func(o *credential) bool { return !c.meets(o) })
		if len(others) == 0 && c.role == layout.Server {
			list = append(list, meeting{subject: c})
		}
		for _, peer := range others {
			list = append(list, meeting{c, peer})
		}
	}
	return list
}

// meets tells whether two credentials would ever be shown to each other: nobody
// shows an ML-DSA certificate to who cannot verify it.
func (c *credential) meets(peer *credential) bool {
	return (c.pqc || !peer.id.PQC) && (peer.pqc || !c.id.PQC)
}

// proveAll has every server identity meet every client identity.
func (p *prover) proveAll(ctx context.Context) error {
	var servers []*credential
	clients := map[layout.Role][]*credential{}
	for _, c := range p.everybody {
		if c.role == layout.Server {
			servers = append(servers, c)
		} else {
			clients[c.role] = append(clients[c.role], c)
		}
	}
	failures, err := p.shakeAll(ctx, p.withPeers(servers, clients))
	for _, c := range servers {
		if err := failures[c.id]; err != nil && !p.refused[c.id] {
			p.run.findings = append(p.run.findings, kindNotProved.Found(c.holder+" "+c.id.Slot, "").WithText("a TLS handshake with the credentials just staged failed: %v", err))
			delete(failures, c.id)
		}
	}
	return err
}

// shakeAll makes handshakes on all cores. The result has an entry for each
// subject, nil if it succeeded with everybody.
func (p *prover) shakeAll(ctx context.Context, meetings []meeting) (map[*Identity]error, error) {
	outcome := map[*Identity]error{}
	var mu sync.Mutex
	err := parallel.For(ctx, len(meetings), func(i int) error {
		server, client := meetings[i].subject, meetings[i].peer
		if server.role == layout.Client {
			server, client = client, server
		}
		err := shake(ctx, server, client)
		mu.Lock()
		defer mu.Unlock()
		p.handshakes++
		if id := meetings[i].subject.id; outcome[id] == nil {
			outcome[id] = err
		}
		return nil
	})
	return outcome, err
}

// load reads an identity's files in each of its roles.
func (p *prover) load(h *Holder, id *Identity) ([]*credential, error) {
	var creds []*credential
	for _, place := range id.Places {
		if slices.ContainsFunc(creds, func(c *credential) bool { return c.role == place.Role }) {
			continue
		}
		c, err := p.loadPlace(h, id, place)
		if err != nil {
			return nil, err
		}
		creds = append(creds, c)
	}
	return creds, nil
}

func (p *prover) loadPlace(h *Holder, id *Identity, place Place) (*credential, error) {
	c := &credential{signatures: &p.signatures, holder: h.ID(), pqc: h.PQC, id: id, role: place.Role, name: h.Name, now: p.run.state.Now()}
	chain, err := parsed(p, h, place.Cert.Path, pki.ParseCertificatesPEM)
	if err != nil {
		return nil, err
	}
	key, err := parsed(p, h, place.Key.Path, func(data []byte) (pki.PrivateKey, error) {
		defer clear(data)
		return pki.ParsePrivateKeyPEM(data, nil)
	})
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !pki.SameKey(chain[0].PublicKey.Key, key) {
		return nil, fmt.Errorf("%s: the private key does not belong to the certificate", place.Key.Path)
	}
	c.chain, c.key = chain, signer
	if c.roots, err = parsed(p, h, place.Location.CA(), pki.ParseCertificatesPEM); err != nil {
		return nil, err
	}
	c.crls, err = parsed(p, h, place.Location.CRL(), pki.ParseCRLsPEM)
	return c, err
}

// parsed reads and parses a staged file; what is wrong is said with its name.
func parsed[T any](p *prover, h *Holder, path string, parse func([]byte) (T, error)) (v T, err error) {
	data, err := p.run.readStaged(h, path)
	if err != nil {
		return v, err
	}
	if v, err = parse(data); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, err
}
