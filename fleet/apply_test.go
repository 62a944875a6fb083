package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
)

// Apply twice changes nothing, a plan before it names every file that it makes,
// and one after it is empty.
func TestApply(t *testing.T) {
	eachFleet(t, func(t *testing.T, name string, file *File) {
		t.Parallel()
		s := newSite(t, file)
		before, planned := s.plan(Options{})
		if _, err := os.Stat(s.dir); err == nil {
			t.Error("the plan made the state directory")
		}
		result, rows, err := s.tryApply(t.Context(), Options{})
		must(t, err)
		check(t, "findings of the plan", slices.Sorted(slices.Values(codes(planned))), slices.Sorted(slices.Values(codes(result.Findings))))
		checkPlanned(t, s, before, nil)
		checkTree(t, s)
		noTemps(t, s.dir)
		if after, _ := s.plan(Options{}); len(after) != 0 {
			t.Errorf("a plan after apply has changes: %+v", after)
		}
		want := tree(t, s.dir)
		again, rowsAgain, err := s.tryApply(t.Context(), Options{})
		must(t, err)
		check(t, "changed by the second run", changes(want, tree(t, s.dir)), []string(nil))
		check(t, "issued, written", []int{again.Issued, again.Written}, []int{0, 0})
		check(t, "handshakes", again.Handshakes, result.Handshakes)
		for i := range rows {
			for j, id := range rows[i].Identities {
				if id.Until != "" {
					check(t, "first", []string{id.Did, id.Why}, []string{"issued", "missing"})
					check(t, "then", rowsAgain[i].Identities[j].Did, "unchanged")
				}
				if id.Proved != rowsAgain[i].Identities[j].Proved || id.Proof != rowsAgain[i].Identities[j].Proof {
					t.Errorf("%s %s: first %q, then %q", rows[i].Holder, id.Slot, id.Proof, rowsAgain[i].Identities[j].Proof)
				}
			}
		}
	})
}

// checkPlanned wants a plan to name exactly the files that are new or changed
// since before, those of a certificate by its first place.
func checkPlanned(t *testing.T, s *site, plan []Change, before map[string]string) {
	t.Helper()
	covered, copied := map[string]bool{}, map[string]bool{}
	for h, err := range s.file.Holders {
		must(t, err)
		for _, c := range plan {
			if c.Holder != h.ID() || c.Slot == "" {
				continue
			}
			for _, id := range h.Identities {
				for _, p := range id.Places {
					cert := filepath.Join(s.dir, h.Dir(), p.Cert.Path)
					key := filepath.Join(s.dir, h.Dir(), p.Key.Path)
					if id.Slot == c.Slot && (c.Action != "copy" || c.Path == cert) {
						covered[cert], covered[key] = true, true
						copied[cert], copied[key] = c.Action == "copy", c.Action == "copy"
					}
				}
			}
		}
	}
	for _, c := range plan {
		if c.Slot == "" {
			covered[c.Path] = true
		}
	}
	var got, want []string
	for name := range covered {
		if rel, _ := filepath.Rel(s.dir, name); !strings.HasPrefix(rel, "ca/") {
			want = append(want, rel)
		}
	}
	for _, name := range changes(before, tree(t, s.dir)) {
		if strings.HasPrefix(name, "hosts/") || strings.HasPrefix(name, "clients/") {
			if !strings.HasSuffix(name, "/") {
				got = append(got, name)
			}
		}
	}
	slices.Sort(want)
	// A renewed certificate may keep its key, and a pair that is copied may lack one file only.
	want = slices.DeleteFunc(want, func(name string) bool {
		return before[name] != "" && !slices.Contains(got, name) && (copied[filepath.Join(s.dir, name)] || strings.Contains(filepath.Base(name), "key"))
	})
	check(t, "changed, and planned to be", got, want)
}

