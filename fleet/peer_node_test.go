package fleet

import (
	"cmp"
	"encoding/json"
	"os/exec"
	"testing"

	"virtls/internal/peertest"
)

// A pqVisit is a handshake in TLS 1.3 between programs that have ML-DSA.
type pqVisit struct {
	name           string
	server, client party
	host           string // kvm1 if empty
	by             string // who refuses: client, server, or nobody
}

// openssl has s_client visit s_server.
func (v pqVisit) openssl(t *testing.T, g peertest.Generation, names []string) {
	t.Helper()
	server := g.OpensslSServer(t, peertest.Options{}, "-CAfile", v.server.anchors(t), "-crl_check", "-cert", v.server.cert, "-key", v.server.key,
		"-Verify", "1", "-verify_return_error").Ready()
	host := cmp.Or(v.host, kvm1)
	r := g.Run(t, peertest.Options{Hosts: names}, "openssl", "s_client", "-tls1_3", "-connect", host+":"+portOf(server), "-verify_hostname", host,
		"-CAfile", v.client.anchors(t), "-crl_check", "-cert", v.client.cert, "-key", v.client.key, "-verify_return_error")
	switch v.by {
	case "client":
		wantResult(t, r, "certificate verify failed")
	case "server": // which the client may have left before it judged
		server.Until(peertest.Logged("verify error:"))
	default:
		wantResult(t, r, "")
		server.Until(peertest.Logged("CIPHER is TLS_"))
	}
}

// nodeScript has a client visit a server in one process, and prints what each
// of them thought of it as JSON.
const nodeScript = `
const tls = require('tls'), fs = require('fs');
const {server, client, host} = JSON.parse(process.argv[1]);
const load = p => ({ca: fs.readFileSync(p.ca), crl: fs.readFileSync(p.crl), cert: fs.readFileSync(p.cert), key: fs.readFileSync(p.key), minVersion: 'TLSv1.3'});
const result = {server: '', client: ''};
const done = () => { console.log(JSON.stringify(result)); process.exit(0); };
const listener = tls.createServer({...load(server), requestCert: true, rejectUnauthorized: true}, socket => {
  result.server = 'accepted ' + socket.getPeerCertificate().subject.CN;
  socket.end('welcome');
});
listener.on('tlsClientError', err => { result.server = err.code || err.message; setImmediate(() => setTimeout(done, 50)); });
listener.listen(0, '127.0.0.1', () => {
  const socket = tls.connect({...load(client), host: '127.0.0.1', port: listener.address().port, servername: host});
  let text = '';
  socket.on('data', d => { text += d; });
  socket.on('error', err => { result.client = err.code || err.message; setTimeout(done, 50); });
  socket.on('end', () => { result.client = text; setTimeout(done, 50); });
});
`

// node has Node.js play both parts.
func (v pqVisit) node(t *testing.T, program string) {
	t.Helper()
	files := func(p party) map[string]string {
		return map[string]string{"ca": p.ca, "crl": p.crl, "cert": p.cert, "key": p.key}
	}
	arg, err := json.Marshal(map[string]any{"server": files(v.server), "client": files(v.client), "host": cmp.Or(v.host, kvm1)})
	must(t, err)
	out, err := exec.CommandContext(t.Context(), program, "-e", nodeScript, string(arg)).Output()
	must(t, err)
	var result struct{ Server, Client string }
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	accepted := len(result.Server) > 9 && result.Server[:9] == "accepted "
	switch v.by {
	case "client":
		if result.Client == "welcome" || result.Client == "" {
			t.Errorf("node's client accepts: %+v", result)
		}
	case "server":
		if accepted || result.Server == "" || result.Client == "welcome" {
			t.Errorf("node's server accepts: %+v", result)
		}
	default:
		if !accepted || result.Client != "welcome" {
			t.Errorf("node refuses: %+v", result)
		}
	}
}
