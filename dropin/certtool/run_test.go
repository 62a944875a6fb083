package certtool

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// A step is one command line, run by a shell in a directory of its own that
// holds the fixtures that it names.
type step struct {
	name    string
	command string
	stdin   string
	// fresh results hold new keys, numbers or times, which are set aside
	// before they are compared.
	fresh bool
}

// An outcome is all that a step leaves behind.
type outcome struct {
	Code           int
	Stdout, Stderr string
	Files          []string // name, mode, content; only what is new or changed
}

// batchSize is how many steps run in one sandbox, which has a minute.
const batchSize = 12

// runSteps runs steps, each in a directory of its own, with the certtool that
// the shell finds. The steps' directories are kept below the one returned.
func runSteps(t *testing.T, steps []step, fixtures string, shell func(script string)) []outcome {
	t.Helper()
	dir := t.TempDir()
	var outcomes []outcome
	for batch := range slices.Chunk(steps, batchSize) {
		base := len(outcomes)
		var script strings.Builder
		script.WriteString("umask 022\n")
		for i, s := range batch {
			at := filepath.Join(dir, strconv.Itoa(base+i))
			copyNamed(t, s.command, fixtures, filepath.Join(at, "files"))
			must(t, os.WriteFile(at+"/stdin", []byte(s.stdin), 0o600))
			must(t, os.WriteFile(at+"/command", []byte(s.command), 0o600))
			fmt.Fprintf(&script, "(cd %[1]s/files && setsid sh ../command <../stdin >../stdout 2>../stderr; echo $? >../code)\n", at)
		}
		shell(script.String())
		for i, s := range batch {
			outcomes = append(outcomes, readOutcome(t, s, filepath.Join(dir, strconv.Itoa(base+i)), fixtures))
		}
	}
	return outcomes
}

// copyNamed copies the fixtures that a command names.
func copyNamed(t *testing.T, command, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(to, 0o755))
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, e := range entries {
		if !strings.Contains(command, e.Name()) {
			continue
		}
		info, err := e.Info()
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, e.Name()), []byte(readFile(t, filepath.Join(from, e.Name()))), info.Mode().Perm()))
	}
}

func readOutcome(t *testing.T, s step, at, fixtures string) (o outcome) {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(at, name))
		must(t, err)
		return string(data)
	}
	code, err := strconv.Atoi(strings.TrimSpace(read("code")))
	must(t, err)
	o.Code, o.Stdout, o.Stderr = code, read("stdout"), read("stderr")
	must(t, fs.WalkDir(os.DirFS(filepath.Join(at, "files")), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		old, oldErr := os.ReadFile(filepath.Join(fixtures, path))
		now := read("files/" + path)
		info, err := d.Info()
		if err != nil || oldErr == nil && string(old) == now {
			return err
		}
		o.Files = append(o.Files, fmt.Sprintf("%s %v\n%s", path, info.Mode(), now))
		return nil
	}))
	if s.fresh {
		o.Stdout, o.Stderr = setAside(o.Stdout), setAside(o.Stderr)
		for i := range o.Files {
			o.Files[i] = setAside(o.Files[i])
		}
	}
	return o
}

// ours runs steps with the test binary in certtool's place.
func ours(t *testing.T, steps []step, fixtures string) []outcome {
	t.Helper()
	return runSteps(t, steps, fixtures, ourShell(t))
}

// ourShell runs a script that finds the test binary as certtool and psktool.
func ourShell(t *testing.T) func(script string) {
	t.Helper()
	path := links(t) + ":" + os.Getenv("PATH")
	return func(script string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", script)
		// A program with the race detector sleeps for a second before it ends, unless told not to.
		cmd.Env = append(os.Environ(), "PATH="+path, "TZ=UTC", "LC_ALL=C", "GORACE=atexit_sleep_ms=0", fewer+"=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// theirs runs steps with a generation's certtool.
func theirs(t *testing.T, g peertest.Generation, steps []step, fixtures string) []outcome {
	t.Helper()
	return runSteps(t, steps, fixtures, func(script string) {
		if r := g.Run(t, peertest.Options{}, "sh", "-c", script); r.Code != 0 {
			t.Fatal(r)
		}
	})
}

// aside is what differs from run to run.
var aside = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?m)^[A-Za-z0-9+/=]+\n(?:[A-Za-z0-9+/=]+\n)*(-----END)`), "<base64>\n$1"},
	{regexp.MustCompile(`(?m)^(\t+)(?:[0-9a-f]{2}:?)+$`), "$1<octets>"},
	{regexp.MustCompile(`(\t+<octets>\n)(?:\t+<octets>\n)*(?:\t\n)?`), "$1"},
	{regexp.MustCompile(`(?m)^(\t*)(sha1|sha256|pin-sha256):.*$`), "$1$2:<digest>"},
	{regexp.MustCompile(`(Serial Number \(hex\): )[0-9a-f]{32,40}`), "$1<serial>"}, // some begin with a zero, which is left out
	{regexp.MustCompile(`(CRL Number \(not critical\): )[0-9a-f]{38}`), "$1<number>"},
	{regexp.MustCompile(`(default is 0x)[0-9a-f]+`), "$1<number>"},
	{regexp.MustCompile(`\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}`), "<time>"},
	{regexp.MustCompile(`(xpiration time: )\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}`), "$1<time>"},
	{regexp.MustCompile(`(Salt(?: size)?: )[0-9a-f]+`), "$1<salt>"},
}

func setAside(text string) string {
	text = describeObjects(text)
	for _, a := range aside {
		text = a.form.ReplaceAllString(text, a.with)
	}
	return text
}
