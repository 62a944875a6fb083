package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A proxy is a program that takes TLS off in front of a plain service.
type proxy struct {
	name string
	args func(dir, listen, service string) []string
	addr string
	cmd  *exec.Cmd
}

// proxies are the gateway and those it is compared with, all of which demand a
// client's certificate of the same authority.
func (b *bench) proxies() []*proxy {
	list := []*proxy{
		{name: "virtls", args: func(dir, listen, service string) []string {
			return []string{b.virtls, "gateway", "tls", "--object", "tls-creds-x509,id=tls0,endpoint=server,dir=" + dir,
				"--listen", "tls://" + listen, "--listen-tls-creds", "tls0", "--connect", "tcp://" + service}
		}},
		{name: "stunnel", args: func(dir, listen, service string) []string {
			conf := filepath.Join(dir, "stunnel.conf")
			text := fmt.Sprintf("foreground = yes\npid =\nsyslog = no\ndebug = 3\n[service]\naccept = %s\nconnect = %s\ncert = %s/server-cert.pem\nkey = %[3]s/server-key.pem\nCAfile = %[3]s/ca-cert.pem\nverifyChain = yes\n", listen, service, dir)
			os.WriteFile(conf, []byte(text), 0o600)
			return []string{"stunnel", conf}
		}},
	}
	if ghostunnel := b.ghostunnel(); ghostunnel != "" {
		list = append(list, &proxy{name: "ghostunnel", args: func(dir, listen, service string) []string {
			return []string{ghostunnel, "server", "--listen", listen, "--target", service, "--cert", dir + "/server-cert.pem", "--key", dir + "/server-key.pem",
				"--cacert", dir + "/ca-cert.pem", "--allow-all", "--quiet=all", "--max-concurrent-conns=0"}
		}})
	}
	return list
}

// ghostunnel returns the program that VIRTLS_GHOSTUNNEL names, or builds it in
// the checkout that it names.
func (b *bench) ghostunnel() string {
	path := os.Getenv("VIRTLS_GHOSTUNNEL")
	info, err := os.Stat(path)
	if path == "" || err != nil {
		fmt.Println("ghostunnel is left out: VIRTLS_GHOSTUNNEL names no checkout or program of it")
		return ""
	}
	if !info.IsDir() {
		return path
	}
	program := filepath.Join(b.dir, "ghostunnel")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir, build.Env = path, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("ghostunnel is left out: %v\n%s", err, out)
		return ""
	}
	return program
}

// service answers the first octet of each connection; what it is says what becomes
// of the rest.
func service(c net.Conn) {
	defer c.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	if _, err := c.Write(first); err != nil {
		return
	}
	if first[0] == 's' { // a source: it sends until nobody listens
		block := make([]byte, 256<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
	if first[0] == 'i' { // at rest: it answers each octet
		io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 1))
		return
	}
	io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
}

// start starts a proxy on an address of its own and waits until it serves.
func (p *proxy) start(dir, to string, config *tls.Config) error {
	p.addr = fmt.Sprint("127.0.0.1:", unusedPort())
	args := p.args(dir, p.addr, to)
	p.cmd = exec.Command(args[0], args[1:]...)
	return p.run(config)
}

// run runs the proxy's command and waits until it serves.
func (p *proxy) run(config *tls.Config) error {
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := &bytes.Buffer{}
	p.cmd.Stderr = said
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := p.open(config, 'd')
		if err == nil {
			c.Close()
			return nil
		}
		if time.Now().After(end) {
			p.stop()
			return fmt.Errorf("%s does not serve: %w\n%s", p.name, err, said)
		}
	}
}

func (p *proxy) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// open opens a connection through the proxy and sees that the service is there.
func (p *proxy) open(config *tls.Config, kind byte) (*tls.Conn, error) {
	nc, err := net.DialTimeout("tcp", p.addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := tls.Client(nc, config)
	c.SetDeadline(time.Now().Add(30 * time.Second))
	buf := []byte{kind}
	if _, err = c.Write(buf); err == nil {
		_, err = io.ReadFull(c, buf)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.SetDeadline(time.Time{})
	return c, nil
}

// rss returns the resident memory of a process in octets, peak the most that it was.
func rss(pid int) int64  { return status(pid, "VmRSS:") }
func peak(pid int) int64 { return status(pid, "VmHWM:") }

// status returns a size in /proc/PID/status in octets.
func status(pid int, field string) (n int64) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			fmt.Sscan(rest, &n)
		}
	}
	return n << 10
}

