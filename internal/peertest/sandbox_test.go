package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSandbox(t *testing.T) {
	needSandbox(t)
	dir := t.TempDir()
	writeFile(t, dir+"/etc/pki/file", "from the test\n")
	writeFile(t, dir+"/home/.pki/file", "at home\n")
	tests := []struct {
		name    string
		options Options
		script  string
		want    string
	}{
		{name: "temporary files", script: "cat " + dir + "/etc/pki/file", want: "from the test\n"},
		{name: "module's files", script: "test -f ../../go.mod && ! touch x 2>/dev/null && pwd", want: mustGetwd(t) + "\n"},
		{name: "directory", options: Options{Dir: dir + "/etc"}, script: "cat pki/file", want: "from the test\n"},
		{name: "nothing of the machine's", script: "ls /run /etc/pki /etc/libvirt /var/lib/libvirt ~",
			want: "/etc/libvirt:\n\n/etc/pki:\n\n/home/virtls:\n\n/run:\n\n/var/lib/libvirt:\n"},
		{name: "mounts", options: Options{Mounts: map[string]string{"/etc/pki": dir + "/etc/pki", "/srv/new": dir + "/home"}},
			script: "cat /etc/pki/file /srv/new/.pki/file", want: "from the test\nat home\n"},
		{name: "home", options: Options{Home: dir + "/home"}, script: "cat ~/.pki/file; id -un", want: "at home\nroot\n"},
		{name: "unprivileged", options: Options{Home: dir + "/home", Unprivileged: true},
			script: "cat ~/.pki/file; id -un; id -G; cat " + dir + "/etc/pki/file 2>/dev/null || echo private",
			want:   "at home\nvirtls\n64200\nprivate\n"},
		{name: "hosts", options: Options{Hostname: "host1", Hosts: []string{"192.0.2.1 host2"}},
			script: "cat /proc/sys/kernel/hostname; getent ahostsv4 host1 host2 | grep STREAM",
			want:   "host1\n127.0.0.1       STREAM host1\n192.0.2.1       STREAM host2\n"},
		{name: "no DNS", script: "getent hosts www.example.com || echo unknown", want: "unknown\n"},
		{name: "environment", options: Options{Env: []string{"MORE=1"}}, script: "env -u PWD | grep -v ^_= | sort",
			want: "HOME=/home/virtls\nLC_ALL=C\nMORE=1\nPATH=" + searchPath + "\nTZ=UTC\n"},
		{name: "input", options: Options{Stdin: strings.NewReader("hello")}, script: "cat", want: "hello"},
		{name: "no input", script: "cat", want: ""},
	}
	Each(t, func(t *testing.T, g Generation) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				if tt.options.Stdin != nil {
					tt.options.Stdin = strings.NewReader("hello")
				}
				r := g.Run(t, tt.options, "sh", "-c", tt.script)
				if diff := cmp.Diff(tt.want, r.Stdout); diff != "" || r.Code != 0 {
					t.Errorf("(-want +got)\n%s\n%v", diff, r)
				}
			})
		}
	})
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSandboxKeepsTheMachineClean(t *testing.T) {
	dir := t.TempDir()
	Each(t, func(t *testing.T, g Generation) {
		const names = "/etc/virtls-leak /run/virtls-leak /var/lib/virtls-leak /usr/virtls-leak /dev/shm/virtls-leak"
		r := g.Run(t, Options{Mounts: map[string]string{"/etc/pki": dir}}, "sh", "-c", "touch "+names+" /etc/pki/"+g.Name)
		wantCode(t, r, 0, "")
		for name := range strings.FieldsSeq(names) {
			for _, leaked := range []string{name, filepath.Join(g.root(), name)} {
				if _, err := os.Lstat(leaked); err == nil {
					t.Errorf("%s is there", leaked)
				}
			}
		}
		if _, err := os.Stat(filepath.Join(dir, g.Name)); err != nil {
			t.Errorf("what was written to a mounted directory is lost: %v", err)
		}
	})
}

func TestCannotMount(t *testing.T) {
	Host.Need(t)
	needSandbox(t)
	got := try(t, func(tb testing.TB) {
		Host.Run(tb, Options{Mounts: map[string]string{"/etc/pki": "/no such dir"}}, "true")
	})
	if !got.failed || !strings.Contains(got.text, "cannot mount") {
		t.Errorf("got %+v", got)
	}
	got = try(t, func(tb testing.TB) {
		Host.Run(tb, Options{Mounts: map[string]string{"/etc/pki": "/nonexistent"}}, "true")
	})
	if !got.failed || !strings.Contains(got.text, "cannot make the root") {
		t.Errorf("got %+v", got)
	}
}

// needSandbox skips a test of what an ordinary user cannot have.
func needSandbox(t *testing.T) {
	t.Helper()
	if err := sandboxError(); err != nil {
		Host.noSandbox(t, err)
	}
}

// startFamily starts a program with a daemon that has left its session.
func startFamily(t testing.TB) *Proc {
	return Host.Start(t, Options{}, Logged("up"), "sh", "-c", "setsid sleep 1000 & sleep 1000 & echo up; wait").Ready()
}

// members returns how many processes are in the PID namespace of p.
func members(t *testing.T, namespace string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if got, err := os.Readlink(link); err == nil && got == namespace {
			n++
		}
	}
	return n
}

func namespaceOf(t *testing.T, pid int) string {
	t.Helper()
	link, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestNothingOutlivesItsTest(t *testing.T) {
	needSandbox(t)
	var namespace string
	t.Run("test", func(t *testing.T) {
		namespace = namespaceOf(t, startFamily(t).PID())
		if n := members(t, namespace); n != 4 {
			t.Errorf("%d processes are there, want 4", n)
		}
	})
	if n := members(t, namespace); n != 0 {
		t.Errorf("%d processes are still there", n)
	}
}

const helperVariable = "PEERTEST_HELPER"

// TestHelper is what other tests run in test binaries of their own. It does
// nothing by itself.
func TestHelper(t *testing.T) {
	switch os.Getenv(helperVariable) {
	case "hang":
		os.Stdout.WriteString(strconv.Itoa(startFamily(t).PID()) + "\n")
		select {}
	case "ordinary user":
		wantCode(t, Host.Run(t, Options{}, "sh", "-c", "id -u; exit 3"), 3, "64200")
		p := startFamily(t)
		if r := p.Stop(); r.Code != 128+int(syscall.SIGTERM) {
			t.Error(r)
		}
		got := try(t, func(tb testing.TB) { Host.Run(tb, Options{Hostname: "host1"}, "true") })
		if !got.skipped || !strings.Contains(got.text, "need root") {
			t.Errorf("got %+v", got)
		}
	}
}

func TestNothingOutlivesAKilledTestBinary(t *testing.T) {
	needSandbox(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), helperVariable+"=hang", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line [32]byte
	n, err := out.Read(line[:])
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil || convErr != nil {
		t.Fatalf("the helper said %q: %v", line[:n], err)
	}
	namespace := namespaceOf(t, pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(patience); members(t, namespace) > 0; time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("%d processes are still there", members(t, namespace))
		}
	}
}

func TestOrdinaryUser(t *testing.T) {
	needSandbox(t)
	home := t.TempDir()
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home+"/peertest.test", binary, 0o700); err != nil {
		t.Fatal(err)
	}
	r := Host.Run(t, Options{Home: home, Unprivileged: true, Env: []string{helperVariable + "=ordinary user", "TMPDIR=" + homeDir}},
		homeDir+"/peertest.test", "-test.v", "-test.run=^TestHelper$")
	wantCode(t, r, 0, "--- PASS: TestHelper")
}
