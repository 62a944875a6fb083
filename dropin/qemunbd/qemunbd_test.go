package qemunbd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/dropin"
	"virtls/dropin/qemuimg"
	"virtls/internal/peertest"
)

// serve runs the program until the test ends. done is closed when it has ended.
func serve(t *testing.T, args ...string) (stderr *peertest.Log, done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stderr = &peertest.Log{}
	ended := make(chan struct{})
	pid := filepath.Join(t.TempDir(), "pid") // is there once the program listens
	go func() {
		defer close(ended)
		runAs(ctx, newest, append([]string{"--pid-file", pid}, args...), dropin.IO{In: strings.NewReader(""), Out: stderr, Err: stderr})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	for range 1000 {
		if _, err := os.Stat(pid); err == nil {
			return stderr, ended
		}
		select {
		case <-ended:
			t.Fatal(stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("does not listen: ", stderr)
	return nil, nil
}

// generations are the rows of the table by the release that has them.
var generations = map[string]generation{"host": qemu72, "trixie": qemu100, "forky": qemu111}

const fixtures = `qemu-img create -q -f qcow2 image.qcow2 4M; qemu-io -c 'write -P 1 1M 64k' image.qcow2 >/dev/null
	qemu-img convert -O raw image.qcow2 image.raw`

// TestDocumentation has qemu-img of every generation and our own run QEMU's
// documentation's example against our qemu-nbd.
func TestDocumentation(t *testing.T) {
	keys := t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "keys.psk"), []byte("rich:"+strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", fixtures); res.Code != 0 {
			t.Fatal(res)
		}
		port := fmt.Sprint(peertest.FreePort(t))
		stderr, _ := serve(t, "-t", "-p", port, "-x", "/", "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+keys, "--tls-creds", "tls0", filepath.Join(dir, "image.qcow2"))
		if !strings.Contains(stderr.String(), "served read-only") {
			t.Error(stderr)
		}
		object := "tls-creds-psk,id=tls0,dir=" + keys + ",username=rich,endpoint=client"
		args := []string{"info", "--object", object, "--image-opts", "file.driver=nbd,file.host=localhost,file.port=" + port + ",file.tls-creds=tls0,file.export=/"}
		theirs := g.Run(t, peertest.Options{}, "qemu-img", args...)
		if theirs.Code != 0 || !strings.Contains(theirs.Stdout, "virtual size: 4 MiB") {
			t.Error(theirs)
		}
		var out bytes.Buffer
		code := qemuimg.Run(args, dropin.IO{Out: &out, Err: &out})
		if code != 0 || !strings.HasPrefix(out.String(), theirs.Stdout) {
			t.Errorf("our qemu-img: %d\n%s", code, out.String())
		}
		equal := g.Run(t, peertest.Options{}, "qemu-img", "compare", "--object", object, "--image-opts", "driver=nbd,host=localhost,port="+port+",tls-creds=tls0,export=/", "driver=raw,file.filename="+filepath.Join(dir, "image.raw"))
		if equal.Code != 0 {
			t.Error(equal)
		}
		listed := g.Run(t, peertest.Options{}, "qemu-nbd", "-L", "-b", "localhost", "-p", port, "--object", object, "--tls-creds", "tls0")
		var ours bytes.Buffer
		runAs(t.Context(), generations[g.Name], []string{"-L", "-b", "localhost", "-p", port, "--object", object, "--tls-creds", "tls0"}, dropin.IO{Out: &ours, Err: &ours})
		if listed.Code != 0 || ours.String() != listed.Stdout {
			t.Errorf("we list:\n%s\nqemu-nbd lists:\n%s", ours.String(), listed)
		}
	})
}

// TestGuessedRaw lets nobody turn a disk that was guessed to be raw into
// something else, and ends after the first client.
func TestGuessedRaw(t *testing.T) {
	dir := t.TempDir()
	name, socket := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "sock")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "evil"), append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 504)...), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr, done := serve(t, "-k", socket, name)
	if !strings.Contains(stderr.String(), "probing guessed raw") {
		t.Error(stderr)
	}
	res := peertest.Host.Run(t, peertest.Options{}, "qemu-io", "-f", "raw", "-c", "write -P 7 4k 4k", "-c", "write -s "+filepath.Join(dir, "evil")+" 0 512", "nbd+unix:///?socket="+socket)
	if !strings.Contains(res.Stdout+res.Stderr, "Operation not permitted") || !strings.Contains(res.Stdout, "wrote 4096/4096") {
		t.Error(res)
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("goes on without -t")
	}
	data, err := os.ReadFile(name)
	if err != nil || data[0] != 0 || data[5000] != 7 {
		t.Error("the file has not what was written", err)
	}
}

// TestComplaints has the real one's words for mistakes, and refusals by name.
func TestComplaints(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("d.raw", make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"-e -1 d.raw", "Invalid shared device number '-1'"},
		{"--tls-authz x -f raw d.raw", "--tls-authz is not permitted without --tls-creds"},
		{"--tls-hostname x d.raw", "--tls-hostname is not permitted without --tls-creds"},
		{"--tls-creds x -f raw d.raw", "Failed to get TLS creds: No TLS credentials with id 'x'"},
		{"-k rel.sock d.raw", "socket path must be absolute"},
		{"-L d.raw", "List mode is incompatible with a file name"},
		{"-L -x foo", "List mode is incompatible with per-device settings"},
		{"-L --tls-authz x --tls-creds y", "TLS authorization is incompatible with export list"},
		{"a b", "Invalid number of arguments\nTry `qemu-nbd --help' for more information."},
		{"--handshake-limit=x d.raw", "Invalid handshake limit 'x'"},
		{"none", "Failed to blk_new_open 'none': Could not open 'none': No such file or directory"},
		{"-f qcow2 d.raw", "Failed to blk_new_open 'd.raw': Image is not in qcow2 format"},
		{"-k /nodir/x.sock -f raw d.raw", "Failed to bind socket to /nodir/x.sock: No such file or directory"},
		{"-k " + dir + "/d.raw -f raw d.raw", "Failed to bind socket to " + dir + "/d.raw: Address already in use"},
		{"-L -k /nodir/none", "Failed to connect to '/nodir/none': No such file or directory"},
		{"-x", "option requires an argument -- 'x'\nqemu-nbd: Try `qemu-nbd --help' for more information."},
		{"-c /dev/nbd0 d.raw", "--connect is not supported by virtls"},
		{"-f vmdk d.raw", "the format 'vmdk' is not supported by virtls; there are raw and qcow2"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out bytes.Buffer
			code := runAs(t.Context(), newest, strings.Fields(c.args), dropin.IO{Out: &out, Err: &out})
			if code != exitWrong || out.String() != "qemu-nbd: "+c.want+"\n" {
				t.Errorf("%d: %s", code, out.String())
			}
		})
	}
}
