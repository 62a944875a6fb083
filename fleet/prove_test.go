package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/ca"
	"virtls/finding"
	"virtls/pki"
)

// proofs lists "HOLDER SLOT: PROOF".
func proofs(rows []Row) (list []string) {
	for _, r := range rows {
		for _, id := range r.Identities {
			list = append(list, fmt.Sprintf("%s %s: %s", r.Holder, id.Slot, id.Proof))
		}
	}
	slices.Sort(list)
	return list
}

// Who proves whom, and how often, for fleets of every composition.
func TestProof(t *testing.T) {
	tests := []struct {
		name, text string
		level      ProveLevel
		handshakes int
		want       []string
	}{
		{"servers alone", "hosts: [{name: a, uses: {qemu: server}}, {name: b, uses: {qemu: server}}]", ProveEach, 2,
			[]string{"host:a qemu/server: proved as server", "host:b qemu/server: proved as server"}},
		{"clients alone", "clients: [{name: c, uses: [qemu]}]", ProveEach, 0,
			[]string{"client:c client: not proved: there is no identity of the other role to prove it with"}},
		{"a server and a client", "hosts: [{name: a, uses: {qemu: server}}]\nclients: [{name: c}]", ProveEach, 2,
			[]string{"client:c client: proved as client", "host:a qemu/server: proved as server"}},
		{"both in one", "hosts: [{name: a, uses: {qemu: both}}]", ProveEach, 2, []string{"host:a qemu/both: proved as server and client"}},
		// Each of 6 meets a representative of each of the 3 types of key of the other role.
		{"types of keys", "hosts: [{name: a, key: ec, uses: {qemu: server}}, {name: b, key: rsa2048, uses: {qemu: server}}, {name: d, key: ed25519, uses: {qemu: server}}]\n" +
			"clients: [{name: x, key: ec}, {name: y, key: p384}, {name: z, key: p521}]", ProveEach, 18, nil},
		{"everybody", "hosts: [{name: a, uses: {qemu: server}}, {name: b, uses: {qemu: server}}, {name: d, uses: {qemu: server}}]\n" +
			"clients: [{name: x}, {name: y}]", ProveAll, 5 + 3*2, nil},
		{"nobody", "hosts: [{name: a, uses: {qemu: server}}]", ProveNone, 0, []string{"host:a qemu/server: not proved: not asked for"}},
		{"ML-DSA and keys", "pqc: exclusive\nhosts: [{name: a, ml-dsa: true, uses: {qemu: server}}]\nclients: [{name: c, ml-dsa: true, uses: [qemu]}]\npsk: [{user: u, servers: [a], holders: [c]}]", ProveEach, 4,
			[]string{
				"client:c client+ml-dsa: proved as client",
				"client:c psk/client u: proved",
				"host:a psk/server u: proved",
				"host:a qemu/server+ml-dsa: proved as server",
			}},
		{"an address as name", "hosts: [{name: 192.0.2.1, uses: {qemu: both}}, {name: '2001:db8::1', uses: {qemu: server}}]", ProveAll, 5,
			[]string{"host:192.0.2.1 qemu/both: proved as server and client", "host:2001:db8::1 qemu/server: proved as server"}},
		{"nobody at all", "", ProveAll, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, parse(t, "organization: A\n"+tt.text))
			result, rows, err := s.tryApply(t.Context(), Options{Prove: tt.level})
			must(t, err)
			for _, f := range result.Findings {
				t.Errorf("finding %v", f)
			}
			if tt.want != nil {
				check(t, "proofs", proofs(rows), tt.want)
			}
			check(t, "handshakes", result.Handshakes, tt.handshakes)
			for _, r := range rows {
				for _, id := range r.Identities {
					check(t, r.Holder+" proved", id.Proved, strings.HasPrefix(id.Proof, "proved"))
				}
			}
		})
	}
}

