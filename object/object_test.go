package object

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

// client has all that is hard in a name.
var client = dn.New(dn.Attr(dn.CountryOID, "GB"), dn.Attr(dn.OrganizationOID, `Name, Of "Org" + *`), dn.Attr(dn.CommonNameOID, "frédéric"))

const password = "correct, horse"

// files are credentials by their names in QEMU's directory. The server's key is
// encrypted with the password; the client is [client].
var files = sync.OnceValue(func() map[string][]byte {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"localhost"},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	must(err)
	leaf.RawSubject = client.DER()
	clientCert, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), caKey)
	must(err)
	leaf.RawSubject = nil
	cert, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), caKey)
	must(err)
	plain, err := pki.MarshalPKCS8(key, 0)
	must(err)
	encrypted, err := pki.EncryptPKCS8(plain, []byte(password), pki.AES256, 1000)
	must(err)
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return map[string][]byte{
		"ca-cert.pem": block(ca), "server-cert.pem": block(cert),
		"client-cert.pem": block(clientCert), "client-key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}),
		"server-key.pem": pem.EncodeToMemory(&pem.Block{Type: pki.PEMEncryptedKey, Bytes: encrypted}),
		"keys.psk":       []byte("qemu:" + strings.Repeat("5a", 32) + "\n"),
		"list":           []byte(`{"rules": [{"match": "CN=a", "policy": "allow"}]}`),
		"password":       []byte(password),
	}
})

