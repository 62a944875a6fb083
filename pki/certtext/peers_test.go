package certtext_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
)

// A difference is a place where we do not print what a certtool prints.
type difference struct {
	document    string
	generations string // those that differ; empty: all
	why         string
	refused     string // the certtool does not print the document, but says this
	other       bool   // we print something else
	theirs      string // a part of its text ...
	ours        string // ... and what we have there
}

// applies tells whether the difference is about a document.
func (d difference) applies(name string, g peertest.Generation) bool {
	return d.document == name && (d.generations == "" || slices.Contains(strings.Fields(d.generations), g.Name))
}

// TestCerttool compares every document with what the real programs print,
// down to the last byte.
func TestCerttool(t *testing.T) {
	docs := documents(t)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		printed := runCerttool(t, g, docs)
		for i, doc := range docs {
			if doc.generations == "" || slices.Contains(strings.Fields(doc.generations), g.Name) {
				t.Run(doc.name, func(t *testing.T) { doc.compare(t, g, printed[i]) })
			}
		}
	})
}

// runCerttool lets one certtool of the generation after the other print the documents.
func runCerttool(t *testing.T, g peertest.Generation, docs []document) []string {
	t.Helper()
	dir := t.TempDir()
	var script strings.Builder
	for i, doc := range docs {
		name := fmt.Sprintf("%s/%d", dir, i)
		if err := os.WriteFile(name+".pem", doc.pem, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "certtool %s --infile %s.pem >%s.txt 2>&1\n", strings.Join(doc.args, " "), name, name)
	}
	g.Run(t, peertest.Options{}, "sh", "-c", script.String())
	printed := make([]string, len(docs))
	for i := range docs {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)))
		if err != nil {
			t.Fatal(err)
		}
		printed[i] = string(text)
	}
	return printed
}

func (doc document) compare(t *testing.T, g peertest.Generation, printed string) {
	t.Helper()
	theirs, _, ok := strings.Cut(printed, "-----BEGIN ")
	ours := doc.text(t)
	for _, d := range differences {
		switch {
		case !d.applies(doc.name, g):
		case d.refused != "":
			if ok || !strings.Contains(printed, d.refused) {
				t.Errorf("certtool was to refuse it with %q, and printed:\n%s", d.refused, printed)
			}
			return
		case d.other:
			if theirs == ours {
				t.Error("there is no difference any more")
			}
			return
		case !strings.Contains(theirs, d.theirs):
			t.Errorf("certtool does not print %q (%s)", d.theirs, d.why)
		default:
			theirs = strings.Replace(theirs, d.theirs, d.ours, 1)
		}
	}
	if !ok {
		t.Fatalf("certtool printed no PEM block: %s", printed)
	}
	if d := cmp.Diff(theirs, ours); d != "" {
		t.Errorf("text (-certtool +ours):\n%s", d)
	}
}

// TestDifferences keeps the list of differences from outliving their documents.
func TestDifferences(t *testing.T) {
	docs := documents(t)
	for _, d := range differences {
		if !slices.ContainsFunc(docs, func(doc document) bool { return doc.name == d.document }) {
			t.Errorf("there is no document %q", d.document)
		}
	}
}
