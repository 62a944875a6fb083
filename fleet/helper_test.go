package fleet

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/layout"
	"virtls/pki"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

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

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	if diff := cmp.Diff(strings.Split(string(read(t, path)), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what the code says (-want +got); if the code is right, run: go test ./fleet -update\n%s", path, diff)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

func parse(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse("fleet.yaml", []byte(text))
	must(t, err)
	return f
}

// exampleFile is the fleet file of the README.
const exampleFile = "../examples/fleet.yaml"

// example is the README's fleet with more lines, or with lines of its own for
// some of its fields: "platform: debian-12" replaces that field.
func example(t testing.TB, changes ...string) *File {
	t.Helper()
	text := string(read(t, exampleFile))
	for _, change := range changes {
		key, _, _ := strings.Cut(change, ":")
		before := text
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimLeft(line, " -"), key+":") {
				indent := line[:len(line)-len(strings.TrimLeft(line, " -"))]
				text = strings.Replace(text, line, indent+change+"\n", 1)
			}
		}
		if text == before {
			text += change + "\n"
		}
	}
	return parse(t, text)
}

// A site is a state directory with the fleet that it is for.
type site struct {
	t    testing.TB
	dir  string
	file *File
	now  time.Time // the state's clock; the machine's if zero
}

func newSite(t testing.TB, file *File) *site {
	t.Helper()
	return &site{t: t, dir: filepath.Join(t.TempDir(), "pki"), file: file}
}

func (s *site) clock() time.Time {
	if s.now.IsZero() {
		return time.Now()
	}
	return s.now
}

// open opens the state directory until the test ends or f returns.
func (s *site) open(opts ca.Options, f func(*ca.State)) {
	s.t.Helper()
	opts.Now, opts.Command = s.clock, "virtls test"
	opts.Create = !opts.ReadOnly
	state, err := ca.OpenState(s.t.Context(), s.dir, opts)
	must(s.t, err)
	f(state)
	must(s.t, state.Close())
}

// tryApply applies the fleet file.
func (s *site) tryApply(ctx context.Context, opts Options) (result *Result, rows []Row, err error) {
	s.t.Helper()
	opts.Report = func(r Row) { rows = append(rows, r) }
	s.open(ca.Options{}, func(state *ca.State) { result, err = Apply(ctx, s.file, state, opts) })
	return result, rows, err
}

// apply applies the fleet file, which must go well: without errors, and with
// everything proved that can be.
func (s *site) apply(opts Options) (*Result, []Row) {
	s.t.Helper()
	result, rows, err := s.tryApply(s.t.Context(), opts)
	must(s.t, err)
	for _, f := range result.Findings {
		if f.Severity == finding.Error {
			s.t.Errorf("finding: %v (%s)", f, f.Code)
		}
	}
	for _, r := range rows {
		for _, id := range r.Identities {
			if !id.Proved && opts.Prove != ProveNone {
				s.t.Errorf("%s %s: %s", r.Holder, id.Slot, id.Proof)
			}
		}
	}
	return result, rows
}

// staged makes a site with an applied fleet.
func staged(t testing.TB, file *File) *site {
	t.Helper()
	s := newSite(t, file)
	s.apply(Options{})
	return s
}

// plan returns what Apply would do.
func (s *site) plan(opts Options) (changes []Change, findings []finding.Finding) {
	s.t.Helper()
	note := func(c Change) { changes = append(changes, c) }
	var err error
	if _, statErr := os.Stat(s.dir); errors.Is(statErr, fs.ErrNotExist) {
		findings, err = Plan(s.t.Context(), s.file, nil, s.dir, opts, note)
	} else {
		s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
			findings, err = Plan(s.t.Context(), s.file, state, s.dir, opts, note)
		})
	}
	must(s.t, err)
	return changes, findings
}

// certs lists what the register holds of a holder, oldest first.
func (s *site) certs(holder string) (list []register.Certificate) {
	s.t.Helper()
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
		for c, err := range state.Register().List(s.t.Context(), register.Filter{Holder: holder}) {
			must(s.t, err)
			list = append(list, c)
		}
	})
	slices.SortFunc(list, func(a, b register.Certificate) int { return int(a.ID - b.ID) })
	return list
}