// A proof fails for whatever would fail where the files are used, and says why.
func TestProofFails(t *testing.T) {
	const cert, key = "hosts/a/etc/pki/qemu/server-cert.pem", "hosts/a/etc/pki/qemu/server-key.pem"
	tests := []struct {
		name   string
		damage func(s *site)
		want   string // of what is said of host:a
	}{
		{"nothing", func(*site) {}, ""},
		{"key of another", func(s *site) {
			must(s.t, os.WriteFile(s.path(key), read(s.t, s.path("clients/c/.pki/qemu/client-key.pem")), 0o600))
		}, "the private key does not belong to the certificate"},
		{"no key", func(s *site) { must(s.t, os.Remove(s.path(key))) }, "/etc/pki/qemu/server-key.pem: no private key"},
		{"no bundle", func(s *site) { must(s.t, os.Truncate(s.path("hosts/a/etc/pki/qemu/ca-cert.pem"), 0)) }, "/etc/pki/qemu/ca-cert.pem: no certificate"},
		{"foreign bundle", func(s *site) {
			other := staged(s.t, s.file)
			must(s.t, os.WriteFile(s.path("hosts/a/etc/pki/qemu/ca-cert.pem"), read(s.t, other.anchor()), 0o600))
		}, "host:a refuses client:c: "},
		{"foreign bundle of the peer", func(s *site) {
			other := staged(s.t, s.file)
			must(s.t, os.WriteFile(s.path("clients/c/.pki/qemu/ca-cert.pem"), read(s.t, other.anchor()), 0o600))
		}, "client:c refuses host:a: "},
		{"wrong role", func(s *site) {
			must(s.t, os.WriteFile(s.path(cert), read(s.t, s.path("clients/c/.pki/qemu/client-cert.pem")), 0o600))
			must(s.t, os.WriteFile(s.path(key), read(s.t, s.path("clients/c/.pki/qemu/client-key.pem")), 0o600))
		}, "client:c refuses host:a: "},
		{"revoked", func(s *site) {
			crl := s.revokedCRL(cert)
			must(s.t, os.WriteFile(s.path("clients/c/.pki/qemu/ca-crl.pem"), crl, 0o600))
		}, "client:c refuses host:a: "},
		{"expired", func(s *site) { s.now = s.now.AddDate(2, 0, 0) }, "expired"},
	}
	for _, tt := range tests {
		for _, pqc := range []string{"off", "exclusive"} {
			t.Run(tt.name+", pqc "+pqc, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, parse(t, "organization: A\npqc: "+pqc+"\nhosts: [{name: a, ml-dsa: true, uses: {qemu: server}}]\nclients: [{name: c, ml-dsa: true, uses: [qemu]}]"))
				s.now = time.Now()
				s.apply(Options{})
				tt.damage(s)
				err := s.shake()
				switch {
				case tt.want == "":
					must(t, err)
				case err == nil || !strings.Contains(err.Error(), tt.want):
					t.Errorf("error %v, want %q in it", err, tt.want)
				}
			})
		}
	}
}

// A key is proved by what lies in the files of both ends.
func TestPSKProofFails(t *testing.T) {
	const served, used = "hosts/a/etc/pki/qemu/psk-server/keys.psk", "clients/c/.pki/qemu/psk-client/a/keys.psk"
	other := "u:" + strings.Repeat("5a", 32) + "\n"
	tests := []struct {
		name, holder, file, text string
		want                     string
	}{
		{"nothing", "client:c", "", "", "proved"},
		{"another key at the client", "client:c", used, other, `failed: host:a refuses user "u": `},
		{"another key at the server", "host:a", served, other, `failed: host:a refuses user "u": `},
		{"another key at the server, seen by the client", "client:c", served, other, `failed: host:a refuses user "u": `},
		{"another user at the client", "client:c", used, "v:5a5a\n", "failed: "},
		{"another user at the server", "host:a", served, "v:5a5a\n", "failed: "},
		{"no key", "client:c", used, "", "failed: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, parse(t, "organization: A\nhosts: [{name: a, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]\npsk: [{user: u, servers: [a], holders: [c]}]"))
			s.apply(Options{})
			s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
				r, err := newRun(s.file, state, Options{})
				must(t, err)
				servers, err := r.neededPSKServers()
				must(t, err)
				must(t, r.loadPSK(servers))
				if tt.file != "" {
					must(t, os.WriteFile(s.path(tt.file), []byte(tt.text), 0o600))
				}
				for h, err := range s.file.Holders {
					must(t, err)
					if h.ID() != tt.holder {
						continue
					}
					rows, err := newProver(r).provePSK(h)
					must(t, err)
					if len(rows) != 1 || !strings.HasPrefix(rows[0].Proof, tt.want) || rows[0].Proved != (len(r.findings) == 0) {
						t.Errorf("rows %+v, findings %v, want %q", rows, r.findings, tt.want)
					}
				}
			})
		})
	}
}