// checkTree wants everything that the file asks for: certificates that are in
// the register and belong to their keys, bundles and lists for each holder's
// abilities, and modes as the manifest says. It returns the register's certificates.
func checkTree(t *testing.T, s *site) []register.Certificate {
	t.Helper()
	bundles := map[bool][]byte{}
	for _, pqc := range []bool{true, false} {
		for _, name := range s.file.trusted(pqc) {
			bundles[pqc] = append(bundles[pqc], read(t, s.path("ca", name+"-cert.pem"))...)
		}
	}
	registered := map[string]bool{}
	certs := s.certs("")
	for _, c := range certs {
		if registered[c.Serial] {
			t.Errorf("serial number %s is used twice", c.Serial)
		}
		registered[c.Serial], registered[c.Fingerprint] = true, true
	}
	for h, err := range s.file.Holders {
		must(t, err)
		root := filepath.Join(s.dir, h.Dir())
		_, m, err := readManifest(s.dir, h.Name)
		must(t, err)
		for _, e := range m.Entries {
			info, err := os.Stat(filepath.Join(root, e.Path))
			must(t, err)
			if info.Mode().Perm() != e.Mode || info.IsDir() != (e.Type == "directory") {
				t.Errorf("%s is %v, want %04o", e.Path, info.Mode(), e.Mode)
			}
			if e.Type == "file" {
				data := read(t, filepath.Join(root, e.Path))
				check(t, "hash of "+e.Path, e.SHA256 == "" || e.SHA256 == fmt.Sprintf("%x", sha256.Sum256(data)), true)
			}
		}
		for _, loc := range h.Locations {
			if len(h.Identities) > 0 {
				check(t, "bundle", string(read(t, filepath.Join(root, loc.CA()))), string(bundles[h.PQC]))
			}
		}
		for _, id := range h.Identities {
			for _, p := range id.Places {
				cert := s.cert(filepath.Join(root, p.Cert.Path))
				key, err := pki.ParsePrivateKeyPEM(read(t, filepath.Join(root, p.Key.Path)), nil)
				must(t, err)
				sum := cert.SHA256()
				if !pki.SameKey(cert.PublicKey.Key, key) || !registered[hex.EncodeToString(sum[:])] || pki.KeySpecOf(cert.PublicKey.Key) != id.Key {
					t.Errorf("%s: key %t, registered %t, %s", p.Cert.Path, pki.SameKey(cert.PublicKey.Key, key), registered[hex.EncodeToString(sum[:])], pki.KeySpecOf(cert.PublicKey.Key))
				}
				check(t, "subject", cert.Subject.String(), h.Subject.String())
			}
		}
	}
	return certs
}

// A plan of a fleet that is there, changed in every way, with what changes in
// settings.
func TestPlanOutput(t *testing.T) {
	s := newSite(t, example(t))
	print := func(name string) {
		t.Helper()
		var b strings.Builder
		plan, findings := s.plan(Options{})
		for _, c := range plan {
			c.Path = strings.TrimPrefix(c.Path, s.dir+"/")
			c.Diff = strings.ReplaceAll(c.Diff, s.dir+"/", "")
			must(t, PrintChange(&b, c))
		}
		for _, f := range findings {
			fmt.Fprintf(&b, "! %s\n", strings.ReplaceAll(f.String(), s.dir+"/", ""))
		}
		golden(t, name, b.String())
	}
	print("plan-new.golden")
	s.apply(Options{})
	before := tree(t, s.dir)
	text := string(read(t, exampleFile))
	text = strings.NewReplacer(
		"192.0.2.11", "192.0.2.99", // kvm1's address
		"name: backup ", "name: store ", "backup]", "store]",
		"system: true\n", "system: true\n    uses: [libvirt]\n",
		"holders: [kvm2.example.com, ", "holders: [",
	).Replace(text)
	s.file = parse(t, text)
	check(t, "changed by a plan", changes(before, tree(t, s.dir)), []string(nil))
	print("plan-changed.golden")
	plan, _ := s.plan(Options{})
	s.apply(Options{})
	checkPlanned(t, s, plan, before)
	print("plan-done.golden")
	before = tree(t, s.dir)
	must(t, os.Remove(s.client("admin", ".pki/qemu/client-cert.pem")))
	must(t, os.Chmod(s.host("kvm1.example.com", "etc/pki/qemu/server-key.pem"), 0o644))
	s.revoke("hosts/kvm2.example.com/etc/pki/qemu/server-cert.pem")
	print("plan-damaged.golden")
	damaged := tree(t, s.dir)
	plan, _ = s.plan(Options{})
	s.apply(Options{})
	checkPlanned(t, s, plan, damaged)
	check(t, "mended", tree(t, s.dir)["hosts/kvm1.example.com/etc/pki/qemu/server-key.pem"], before["hosts/kvm1.example.com/etc/pki/qemu/server-key.pem"])
}

