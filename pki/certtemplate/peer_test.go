package certtemplate

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

// A job is one call of the real certtool, and what came of it.
type job struct {
	name string
	dir  string // its files; out.pem is what it makes
	args []string
	tz   string
	code string // exit code
	log  string // standard error
	from time.Time
	to   time.Time // it ran between these
}

// runCerttool runs the jobs with one generation's certtool. They share a few
// sandboxes, for one each would take most of the time.
func runCerttool(t *testing.T, g peertest.Generation, jobs []*job) {
	t.Helper()
	for batch := range slices.Chunk(jobs, 100) {
		var script strings.Builder
		for _, j := range batch {
			for i, a := range j.args {
				if strings.Contains(a, "'") {
					t.Fatalf("argument %d of %s has a quote", i, j.name)
				}
			}
			fmt.Fprintf(&script, "cd '%s' && TZ='%s' certtool '%s' </dev/null >stdout 2>stderr; echo $? >code\n", j.dir, j.tz, strings.Join(j.args, "' '"))
		}
		name := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(name, []byte(script.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if r := g.Run(t, peertest.Options{}, "sh", name); r.Code != 0 {
			t.Fatal(r)
		}
		for _, j := range batch {
			j.from, j.to = from, time.Now()
			j.code = strings.TrimSpace(string(readFile(t, j.dir, "code")))
			j.log = string(readFile(t, j.dir, "stderr"))
		}
	}
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, data []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A world is what the jobs of a test share: keys, an authority and a request.
type world struct {
	dir     string
	keys    map[string]pki.PrivateKey
	ca      *pki.Certificate
	caKey   crypto.Signer
	request *pki.Request
	victim  *pki.Certificate // what is revoked
}

var keySpecs = map[string]pki.KeySpec{
	"rsa": {Algorithm: pki.RSA, Bits: 2048}, "rsapss": {Algorithm: pki.RSAPSS, Bits: 2048},
	"ec": {Algorithm: pki.ECDSA, Bits: 256}, "p384": {Algorithm: pki.ECDSA, Bits: 384},
	"ed25519": {Algorithm: pki.Ed25519}, "ed448": {Algorithm: pki.Ed448},
	"x25519": {Algorithm: pki.X25519}, "x448": {Algorithm: pki.X448},
}

// theWorld is made once. Its directory lives as long as the test binary's
// first caller, so every caller copies what it needs.
var theWorld = sync.OnceValues(makeWorld)

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := theWorld()
	if err != nil {
		t.Fatal(err)
	}
	copied := *w
	copied.dir = t.TempDir()
	for name, key := range w.keys {
		pem, err := pki.EncodePrivateKeyPEM(key, pki.MLDSASeed)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, pem, copied.dir, name+".pem")
		spki, err := pki.MarshalPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, pki.EncodePEM("PUBLIC KEY", spki), copied.dir, name+".pub")
	}
	writeFile(t, w.ca.PEM(), copied.dir, "ca.pem")
	writeFile(t, w.victim.PEM(), copied.dir, "victim.pem")
	writeFile(t, w.request.PEM(), copied.dir, "request.pem")
	return &copied
}

func makeWorld() (*world, error) {
	w := &world{keys: map[string]pki.PrivateKey{}}
	for name, spec := range keySpecs {
		key, err := pki.GenerateKey(spec)
		if err != nil {
			return nil, err
		}
		w.keys[name] = key
	}
	caKey, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.ECDSA, Bits: 256})
	if err != nil {
		return nil, err
	}
	w.caKey, w.keys["ca-key"] = caKey, caKey
	now := time.Now()
	if w.ca, err = w.sign("cn = CA\norganization = Example\nca\ncert_signing_key\nexpiration_days = 3650\nserial = 1\n", now); err != nil {
		return nil, err
	}
	if w.victim, err = w.sign("cn = victim\nserial = 0x00ff\n", now); err != nil {
		return nil, err
	}
	t, err := Parse("request", []byte(`cn = from the request
organization = Requested
dns_name = asked
ip_address = 10.9.8.7
email = asked@example.com
tls_www_server
key_purpose_oid = 1.2.3.4
add_critical_extension = 1.2.3.4.5.8 0401aa
challenge_password = secret
`))
	if err != nil {
		return nil, err
	}
	key := w.keys["ec"].(crypto.Signer)
	spec, _, err := t.Request(RequestInput{PublicKey: key.Public()})
	if err != nil {
		return nil, err
	}
	w.request, err = pki.SignRequest(spec, key, pki.SignatureAlgorithm{})
	return w, err
}

func (w *world) sign(template string, now time.Time) (*pki.Certificate, error) {
	t, err := Parse("world", []byte(template))
	if err != nil {
		return nil, err
	}
	spec, _, err := t.Certificate(CertInput{Clock: Clock{Now: now}, PublicKey: w.caKey.Public(), Issuer: w.ca})
	if err != nil {
		return nil, err
	}
	return pki.Sign(spec, w.ca, w.caKey, pki.SignatureAlgorithm{})
}

// An action is a way to use a template.
type action struct {
	name string
	key  string
	tz   string
}

