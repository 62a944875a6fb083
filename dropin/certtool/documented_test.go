package certtool

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
)

// The templates of the documentation. "server-hostNNN.info" and its like are
// QEMU's, the others libvirt's and those of libvirt's wiki.
var documentedTemplates = map[string]string{
	"qemu/ca.info": "cn = Name of your organization\nca\ncert_signing_key\n",
	"qemu/server-hostNNN.info": "organization = Name  of your organization\n" + hostNames +
		"tls_www_server\nencryption_key\nsigning_key\n",
	"qemu/client-hostNNN.info": clientSubject + "cn = hostNNN.foo.example.com\ntls_www_client\nencryption_key\nsigning_key\n",
	"qemu/both-hostNNN.info":   clientSubject + hostNames + "tls_www_server\ntls_www_client\nencryption_key\nsigning_key\n",
	"libvirt/ca.info":          "cn = Name of your organization\nca\ncert_signing_key\n",
	"libvirt/server.info": "organization = Name of your organization\ncn = compute1.libvirt.org\ndns_name = compute1\n" +
		"dns_name = compute1.libvirt.org\nip_address = 10.0.0.74\nip_address = 192.168.1.24\nip_address = 2001:cafe::74\n" +
		"ip_address = fe20::24\ntls_www_server\nsigning_key\n",
	"libvirt/client.info":                      "country = GB\nstate = London\nlocality = London\norganization = Libvirt Project\ncn = client1\ntls_www_client\nsigning_key\n",
	"wiki/certificate_authority_template.info": "cn = libvirt.org\nca\ncert_signing_key\n",
	"wiki/host1_server_template.info":          "organization = libvirt.org\ncn = host1\ntls_www_server\nencryption_key\nsigning_key\n",
	"wiki/host2_server_template.info":          "organization = libvirt.org\ncn = host2\ntls_www_server\nencryption_key\nsigning_key\n",
}

const (
	hostNames = "cn = hostNNN.foo.example.com\ndns_name = hostNNN\ndns_name = hostNNN.foo.example.com\n" +
		"ip_address = 10.0.1.87\nip_address = 192.8.0.92\nip_address = 2620:0:cafe::87\nip_address = 2001:24::92\n"
	clientSubject = "country = GB\nstate = London\nlocality = City Of London\norganization = Name of your organization\n"
)

// documented are the commands of the documentation of QEMU and libvirt, word
// for word, each run in a directory. Those after a key of the post-quantum
// section fail with every Debian certtool.
var documented = []struct{ dir, command string }{
	// QEMU, "TLS setup for network services".
	{"qemu", "certtool --generate-privkey > ca-key.pem"},
	{"qemu", `certtool --generate-self-signed \
           --load-privkey ca-key.pem \
           --template ca.info \
           --outfile ca-cert.pem`},
	{"qemu", "certtool --generate-privkey > server-hostNNN-key.pem"},
	{"qemu", signedByQEMU("server")},
	{"qemu", "certtool --generate-privkey > client-hostNNN-key.pem"},
	{"qemu", signedByQEMU("client")},
	{"qemu", "certtool --generate-privkey > both-hostNNN-key.pem"},
	{"qemu", signedByQEMU("both")},
	{"qemu", "certtool --generate-dh-params > dh-params.pem"},
	{"psk", "psktool -u rich -p keys.psk"},
	// libvirt, "TLS x509 certificate setup".
	{"libvirt", "certtool --generate-privkey > cakey.pem"},
	{"libvirt", `certtool --generate-self-signed --load-privkey cakey.pem \
     --template ca.info --outfile cacert.pem`},
	{"libvirt", "certtool -i --infile cacert.pem"},
	{"libvirt", "certtool --generate-privkey > serverkey.pem"},
	{"libvirt", `certtool --generate-certificate --load-privkey serverkey.pem \
     --load-ca-certificate cacert.pem --load-ca-privkey cakey.pem \
     --template server.info --outfile servercert.pem`},
	{"libvirt", "certtool -i --infile servercert.pem"},
	{"libvirt", "certtool --generate-privkey > clientkey.pem"},
	{"libvirt", `certtool --generate-certificate --load-privkey clientkey.pem \
        --load-ca-certificate cacert.pem --load-ca-privkey cakey.pem \
        --template client.info --outfile clientcert.pem`},
	{"libvirt/pqc", "certtool --generate-privkey --key-type=mldsa65 > clientkey.pem"},
	{"libvirt/pqc", `certtool --generate-certificate --load-privkey clientkey.pem \
        --load-ca-certificate ../cacert.pem --load-ca-privkey ../cakey.pem \
        --template ../client.info --outfile clientcert.pem`},
	// libvirt's wiki, "Creating server certificates".
	{"wiki", "(umask 277 && certtool --generate-privkey > certificate_authority_key.pem)"},
	{"wiki", `certtool --generate-self-signed --template certificate_authority_template.info \
           --load-privkey certificate_authority_key.pem --outfile certificate_authority_certificate.pem`},
	{"wiki", "(umask 277 && certtool --generate-privkey > host1_server_key.pem)"},
	{"wiki", signedByWiki("host1")},
	{"wiki", "(umask 277 && certtool --generate-privkey > host2_server_key.pem)"},
	{"wiki", signedByWiki("host2")},
}

