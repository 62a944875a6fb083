package session

import (
	"encoding/asn1"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

// An expired certificate behind the peer's own, of which the chain has no need,
// is refused by the rules of both, as their real servers do. QEMU's look at it
// before the key's usage, which is a warning there, and libvirt's afterwards.
func TestUnneededIssuerExpired(t *testing.T) {
	ca := newAuthority(t, "")
	_, expired, _ := newAuthority(t, "").issue(want{from: -2 * time.Hour, to: -time.Hour, encipher: true})
	behind := func(w want) string {
		_, cert, key := ca.issue(w)
		return ca.trusting(append(cert, expired...), key)
	}
	server := ca.dir(want{encipher: true})
	purpose, err := pki.ExtKeyUsageExtension([]asn1.ObjectIdentifier{pki.PurposeServer}, true)
	must(t, err)
	usage := want{encipher: true, purpose: &purpose}
	for _, tt := range []struct {
		name, client string
		list         authz.Authorizer
		codes        [2]string // by rules
	}{
		{"alone", behind(want{encipher: true}), nil, [...]string{QEMU: "peer-expired", Libvirt: "peer-expired"}},
		{"with the wrong purpose", behind(usage), nil, [...]string{QEMU: "peer-expired", Libvirt: "peer-usage"}},
		{"with a name that is not on the list", behind(want{encipher: true}), authz.DNList{"CN=other"}, [...]string{QEMU: "peer-denied", Libvirt: "peer-denied"}},
	} {
		client := load(t, creds.X509Options{Dir: tt.client, NoSanityCheck: true})
		for _, rules := range []Rules{QEMU, Libvirt} {
			for _, engine := range engines {
				s, c := open(t, Options{Credentials: load(t, creds.X509Options{Dir: server, Endpoint: creds.Server}), Authorizer: tt.list, Rules: rules, Engine: engine},
					Options{Credentials: client, Hostname: "localhost", Rules: rules, Engine: engine})
				if got := codeOf(s.err); got != tt.codes[rules] {
					t.Errorf("%s, rules %d, %s: %v, want %s", tt.name, rules, engine, s.err, tt.codes[rules])
				}
				if c.Conn != nil {
					c.Close()
				}
			}
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		proc := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-x509,id=tls0,endpoint=server,sanity-check=off,dir="+server, "--tls-creds", "tls0",
			"--format=raw", "--export-name", "disk", "--persistent", "--shared=9", image).Ready()
		for dir, fine := range map[string]bool{server: true, behind(want{encipher: true}): false} {
			nc := dialTCP(t, proc.Port)
			startTLS(t, nc)
			c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: dir, NoSanityCheck: true}), Hostname: "localhost"})
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			if _, err := listExports(c); (err == nil) != fine {
				t.Errorf("let in: %v, want %v\n%s", err, fine, proc.Stderr())
			}
			c.Close()
		}
	})
}

// Names whose country, or common name, is of a type that RFC 5280 does not have
// for it are known as GnuTLS prints them, or by whom an access list is to go.
func TestPeerNameOfOddStrings(t *testing.T) {
	country := asn1.ObjectIdentifier{2, 5, 4, 6}
	ca := newAuthority(t, "")
	server := load(t, creds.X509Options{Dir: ca.dir(want{}), Endpoint: creds.Server})
	for _, tt := range []struct {
		name string
		attr dn.Attribute
	}{
		{"PrintableString", dn.Attribute{Type: country, Tag: 19, Value: []byte("DE")}},
		{"UTF8String", dn.Attribute{Type: country, Tag: 12, Value: []byte("DE")}},
		{"IA5String", dn.Attribute{Type: country, Tag: 22, Value: []byte("DE")}},
		{"TeletexString", dn.Attribute{Type: country, Tag: 20, Value: []byte("DE")}},
		{"BMPString", dn.Attribute{Type: country, Tag: 30, Value: []byte("\x00D\x00E")}},
		{"three letters", dn.Attribute{Type: country, Tag: 19, Value: []byte("DEU")}},
		{"BMPString as a common name", dn.Attribute{Type: dn.CommonNameOID, Tag: 30, Value: []byte("\x00p\x00\xfc")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := ca.dir(want{subject: dn.New(tt.attr, dn.Attr(dn.OrganizationOID, "Example"))})
			var names []string
			for _, engine := range engines {
				s, c := open(t, Options{Credentials: server, Engine: engine}, Options{Credentials: load(t, creds.X509Options{Dir: dir}), Hostname: "localhost", Engine: engine})
				must(t, s.err)
				must(t, c.err)
				names = append(names, s.State().PeerName)
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				// certtool prints the parts from the last to the first.
				r := g.Run(t, peertest.Options{}, "certtool", "-i", "--infile", dir+"/client-cert.pem")
				_, subject, _ := strings.Cut(r.Stdout, "Subject: ")
				subject, _, _ = strings.Cut(subject, "\n")
				parts := strings.Split(subject, ",")
				slices.Reverse(parts)
				for _, name := range names {
					if want := strings.Join(parts, ","); name != want {
						t.Errorf("the peer is %q, and %q to GnuTLS", name, want)
					}
				}
			})
		})
	}
}

