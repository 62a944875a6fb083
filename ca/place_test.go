package ca

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/pki"
)

var filterAll = register.Filter{}

// Files of a host as orderWithFiles wants them.
var (
	keyFiles  = []string{"server-key.pem", "client-key.pem"}
	certFiles = []string{"server-cert.pem", "client-cert.pem"}
)

func hostDir(state, host string) string { return filepath.Join(state, "hosts", host, "etc/pki/qemu") }

// orderWithFiles is order with a key staged in the state, for two places.
func orderWithFiles(t testing.TB, s *State, host string) Order {
	t.Helper()
	dir := hostDir(s.Dir(), host)
	must(t, os.MkdirAll(dir, 0o700))
	key := newKey(t, "ec")
	data, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
	must(t, err)
	staged, err := atomicfile.Stage(filepath.Join(dir, keyFiles[len(keyFiles)-1]), data, 0o640)
	must(t, err)
	must(t, atomicfile.Sync([]*atomicfile.Staged{staged}))
	o := order(t, host)
	o.Spec.PublicKey = key.Public()
	o.Place = &register.Placement{Key: staged.Temp()}
	for i := range keyFiles {
		o.Place.KeyPaths = append(o.Place.KeyPaths, filepath.Join(dir, keyFiles[i]))
		o.Place.Paths = append(o.Place.Paths, filepath.Join(dir, certFiles[i]))
	}
	return o
}

// checkPlaced wants a certificate and its key in all their places.
func checkPlaced(t testing.TB, state, host string, cert *pki.Certificate) {
	t.Helper()
	for i := range keyFiles {
		certs, err := pki.ParseCertificatesPEM(read(t, filepath.Join(hostDir(state, host), certFiles[i])))
		must(t, err)
		if cert != nil && !pki.SameCertificate(certs[0], cert) {
			t.Errorf("%s of %s is %s, want %s", certFiles[i], host, certs[0], cert)
		}
		path := filepath.Join(hostDir(state, host), keyFiles[i])
		key, err := pki.ParsePrivateKeyPEM(read(t, path), nil)
		must(t, err)
		if !pki.SameKey(certs[0].PublicKey.Key, key) {
			t.Errorf("%s of %s is not the certificate's key", keyFiles[i], host)
		}
		info, err := os.Stat(path)
		must(t, err)
		check(t, "mode of "+path, info.Mode().Perm(), os.FileMode(0o640))
	}
}

func pending(t testing.TB, s *State) (n int) {
	t.Helper()
	for _, err := range s.Register().Pending(t.Context()) {
		must(t, err)
		n++
	}
	return n
}

func TestPlace(t *testing.T) {
	dir := stateDir(t)
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	orders := []Order{orderWithFiles(t, s, "kvm1"), orderWithFiles(t, s, "kvm2"), order(t, "kvm3")}
	issued, err := a.Issue(t.Context(), orders)
	must(t, err)
	check(t, "pending", pending(t, s), 2)
	check(t, "without files", issued[2].Place, (*register.Placement)(nil))
	must(t, s.Place(t.Context(), []*register.Placement{issued[0].Place, issued[1].Place}))
	check(t, "pending after placing", pending(t, s), 0)
	checkPlaced(t, dir, "kvm1", issued[0].Certificate)
	checkPlaced(t, dir, "kvm2", issued[1].Certificate)
	noTemps(t, dir)

	// A certificate renewed for the same key has no staged key.
	spec, err := RenewalSpec(issued[0].Certificate, nil)
	must(t, err)
	place := &register.Placement{Paths: orders[0].Place.Paths}
	again, err := a.Issue(t.Context(), []Order{{Spec: spec, How: register.Renew, Place: place}})
	must(t, err)
	must(t, s.Place(t.Context(), []*register.Placement{place}))
	checkPlaced(t, dir, "kvm1", again[0].Certificate)
}