func signedByQEMU(kind string) string {
	return fmt.Sprintf(`certtool --generate-certificate \
           --load-ca-certificate ca-cert.pem \
           --load-ca-privkey ca-key.pem \
           --load-privkey %[1]s-hostNNN-key.pem \
           --template %[1]s-hostNNN.info \
           --outfile %[1]s-hostNNN-cert.pem`, kind)
}

func signedByWiki(host string) string {
	return fmt.Sprintf(`certtool --generate-certificate \
           --template %[1]s_server_template.info \
           --load-privkey %[1]s_server_key.pem \
           --load-ca-certificate certificate_authority_certificate.pem \
           --load-ca-privkey certificate_authority_key.pem \
           --outfile %[1]s_server_certificate.pem`, host)
}

// postQuantum tells whether a command is one that Debian's certtool cannot do.
func postQuantum(dir string) bool { return dir == "libvirt/pqc" }

// runDocumented runs the commands one after the other and returns the
// directory with their results: N.code, N.stdout, N.stderr.
func runDocumented(t *testing.T, shell func(script string)) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"qemu", "libvirt/pqc", "wiki", "psk"} {
		must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for name, text := range documentedTemplates {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for i, d := range documented {
		script := filepath.Join(dir, fmt.Sprintf("%d.sh", i))
		must(t, os.WriteFile(script, []byte(d.command+"\n"), 0o600))
		at := fmt.Sprintf("%s/%d", dir, i)
		shell(fmt.Sprintf("umask 022; cd %s/%s && sh %s.sh </dev/null >%s.stdout 2>%s.stderr; echo $? >%s.code", dir, d.dir, at, at, at, at))
	}
	return dir
}

// TestDocumentedCommands runs the commands with us and with the real programs.
func TestDocumentedCommands(t *testing.T) {
	mine := runDocumented(t, ourShell(t))
	for i, d := range documented {
		if got := readFile(t, fmt.Sprintf("%s/%d.code", mine, i)); got != "0\n" {
			t.Errorf("%s\nexit code %s%s", d.command, got, readFile(t, fmt.Sprintf("%s/%d.stderr", mine, i)))
		}
	}
	t.Run("openssl", func(t *testing.T) { verifyWithOpenSSL(t, mine) })
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		if g == peertest.Trixie && !full() {
			t.Skip("these commands make large keys and parameters, for many seconds, and 3.8.9 does as those before and after it: VIRTLS_INTEROP=full asks it, too")
		}
		real := runDocumented(t, func(script string) {
			if r := g.Run(t, peertest.Options{}, "sh", "-c", script); r.Code != 0 {
				t.Fatal(r)
			}
		})
		compareDocumented(t, real, mine)
	})
}

