package peertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A testPKI has an authority's credentials, made by the real certtool, in every
// layout that the peers read.
type testPKI struct {
	qemu    string // directory of a QEMU x509 credential object, both roles
	libvirt string // a flat libvirt directory (pkipath), client's and server's files
	etc     string // a tree for /etc/pki
	home    string // a home directory with the client's .pki/libvirt
}

// newPKI makes an authority, a server certificate for localhost and a client
// certificate. The keys are RSA keys because libvirt 9.0 wants certificates that
// permit key encipherment.
func newPKI(t *testing.T) testPKI {
	t.Helper()
	d := t.TempDir()
	certtool := func(args ...string) {
		t.Helper()
		if r := Host.Run(t, Options{Dir: d}, "certtool", args...); r.Code != 0 {
			t.Fatal(r)
		}
	}
	templates := map[string]string{
		"ca":     "cn = Test CA\nca\ncert_signing_key\n",
		"server": "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\nsigning_key\nencryption_key\n",
		"client": "organization = Example\ncn = client1\ntls_www_client\nsigning_key\nencryption_key\n",
	}
	for name, text := range templates {
		writeFile(t, filepath.Join(d, name+".info"), text)
		certtool("--generate-privkey", "--key-type=rsa", "--bits=2048", "--outfile="+name+"-key.pem")
	}
	certtool("--generate-self-signed", "--load-privkey=ca-key.pem", "--template=ca.info", "--outfile=ca-cert.pem")
	for _, name := range []string{"server", "client"} {
		certtool("--generate-certificate", "--load-ca-certificate=ca-cert.pem", "--load-ca-privkey=ca-key.pem",
			"--load-privkey="+name+"-key.pem", "--template="+name+".info", "--outfile="+name+"-cert.pem")
	}

	p := testPKI{qemu: d, libvirt: filepath.Join(d, "libvirt"), etc: filepath.Join(d, "etc"), home: filepath.Join(d, "home")}
	place := func(source string, places ...string) {
		for _, to := range places {
			writeFile(t, to, readFile(t, filepath.Join(d, source)))
		}
	}
	user := p.home + "/.pki/libvirt"
	place("ca-cert.pem", p.libvirt+"/cacert.pem", p.etc+"/CA/cacert.pem", user+"/cacert.pem")
	place("server-cert.pem", p.libvirt+"/servercert.pem", p.etc+"/libvirt/servercert.pem")
	place("server-key.pem", p.libvirt+"/serverkey.pem", p.etc+"/libvirt/private/serverkey.pem")
	place("client-cert.pem", p.libvirt+"/clientcert.pem", p.etc+"/libvirt/clientcert.pem", user+"/clientcert.pem")
	place("client-key.pem", p.libvirt+"/clientkey.pem", p.etc+"/libvirt/private/clientkey.pem", user+"/clientkey.pem")
	return p
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// writeFile writes a private file and the directories above it.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantCode fails the test unless the program ended with the code and its output has the text.
func wantCode(t *testing.T, r Result, code int, text string) {
	t.Helper()
	if r.Code != code || !strings.Contains(r.Stdout+r.Stderr, text) {
		t.Errorf("want exit code %d and %q in the output of %v", code, text, r)
	}
}
