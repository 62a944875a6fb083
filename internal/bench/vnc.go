package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"virtls/creds"
	"virtls/proto/vnc"
	"virtls/session"
)

// A frame of the screen that the service has: 1280 by 800 pixels, as they are.
const (
	screenWidth, screenHeight = 1280, 800
	frameSize                 = 4 + 12 + 4*screenWidth*screenHeight
	requestSize               = 10
)

// screen is a VNC server that answers each request with a frame.
func screen(c net.Conn) {
	defer c.Close()
	if _, err := vnc.Accept(context.Background(), c, vnc.ServerOptions{}); err != nil {
		return
	}
	request := make([]byte, requestSize)
	if _, err := io.ReadFull(c, request[:1]); err != nil {
		return
	}
	if _, err := c.Write(serverInit()); err != nil {
		return
	}
	frame := make([]byte, frameSize)
	frame[3] = 1 // rectangle
	binary.BigEndian.PutUint16(frame[8:], screenWidth)
	binary.BigEndian.PutUint16(frame[10:], screenHeight)
	for {
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

func serverInit() []byte {
	b := make([]byte, 24, 29)
	binary.BigEndian.PutUint16(b, screenWidth)
	binary.BigEndian.PutUint16(b[2:], screenHeight)
	b[23] = 5
	return append(b, "bench"...)
}

// A route leads viewers to the screen.
type route struct {
	name string
	args func(listen string) []string // of the program between; nil for none
	web  bool
	addr string
	cmd  *exec.Cmd
}

func (b *bench) vncWays(dir, to string) []*route {
	gateway := func(listen ...string) []string {
		return append([]string{b.virtls, "gateway", "vnc", "--object", "tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=" + dir, "--connect", "tcp://" + to}, listen...)
	}
	return []*route{
		{name: "direct", addr: to},
		{name: "virtls VeNCrypt", args: func(l string) []string { return gateway("--listen", "tls://"+l, "--listen-tls-creds", "tls0") }},
		{name: "virtls wss", web: true, args: func(l string) []string { return gateway("--websocket", "tls://"+l, "--websocket-tls-creds", "tls0") }},
		{name: "websockify wss", web: true, args: func(l string) []string {
			return []string{"websockify", "--cert", dir + "/server-cert.pem", "--key", dir + "/server-key.pem", "--ssl-only", l, to}
		}},
	}
}

// start starts the program between, if there is one.
func (w *route) start() error {
	if w.args == nil {
		return nil
	}
	w.addr = fmt.Sprint("127.0.0.1:", unusedPort())
	args := w.args(w.addr)
	w.cmd = exec.Command(args[0], args[1:]...)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := &bytes.Buffer{}
	w.cmd.Stderr = said
	if err := w.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", w.addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			w.stop()
			return fmt.Errorf("%s does not serve: %w\n%s", w.name, err, said)
		}
	}
}

func (w *route) stop() {
	if w.cmd != nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
}

