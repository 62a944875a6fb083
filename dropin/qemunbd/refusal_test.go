package qemunbd

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// certificates makes directories for a server and a client by certtool.
const certificates = `for d in server client; do mkdir $d; done
certtool --generate-privkey --key-type=ecdsa --outfile ca.key 2>/dev/null
printf 'cn = Test CA\nca\ncert_signing_key\n' > ca.info
certtool --generate-self-signed --load-privkey ca.key --template ca.info --outfile server/ca-cert.pem 2>/dev/null
cp server/ca-cert.pem client
for d in server client; do
	certtool --generate-privkey --key-type=ecdsa --outfile $d/$d-key.pem 2>/dev/null
	printf 'organization = Example\ncn = %s\ndns_name = localhost\nsigning_key\n' $d > info
	certtool --generate-certificate --load-ca-certificate server/ca-cert.pem --load-ca-privkey ca.key --load-privkey $d/$d-key.pem --template info --outfile $d/$d-cert.pem 2>/dev/null
done
mkdir bare && cp server/ca-cert.pem bare
echo rich:00112233445566778899aabbccddeeff > server/keys.psk
echo rich:ffeeddccbbaa99887766554433221100 > client/keys.psk
cp -r server theirs # with what QEMU before 10.2 makes else, slowly, and ours warns of, as later ones do
certtool --get-dh-params --outfile theirs/dh-params.pem 2>/dev/null
truncate -s 1M disk.raw`

// TestRefusals compares what the server says of clients that are sent away, and
// what these see, with the real program.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	if res := peertest.Host.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", certificates); res.Code != 0 {
		t.Fatal(res)
	}
	x509 := "tls-creds-x509,id=tls0,endpoint=server,dir=" + dir + "/server"
	client := "tls-creds-x509,id=tls0,endpoint=client,dir=" + dir
	for _, tt := range []struct {
		name   string
		server []string
		client string // object; empty for none
		says   string // the server
	}{
		{"list", []string{"--object", x509, "--tls-creds", "tls0", "--object", "authz-simple,id=acl,identity=O=Example,,CN=other", "--tls-authz", "acl"}, client + "/client", "is denied"},
		{"list that is not there", []string{"--object", x509, "--tls-creds", "tls0", "--tls-authz", "acl"}, client + "/client", "acl"},
		{"no certificate", []string{"--object", x509, "--tls-creds", "tls0"}, client + "/bare", "No certificate was found"},
		{"no TLS", []string{"--object", x509, "--tls-creds", "tls0"}, "", ""},
		{"TLS for a server without", nil, client + "/client", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-f", "raw", "-x", "disk"}, append(tt.server, filepath.Join(dir, "disk.raw"))...)
			real := peertest.Host.QemuNBD(t, peertest.Options{}, strings.Split(strings.ReplaceAll(strings.Join(args, "\n"), dir+"/server", dir+"/theirs"), "\n")...).Ready()
			ask := func(port int) string {
				t.Helper()
				image := fmt.Sprintf("driver=nbd,host=localhost,port=%d,export=disk", port)
				command := []string{"info", "--image-opts"}
				if tt.client != "" {
					image += ",tls-creds=tls0"
					command = append(command, "--object", tt.client)
				}
				res := peertest.Host.Run(t, peertest.Options{}, "qemu-img", append(command, image)...)
				if res.Code == 0 {
					t.Errorf("the client is let in: %v", res)
				}
				return strings.ReplaceAll(res.Stderr, fmt.Sprint(port), "PORT")
			}
			theirs, said := ask(real.Port), ""
			real.Stop()
			said = real.Stderr()

			// The disk can be served by one of them at a time.
			port := peertest.FreePort(t)
			stderr, _ := serve(t, append([]string{"-t", "-b", "127.0.0.1", "-p", fmt.Sprint(port)}, args...)...)
			// How a connection that the server cuts off looks depends on who is quicker.
			if ours := ask(port); ours != theirs && tt.says == "" {
				t.Errorf("the client of ours says\n%s\nthat of qemu-nbd\n%s", ours, theirs)
			}
			for end := time.Now().Add(5 * time.Second); stderr.String() != said && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			}
			if stderr.String() != said || !strings.Contains(said, tt.says) {
				t.Errorf("we say\n%s\nqemu-nbd says\n%s\nwant %q", stderr, said, tt.says)
			}
		})
	}
}
