package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/finding"
	"virtls/internal/peertest"
)

// A server is a virtls that serves until the test ends.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	log peertest.Log
}

// startServer starts virtls in a directory, and waits for its socket s.
func startServer(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, cmd: program(dir, "virtls", args...)}
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	s.until("the socket", func() bool { _, err := os.Stat(filepath.Join(dir, "s")); return err == nil })
	return s
}

// until waits for something to become true.
func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	until(s.t, what, ok, s.log.String)
}

// hangUp has the server load its credentials anew, and waits until it says so.
func (s *server) hangUp(says string) {
	s.t.Helper()
	n := strings.Count(s.log.String(), says)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.until(says, func() bool { return strings.Count(s.log.String(), says) > n })
}

// replace gives a file another content at once.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// TestServeReloads has nbd serve take a new access list and new keys while a
// client uses the disk.
func TestServeReloads(t *testing.T) {
	dir := memoryDir(t)
	put := func(name, text string) {
		t.Helper()
		replace(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := func(c string) string { return strings.Repeat(c, 64) }
	put("disk.raw", strings.Repeat("x", 1<<20))
	put("keys/keys.psk", "alice:"+key("a")+"\nbob:"+key("b")+"\n")
	put("alice.psk", "alice:"+key("a")+"\n")
	put("bob.psk", "bob:"+key("b")+"\n")
	const onlyAlice, both = `{"policy":"deny","rules":[{"match":"alice","policy":"allow"}]}`, `{"policy":"allow","rules":[]}`
	put("list.json", onlyAlice)
	s := startServer(t, dir, "nbd", "serve", "--object", "tls-creds-psk,id=tls0,endpoint=server,dir=keys", "--object", "authz-list-file,id=acl,filename="+dir+"/list.json",
		"--tls-creds", "tls0", "--tls-authz", "acl", "--listen", "nbds+unix:///?socket="+dir+"/s", "--name", "disk", "--format", "raw", "disk.raw")
	ask := func(user string) error {
		_, _, err := execute(dir, "virtls", "nbd", "info", "nbds+unix://"+user+"@/disk?socket="+dir+"/s&tls-psk-file="+dir+"/"+user+".psk")
		return err
	}
	if err := ask("alice"); err != nil {
		t.Fatal(err)
	}
	if err := ask("bob"); err == nil {
		t.Error("bob is let in, who is not on the list")
	}
	s.until("the denial", func() bool {
		return strings.Contains(s.log.String(), "level=WARN msg=denied client=@ name=bob export=disk code=nbd-denied")
	})
	// A client that is there already stays.
	old := program(dir, "qemu-io", "--object", "tls-creds-psk,id=t,endpoint=client,dir="+dir+"/keys,username=alice", "--image-opts", "driver=nbd,path="+dir+"/s,export=disk,tls-creds=t")
	in, err := old.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	old.Stdout, old.Stderr = &out, &out
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	s.until("the old client", func() bool { return strings.Count(s.log.String(), "msg=opened") == 1 })

	put("list.json", both)
	s.until("bob", func() bool { return ask("bob") == nil })
	put("list.json", "not JSON")
	s.until("the end of the list", func() bool {
		return strings.Contains(s.log.String(), "access list cannot be read; it denies everybody")
	})
	if ask("alice") == nil {
		t.Error("who may come while the list cannot be read?")
	}
	put("list.json", onlyAlice)
	s.until("alice", func() bool { return ask("alice") == nil })
	if ask("bob") == nil {
		t.Error("bob is let in again")
	}

	put("alice.psk", "alice:"+key("c")+"\n")
	if err := ask("alice"); err == nil {
		t.Error("alice is let in with a key that the server does not know yet")
	}
	put("keys/keys.psk", "alice:"+key("c")+"\n")
	s.hangUp("credentials loaded")
	if err := ask("alice"); err != nil {
		t.Errorf("the new key is not taken: %v", err)
	}
	fmt.Fprintln(in, "read -P 120 0 64k")
	in.Close()
	if err := old.Wait(); err != nil || !strings.Contains(out.String(), "read 65536/65536 bytes") || strings.Contains(out.String(), "failed") {
		t.Errorf("the client that was there already: %v\n%s", err, out.String())
	}
}

// TestServeKeepsCredentials has nbd serve keep its certificate when SIGHUP finds
// a broken one.
func TestServeKeepsCredentials(t *testing.T) {
	dir := fleetDir(t, 1)
	fleet := "organization: Example\nhosts:\n  - name: kvm1.example.com\n    uses: {qemu: both}\n"
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(fleet), 0o600), os.WriteFile(filepath.Join(dir, "disk.raw"), make([]byte, 4096), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := execute(dir, "virtls", "apply", "--no-passphrase", "--prove", "none"); err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(dir, "pki/hosts/kvm1.example.com/etc/pki/qemu")
	s := startServer(t, dir, "nbd", "serve", "--object", "tls-creds-x509,id=tls0,endpoint=server,dir="+pki, "--tls-creds", "tls0", "--listen", "nbds+unix:///?socket="+dir+"/s", "disk.raw")
	ask := func() {
		t.Helper()
		if _, _, err := execute(dir, "virtls", "nbd", "info", "nbds+unix:///?socket="+dir+"/s&tls-hostname=kvm1.example.com&tls-certificates="+pki); err != nil {
			t.Error(err)
		}
	}
	ask()
	good, err := os.ReadFile(pki + "/server-cert.pem")
	if err != nil {
		t.Fatal(err)
	}
	replace(t, pki+"/server-cert.pem", "rubbish")
	s.hangUp("credentials cannot be loaded; the old ones stay")
	ask()
	replace(t, pki+"/server-cert.pem", string(good))
	s.hangUp("credentials loaded")
	ask()
}

// TestCopyShowsProgress has nbd copy show on a terminal how far it is, how fast,
// and how long it takes; elsewhere it shows nothing but the result.
func TestCopyShowsProgress(t *testing.T) {
	dir := t.TempDir()
	// 2 MiB at 1 MiB a second.
	slow := "nbd+unix:///?socket=" + dir + "/s"
	peertest.Host.Start(t, peertest.Options{}, peertest.ListeningUnix(dir+"/s"), "nbdkit", "-f", "-U", dir+"/s", "--filter=rate", "pattern", "2M", "rate=8M", "burstiness=0.1").Ready()
	var stdout bytes.Buffer
	tm := onTerminal(t, dir, &stdout, "nbd", "copy", slow, "--request-size=65536", "--requests=1", "out.raw")
	if code := tm.ends(); code != finding.ExitOK {
		t.Fatalf("exit code %d: %s", code, tm.shown())
	}
	const clear = "\r\x1b[K"
	tm.until("the end of the line", func() bool { return strings.HasSuffix(tm.shown(), clear) })
	if out := stdout.String(); !regexp.MustCompile(`^copied 2 MiB in [0-9.hms]+, [0-9.]+ [KM]iB/s\n$`).MatchString(out) {
		t.Errorf("standard output is %q", out)
	}
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(tm.shown(), clear), clear), clear)
	line := regexp.MustCompile(`^\[(#*)(-*)\] ([0-9.]+ [KMG]?i?B|\d+ octets) of 2 MiB, ([0-9.]+ [KMG]?i?B|\d+ octets)/s, (a moment|[0-9hms]+) left$`)
	least, seconds := 0, 0
	for _, text := range lines {
		m := line.FindStringSubmatch(text)
		if m == nil || len(m[1])+len(m[2]) != barWidth || len(m[1]) < least {
			t.Fatalf("the line is %q", text)
		}
		least = len(m[1])
		if strings.HasSuffix(m[5], "s") {
			seconds++
		}
	}
	if len(lines) < 5 || least < barWidth/2 || seconds == 0 {
		t.Errorf("the lines are %q", lines)
	}
	out, errs, err := execute(dir, "virtls", "nbd", "copy", slow, "null:")
	if err != nil || errs != "" || !strings.HasPrefix(out, "copied 2 MiB in ") {
		t.Errorf("without a terminal: %v\n%s%s", err, out, errs)
	}
}