// What a keyword brings and no engine has is told; what was named one by one is
// not lost.
func TestDropped(t *testing.T) {
	dir := newAuthority(t, "").dir(want{})
	for _, tt := range []struct {
		priority string
		want     []string // some of what is dropped; nil for nothing
	}{
		{"", nil},
		{"NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+GROUP-X25519:+SIGN-ECDSA-SECP256R1-SHA256:+ECDHE-ECDSA", nil},
		{"NORMAL", []string{"AES-256-CCM", "GROUP-X448", "AES-256-CBC"}},
		{"NORMAL:-AES-256-CCM", []string{"GROUP-X448", "AES-256-CBC"}},
	} {
		s, c := open(t, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, Priority: tt.priority})},
			Options{Credentials: load(t, creds.X509Options{Dir: dir, Priority: tt.priority}), Hostname: "localhost"})
		must(t, s.err)
		must(t, c.err)
		for _, dropped := range [][]string{s.State().Dropped, c.State().Dropped} {
			if tt.want == nil && len(dropped) > 0 {
				t.Errorf("%s: dropped %q", tt.priority, dropped)
			}
			for _, name := range tt.want {
				if !slices.Contains(dropped, name) {
					t.Errorf("%s: %s is not among %q", tt.priority, name, dropped)
				}
			}
			if strings.Contains(tt.priority, "-AES-256-CCM") && slices.Contains(dropped, "AES-256-CCM") {
				t.Errorf("%s: what is excluded is said to be dropped: %q", tt.priority, dropped)
			}
		}
	}
}

// A server hears by an alert why a client of QEMU's rules refuses it.
func TestRefusalIsHeard(t *testing.T) {
	ca, foreign := newAuthority(t, ""), newAuthority(t, "")
	dir, expired := ca.dir(want{}), ca.dir(want{from: -2 * time.Hour, to: -time.Hour})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct {
			name, server, client, host, code string
			heard                            string // from our engine; crypto/tls has one alert for all
		}{
			{"foreign", dir, foreign.dir(want{}), "localhost", "peer-untrusted", "CA is unknown"},
			{"expired", expired, dir, "localhost", "peer-expired", "Certificate is expired"},
			{"another name", dir, dir, "example.com", "peer-name-mismatch", "Certificate is bad"},
		} {
			for _, engine := range engines {
				server := g.GnutlsServ(t, peertest.Options{}, "-d", "5", "--echo", "--x509certfile", tt.server+"/server-cert.pem", "--x509keyfile", tt.server+"/server-key.pem").Ready()
				_, err := Open(t.Context(), dialTCP(t, server.Port), Options{Credentials: load(t, creds.X509Options{Dir: tt.client, NoSanityCheck: true}), Hostname: tt.host, Engine: engine})
				if err == nil || finding.Of(err).Code != tt.code {
					t.Errorf("%s, %s: %v", tt.name, engine, err)
				}
				want := tt.heard
				if engine == Std {
					want = "Certificate is bad"
				}
				server.Until(peertest.Logged("- " + want + " -"))
			}
		}
	})
}