// revoke revokes the certificate in a file.
func (s *site) revoke(path string) {
	s.t.Helper()
	s.open(ca.Options{}, func(state *ca.State) {
		_, err := state.Revoke(s.t.Context(), []string{s.cert(path).SerialHex()}, pki.KeyCompromise)
		must(s.t, err)
	})
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) host(name string, parts ...string) string {
	return s.path(append([]string{"hosts", name}, parts...)...)
}

func (s *site) client(name string, parts ...string) string {
	return s.path(append([]string{"clients", name}, parts...)...)
}

// cert reads a certificate, given by a path or one relative to the state directory.
func (s *site) cert(path string) *pki.Certificate {
	s.t.Helper()
	if !filepath.IsAbs(path) {
		path = s.path(path)
	}
	certs, err := pki.ParseCertificatesPEM(read(s.t, path))
	must(s.t, err)
	return certs[0]
}

// tree describes every file below a directory as "mode hash", the register
// included, and the lock, which changes with every run, left out.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case name == "lock":
		case e.IsDir():
			list[name+"/"] = fmt.Sprintf("%04o", info.Mode().Perm())
		case !info.Mode().IsRegular():
			list[name] = info.Mode().String()
		default:
			list[name] = fmt.Sprintf("%04o %x", info.Mode().Perm(), sha256.Sum256(read(t, path)))
		}
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		must(t, err)
	}
	return list
}

// shape is tree without the hashes.
func shape(t testing.TB, dir string) map[string]string {
	t.Helper()
	list := tree(t, dir)
	for name, what := range list {
		list[name], _, _ = strings.Cut(what, " ")
	}
	return list
}

// changes lists the files that differ between two trees.
func changes(before, after map[string]string) (names []string) {
	for name, what := range after {
		if before[name] != what {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// noTemps fails the test if anything temporary is left in a directory.
func noTemps(t testing.TB, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (atomicfile.IsTemp(e.Name()) || strings.HasSuffix(e.Name(), "-journal")) {
			t.Errorf("%s was left behind", path)
		}
		return err
	}))
}

// codes lists the codes of findings, each once.
func codes(findings []finding.Finding) (list []string) {
	for _, f := range findings {
		if !slices.Contains(list, f.Code) {
			list = append(list, f.Code)
		}
	}
	return list
}

// failure returns the finding that an error is.
func failure(t testing.TB, err error) *finding.Failure {
	t.Helper()
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok {
		t.Fatalf("error %v is no finding", err)
	}
	return f
}

func checkFailure(t testing.TB, err error, kind *finding.Kind, exit int) {
	t.Helper()
	if f := failure(t, err); f.Code != kind.Code || f.Exit != exit || f.Fix == "" {
		t.Errorf("error %v (%+v), want finding %s with exit code %d", err, f, kind.Code, exit)
	}
}

func signer(t testing.TB, key pki.PrivateKey) crypto.Signer {
	t.Helper()
	s, ok := key.(crypto.Signer)
	if !ok {
		t.Fatalf("a key of type %T cannot sign", key)
	}
	return s
}

// readManifest reads the manifest of a host, or of a client if there is no such host.
func readManifest(stateDir, holder string) (dir string, m Manifest, err error) {
	for _, kind := range []string{"hosts", "clients"} {
		dir = filepath.Join(stateDir, kind, holder)
		data, err := os.ReadFile(filepath.Join(dir, manifestName))
		if err == nil {
			return dir, m, json.Unmarshal(data, &m)
		}
	}
	return "", m, fs.ErrNotExist
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *ManifestEntry) UnmarshalJSON(data []byte) error {
	type plain layout.Entry
	var v struct {
		plain
		Mode string `json:"mode"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	mode, err := strconv.ParseUint(v.Mode, 8, 32)
	if err != nil || mode > 0o777 {
		return fmt.Errorf("mode %q of %s: want three octal digits", v.Mode, v.Path)
	}
	e.Entry, e.ModeText = layout.Entry(v.plain), v.Mode
	e.Mode = fs.FileMode(mode)
	return nil
}
