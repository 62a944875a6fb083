package fleet

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
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
	if err := m.addTree(w, dir, holder); err != nil {
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

// addTree adds what the manifest lists, the manifest and the activation files
// under the holder's name. What else lies in the directory stays there.
func (m Manifest) addTree(w *tar.Writer, dir, holder string) error {
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: holder + "/", Mode: 0o700, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	add := func(name string, data []byte, mode fs.FileMode) error {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return kindStagedUnreadable.Found(filepath.Join(dir, name), "").Unable(err)
		}
		return addFile(w, path.Join(holder, name), data, mode, info.ModTime())
	}
	for _, e := range m.Entries {
		if e.Type == "directory" {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(holder, e.Path) + "/", Mode: int64(e.Mode), Format: tar.FormatPAX})
		} else {
			var data []byte
			if data, err = e.read(dir); err == nil {
				err = add(e.Path, data, e.Mode)
			}
			clear(data)
		}
		if err != nil {
			return err
		}
	}
	others, err := filepath.Glob(filepath.Join(dir, activationDir, "*"))
	if err != nil {
		return err
	}
	for _, name := range append(others, filepath.Join(dir, manifestName)) {
		data, err := readBounded(name)
		if err == nil {
			err = add(strings.TrimPrefix(name, dir), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns the staged content of a file that the manifest lists.
func (e ManifestEntry) read(dir string) ([]byte, error) {
	source := filepath.Join(dir, e.Path)
	data, err := readBounded(source)
	if err != nil {
		return nil, err
	}
	if data == nil || e.SHA256 != "" && !sameHash(data, e.SHA256) {
		return nil, kindTampered.Found(source, "").Wrong()
	}
	return data, nil
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
