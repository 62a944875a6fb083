package layout

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// pair is a certificate with its key, both PEM.
type pair struct{ cert, key []byte }

// credentials are a CA and certificates of its for servers and clients, which
// every generation takes.
var credentials = sync.OnceValue(func() map[string]pair {
	now := time.Now()
	made := map[string]pair{}
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name},
			SubjectKeyId: []byte{byte(i + 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, DNSNames: []string{"localhost"},
		}
		if ca == nil {
			c.IsCA, c.KeyUsage, ca, caKey = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			panic(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		made[name] = pair{
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		}
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour)}, ca, caKey)
	if err != nil {
		panic(err)
	}
	made["crl"] = pair{cert: pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})}
	return made
})

// content is what belongs into a file of libvirt's of that name.
func content(name string) []byte {
	made, base := credentials(), filepath.Base(name)
	switch {
	case strings.HasPrefix(base, "cacert"), strings.HasPrefix(base, "ca-cert"):
		return made["ca"].cert
	case strings.Contains(base, "crl"):
		return made["crl"].cert
	case strings.HasPrefix(base, "clientcert"), strings.HasPrefix(base, "client-cert"):
		return made["client"].cert
	case strings.HasPrefix(base, "clientkey"):
		return made["client"].key
	case strings.HasPrefix(base, "servercert"), strings.HasPrefix(base, "server-cert"):
		return made["server"].cert
	}
	return made["server"].key
}

func libvirtOf(t *testing.T, g peertest.Generation) Version {
	return Version(g.Version(t, peertest.Libvirt).Upstream)
}

// full tells whether the whole matrix is wanted.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// ends runs f for the oldest and the newest generation, in a full run for all.
func ends(t *testing.T, f func(t *testing.T, g peertest.Generation)) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		if g == peertest.Trixie && !full() {
			t.Skip("libvirt 11.3 does as 9.0 here: VIRTLS_INTEROP=full asks it, too")
		}
		f(t, g)
	})
}

// Real daemons start, and fail to start, as LibvirtServer says.
func TestLibvirtServerConfAsLibvirtd(t *testing.T) {
	files := map[string]string{}
	for _, loc := range []Location{System(Libvirt, ""), System(Libvirt, "/srv/tls")} {
		for _, name := range []string{loc.CA(), loc.Cert(Server, NoIndex), loc.Key(Server, NoIndex)} {
			files[name] = string(content(name))
		}
	}
	root := string(tree(t, files))
	dir := filepath.Join(root, "srv/tls")
	options := peertest.Options{Mounts: map[string]string{"/etc/pki": filepath.Join(root, "etc/pki")}}
	ends(t, func(t *testing.T, g peertest.Generation) {
		version := libvirtOf(t, g)
		for _, c := range daemonCases {
			t.Run(c.name, func(t *testing.T) {
				refused, text := c.oldRefused, c.oldText
				if rulesOf(version).indexed {
					refused, text = c.newRefused, c.newText
				}
				server := g.Libvirtd(t, options, strings.ReplaceAll(c.conf, "@", dir))
				if refused == "" {
					server.Ready().Kill()
					return
				}
				if r := server.Refused(); !strings.Contains(r.Stderr, text) {
					t.Errorf("libvirtd does not say %q\n%v", text, r)
				}
			})
		}
	})
}

// Real clients load what LibvirtClient says, in every combination of files that
// its table has, without and with the system's files.
func TestLibvirtClientAsVirsh(t *testing.T) {
	system := []string{"/etc/pki/CA/cacert.pem", "/etc/pki/CA/cacrl.pem", "/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem"}
	half := []string{own + "clientcert0.pem", own + "clientkey0.pem", own + "clientcert1.pem"}
	sets := [][]string{half, slices.Concat(half, []string{own + "clientcert.pem", own + "clientkey.pem"}), {own + "clientkey.pem"}}
	for _, c := range clientCases {
		if c.account == user {
			sets = append(sets, c.files)
		}
	}
	ends(t, func(t *testing.T, g peertest.Generation) {
		version := libvirtOf(t, g)
		for _, set := range sets {
			for _, with := range [][]string{{"/srv/tls/cacert.pem"}, system[:1], system} {
				files := map[string]string{"/home/u/": "", "/etc/pki/": "", "/srv/tls/": ""}
				for _, name := range slices.Concat(with, set) {
					files[name] = string(content(name))
				}
				root := tree(t, files)
				want := outcome(root, Lookup{View: root, Account: user, Libvirt: version}.LibvirtClient())
				at := func(name string) string { return filepath.Join(string(root), name) }
				got := outcomeOf(g.Run(t, peertest.Options{
					Unprivileged: true, Home: at("home/u"), Mounts: map[string]string{"/etc/pki": at("etc/pki")},
					Env: []string{"LIBVIRT_LOG_OUTPUTS=1:stderr", "LIBVIRT_DEBUG=1"},
				}, "virsh", "-c", "test+tls://localhost:1/default", "uri"))
				check(t, strings.Join(slices.Concat(with, set), " "), got, want)
			}
		}
	})
}

