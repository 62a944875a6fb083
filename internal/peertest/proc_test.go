package peertest

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, script   string
		code           int
		stdout, stderr string
	}{
		{"output", "echo out; echo err >&2", 0, "out\n", "err\n"},
		{"exit code", "exit 3", 3, "", ""},
		{"signal", "kill -KILL $$", 128 + int(syscall.SIGKILL), "", ""},
		{"daemon left behind", "sleep 1000 & echo out", 0, "out\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Host.Run(t, Options{}, "sh", "-c", tt.script)
			if r.Code != tt.code || r.Stdout != tt.stdout || tt.stderr != "" && r.Stderr != tt.stderr {
				t.Errorf("got %v", r)
			}
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	r := Host.Run(t, Options{}, "sh", "-c", "head -c 5000000 /dev/zero; echo the end")
	if len(r.Stdout) > outputLimit+100 || !strings.HasPrefix(r.Stdout, "[3951432 bytes cut]") || !strings.HasSuffix(r.Stdout, "the end\n") {
		t.Errorf("got %d bytes, %q ... %q", len(r.Stdout), r.Stdout[:30], r.Stdout[len(r.Stdout)-10:])
	}
}

func TestSignalReachesTheProgram(t *testing.T) {
	p := Host.Start(t, Options{}, Logged("up"), "sh", "-c", "trap 'echo got it' HUP; trap 'exit 7' TERM; echo up; while :; do read line; done").Ready()
	p.Signal(syscall.SIGHUP)
	p.Until(Logged("got it"))
	if r := p.Stop(); r.Code != 7 || r.Stdout != "up\ngot it\n" {
		t.Errorf("got %v", r)
	}
	got := try(t, func(tb testing.TB) {
		p.t = tb
		p.Signal(syscall.SIGTERM)
	})
	if !got.failed {
		t.Error("a program that has ended got a signal")
	}
}

func TestConditions(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	for _, tt := range []struct {
		name   string
		script string
		ready  Condition
	}{
		{"log on stderr", "echo up >&2", Logged("up")},
		{"UNIX socket", "exec nbdkit -f -U " + socket + " memory 1M", ListeningUnix(socket)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			Host.needProgram(t, "nbdkit")
			Host.Start(t, Options{}, tt.ready, "sh", "-c", tt.script).Ready()
			got := try(t, func(tb testing.TB) {
				Host.Start(tb, Options{}, tt.ready, "sh", "-c", tt.script).Refused()
			})
			if !got.failed || !strings.Contains(got.text, tt.ready.what) {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("never", func(t *testing.T) {
		script := "echo sorry; exit 4"
		r := Host.Start(t, Options{}, Logged("up"), "sh", "-c", script).Refused()
		wantCode(t, r, 4, "sorry")
		got := try(t, func(tb testing.TB) {
			Host.Start(tb, Options{}, Logged("up"), "sh", "-c", script).Ready()
		})
		if !got.failed || !strings.Contains(got.text, "sorry") {
			t.Errorf("got %+v", got)
		}
	})
}