// outlives is a warning that depends on whether a second went by between two commands.
var outlives = regexp.MustCompile(`\nExpiration time: <time>\nCA expiration time: <time>\nWarning: The time set exceeds the CA's expiration time\n`)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// compareDocumented compares exit codes, output, and every file: mode, size
// and content without what is new each time.
func compareDocumented(t *testing.T, real, mine string) {
	t.Helper()
	for i, d := range documented {
		if postQuantum(d.dir) {
			if got := readFile(t, fmt.Sprintf("%s/%d.code", real, i)); got != "1\n" {
				t.Errorf("the real certtool can do it now: %s", d.command)
			}
			continue
		}
		for _, kind := range []string{"code", "stdout", "stderr"} {
			name := fmt.Sprintf("%d.%s", i, kind)
			said := func(dir string) string { return outlives.ReplaceAllString(setAside(readFile(t, dir+"/"+name)), "") }
			if diff := cmp.Diff(said(real), said(mine)); diff != "" {
				t.Errorf("%s: %s (-certtool +ours):\n%s", d.command, kind, diff)
			}
		}
	}
	for _, path := range madeFiles(t, mine) {
		ours, theirs := filepath.Join(mine, path), filepath.Join(real, path)
		if postQuantum(filepath.Dir(path)) {
			continue
		}
		a, err := os.Stat(theirs)
		must(t, err)
		b, err := os.Stat(ours)
		must(t, err)
		// Numbers are an octet shorter now and then, in each of several places.
		if a.Mode() != b.Mode() || max(a.Size(), b.Size())-min(a.Size(), b.Size()) > 60 {
			t.Errorf("%s: certtool has %v and %d octets, we %v and %d", path, a.Mode(), a.Size(), b.Mode(), b.Size())
		}
		if diff := cmp.Diff(setPSKAside(readFile(t, theirs)), setPSKAside(readFile(t, ours))); diff != "" {
			t.Errorf("%s (-certtool +ours):\n%s", path, diff)
		}
	}
}

func setPSKAside(text string) string {
	if name, key, ok := strings.Cut(text, ":"); ok && len(key) == 65 {
		return name + ":<key>"
	}
	return setAside(text)
}

func madeFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	found, err := filepath.Glob(dir + "/*/*")
	must(t, err)
	for _, path := range found {
		rel, err := filepath.Rel(dir, path)
		must(t, err)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			paths = append(paths, rel)
		}
	}
	return paths
}

// verifyWithOpenSSL has the real openssl verify what we made, and read the
// keys; what is ML-DSA only by an OpenSSL that knows it.
func verifyWithOpenSSL(t *testing.T, dir string) {
	chains := map[string][]string{
		"qemu/ca-cert.pem":                           {"qemu/server-hostNNN-cert.pem", "qemu/client-hostNNN-cert.pem", "qemu/both-hostNNN-cert.pem"},
		"libvirt/cacert.pem":                         {"libvirt/servercert.pem", "libvirt/clientcert.pem", "libvirt/pqc/clientcert.pem"},
		"wiki/certificate_authority_certificate.pem": {"wiki/host1_server_certificate.pem", "wiki/host2_server_certificate.pem"},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		check := func(file string, args ...string) {
			if g == peertest.Host && postQuantum(filepath.Dir(file)) {
				return
			}
			if r := g.Run(t, peertest.Options{Dir: dir}, "openssl", append(args, file)...); r.Code != 0 {
				t.Error(r)
			}
		}
		for ca, certs := range chains {
			for _, cert := range certs {
				check(cert, "verify", "-x509_strict", "-CAfile", ca)
			}
		}
		check("qemu/server-hostNNN-key.pem", "pkey", "-check", "-noout", "-in")
		check("libvirt/pqc/clientkey.pem", "pkey", "-noout", "-in")
		check("qemu/dh-params.pem", "dhparam", "-noout", "-in")
	})
}
