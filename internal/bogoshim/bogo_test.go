package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the numbers in docs/bogo.md")

// checkoutVariable names the directory of a checkout of BoringSSL.
const checkoutVariable = "VIRTLS_BORINGSSL"

const page = "../../docs/bogo.md"

// A suite is the runner of a checkout and our shim.
type suite struct{ commit, dir, runner, shim, reasons string }

func newSuite(t *testing.T) *suite {
	t.Helper()
	checkout := os.Getenv(checkoutVariable)
	if checkout == "" {
		t.Skipf("BoringSSL's protocol tests are not run: have a checkout of it and name its directory in %s", checkoutVariable)
	}
	tmp := t.TempDir()
	s := &suite{
		dir: filepath.Join(checkout, "ssl", "test", "runner"), runner: filepath.Join(tmp, "runner"),
		shim: filepath.Join(tmp, "shim"), reasons: filepath.Join(tmp, "reasons"),
	}
	command := func(dir string, argv ...string) string {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	s.commit = command(checkout, "git", "rev-parse", "HEAD")
	command(".", "go", "build", "-o", s.shim, ".")
	command(s.dir, "go", "test", "-c", "-o", s.runner, ".")
	return s
}

// run has the runner play its tests, and returns their names by how they ended.
// Workers are few, so that no test is late on a busy machine.
func (s *suite) run(t *testing.T, args ...string) map[string][]string {
	t.Helper()
	config, err := filepath.Abs("bogo.json")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.runner, append([]string{
		"-shim-path", s.shim, "-shim-config", config, "-num-workers", "2", "-idle-timeout", time.Minute.String(), "-allow-unimplemented", "-pipe",
	}, args...)...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), reasonsVariable+"="+s.reasons)
	out, _ := cmd.CombinedOutput() // it fails if a test does, which is looked at below
	ended := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		how, name, ok := strings.Cut(lines.Text(), " (")
		if ok && slices.Contains([]string{"PASSED", "FAILED", "UNIMPLEMENTED"}, how) {
			ended[how] = append(ended[how], strings.TrimSuffix(name, ")"))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(ended["FAILED"]) > 0 || len(ended) == 0 {
		t.Errorf("%s", out)
	}
	return ended
}

// A disabled entry is a pattern of names with the reason why those tests do not
// apply.
type disabled struct{ pattern, reason string }

// readDisabled reads bogo.json in its order.
func readDisabled(t *testing.T) (list []disabled) {
	t.Helper()
	data, err := os.ReadFile("bogo.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ DisabledTests json.RawMessage }
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(config.DisabledTests))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		pattern, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		reason, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, disabled{pattern.(string), reason.(string)})
	}
	return list
}

// Every disabled test has a reason, and no pattern comes twice.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range readDisabled(t) {
		if _, err := filepath.Match(d.pattern, ""); err != nil || d.reason == "" || seen[d.pattern] {
			t.Errorf("%q: %q (%v)", d.pattern, d.reason, err)
		}
		seen[d.pattern] = true
	}
}

// kind is a reason without what is special to a test.
func kind(reason string) string {
	before, _, _ := strings.Cut(reason, ": -")
	return before
}

// TestBoGo runs all tests that apply, and compares the numbers with those that
// docs/bogo.md has for the same commit.
func TestBoGo(t *testing.T) {
	s := newSuite(t)
	// A flag that no shim knows: every test is named, and none is run.
	all := s.run(t, "-include-disabled", "-shim-extra-flags=-none")["UNIMPLEMENTED"]
	if err := os.Remove(s.reasons); err != nil {
		t.Fatal(err)
	}
	ended := s.run(t)
	ran := slices.Concat(ended["PASSED"], ended["FAILED"], ended["UNIMPLEMENTED"])
	slices.Sort(ran)
	counts := map[string]int{}
	used := map[string]bool{}
	for _, name := range all {
		if _, found := slices.BinarySearch(ran, name); found {
			continue
		}
		first := true
		for _, d := range readDisabled(t) {
			if ok, _ := filepath.Match(d.pattern, name); ok {
				used[d.pattern] = true
				if first {
					counts[d.reason]++
				}
				first = false
			}
		}
		if first {
			t.Errorf("%s was not run, and nothing disables it", name)
		}
	}
	for _, d := range readDisabled(t) {
		if !used[d.pattern] {
			t.Errorf("no test is called %q", d.pattern)
		}
	}
	notes, err := os.ReadFile(s.reasons)
	if err != nil {
		t.Fatal(err)
	}
	for reason := range strings.Lines(string(notes)) {
		counts[kind(strings.TrimSuffix(reason, "\n"))]++
	}
	compare(t, s.commit, table(s.commit, len(all), len(ended["PASSED"]), len(ended["FAILED"]), counts))
}

// table writes the numbers as docs/bogo.md has them.
func table(commit string, all, passed, failed int, counts map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "BoringSSL %s: %d tests, %d passed, %d failed, %d do not apply.\n\n", commit, all, passed, failed, all-passed-failed)
	b.WriteString("| tests | do not apply because of |\n|---:|---|\n")
	reasons := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for _, r := range reasons {
		fmt.Fprintf(&b, "| %d | %s |\n", counts[r], r)
	}
	return b.String()
}

// compare holds the page to the numbers.
func compare(t *testing.T, commit, got string) {
	t.Helper()
	const begin, end = "<!-- numbers -->\n", "<!-- end of numbers -->\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), begin)
	want, after, ok := strings.Cut(rest, end)
	switch {
	case !ok:
		t.Fatalf("%s has no place for the numbers", page)
	case *update:
		if err := os.WriteFile(page, []byte(before+begin+got+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case !strings.Contains(want, commit):
		t.Logf("%s has the numbers of another commit; those of this one are\n%s", page, got)
	case got != want:
		t.Errorf("%s has other numbers than\n%s", page, got)
	}
}
