package explain

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/dropin"
	"virtls/dropin/certtool"
	"virtls/dropin/psktool"
	"virtls/internal/peertest"
)

// A kit is a directory of credentials, good and bad.
type kit string

// orders are the certificates of a kit: name, key, issuer (self or a name) and certtool's template.
var orders = []struct{ name, key, issuer, template string }{
	{"ca", "ca", "self", "cn = Example CA\nca\ncert_signing_key\ncrl_signing_key\n"},
	{"other-ca", "ec", "self", "cn = Other CA\nca\ncert_signing_key\n"},
	{"not-a-ca", "ca", "self", "cn = Example CA\n"},
	{"no-sign-ca", "ca", "self", "cn = Example CA\nca\ncrl_signing_key\n"},
	{"expired-ca", "ca", "self", "cn = Example CA\nca\ncert_signing_key\nactivation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n"},
	{"server", "rsa", "ca", "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\nsigning_key\nencryption_key\n"},
	{"client", "rsa", "ca", "organization = Example\ncn = client\ntls_www_client\nsigning_key\nencryption_key\n"},
	{"other-client", "rsa", "other-ca", "cn = other client\ntls_www_client\nsigning_key\nencryption_key\n"},
	{"elsewhere", "rsa", "ca", "cn = elsewhere\ndns_name = elsewhere.example.com\ntls_www_server\nsigning_key\nencryption_key\n"},
	{"expired", "rsa", "ca", "cn = localhost\ndns_name = localhost\nsigning_key\nencryption_key\nactivation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n"},
	{"early", "rsa", "ca", "cn = localhost\ndns_name = localhost\nsigning_key\nencryption_key\nactivation_date = \"2040-01-01 00:00:00 UTC\"\nexpiration_date = \"2041-01-01 00:00:00 UTC\"\n"},
	{"no-signature", "rsa", "ca", "cn = localhost\ndns_name = localhost\nencryption_key\n"},
	{"client-only", "rsa", "ca", "cn = localhost\ndns_name = localhost\nsigning_key\nencryption_key\nadd_critical_extension = \"2.5.29.37 0x300a06082b06010505070302\"\n"},
	{"nobody", "rsa", "ca", "dns_name = localhost\ntls_www_client\nsigning_key\nencryption_key\n"},
}

