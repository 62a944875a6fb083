package validate

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dh"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/sasl/gssapi"
	"virtls/session"
)

const (
	saslUser     = "fred"
	saslPassword = "s3cretpw"
	pluginDir    = "/usr/lib/x86_64-linux-gnu/sasl2"
)

// A saslScene is a set-up of SASL for QEMU, what is said of it, and what the
// real QEMU does with it.
type saslScene struct {
	name     string
	conf     string // /etc/sasl2/qemu.conf
	libvirt  string // /etc/libvirt/qemu.conf
	keytab   string // the principal in /etc/sasl2/qemu.keytab; none if empty
	db       bool   // /etc/sasl2/qemu-passwd.db has an account
	tls      bool   // VNC has TLS
	only     string // the plugins that are installed; all if empty
	open     bool   // its database and its keytab are everybody's
	closed   bool   // they are root's alone, and QEMU is not root
	hidden   bool   // so is the configuration
	confined bool   // QEMU cannot write below /var/tmp, as in AppArmor's profile
	replay   bool   // Kerberos has a replay cache there
	want     []string

	starts  bool
	offered string // by QEMU; "EOF" if it closes the connection
	works   bool   // a login does, of the user with password or ticket
}

const (
	withTLS    = "vnc_sasl = 1\nvnc_tls = 1\nvnc_tls_x509_verify = 1\n"
	withoutTLS = "vnc_sasl = 1\n"
	scramConf  = "mech_list: scram-sha-256\nsasldb_path: /etc/sasl2/qemu-passwd.db\n"
	gssapiConf = "mech_list: gssapi\nkeytab: /etc/sasl2/qemu.keytab\n"
	everything = "GSS-SPNEGO GSSAPI SCRAM-SHA-512 SCRAM-SHA-384 SCRAM-SHA-256 SCRAM-SHA-224 SCRAM-SHA-1 GS2-KRB5 GS2-IAKERB DIGEST-MD5 CRAM-MD5 NTLM PLAIN LOGIN ANONYMOUS"
	clear      = "info sasl-db-clear"

	noReplayCache = "[libdefaults]\n  default_rcache_name = none:\n"
)