func (a action) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", a.name, a.key, a.tz), "/UTC")
}

// actions reads the first line of a template, "#test: self ca key=rsa,ec
// tz=UTC": what is done with it (self-signed, signed by the CA, with a public
// key alone, from a request; a request, a CRL), with which keys and time zones.
func actions(t *testing.T, data []byte) (all []action) {
	line, _, _ := strings.Cut(string(data), "\n")
	words, ok := strings.CutPrefix(line, "#test: ")
	if !ok {
		t.Fatalf("the first line is %q, want #test: ...", line)
	}
	var names []string
	keyNames, zones := []string{"rsa"}, []string{"UTC"}
	for word := range strings.FieldsSeq(words) {
		if list, ok := strings.CutPrefix(word, "key="); ok {
			keyNames = strings.Split(list, ",")
		} else if list, ok := strings.CutPrefix(word, "tz="); ok {
			zones = strings.Split(list, ",")
		} else {
			names = append(names, word)
		}
	}
	for _, n := range names {
		for _, k := range keyNames {
			for _, z := range zones {
				all = append(all, action{n, k, z})
			}
		}
	}
	return all
}

// job returns certtool's call for an action.
func (w *world) job(t *testing.T, name string, a action, template []byte) *job {
	t.Helper()
	j := &job{name: name + "/" + a.String(), dir: t.TempDir(), tz: a.tz}
	writeFile(t, template, j.dir, "template")
	file := func(name string) string { return filepath.Join(w.dir, name) }
	j.args = []string{"--template", "template", "--outfile", "out.pem"}
	ca := []string{"--load-ca-privkey", file("ca-key.pem"), "--load-ca-certificate", file("ca.pem")}
	switch a.name {
	case "self":
		j.args = append(j.args, "-s", "--load-privkey", file(a.key+".pem"))
	case "ca":
		j.args = append(append(j.args, "-c", "--load-privkey", file(a.key+".pem")), ca...)
	case "publickey":
		j.args = append(append(j.args, "-c", "--load-pubkey", file(a.key+".pub")), ca...)
	case "request":
		j.args = append(append(j.args, "-c", "--load-request", file("request.pem")), ca...)
	case "csr":
		j.args = append(j.args, "-q", "--no-text", "--load-privkey", file(a.key+".pem"))
	case "crl":
		j.args = append(append(j.args, "--generate-crl", "--load-certificate", file("victim.pem")), ca...)
	default:
		t.Fatalf("unknown action %q", a.name)
	}
	return j
}

// An outcome is what we make of an action: DER, or an error.
type outcome struct {
	made  any // *pki.Certificate, *pki.Request or *pki.CRL
	spec  *pki.Spec
	notes []string
	err   error
}

// compile does what the job did, at the time now. Numbers that certtool drew
// at random are taken from its work.
func (w *world) compile(template []byte, a action, now time.Time, real any) (o outcome) {
	tmpl, err := Parse("template", template)
	if err != nil {
		return outcome{err: err}
	}
	loc, err := time.LoadLocation(a.tz)
	if err != nil {
		return outcome{err: err}
	}
	clock := Clock{Now: now, Location: loc}
	if a.name == "crl" {
		return w.compileCRL(tmpl, clock, real)
	}
	key := w.keys[a.key]
	if a.name == "csr" {
		var spec *pki.RequestSpec
		if spec, o.notes, o.err = tmpl.Request(RequestInput{PublicKey: key.Public()}); o.err == nil {
			o.made, o.err = pki.SignRequest(spec, key.(crypto.Signer), pki.SignatureAlgorithm{})
		}
		return o
	}
	in := CertInput{Clock: clock, PublicKey: key.Public(), Issuer: w.ca}
	signer := w.caKey
	switch a.name {
	case "self":
		in.Issuer, signer = nil, key.(crypto.Signer)
	case "request":
		in.Request, in.PublicKey = w.request, nil
	}
	if o.spec, o.notes, o.err = tmpl.Certificate(in); o.err != nil {
		return o
	}
	if c, ok := real.(*pki.Certificate); ok && o.spec.Serial == nil {
		o.spec.Serial = c.Serial
	}
	o.made, o.err = pki.Sign(o.spec, in.Issuer, signer, pki.SignatureAlgorithm{})
	return o
}

func (w *world) compileCRL(tmpl *Template, clock Clock, real any) (o outcome) {
	values, err := tmpl.CRL(clock)
	if err != nil {
		return outcome{err: err}
	}
	if c, ok := real.(*pki.CRL); ok && values.Number == nil {
		values.Number = c.Number()
	}
	o.made, o.err = pki.SignCRL(&pki.CRLSpec{
		ThisUpdate: values.ThisUpdate, NextUpdate: values.NextUpdate, Number: values.Number,
		Revoked: []pki.RevokedCertificate{{Serial: w.victim.Serial, RevokedAt: values.RevocationDate}},
	}, w.ca, w.caKey, pki.SignatureAlgorithm{})
	return o
}

