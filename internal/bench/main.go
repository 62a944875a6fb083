// Command bench measures virtls beside the programs it is compared with, in one
// run, and prints tables. A figure without its peer says nothing, and a figure
// from another run or machine says little: trust the ratios.
//
//	go run ./internal/bench            everything
//	go run ./internal/bench -only pki  one part
//	go run ./internal/bench -quick     small samples, for trying it out
//
// It works in the directory for temporary files: TMPDIR chooses the file system.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// bench is what the parts share.
type bench struct {
	dir    string // scratch
	virtls string // the binary, built as users build it
	quick  bool
	waited time.Duration // for the file system to settle
}

// parts are the tables, in the order in which they are printed.
var parts = []struct {
	name string
	run  func(*bench) error
}{
	{"pki", benchPKI},
	{"validate", benchValidate},
	{"engine", benchEngine},
	{"nbd", benchNBD},
	{"gateway", benchGateway},
	{"vnc", benchVNC},
	{"session", benchSession},
}

func main() {
	child()
	if kind := os.Getenv(serviceVariable); kind != "" {
		fmt.Fprintln(os.Stderr, "bench:", serveBench(kind))
		os.Exit(1)
	}
	only := flag.String("only", "", "run one part")
	quick := flag.Bool("quick", false, "small samples")
	flag.Parse()
	if err := run(*only, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(only string, quick bool) error {
	dir, err := os.MkdirTemp("", "virtls-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, virtls: filepath.Join(dir, "virtls"), quick: quick}
	build := exec.Command("go", "build", "-trimpath", "-o", b.virtls, "./cmd/virtls")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	fmt.Printf("%d cores, %s, load %s, files on %s\n", runtime.NumCPU(), runtime.Version(), load(), fileSystem(dir))
	for _, p := range parts {
		if only != "" && only != p.name {
			continue
		}
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// load tells whether the figures were disturbed.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:2], " ")
}

// usage is what a command cost.
type usage struct {
	wall, cpu time.Duration
	memory    int64 // largest resident set, octets
}

func (u usage) plus(v usage) usage {
	return usage{u.wall + v.wall, u.cpu + v.cpu, max(u.memory, v.memory)}
}

// measure runs a command and returns its cost.
func measure(cmd *exec.Cmd) (usage, error) {
	start := time.Now()
	out, err := cmd.CombinedOutput()
	u := usage{wall: time.Since(start)}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	state := cmd.ProcessState
	u.cpu = state.UserTime() + state.SystemTime()
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.memory = r.Maxrss * 1024
	}
	return u, nil
}

// unusedPort is one that nobody has now, 0 if there is none.
func unusedPort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// table prints rows under a title.
func table(title string, rows [][]string) {
	fmt.Printf("\n%s\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	w.Flush()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// verdict says whether a figure keeps within its bar.
func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}
