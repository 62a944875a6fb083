package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/ca"
	"virtls/finding"
	"virtls/pki"
)

// What a hybrid or exclusive fleet cannot give to whom.
func TestPQCFindings(t *testing.T) {
	want := map[string][]string{
		"hybrid": {
			"warning pqc-downgrade testdata/hybrid.yaml:3",
			"warning pqc-no-parallel-identities host:half.example.com libvirt",
			"warning pqc-no-parallel-identities host:half.example.com qemu",
		},
		"exclusive": {"error pqc-not-loadable host:old.example.com"},
		"example":   nil,
	}
	for name, list := range want {
		t.Run(name, func(t *testing.T) {
			file, err := Load(filepath.Join("testdata", name+".yaml"))
			if name == "example" {
				file, err = Load(exampleFile)
			}
			must(t, err)
			_, findings := newSite(t, file).plan(Options{})
			got := map[string]bool{}
			for _, f := range findings {
				got[fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Subject)] = true
			}
			check(t, "findings", sortedKeys(got), append([]string{}, list...))
		})
	}
}

// Hosts that cannot load ML-DSA are given nothing of it.
func TestNothingPQCForOldHosts(t *testing.T) {
	file, err := Load("testdata/hybrid.yaml")
	must(t, err)
	s := newSite(t, file)
	s.apply(Options{})
	for h, err := range file.Holders {
		must(t, err)
		pqc := false
		must(t, filepath.WalkDir(filepath.Join(s.dir, h.Dir()), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(path) != ".pem" {
				return err
			}
			if certs, err := pki.ParseCertificatesPEM(read(t, path)); err == nil {
				for _, c := range certs {
					pqc = pqc || c.PublicKey.Algorithm.IsMLDSA()
				}
			}
			if crls, err := pki.ParseCRLsPEM(read(t, path)); err == nil {
				for _, c := range crls {
					pqc = pqc || strings.Contains(c.Issuer.String(), "ML-DSA")
				}
			}
			return nil
		}))
		check(t, h.ID()+" has ML-DSA", pqc, h.PQC)
		check(t, h.ID()+" can have it", h.PQC, strings.HasPrefix(h.Name, "pq") || strings.HasPrefix(h.Name, "half"))
	}
}

// Further authorities are added to every bundle; files that hold none are refused.
func TestTrust(t *testing.T) {
	old := staged(t, parse(t, "organization: Old"))
	dir := t.TempDir()
	ca := read(t, old.path("ca/ca-cert.pem"))
	must(t, os.WriteFile(filepath.Join(dir, "old.pem"), append([]byte("Old CA:\n"), ca...), 0o600))
	load := func(trust string) (*File, error) {
		name := filepath.Join(dir, "fleet.yaml")
		must(t, os.WriteFile(name, []byte("organization: A\nauthority:\n  trust: ["+trust+"]\nhosts: [{name: h, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]\n"), 0o600))
		return Load(name)
	}
	for _, name := range []string{"old.pem", "./old.pem", filepath.Join(dir, "old.pem")} {
		file, err := load(name)
		must(t, err)
		s := newSite(t, file)
		s.apply(Options{})
		want := string(read(t, s.path("ca/ca-cert.pem"))) + string(ca)
		check(t, "bundle of the host", string(read(t, s.host("h", "etc/pki/qemu/ca-cert.pem"))), want)
		check(t, "bundle of the client", string(read(t, s.client("c", ".pki/qemu/ca-cert.pem"))), want)
	}
	must(t, os.WriteFile(filepath.Join(dir, "leaf.pem"), read(t, staged(t, example(t)).host("kvm1.example.com", "etc/pki/qemu/server-cert.pem")), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "junk.pem"), []byte("junk"), 0o600))
	for name, kind := range map[string]*finding.Kind{"none.pem": kindTrustUnreadable, "junk.pem": kindTrustUnreadable, "leaf.pem": kindTrustUnreadable} {
		file, err := load(name)
		must(t, err)
		_, _, err = newSite(t, file).tryApply(t.Context(), Options{})
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		f := failure(t, err)
		check(t, name, f.Code, kind.Code)
		check(t, "subject", f.Subject, filepath.Join(dir, "fleet.yaml")+":3")
	}
}

// An authority is made once; that the fleet file describes another one later is said.
func TestAuthorityDiffers(t *testing.T) {
	s := staged(t, parse(t, "organization: A\nauthority: {name: Root, key: p384}"))
	for _, tt := range []struct {
		name, authority string
		want            []string
	}{
		{"the same", "{name: Root, key: p384}", []string{}},
		{"nothing", "{days: 10}", []string{}},
		{"another name", "{name: Root 2}", []string{"fleet.yaml:2: Root 2, Root"}},
		{"another key", "{key: rsa}", []string{"fleet.yaml:2: rsa3072, p384"}},
		{"both", "\n  name: Root 2\n  key: ec", []string{"fleet.yaml:3: Root 2, Root", "fleet.yaml:4: p256, p384"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{t: t, dir: s.dir, file: parse(t, "organization: A\nauthority: "+tt.authority)}
			_, findings := s.plan(Options{})
			got := []string{}
			for _, f := range findings {
				check(t, "code", f.Severity.String()+" "+f.Code, "warning authority-differs")
				got = append(got, fmt.Sprintf("%s: %s, %s", f.Subject, f.Got, f.Want))
			}
			check(t, "findings", got, tt.want)
			result, _ := s.apply(Options{})
			check(t, "findings of apply", len(result.Findings), len(tt.want))
		})
	}
}