// Files that cannot be placed any more must not stop the state from being used.
func TestRecoverWhatIsLost(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string, o Order)
	}{
		{"staged key gone", func(t *testing.T, dir string, o Order) { must(t, os.Remove(o.Place.Key)) }},
		{"staged key gone, another one in its place", func(t *testing.T, dir string, o Order) {
			must(t, os.Remove(o.Place.Key))
			data, err := pki.EncodePrivateKeyPEM(newKey(t, "ec"), pki.MLDSABoth)
			must(t, err)
			write(t, hostDir(dir, "kvm1"), keyFiles[1], data)
		}},
		{"staged key gone, garbage in its place", func(t *testing.T, dir string, o Order) {
			must(t, os.Remove(o.Place.Key))
			write(t, hostDir(dir, "kvm1"), keyFiles[1], []byte("garbage"))
		}},
		{"directory gone", func(t *testing.T, dir string, o Order) { must(t, os.RemoveAll(dir+"/hosts")) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			s, a := newCA(t, dir, Options{}, AuthoritySpec{})
			lost, kept := orderWithFiles(t, s, "kvm1"), order(t, "kvm2")
			must(t, os.MkdirAll(dir+"/clients", 0o700))
			kept.Place = &register.Placement{Paths: []string{dir + "/clients/cert.pem"}}
			issued, err := a.Issue(t.Context(), []Order{lost, kept})
			must(t, err)
			s.abandon()
			test.damage(t, dir, lost)

			s = open(t, dir, Options{})
			check(t, "findings", codes(s.Findings()), []string{kindAbandoned.Code, kindFinished.Code})
			check(t, "pending", pending(t, s), 0)
			certs, err := pki.ParseCertificatesPEM(read(t, dir+"/clients/cert.pem"))
			must(t, err)
			check(t, "the other file", pki.SameCertificate(certs[0], issued[1].Certificate), true)
			noTemps(t, dir)
			var last register.Event
			for e, err := range s.Register().History(t.Context()) {
				must(t, err)
				last = e
			}
			check(t, "history", last.Kind, "abandon")
			must(t, s.Close())
			check(t, "findings of the next run", codes(open(t, dir, Options{}).Findings()), []string(nil))
		})
	}
}

func TestPlaceOutsideTheState(t *testing.T) {
	dir, out := stateDir(t), t.TempDir()
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	t.Chdir(out)
	orders := []Order{order(t, "kvm1"), order(t, "kvm2")}
	for i := range orders {
		orders[i].Place = &register.Placement{Paths: []string{fmt.Sprintf("%d.pem", i)}}
	}
	issued, err := a.Issue(t.Context(), orders)
	must(t, err)
	t.Chdir("/")
	must(t, s.Place(t.Context(), []*register.Placement{issued[0].Place}))
	s.abandon()
	open(t, dir, Options{})
	for i := range orders {
		certs, err := pki.ParseCertificatesPEM(read(t, fmt.Sprintf("%s/%d.pem", out, i)))
		must(t, err)
		check(t, "certificate", pki.SameCertificate(certs[0], issued[i].Certificate), true)
	}
}

// A place outside the state that nobody can write to keeps nobody from using the state.
func TestOutsideIsBlocked(t *testing.T) {
	dir, out := stateDir(t), t.TempDir()
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	o := order(t, "kvm1")
	key := write(t, out, ".key.pem.tmp-abcdefgh", []byte("a key"))
	o.Place = &register.Placement{Key: key, KeyPaths: []string{out + "/key.pem"}, Paths: []string{out + "/cert.pem"}}
	must(t, os.Mkdir(out+"/cert.pem", 0o700))
	issueOne(t, a, o)
	s.abandon()
	s = open(t, dir, Options{})
	check(t, "findings", codes(s.Findings()), []string{kindAbandoned.Code})
	if f := s.Findings()[0]; !strings.Contains(f.Fix, key) {
		t.Errorf("the finding does not say where the key is: %+v", f)
	}
	check(t, "pending", pending(t, s), 0)
}

// The journal keeps what could not be placed.
func TestPlaceFails(t *testing.T) {
	dir := stateDir(t)
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	o := orderWithFiles(t, s, "kvm1")
	blocked := o.Place.Paths[1]
	must(t, os.Mkdir(blocked, 0o700))
	issued, err := a.Issue(t.Context(), []Order{o})
	must(t, err)
	err = s.Place(t.Context(), []*register.Placement{issued[0].Place})
	checkFailure(t, err, kindStateUnwritable, finding.ExitUnable)
	check(t, "pending", pending(t, s), 1)
	must(t, s.Close())
	_, err = OpenState(t.Context(), dir, Options{})
	checkFailure(t, err, kindStateUnwritable, finding.ExitUnable)
	must(t, os.Remove(blocked))
	open(t, dir, Options{})
	checkPlaced(t, dir, "kvm1", issued[0].Certificate)
	noTemps(t, dir)
}
