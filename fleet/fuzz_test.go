package fleet

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"virtls/layout"
)

// Whatever is in a fleet file: it is refused with a finding, or everything
// made of it stays where it belongs.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyField))
	f.Add(read(f, exampleFile))
	for _, name := range fleets {
		f.Add(read(f, filepath.Join("testdata", name+".yaml")))
	}
	f.Add([]byte("organization: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fleet.yaml", data)
		if err != nil {
			failure(t, err)
			return
		}
		r := &run{file: file, dir: "/state", bundles: map[bool][]byte{}, crls: map[bool][]byte{}}
		for h, err := range file.Holders {
			must(t, err)
			checkStaysInside(t, r, h)
			checkActivation(t, file, h)
		}
	})
}

// checkStaysInside wants all files of a holder below its own directory, none of
// them in the place of another, and an installer that can carry them.
func checkStaysInside(t *testing.T, r *run, h *Holder) {
	t.Helper()
	dir := filepath.Join("/state", h.Kind+"s", h.Name)
	if r.staged(h, "") != dir || filepath.Dir(filepath.Dir(dir)) != "/state" {
		t.Fatalf("%q is staged in %s", h.Name, r.staged(h, ""))
	}
	docs, err := r.documents(h)
	must(t, err)
	seen := map[string]string{filepath.Join(dir, manifestName): "file", filepath.Join(dir, activationDir): "directory"}
	m := Manifest{Person: h.person()}
	for _, e := range h.entries(docs) {
		m.Entries = append(m.Entries, h.resolved(e))
		path := r.staged(h, e.Path)
		if !strings.HasPrefix(path, dir+"/") || strings.HasPrefix(path, dir+"/"+activationDir+"/") {
			t.Fatalf("%s is staged as %s", e.Path, path)
		}
		if seen[path] != "" {
			t.Fatalf("%s is staged twice", path)
		}
		if parent := filepath.Dir(path); seen[parent] == "file" {
			t.Fatalf("%s is staged below a file", path)
		}
		seen[path] = e.Type
	}
	if err := m.check(); err != nil {
		t.Fatalf("the manifest of %s: %v", h.Name, err)
	}
}

// checkActivation wants settings whose lines are those that were meant.
func checkActivation(t *testing.T, file *File, h *Holder) {
	t.Helper()
	for name, text := range file.activation(h) {
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			t.Fatalf("%s of %s holds control characters:\n%s", name, h.Name, text)
		}
		if name == "libvirtd.conf" || name == "virtproxyd.conf" {
			if got := confList(t, text, "tls_allowed_dn_list"); !slices.Equal(got, file.allowed(h)) {
				t.Fatalf("%s of %s admits %q, want %q", name, h.Name, got, file.allowed(h))
			}
		}
	}
}

// confList reads a list of strings as libvirt's parser does (util/virconf.c): a
// string ends at the quote that it began with, and knows no escapes.
func confList(t *testing.T, text, key string) (list []string) {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+key+" = [")
	if !ok {
		t.Fatalf("no %s in:\n%s", key, text)
	}
	for {
		rest = strings.TrimLeft(rest, " \n,")
		if strings.HasPrefix(rest, "]") {
			return list
		}
		quote := rest[:1]
		if strings.HasPrefix(rest, `"""`) {
			quote = `"""`
		}
		value, after, ok := strings.Cut(rest[len(quote):], quote)
		if quote != `"` && quote != `'` && quote != `"""` || !ok || quote != `"""` && strings.Contains(value, "\n") {
			t.Fatalf("%s is no list of strings:\n%s", key, text)
		}
		list, rest = append(list, value), after
	}
}

// Whatever a manifest lists: the installer gets exactly those words.
func FuzzShellList(f *testing.F) {
	for _, path := range []string{"/etc/pki/qemu/server-key.pem", "/a'b", "/a b", "/$(id)", "/`id`", "/a\\", "/'\\''", "/a;b", "/-rf", "/é", "/a\"b", "/a//b", "/../b", "/a\nb", "relative", "/*", "/~", "/!", "/#"} {
		f.Add(path, "root", "file")
	}
	f.Add("/a", "$(id)", "file")
	f.Add("/a", layout.QEMUGroupName, "directory")
	f.Add("/a", "x;id", "dir")
	f.Fuzz(func(t *testing.T, path, group, typ string) {
		e := ManifestEntry{Entry: layout.Entry{Path: path, Type: typ, Owner: "root", Group: group}, ModeText: "0640"}
		m := Manifest{Entries: []ManifestEntry{e}}
		if m.check() != nil {
			return
		}
		script := "qemu_group=resolved\nfile() { printf '%s\\0' file \"$@\"; }\ndir() { printf '%s\\0' directory \"$@\"; }\n" + m.shellList() + "\n"
		out, err := exec.Command("/bin/sh", "-ec", script).CombinedOutput()
		if group == layout.QEMUGroupName {
			group = "resolved"
		}
		want := strings.Join([]string{typ, "root", group, "0640", path, ""}, "\x00")
		if err != nil || string(out) != want {
			t.Errorf("%v: the shell sees %q, want %q in\n%s", err, out, want, m.shellList())
		}
	})
}

// check refuses what no manifest may hold: it decides what root writes where,
// and its words become a part of the bundle's installer.
func (m Manifest) check() error {
	for _, e := range m.Entries {
		local := strings.TrimPrefix(e.Path, "/")
		switch {
		case filepath.Clean(e.Path) != e.Path || !filepath.IsLocal(local) || (local == e.Path) != m.Person ||
			strings.ContainsFunc(e.Path, unicode.IsControl):
			return fmt.Errorf("path %q", e.Path)
		case e.Type != "file" && e.Type != "directory":
			return fmt.Errorf("type %q of %s", e.Type, e.Path)
		case e.Owner != "root" && e.Owner != layout.HolderUser:
			return fmt.Errorf("owner %q of %s", e.Owner, e.Path)
		case e.Group != layout.QEMUGroupName && e.Group != layout.HolderUser && !accountForm.MatchString(e.Group):
			return fmt.Errorf("group %q of %s", e.Group, e.Path)
		}
	}
	return nil
}
