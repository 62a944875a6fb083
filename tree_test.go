// Package virtls_test polices the tree: which package may import which, and
// that every package says what it is for.
package virtls_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rows are the packages bottom up. A package imports only packages of rows
// above its own in this list; a trailing /... stands for a package and those below it.
var rows = [][]string{
	{"finding"},
	{"internal/strictyaml"},
	{"pki/dn", "pki/dh"},
	{"pki"},
	{"pki/certtemplate", "pki/certtext"},
	{"psk", "priority", "authz", "layout"},
	{"layout/access"},
	{"creds"},
	{"object"},
	{"tlsengine/internal/wire"},
	{"tlsengine/internal/kex", "tlsengine/internal/record", "tlsengine/internal/schedule", "tlsengine/internal/sigs"},
	{"tlsengine"},
	{"session", "tlsengine/scan"},
	{"sasl"},
	{"sasl/cyrus"},
	{"validate", "explain"},
	{"ca/register"},
	{"ca"},
	{"sasl/gssapi", "qcow2"},
	{"proto/nbd", "proto/vnc", "proto/libvirt"},
	{"gateway/machines"},
	{"gateway/page"},
	{"gateway", "probe", "console", "fleet"},
	{"gateway/..."},
	{"dropin"},
	{"dropin/..."},
	{"cmd/virtls"},
	{"internal/bench", "internal/bogoshim"},
}

// anywhere may be imported by every package, and imports no other.
var anywhere = []string{"internal/atomicfile", "internal/imagelock", "internal/parallel", "internal/promtext", "internal/qjson", "internal/qopts", "internal/readfile", "internal/strerror", "internal/unixsocket", "internal/wait", "internal/watch"}

// testsOnly may be imported by tests alone.
var testsOnly = []string{"internal/peertest"}

// pure are the packages that reach neither network nor processes nor databases.
var pure = []string{"finding", "pki/dn", "pki/dh", "pki", "pki/certtemplate", "pki/certtext", "layout", "layout/access"}

var impure = []string{"net", "net/http", "os/exec", "database/sql", "golang.org/x/crypto/ssh"}

const module = "virtls"

type goPackage struct {
	ImportPath, Name, Dir              string
	Imports, TestImports, XTestImports []string
	GoFiles                            []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Dir,Imports,TestImports,XTestImports,GoFiles", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var list []goPackage
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// rowOf returns the row of a package, -1 if it has none. Exact names win over patterns.
func rowOf(name string) int {
	for i, row := range rows {
		if slices.Contains(row, name) {
			return i
		}
	}
	for i, row := range rows {
		for _, pattern := range row {
			if prefix, ok := strings.CutSuffix(pattern, "/..."); ok && strings.HasPrefix(name, prefix+"/") {
				return i
			}
		}
	}
	return -1
}

func local(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

func TestPackageOrder(t *testing.T) {
	for _, p := range packages(t) {
		name, ok := local(p.ImportPath)
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			own := rowOf(name)
			free := slices.Contains(anywhere, name)
			if own < 0 && !free && !slices.Contains(testsOnly, name) {
				t.Fatalf("package %s is in no row of the package order; add it to rows in this test and to the design", name)
			}
			for _, imp := range p.Imports {
				dep, isLocal := local(imp)
				switch {
				case !isLocal:
					if slices.Contains(pure, name) && slices.Contains(impure, imp) {
						t.Errorf("imports %s, which a package of its row must not reach", imp)
					}
				case slices.Contains(anywhere, dep):
				case free:
					t.Errorf("imports %s, but may be imported anywhere and so imports nothing", dep)
				case slices.Contains(testsOnly, name):
				case slices.Contains(testsOnly, dep):
					t.Errorf("imports %s, which is for tests", dep)
				case rowOf(dep) >= own:
					t.Errorf("imports %s, which is not above it in the package order", dep)
				}
			}
		})
	}
}

func TestPackageDoc(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		doc := 0
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			doc += checkDoc(t, p, file, f)
		}
		if doc != 1 {
			t.Errorf("%s has %d package comments; want one that says what the package is for", p.ImportPath, doc)
		}
	}
}

func checkDoc(t *testing.T, p goPackage, file string, f *ast.File) int {
	if f.Doc == nil {
		return 0
	}
	want := "Package " + p.Name + " "
	if p.Name == "main" {
		want = "Command " + filepath.Base(p.Dir) + " "
	}
	if !strings.HasPrefix(f.Doc.Text(), want) {
		t.Errorf("%s/%s: the package comment does not begin with %q", p.ImportPath, file, want)
	}
	return 1
}

// TestFileLength keeps files to one idea each.
func TestFileLength(t *testing.T) {
	const limit = 600
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > limit {
				t.Errorf("%s/%s has %d lines; split it (limit %d)", p.ImportPath, file, n, limit)
			}
		}
	}
}

// Who logs in without Kerberos does not link its library.
func TestKerberosIsOptional(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./sasl", "./proto/vnc").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "gokrb5") || !strings.Contains(string(out), module+"/sasl\n") {
		t.Error("proto/vnc links gokrb5: sasl/gssapi is to be imported by programs alone")
	}
}