// shake has the staged files of host a and client c prove each other.
func (s *site) shake() error {
	s.t.Helper()
	var err error
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
		p := newProver(&run{file: s.file, dir: s.dir, state: state})
		var creds []*credential
		for h, holderErr := range s.file.Holders {
			must(s.t, holderErr)
			var c *credential
			if c, err = p.loadPlace(h, &h.Identities[0], h.Identities[0].Places[0]); err != nil {
				return
			}
			creds = append(creds, c)
		}
		err = shake(s.t.Context(), creds[0], creds[1])
	})
	return err
}

// anchor is the path of the authority that the fleet uses.
func (s *site) anchor() string {
	if s.file.PQC == PQCExclusive {
		return s.path("ca/mldsa-cert.pem")
	}
	return s.path("ca/ca-cert.pem")
}

// revokedCRL returns a revocation list with the certificate in a file.
func (s *site) revokedCRL(path string) []byte {
	s.t.Helper()
	authority := &site{t: s.t, dir: filepath.Join(s.t.TempDir(), "pki"), file: s.file, now: s.now}
	must(s.t, os.CopyFS(authority.dir, os.DirFS(s.dir)))
	must(s.t, os.Chmod(authority.dir, 0o700))
	authority.revoke(path)
	authority.apply(Options{Prove: ProveNone})
	if s.file.PQC == PQCExclusive {
		return read(s.t, authority.path("ca/mldsa-crl.pem"))
	}
	return read(s.t, authority.path("ca/ca-crl.pem"))
}

// A failed proof is an error, in the table and among the findings: here of a
// run whose clock is before the certificates' time.
func TestFailedProofIsFinding(t *testing.T) {
	for _, level := range []ProveLevel{ProveEach, ProveAll} {
		s := newSite(t, parse(t, "organization: A\nhosts: [{name: a, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]"))
		s.now = time.Now()
		s.apply(Options{})
		s.now = s.now.AddDate(0, 0, -1)
		result, rows, err := s.tryApply(t.Context(), Options{Prove: level})
		must(t, err)
		check(t, "severity", finding.Worst(result.Findings), finding.Error)
		check(t, "code", codes(result.Findings), []string{"ca-not-yet-valid", "proof-failed"})
		var subjects []string
		for _, f := range result.Findings {
			subjects = append(subjects, f.Subject)
			if !strings.Contains(f.Text, "not valid yet") {
				t.Errorf("%s: %s", f.Subject, f.Text)
			}
		}
		check(t, "subjects", subjects, []string{s.path("ca/ca-cert.pem"), "host:a qemu/server", "client:c client"})
		for _, line := range proofs(rows) {
			if !strings.Contains(line, ": failed: ") {
				t.Errorf("the table says %s", line)
			}
		}
	}
}

// The first holder of each kind of credential is made first.
func TestRepresentatives(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nobody", "", []string{}},
		{"one for both", "hosts: [{name: a}, {name: b}]\nclients: [{name: c}]", []string{"host:a"}},
		{"one for each role", "hosts: [{name: a, uses: {qemu: server}}, {name: b, uses: {qemu: server}}]\nclients: [{name: c}, {name: d}]", []string{"client:c", "host:a"}},
		{"one for each type of key", "hosts: [{name: a}, {name: b, key: rsa}, {name: d}]\nclients: [{name: c, key: ed25519}]", []string{"client:c", "host:a", "host:b"}},
		{"one of an exclusive fleet", "pqc: exclusive\nhosts: [{name: a, ml-dsa: true}]", []string{"host:a"}},
		{"the classical one of a hybrid", "pqc: hybrid\nhosts: [{name: a, ml-dsa: true, qemu: 11.1, libvirt: 12.8}]", []string{"host:a"}},
		{"servers alone", "hosts: [{name: a, uses: {qemu: server}}, {name: b, uses: {libvirt: server}}]", []string{"host:a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t, "organization: A\n"+tt.text).representatives()
			must(t, err)
			names := sortedKeys(got)
			check(t, "representatives", names, tt.want)
		})
	}
}

// Every kind of key, for the authority and for those below it.
func TestKeyTypes(t *testing.T) {
	for _, key := range []string{"ec", "p384", "p521", "rsa2048", "ed25519"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, parse(t, fmt.Sprintf("organization: A\nauthority: {key: %s}\ndefaults: {key: %s}\nhosts: [{name: a}]\nclients: [{name: c}]", key, key)))
			result, _ := s.apply(Options{})
			spec, err := pki.ParseKeySpec(key)
			must(t, err)
			check(t, "authority", result.Authorities[0].Key, spec.String())
			checkTree(t, s)
		})
	}
}