// Why each identity is kept, copied or issued anew, and with which key.
func TestJudgments(t *testing.T) {
	const cert, key = "hosts/kvm1.example.com/etc/pki/qemu/server-cert.pem", "hosts/kvm1.example.com/etc/pki/qemu/server-key.pem"
	const client, clientKey = "hosts/kvm1.example.com/etc/pki/qemu/client-cert.pem", "hosts/kvm1.example.com/etc/pki/qemu/client-key.pem"
	year := 365 * 24 * time.Hour
	tests := []struct {
		name    string
		change  func(s *site)
		opts    Options
		did     string
		why     string // how it begins
		sameKey bool
	}{
		{name: "nothing", change: func(*site) {}, did: "unchanged", sameKey: true},
		{name: "a copy deleted", change: func(s *site) { must(s.t, os.Remove(s.path(client))) }, did: "copied", why: "a copy is missing", sameKey: true},
		{name: "a copied key deleted", change: func(s *site) { must(s.t, os.Remove(s.path(clientKey))) }, did: "copied", why: "a copy is missing", sameKey: true},
		{name: "the first place deleted", change: func(s *site) { must(s.t, os.Remove(s.path(cert))); must(s.t, os.Remove(s.path(key))) }, did: "copied", why: "a copy is missing", sameKey: true},
		{name: "a copy of another", change: func(s *site) {
			other := strings.Replace(client, "kvm1", "kvm2", 1)
			must(s.t, os.WriteFile(s.path(client), read(s.t, s.path(other)), 0o644))
		}, did: "copied", why: "a copy is missing", sameKey: true},
		{name: "all deleted", change: func(s *site) {
			for _, p := range []string{cert, key, client, clientKey} {
				must(s.t, os.Remove(s.path(p)))
			}
		}, did: "issued", why: "missing"},
		{name: "certificates deleted", change: func(s *site) {
			must(s.t, os.Remove(s.path(cert)))
			must(s.t, os.Remove(s.path(client)))
		}, did: "issued", why: "there is a key, and no certificate that can be read", sameKey: true},
		{name: "keys deleted", change: func(s *site) {
			must(s.t, os.Remove(s.path(key)))
			must(s.t, os.Remove(s.path(clientKey)))
		}, did: "issued", why: "there is a certificate, and no key that can be read"},
		{name: "garbage", change: func(s *site) {
			for _, p := range []string{cert, client} {
				must(s.t, os.WriteFile(s.path(p), []byte("-----BEGIN CERTIFICATE-----\nrubbish"), 0o644))
			}
		}, did: "issued", why: "there is a key, and no certificate that can be read", sameKey: true},
		{name: "empty files", change: func(s *site) {
			for _, p := range []string{cert, key, client, clientKey} {
				must(s.t, os.Truncate(s.path(p), 0))
			}
		}, did: "issued", why: "missing"},
		{name: "key of another", change: func(s *site) {
			other := read(s.t, s.path(strings.Replace(key, "kvm1", "kvm2", 1)))
			must(s.t, os.WriteFile(s.path(key), other, 0o640))
			must(s.t, os.WriteFile(s.path(clientKey), other, 0o640))
		}, did: "issued", why: "key and certificate do not belong together"},
		{name: "files of another host", change: func(s *site) {
			for _, p := range []string{cert, key, client, clientKey} {
				must(s.t, os.WriteFile(s.path(p), read(s.t, s.path(strings.Replace(p, "kvm1", "kvm2", 1))), 0o640))
			}
		}, did: "issued", why: "issued for host:kvm2.example.com"},
		{name: "unregistered", change: func(s *site) { s.forge(cert, client) }, did: "issued", why: "not in the register", sameKey: true},
		{name: "another authority's", change: func(s *site) {
			other := staged(s.t, s.file)
			for _, p := range []string{cert, key, client, clientKey} {
				must(s.t, os.WriteFile(s.path(p), read(s.t, other.path(p)), 0o640))
			}
		}, did: "issued", why: "another authority's"},
		{name: "revoked", change: func(s *site) { s.revoke(cert) }, did: "issued", why: "revoked: keyCompromise"},
		{name: "subject", change: func(s *site) { s.file = example(s.t, "locality: Leeds") },
			did: "issued", why: "subject changed from C=GB,L=London,O=Example Org,CN=kvm1.example.com to C=GB,L=Leeds,O=Example Org,CN=kvm1.example.com", sameKey: true},
		{name: "address", change: func(s *site) { s.file = example(s.t, "addresses: [192.0.2.77]") }, did: "issued", why: "names or addresses changed", sameKey: true},
		{name: "name", change: func(s *site) { s.file = example(s.t, "names: [other.example.com]") }, did: "issued", why: "names or addresses changed", sameKey: true},
		{name: "roles", change: func(s *site) { s.file = example(s.t, "platform: debian-12\n  uses: {qemu: server}") }, did: "issued", why: "roles changed", sameKey: true},
		{name: "key type", change: func(s *site) { s.file = example(s.t, "platform: debian-12\n  key: ed25519") }, did: "issued", why: "key type changed from p256 to ed25519"},
		{name: "before two thirds", change: func(s *site) { s.now = s.now.Add(year*2/3 - 24*time.Hour) }, did: "unchanged", sameKey: true},
		{name: "after two thirds", change: func(s *site) { s.now = s.now.Add(year*2/3 + 24*time.Hour) }, did: "issued", why: "due for renewal since ", sameKey: true},
		{name: "expired", change: func(s *site) { s.now = s.now.Add(year + 24*time.Hour) }, did: "issued", why: "expired ", sameKey: true},
		{name: "asked for", change: func(*site) {}, opts: Options{Renew: true}, did: "issued", why: "renewal asked for", sameKey: true},
		{name: "rekey", change: func(*site) {}, opts: Options{Renew: true, Rekey: true}, did: "issued", why: "renewal asked for"},
		{name: "rekey without need", change: func(*site) {}, opts: Options{Rekey: true}, did: "unchanged", sameKey: true},
		{name: "days alone", change: func(s *site) { s.file = example(s.t, "platform: debian-12\n  days: 3") }, did: "unchanged", sameKey: true},
	}
	first := newSite(t, example(t))
	first.now = time.Now().Truncate(time.Second)
	first.apply(Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, first.file)
			s.now = first.now
			must(t, exec.Command("cp", "-a", first.dir, s.dir).Run())
			old := s.cert(cert)
			oldKey := read(t, s.path(key))
			tt.change(s)
			var plan []Change
			before := tree(t, s.dir)
			if !tt.opts.Renew {
				plan, _ = s.plan(Options{})
				check(t, "changed by a plan", changes(before, tree(t, s.dir)), []string(nil))
			}
			state := s.status("host:kvm1.example.com", "qemu/both", "qemu/server")
			_, rows := s.apply(tt.opts)
			row := identityOf(t, rows, "host:kvm1.example.com", "qemu/both", "qemu/server")
			check(t, "did", row.Did, tt.did)
			if !strings.HasPrefix(row.Why, tt.why) || (tt.why == "") != (row.Why == "") {
				t.Errorf("why %q, want %q", row.Why, tt.why)
			}
			if !tt.opts.Renew {
				checkPlanned(t, s, plan, before)
				check(t, "status before", state.State == "ok", tt.did == "unchanged")
				if state.State != "ok" {
					check(t, "status before", state.State, row.Why)
				}
			}
			check(t, "status after", s.status("host:kvm1.example.com", "qemu/both", "qemu/server").State, "ok")
			check(t, "same key", string(read(t, s.path(key))) == string(oldKey), tt.sameKey)
			check(t, "same certificate", s.cert(cert).SerialHex() == old.SerialHex(), tt.did != "issued")
			checkTree(t, s)
			settled := tree(t, s.dir)
			s.apply(Options{})
			check(t, "changed by another run", changes(settled, tree(t, s.dir)), []string(nil))
		})
	}
}

