package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// nbdBench is what the measurements of NBD share.
type nbdBench struct {
	*bench
	size     int64 // octets of the disk
	rounds   int
	disk     string // random data: zeroes would be skipped
	x509     string // directory of certificates
	psk      string // file of keys
	started  []*exec.Cmd
	fastest  map[string]float64 // MiB/s
	resident map[string]int64   // octets, most of it
}

// nbdServer is a way to serve the disk.
type nbdServer struct {
	name, security string
	argv           func(n *nbdBench, port string) []string
}

const pskUser = "bench"

var nbdServers = []nbdServer{
	{"virtls", "plain", func(n *nbdBench, port string) []string { return n.serve(port) }},
	{"virtls", "x509", func(n *nbdBench, port string) []string {
		return n.serve(port, "--object", "tls-creds-x509,id=t,endpoint=server,dir="+n.x509, "--tls-creds", "t")
	}},
	{"virtls", "psk", func(n *nbdBench, port string) []string {
		return n.serve(port, "--object", "tls-creds-psk,id=t,endpoint=server,dir="+filepath.Dir(n.psk), "--tls-creds", "t")
	}},
	{"nbdkit", "plain", func(n *nbdBench, port string) []string {
		return []string{"nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "memory", strconv.FormatInt(n.size, 10)}
	}},
	{"nbdkit", "x509", func(n *nbdBench, port string) []string {
		return []string{"nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "--tls=require", "--tls-verify-peer", "--tls-certificates=" + n.x509, "file", n.disk}
	}},
	{"nbdkit", "psk", func(n *nbdBench, port string) []string {
		return []string{"nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "--tls=require", "--tls-psk=" + n.psk, "file", n.disk}
	}},
	{"qemu-nbd", "plain", func(n *nbdBench, port string) []string { return n.qemu(port) }},
	{"qemu-nbd", "x509", func(n *nbdBench, port string) []string {
		return n.qemu(port, "--object", "tls-creds-x509,id=t,endpoint=server,dir="+n.x509, "--tls-creds", "t")
	}},
}

func (n *nbdBench) serve(port string, more ...string) []string {
	argv := []string{n.virtls, "nbd", "serve", "--listen", "nbd://127.0.0.1:" + port, "--format", "raw", "--read-only"}
	return append(append(argv, more...), n.disk)
}

func (n *nbdBench) qemu(port string, more ...string) []string {
	argv := []string{"qemu-nbd", "-t", "-r", "-f", "raw", "-e", "8", "-b", "127.0.0.1", "-p", port}
	return append(append(argv, more...), n.disk)
}

// benchNBD reads a disk of random data from each server by the same client, and
// from the same server by each client, in turns.
func benchNBD(b *bench) error {
	n := &nbdBench{bench: b, size: 1 << 30, rounds: 3, fastest: map[string]float64{}, resident: map[string]int64{}}
	if b.quick {
		n.size, n.rounds = 128<<20, 1
	}
	if err := n.prepare(); err != nil {
		return err
	}
	defer n.stop()
	uris := map[string]string{}
	var ours []*exec.Cmd
	for _, s := range nbdServers {
		port := strconv.Itoa(unusedPort())
		cmd, err := n.start(port, s.argv(n, port))
		if err != nil {
			return err
		}
		if s.name == "virtls" {
			ours = append(ours, cmd)
		}
		uris[s.name+" "+s.security] = n.uri(s.security, port)
	}
	if _, err := measure(exec.Command("nbdcopy", n.disk, uris["nbdkit plain"])); err != nil {
		return err
	}
	for range n.rounds {
		for _, s := range nbdServers {
			what := s.name + " " + s.security
			if err := n.read("server "+what, exec.Command("nbdcopy", "--no-extents", uris[what], "null:")); err != nil {
				return err
			}
		}
		for _, security := range []string{"plain", "x509"} {
			uri := uris["nbdkit "+security]
			if err := n.read("client nbdcopy "+security, exec.Command("nbdcopy", uri, "null:")); err != nil {
				return err
			}
			if err := n.read("client virtls "+security, exec.Command(b.virtls, "nbd", "copy", uri, "null:")); err != nil {
				return err
			}
		}
	}
	n.print(ours)
	return nil
}

// prepare makes the disk and the credentials.
func (n *nbdBench) prepare() error {
	dir := n.dir
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		// The disk is to be memory for everybody, as nbdkit's memory plugin is.
		if dir, err = os.MkdirTemp("/dev/shm", "virtls-bench-"); err != nil {
			return err
		}
	}
	n.disk = filepath.Join(dir, "disk.raw")
	f, err := os.Create(n.disk)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, n.size); err != nil {
		return err
	}
	fleet := filepath.Join(n.dir, "nbd.yaml")
	text := "organization: Bench\nhosts:\n  - {name: localhost, addresses: [127.0.0.1], uses: {qemu: both}}\n"
	if err := os.WriteFile(fleet, []byte(text), 0o600); err != nil {
		return err
	}
	state := filepath.Join(n.dir, "nbd")
	if _, err := measure(exec.Command(n.virtls, "apply", "--no-passphrase", "--prove", "none", "--state", state, fleet)); err != nil {
		return err
	}
	n.x509 = filepath.Join(state, "hosts/localhost/etc/pki/qemu")
	key := make([]byte, 32)
	rand.Read(key)
	n.psk = filepath.Join(n.dir, "keys.psk")
	return os.WriteFile(n.psk, []byte(pskUser+":"+hex.EncodeToString(key)+"\n"), 0o600)
}

func (n *nbdBench) stop() {
	for _, cmd := range n.started {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if filepath.Dir(n.disk) != n.dir {
		_ = os.RemoveAll(filepath.Dir(n.disk))
	}
}

// start starts a server and waits until it listens.
func (n *nbdBench) start(port string, argv []string) (*exec.Cmd, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n.started = append(n.started, cmd)
	for range 300 {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return cmd, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("%v does not listen", argv)
}

func (n *nbdBench) uri(security, port string) string {
	switch security {
	case "x509":
		return "nbds://localhost:" + port + "/?tls-certificates=" + n.x509
	case "psk":
		return "nbds://" + pskUser + "@localhost:" + port + "/?tls-psk-file=" + n.psk
	}
	return "nbd://localhost:" + port
}

// read measures a command that reads the disk once.
func (n *nbdBench) read(what string, cmd *exec.Cmd) error {
	u, err := measure(cmd)
	if err != nil {
		return err
	}
	n.fastest[what] = max(n.fastest[what], float64(n.size>>20)/u.wall.Seconds())
	n.resident[what] = max(n.resident[what], u.memory)
	return nil
}

func (n *nbdBench) print(ours []*exec.Cmd) {
	rate := func(what string) string { return fmt.Sprintf("%.0f MiB/s", n.fastest[what]) }
	bar := func(what string, factor float64, peers ...string) string {
		var wanted float64
		for _, p := range peers {
			wanted = max(wanted, factor*n.fastest[p])
		}
		return fmt.Sprintf("at least %.0f: %s", wanted, verdict(n.fastest[what] >= wanted))
	}
	table(fmt.Sprintf("NBD servers: %s of random data by nbdcopy to nowhere, fastest of %d", mebibytes(n.size), n.rounds), [][]string{
		{"", "virtls", "nbdkit", "qemu-nbd", "bar"},
		{"plain (nbdkit: memory)", rate("server virtls plain"), rate("server nbdkit plain"), rate("server qemu-nbd plain"), bar("server virtls plain", 0.8, "server nbdkit plain")},
		{"x509", rate("server virtls x509"), rate("server nbdkit x509"), rate("server qemu-nbd x509"), bar("server virtls x509", 1, "server nbdkit x509", "server qemu-nbd x509")},
		{"psk, default suite", rate("server virtls psk"), rate("server nbdkit psk"), "", bar("server virtls psk", 4, "server nbdkit psk")},
	})
	table("NBD clients: the same from nbdkit", [][]string{
		{"", "virtls nbd copy", "nbdcopy", "memory", "bar"},
		{"plain", rate("client virtls plain"), rate("client nbdcopy plain"), mebibytes(n.resident["client virtls plain"]), bar("client virtls plain", 1, "client nbdcopy plain")},
		{"x509", rate("client virtls x509"), rate("client nbdcopy x509"), mebibytes(n.resident["client virtls x509"]), bar("client virtls x509", 1, "client nbdcopy x509")},
	})
	var most int64
	for _, cmd := range ours {
		most = max(most, peak(cmd.Process.Pid))
	}
	// 4 connections of nbdcopy, 16 requests of 256 KiB each, beside the program itself.
	const bound = 4*32<<20 + 64<<20
	table("memory of virtls nbd serve, 4 connections with a window of 32 MiB", [][]string{
		{"largest resident set", mebibytes(most), fmt.Sprintf("at most %s: %s", mebibytes(bound), verdict(most <= bound))},
	})
}