// TestCopyGoesOn interrupts a copy, which keeps how far it is, and kills one; the
// next goes on, and the disk is whole.
func TestCopyGoesOn(t *testing.T) {
	dir := t.TempDir()
	disk := make([]byte, 4<<20)
	for i := range disk {
		disk[i] = byte(i>>12) | 1
	}
	if err := os.WriteFile(filepath.Join(dir, "disk.raw"), disk, 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Host.Start(t, peertest.Options{}, peertest.ListeningUnix(dir+"/s"), "nbdkit", "-f", "-U", dir+"/s", "--filter=rate", "file", dir+"/disk.raw", "rate=16M", "burstiness=0.1").Ready()
	copyTo := []string{"nbd", "copy", "--resume", "record", "--request-size=65536", "--requests=4", "nbd+unix:///?socket=" + dir + "/s", "out.raw"}
	for i, end := range []os.Signal{os.Interrupt, os.Kill} {
		some := (i + 1) << 20
		cmd := program(dir, "virtls", copyTo...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "some of the copy", func() bool {
			data, err := os.ReadFile(filepath.Join(dir, "out.raw"))
			return err == nil && len(data) == len(disk) && !bytes.Contains(data[:some], []byte{0}) // requests end in any order
		}, func() string { return "" })
		cmd.Process.Signal(end)
		if err := cmd.Wait(); err == nil {
			t.Fatalf("%v: the copy was complete before", end)
		}
		record, err := os.ReadFile(filepath.Join(dir, "record"))
		if err != nil || bytes.Contains(record, []byte(`"done":0}`)) {
			t.Errorf("%v: the record says %s (%v)", end, record, err)
		}
	}
	if _, _, err := execute(dir, "virtls", copyTo...); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "out.raw")); err != nil || !bytes.Equal(data, disk) {
		t.Errorf("the copy is something else than the disk (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "record")); err == nil {
		t.Error("the record is still there")
	}
}