// forge replaces certificates by others that the authority signed and the
// register does not know.
func (s *site) forge(paths ...string) {
	s.t.Helper()
	key, err := pki.ParsePrivateKeyPEM(read(s.t, s.path("ca/ca-key.pem")), nil)
	must(s.t, err)
	for _, p := range paths {
		old := s.cert(p)
		c, err := pki.Sign(&pki.Spec{Serial: pki.NewSerial(), Subject: old.Subject, PublicKey: old.PublicKey.Key, NotBefore: old.NotBefore, NotAfter: old.NotAfter, Extensions: old.Extensions},
			s.cert("ca/ca-cert.pem"), signer(s.t, key), pki.SignatureAlgorithm{})
		must(s.t, err)
		must(s.t, os.WriteFile(s.path(p), c.PEM(), 0o644))
	}
}

// identityOf finds a holder's identity, under the first of the slots that it has.
func identityOf(t testing.TB, rows []Row, holder string, slots ...string) IdentityRow {
	t.Helper()
	for _, r := range rows {
		for _, id := range r.Identities {
			if r.Holder == holder && slices.Contains(slots, id.Slot) {
				return id
			}
		}
	}
	t.Fatalf("%s has none of %v", holder, slots)
	return IdentityRow{}
}

func (s *site) status(holder string, slots ...string) (found StatusRow) {
	s.t.Helper()
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
		_, _, err := Status(s.t.Context(), s.file, state, nil, func(r StatusRow) {
			if r.Holder == holder && slices.Contains(slots, r.Slot) {
				found = r
			}
		})
		must(s.t, err)
	})
	return found
}

