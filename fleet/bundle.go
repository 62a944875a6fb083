package fleet

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"virtls/internal/atomicfile"
	"virtls/layout"
)

//go:embed install.sh
var installScript string

// Bundle packs what is staged for a host or client into a tar file that only
// its owner can read, with an installer that needs nothing but a POSIX shell if
// the tree is not a person's. The same tree gives the same file. The manifest
// says what is in it.
func Bundle(stateDir, holder, target string) (Manifest, error) {
	dir, m, err := readManifest(stateDir, holder)
	if err != nil {
		return m, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := addTree(w, dir, holder); err != nil {
		return m, err
	}
	if !m.Person {
		script := strings.Replace(installScript, "@LIST@", m.shellList(), 1)
		if err := addFile(w, holder+"/install.sh", []byte(script), 0o755, time.Time{}); err != nil {
			return m, err
		}
	}
	if err := w.Close(); err != nil {
		return m, err
	}
	return m, atomicfile.Write(target, buf.Bytes(), 0o600)
}

// addTree adds the files below dir under the holder's name.
func addTree(w *tar.Writer, dir, holder string) error {
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return kindStagedUnreadable.Found(p, "").Unable(err)
		}
		if atomicfile.IsTemp(e.Name()) {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name := filepath.ToSlash(filepath.Join(holder, strings.TrimPrefix(p, dir)))
		if e.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX})
		}
		data, err := readBounded(p)
		if err != nil {
			return err
		}
		return addFile(w, name, data, info.Mode().Perm(), info.ModTime())
	})
}

func addFile(w *tar.Writer, name string, data []byte, mode fs.FileMode, modified time.Time) error {
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: int64(len(data)), ModTime: modified, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(data))
	return err
}

// shellList writes the manifest as calls of the installer's functions.
func (m Manifest) shellList() string {
	var b strings.Builder
	for _, e := range m.Entries {
		group := e.Group
		if group == layout.QEMUGroupName {
			group = "$qemu_group"
		}
		verb := "file"
		if e.Type == "directory" {
			verb = "dir"
		}
		fmt.Fprintf(&b, "%s %s \"%s\" %s '%s'\n", verb, e.Owner, group, e.ModeText, strings.ReplaceAll(e.Path, "'", `'\''`))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
