package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"virtls/ca"
	"virtls/fleet"
	"virtls/internal/peertest"
)

var update = flag.Bool("update", false, "rewrite the golden files in the scripts")

// TestMain makes the test binary answer to virtls and the programs it imitates,
// so that scripts and tests run the program as it is, in processes of its own.
func TestMain(m *testing.M) {
	// The race detector makes every process wait for a second before it ends.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"virtls": main, "certtool": main, "psktool": main, "qemu-img": main, "qemu-nbd": main, "virt-pki-query-dn": main, "virt-pki-validate": main})
}

// TestScripts runs testdata/script/*.txtar, one behaviour each. Beside
// testscript's own commands they use those of scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         memoryDir(t),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds:                scriptCommands,
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("VIRTLS_INTEROP", os.Getenv("VIRTLS_INTEROP"))
			env.Setenv("TZ", "UTC")
			env.Setenv("TERM", "dumb")
			return nil
		},
	})
}

// In CI no script is skipped for what the machine lacks.
func TestScriptsLackNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	condition := regexp.MustCompile(`(?m)^\[!(root|exec:(\S+))\] skip`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range condition.FindAllStringSubmatch(string(text), -1) {
			t.Run(filepath.Base(file)+" "+m[1], func(t *testing.T) {
				if m[2] == "" {
					peertest.NeedRoot(t, "the script")
				} else {
					peertest.NeedProgram(t, m[2], "what its skip line says")
				}
			})
		}
	}
}

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"code":     cmdCode,
	"normal":   cmdNormal,
	"snapshot": cmdSnapshot,
	"mode":     cmdMode,
	"nowhere":  cmdNowhere,
	"past":     cmdPast,
	"sql":      cmdSQL,
}

// code N PROGRAM ARGS... runs a program and wants it to end with exit code N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program [args...]")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// changing is what differs from run to run, by what stands for it. Dates keep
// their width, so that tables stay tables.
var changing = []struct {
	form *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`), "YYYY-MM-DD"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "SHA256"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), strings.Repeat("h", 40)},
	{regexp.MustCompile(`"by": ?"` + regexp.QuoteMeta(userName()) + `"`), `"by": "USER"`},
	{regexp.MustCompile(`process \d+ of [^,]+,`), "process N of USER,"},
	{regexp.MustCompile(`\bgo1\.\d+(\.\d+)?\b`), "GOVERSION"},
}

func userName() string {
	u, err := user.Current()
	if err != nil {
		return "?"
	}
	return u.Username
}

// normal replaces what differs from run to run in standard output and standard
// error, for the commands that follow: times, serial numbers, hashes and the
// working directory.
func cmdNormal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: normal")
	}
	normal := func(text string) string {
		text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
		for _, c := range changing {
			text = c.form.ReplaceAllString(text, c.name)
		}
		return text
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	fmt.Fprint(ts.Stdout(), normal(stdout))
	fmt.Fprint(ts.Stderr(), normal(stderr))
}

// snapshot DIR FILE writes path, mode, time of change and hash of everything
// below DIR to FILE.
func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snapshot DIR FILE")
	}
	text, err := snapshot(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

func snapshot(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %s", strings.TrimPrefix(path, dir), info.Mode(), info.ModTime().Format(time.RFC3339Nano))
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	})
	return b.String(), err
}

// mode WANT FILE... wants files to have this mode, in octal.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode WANT FILE...")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// nowhere TEXT PATH... wants no file in or below the paths to hold the text.
// PATH may be stdout or stderr.
func cmdNowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nowhere TEXT PATH...")
	}
	for _, name := range args[1:] {
		if name == "stdout" || name == "stderr" {
			if strings.Contains(ts.ReadFile(name), args[0]) {
				ts.Fatalf("%s holds %q", name, args[0])
			}
			continue
		}
		ts.Check(filepath.WalkDir(ts.MkAbs(name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(data), args[0]) {
				err = fmt.Errorf("%s holds %q", path, args[0])
			}
			return err
		}))
	}
}

// past DAYS FLEET does what `virtls apply --no-passphrase FLEET` did so many
// days ago.
func cmdPast(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: past DAYS FLEET")
	}
	days, err := strconv.Atoi(args[0])
	ts.Check(err)
	name := ts.MkAbs(args[1])
	file, err := fleet.Load(name)
	ts.Check(err)
	state, err := ca.OpenState(context.Background(), filepath.Join(filepath.Dir(name), "pki"), ca.Options{
		Create: true, Command: "virtls apply " + args[1], Now: func() time.Time { return time.Now().AddDate(0, 0, -days) },
	})
	ts.Check(err)
	_, err = fleet.Apply(context.Background(), file, state, fleet.Options{Prove: fleet.ProveNone})
	ts.Check(errors.Join(err, state.Close()))
}

// sql FILE STATEMENT changes an SQLite file. Its driver comes with the register.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENT")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(errors.Join(err, db.Close()))
}