// The history says which certificates were made and which renewed.
func TestRegister(t *testing.T) {
	s := staged(t, example(t))
	s.apply(Options{Renew: true, Only: []string{"admin"}})
	type row struct {
		How          register.How
		Slot, Serial string
	}
	var got []row
	for _, c := range s.certs("client:admin") {
		got = append(got, row{c.How, c.Slot, c.Serial})
	}
	check(t, "history", len(got), 2)
	check(t, "first", got[0].How, register.Apply)
	check(t, "then", got[1], row{register.Renew, "client", s.cert("clients/admin/.pki/qemu/client-cert.pem").SerialHex()})
	check(t, "others", len(s.certs("host:kvm1.example.com")), 2)
}

// Only what is asked for is touched, and proved with what is there.
func TestOnly(t *testing.T) {
	s := newSite(t, example(t))
	only := Options{Only: []string{"kvm2.example.com"}}
	plan, _ := s.plan(only)
	result, rows := s.apply(only)
	checkPlanned(t, s, plan, nil)
	check(t, "holders", []int{result.Holders, len(rows)}, []int{1, 1})
	// The user's key must be known to its server, whatever else that lacks.
	entries, err := os.ReadDir(s.host("kvm1.example.com", "etc/pki"))
	must(t, err)
	check(t, "of kvm1", len(entries), 1)
	if read(t, s.host("kvm1.example.com", "etc/pki/qemu/psk-server/keys.psk"))[0] != 'r' {
		t.Error("kvm1 does not know rich")
	}
	_, err = os.Stat(s.path("clients"))
	check(t, "clients", errors.Is(err, os.ErrNotExist), true)

	s.apply(Options{})
	before := tree(t, s.dir)
	s.apply(Options{Only: []string{"kvm2.example.com"}, Renew: true})
	for _, name := range changes(before, tree(t, s.dir)) {
		if !strings.HasPrefix(name, "hosts/kvm2.example.com/") && name != "register.db" {
			t.Errorf("%s changed", name)
		}
	}
	_, _, err = s.tryApply(t.Context(), Options{Only: []string{"kvm3.example.com"}})
	checkFailure(t, err, kindNoHolder, finding.ExitUsage)
}

