package peertest

import (
	"strings"
	"testing"
)

func TestQMP(t *testing.T) {
	args, path := QMPSocket(t)
	Host.Start(t, Options{}, ListeningUnix(path), "qemu-system-x86_64", append(args, "-nodefaults", "-machine", "none", "-accel", "tcg", "-display", "none")...).Ready()
	q := DialQMP(t, path)
	if got := string(q.Do("query-status", nil)); !strings.Contains(got, `"status": "running"`) {
		t.Errorf("query-status: %s", got)
	}
	if _, failed := q.Try("screendump", map[string]any{"filename": "/nonexistent/x"}); failed == "" {
		t.Error("a command that cannot work does")
	}
}
