package qemuimg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// overTLS are command lines for an export that wants TLS; OBJ, PORT and the like
// stand for what is known when the server runs.
var overTLS = []string{
	// The documentation's example.
	"info --object OBJ --image-opts file.driver=nbd,file.host=localhost,file.port=PORT,file.tls-creds=tls0,file.export=/",
	"info --output=json --object OBJ --image-opts file.driver=nbd,file.host=localhost,file.port=PORT,file.tls-creds=tls0,file.export=/",
	"info --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls0,export=/",
	"info --output=json --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls0,export=/",
	"info --object OBJ --image-opts driver=raw,file.driver=nbd,file.host=localhost,file.port=PORT,file.tls-creds=tls0,file.export=/",
	"map --object OBJ --image-opts file.driver=nbd,file.host=localhost,file.port=PORT,file.tls-creds=tls0,file.export=/",
	"map --output=json --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls0,export=/",
	"compare -U --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls0,export=/ driver=qcow2,file.filename=base.qcow2",
	"info --image-opts driver=nbd,host=localhost,port=PORT,export=/",
	"info --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls1,export=/",
	"info --object OBJ --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=tls0,export=other",
	"info nbd://localhost:PORT/",
}

func fill(lines []string, values ...string) []string {
	var filled []string
	for _, line := range lines {
		filled = append(filled, strings.NewReplacer(values...).Replace(line))
	}
	return filled
}

// TestTLS runs the documentation's example and more against real servers, with
// our client and theirs.
func TestTLS(t *testing.T) {
	keys := t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "keys.psk"), []byte("rich:"+strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", fixtures); res.Code != 0 {
			t.Fatal(res)
		}
		server := g.QemuNBD(t, peertest.Options{Dir: dir}, "-x", "/", "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+keys, "--tls-creds", "tls0", "base.qcow2").Ready()
		lines := fill(overTLS, "OBJ", "tls-creds-psk,id=tls0,dir="+keys+",username=rich,endpoint=client", "PORT", fmt.Sprint(server.Port))
		want := theirs(t, g, dir, lines)
		back := chdir(t, dir)
		defer back()
		for i, line := range lines {
			if got := ours(generations[g.Name], strings.Fields(line)); got != want[i] {
				t.Errorf("%s\nwe say:\n%v\nqemu-img says:\n%v", line, got, want[i])
			}
		}
	})
}

// chdir changes the directory until back is called. Other programs of peertest
// may not write to the working directory.
func chdir(t *testing.T, dir string) (back func()) {
	t.Helper()
	wd, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Chdir(wd); err != nil {
			t.Fatal(err)
		}
	}
}

// plainReads and plainWrites are command lines for an export without TLS.
var plainReads = []string{
	"info nbd://localhost:PORT/disk", "info --output=json nbd://localhost:PORT/disk", "info nbd:localhost:PORT:exportname=disk", "map nbd://localhost:PORT/disk", "map --output=json nbd://localhost:PORT/disk",
	"info nbd+tcp://localhost:PORT/disk", "info nbd://localhost:PORT/none", "info nbd://localhost:PORT/disk?tls-hostname=x", "info nbds://localhost:PORT/disk",
	"info --image-opts driver=nbd,path=none", "info nbd+unix:///disk?socket=none", "info --image-opts driver=nbd,export=x", "info nbd://localhost:1/",
}

var plainWrites = []string{
	"convert -n -O raw top.qcow2 nbd://localhost:PORT/disk", "compare -f raw nbd://localhost:PORT/disk top.qcow2",
	"convert -n -O raw hole.raw nbd://localhost:PORT/disk", "compare nbd://localhost:PORT/disk hole.raw", "convert -f raw -O qcow2 nbd://localhost:PORT/disk COPY.qcow2", "convert -n -O raw big.raw nbd://localhost:PORT/disk",
}

// TestPlain reads and writes an export without TLS.
func TestPlain(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", fixtures+"\ntruncate -s 4M disk.raw; truncate -s 5M big.raw"); res.Code != 0 {
			t.Fatal(res)
		}
		server := g.QemuNBD(t, peertest.Options{Dir: dir}, "-f", "raw", "-x", "disk", "disk.raw").Ready()
		// What was written is not what it was: reads by both come first.
		for _, lines := range [][]string{plainReads, plainWrites} {
			want := theirs(t, g, dir, fill(lines, "PORT", fmt.Sprint(server.Port), "COPY", "theirs"))
			back := chdir(t, dir)
			for i, line := range fill(lines, "PORT", fmt.Sprint(server.Port), "COPY", "ours") {
				if got := ours(generations[g.Name], strings.Fields(line)); got != want[i] {
					t.Errorf("%s\nwe say:\n%v\nqemu-img says:\n%v", line, got, want[i])
				}
			}
			back()
		}
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", "qemu-img check -q ours.qcow2; qemu-img compare ours.qcow2 theirs.qcow2"); res.Code != 0 {
			t.Error(res)
		}
	})
}