// A wrong name is told from what there is, and the right ones are at hand.
func TestCheckHolder(t *testing.T) {
	many := "organization: A\nhosts:\n"
	for i := range manyNames + 1 {
		many += fmt.Sprintf("  - name: kvm%d.example.com\n", i+1)
	}
	few := "organization: A\nhosts: [{name: kvm1.example.com}]\nclients: [{name: admin}]"
	for _, tt := range []struct{ name, file, holder, text, fix string }{
		{"misspelt", few, "kmv1.example.com", `there is no host or client "kmv1.example.com" in the fleet file; did you mean "kvm1.example.com"?`, "name one of: kvm1.example.com, admin"},
		{"unlike", few, "nobody", `there is no host or client "nobody" in the fleet file`, "name one of: kvm1.example.com, admin"},
		{"of many", many, "nobody", `there is no host or client "nobody" in the fleet file`, "virtls status --all fleet.yaml lists all 13"},
		{"of none", "organization: A", "nobody", `there is no host or client "nobody" in the fleet file`, "the file names nobody yet: add hosts and clients to it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := parse(t, tt.file).CheckHolder(tt.holder)
			checkFailure(t, err, kindNoHolder, finding.ExitUsage)
			f := failure(t, err)
			check(t, "text", f.Text, tt.text)
			check(t, "cure", f.Fix, tt.fix)
			check(t, "subject", f.Subject, "fleet.yaml")
		})
	}
	must(t, parse(t, few).CheckHolder("admin"))
}

// Another host's expired or broken files do not fail the proof of those asked for.
func TestOnlyWithUselessPeers(t *testing.T) {
	text := "organization: A\ndefaults: {uses: {libvirt: [server]}}\nhosts: [{name: a}, {name: b}]\nclients: [{name: c, days: 10, uses: [libvirt]}, {name: d, uses: [libvirt]}]"
	s := newSite(t, parse(t, text))
	s.now = time.Now().Truncate(time.Second)
	s.apply(Options{})
	s.now = s.now.AddDate(0, 0, 20) // c is the representative of clients
	_, rows := s.apply(Options{Only: []string{"a"}})
	check(t, "proof", rows[0].Identities[0].Proof, "proved as server")
	check(t, "and who proved it", s.certs("client:c")[0].NotAfter.Before(s.now), true)
}

// Two thirds of a short life, and the end of the authority.
func TestLives(t *testing.T) {
	s := newSite(t, parse(t, "organization: A\nauthority: {days: 100}\nhosts: [{name: long, days: 200}, {name: short, days: 9}]"))
	s.now = time.Now().Truncate(time.Second)
	result, _ := s.apply(Options{})
	check(t, "findings", codes(result.Findings), []string{"authority-ends-soon", "certificate-clamped"})
	end := s.cert("ca/ca-cert.pem").NotAfter
	check(t, "long life", s.cert("hosts/long/etc/pki/libvirt/servercert.pem").NotAfter, end)
	check(t, "short life", s.cert("hosts/short/etc/pki/libvirt/servercert.pem").NotAfter.Sub(s.now), 9*24*time.Hour)
	s.now = s.now.AddDate(0, 0, 70)
	_, rows := s.apply(Options{})
	// Renewing what ends with its authority would gain nothing.
	check(t, "long", identityOf(t, rows, "host:long", "libvirt/both").Did, "unchanged")
	check(t, "short", identityOf(t, rows, "host:short", "libvirt/both").Did, "issued")
	s.now = s.now.AddDate(0, 0, 40)
	_, _, err := s.tryApply(t.Context(), Options{})
	f := failure(t, err)
	check(t, "an expired authority", f.Code, "ca-expired")
}

