package peertest

import (
	"bufio"
	"encoding/json"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// A QMP is a QEMU's monitor (qemu-qmp-ref(7)). Its methods end the test when the
// monitor does not answer.
type QMP struct {
	t  testing.TB
	c  net.Conn
	in *bufio.Reader
}

// QMPSocket returns QEMU's arguments for a monitor, and the path of its socket,
// whose name is short enough.
func QMPSocket(t testing.TB) (args []string, path string) {
	t.Helper()
	path = filepath.Join(SocketDir(t), "s")
	return []string{"-qmp", "unix:" + path + ",server=on,wait=off"}, path
}

// DialQMP connects to the monitor of a QEMU that listens on the path.
func DialQMP(t testing.TB, path string) *QMP {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	q := &QMP{t, c, bufio.NewReader(c)}
	q.Do("qmp_capabilities", nil)
	return q
}

// Do executes a command and returns its result. The test ends if it fails.
func (q *QMP) Do(command string, arguments any) json.RawMessage {
	q.t.Helper()
	result, failed := q.Try(command, arguments)
	if failed != "" {
		q.t.Fatalf("QMP: %s: %s", command, failed)
	}
	return result
}

// Try executes a command and returns its result, or what QEMU says if it fails.
func (q *QMP) Try(command string, arguments any) (result json.RawMessage, failed string) {
	q.t.Helper()
	m := map[string]any{"execute": command}
	if arguments != nil {
		m["arguments"] = arguments
	}
	text, err := json.Marshal(m)
	if err == nil {
		q.c.SetDeadline(time.Now().Add(patience))
		_, err = q.c.Write(append(text, '\n'))
	}
	for err == nil {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		var line []byte
		if line, err = q.in.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &answer)
		}
		switch {
		case err != nil:
		case answer.Error != nil:
			return nil, answer.Error.Desc
		case answer.Return != nil: // anything else is the greeting or an event
			return answer.Return, ""
		}
	}
	q.t.Fatalf("QMP: %s: %v", command, err)
	return nil, ""
}