var saslScenes = []saslScene{
	{name: "SCRAM with TLS", conf: scramConf, libvirt: withTLS, db: true, tls: true, want: []string{clear}, starts: true, offered: "SCRAM-SHA-256", works: true},
	{name: "SCRAM without TLS", conf: scramConf, libvirt: withoutTLS, db: true,
		want: []string{"error sasl-needs-tls", "error sasl-nothing-offered"}, starts: true, offered: ""},
	{name: "SCRAM for unknown guests", conf: scramConf, db: true, tls: true, want: []string{clear, "info sasl-needs-tls"}, starts: true, offered: "SCRAM-SHA-256", works: true},
	{name: "PLAIN without TLS", conf: "mech_list: plain\nsasldb_path: /etc/sasl2/qemu-passwd.db", libvirt: withoutTLS, db: true,
		want: []string{"error sasl-needs-tls", "error sasl-nothing-offered"}, starts: true, offered: ""},
	{name: "GSSAPI", conf: gssapiConf, libvirt: withoutTLS, keytab: "vnc/peer", starts: true, offered: "GSSAPI", works: true},
	{name: "GSSAPI without a replay cache", conf: gssapiConf, libvirt: withoutTLS, keytab: "vnc/peer", confined: true, replay: true,
		want: []string{"warning sasl-replay-cache"}, starts: true, offered: "GSSAPI"},
	{name: "GSSAPI where there need be none", conf: gssapiConf, libvirt: withoutTLS, keytab: "vnc/peer", confined: true, starts: true, offered: "GSSAPI", works: true},
	{name: "GSSAPI with TLS", conf: gssapiConf, libvirt: withTLS, keytab: "vnc/peer", tls: true, starts: true, offered: "GSSAPI", works: true},
	{name: "the principal qemu", conf: gssapiConf, libvirt: withoutTLS, keytab: "qemu/peer",
		want: []string{"error sasl-keytab-principal"}, starts: true, offered: "GSSAPI"},
	{name: "no keytab", conf: gssapiConf, libvirt: withoutTLS, want: []string{"error sasl-keytab-missing"}, starts: true, offered: "EOF"},
	{name: "a kind before the keytab", conf: "mech_list: gssapi\nkeytab: FILE:/etc/sasl2/qemu.keytab\n", libvirt: withoutTLS, keytab: "vnc/peer",
		want: []string{"error sasl-keytab-missing"}, starts: true, offered: "EOF"},
	{name: "no usual keytab", conf: "mech_list: gssapi\n", libvirt: withoutTLS, want: []string{"error sasl-keytab-missing"}, starts: true, offered: "GSSAPI"},
	{name: "no keytab at all", conf: gssapiConf, libvirt: withoutTLS, keytab: "garbage",
		want: []string{"error sasl-keytab-malformed"}, starts: true, offered: "GSSAPI"},
	{name: "a keytab that QEMU cannot read", conf: gssapiConf, libvirt: withoutTLS, keytab: "vnc/peer", closed: true,
		want: []string{"error consumer-cannot-read"}, starts: true, offered: "EOF"},
	{name: "a keytab that everybody can read", conf: gssapiConf, libvirt: withoutTLS, keytab: "vnc/peer", open: true,
		want: []string{"error key-readable-by-everybody"}, starts: true, offered: "GSSAPI", works: true},
	{name: "no list without TLS", conf: "keytab: /etc/sasl2/qemu.keytab\n", libvirt: withoutTLS, keytab: "vnc/peer",
		want: []string{"error sasl-mech-list-missing"}, starts: true, offered: "DIGEST-MD5 GSS-SPNEGO GSSAPI", works: true},
	{name: "no list with TLS", conf: "sasldb_path: /etc/sasl2/qemu-passwd.db\n", libvirt: withTLS, db: true, tls: true,
		want: []string{"error sasl-anonymous", "error sasl-mech-list-missing", clear}, starts: true, offered: everything, works: true},
	{name: "no configuration", libvirt: withTLS, tls: true, want: []string{"error sasl-conf-missing"}, starts: true, offered: everything},
	{name: "a configuration that QEMU cannot read", conf: scramConf, libvirt: withTLS, db: true, tls: true, hidden: true,
		want: []string{"error sasl-conf-unreadable", clear}, starts: true, offered: everything},
	{name: "no database", conf: scramConf, libvirt: withTLS, tls: true, want: []string{"error sasl-db-missing"}, starts: true, offered: "SCRAM-SHA-256"},
	{name: "a database that QEMU cannot read", conf: scramConf, libvirt: withTLS, db: true, tls: true, closed: true,
		want: []string{"error consumer-cannot-read", clear}, starts: true, offered: "SCRAM-SHA-256"},
	{name: "a database that everybody can read", conf: scramConf, libvirt: withTLS, db: true, tls: true, open: true,
		want: []string{"error key-readable-by-everybody", clear}, starts: true, offered: "SCRAM-SHA-256", works: true},
	{name: "a key twice", conf: scramConf + "mech_list: plain\n", libvirt: withTLS, db: true, tls: true,
		want: []string{clear, "warning sasl-conf-key-twice"}, starts: true, offered: "SCRAM-SHA-256", works: true},
	{name: "anonymous beside SCRAM", conf: "mech_list: scram-sha-256 anonymous\nsasldb_path: /etc/sasl2/qemu-passwd.db", libvirt: withTLS, db: true, tls: true,
		want: []string{"error sasl-anonymous", clear}, starts: true, offered: "ANONYMOUS SCRAM-SHA-256", works: true},
	{name: "DIGEST-MD5", conf: "mech_list: digest-md5 cram-md5\nsasldb_path: /etc/sasl2/qemu-passwd.db", libvirt: withoutTLS, db: true,
		want: []string{"error sasl-needs-tls", clear, "warning sasl-mechanism-weak"}, starts: true, offered: "DIGEST-MD5"},
	{name: "commas", conf: "mech_list: scram-sha-256,plain\nsasldb_path: /etc/sasl2/qemu-passwd.db", libvirt: withTLS, db: true, tls: true,
		want: []string{"error sasl-nothing-offered", "warning sasl-mechanism-unknown"}, starts: true, offered: "EOF"},
	{name: "external", conf: "mech_list: external", libvirt: withTLS, tls: true,
		want: []string{"error sasl-nothing-offered", "warning sasl-mechanism-unknown"}, starts: true, offered: ""},
	{name: "no plugin", conf: "mech_list: scram-sha-256 gssapi\nsasldb_path: /etc/sasl2/qemu-passwd.db", libvirt: withTLS, db: true, tls: true, only: "libscram libsasldb",
		want: []string{clear, "warning sasl-plugin-missing"}, starts: true, offered: "SCRAM-SHA-256", works: true},
	{name: "no plugin for the database", conf: scramConf, libvirt: withTLS, db: true, tls: true, only: "libscram",
		want: []string{"error sasl-plugin-missing", clear}, starts: true, offered: "SCRAM-SHA-256"},
	{name: "no colon", conf: "mech_list scram-sha-256\n", libvirt: withTLS, db: true, tls: true, want: []string{"error sasl-conf-malformed"}},
	{name: "a bad line at the end", conf: scramConf + "keytab\n", libvirt: withTLS, db: true, tls: true, want: []string{"error sasl-conf-malformed"}},
	{name: "a key that nobody knows", conf: scramConf + "mech_lists: x\n", libvirt: withTLS, db: true, tls: true,
		want: []string{clear, "warning sasl-conf-unknown-key"}, starts: true, offered: "SCRAM-SHA-256", works: true},
}