// Revocation lists reach every holder, and are renewed before they are due.
func TestRevocationLists(t *testing.T) {
	s := newSite(t, example(t))
	s.now = time.Now().Truncate(time.Second)
	s.apply(Options{})
	crl := func() *pki.CRL {
		crls, err := pki.ParseCRLsPEM(read(t, s.host("kvm2.example.com", "etc/pki/CA/cacrl.pem")))
		must(t, err)
		return crls[0]
	}
	first := crl()
	victim := s.cert("clients/admin/.pki/libvirt/clientcert.pem")
	s.revoke("clients/admin/.pki/libvirt/clientcert.pem")
	s.apply(Options{})
	second := crl()
	if second.Find(victim.Serial) == nil || first.Find(victim.Serial) != nil {
		t.Error("the list does not have what was revoked")
	}
	for _, path := range []string{"hosts/kvm1.example.com/etc/pki/qemu/ca-crl.pem", "clients/admin/.pki/libvirt/cacrl.pem", "clients/backup/etc/pki/CA/cacrl.pem", "ca/ca-crl.pem"} {
		check(t, path, string(read(t, s.path(path))), string(second.PEM()))
	}
	s.now = s.now.AddDate(0, 0, 19)
	s.apply(Options{})
	check(t, "not due", crl().NextUpdate, second.NextUpdate)
	s.now = s.now.AddDate(0, 0, 2)
	before := tree(t, s.dir)
	plan, _ := s.plan(Options{})
	s.apply(Options{})
	checkPlanned(t, s, plan, before)
	if !crl().NextUpdate.After(second.NextUpdate) || crl().Find(victim.Serial) == nil {
		t.Errorf("the list is not renewed: %v, %v", crl().ThisUpdate, crl().NextUpdate)
	}
}

// What is found unfinished or not asked for is said, and not deleted.
func TestOrphans(t *testing.T) {
	s := staged(t, example(t))
	must(t, os.WriteFile(s.host("kvm1.example.com", "etc/pki/qemu/notes.txt"), nil, 0o600))
	must(t, os.Mkdir(s.path("clients", "stranger"), 0o700))
	text := string(read(t, exampleFile))
	text = strings.Replace(text, "holders: [kvm2.example.com, backup]", "holders: [admin]", 1)
	text = text[:strings.Index(text, "  - name: kvm2")] + text[strings.Index(text, "clients:"):]
	s.file = parse(t, text)
	result, _, err := s.tryApply(t.Context(), Options{})
	must(t, err)
	var got []string
	for _, f := range result.Findings {
		got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Code, strings.TrimPrefix(f.Subject, s.dir+"/")))
		if !strings.Contains(f.Fix, "rm ") {
			t.Errorf("%s: the cure is %q", f.Subject, f.Fix)
		}
	}
	check(t, "findings", got, []string{
		"warning holder-not-in-file hosts/kvm2.example.com",
		"warning holder-not-in-file clients/stranger",
		"warning staged-file-not-wanted hosts/kvm1.example.com/etc/pki/qemu/notes.txt",
		"warning staged-file-not-wanted clients/backup/etc/pki/qemu/psk-client/kvm1.example.com/keys.psk",
	})
	for _, path := range []string{"hosts/kvm2.example.com/etc/pki/qemu/server-key.pem", "clients/backup/etc/pki/qemu/psk-client/kvm1.example.com/keys.psk", "hosts/kvm1.example.com/etc/pki/qemu/notes.txt"} {
		read(t, s.path(path))
	}
}