// cpu returns the processor time of a process, and of those of its children that
// have ended.
func cpu(pid int) time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	fields, ticks := strings.Fields(rest), 0
	for i := 11; i < min(15, len(fields)); i++ {
		n, _ := strconv.Atoi(fields[i])
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A figure is what was measured of a proxy.
type figure struct {
	up1, up4, down1, down4 float64 // MiB/s
	cpuUp, cpuDown         float64 // seconds of processor time per GiB
	rate                   float64 // connections per second
	idle                   float64 // KiB per connection at rest
	held                   int
}

// transfer moves bytes over n connections for a time and returns MiB/s.
func (p *proxy) transfer(config *tls.Config, kind byte, n int, size int64) (rate float64, err error) {
	var wg sync.WaitGroup
	failed := make(chan error, n)
	var conns []*tls.Conn
	for range n {
		c, err := p.open(config, kind)
		if err != nil {
			return 0, err
		}
		defer c.NetConn().Close()
		conns = append(conns, c)
	}
	begin := time.Now()
	for _, c := range conns {
		wg.Go(func() {
			block := make([]byte, 256<<10)
			for left := size / int64(n); left > 0; {
				var moved int
				var err error
				if kind == 's' {
					moved, err = c.Read(block)
				} else {
					moved, err = c.Write(block)
				}
				if left -= int64(moved); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return float64(size>>20) / time.Since(begin).Seconds(), <-failed
}

// measure measures one proxy.
func (p *proxy) measure(config *tls.Config, quick bool) (f figure, err error) {
	size, idle, held, span := int64(1<<30), 2000, mostHeld(false), 4*time.Second
	if quick {
		size, idle, held, span = 256<<20, 500, mostHeld(true), time.Second
	}
	pid := p.cmd.Process.Pid
	// Memory first: a proxy that has moved much keeps buffers.
	if f.idle, f.held, err = p.hold(config, idle, held); err != nil {
		return f, err
	}
	for _, t := range []struct {
		to, cost *float64
		kind     byte
		n        int
	}{{&f.up1, &f.cpuUp, 'd', 1}, {&f.up4, &f.cpuUp, 'd', 4}, {&f.down1, &f.cpuDown, 's', 1}, {&f.down4, &f.cpuDown, 's', 4}} {
		before := cpu(pid)
		if *t.to, err = p.transfer(config, t.kind, t.n, size); err != nil {
			return f, err
		}
		*t.cost += (cpu(pid) - before).Seconds() * (1 << 30) / float64(2*size)
	}
	f.rate, err = p.connect(config, span)
	return f, err
}

// connect opens and closes connections, eight at a time.
func (p *proxy) connect(config *tls.Config, span time.Duration) (float64, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	count, failure := 0, error(nil)
	begin := time.Now()
	for range 8 {
		wg.Go(func() {
			for time.Since(begin) < span {
				c, err := p.open(config, 'd')
				mu.Lock()
				if err != nil {
					failure = err
				} else {
					count++
				}
				mu.Unlock()
				if err != nil {
					return
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	return float64(count) / time.Since(begin).Seconds(), failure
}

// openMany opens connections, some at a time.
func (p *proxy) openMany(config *tls.Config, n int) (conns []*tls.Conn, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				c, e := p.open(config, 'i')
				mu.Lock()
				if e == nil {
					conns = append(conns, c)
				} else {
					err = e
				}
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return conns, err
}

// hold opens connections and leaves them at rest. It returns what each of the
// first costs, and how many were open at once in the end.
func (p *proxy) hold(config *tls.Config, idle, all int) (each float64, held int, err error) {
	pid := p.cmd.Process.Pid
	var conns []*tls.Conn
	defer func() {
		for _, c := range conns {
			c.NetConn().Close()
		}
	}()
	base := rss(pid)
	for _, n := range []int{idle, all - idle} {
		more, err := p.openMany(config, n)
		if conns = append(conns, more...); err != nil {
			fmt.Printf("  %s: after %d connections: %v\n", p.name, len(conns), err)
			break
		}
		if len(conns) == idle {
			time.Sleep(3 * time.Second)
			each = float64(rss(pid)-base) / 1024 / float64(idle)
		}
	}
	return each, stillThere(conns), nil
}

// behindGateway makes files for a gateway in a directory of its own, and starts
// the service behind it.
func (b *bench) behindGateway(name, kind string) (dir string, config *tls.Config, to string, stop func(), err error) {
	raiseFiles()
	dir = filepath.Join(b.dir, name)
	if config, err = b.gatewayFiles(dir); err != nil {
		return "", nil, "", nil, err
	}
	to, stop, err = startService(kind)
	return dir, config, to, stop, err
}

// benchGateway compares the gateway with stunnel and ghostunnel.
func benchGateway(b *bench) error {
	dir, config, to, stop, err := b.behindGateway("gateway", "stream")
	if err != nil {
		return err
	}
	defer stop()
	rows := [][]string{{"", "up 1", "up 4", "down 1", "down 4", "CPU s/GiB up", "down", "conn/s", "KiB/idle", "held"}}
	var ours, best figure
	for i, p := range b.proxies() {
		if err := p.start(dir, to, config); err != nil {
			return err
		}
		f, err := p.measure(config, b.quick)
		p.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, []string{p.name, num(f.up1), num(f.up4), num(f.down1), num(f.down4), fmt.Sprintf("%.2f", f.cpuUp), fmt.Sprintf("%.2f", f.cpuDown), num(f.rate), fmt.Sprintf("%.1f", f.idle), strconv.Itoa(f.held)})
		if i == 0 {
			ours = f
			continue
		}
		best.up1, best.up4, best.down1, best.down4 = max(best.up1, f.up1), max(best.up4, f.up4), max(best.down1, f.down1), max(best.down4, f.down4)
		best.rate = max(best.rate, f.rate)
		for _, least := range []struct{ of, with *float64 }{{&best.cpuUp, &f.cpuUp}, {&best.cpuDown, &f.cpuDown}, {&best.idle, &f.idle}} {
			if *least.of == 0 || *least.with < *least.of {
				*least.of = *least.with
			}
		}
	}
	ratio := func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
	rows = append(rows, []string{"virtls / best other", ratio(ours.up1, best.up1), ratio(ours.up4, best.up4), ratio(ours.down1, best.down1), ratio(ours.down4, best.down4),
		ratio(ours.cpuUp, best.cpuUp), ratio(ours.cpuDown, best.cpuDown), ratio(ours.rate, best.rate), ratio(ours.idle, best.idle)})
	table("gateway: TLS in front of a plain service (MiB/s with 1 and 4 connections; memory per connection at rest)", rows)
	held := mostHeld(b.quick)
	if held < manyHeld && !b.quick {
		if err := b.holdTogether(dir, strings.TrimSpace(to), config); err != nil {
			return err
		}
	}
	throughput := min(ours.up1/best.up1, ours.up4/best.up4, ours.down1/best.down1, ours.down4/best.down4)
	// On a machine that does other things, too, the time on the clock says little.
	work := max(ours.cpuUp/best.cpuUp, ours.cpuDown/best.cpuDown)
	fmt.Printf("  throughput at least the best: %s, and by processor time: %s; memory below the best: %s; %d connections at rest: %s\n",
		verdict(throughput >= 1), verdict(work <= 1), verdict(ours.idle < best.idle), held, verdict(ours.held == held))
	return nil
}

func num(v float64) string { return fmt.Sprintf("%.0f", v) }

// serviceVariable tells a process of this program which service it is.
const serviceVariable = "VIRTLS_BENCH_SERVICE"

// serveBench is the service of the proxies, in a process of its own.
func serveBench(kind string) error {
	answer := service
	if kind == "screen" {
		answer = screen
	}
	raiseFiles()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

// gatewayFiles makes credentials in QEMU's layout, and the clients' configuration.
func (b *bench) gatewayFiles(dir string) (*tls.Config, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"init", "--no-passphrase", "--org", "Bench"},
		{"issue", "--cn", "localhost", "--server", "--client", "--ip", "127.0.0.1", "--out", "server"},
	} {
		cmd := exec.Command(b.virtls, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("virtls %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	matches, err := filepath.Glob(filepath.Join(dir, "pki/ca/*cert.pem"))
	if err != nil || len(matches) == 0 {
		return nil, fmt.Errorf("no authority in %s: %w", dir, err)
	}
	ca, err := os.ReadFile(matches[0])
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca-cert.pem"), ca, 0o600); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server-cert.pem"), filepath.Join(dir, "server-key.pem"))
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "localhost"}, err
}
