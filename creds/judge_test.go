package creds

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// verdict is what is said of a judgement in one line: whether the files are
// accepted, why not, and which other problems there are.
func verdict(j Judgement) string {
	var b strings.Builder
	if p := j.Refused(); p != nil {
		fmt.Fprintf(&b, "refused %s: %q", p.Finding.Code, p.Text)
	} else {
		b.WriteString("accepted")
	}
	refused := false
	for _, p := range j.Problems {
		if !refused && p.refuses() {
			refused = true
			continue
		}
		fmt.Fprintf(&b, " [%s %s]", p.Finding.Severity, p.Finding.Code)
	}
	return b.String()
}

// Every set-up before every row of the table. That the verdicts are right is
// for TestJudgeAsPeers to show; this shows every change of them.
func TestJudge(t *testing.T) {
	var b strings.Builder
	for _, s := range setups() {
		fmt.Fprintf(&b, "%s\n", s.name)
		for _, name := range ConsumerNames() {
			var order []string
			versions := map[string][]string{}
			first, err := ConsumerFor(name, "")
			if err != nil {
				t.Fatal(err)
			}
			root, names := s.files.place(t, first)
			cache := NewCache()
			for _, c := range Consumers() {
				if c.Name != name {
					continue
				}
				j := c.Judge(names, JudgeOptions{Root: root, Now: testNow})
				if diff := cmp.Diff(j, c.Judge(names, JudgeOptions{Root: root, Now: testNow, Cache: cache})); diff != "" {
					t.Errorf("%s, %s: without and with a cache (-without +with):\n%s", s.name, c, diff)
				}
				v := verdict(j)
				if versions[v] == nil {
					order = append(order, v)
				}
				versions[v] = append(versions[v], c.Version)
			}
			for _, v := range order {
				fmt.Fprintf(&b, "\t%s %s: %s\n", name, strings.Join(versions[v], " "), v)
			}
		}
	}
	golden(t, "verdicts.txt", b.String())
}