// What status says of each state that an identity can be in.
func TestStatus(t *testing.T) {
	s := newSite(t, parse(t, "organization: A\nauthority: {days: 800}\nhosts: [{name: h, days: 30, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]"))
	s.now = time.Now().Truncate(time.Second)
	s.apply(Options{})
	status := func() (rows []string, found []string) {
		s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
			before := tree(t, s.dir)
			_, findings, err := Status(t.Context(), s.file, state, nil, func(r StatusRow) {
				rows = append(rows, fmt.Sprintf("%s %s %d: %s", r.Holder, r.Slot, r.DaysLeft, r.State))
			})
			must(t, err)
			for _, f := range findings {
				found = append(found, f.Severity.String()+" "+f.Code)
			}
			check(t, "changed", changes(before, tree(t, s.dir)), []string(nil))
		})
		return rows, found
	}
	day := 24 * time.Hour
	rows, found := status()
	check(t, "at first", rows, []string{"host:h qemu/server 30: ok", "client:c client 365: ok"})
	check(t, "at first", found, []string(nil))
	due := s.now.Add(20 * day).Format(time.DateOnly)
	s.now = s.now.Add(21 * day)
	rows, found = status()
	check(t, "due", rows, []string{"host:h qemu/server 9: due for renewal since " + due, "client:c client 344: ok"})
	check(t, "due", found, []string{"warning crl-due", "warning certificate-due"})
	end := s.cert("hosts/h/etc/pki/qemu/server-cert.pem").NotAfter.Format(time.DateOnly)
	s.now = s.now.Add(10 * day)
	rows, found = status()
	check(t, "expired", rows[0], "host:h qemu/server -1: expired "+end)
	check(t, "expired", found, []string{"warning crl-due", "error certificate-expired"})
	must(t, os.Remove(s.host("h", "etc/pki/qemu/server-cert.pem")))
	s.file = parse(t, "organization: A\nauthority: {days: 800}\nhosts: [{name: h, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu], locality: L}]")
	rows, found = status()
	check(t, "gone and changed", rows, []string{
		"host:h qemu/server 0: there is a key, and no certificate that can be read",
		"client:c client 334: subject changed from O=A,CN=c to L=L,O=A,CN=c",
	})
	check(t, "gone and changed", found, []string{"warning crl-due", "error certificate-missing", "error certificate-outdated"})
	s.now = s.now.Add(500 * day)
	_, found = status()
	check(t, "the authority", found[0], "warning authority-ends-soon")
	s.now = s.now.Add(500 * day)
	_, found = status()
	check(t, "the authority", found[0], "error ca-expired")
}

// Status says of every file that Apply would write or set the mode of, which it is.
func TestStatusOfFiles(t *testing.T) {
	const fleet = "organization: A\nhosts: [{name: h, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]\n" +
		"psk: [{user: u, servers: [h], holders: [c]}]\n"
	const tree = "hosts/h/etc/pki/qemu/"
	remove := os.Remove
	alter := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, append(data, '#'), 0o644))
	}
	open := func(path string) error { return os.Chmod(path, 0o666) }
	stray := func(path string) error { return os.WriteFile(path, nil, 0o644) }
	for _, tt := range []struct {
		name string
		harm func(path string) error
		file string
		want []string // about the file
	}{
		{"bundle removed", remove, tree + "ca-cert.pem", []string{"error staged-file-missing"}},
		{"bundle altered", alter, tree + "ca-cert.pem", []string{"error staged-file-outdated"}},
		{"bundle opened", open, tree + "ca-cert.pem", []string{"error staged-file-mode"}},
		{"key opened", open, tree + "server-key.pem", []string{"error staged-file-mode"}},
		{"list removed", remove, tree + "ca-crl.pem", []string{"error staged-file-missing"}},
		{"list altered", alter, tree + "ca-crl.pem", []string{"error staged-file-outdated"}},
		{"manifest removed", remove, "hosts/h/manifest.json", []string{"error staged-file-missing"}},
		{"manifest altered", alter, "hosts/h/manifest.json", []string{"error staged-file-outdated"}},
		{"activation removed", remove, "hosts/h/activate/qemu-args.txt", []string{"error staged-file-missing"}},
		{"activation altered", alter, "hosts/h/activate/qemu-args.txt", []string{"error staged-file-outdated"}},
		{"server's keys altered", alter, tree + "psk-server/keys.psk", []string{"error staged-file-outdated"}},
		{"client's key removed", remove, "clients/c/.pki/qemu/psk-client/h/keys.psk", []string{"error staged-file-missing"}},
		{"client's key altered", alter, "clients/c/.pki/qemu/psk-client/h/keys.psk", []string{"error staged-file-outdated"}},
		{"client's bundle removed", remove, "clients/c/.pki/qemu/ca-cert.pem", []string{"error staged-file-missing"}},
		{"authority's list removed", remove, "ca/ca-crl.pem", []string{"error crl-missing"}},
		{"authority's list garbled", stray, "ca/ca-crl.pem", []string{"error crl-missing"}},
		{"stranger", stray, tree + "old.pem", []string{"warning staged-file-not-wanted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := staged(t, parse(t, fleet))
			must(t, tt.harm(s.path(tt.file)))
			var found []string
			status := func() {
				found = nil
				s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
					_, findings, err := Status(t.Context(), s.file, state, nil, func(StatusRow) {})
					must(t, err)
					for _, f := range findings {
						found = append(found, f.Severity.String()+" "+f.Code)
						check(t, "subject", f.Subject, s.path(tt.file))
						if f.Severity == finding.Error {
							check(t, "cure", f.Fix, "virtls apply fleet.yaml")
						}
					}
				})
			}
			status()
			check(t, "findings", found, tt.want)
			if tt.name != "stranger" {
				s.apply(Options{})
				status()
				check(t, "findings after apply", found, []string(nil))
			}
		})
	}
}