// view logs in and returns where frames come.
func (w *route) view(dir string, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var nc net.Conn
	var o vnc.Options
	var err error
	if w.web {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		ws, _, err := websocket.Dial(ctx, "https://"+w.addr+"/websocket", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"binary"}})
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(-1)
		nc = websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	} else {
		if nc, err = net.Dial("tcp", w.addr); err != nil {
			return nil, err
		}
		if w.args != nil {
			x509, _, err := creds.LoadX509(creds.X509Options{Dir: dir})
			if err != nil {
				return nil, err
			}
			o.X509 = func() session.Options { return session.Options{Credentials: x509, Hostname: "localhost"} }
		}
	}
	c, err := vnc.Dial(ctx, nc, o)
	if err == nil {
		_, err = c.Write([]byte{1})
	}
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, len(serverInit())))
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// watch has n viewers ask for frames for a time, and returns frames per second.
func (w *route) watch(dir string, config *tls.Config, n int, span time.Duration) (rate float64, frames int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	for range n {
		c, err := w.view(dir, config)
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	begin := time.Now()
	for _, c := range conns {
		wg.Go(func() {
			buf, request, seen := make([]byte, 256<<10), make([]byte, requestSize), 0
			var failure error
			for failure == nil && time.Since(begin) < span {
				if _, failure = c.Write(request); failure != nil {
					break
				}
				for left := frameSize; left > 0 && failure == nil; {
					var got int
					got, failure = c.Read(buf[:min(left, len(buf))])
					left -= got
				}
				seen++
			}
			mu.Lock()
			frames, err = frames+seen, errors.Join(err, failure)
			mu.Unlock()
		})
	}
	wg.Wait()
	return float64(frames) / time.Since(begin).Seconds(), frames, err
}

// rest returns what viewers at rest cost in KiB each.
func (w *route) rest(dir string, config *tls.Config, n int) (float64, error) {
	base := rss(w.cmd.Process.Pid)
	for range n {
		c, err := w.view(dir, config)
		if err != nil {
			return 0, err
		}
		defer c.Close()
	}
	time.Sleep(3 * time.Second)
	return float64(rss(w.cmd.Process.Pid)-base) / 1024 / float64(n), nil
}

// benchVNC compares screens through the gateway with those seen directly, and its
// websockets with websockify's.
func benchVNC(b *bench) error {
	dir, config, to, stop, err := b.behindGateway("vnc", "screen")
	if err != nil {
		return err
	}
	defer stop()
	span, idle := 6*time.Second, 1000
	if b.quick {
		span, idle = 2*time.Second, 200
	}
	rows := [][]string{{"", "frames/s 1", "MiB/s", "frames/s 4", "MiB/s", "CPU s/GiB", "KiB/idle viewer"}}
	rates := map[string][2]float64{}
	for _, w := range b.vncWays(dir, to) {
		if err := w.start(); err != nil {
			return err
		}
		row := []string{w.name}
		kib := "-"
		if strings.HasPrefix(w.name, "virtls") {
			// Memory first: a program that has moved much keeps buffers.
			each, err := w.rest(dir, config, idle)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			kib = fmt.Sprintf("%.1f", each)
		}
		var rate [2]float64
		total, before := 0, time.Duration(0)
		if w.cmd != nil {
			before = cpu(w.cmd.Process.Pid)
		}
		for i, n := range []int{1, 4} {
			var frames int
			if rate[i], frames, err = w.watch(dir, config, n, span); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			total += frames
			row = append(row, fmt.Sprintf("%.1f", rate[i]), num(rate[i]*frameSize/(1<<20)))
		}
		cost := "-"
		if w.cmd != nil {
			time.Sleep(500 * time.Millisecond) // websockify's children end
			used := cpu(w.cmd.Process.Pid) - before
			cost = fmt.Sprintf("%.2f", used.Seconds()*(1<<30)/(float64(total)*frameSize))
		}
		w.stop()
		rates[w.name] = rate
		rows = append(rows, append(row, cost, kib))
	}
	table(fmt.Sprintf("vnc: frames of %d by %d pixels for 1 and 4 viewers; memory of %d viewers at rest", screenWidth, screenHeight, idle), rows)
	ours, direct, peer := rates["virtls VeNCrypt"], rates["direct"], rates["websockify wss"]
	web := rates["virtls wss"]
	fmt.Printf("  VeNCrypt / direct: %.2f with one viewer, %.2f with four; websocket / websockify: %.2f and %.2f, at least as fast: %s\n",
		ours[0]/direct[0], ours[1]/direct[1], web[0]/peer[0], web[1]/peer[1], verdict(web[0] >= peer[0] && web[1] >= peer[1]))
	return nil
}

// startService starts a service in a process of its own, with descriptors of its
// own, and returns where it listens.
func startService(kind string) (to string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	backend := exec.Command(self)
	backend.Env = append(os.Environ(), serviceVariable+"="+kind)
	backend.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := backend.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := backend.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		backend.Process.Kill()
		backend.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, err
	}
	return strings.TrimSpace(line), stop, nil
}
