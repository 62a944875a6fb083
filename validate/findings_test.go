package validate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/layout"
	"virtls/pki"
)

const passwd = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nlibvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false\n"

const group = "root:x:0:\nalice:x:1000:\nlibvirt-qemu:x:64055:\n"

const debian12 = "ID=debian\nVERSION_ID=\"12\"\n"

// host are the files that make a tree a machine's.
func host() layer {
	return layer{"/etc/passwd": []byte(passwd), "/etc/group": []byte(group), "/etc/os-release": []byte(debian12)}
}

// A scene is a directory and what is to be said of it.
type scene struct {
	name  string
	files layer
	dir   string // what is judged, below the files' root
	alone bool   // the files' root is a machine
	o     Options
	want  []string
}

func scenes(t *testing.T) []scene {
	t.Helper()
	c := newCast(t)
	ca := bundle(c.root)
	in := func(s layout.Service, r layout.Role, leaf *cert, more layer) layer {
		f := layer{}.put(t, flat(s), ca, r, leaf)
		maps.Copy(f, more)
		return f
	}
	server := func(leaf *cert, more layer) layer { return in(layout.QEMU, layout.Server, leaf, more) }
	made := func(changes ...change) *cert { return leaf(t, c.root, layout.Server, changes...) }
	intermediate := authority(t, c.root, called("Intermediate"))
	below := leaf(t, intermediate, layout.Server)
	pqc := made(keyed(keyOf("mldsa65")))
	creds := func(name string, files layer, want ...string) scene {
		return scene{name: name, files: files, dir: "/creds", want: want}
	}
	machine := func(name string, files layer, want ...string) scene {
		maps.Copy(files, host())
		return scene{name: name, files: files, alone: true, want: want}
	}
	libvirtd := func(conf string) layer {
		f := layer{}.put(t, libvirtAt, ca, layout.Server, c.server)
		f[layout.LibvirtdConf] = []byte(conf)
		return f
	}
	many := []*cert{c.root}
	for range 16 {
		many = append(many, c.other)
	}
	list := []scene{
		creds("good server", server(c.server, nil)),
		creds("good client", in(layout.QEMU, layout.Client, c.client, nil)),
		creds("good libvirt", in(layout.Libvirt, layout.Server, c.server, nil)),
		creds("CA alone", in(layout.QEMU, layout.Client, nil, nil)),
		creds("nothing", layer{"/creds/readme": []byte("hello\n")}, "error no-credentials"),
		creds("expired", server(c.oldServer, nil), "error cert-expired"),
		creds("client's as a server's", server(c.client, layer{"/creds/server-cert.pem": bundle(c.client)}), "error cert-purpose"),
		creds("another key", server(c.server, layer{"/creds/server-key.pem": c.client.keyPEM(t)}), "error private-key-mismatch"),
		creds("broken 0 beside a good plain one", in(layout.Libvirt, layout.Server, c.server,
			layer{"/creds/servercert0.pem": []byte("broken\n"), "/creds/serverkey0.pem": c.server.keyPEM(t)}), "error cert-malformed"),
		creds("half pair", server(c.server, layer{"/creds/server-cert-0.pem": bundle(c.rsaServer)}), "error pair-incomplete"),
		creds("gap", server(c.server, layer{"/creds/server-cert-1.pem": bundle(c.rsaServer), "/creds/server-key-1.pem": c.rsaServer.keyPEM(t)}), "warning identity-not-read"),
		creds("gap and only a key", server(c.server, layer{"/creds/server-key-2.pem": c.rsaServer.keyPEM(t)}), "warning identity-not-read"),
		creds("names that nobody reads", server(c.server, layer{"/creds/server-cert-4.pem": bundle(c.rsaServer), "/creds/ca-cert.crt": ca}), "warning credential-name-unknown"),
		creds("CA first", server(below, layer{"/creds/server-cert.pem": bundle(intermediate, below)}), "error leaf-not-first"),
		creds("intermediate behind", server(below, layer{"/creds/server-cert.pem": bundle(below, intermediate)}), "error intermediate-misplaced"),
		creds("intermediate nowhere", server(below, nil), "error chain-incomplete", "error chain-unknown-issuer"),
		creds("ends soon", server(made(valid(-80*day, 10*day)), nil), "warning cert-expires-soon"),
		creds("short life", server(made(valid(-day, 2*day)), nil)),
		creds("CRL", server(c.server, layer{"/creds/ca-crl.pem": crlOf(t, c.root, day)})),
		creds("old CRL", server(c.server, layer{"/creds/ca-crl.pem": crlOf(t, c.root, -day)}), "warning crl-stale"),
		creds("foreign CRL", server(c.server, layer{"/creds/ca-crl.pem": crlOf(t, c.other, day)}), "warning crl-foreign"),
		creds("revoked", server(c.server, layer{"/creds/ca-crl.pem": crlOf(t, c.root, day, c.server)}), "warning cert-revoked"),
		creds("unrelated CA", server(c.server, layer{"/creds/ca-cert.pem": bundle(c.root, c.other)}), "info anchor-unrelated"),
		creds("expired CA beside", server(c.server, layer{"/creds/ca-cert.pem": bundle(c.root, authority(t, nil, called("Old"), expired))}), "error anchor-expired", "info anchor-unrelated"),
		creds("CA ends soon", layer{}.put(t, flat(layout.QEMU), bundle(shortCA(t)), layout.Client, nil), "warning anchor-expires-soon"),
		creds("17 CAs", server(c.server, layer{"/creds/ca-cert.pem": bundle(many...)}), "info anchor-unrelated", "warning anchors-beyond-16"),
		creds("no subject", server(made(named(nil)), nil), "error dn-empty"),
		creds("only a CN", server(made(without(pki.OIDSubjectAltName)), nil), "warning cert-cn-only"),
		creds("no names", server(made(without(pki.OIDSubjectAltName), called("")), nil), "error dn-empty-value", "warning cert-cn-only"),
		creds("weak key", server(made(keyed(keyOf("rsa1024"))), nil), "warning cert-key-weak"),
		creds("any purpose", in(layout.Libvirt, layout.Server, made(purposes(true, pki.PurposeAny)), nil), "error cert-purpose"),
		creds("no signatures", server(made(usage(pki.KeyEncipherment, false)), nil), "error cert-usage-useless"),
		creds("no encipherment", in(layout.Libvirt, layout.Server, made(usage(pki.DigitalSignature, true)), nil), "error cert-usage-encipherment"),
		creds("ML-DSA", server(pqc, nil), "error ml-dsa-not-loadable"),
		creds("key in the certificate's file", server(c.server, layer{"/creds/server-cert.pem": join(bundle(c.server), c.server.keyPEM(t))}), "error key-in-public-file"),
		creds("key in the CA's file", server(c.server, layer{"/creds/ca-cert.pem": join(ca, c.server.keyPEM(t))}), "error key-in-public-file"),
		creds("CA's key", server(c.server, layer{"/creds/ca-key.pem": c.root.keyPEM(t)}), "error ca-key-on-host"),
		creds("CA's encrypted key", server(c.server, layer{"/creds/ca-key.pem": encrypted(t, c.root)}), "warning ca-key-on-host-encrypted"),
		creds("pre-shared keys", layer{"/creds/keys.psk": []byte("rich:0123\r\n")}, "error psk-key-short", "error psk-line-endings"),
		machine("nothing", layer{}, "info no-credentials"),
		machine("daemon", libvirtd("")),
		machine("CRL in vain", libvirtd("crl_file = \"/etc/pki/CA/crl.pem\"\n"), "error conf-crl-ignored"),
		machine("DN list of everybody", libvirtd("tls_allowed_dn_list = [\"*\"]\n"), "warning authz-everybody"),
		machine("DN list in the wrong order", libvirtd("tls_allowed_dn_list = [\"CN=client1,O=Example,C=GB\"]\n"), "warning dn-pattern-order"),
		machine("DN list without known clients", func() layer {
			f := libvirtd("tls_allowed_dn_list = [\"C=GB,CN=somebody\"]\n")
			return f.put(t, libvirtAt, ca, layout.Client, c.client)
		}(), "info dn-list-matches-nobody"),
		machine("priority", libvirtd("tls_priority = \"NORMAL:+VERS-TLS9.9\"\n"), "error priority-syntax"),
		machine("priority that the system lacks", libvirtd("tls_priority = \"@SYSTEM\"\n"), "error priority-system"),
		machine("clients' priority", func() layer {
			f := layer{}.put(t, libvirtAt, ca, layout.Client, c.client)
			f[layout.LibvirtConf] = []byte("\ntls_priority = \"NORMAL:+VERS-TLS9.9\"\n")
			return f
		}(), "error priority-syntax"),
		machine("pre-shared key both ways", layer{
			"/etc/pki/qemu/psk-server/keys.psk":     []byte("rich:" + strings.Repeat("ab", 32) + "\n"),
			"/etc/pki/qemu/psk-client/kvm/keys.psk": []byte("rich:" + strings.Repeat("ab", 32) + "\n"),
		}, "warning psk-key-both-ways"),
		machine("pre-shared key for several servers", layer{
			"/etc/pki/qemu/psk-client/kvm1/keys.psk": []byte("rich:" + strings.Repeat("ab", 32) + "\n"),
			"/etc/pki/qemu/psk-client/kvm2/keys.psk": []byte("rich:" + strings.Repeat("ab", 32) + "\n"),
		}, "warning psk-key-many-servers"),
		machine("user's file before the system's", func() layer {
			f := layer{}.put(t, libvirtAt, ca, layout.Client, c.client)
			return f.put(t, layout.Home(layout.Libvirt, "/home/alice"), ca, layout.Client, c.client)
		}(), "warning home-file-shadows"),
		machine("service's directory that is not there", func() layer {
			f := layer{}.put(t, qemuAt, ca, layout.Server, c.server)
			f[layout.QEMUConfFile] = []byte("vnc_tls = 1\nvnc_tls_x509_cert_dir = \"/srv/vnc\"\nvnc_tls_x509_verify = 1\n")
			return f
		}(), "error apparmor-denies-directory", "error conf-dir-missing"),
		machine("unknown user", func() layer {
			f := layer{}.put(t, qemuAt, ca, layout.Server, c.server)
			f[layout.QEMUConfFile] = []byte("user = \"nobody-here\"\n")
			return f
		}(), "error qemu-account-unknown"),
	}
	names := creds("names of the host", server(c.server, nil), "warning cert-name-missing")
	names.o.Hostnames = []string{"host1.example.com", "kvm1.example.com", "192.0.2.1"}
	usable := creds("ML-DSA that can be loaded", server(pqc, nil))
	usable.o.MLDSA = true
	return append(list, names, usable)
}