// TestOpenTimeout has clients wait for a server as long as their address says.
func TestOpenTimeout(t *testing.T) {
	dir := memoryDir(t)
	if err := os.WriteFile(filepath.Join(dir, "disk.raw"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, _, err := execute(dir, "virtls", "nbd", "info", "driver=nbd,path=s"); err == nil || !strings.Contains(err.Error(), "nbd-unreachable") || time.Since(start) > 10*time.Second {
		t.Errorf("without a timeout it takes %v: %v", time.Since(start), err)
	}
	start = time.Now()
	if _, _, err := execute(dir, "virtls", "nbd", "info", "driver=nbd,path=s,open-timeout=2"); err == nil || !strings.Contains(err.Error(), "nbd-unreachable") || time.Since(start) < 2*time.Second {
		t.Errorf("nobody comes for %v: %v", time.Since(start), err)
	}
	cmd := program(dir, "virtls", "nbd", "info", "driver=nbd,path=s,open-timeout=60")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	startServer(t, dir, "nbd", "serve", "--listen", "nbd+unix:///?socket=s", "--format", "raw", "disk.raw")
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "1048576 octets") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestDefaultDirectories has virtls look for certificates where libnbd does when
// an address names none, as root and as a user.
func TestDefaultDirectories(t *testing.T) {
	peertest.NeedRoot(t, "having an /etc/pki of its own")
	dir := fleetDir(t, 1)
	fleet := "organization: Example\nhosts:\n  - name: kvm1.example.com\n    uses: {qemu: both}\n"
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(fleet), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := execute(dir, "virtls", "apply", "--no-passphrase", "--prove", "none"); err != nil {
		t.Fatal(err)
	}
	certificates := filepath.Join(t.TempDir(), "certificates")
	if err := os.CopyFS(certificates, os.DirFS(filepath.Join(dir, "pki/hosts/kvm1.example.com/etc/pki/qemu"))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/tmp") // where users can run programs
	bin := dropIns(t, "virtls")
	t.Cleanup(func() { os.RemoveAll(bin) })
	if err := errors.Join(os.Chmod(bin, 0o755), os.Chmod(bin+"/virtls", 0o755)); err != nil {
		t.Fatal(err)
	}
	home := func(where string) string {
		home := t.TempDir()
		if err := os.CopyFS(filepath.Join(home, where), os.DirFS(certificates)); err != nil {
			t.Fatal(err)
		}
		return home
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.Nbdkit(t, peertest.Options{}, "--tls=require", "--tls-certificates="+certificates, "--tls-verify-peer", "memory", "1M").Ready()
		uri := fmt.Sprintf("nbds://kvm1.example.com:%d/", server.Port)
		for _, tt := range []struct {
			name  string
			o     peertest.Options
			found bool
		}{
			{"root", peertest.Options{Mounts: map[string]string{"/etc/pki/libnbd": certificates}}, true},
			{"root has no home", peertest.Options{Home: home(".pki/libnbd")}, false},
			{"user", peertest.Options{Unprivileged: true, Home: home(".pki/libnbd")}, true},
			{"user's configuration", peertest.Options{Unprivileged: true, Home: home(".config/pki/libnbd")}, true},
			{"user and the system's", peertest.Options{Unprivileged: true, Mounts: map[string]string{"/etc/pki/libnbd": certificates}}, false},
			{"nothing", peertest.Options{}, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				tt.o.Hosts, tt.o.Env = []string{"127.0.0.1 kvm1.example.com"}, []string{"PATH=" + bin + ":/usr/bin:/bin", "GORACE=atexit_sleep_ms=0"}
				theirs := g.Run(t, tt.o, "nbdinfo", "--size", uri)
				ours := g.Run(t, tt.o, "sh", "-c", "virtls nbd info '"+uri+"'")
				if (theirs.Code == 0) != tt.found || (ours.Code == 0) != tt.found {
					t.Errorf("want success %v: nbdinfo: %v\nvirtls: %v", tt.found, theirs, ours)
				}
			})
		}
	})
}