// outcome is what a client with the files of an answer loads: CA, CRL,
// certificates; or that it complains about half a pair, or about no CA.
func outcome(v View, f Found) []string {
	use := f.Uses[0]
	list := []string{use.CA}
	if exists(v, use.CRL) {
		list = append(list, use.CRL)
	}
	for _, p := range use.Pairs {
		cert, key := exists(v, p.Cert), exists(v, p.Key)
		if cert != key && len(use.Pairs) > 1 {
			return []string{"half"}
		}
		if cert && key {
			list = append(list, p.Cert)
		} else if p.Index != NoIndex {
			break
		}
	}
	if !exists(v, use.CA) {
		return []string{"no " + use.CA}
	}
	return list
}

var (
	loading  = regexp.MustCompile(`loading (?:CA cert|CRL) from (\S+)`)
	certFile = regexp.MustCompile(`isServer 0 certFile (\S+)`)
	noCA     = regexp.MustCompile(`(?m)^error: (?:Cannot read )?CA certificate '(\S+)'`)
)

// outcomeOf is the same of a client's log.
func outcomeOf(r peertest.Result) []string {
	text := strings.ReplaceAll(r.Stderr, "/home/virtls/", "/home/u/")
	if m := noCA.FindStringSubmatch(text); m != nil {
		return []string{"no " + m[1]}
	}
	if strings.Contains(text, "does not exist, but") {
		return []string{"half"}
	}
	var list []string
	for _, m := range append(loading.FindAllStringSubmatch(text, -1), certFile.FindAllStringSubmatch(text, -1)...) {
		list = append(list, m[1])
	}
	return list
}

// An unprivileged daemon goes on to the system's identity when half a pair is in
// its home, until 11.10.
func TestHalfPairAsLibvirtd(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"/etc/pki/CA/cacert.pem", "/etc/pki/libvirt/servercert.pem", "/etc/pki/libvirt/private/serverkey.pem", own + "servercert.pem"} {
		files[name] = string(content(name))
	}
	root := tree(t, files)
	at := func(name string) string { return filepath.Join(string(root), name) }
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.Libvirtd(t, peertest.Options{Unprivileged: true, Home: at("home/u"), Mounts: map[string]string{"/etc/pki": at("etc/pki")}}, "")
		use := only(t, Lookup{View: root, Account: user, Libvirt: libvirtOf(t, g)}.LibvirtServer())
		if use.Pairs[0].Cert == "/etc/pki/libvirt/servercert.pem" {
			server.Ready().Kill()
		} else if r := server.Refused(); !strings.Contains(r.Stderr, "does not exist, but certificate") {
			t.Error(r)
		}
	})
}

// nbdinfo opens the CA's file that LibNBD says.
func TestLibNBDAsNbdinfo(t *testing.T) {
	g := peertest.Host
	g.Need(t)
	files := map[string]string{}
	server := System(QEMU, "/server")
	for _, name := range []string{server.CA(), server.Cert(Server, NoIndex), server.Key(Server, NoIndex)} {
		files[name] = string(content(name))
	}
	dir := filepath.Join(string(tree(t, files)), "server")
	nbdkit := g.Nbdkit(t, peertest.Options{}, "--tls=require", "--tls-certificates="+dir, "null", "1M").Ready()
	opened := regexp.MustCompile(`openat\(AT_FDCWD, "(\S+/ca-cert.pem)"`)
	for _, c := range libnbdCases {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"/home/u/": "", "/etc/pki/": ""}
			for _, name := range c.files {
				files[name] = string(content(name))
			}
			root := string(tree(t, files))
			r := g.Run(t, peertest.Options{Unprivileged: true, Home: filepath.Join(root, "home/u"), Mounts: map[string]string{"/etc/pki": filepath.Join(root, "etc/pki")}},
				"strace", "-f", "-e", "trace=openat", "nbdinfo", fmt.Sprintf("nbds://localhost:%d/", nbdkit.Port))
			var got string
			if m := opened.FindStringSubmatch(r.Stderr); m != nil {
				got = strings.Replace(m[1], "/home/virtls/", "/home/u/", 1)
			} else if !strings.Contains(r.Stderr, "/ca-certificates.crt") {
				t.Error(r)
			}
			check(t, "CA", got, c.want)
		})
	}
}
