package creds

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/peertest"
)

const (
	keyA = "00112233445566778899aabbccddeeff"
	keyB = "ffeeddccbbaa99887766554433221100"
)

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pskCases are what LoadPSK and QEMU refuse in the same words.
var pskCases = []struct {
	name    string
	file    string // content of keys.psk; "-" for no file
	options PSKOptions
	want    string // the error; empty if it is loaded
	code    string
}{
	{name: "client", file: "qemu:" + keyA + "\n"},
	{name: "client of another name", file: "qemu:" + keyA + "\nme:" + keyB + "\n", options: PSKOptions{Username: "me"}},
	{name: "server", file: "me:" + keyA + "\n", options: PSKOptions{Endpoint: Server}},
	{name: "server with an empty file", file: "", options: PSKOptions{Endpoint: Server}},
	{name: "no file", file: "-", want: "Unable to access credentials DIR/keys.psk: No such file or directory", code: "credential-missing"},
	{name: "no file for a server", file: "-", options: PSKOptions{Endpoint: Server}, want: "Unable to access credentials DIR/keys.psk: No such file or directory", code: "credential-missing"},
	{name: "unknown user", file: "other:" + keyA + "\n", want: "Username qemu not found in PSK file DIR/keys.psk", code: "psk-user-unknown"},
	{name: "prefix of a user", file: "qemu:" + keyA + "\n", options: PSKOptions{Username: "qem"}, want: "Username qem not found in PSK file DIR/keys.psk", code: "psk-user-unknown"},
	{name: "no hexadecimal", file: "qemu:xyz\n", want: "Cannot set PSK client credentials", code: "psk-key-malformed"},
	{name: "CR LF", file: "qemu:" + keyA + "\r\n", want: "Cannot set PSK client credentials", code: "psk-key-malformed"},
	{name: "server with a username", file: "qemu:" + keyA + "\n", options: PSKOptions{Endpoint: Server, Username: "me"}, want: "username should not be set when endpoint=server", code: "psk-server-username"},
	{name: "no directory", file: "-", options: PSKOptions{Dir: "-"}, want: "Missing 'dir' property value", code: "credential-dir-unset"},
	{name: "no directory for a server", file: "-", options: PSKOptions{Dir: "-", Endpoint: Server}, want: "Missing 'dir' property value", code: "credential-dir-unset"},
	{name: "server with DH parameters that are junk", file: "me:" + keyA + "\n", options: PSKOptions{Endpoint: Server, Dir: "junk"}, want: "Unable to load DH parameters from DIR/dh-params.pem", code: "dh-params-malformed"},
}

func TestLoadPSK(t *testing.T) {
	for _, test := range pskCases {
		t.Run(test.name, func(t *testing.T) {
			o, dir := test.options, t.TempDir()
			switch o.Dir {
			case "-":
				o.Dir = ""
			case "junk":
				writeFile(t, filepath.Join(dir, "dh-params.pem"), "junk")
				o.Dir = dir
			default:
				o.Dir = dir
			}
			if test.file != "-" {
				writeFile(t, filepath.Join(dir, "keys.psk"), test.file)
			}
			p, _, err := LoadPSK(o)
			if test.want == "" {
				if err != nil || p.Type() != "tls-creds-psk" || p.Endpoint() != o.Endpoint || !p.VerifyPeer() {
					t.Fatal(p, err)
				}
			} else if want := strings.ReplaceAll(test.want, "DIR", dir); err == nil || !strings.Contains(err.Error(), want) || finding.Of(err).Code != test.code {
				t.Fatalf("%v (%s); want %q (%s)", err, finding.Of(err).Code, want, test.code)
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				object := "tls-creds-psk,id=tls0,endpoint=" + o.Endpoint.String()
				if o.Dir != "" {
					object += ",dir=" + o.Dir
				}
				if o.Username != "" {
					object += ",username=" + o.Username
				}
				if o.Endpoint == Server && test.want == "" {
					return // QEMU up to 10.1 makes DH parameters first, and is not asked for what it says then
				}
				got := g.Run(t, peertest.Options{}, "qemu-img", "info", "-f", "raw", "--object", object, "/etc/hosts")
				want := strings.ReplaceAll(test.want, "DIR", dir)
				if (got.Code != 0) != (want != "") || !strings.Contains(got.Stderr, want) {
					t.Errorf("want %q: %v", want, got)
				}
			})
		})
	}
}