// parse reads what certtool made.
func parse(t *testing.T, a action, pem []byte) any {
	t.Helper()
	var made any
	var err error
	switch a.name {
	case "csr":
		made, err = pki.ParseRequestPEM(pem)
	case "crl":
		var crls []*pki.CRL
		if crls, err = pki.ParseCRLsPEM(pem); err == nil {
			made = crls[0]
		}
	default:
		var certs []*pki.Certificate
		if certs, err = pki.ParseCertificatesPEM(pem); err == nil {
			made = certs[0]
		}
	}
	if err != nil {
		t.Fatalf("certtool's work cannot be read: %v\n%s", err, pem)
	}
	return made
}

// signed returns the part that is signed, and everything in it as text.
func signed(made any) (tbs []byte, fields []string) {
	add := func(name string, value any) { fields = append(fields, fmt.Sprintf("%s: %v", name, value)) }
	extensions := func(x pki.Extensions) {
		for _, e := range x {
			add("extension", fmt.Sprintf("%v critical=%v %x", e.OID, e.Critical, e.Value))
		}
	}
	name := func(label string, n dn.Name) { add(label, n.String()+" "+hex.EncodeToString(n.DER())) }
	switch m := made.(type) {
	case *pki.Certificate:
		tbs = m.RawTBS
		add("version", m.Version)
		add("serial", hex.EncodeToString(m.RawSerial))
		add("algorithm", m.SignatureAlgorithm())
		name("issuer", m.Issuer)
		add("not before", m.NotBefore)
		add("not after", m.NotAfter)
		name("subject", m.Subject)
		add("key", hex.EncodeToString(m.PublicKey.Raw))
		add("issuer unique id", m.IssuerUniqueID)
		add("subject unique id", m.SubjectUniqueID)
		extensions(m.Extensions)
	case *pki.Request:
		tbs = m.RawTBS
		add("version", m.Version)
		name("subject", m.Subject)
		add("key", hex.EncodeToString(m.PublicKey.Raw))
		for _, a := range m.Attributes {
			add("attribute", fmt.Sprintf("%v %x", a.OID, a.Values))
		}
		extensions(m.Extensions)
	case *pki.CRL:
		tbs = m.RawTBS
		add("algorithm", m.SignatureAlgorithm())
		name("issuer", m.Issuer)
		add("this update", m.ThisUpdate)
		add("next update", m.NextUpdate)
		for _, r := range m.Revoked {
			add("revoked", fmt.Sprintf("%v at %v", r.Serial, r.RevokedAt))
			extensions(r.Extensions)
		}
		extensions(m.Extensions)
	}
	return tbs, fields
}

// TestTemplatesAgainstCerttool compares what is signed, bit for bit. The three
// generations do not differ here; where they do, the templates are among
// [brokenTemplates] and [hostNames].
func TestTemplatesAgainstCerttool(t *testing.T) {
	files, err := filepath.Glob("testdata/templates/*.tmpl")
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d templates (%v), want at least 40", len(files), err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		w := newWorld(t)
		type test struct {
			*job
			action
			template []byte
		}
		var tests []test
		var jobs []*job
		for _, f := range files {
			data := readFile(t, f)
			name := strings.TrimSuffix(filepath.Base(f), ".tmpl")
			for _, a := range actions(t, data) {
				j := w.job(t, name, a, data)
				tests = append(tests, test{j, a, data})
				jobs = append(jobs, j)
			}
		}
		runCerttool(t, g, jobs)
		for _, tt := range tests {
			t.Run(tt.job.name, func(t *testing.T) { w.compare(t, tt.job, tt.action, tt.template) })
		}
	})
}

// compare judges our work by certtool's.
func (w *world) compare(t *testing.T, j *job, a action, template []byte) {
	if j.code != "0" {
		t.Fatalf("certtool ended with %s: %s", j.code, j.log)
	}
	real := parse(t, a, readFile(t, j.dir, "out.pem"))
	realTBS, realFields := signed(real)
	var fields []string
	// What certtool took for now lies in the time that it may have run in.
	for now := j.from.Truncate(time.Second); !now.After(j.to); now = now.Add(time.Second) {
		o := w.compile(template, a, now, real)
		if o.err != nil {
			t.Fatalf("we cannot do it: %v", o.err)
		}
		var tbs []byte
		if tbs, fields = signed(o.made); string(tbs) == string(realTBS) {
			checkLog(t, j, template, o.notes)
			return
		}
	}
	t.Errorf("certtool's work (-) and ours (+) differ:\n%s", cmp.Diff(realFields, fields))
}

// checkLog looks for our warnings and notes in what certtool printed.
func checkLog(t *testing.T, j *job, template []byte, notes []string) {
	tmpl, err := Parse("template", template)
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(tmpl.Warnings), notes...)
	var got []string
	for line := range strings.Lines(j.log) {
		line = strings.TrimSuffix(line, "\n")
		for _, mark := range []string{"Warning: ", "warning: ", "Expiration time: ", "CA expiration time: "} {
			if strings.HasPrefix(line, mark) {
				got = append(got, line)
			}
		}
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "" })
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("certtool's warnings (-) and ours (+) differ:\n%s", diff)
	}
}

func readFuzzSeed(f *testing.F, name string) []byte {
	f.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return data
}
