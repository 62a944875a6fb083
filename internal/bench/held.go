package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// manyHeld is how many connections at rest a gateway is to hold.
const manyHeld = 10000

// mostHeld is how many one process can hold here: all, or what the limit of files
// allows a proxy, which has two for each.
func mostHeld(quick bool) int {
	if quick {
		return 1000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	return min(manyHeld, (int(limit.Cur)-200)/2)
}

// raiseFiles lets this process and those it starts have enough files for all
// connections with two ends.
func raiseFiles() {
	const want = 4 * manyHeld
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= want {
		return
	}
	limit.Cur, limit.Max = want, max(limit.Max, want)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintf(os.Stderr, "bench: files cannot be raised to %d: %v\n", want, err)
	}
}

// holdTogether holds all connections where one process may not have the files for
// them: by two gateways on one listening socket, passed to both as systemd does.
func (b *bench) holdTogether(dir, to string, config *tls.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	l.Close()
	defer file.Close()
	var each [2]*proxy
	for i := range each {
		// Only the shell knows the process that LISTEN_PID must name.
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", b.virtls, "gateway", "tls",
			"--object", "tls-creds-x509,id=tls0,endpoint=server,dir="+dir,
			"--listen", "fd://", "--listen-tls-creds", "tls0", "--connect", "tcp://"+to)
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
		cmd.ExtraFiles = []*os.File{file}
		each[i] = &proxy{name: "virtls, two processes", addr: addr, cmd: cmd}
		if err := each[i].run(config); err != nil {
			return err
		}
		defer each[i].stop()
	}
	conns, err := each[0].openMany(config, manyHeld)
	defer func() {
		for _, c := range conns {
			c.NetConn().Close()
		}
	}()
	if err != nil {
		return fmt.Errorf("after %d connections through two processes: %w", len(conns), err)
	}
	time.Sleep(3 * time.Second)
	held := stillThere(conns)
	fmt.Printf("  a process may open too few files here for %d connections; two on one listening socket hold %d of them at rest with %s and %s: %s\n",
		manyHeld, held, mebibytes(rss(each[0].cmd.Process.Pid)), mebibytes(rss(each[1].cmd.Process.Pid)), verdict(held == manyHeld))
	return nil
}

// stillThere counts the connections on which the service answers.
func stillThere(conns []*tls.Conn) (n int) {
	buf := []byte{'x'}
	for _, c := range conns {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(buf); err != nil {
			continue
		}
		if _, err := io.ReadFull(c, buf); err == nil {
			n++
		}
	}
	return n
}