// What is said of each set-up, and that QEMU agrees.
func TestPeerSASL(t *testing.T) {
	peertest.NeedRoot(t, "QEMU runs as another user")
	k := peertest.StartKDC(t, "EXAMPLE.COM")
	k.User(saslUser, saslPassword)
	keytabs := map[string]string{}
	for _, name := range []string{"vnc/peer", "qemu/peer"} {
		keytabs[name] = k.Keytab(name)
	}
	cache := k.Login(saslUser, saslPassword)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for i, s := range saslScenes {
			if g.Name != "host" && i%7 != 0 && !full() {
				continue // one generation of Cyrus SASL is like the other
			}
			t.Run(s.name, func(t *testing.T) {
				root := s.write(t, g, keytabs)
				r, err := Dir(t.Context(), root, Options{})
				if err != nil {
					t.Fatal(err)
				}
				r.Findings = slices.DeleteFunc(r.Findings, func(f finding.Finding) bool {
					return !strings.HasPrefix(f.Code, "sasl-") && !strings.Contains(f.Subject, "/etc/sasl2/qemu")
				})
				got := codes(r)
				if !slices.Equal(got, s.want) {
					t.Errorf("found %q; want %q", got, s.want)
				}
				q := s.start(t, g, root, k)
				if !s.starts {
					if out := q.Refused(); !strings.Contains(out.Stderr, "error when parsing configuration file") {
						t.Error(out)
					}
					return
				}
				q.Ready()
				offered := sortedWords(s.offered)
				if offered == "" && g.Name != "host" {
					offered = "EOF" // QEMU 7.2 sends an empty list; 10.0 and 11.1 close the connection instead
				}
				if got := q.offered(t); got != offered {
					t.Errorf("QEMU offers %q; want %q", got, offered)
				}
				_, err = q.dial(t, vnc.Options{GSSAPI: &gssapi.Client{Host: "peer", Config: k.Conf, Cache: cache},
					Login: &sasl.Login{User: saslUser, Password: []byte(saslPassword)}, Mechanisms: q.best(s)})
				if (err == nil) != s.works {
					t.Errorf("a login: %v", err)
				}
				if out := q.Stderr() + fmt.Sprint(r.Findings, err); strings.Contains(out, saslPassword) {
					t.Error("a password is in what is printed")
				}
			})
		}
	})
}