func makeKit(t *testing.T) kit {
	t.Helper()
	k := kit(t.TempDir())
	tool := func(args ...string) {
		t.Helper()
		var stderr strings.Builder
		if code := certtool.Run(args, dropin.IO{In: strings.NewReader(""), Out: io.Discard, Err: &stderr}); code != 0 {
			t.Fatalf("certtool %q: %s", args, stderr.String())
		}
	}
	for _, key := range []string{"ca", "ec"} {
		tool("--generate-privkey", "--key-type=ecdsa", "--outfile="+k.file(key+"-key"))
	}
	tool("--generate-privkey", "--key-type=rsa", "--bits=2048", "--outfile="+k.file("rsa-key"))
	tool("--to-p8", "--load-privkey="+k.file("rsa-key"), "--password=secret", "--outfile="+k.file("encrypted-key"))
	for _, o := range orders {
		k.write(t, o.name+".info", o.template)
		args := []string{"--generate-self-signed"}
		if o.issuer != "self" {
			issuerKey := map[string]string{"ca": "ca-key", "other-ca": "ec-key"}[o.issuer]
			args = []string{"--generate-certificate", "--load-ca-certificate=" + k.file(o.issuer), "--load-ca-privkey=" + k.file(issuerKey)}
		}
		tool(append(args, "--load-privkey="+k.file(o.key+"-key"), "--template="+k.file(o.name)[:len(k.file(o.name))-4]+".info", "--outfile="+k.file(o.name))...)
	}
	tool("--generate-crl", "--load-ca-privkey="+k.file("ca-key"), "--load-ca-certificate="+k.file("ca"), "--load-certificate="+k.file("client"),
		"--template="+string(k)+"/ca.info", "--outfile="+k.file("crl"))
	k.write(t, "junk.pem", "junk\n")
	for _, dir := range []string{"psk", "psk2"} {
		if err := os.Mkdir(filepath.Join(string(k), dir), 0o755); err != nil {
			t.Fatal(err)
		}
		psktool.Run([]string{"-u", "rich", "-p", filepath.Join(string(k), dir, "keys.psk")}, dropin.IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	}
	return k
}

func (k kit) file(name string) string { return filepath.Join(string(k), name+".pem") }

func (k kit) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(k), name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var qemuGood = []string{"ca-cert=ca", "server-cert=server", "server-key=rsa-key", "client-cert=client", "client-key=rsa-key"}

// qemu makes a directory with QEMU's names, good but for the changes: NAME=FILE
// of the kit, NAME= for none.
func (k kit) qemu(t *testing.T, changes ...string) string {
	t.Helper()
	return k.place(t, append(slices.Clone(qemuGood), changes...), func(name string) string { return name })
}

// libvirt makes a tree for /etc/pki.
func (k kit) libvirt(t *testing.T, changes ...string) string {
	t.Helper()
	paths := map[string]string{"ca-cert": "CA/cacert", "ca-crl": "CA/cacrl", "server-cert": "libvirt/servercert", "server-key": "libvirt/private/serverkey",
		"client-cert": "libvirt/clientcert", "client-key": "libvirt/private/clientkey"}
	return k.place(t, append(slices.Clone(qemuGood), changes...), func(name string) string { return paths[name] })
}

func (k kit) place(t *testing.T, files []string, path func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, source, _ := strings.Cut(f, "=")
		to := filepath.Join(dir, path(name)+".pem")
		if err := os.Remove(to); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if source == "" {
			continue
		}
		data, err := os.ReadFile(k.file(source))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A provocation makes real programs print a text.
type provocation struct {
	name string
	want string // the entries of which one must explain it
	do   func(t *testing.T, g peertest.Generation, k kit) string
}

// said is all that a program printed.
func said(r peertest.Result) string { return r.Stdout + r.Stderr }

// run provokes with one program.
func run(name string, args ...string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		var filled []string
		for _, a := range args {
			filled = append(filled, strings.ReplaceAll(a, "KIT", string(k)))
		}
		return said(g.Run(t, peertest.Options{}, name, filled...))
	}
}

// loadServer has qemu-nbd load a directory.
func loadServer(changes ...string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		dir := k.qemu(t, changes...)
		return said(g.Run(t, peertest.Options{}, "qemu-nbd", "--object", "tls-creds-x509,id=tls0,endpoint=server,dir="+dir, "--tls-creds=tls0", "--socket=/run/nbd", "/nonexistent"))
	}
}

// object has qemu-img make an object.
func object(text string) func(*testing.T, peertest.Generation, kit) string {
	return run("qemu-img", "info", "--object", text, "--image-opts", "driver=null-co")
}