// A list that is due, and one that is gone, are said once and not of every host.
func TestStatusOfLists(t *testing.T) {
	s := newSite(t, parse(t, "organization: A\nhosts: [{name: h, uses: {qemu: server}}, {name: i, uses: {libvirt: server}}]"))
	s.now = time.Now().Truncate(time.Second)
	s.apply(Options{})
	status := func() (list []finding.Finding) {
		s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
			var err error
			_, list, err = Status(t.Context(), s.file, state, nil, func(StatusRow) {})
			must(t, err)
		})
		return list
	}
	other := staged(t, parse(t, "organization: B"))
	must(t, os.WriteFile(s.host("h", "etc/pki/qemu/ca-cert.pem"), read(t, other.path("ca/ca-cert.pem")), 0o644))
	must(t, os.WriteFile(s.host("h", manifestName), []byte("{}"), 0o644))
	check(t, "a bundle and the manifest", subjects(status()), []string{s.host("h", "etc/pki/qemu/ca-cert.pem")})
	s.apply(Options{})
	s.now = s.now.AddDate(0, 0, 25)
	check(t, "after 25 of 30 days", codes(status()), []string{"crl-due"})
	must(t, os.Remove(s.path("ca/ca-crl.pem")))
	must(t, os.Remove(s.host("i", "etc/pki/CA/cacert.pem")))
	check(t, "gone, with a bundle", codes(status()), []string{"crl-missing", "staged-file-missing"})
	s.file = parse(t, "organization: A\nhosts: [{name: h, uses: {qemu: server}}, {name: i, uses: {libvirt: server}}, {name: j, uses: {qemu: server}}]")
	s.apply(Options{})
	must(t, os.RemoveAll(s.host("j")))
	check(t, "nothing of a host", codes(status()), []string{"certificate-missing"})
	s = staged(t, parse(t, "organization: A\nhosts: [{name: h, uses: {qemu: server}}]\nclients: [{name: c, uses: [qemu]}]\n"+
		"psk: [{user: u, servers: [h], holders: [c]}]\n"))
	must(t, os.WriteFile(s.host("h", "etc/pki/qemu/psk-server/keys.psk"), []byte("garbage"), 0o640))
	check(t, "keys of a server garbled", subjects(status()), []string{
		s.host("h", "etc/pki/qemu/psk-server/keys.psk"), s.client("c", ".pki/qemu/psk-client/h/keys.psk"),
	})
}

func subjects(findings []finding.Finding) (list []string) {
	for _, f := range findings {
		list = append(list, f.Subject)
	}
	return list
}

// Whatever cannot be read or written is said with the file's name.
func TestUnreadable(t *testing.T) {
	s := staged(t, example(t))
	cert := s.host("kvm1.example.com", "etc/pki/qemu/server-cert.pem")
	must(t, os.Remove(cert))
	must(t, os.Mkdir(cert, 0o700))
	_, _, err := s.tryApply(t.Context(), Options{})
	checkFailure(t, err, kindStagedUnreadable, finding.ExitUnable)
	check(t, "subject", failure(t, err).Subject, cert)
	must(t, os.Remove(cert))
	must(t, os.WriteFile(cert, nil, 0o644))
	must(t, os.Truncate(cert, pki.MaxFileSize+1))
	_, _, err = s.tryApply(t.Context(), Options{})
	checkFailure(t, err, kindStagedUnreadable, finding.ExitUnable)
	must(t, os.Remove(cert))
	keys := s.host("kvm1.example.com", "etc/pki/qemu/psk-server/keys.psk")
	must(t, os.Truncate(keys, pki.MaxFileSize+1))
	_, _, err = s.tryApply(t.Context(), Options{})
	checkFailure(t, err, kindStagedUnreadable, finding.ExitUnable)
}
