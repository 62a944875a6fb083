package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// childVariable has this program play a peer, in a process whose cost can be
// told from its other end's: "serve WAY DIR PORT" or "receive WAY DIR PORT".
const childVariable = "VIRTLS_BENCH_PEER"

// child plays a peer and never returns, if it is asked to.
func child() {
	job := strings.Fields(os.Getenv(childVariable))
	if len(job) == 0 {
		return
	}
	if err := play(job); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(job []string) error {
	ways, err := waysOf(job[2])
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(job[1])
	if err != nil {
		return err
	}
	address := net.JoinHostPort("localhost", job[3])
	if job[0] == "receive" {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		c, err := ways[i].client(context.Background(), nc)
		if err != nil {
			return err
		}
		buf := make([]byte, 64<<10)
		for err == nil {
			_, err = c.Read(buf)
		}
		if err == io.EOF {
			err = nil
		}
		return err
	}
	return serveIdle(ways[i], net.JoinHostPort("127.0.0.1", job[3]))
}

// serveIdle keeps every connection until its peer ends it, and answers each line
// of standard input with its resident memory in octets.
func serveIdle(w way, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c, err := w.server(context.Background(), nc)
				if err != nil {
					nc.Close()
					return
				}
				go keep(c)
			}()
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		debug.FreeOSMemory()
		fmt.Println(rss(os.Getpid()))
	}
	return lines.Err()
}

// keep waits for the peer's end, on a stack that no handshake has grown.
func keep(c net.Conn) {
	defer c.Close()
	var b [1]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
	}
}

// started starts a server and waits until it listens.
func (b *bench) started(args []string, port int) (*exec.Cmd, io.WriteCloser, *bufio.Reader, error) {
	cmd := b.command(args)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			nc.Close()
			return cmd, in, bufio.NewReader(out), nil
		}
		if time.Now().After(end) {
			cmd.Process.Kill()
			return nil, nil, nil, errors.Join(errors.New("it does not listen"), cmd.Wait())
		}
	}
}

var timed = regexp.MustCompile(`(\d+) connections in [\d.]+ real seconds`)

// serverCost is the CPU time that a server needs for a handshake of s_time's.
func (b *bench) serverCost(args []string, port int) (time.Duration, error) {
	seconds := "4"
	if b.quick {
		seconds = "1"
	}
	cmd, in, out, err := b.started(args, port)
	if err != nil {
		return 0, err
	}
	go io.Copy(io.Discard, out)
	before := processTime(cmd.Process.Pid)
	dir := ""
	for _, a := range args {
		if strings.HasSuffix(a, "server-cert.pem") {
			dir = strings.TrimSuffix(a, "server-cert.pem")
		}
	}
	if args[0] == "self" {
		dir = args[3] + "/"
	}
	text, err := exec.Command("openssl", "s_time", "-new", "-tls1_3", "-time", seconds, "-cert", dir+"client-cert.pem", "-key", dir+"client-key.pem",
		"-connect", "127.0.0.1:"+strconv.Itoa(port)).CombinedOutput()
	used := processTime(cmd.Process.Pid) - before
	in.Close()
	cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	m := timed.FindStringSubmatch(string(text))
	if m == nil {
		return 0, fmt.Errorf("s_time: %w\n%s", err, text)
	}
	n, _ := strconv.Atoi(m[1])
	if n == 0 {
		return 0, fmt.Errorf("s_time made no connection\n%s", text)
	}
	return used / time.Duration(n), nil
}

// processTime is the CPU time of a running process.
func processTime(pid int) time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// clientCost is the CPU time that a client needs to receive 1 GB.
func (b *bench) clientCost(args func(port string) []string, server way, slow bool) (time.Duration, error) {
	octets := int64(1 << 30)
	if b.quick {
		octets = 128 << 20
	}
	if slow {
		octets = 8 << 20
	}
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		c, err := server.server(context.Background(), nc)
		if err == nil {
			err = pour(c, octets)
			c.Close()
		}
		served <- err
	}()
	cmd := b.command(args(strconv.Itoa(l.Addr().(*net.TCPAddr).Port)))
	in, err := cmd.StdinPipe() // open, or some end at once
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = <-served
	_ = cmd.Wait() // some take the end of the connection for a failure
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return time.Duration(float64(used) * 1e9 / float64(octets)), err
}

// idleSessions has servers in processes of their own hold many connections on
// which nothing is said.
func (b *bench) idleSessions(dir string, ways []way) error {
	n := 10_000
	if b.quick {
		n = 1000
	}
	rows := [][]string{{"", "sessions", "memory", "of each"}}
	for i, w := range ways {
		used, err := b.idle([]string{"self", "serve", strconv.Itoa(i), dir}, w, n)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		rows = append(rows, []string{w.name, strconv.Itoa(n), mebibytes(used), fmt.Sprintf("%.1f KiB", float64(used)/float64(n)/1024)})
	}
	table("a server's resident memory for idle sessions, a goroutine that reads included", rows)
	return nil
}

func (b *bench) idle(args []string, w way, n int) (int64, error) {
	port := unusedPort()
	cmd, in, out, err := b.started(append(args, strconv.Itoa(port)), port)
	if err != nil {
		return 0, err
	}
	defer func() { in.Close(); cmd.Process.Kill(); _ = cmd.Wait() }()
	memory := func() (int64, error) {
		if _, err := fmt.Fprintln(in); err != nil {
			return 0, err
		}
		line, err := out.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	}
	before, err := memory()
	if err != nil {
		return 0, err
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		conns = append(conns, nc)
		if _, err := w.client(context.Background(), nc); err != nil {
			return 0, err
		}
	}
	time.Sleep(time.Second) // for the last to be complete at the other end
	after, err := memory()
	return after - before, err
}