func TestPSK(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.psk")
	writeFile(t, path, "a:"+keyA+"\nb:"+keyB+"\n")
	client, _, err := LoadPSK(PSKOptions{Dir: dir, Username: "b", Priority: "NORMAL", NoVerifyPeer: true})
	if err != nil {
		t.Fatal(err)
	}
	if client.Username() != "b" || client.Key().Hex() != keyB || client.Priority() != "NORMAL" || client.VerifyPeer() {
		t.Errorf("client is %q with %v", client.Username(), client.Key())
	}
	server, warnings, err := LoadPSK(PSKOptions{Dir: dir, Endpoint: Server})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if key, err := server.Lookup("a"); err != nil || key.Hex() != keyA {
		t.Errorf("a has %v, %v", key, err)
	}
	if _, err := server.Lookup("c"); err == nil {
		t.Error("c has a key")
	}
	writeFile(t, path, "c:"+keyA+"\n")
	if key, err := server.Lookup("c"); err != nil || key.Hex() != keyA {
		t.Errorf("c, who came later, has %v, %v", key, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Lookup("c"); err == nil {
		t.Error("c has a key without a file")
	}
	if diff := cmp.Diff([]string{path, filepath.Join(dir, "dh-params.pem")}, server.Files()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{path}, client.Files()); diff != "" {
		t.Error(diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", client, client, client); strings.Contains(text, keyB) {
		t.Error("the key shows in", text)
	}
}

// A server loads a file with lines that nobody can log in with, and says so.
func TestPSKWarnings(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "keys.psk"), "a:"+keyA+"\nb:xyz\nb2:"+keyA+"\n")
	_, warnings, err := LoadPSK(PSKOptions{Dir: dir, Endpoint: Server})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"warning psk-key-malformed", "warning psk-key-shared"}, severities(warnings)); diff != "" {
		t.Error(diff)
	}
}

// severities are the findings' severities and codes.
func severities(findings []finding.Finding) (list []string) {
	for _, f := range findings {
		list = append(list, f.Severity.String()+" "+f.Code)
	}
	return list
}

func TestLoadAnon(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []AnonOptions{{}, {Endpoint: Server}, {Endpoint: Server, Dir: dir}, {Dir: "/nowhere"}} {
		a, warnings, err := LoadAnon(o)
		if err != nil {
			t.Fatal(o, err)
		}
		if diff := cmp.Diff([]string{"warning credential-anonymous"}, severities(warnings)); diff != "" {
			t.Error(o, diff)
		}
		if a.DH != nil || a.Type() != "tls-creds-anon" || a.Endpoint() != o.Endpoint || !a.VerifyPeer() || a.Priority() != "" {
			t.Errorf("%+v is %+v", o, a)
		}
	}
	path := filepath.Join(dir, "dh-params.pem")
	writeFile(t, path, string(testDH))
	a, warnings, err := LoadAnon(AnonOptions{Endpoint: Server, Dir: dir, Priority: "NORMAL"})
	if err != nil || a.DH == nil || a.DH.P.BitLen() != 2048 || a.Priority() != "NORMAL" {
		t.Fatal(a, err)
	}
	if diff := cmp.Diff([]string{"warning dh-params-deprecated", "warning credential-anonymous"}, severities(warnings)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{path}, a.Files()); diff != "" {
		t.Error(diff)
	}
	writeFile(t, path, "junk")
	if _, _, err := LoadAnon(AnonOptions{Endpoint: Server, Dir: dir}); err == nil || !strings.Contains(err.Error(), "Unable to load DH parameters from "+path) {
		t.Error(err)
	}
	if _, _, err := LoadAnon(AnonOptions{Endpoint: Client, Dir: dir}); err != nil {
		t.Error("a client reads no parameters:", err)
	}
}
