package ca

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// checkFailure wants a finding that says what to do.
func checkFailure(t testing.TB, err error, kind *finding.Kind, exit int) {
	t.Helper()
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok || f.Code != kind.Code || f.Exit != exit {
		t.Errorf("error %v (%+v), want finding %s with exit code %d", err, f, kind.Code, exit)
	} else if f.Text == "" {
		t.Errorf("%s has no text: %+v", kind.Code, f)
	}
}

func codes(findings []finding.Finding) (list []string) {
	for _, f := range findings {
		list = append(list, f.Code)
	}
	return list
}

// open opens or makes a state directory, and closes it when the test ends.
func open(t testing.TB, dir string, opts Options) *State {
	t.Helper()
	opts.Create = !opts.ReadOnly
	if opts.Command == "" {
		opts.Command = "virtls test"
	}
	s, err := OpenState(t.Context(), dir, opts)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func stateDir(t testing.TB) string { return filepath.Join(t.TempDir(), "pki") }

// secret is a passphrase; wrong is not it.
func secret() ([]byte, error) { return []byte("open sesame"), nil }
func wrong() ([]byte, error)  { return []byte("open barley"), nil }

// encryptQuickly is [pki.EncodeEncryptedKeyPEM] with few iterations: its own
// take seconds with the race detector. TestPassphrase has them.
func encryptQuickly(key pki.PrivateKey, password []byte) ([]byte, error) {
	der, err := pki.MarshalPKCS8(key, pki.MLDSABoth)
	if err != nil {
		return nil, err
	}
	if der, err = pki.EncryptPKCS8(der, password, pki.AES256, 1000); err != nil {
		return nil, err
	}
	return pki.EncodePEM(pki.PEMEncryptedKey, der), nil
}

func cn(name string) dn.Name {
	return dn.New(dn.Attr(dn.OrganizationOID, "Example"), dn.Attr(dn.CommonNameOID, name))
}

// newCA makes a state with an authority whose key is not encrypted.
func newCA(t testing.TB, dir string, opts Options, spec AuthoritySpec) (*State, *Authority) {
	t.Helper()
	s := open(t, dir, opts)
	if spec.Subject == nil {
		spec.Subject = cn("Example CA")
	}
	a, err := s.CreateAuthority(t.Context(), spec)
	must(t, err)
	return s, a
}

func newKey(t testing.TB, keyType string) crypto.Signer {
	t.Helper()
	spec, err := pki.ParseKeySpec(keyType)
	must(t, err)
	key, err := pki.GenerateSigner(spec)
	must(t, err)
	return key
}

// order asks for a certificate for a host, for both uses and a new P-256 key.
func order(t testing.TB, host string) Order {
	t.Helper()
	spec, err := Leaf(cn(host), pki.GeneralNames{pki.DNSName(host)}, Server|Client, newKey(t, "ec").Public())
	must(t, err)
	return Order{Spec: spec, How: register.Apply, Holder: "host:" + host, Slot: "qemu/both"}
}

// issueOne issues one certificate.
func issueOne(t testing.TB, a *Authority, o Order) *pki.Certificate {
	t.Helper()
	issued, err := a.Issue(t.Context(), []Order{o})
	must(t, err)
	return issued[0].Certificate
}

// write writes a file into a directory of the test and returns its path.
func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// tree lists what is in a directory as "name mode hash", without the register
// and the lock, which change with every act.
func tree(t testing.TB, dir string) (list []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case name == lockFile || name == registerFile:
		case e.IsDir():
			list = append(list, fmt.Sprintf("%s/ %04o", name, info.Mode().Perm()))
		default:
			sum := sha256.Sum256(read(t, path))
			list = append(list, fmt.Sprintf("%s %04o %x", name, info.Mode().Perm(), sum[:4]))
		}
		return nil
	}))
	return list
}

// names is tree without the hashes.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	for _, line := range tree(t, dir) {
		fields := strings.Fields(line)
		list = append(list, fields[0]+" "+fields[1])
	}
	return list
}

// noTemps fails the test if anything temporary is left in a directory.
func noTemps(t testing.TB, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (atomicfile.IsTemp(e.Name()) || e.Name() == unpackDir || e.Name() == restoreDir) {
			t.Errorf("%s was left behind", path)
		}
		return err
	}))
}

// run runs a real program, which must succeed.
func run(t testing.TB, g peertest.Generation, name string, args ...string) peertest.Result {
	t.Helper()
	r := g.Run(t, peertest.Options{}, name, args...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r
}

// certificates returns all rows of the register.
func certificates(t testing.TB, db *register.DB, f register.Filter) (list []register.Certificate) {
	t.Helper()
	for c, err := range db.List(t.Context(), f) {
		must(t, err)
		list = append(list, c)
	}
	return list
}

// clock is a time that tests set.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }
