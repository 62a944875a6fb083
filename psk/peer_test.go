package psk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/psk"
)

const (
	hex1 = "00112233445566778899aabbccddeeff"
	hex2 = "ffeeddccbbaa99887766554433221100"
)

// odd is a file with one of every line that readers might differ about.
var odd = strings.Join([]string{
	"# comment",
	"# comment: with a colon",
	"no colon",
	"",
	"alice:" + hex1,
	"alice:" + hex2,
	"UPPER:" + strings.ToUpper(hex2),
	"#6162:" + hex1,
	"#613a62:" + hex1,
	"a:b:" + hex1,
	"#hash:" + hex1,
	" blanks :" + hex1,
	"jürgen:" + hex1,
	"trail:" + hex1 + " ",
	"lead: " + hex1,
	"crlf:" + hex1 + "\r",
	"odd:" + hex1 + "0",
	"nonhex:" + hex1 + "zz",
	"empty:",
	"three:001122",
	"four:00112233",
	"last:" + hex1,
}, "\n")

var oddUsers = []string{
	"alice", "alic", "alice2", "UPPER", "upper", "ab", "a:b", "#6162", "#hash", "hash", "no colon", "# comment", " blanks ", "blanks",
	"jürgen", "trail", "lead", "crlf", "odd", "nonhex", "empty", "three", "four", "last", "qemu",
}

func writeFile(t *testing.T, text string) (dir string, f *psk.File) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys.psk"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := psk.Read(filepath.Join(dir, "keys.psk"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, f
}

// A GnuTLS server lets in exactly those users, with exactly those keys, that
// ServerKey finds.
func TestServerKeyIsWhatGnutlsFinds(t *testing.T) {
	const priority = "NORMAL:-KX-ALL:+ECDHE-PSK:+PSK"
	dir, f := writeFile(t, odd)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.GnutlsServ(t, peertest.Options{}, "--quiet", "--echo", "--noticket",
			"--priority", priority, "--pskpasswd", filepath.Join(dir, "keys.psk")).Ready()
		for _, user := range oddUsers {
			found, err := f.ServerKey(user)
			offers := []string{hex1}
			if user == "alice" {
				offers = append(offers, hex2) // of her second line
			}
			if err == nil && found.Hex() != hex1 {
				offers = append(offers, found.Hex())
			}
			for _, offered := range offers {
				got := g.Run(t, peertest.Options{Stdin: strings.NewReader("")}, "gnutls-cli", "--priority", priority,
					"--port", fmt.Sprint(server.Port), "--pskusername", user, "--pskkey", offered, "127.0.0.1")
				if want := err == nil && found.Hex() == offered; (got.Code == 0) != want {
					t.Errorf("user %q: ServerKey gives %v, %v; with %s: %v", user, found, err, offered, got)
				}
			}
		}
	})
}

// A QEMU client has exactly those users that ClientKey finds, and gets in as
// those for whom ServerKey finds the same key.
func TestClientKeyIsWhatQemuFinds(t *testing.T) {
	dir, f := writeFile(t, odd)
	image := filepath.Join(dir, "image.raw")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+dir,
			"--tls-creds", "tls0", "--read-only", "--format=raw", image).Ready()
		for _, user := range oddUsers {
			got := g.Run(t, peertest.Options{}, "qemu-img", "info",
				"--object", fmt.Sprintf("tls-creds-psk,id=tls0,endpoint=client,dir=%s,username=%s", dir, user),
				"--image-opts", fmt.Sprintf("driver=nbd,host=127.0.0.1,port=%d,tls-creds=tls0", server.Port))
			loaded := !strings.Contains(got.Stderr, "not found in PSK file") && !strings.Contains(got.Stderr, "Cannot set PSK client credentials")
			client, clientErr := f.ClientKey(user)
			if loaded != (clientErr == nil) {
				t.Errorf("user %q: ClientKey gives %v, %v: %v", user, client, clientErr, got)
			}
			server, serverErr := f.ServerKey(user)
			if want := clientErr == nil && serverErr == nil && client.Equal(server); (got.Code == 0) != want {
				t.Errorf("user %q: ClientKey gives %v, ServerKey %v, %v: %v", user, client, server, serverErr, got)
			}
		}
	})
}

// Users that Set accepts get in with what it writes.
func TestQemuTakesWhatWeWrite(t *testing.T) {
	dir := t.TempDir()
	path, image := filepath.Join(dir, "keys.psk"), filepath.Join(dir, "image.raw")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	users := map[string]int{"rich": psk.DefaultKeySize, "kvm1.example.com": psk.MinKeySize, "a b=c": psk.MaxKeySize, strings.Repeat("x", psk.MaxNameSize): 64}
	if err := psk.Update(path, func(f *psk.File) error {
		for user, size := range users {
			key, err := psk.Generate(size)
			if err != nil {
				return err
			}
			if _, err := f.Set(user, key); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+dir,
			"--tls-creds", "tls0", "--read-only", "--format=raw", image).Ready()
		for user := range users {
			got := g.Run(t, peertest.Options{}, "qemu-img", "info",
				"--object", fmt.Sprintf("tls-creds-psk,id=tls0,endpoint=client,dir=%s,username=%s", dir, user),
				"--image-opts", fmt.Sprintf("driver=nbd,host=127.0.0.1,port=%d,tls-creds=tls0", server.Port))
			if got.Code != 0 {
				t.Errorf("user %q: %v", user, got)
			}
		}
	})
}
