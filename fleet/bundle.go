package fleet

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"virtls/ca"
	"virtls/internal/atomicfile"
	"virtls/layout"
)

//go:embed install.sh
var installScript string

// Bundle packs what is staged for a host or client into a tar file that only
// its owner can read, with an installer that needs nothing but a POSIX shell if
// the tree is not a person's. The same tree gives the same file. The manifest
// says what is in it.
func Bundle(ctx context.Context, file *File, state *ca.State, holder, target string) (Manifest, error) {
	d, err := deliver(ctx, file, state, holder)
	if err != nil {
		return Manifest{}, err
	}
	defer d.clear()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := d.addTree(w); err != nil {
		return d.manifest, err
	}
	if !d.manifest.Person {
		script := strings.Replace(installScript, "@LIST@", d.manifest.shellList(), 1)
		if err := addFile(w, holder+"/install.sh", []byte(script), 0o755, time.Time{}); err != nil {
			return d.manifest, err
		}
	}
	if err := w.Close(); err != nil {
		return d.manifest, err
	}
	return d.manifest, atomicfile.Write(target, buf.Bytes(), 0o600)
}

// addTree adds what the manifest lists, the manifest and the activation files
// under the holder's name. What else lies in the directory stays there.
func (d *delivery) addTree(w *tar.Writer) error {
	addDir := func(name string, mode fs.FileMode) error {
		name = path.Join(d.holder.Name, name) + "/"
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: int64(mode), Format: tar.FormatPAX})
	}
	add := func(name string, data []byte, mode fs.FileMode) error {
		staged := d.run.staged(d.holder, name)
		info, err := os.Lstat(staged)
		if err != nil {
			return kindStagedUnreadable.Found(staged, "").Unable(err)
		}
		return addFile(w, path.Join(d.holder.Name, name), data, mode, info.ModTime())
	}
	if err := addDir("", 0o700); err != nil {
		return err
	}
	for _, e := range d.manifest.Entries {
		var err error
		if e.Type == "directory" {
			err = addDir(e.Path, e.Mode)
		} else {
			err = add(e.Path, d.files[e.Path], e.Mode)
		}
		if err != nil {
			return err
		}
	}
	for _, doc := range d.beside {
		if err := add(doc.entry.Path, doc.data, doc.mode()); err != nil {
			return err
		}
	}
	return nil
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
