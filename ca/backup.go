package ca

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"regexp"
	"time"

	"virtls/finding"
	"virtls/internal/atomicfile"
)

// backupSchema is the version of the backup's form.
const backupSchema = 1

// manifestName is the first file of a backup.
const manifestName = "manifest.json"

// A manifest lists what a backup holds.
type manifest struct {
	Schema int            `json:"schema"`
	Made   time.Time      `json:"made"`
	By     string         `json:"by"`
	Files  []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"` // with slashes, relative to the state directory
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// authorityFile is the form of the names of authorities' files in a backup.
var authorityFile = regexp.MustCompile(`^ca/[a-z0-9][a-z0-9-]{0,31}-(cert|key|crl|request)\.pem$`)

// Export writes the authorities and a consistent copy of the register to one
// tar file, mode 0600, which [Restore] reads. Keys stay encrypted as they are;
// one that is not encrypted lies open in the file.
func (s *State) Export(ctx context.Context, target string) error {
	if err := s.update(ctx, "export", target, nil); err != nil {
		return err
	}
	snapshot, err := atomicfile.Stage(s.path(registerFile+".snapshot"), nil, 0o600)
	if err != nil {
		return unwritable(err)
	}
	defer snapshot.Discard()
	if err := s.register.Snapshot(ctx, snapshot.Temp()); err != nil {
		return err
	}
	sources := map[string]string{registerFile: snapshot.Temp()}
	m := manifest{Schema: backupSchema, Made: s.Now().UTC(), By: s.opts.User, Files: []manifestFile{{Name: registerFile}}}
	entries, err := os.ReadDir(s.path(authorityDir))
	if err != nil && !os.IsNotExist(err) {
		return kindAuthorityUnreadable.Found(s.path(authorityDir), "").Unable(err)
	}
	for _, e := range entries {
		if name := path.Join(authorityDir, e.Name()); authorityFile.MatchString(name) {
			sources[name] = s.path(name)
			m.Files = append(m.Files, manifestFile{Name: name})
		}
	}
	for i := range m.Files {
		if err := m.Files[i].measure(sources[m.Files[i].Name]); err != nil {
			return kindAuthorityUnreadable.Found(s.dir, "").Unable(err)
		}
	}
	return unwritable(writeBackup(ctx, target, m, sources))
}

// measure fills in the size and hash of a file.
func (f *manifestFile) measure(source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	f.Size, err = io.Copy(sum, in)
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return err
}

func writeBackup(ctx context.Context, target string, m manifest, sources map[string]string) error {
	staged, err := atomicfile.Stage(target, nil, 0o600)
	if err != nil {
		return err
	}
	defer staged.Discard()
	out, err := os.OpenFile(staged.Temp(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	archive := tar.NewWriter(out)
	text, err := finding.JSON(m)
	if err != nil {
		return err
	}
	head := func(name string, size int64) error {
		return archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: m.Made, Format: tar.FormatPAX})
	}
	if err := head(manifestName, int64(len(text))); err != nil {
		return err
	}
	if _, err := archive.Write(text); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := head(f.Name, f.Size); err != nil {
			return err
		}
		if err := copyFile(archive, sources[f.Name]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return staged.Commit()
}

func copyFile(to io.Writer, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(to, in)
	return err
}