func shortCA(t *testing.T) *cert { return authority(t, nil, valid(-300*day, 20*day)) }

func encrypted(t *testing.T, c *cert) []byte {
	t.Helper()
	text, err := pki.EncodeEncryptedKeyPEM(c.key, []byte("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// rights leaves out what is said of the rights of files, which are the test's.
var rights = regexp.MustCompile(`consumer-cannot-read|key-readable|credential-writable|rights-unreadable`)

// judged returns what is said of a scene, rights apart.
func (s scene) judged(t *testing.T) *Result {
	t.Helper()
	root := s.files.write(t)
	var r *Result
	var err error
	if s.alone {
		s.o.Root = layout.Root(root)
		r, err = Machine(t.Context(), s.o)
	} else {
		r, err = Dir(t.Context(), filepath.Join(root, s.dir), s.o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFindings(t *testing.T) {
	produced := map[string]bool{}
	for _, s := range scenes(t) {
		t.Run(s.name, func(t *testing.T) {
			r := s.judged(t)
			got := slices.DeleteFunc(codes(r), rights.MatchString)
			if diff := cmp.Diff(slices.Sorted(slices.Values(s.want)), got); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, r.Findings)
			}
			for _, f := range r.Findings {
				produced[f.Code] = true
				if f.Subject == "" || f.Fix == "" {
					t.Errorf("no subject or no cure: %+v", f)
				}
			}
		})
	}
	elsewhere := map[string]bool{
		"directory-unreadable": true, "user-unknown": true, "version-not-for-consumer": true, "fix-failed": true, // TestRefusals, TestMend
		"key-on-several-hosts": true, "file-not-judged": true, // TestFleet, TestUnreadable
	}
	for _, s := range saslScenes { // TestPeerSASL
		for _, want := range s.want {
			_, code, _ := strings.Cut(want, " ")
			elsewhere[code] = true
		}
	}
	for _, code := range ownCodes(t) {
		if !produced[code] && !elsewhere[code] {
			t.Errorf("nothing here produces %s", code)
		}
	}
}

// ownCodes lists the codes that this package defines.
func ownCodes(t *testing.T) (list []string) {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	define := regexp.MustCompile(`finding\.Define\("([a-z0-9-]+)"`)
	for _, name := range sources {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range define.FindAllStringSubmatch(string(data), -1) {
			list = append(list, match[1])
		}
	}
	if len(list) < 10 {
		t.Fatal(fmt.Sprint(list))
	}
	return list
}
