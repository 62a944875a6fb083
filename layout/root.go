package layout

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"virtls/internal/readfile"
)

// A View is a host's files as one of its users sees them. Names are absolute
// paths on that host. A Root shows them as whoever runs this program;
// access.Host.As as somebody else does.
type View interface {
	// Stat follows links. Its error matches fs.ErrNotExist or fs.ErrPermission
	// where that is the reason.
	Stat(name string) (fs.FileInfo, error)
	// ReadFile reads a regular file of at most MaxConfSize bytes.
	ReadFile(name string) ([]byte, error)
}

// A Root is the directory that is taken for a host's root: "/" (or nothing) for
// this machine, the root of a staged tree or of a container otherwise. Symbolic
// links are followed as that host would: an absolute one begins at the root,
// and none leads out of it.
type Root string

// A Step is what one component of a path is. A link's Target is not empty.
type Step struct {
	Path   string // as the host names it, without links before the last component
	Real   string // on this machine
	Info   fs.FileInfo
	Target string
}

// maxLinks is Linux's limit of links in one path (path_resolution(7)).
const maxLinks = 40

// Steps walks to a name as the kernel does and returns what it meets: the root,
// each directory, each link, at last the file itself. When something is missing
// or cannot be entered it returns the steps before that and the error.
func (r Root) Steps(name string) ([]Step, error) {
	if !path.IsAbs(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not an absolute path")}
	}
	at, err := r.step("/")
	if err != nil {
		return nil, err
	}
	steps := []Step{at}
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if !at.Info.IsDir() {
			return steps, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
		}
		if part == "" || part == "." {
			continue
		}
		next, err := r.step(path.Join(at.Path, part))
		if err != nil {
			return steps, err
		}
		steps = append(steps, next)
		if next.Target == "" {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return steps, &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		todo = append(strings.Split(next.Target, "/"), todo...)
		if path.IsAbs(next.Target) {
			at = steps[0]
		}
	}
	return steps, nil
}

// step looks at one object without following it. name is clean.
func (r Root) step(name string) (Step, error) {
	s := Step{Path: name, Real: r.join(name)}
	var err error
	if s.Info, err = os.Lstat(s.Real); err != nil {
		return s, inside(err, name)
	}
	if s.Info.Mode()&fs.ModeSymlink != 0 && name != "/" {
		if s.Target, err = os.Readlink(s.Real); err != nil {
			return s, inside(err, name)
		}
	}
	if name == "/" && s.Info.Mode()&fs.ModeSymlink != 0 {
		s.Info, err = os.Stat(s.Real)
	}
	return s, err
}

func (r Root) join(name string) string {
	if r == "" {
		return name
	}
	return filepath.Join(string(r), name)
}

// inside has the error name the file as the host does.
func inside(err error, name string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err}
	}
	return err
}

// Real returns where on this machine the file of that name is, with no link
// left in its path.
func (r Root) Real(name string) (string, error) {
	steps, err := r.Steps(name)
	if err != nil {
		return "", err
	}
	return steps[len(steps)-1].Real, nil
}

// Stat implements View.
func (r Root) Stat(name string) (fs.FileInfo, error) {
	steps, err := r.Steps(name)
	if err != nil {
		return nil, err
	}
	return steps[len(steps)-1].Info, nil
}

// ReadFile implements View.
func (r Root) ReadFile(name string) ([]byte, error) {
	real, err := r.Real(name)
	if err != nil {
		return nil, err
	}
	// A link that has just been put there must not lead us out.
	data, _, err := readfile.Regular(real, MaxConfSize, syscall.O_NOFOLLOW)
	if err != nil {
		return nil, inside(err, name)
	}
	return data, nil
}

// exists is libvirt's virFileExists, access(2) with F_OK: what lies in a
// directory that cannot be entered does not exist.
func exists(v View, name string) bool {
	_, err := v.Stat(name)
	return err == nil
}