func sortedWords(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// write makes the files of a host.
func (s saslScene) write(t *testing.T, g peertest.Generation, keytabs map[string]string) string {
	t.Helper()
	files := host()
	if s.conf != "" {
		files["/etc/sasl2/qemu.conf"] = []byte(s.conf)
	}
	if s.libvirt != "" {
		files["/etc/libvirt/qemu.conf"] = []byte(s.libvirt)
	}
	files["/etc/sasl2/README"] = nil
	if !s.replay {
		files["/etc/krb5.conf"] = []byte(noReplayCache)
	}
	switch file := keytabs[s.keytab]; {
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		files["/etc/sasl2/qemu.keytab"] = data
	case s.keytab != "":
		files["/etc/sasl2/qemu.keytab"] = []byte("this is no keytab\n")
	}
	for _, name := range plugins(t, g, s.only) {
		files[pluginDir+"/"+name] = nil
	}
	if s.tls {
		files.put(t, layout.System(layout.LibvirtVNC, ""), bundle(newCast(t).root), layout.Server, newCast(t).server)
	}
	root := files.write(t)
	if s.hidden {
		if err := os.Chmod(filepath.Join(root, "etc/sasl2/qemu.conf"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s.db {
		made := g.Run(t, peertest.Options{Stdin: strings.NewReader(saslPassword), Mounts: map[string]string{"/mnt": filepath.Join(root, "etc/sasl2")}},
			"saslpasswd2", "-a", "qemu", "-f", "/mnt/qemu-passwd.db", "-u", "peer", "-p", "-c", saslUser)
		if made.Code != 0 {
			t.Fatal(made)
		}
	}
	for _, name := range []string{"qemu.keytab", "qemu-passwd.db"} {
		file := filepath.Join(root, "etc/sasl2", name)
		mode, gid := os.FileMode(0o640), 64055
		switch {
		case s.open:
			mode = 0o644
		case s.closed:
			mode, gid = 0o600, 0
		}
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if err := os.Chown(file, 0, gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// plugins lists a generation's.
func plugins(t *testing.T, g peertest.Generation, only string) (names []string) {
	t.Helper()
	for name := range strings.FieldsSeq(g.Run(t, peertest.Options{}, "ls", pluginDir).Stdout) {
		stem, _, _ := strings.Cut(name, ".")
		if only == "" || slices.Contains(strings.Fields(only), stem) {
			names = append(names, name)
		}
	}
	return names
}

// A saslQEMU is a QEMU that was set up by a scene.
type saslQEMU struct {
	*peertest.Proc
	address string
	tls     func() session.Options // nil without
}

// start starts QEMU as libvirt would: as its own user.
func (s saslScene) start(t *testing.T, g peertest.Generation, root string, k *peertest.KDC) *saslQEMU {
	t.Helper()
	o := peertest.Options{Env: []string{"KRB5_CONFIG=/krb5/krb5.conf"}, Mounts: map[string]string{"/krb5": t.TempDir()}}
	conf, err := os.ReadFile(k.Conf)
	if !s.replay {
		conf = append([]byte(noReplayCache), conf...)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Mounts["/krb5"], "krb5.conf"), conf, 0o644)
	}
	if err == nil {
		err = os.Chmod(o.Mounts["/krb5"], 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/etc/sasl2"} {
		o.Mounts[dir] = filepath.Join(root, dir)
		if err := os.MkdirAll(o.Mounts[dir], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if s.confined {
		o.Mounts["/var/tmp"] = t.TempDir()
	}
	if s.only != "" {
		o.Mounts[pluginDir] = t.TempDir()
		for _, name := range plugins(t, g, s.only) {
			out := g.Run(t, peertest.Options{Mounts: map[string]string{"/mnt": o.Mounts[pluginDir]}}, "cp", pluginDir+"/"+name, "/mnt/")
			if out.Code != 0 {
				t.Fatal(out)
			}
		}
		if err := os.Chmod(o.Mounts[pluginDir], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	q, port, option := &saslQEMU{}, peertest.FreePort(t), ""
	args := []string{"--reuid=64055", "--regid=64055", "--clear-groups", "qemu-system-x86_64", "-nodefaults", "-machine", "none", "-accel", "tcg", "-monitor", "none"}
	if s.tls {
		q.tls = s.certificates(t, o)
		args, option = append(args, "-object", "tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=/creds"), ",tls-creds=tls0"
	}
	q.address = fmt.Sprintf("127.0.0.1:%d", port)
	q.Proc = g.Start(t, o, peertest.Listening(port), "setpriv", append(args, "-vnc", fmt.Sprintf("127.0.0.1:%d,sasl=on%s", port-5900, option))...)
	return q
}

// certificates gives QEMU a server's certificate, and a client the authority's.
func (s saslScene) certificates(t *testing.T, o peertest.Options) func() session.Options {
	t.Helper()
	c := newCast(t)
	root := layer{}.put(t, flat(layout.QEMU), bundle(c.root), layout.Server, c.server).write(t)
	dir := filepath.Join(root, "creds")
	der, err := dh.Group(2048).Marshal() // QEMU before 10.2 takes long to make some
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "dh-params.pem"), pki.EncodePEM(dh.Label, der), 0o644)
	}
	if err == nil {
		err = os.Chmod(filepath.Join(dir, "server-key.pem"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Mounts["/creds"] = dir
	x, _, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: creds.Client})
	if err != nil {
		t.Fatal(err)
	}
	return func() session.Options { return session.Options{Credentials: x, Hostname: "host1.example.com"} }
}

func (q *saslQEMU) dial(t *testing.T, o vnc.Options) (*vnc.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := net.Dial("tcp", q.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	o.X509 = q.tls
	return vnc.Dial(ctx, c, o)
}

var mechanismName = regexp.MustCompile(`(?:^|; )"?([A-Z][A-Z0-9-]+)`)

// offered asks what QEMU offers: a client that wants nothing says why.
func (q *saslQEMU) offered(t *testing.T) string {
	t.Helper()
	_, err := q.dial(t, vnc.Options{Login: &sasl.Login{}, Mechanisms: []string{"NONE"}})
	if finding.Of(err).Code == "vnc-closed" {
		return "EOF"
	}
	var names []string
	for _, match := range mechanismName.FindAllStringSubmatch(finding.Of(err).Got, -1) {
		names = append(names, match[1])
	}
	return sortedWords(strings.Join(names, " "))
}

// best is by what a scene's user logs in.
func (q *saslQEMU) best(s saslScene) []string {
	if s.keytab != "" {
		return []string{sasl.GSSAPI}
	}
	return []string{sasl.ScramSHA256, sasl.Plain, sasl.GSSAPI}
}

// What is written is right: nothing is said of it, and logins work, with what is
// the strongest there.
func TestPeerSASLConf(t *testing.T) {
	peertest.NeedRoot(t, "QEMU runs as another user")
	k := peertest.StartKDC(t, "EXAMPLE.COM")
	k.User(saslUser, saslPassword)
	keytabs := map[string]string{"vnc/peer": k.Keytab("vnc/peer")}
	cache := k.Login(saslUser, saslPassword)
	for _, s := range []saslScene{
		{name: "TLS", libvirt: withTLS, db: true, tls: true, want: []string{clear}, offered: "SCRAM-SHA-256"},
		{name: "Kerberos", conf: "mech_list: digest-md5\n", libvirt: withoutTLS, keytab: "vnc/peer", offered: "GSSAPI"},
		{name: "both", conf: "mech_list plain", libvirt: withTLS, db: true, tls: true, keytab: "vnc/peer", want: []string{clear}, offered: "GSSAPI SCRAM-SHA-256"},
		{name: "other files", conf: "keytab: /etc/sasl2/qemu.keytab\nsasldb_path: /etc/sasl2/qemu-passwd.db\nsql_passwd: hidden", libvirt: withTLS, db: true, tls: true, want: []string{clear}, offered: "SCRAM-SHA-256"},
		{name: "neither", want: []string{"error sasl-keytab-missing"}, libvirt: withoutTLS, offered: "EOF"},
	} {
		t.Run(s.name, func(t *testing.T) {
			root := s.write(t, peertest.Host, keytabs)
			text, err := SASLConf(t.Context(), Options{Root: layout.Root(root)})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "hidden") || s.name == "other files" && !strings.Contains(text, "Left out, with their values: sql_passwd.") {
				t.Errorf("written: %s", text)
			}
			file := filepath.Join(root, "etc/sasl2/qemu.conf")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := Dir(t.Context(), root, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(codes(r), func(c string) bool { return !strings.Contains(c, " sasl-") })
			if !slices.Equal(got, s.want) {
				t.Errorf("found %q; want %q in\n%s", got, s.want, text)
			}
			q := s.start(t, peertest.Host, root, k)
			q.Ready()
			if got := q.offered(t); got != s.offered {
				t.Errorf("QEMU offers %q; want %q", got, s.offered)
			}
			for name := range strings.FieldsSeq(strings.Replace(s.offered, "EOF", "", 1)) {
				_, err := q.dial(t, vnc.Options{GSSAPI: &gssapi.Client{Host: "peer", Config: k.Conf, Cache: cache},
					Login: &sasl.Login{User: saslUser, Password: []byte(saslPassword)}, Mechanisms: []string{name}})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
