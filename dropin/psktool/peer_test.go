package psktool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/psk"
)

// The commands of QEMU's documentation, "TLS Pre-Shared Keys (PSK)", with
// another port and image.
func TestDocumentedCommands(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, os.Mkdir(keys, 0o700))
	got := ours(t, t.TempDir(), []string{"-u", "rich", "-p", keys + "/keys.psk"})
	check(t, "outcome", got, outcome{0, "Generating a random key for user 'rich'\nKey stored to " + keys + "/keys.psk\n", "", nil})
	ours(t, t.TempDir(), []string{"-u", "qemu", "-p", keys + "/keys.psk"})
	info, err := os.Stat(keys + "/keys.psk")
	must(t, err)
	check(t, "size and mode", fmt.Sprintf("%d %v", info.Size(), info.Mode()), "140 -rw-------")

	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		image := filepath.Join(t.TempDir(), "image.qcow2")
		if made := g.Run(t, peertest.Options{}, "qemu-img", "create", "-f", "qcow2", image, "1M"); made.Code != 0 {
			t.Fatal(made)
		}
		server := g.QemuNBD(t, peertest.Options{},
			"-t", "-x", "/",
			"--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+keys,
			"--tls-creds", "tls0",
			image).Ready()
		info := func(creds string) peertest.Result {
			return g.Run(t, peertest.Options{}, "qemu-img", "info",
				"--object", creds,
				"--image-opts",
				fmt.Sprintf("file.driver=nbd,file.host=localhost,file.port=%d,file.tls-creds=tls0,file.export=/", server.Port))
		}
		for _, user := range []string{",username=rich", ""} { // "defaults to qemu"
			if got := info("tls-creds-psk,id=tls0,dir=" + keys + user + ",endpoint=client"); got.Code != 0 || !strings.Contains(got.Stdout, "virtual size: 1 MiB") {
				t.Errorf("with %q: %v", user, got)
			}
		}

		others := t.TempDir()
		if got := ours(t, others, []string{"-u", "rich", "-p", "keys.psk"}); got.Code != 0 {
			t.Fatal(got)
		}
		if got := info("tls-creds-psk,id=tls0,dir=" + others + ",username=rich,endpoint=client"); got.Code == 0 {
			t.Errorf("another key for the same user was accepted: %v", got)
		}
	})
}

// A GnuTLS server takes what psktool writes for every name that one can have.
func TestGnutlsTakesOurFile(t *testing.T) {
	const priority = "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK"
	dir := t.TempDir()
	users := []string{"rich", "a:b", "a\nb", "a b", "jürgen", strings.Repeat("x", 300)}
	for i, user := range users {
		if got := ours(t, dir, []string{"-u", user, "-s", fmt.Sprint(16 << i), "-p", "keys.psk"}); got.Code != 0 {
			t.Fatal(got)
		}
	}
	f, err := psk.Read(dir + "/keys.psk")
	must(t, err)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.GnutlsServ(t, peertest.Options{}, "--quiet", "--echo", "--noticket",
			"--priority", priority, "--pskpasswd", dir+"/keys.psk").Ready()
		for _, user := range users {
			key, err := f.ServerKey(user)
			must(t, err)
			got := g.Run(t, peertest.Options{Stdin: strings.NewReader("")}, "gnutls-cli", "--priority", priority,
				"--port", fmt.Sprint(server.Port), "--pskusername", user, "--pskkey", key.Hex(), "127.0.0.1")
			if got.Code != 0 {
				t.Errorf("%q: code %d: %s", user, got.Code, got.Stderr)
			}
		}
	})
}

// We read what the real psktool writes, and find nothing wrong with it.
func TestWeReadTheRealFile(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		for _, user := range []string{"rich", "a:b"} {
			if got := theirs(t, g, dir, []string{"-u", user, "-p", "keys.psk"}); got.Code != 0 {
				t.Fatal(got)
			}
		}
		f, err := psk.Read(dir + "/keys.psk")
		must(t, err)
		for _, user := range []string{"rich", "a:b"} {
			key, err := f.ServerKey(user)
			must(t, err)
			check(t, "size of the key", key.Size(), 32)
		}
		var codes []string
		for _, found := range f.Check() {
			codes = append(codes, found.Subject+" "+found.Code)
		}
		check(t, "findings", codes, []string{dir + "/keys.psk:2 psk-user-name"})
	})
}