// A pre-shared key stays what it is, whoever comes and goes, and is the same at
// both ends.
func TestPSK(t *testing.T) {
	s := newSite(t, parse(t, "organization: A\nhosts: [{name: a}, {name: b}]\nclients: [{name: c}]\npsk:\n- {user: u, servers: [a, b], holders: [a, b, c]}"))
	s.apply(Options{})
	const server = "etc/pki/qemu/psk-server/keys.psk"
	first := string(read(t, s.host("a", server)))
	other := string(read(t, s.host("b", server)))
	if first == other {
		t.Error("two servers share a key")
	}
	check(t, "from b to a", string(read(t, s.host("b", "etc/pki/qemu/psk-client/a/keys.psk"))), first)
	check(t, "from a to b", string(read(t, s.host("a", "etc/pki/qemu/psk-client/b/keys.psk"))), other)
	check(t, "from c to b", string(read(t, s.client("c", ".pki/qemu/psk-client/b/keys.psk"))), other)

	s.file = parse(t, "organization: A\nhosts: [{name: a}, {name: b}]\nclients: [{name: c}, {name: d}]\npsk:\n- {user: u, servers: [a], holders: [d]}\n- {user: v, servers: [a], holders: [d]}")
	s.apply(Options{})
	both := string(read(t, s.host("a", server)))
	if !strings.HasPrefix(both, first) || len(both) <= len(first) {
		t.Error("the key changed when a user came")
	}
	check(t, "from d to a", string(read(t, s.client("d", ".pki/qemu/psk-client/a/keys.psk"))), both)

	// Who has lost the key gets it again; a server that has lost it makes a new one for all.
	must(t, os.Remove(s.client("d", ".pki/qemu/psk-client/a/keys.psk")))
	s.apply(Options{})
	check(t, "again", string(read(t, s.client("d", ".pki/qemu/psk-client/a/keys.psk"))), both)
	must(t, os.Remove(s.host("a", server)))
	before := tree(t, s.dir)
	plan, _ := s.plan(Options{})
	s.apply(Options{})
	checkPlanned(t, s, plan, before)
	renewed := string(read(t, s.host("a", server)))
	check(t, "after the loss", string(read(t, s.client("d", ".pki/qemu/psk-client/a/keys.psk"))), renewed)
	if renewed == both {
		t.Error("a lost key came back")
	}
}

// An interrupted run keeps what is finished, and the next does the rest.
func TestInterrupted(t *testing.T) {
	file := parse(t, "organization: A\ndefaults: {uses: [qemu]}\nhosts: ["+hosts(300)+"]")
	s := newSite(t, file)
	ctx, cancel := context.WithCancel(t.Context())
	var rows atomic.Int32
	s.open(ca.Options{}, func(state *ca.State) {
		result, err := Apply(ctx, file, state, Options{Report: func(Row) {
			if rows.Add(1) == 10 {
				cancel()
			}
		}})
		checkFailure(t, err, kindInterrupted, finding.ExitUnable)
		if result == nil || result.Issued == 0 || result.Issued == 300 {
			t.Errorf("result %+v, want a part of the work", result)
		}
	})
	check(t, "registered", len(s.certs("")) < 300, true)
	result, _ := s.apply(Options{})
	check(t, "holders", result.Holders, 300)
	check(t, "registered", len(s.certs("")), 300)
	checkTree(t, s)
	noTemps(t, s.dir)

	_, _, err := newSite(t, file).tryApply(ctx, Options{})
	checkFailure(t, err, kindInterrupted, finding.ExitUnable)
}

// Hosts of several batches, a thousand in the full run, are made, and then
// nothing is left to do or to complain of.
func TestManyHosts(t *testing.T) {
	n := batchIdentities + 44
	if full() {
		n = 1000
	}
	s := newSite(t, parse(t, "organization: A\ndefaults: {uses: [qemu]}\nhosts: ["+hosts(n)+"]"))
	result, rows := s.apply(Options{Prove: ProveNone})
	check(t, "issued", result.Issued, n)
	check(t, "rows", len(rows), n)
	before := tree(t, s.dir)
	todo, findings := s.plan(Options{})
	check(t, "plan", todo, []Change(nil))
	check(t, "findings of the plan", findings, []finding.Finding(nil))
	again, _ := s.apply(Options{Prove: ProveNone})
	check(t, "done again", []int{again.Issued, again.Written}, []int{0, 0})
	check(t, "changed", changes(before, tree(t, s.dir)), []string(nil))
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
		count := 0
		_, findings, err := Status(t.Context(), s.file, state, nil, func(StatusRow) { count++ })
		must(t, err)
		check(t, "identities", count, n)
		check(t, "findings of status", findings, []finding.Finding(nil))
	})
}

// hosts writes n hosts for a fleet file.
func hosts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{name: h%d.example.com},", i)
	}
	return b.String()
}