var loading = []provocation{
	{"qemu: no CA", "qemu-file-missing", loadServer("ca-cert=")},
	{"qemu: no key", "qemu-file-missing qemu-half-pair", loadServer("server-key=")},
	{"qemu: no certificate", "qemu-file-missing qemu-half-pair", loadServer("server-cert=")},
	{"qemu: no identity", "qemu-file-missing qemu-no-server-identity", loadServer("server-cert=", "server-key=")},
	{"qemu: junk CA", "ca-unusable certificate-unusable", loadServer("ca-cert=junk")},
	{"qemu: junk certificate", "certificate-unusable", loadServer("server-cert=junk")},
	{"qemu: junk key", "key-garbage qemu-key-unusable", loadServer("server-key=junk")},
	{"qemu: another key", "key-mismatch", loadServer("server-key=ec-key")},
	{"qemu: encrypted key", "key-encrypted qemu-key-unusable", loadServer("server-key=encrypted-key")},
	{"qemu: expired", "own-certificate-expired", loadServer("server-cert=expired")},
	{"qemu: expired CA", "own-certificate-expired", loadServer("ca-cert=expired-ca")},
	{"qemu: early", "own-certificate-early", loadServer("server-cert=early")},
	{"qemu: CA as server", "own-certificate-ca", loadServer("server-cert=ca", "server-key=ca-key")},
	{"qemu: CA that is none", "ca-not-an-authority", loadServer("ca-cert=not-a-ca")},
	{"qemu: CA that may not sign", "ca-no-cert-sign", loadServer("ca-cert=no-sign-ca")},
	{"qemu: no signatures", "own-no-digital-signature", loadServer("server-cert=no-signature")},
	{"qemu: a client's certificate", "own-purpose", loadServer("server-cert=client-only")},
	{"qemu: another CA", "own-chain-unknown-issuer own-chain-incomplete", loadServer("ca-cert=other-ca")},
	{"qemu: junk list", "crl-unusable", loadServer("ca-crl=junk")},
	{"qemu: junk DH", "qemu-dh-unusable", loadServer("dh-params=junk")},
	{"qemu: no directory", "qemu-dir-missing", object("tls-creds-x509,id=tls0")},
	{"qemu: endpoint", "qemu-enum", object("tls-creds-x509,id=tls0,dir=/x,endpoint=both")},
	{"qemu: boolean", "qemu-boolean", object("tls-creds-x509,id=tls0,dir=/x,verify-peer=maybe")},
	{"qemu: unknown property", "qemu-unknown-parameter", object("tls-creds-x509,id=tls0,dir=/x,verify=on")},
	{"qemu: no value", "qemu-no-equals", object("tls-creds-x509,id=tls0,dir=/x,verify-peer")},
	{"qemu: no id", "qemu-object-id", object("tls-creds-x509,dir=/x")},
	{"qemu: bad id", "qemu-object-id", object("tls-creds-x509,id=0,dir=/x")},
	{"qemu: unknown type", "qemu-object-type", object("tls-creds-foo,id=tls0")},
	{"qemu: authz-listfile", "qemu-object-type", object("authz-listfile,id=a,filename=/x")},
	{"qemu: no identity of authz-simple", "qemu-authz-simple", object("authz-simple,id=a")},
	{"qemu: no secret", "qemu-secret-unknown", func(t *testing.T, g peertest.Generation, k kit) string {
		return object("tls-creds-x509,id=tls0,passwordid=s,dir="+k.qemu(t))(t, g, k)
	}},
	{"qemu: secret's key", "qemu-secret-unknown", object("secret,id=s,data=AAAA,format=base64,keyid=m,iv=AAAA")},
	{"qemu: nothing in a secret", "qemu-secret-empty", object("secret,id=s")},
	{"qemu: secret that is no base64", "qemu-secret-empty", object("secret,id=s,data=A?A,format=base64")},
	{"qemu: JSON", "qemu-json", object("{\"qom-type\":\"tls-creds-x509\",\"id\":\"a\",}")},
	{"qemu: half a rule", "qemu-missing-parameter", object("authz-list,id=a,rules.0.match=x")},
	{"qemu: PSK user", "qemu-psk-user-unknown", run("qemu-img", "info", "--object", "tls-creds-psk,id=tls0,dir=KIT/psk", "--image-opts", "driver=null-co")},
	{"qemu: PSK file", "qemu-psk-unreadable qemu-file-missing", run("qemu-img", "info", "--object", "tls-creds-psk,id=tls0,dir=KIT", "--image-opts", "driver=null-co")},
	{"qemu: PSK server with user", "qemu-psk-server-username", run("qemu-img", "info", "--object", "tls-creds-psk,id=tls0,dir=KIT/psk,endpoint=server,username=x", "--image-opts", "driver=null-co")},
	{"qemu-nbd: no credentials", "qemu-no-credentials", run("qemu-nbd", "--tls-creds=tls0", "/nonexistent")},
	{"qemu-nbd: authz without TLS", "qemu-authz-without-tls", run("qemu-nbd", "--tls-authz=a", "/nonexistent")},
	{"qemu-img: nbds", "nbd-uri", run("qemu-img", "info", "nbds://localhost")},
	{"qemu-system: VNC with PSK", "qemu-credentials-type", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-object", "tls-creds-psk,id=tls0,endpoint=server,dir=KIT/psk", "-vnc", "127.0.0.1:99,tls-creds=tls0")},
	{"qemu-system: VNC's authz", "qemu-authz-without-tls", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-vnc", "127.0.0.1:99,tls-authz=a")},
	{"qemu-system: VNC's endpoint", "qemu-endpoint", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-object", "tls-creds-anon,id=tls0,endpoint=client", "-vnc", "127.0.0.1:99,tls-creds=tls0")},
	{"qemu-system: chardev on UNIX", "chardev-tls-options", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-object", "tls-creds-anon,id=tls0,endpoint=server", "-chardev", "socket,id=c,path=/run/c,server=on,wait=off,tls-creds=tls0")},
	{"qemu-system: dotted list", "qemu-unknown-parameter", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-object", "authz-list,id=a,rules.0.match=x")},
	{"qemu-system: duplicate", "qemu-object-twice", run("qemu-system-x86_64", "-M", "none", "-display", "none", "-object", "tls-creds-anon,id=a,endpoint=server", "-object", "authz-simple,id=a,identity=x")},
	{"certtool: no such file", "certtool-load", run("certtool", "--certificate-info", "--infile", "/nonexistent")},
	{"certtool: junk", "pem-header", run("certtool", "--certificate-info", "--infile", "KIT/junk.pem")},
	{"certtool: no key", "certtool-option-missing", run("certtool", "--generate-certificate", "--template", "KIT/ca.info", "--load-privkey", "KIT/rsa-key.pem")},
	{"certtool: wrong CA", "gnutls-cli-issuer certtool-verify", run("certtool", "--verify", "--load-ca-certificate", "KIT/other-ca.pem", "--infile", "KIT/server.pem")},
	{"certtool: expired", "gnutls-cli-expired", run("certtool", "--verify", "--load-ca-certificate", "KIT/ca.pem", "--infile", "KIT/expired.pem")},
	{"certtool: host name", "gnutls-cli-name", run("certtool", "--verify", "--verify-hostname", "kvm9", "--load-ca-certificate", "KIT/ca.pem", "--infile", "KIT/server.pem")},
	{"psktool: no file", "psktool", run("psktool", "-u", "x")},
	{"openssl: verify another CA", "openssl-local-issuer", run("openssl", "verify", "-CAfile", "KIT/other-ca.pem", "KIT/server.pem")},
	{"openssl: verify expired", "openssl-expired", run("openssl", "verify", "-CAfile", "KIT/ca.pem", "KIT/expired.pem")},
	{"openssl: verify purpose", "openssl-purpose", run("openssl", "verify", "-purpose", "sslserver", "-CAfile", "KIT/ca.pem", "KIT/client-only.pem")},
	{"openssl: verify host name", "openssl-name", run("openssl", "verify", "-verify_hostname", "kvm9", "-CAfile", "KIT/ca.pem", "KIT/server.pem")},
	{"openssl: verify CA that is none", "openssl-ca", run("openssl", "verify", "-CAfile", "KIT/not-a-ca.pem", "KIT/server.pem")},
	{"openssl: junk", "openssl-pem", run("openssl", "x509", "-in", "KIT/junk.pem", "-noout")},
	{"openssl: no such file", "openssl-pem", run("openssl", "x509", "-in", "/nonexistent", "-noout")},
	{"openssl: wrong password", "openssl-key-password", run("openssl", "pkey", "-passin", "pass:wrong", "-in", "KIT/encrypted-key.pem", "-noout")},
	{"openssl: another key", "openssl-key-mismatch", run("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "KIT/server.pem", "-key", "KIT/ec-key.pem")},
	{"virt-pki-query-dn: junk", "query-dn-load", run("virt-pki-query-dn", "KIT/junk.pem")},
	{"virsh: nobody listens", "libvirt-no-connection", func(t *testing.T, g peertest.Generation, k kit) string {
		return said(g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": k.libvirt(t)}}, "virsh", "-c", "test+tls://localhost:1/default", "uri"))
	}},
	{"virsh: no CA", "libvirt-no-ca", run("virsh", "-c", "test+tls://localhost:1/default", "uri")},
	{"virsh: parameter", "libvirt-uri-parameter", run("virsh", "-c", "test+tls://localhost:1/default?no_verify=x", "uri")},
}

// Every text that real programs of every generation print about files,
// objects and arguments is explained.
func TestProvokedLoading(t *testing.T) {
	k := makeKit(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Parallel()
		for _, p := range loading {
			p.test(t, g, k)
		}
	})
}

// test provokes, and wants one of the entries first.
func (p provocation) test(t *testing.T, g peertest.Generation, k kit) {
	t.Run(p.name, func(t *testing.T) {
		text := p.do(t, g, k)
		got := ids(text)
		if !slices.ContainsFunc(got, func(id string) bool { return slices.Contains(strings.Fields(p.want), id) }) {
			t.Errorf("explained by %q, want one of %q:\n%s", got, p.want, text)
		}
	})
}

// nbd has qemu-img connect to qemu-nbd, and returns what both said. A server's
// or client's arguments are those for its credentials; none means no TLS.
func nbd(server, client string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, make([]byte, 4096), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"--format=raw", "--read-only", "--verbose"}
		if creds, more, _ := strings.Cut(k.fill(t, server), " "); creds != "" {
			args = append(args, "--object", creds+",id=tls0,endpoint=server", "--tls-creds=tls0")
			args = append(args, strings.Fields(more)...)
		}
		p := g.QemuNBD(t, peertest.Options{}, append(args, image)...).Ready()
		creds, more, _ := strings.Cut(k.fill(t, client), " ")
		args = []string{"info"}
		address := fmt.Sprintf("driver=nbd,host=localhost,port=%d", p.Port)
		if creds != "" {
			if !strings.Contains(creds, "endpoint=") {
				creds += ",endpoint=client"
			}
			args = append(args, "--object", creds+",id=tls0")
			address += ",tls-creds=tls0"
		}
		r := g.Run(t, peertest.Options{}, "qemu-img", append(args, "--image-opts", address+more)...)
		if r.Code == 0 {
			t.Errorf("the connection was to fail: %v", r)
		}
		return said(r) + said(p.Kill())
	}
}

// fill replaces GOOD by a directory of QEMU's with everything, and ones with
// changes: {NAME=FILE,NAME=FILE}.
func (k kit) fill(t *testing.T, s string) string {
	if before, rest, ok := strings.Cut(s, "{"); ok {
		changes, after, _ := strings.Cut(rest, "}")
		s = before + k.qemu(t, strings.Split(changes, ",")...) + after
	}
	return strings.NewReplacer("KIT", string(k)).Replace(s)
}

const (
	goodX509 = "tls-creds-x509,dir={ca-cert=ca}"
	pskRich  = "tls-creds-psk,username=rich,dir=KIT/psk"
)

// libvirt has virsh connect to libvirtd, and returns what both said.
func libvirt(conf, uri string, server, client []string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		d := g.Libvirtd(t, peertest.Options{Mounts: map[string]string{"/etc/pki": k.libvirt(t, server...)}}, conf).Ready()
		r := g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": k.libvirt(t, client...)}, Hosts: []string{"127.0.0.1 kvm9"}, Env: []string{"LIBVIRT_LOG_OUTPUTS=3:stderr"}},
			"virsh", "-c", fmt.Sprintf(uri, d.Port), "uri")
		if r.Code == 0 {
			t.Errorf("the connection was to fail: %v", r)
		}
		return said(r) + said(d.Kill())
	}
}

// refused starts a libvirtd that does not start.
func refused(conf string, changes ...string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		return said(g.Libvirtd(t, peertest.Options{Mounts: map[string]string{"/etc/pki": k.libvirt(t, changes...)}}, conf).Refused())
	}
}

// tls has a client of GnuTLS or OpenSSL connect to a server of either.
func tls(server []string, client ...string) func(*testing.T, peertest.Generation, kit) string {
	return func(t *testing.T, g peertest.Generation, k kit) string {
		start := g.GnutlsServ
		if server[0] == "openssl" {
			start = g.OpensslSServer
		}
		fill := func(args []string, port int) (out []string) {
			for _, a := range args {
				out = append(out, strings.NewReplacer("KIT", string(k), "PORT", fmt.Sprint(port)).Replace(a))
			}
			return out
		}
		p := start(t, peertest.Options{}, fill(server[1:], 0)...).Ready()
		r := g.Run(t, peertest.Options{Stdin: strings.NewReader("x\n")}, client[0], fill(client[1:], p.Port)...)
		return said(r) + said(p.Kill())
	}
}

var (
	gnutlsServer  = []string{"gnutls-serv", "--echo", "--x509certfile=KIT/server.pem", "--x509keyfile=KIT/rsa-key.pem"}
	opensslServer = []string{"openssl", "-cert", "KIT/server.pem", "-key", "KIT/rsa-key.pem", "-CAfile", "KIT/ca.pem"}
	plainURI      = "test+tls://localhost:%d/default"
)

func with(server []string, more ...string) []string { return append(slices.Clone(server), more...) }

var sessions = []provocation{
	{"NBD: no TLS at the client", "nbd-tls-required", nbd(goodX509, "")},
	{"NBD: no TLS at the server", "nbd-no-tls", nbd("", goodX509)},
	{"NBD: client without a certificate", "peer-without-certificate", nbd(goodX509, "tls-creds-x509,dir={client-cert=,client-key=}")},
	{"NBD: client of another authority", "peer-without-certificate", nbd(goodX509, "tls-creds-x509,sanity-check=off,dir={client-cert=other-client}")},
	{"NBD: server of another authority", "peer-unknown-issuer", nbd(goodX509, "tls-creds-x509,sanity-check=off,dir={ca-cert=other-ca}")},
	{"NBD: server elsewhere", "qemu-name-mismatch", nbd("tls-creds-x509,dir={server-cert=elsewhere}", goodX509)},
	{"NBD: tls-hostname", "qemu-name-mismatch", nbd(goodX509, goodX509+" ,tls-hostname=kvm9")},
	{"NBD: expired server", "peer-not-trusted", nbd("tls-creds-x509,sanity-check=off,dir={server-cert=expired}", goodX509)},
	{"NBD: expired client", "peer-not-trusted", nbd(goodX509, "tls-creds-x509,sanity-check=off,dir={client-cert=expired}")},
	{"NBD: revoked client", "peer-revoked", nbd("tls-creds-x509,dir={ca-crl=crl}", goodX509)},
	{"NBD: priority", "qemu-priority", nbd(goodX509, "tls-creds-x509,priority=@SYSTEM,dir={ca-cert=ca}")},
	{"NBD: no priorities", "qemu-priority no-priorities", nbd(goodX509, "tls-creds-x509,priority=NONE,dir={ca-cert=ca}")},
	{"NBD: PSK and X.509", "insufficient-credentials", nbd(goodX509, pskRich)},
	{"NBD: another key", "alert bad-finished illegal-parameter alert-psk", nbd("tls-creds-psk,dir=KIT/psk", "tls-creds-psk,username=rich,dir=KIT/psk2")},
	{"NBD: not on the access list", "qemu-authz-denied", nbd(goodX509+" --object=authz-simple,id=a,identity=CN=somebody --tls-authz=a", goodX509)},
	{"NBD: no access list", "qemu-authz-unknown", nbd(goodX509+" --tls-authz=a", goodX509)},
	{"NBD: wrong endpoint", "qemu-endpoint", nbd(goodX509, goodX509+",endpoint=server")},
	{"libvirt: no certificate of the client", "peer-without-certificate", libvirt("", plainURI, nil, []string{"client-cert=", "client-key="})},
	{"libvirt: the client's side of it", "libvirt-confirmation", func(t *testing.T, g peertest.Generation, k kit) string {
		text := libvirt("", plainURI, nil, []string{"client-cert=", "client-key="})(t, g, k)
		return text[strings.Index(text, "error: Unable"):][:60]
	}},
	{"libvirt: another authority", "peer-unknown-issuer", libvirt("", plainURI+"?no_sanity=1", nil, []string{"ca-cert=other-ca"})},
	{"libvirt: another name", "libvirt-name-mismatch", libvirt("", "test+tls://kvm9:%d/default", nil, nil)},
	{"libvirt: not on the list", "libvirt-dn-list", libvirt(`tls_allowed_dn_list = ["CN=somebody"]`, plainURI, nil, nil)},
	{"libvirt: revoked client", "peer-revoked", libvirt("", plainURI, []string{"ca-crl=crl"}, nil)},
	{"libvirt: nobody", "peer-name-unreadable", libvirt("", plainURI, nil, []string{"client-cert=nobody"})},
	{"libvirt: expired server", "peer-not-trusted", libvirt("tls_no_sanity_certificate = 1", plainURI, []string{"server-cert=expired"}, nil)},
	{"libvirt: priority", "libvirt-priority", libvirt("", plainURI+"?tls_priority=@SYSTEM", nil, nil)},
	{"libvirt: TCP to TLS", "not-tls", func(t *testing.T, g peertest.Generation, k kit) string {
		return libvirt("", "test+tcp://localhost:%d/default", nil, nil)(t, g, k)
	}},
	{"libvirtd: no files", "libvirt-no-ca", refused("", "ca-cert=")},
	{"libvirtd: no certificate", "libvirt-no-certificate libvirt-half-pair", refused("", "server-cert=")},
	{"libvirtd: no key", "libvirt-no-certificate libvirt-half-pair", refused("", "server-key=")},
	{"libvirtd: no identity", "libvirt-no-certificate", refused("", "server-cert=", "server-key=")},
	{"libvirtd: junk CA", "ca-unusable", refused("", "ca-cert=junk")},
	{"libvirtd: another key", "key-mismatch", refused("", "server-key=ec-key")},
	{"libvirtd: encrypted key", "key-encrypted", refused("", "server-key=encrypted-key")},
	{"libvirtd: expired", "own-certificate-expired", refused("", "server-cert=expired")},
	{"libvirtd: CA as server", "own-certificate-ca", refused("", "server-cert=ca", "server-key=ca-key")},
	{"libvirtd: another authority", "own-chain-unknown-issuer", refused("", "ca-cert=other-ca")},
	{"libvirtd: a client's certificate", "own-purpose", refused("", "server-cert=client-only")},
	{"libvirtd: junk list", "crl-unusable", refused("", "ca-crl=junk")},
	{"libvirtd: half a configuration", "libvirt-conf-incomplete", refused(`cert_file = "/x"`)},
	{"libvirtd: a string for a list", "libvirt-conf-lists", refused(`tls_allowed_dn_list = "CN=x"`)},
	{"gnutls-cli: issuer", "gnutls-cli-issuer", tls(gnutlsServer, "gnutls-cli", "--port=PORT", "--x509cafile=KIT/other-ca.pem", "localhost")},
	{"gnutls-cli: host name", "gnutls-cli-name", tls(gnutlsServer, "gnutls-cli", "--port=PORT", "--x509cafile=KIT/ca.pem", "--verify-hostname=kvm9", "localhost")},
	{"gnutls-cli: certificate wanted", "alert-certificate-required peer-without-certificate", tls(with(gnutlsServer, "--require-client-cert", "--x509cafile=KIT/ca.pem"), "gnutls-cli", "--port=PORT", "--x509cafile=KIT/ca.pem", "localhost")},
	{"gnutls-cli: nothing shared", "alert alert-named no-cipher-suites", tls(with(gnutlsServer, "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3"), "gnutls-cli", "--port=PORT", "--x509cafile=KIT/ca.pem", "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2", "localhost")},
	{"openssl: issuer", "openssl-local-issuer", tls(opensslServer, "openssl", "s_client", "-connect", "localhost:PORT", "-CAfile", "KIT/other-ca.pem", "-verify_return_error")},
	{"openssl: host name", "openssl-name", tls(opensslServer, "openssl", "s_client", "-connect", "localhost:PORT", "-CAfile", "KIT/ca.pem", "-verify_hostname", "kvm9", "-verify_return_error")},
	{"openssl: certificate wanted", "alert-certificate-required", tls(with(opensslServer, "-Verify", "1"), "openssl", "s_client", "-connect", "localhost:PORT", "-CAfile", "KIT/ca.pem")},
	{"openssl: nothing shared", "alert-named openssl-nothing-shared openssl-not-tls", tls(with(opensslServer, "-tls1_3"), "openssl", "s_client", "-connect", "localhost:PORT", "-tls1_2")},
	{"openssl: client of another authority", "openssl-local-issuer", tls(with(opensslServer, "-Verify", "1", "-verify_return_error"),
		"openssl", "s_client", "-connect", "localhost:PORT", "-CAfile", "KIT/ca.pem", "-cert", "KIT/other-client.pem", "-key", "KIT/rsa-key.pem")},
}

// Every text that real programs of every generation print about connections is
// explained, by the log of the side that knows the reason.
func TestProvokedSessions(t *testing.T) {
	k := makeKit(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Parallel()
		for _, p := range sessions {
			p.test(t, g, k)
		}
	})
}
