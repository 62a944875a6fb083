package fleet

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"virtls/internal/peertest"
)

// A party is one end of a connection: files as QEMU names them, and where they are used.
type party struct{ ca, crl, cert, key string }

func qemuParty(dir, role string) party {
	return party{dir + "/ca-cert.pem", dir + "/ca-crl.pem", dir + "/" + role + "-cert.pem", dir + "/" + role + "-key.pem"}
}

// anchors joins the authorities and their lists in a file: OpenSSL's -CRL reads
// one list alone.
func (p party) anchors(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "anchors.pem")
	must(t, os.WriteFile(name, append(read(t, p.ca), read(t, p.crl)...), 0o600))
	return name
}

// A stack is a pair of programs that speak TLS and nothing above it.
type stack struct {
	name   string
	server func(t *testing.T, g peertest.Generation, p party) *peertest.Proc
	client func(t *testing.T, g peertest.Generation, p party, o peertest.Options, host, port string) peertest.Result
}

// Both judge clients in the handshake, and clients that offer TLS 1.2 alone
// hear of it there.
var stacks = []stack{
	{
		name: "gnutls",
		server: func(t *testing.T, g peertest.Generation, p party) *peertest.Proc {
			return g.GnutlsServ(t, peertest.Options{}, "--echo", "--x509cafile="+p.ca, "--x509crlfile="+p.crl, "--x509certfile="+p.cert, "--x509keyfile="+p.key,
				"--require-client-cert", "--verify-client-cert").Ready()
		},
		client: func(t *testing.T, g peertest.Generation, p party, o peertest.Options, host, port string) peertest.Result {
			return g.Run(t, o, "gnutls-cli", "--priority=NORMAL:-VERS-TLS1.3", "--port="+port, "--x509cafile="+p.ca, "--x509crlfile="+p.crl,
				"--x509certfile="+p.cert, "--x509keyfile="+p.key, host)
		},
	},
	{
		name: "openssl",
		server: func(t *testing.T, g peertest.Generation, p party) *peertest.Proc {
			return g.OpensslSServer(t, peertest.Options{}, "-CAfile", p.anchors(t), "-crl_check", "-cert", p.cert, "-key", p.key,
				"-Verify", "1", "-verify_return_error").Ready()
		},
		client: func(t *testing.T, g peertest.Generation, p party, o peertest.Options, host, port string) peertest.Result {
			return g.Run(t, o, "openssl", "s_client", "-tls1_2", "-connect", host+":"+port, "-verify_hostname", host, "-CAfile", p.anchors(t), "-crl_check",
				"-cert", p.cert, "-key", p.key, "-verify_return_error")
		},
	},
}

// The staged files in the hands of programs that look at everything.
func TestPeerTLS(t *testing.T) {
	c := newCast(t)
	good := qemuParty(c.host(kvm2, "etc/pki/qemu"), "client")
	// Clients differ in their identity alone, so that it is the server who refuses them.
	client := func(dir string) party {
		p := qemuParty(dir+"/etc/pki/qemu", "client")
		p.ca, p.crl = good.ca, good.crl
		return p
	}
	server := func(dir string) party { return qemuParty(dir+"/etc/pki/qemu", "server") }
	const wrongRole = "wrong role"
	type guest struct {
		name    string
		client  party
		host    string   // kvm1 if empty
		refused []string // what the client says with GnuTLS, with OpenSSL
		because []string // what the server says
	}
	servers := []struct {
		name   string
		server party
		guests []guest
	}{
		{"host", server(c.host(kvm1)), []guest{
			{name: "host", client: good},
			{name: "short name", client: good, host: "kvm1"},
			{name: "person", client: qemuParty(c.client("admin", ".pki/qemu"), "client")},
			{name: "itself", client: qemuParty(c.host(kvm1, "etc/pki/qemu"), "client")},
			{name: "wrong name", client: good, host: "other.example.com", refused: []string{"does not match", "hostname mismatch"}},
			{name: "foreign", client: client(c.foreign.host(kvm2)), refused: []string{"alert", "alert"}, because: []string{"Error in the certificate", "verify error:num=20:unable to get local issuer certificate"}},
			{name: "expired", client: client(c.trees["expired client"]), refused: []string{"alert", "alert certificate expired"}, because: []string{"Error in the certificate", "certificate has expired"}},
			{name: "revoked", client: client(c.trees["revoked client"]), refused: []string{"alert", "alert certificate revoked"}, because: []string{"Error in the certificate", "certificate revoked"}},
			{name: wrongRole, client: client(c.trees["swapped roles"]), refused: []string{"alert", "alert unsupported certificate"}, because: []string{"", "certificate purpose"}},
		}},
		{"foreign", server(c.foreign.host(kvm1)), []guest{{name: "host", client: good, refused: []string{"NOT trusted", "certificate verify failed"}}}},
		{"expired", server(c.trees["expired host"]), []guest{{name: "host", client: good, refused: []string{"uses expired certificate", "certificate has expired"}}}},
		{"wrong role", server(c.trees["swapped roles"]), []guest{{name: "host", client: good, host: split, refused: []string{"does not match the intended purpose", "certificate purpose"}}}},
	}
	of := func(texts []string, stack int) string {
		if texts == nil {
			return ""
		}
		return texts[stack]
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for i, stack := range stacks {
			for _, s := range servers {
				t.Run(stack.name+" "+s.name, func(t *testing.T) {
					t.Parallel()
					proc := stack.server(t, g, s.server)
					for _, v := range s.guests {
						if v.name == wrongRole && stack.name == "gnutls" && !g.Version(t, peertest.GnuTLS).AtLeast("3.8.13") {
							v.refused = nil // older gnutls-serv ask for no purpose
						}
						r := stack.client(t, g, v.client, peertest.Options{Hosts: c.names()}, cmp.Or(v.host, kvm1), portOf(proc))
						wantResult(t, r, of(v.refused, i))
						proc.Until(peertest.Logged(of(v.because, i)))
					}
				})
			}
		}
	})
}
