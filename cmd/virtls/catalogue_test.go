package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"

	// Packages whose findings are in the catalogue although no command uses them yet.
	_ "virtls/authz"
	_ "virtls/creds"
	_ "virtls/layout/access"
	_ "virtls/object"
	_ "virtls/priority"
	_ "virtls/proto/libvirt"
	_ "virtls/proto/vnc"
	_ "virtls/sasl/gssapi"
	_ "virtls/session"
	_ "virtls/tlsengine/scan"
)

// catalogueText is docs/findings.md.
func catalogueText() string {
	var b strings.Builder
	b.WriteString(`# Findings

Everything that virtls can find wrong, by its code. Codes are stable: programs may rely on them. A finding says what is wrong and
where, what was found, what was wanted and by whom, and how to mend it; ` + "`virtls explain CODE`" + ` shows its entry of this list.
Findings of severity error make a command exit with 1 at least; warnings and infos do not.

This page is made from the code: ` + "`go test ./cmd/virtls -run Catalogue -update`" + `.
`)
	for _, k := range finding.Catalogue() {
		e := entry(k)
		fmt.Fprintf(&b, "\n## %s\n\n**%s**: %s.", e.Code, e.Severity, strings.TrimSuffix(e.Cause, "."))
		if e.Cure != "" {
			fmt.Fprintf(&b, " To mend it: %s.", strings.TrimSuffix(e.Cure, "."))
		}
		b.WriteString("\n")
		if e.Example != nil {
			fmt.Fprintf(&b, "\n```text\n%s```\n", printed(*e.Example))
		}
	}
	return b.String()
}

// docs/findings.md lists every kind of finding. -update writes it.
func TestCatalogue(t *testing.T) {
	const page = "../../docs/findings.md"
	if *update {
		if err := os.WriteFile(page, []byte(catalogueText()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), catalogueText()); diff != "" {
		t.Errorf("docs/findings.md is not what the code says; go test ./cmd/virtls -run Catalogue -update writes it:\n%s", diff)
	}
}

// Every kind has an example, and every example is one of a kind.
func TestCatalogueExamples(t *testing.T) {
	kinds := map[string]bool{}
	for _, k := range finding.Catalogue() {
		kinds[k.Code] = true
		f, ok := examples()[k.Code]
		switch {
		case !ok:
			t.Errorf(`%[1]s has no example: add one to cmd/virtls/examples.json, such as "%[1]s": {"subject": "FILE", "got": "WHAT WAS FOUND", "want": "WHAT WAS WANTED", "by": "QEMU 11.1"}`, k.Code)
			continue
		case f.Code != k.Code:
			t.Errorf("the example of %s has the code %s", k.Code, f.Code)
		case f.Text == "":
			t.Errorf("the example of %s does not say what is wrong", k.Code)
		}
		if text := printed(f); strings.Contains(text, os.TempDir()+"/") || strings.Contains(text, "%!") {
			t.Errorf("the example of %s is not fit to print:\n%s", k.Code, text)
		}
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(examplesJSON, &all); err != nil {
		t.Fatal(err)
	}
	for code := range all {
		if !kinds[code] {
			t.Errorf("examples.json has an example of %s, which is no finding", code)
		}
	}
}

var definition = regexp.MustCompile(`finding\.Define\(\s*"([a-z0-9-]+)"`)

// No package's findings are forgotten because nothing links it in.
func TestCatalogueIsComplete(t *testing.T) {
	known := map[string]bool{}
	for _, k := range finding.Catalogue() {
		known[k.Code] = true
	}
	out, err := exec.Command("go", "list", "-f", `{{range .GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}`, "virtls/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.FieldsSeq(string(out)) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range definition.FindAllSubmatch(data, -1) {
			if code := string(m[1]); !known[code] {
				t.Errorf("%s: %s is not in the catalogue: import the package in this file", filepath.Base(file), code)
			}
		}
	}
}