func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files() {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func add(t *testing.T, r *Registry, texts ...string) []finding.Finding {
	t.Helper()
	var warnings []finding.Finding
	for _, text := range texts {
		w, err := r.Add(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		warnings = append(warnings, w...)
	}
	return warnings
}

// wants fails unless an error is a finding with this code and text.
func wants(t *testing.T, err error, code, text string) {
	t.Helper()
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok {
		t.Fatalf("got %v; want %s", err, text)
	}
	if f.Code != code || f.Text != text {
		t.Errorf("got  %s: %s\nwant %s: %s", f.Code, f.Text, code, text)
	}
}

func TestLife(t *testing.T) {
	dir := directory(t)
	r := &Registry{}
	defer r.Close()
	add(t, r,
		"secret,id=pw,file="+dir+"/password",
		"tls-creds-x509,id=tls0,endpoint=server,passwordid=pw,dir="+dir,
		"tls-creds-psk,id=psk0,dir="+dir,
		"tls-creds-anon,id=anon0,endpoint=server",
		"authz-simple,id=fred,identity=CN=fred,,O=Example")

	x, release, err := r.Creds("tls0", creds.Server)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := x.Current().(*creds.X509); !ok || len(c.Identities) != 1 || c.Options.Dir != dir || !c.VerifyPeer() {
		t.Errorf("%+v", x.Current())
	}
	if err := x.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	p, releasePSK, err := r.Creds("psk0", creds.Client)
	if err != nil || p.Current().Type() != "tls-creds-psk" {
		t.Error(p, err)
	}

	_, err = r.Add("authz-simple,id=tls0,identity=x")
	wants(t, err, "object-exists", "attempt to add duplicate property 'tls0' to object (type 'container')")
	wants(t, r.Del("tls0"), "object-in-use", "object 'tls0' is in use, can not be deleted")
	wants(t, r.Del("pw"), "object-in-use", "object 'pw' is in use, can not be deleted")
	releaseFred, err := r.Use("fred")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, r.Del("fred"), "object-in-use", "object 'fred' is in use, can not be deleted")
	for _, release := range []func(){release, release, releasePSK, releaseFred} {
		release()
	}
	for _, id := range []string{"tls0", "pw", "psk0", "anon0", "fred"} {
		if err := r.Del(id); err != nil {
			t.Error(err)
		}
		wants(t, r.Del(id), "object-unknown", "object '"+id+"' not found")
	}
	add(t, r, "authz-simple,id=tls0,identity=x")
}

func TestLookups(t *testing.T) {
	dir := directory(t)
	r := &Registry{}
	defer r.Close()
	add(t, r, "tls-creds-anon,id=anon0,endpoint=server", "authz-simple,id=fred,identity=CN=fred", "secret,id=bin,format=base64,data=/w==")
	creds := func(id string, e creds.Endpoint) error { _, _, err := r.Creds(id, e); return err }
	wants(t, creds("x", 0), "object-unknown", "No TLS credentials with id 'x'")
	wants(t, creds("fred", 0), "object-other-type", "Object with id 'fred' is not TLS credentials")
	wants(t, creds("anon0", 0), "object-endpoint", "Expected TLS credentials for a client endpoint")
	add(t, r, "tls-creds-anon,id=anon1")
	wants(t, creds("anon1", 1), "object-endpoint", "Expected TLS credentials for a server endpoint")

	allowed := func(id, identity string) error {
		ok, err := r.Authz(id).Allowed(identity)
		if ok {
			t.Errorf("%s lets in %s", id, identity)
		}
		return err
	}
	wants(t, allowed("x", "CN=fred"), "object-unknown", "Cannot find QAuthZ object ID x")
	wants(t, allowed("", "CN=fred"), "object-unknown", "Cannot find QAuthZ object ID ")
	wants(t, allowed("anon0", "CN=fred"), "object-other-type", "Object 'anon0' is not a QAuthZ subclass")
	if ok, err := r.Authz("fred").Allowed("CN=fred"); !ok || err != nil {
		t.Error(ok, err)
	}
	_, err := r.Use("x")
	wants(t, err, "object-unknown", "object 'x' not found")

	_, err = r.Add("tls-creds-x509,id=t,passwordid=no,endpoint=server,dir=" + dir)
	wants(t, err, "object-unknown", "No secret with id 'no'")
	_, err = r.Add("tls-creds-x509,id=t,passwordid=fred,endpoint=server,dir=" + dir)
	wants(t, err, "object-other-type", "Object with id 'fred' is not a secret")
	if _, err = r.Add("tls-creds-x509,id=t,passwordid=bin,endpoint=server,dir=" + dir); err == nil || !strings.Contains(err.Error(), "Data from secret bin is not valid UTF-8") {
		t.Error(err)
	}
	// What failed has left neither its id nor a use of the secret.
	for _, id := range []string{"bin", "fred"} {
		if err := r.Del(id); err != nil {
			t.Error(err)
		}
	}
	wants(t, r.Del("t"), "object-unknown", "object 't' not found")
}

// TestAuthzIsLookedUpAnew shows that another list may take an id.
func TestAuthzIsLookedUpAnew(t *testing.T) {
	r := &Registry{}
	defer r.Close()
	a := r.Authz("who")
	for _, name := range []string{"fred", "bob"} {
		if ok, err := a.Allowed(name); ok || err == nil {
			t.Error("let in without a list")
		}
		add(t, r, "authz-list,id=who,rules.0.match="+name+",rules.0.policy=allow")
		if ok, err := a.Allowed(name); !ok || err != nil {
			t.Error(ok, err)
		}
		if err := r.Del("who"); err != nil {
			t.Error(err)
		}
	}
}

func TestListFile(t *testing.T) {
	dir := directory(t)
	reports := make(chan string)
	r := &Registry{Report: func(id string, err error) { reports <- fmt.Sprint(id, " ", err != nil) }}
	for _, typ := range []string{"authz-list-file", "authz-listfile"} {
		add(t, r, typ+",id="+typ+",refresh=off,filename="+dir+"/list")
		if ok, err := r.Authz(typ).Allowed("CN=a"); !ok || err != nil {
			t.Error(typ, ok, err)
		}
	}
	add(t, r, `{"qom-type": "authz-list-file", "id": "fresh", "filename": "`+dir+`/list"}`)
	if err := os.WriteFile(dir+"/new", []byte("CN=a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/new", dir+"/list"); err != nil {
		t.Fatal(err)
	}
	if got := <-reports; got != "fresh true" {
		t.Error(got)
	}
	if ok, err := r.Authz("fresh").Allowed("CN=a"); ok || err == nil {
		t.Error(ok, err)
	}
	if ok, err := r.Authz("authz-listfile").Allowed("CN=a"); !ok || err != nil {
		t.Error(ok, err)
	}
	go func() {
		for range reports {
		}
	}()
	r.Close()
	close(reports)
	_, err := new(Registry).Add("authz-list-file,id=x,filename=" + dir + "/no")
	if err == nil || !strings.Contains(err.Error(), "Unable to read '"+dir+"/no': No such file or directory") {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	r := &Registry{}
	defer r.Close()
	master := "secret,id=master,format=base64,data=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	add(t, r, master,
		// printf %s open | openssl enc -aes-256-cbc -a -K 000102...1f -iv 00...00
		"secret,id=inner,format=base64,keyid=master,iv=AAAAAAAAAAAAAAAAAAAAAA==,data=HUVaLrR4FoOLPAOdX3kpbw==")
	s, err := r.secret("inner")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.Bytes()); got != "open" {
		t.Errorf("got %q", got)
	}
	// The key is needed no more.
	if err := r.Del("master"); err != nil {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name, text string
		d          Dialect
		want       []string
	}{
		{"nothing", "authz-simple,id=a,identity=x", Tools, nil},
		{"secret in sight", "secret,id=a,data=x", Tools, []string{"secret-inline"}},
		{"list of nobody", "authz-list,id=a", Tools, []string{"authz-nobody"}},
		{"key alone", "secret,id=a,data", System, []string{"object-short-boolean", "secret-inline"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Registry{Dialect: tt.d}
			defer r.Close()
			var got []string
			for _, f := range add(t, r, tt.text) {
				got = append(got, f.Code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestShortBoolean(t *testing.T) {
	r := &Registry{Dialect: System}
	defer r.Close()
	found := add(t, r, "tls-creds-anon,id=a,noverify-peer")
	if len(found) == 0 || found[0].Text != "short-form boolean option 'noverify-peer' deprecated" || found[0].Fix != "use verify-peer=off instead" {
		t.Error(found)
	}
	h, _, err := r.Creds("a", creds.Client)
	if err != nil || h.Current().VerifyPeer() {
		t.Error("verify-peer is not off", err)
	}
}

func TestTooLong(t *testing.T) {
	for _, d := range []Dialect{Tools, System} {
		r := &Registry{Dialect: d}
		_, err := r.Add("authz-simple,id=a,identity=" + strings.Repeat("x", maxText))
		wants(t, err, "object-malformed", fmt.Sprintf("The text has %d octets, more than %d", maxText+27, maxText))
	}
}

// TestGoroutines lets many use one registry at once, for the race detector.
func TestGoroutines(t *testing.T) {
	r := &Registry{}
	defer r.Close()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 20 {
				id := fmt.Sprint("a", (i+j)%5)
				r.Add("tls-creds-anon,id=" + id)
				r.Add("authz-simple,identity=x,id=" + id)
				if _, release, err := r.Creds(id, creds.Client); err == nil {
					if r.Del(id) == nil {
						t.Error("removed while in use")
					}
					release()
				}
				if ok, err := r.Authz(id).Allowed("y"); ok {
					t.Error("let in", err)
				}
				r.Del(id)
			}
		})
	}
	wg.Wait()
}

// The files of access lists are known in both syntaxes, with their commas, and as
// long as the lists are there.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "filename=a,b")
	for _, file := range []string{odd, filepath.Join(dir, "list")} {
		if err := os.WriteFile(file, []byte(`{"rules": []}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &Registry{}
	defer r.Close()
	add(t, r, "authz-list-file,id=one,filename="+strings.ReplaceAll(odd, ",", ",,"))
	add(t, r, `{"filename": "`+dir+`/li\u0073t", "qom-type": "authz-list-file", "id": "two"}`)
	add(t, r, "authz-simple,id=three,identity=filename=/etc/passwd")
	if got, want := r.Files(), []string{odd, dir + "/list"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := r.Del("one"); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Files(), []string{dir + "/list"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
