package gateway

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtls/finding"
)

var kindActivation = finding.Define("gateway-activation", finding.Error,
	"systemd passed no such socket",
	"start the service by its .socket unit, whose FileDescriptorName= is the name in fd://NAME; systemctl list-sockets shows what there is")

// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// passedFiles are the sockets that systemd passes, taken once.
var passedFiles = sync.OnceValue(func() (files []*os.File) {
	defer os.Unsetenv("LISTEN_PID")
	defer os.Unsetenv("LISTEN_FDS")
	defer os.Unsetenv("LISTEN_FDNAMES")
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() {
		return nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 1024 {
		return nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		syscall.CloseOnExec(firstPassed + i)
		name := "unknown"
		if i < len(names) {
			name = names[i]
		}
		files = append(files, os.NewFile(uintptr(firstPassed+i), name))
	}
	return files
})

// passed returns the listening socket that systemd passes by a name; the empty
// name is for the only one.
func passed(name string) (net.Listener, error) {
	var names []string
	for _, f := range passedFiles() {
		names = append(names, f.Name())
		if f.Name() != name && (name != "" || len(passedFiles()) != 1) {
			continue
		}
		l, err := net.FileListener(f)
		if err != nil {
			return nil, kindActivation.Found("fd://"+name, "").WithText("the socket %s that was passed is not a listening stream socket", f.Name()).Unable(err)
		}
		return l, nil
	}
	got := "none at all"
	if len(names) > 0 {
		got = strings.Join(names, ", ")
	}
	return nil, kindActivation.Found("fd://"+name, got).Unable(nil)
}

// A Notifier tells systemd how the service is (sd_notify(3)). Without systemd it
// does nothing.
type Notifier struct {
	address  string
	watchdog time.Duration
}

// NewNotifier reads where systemd listens, and how often it wants to hear.
func NewNotifier() *Notifier {
	n := &Notifier{address: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
			n.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return n
}

// notify sends lines. Nobody can be told if that fails.
func (n *Notifier) notify(lines ...string) {
	if n.address == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write([]byte(strings.Join(lines, "\n")))
}

// Ready says that the service listens.
func (n *Notifier) Ready(status string) { n.notify("READY=1", "STATUS="+status) }

// Reloading says that the service loads its files anew; Ready says that it has.
func (n *Notifier) Reloading() {
	n.notify("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
}

func monotonic() time.Duration {
	var now unix.Timespec
	// It does not fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

// Stopping says that the service drains its connections.
func (n *Notifier) Stopping() { n.notify("STOPPING=1") }

// Alive says that the service has not hung.
func (n *Notifier) Alive() { n.notify("WATCHDOG=1") }

// Watchdog returns how often systemd wants to hear that the service is alive,
// zero if it does not.
func (n *Notifier) Watchdog() time.Duration { return n.watchdog }
