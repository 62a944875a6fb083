package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"virtls/ca"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/layout"
)

var (
	kindPlaceForeign = finding.Define("install-place-foreign", finding.Error,
		"a directory or link that leads to a file's place belongs to somebody else, who could make it lead elsewhere",
		"if it is right as it is, give it to root with chown -h; else remove it")
	kindPlaceTaken = finding.Define("install-place-taken", finding.Error,
		"there is something in a file's or directory's place that is neither replaced nor followed",
		"move it out of the way")
)

// way walks to a directory below the root as the host would, so that no link
// leads out of it, and returns where that is, with no link left in the path, and
// the names of the directories that are not there yet. Nobody but root, and who
// runs this, can change where it leads: what was found stays true.
func (in Installer) way(name string) (real string, missing []string, err error) {
	steps, err := layout.Root(in.Root).Steps(name)
	if err := trustedWay(steps); err != nil {
		return "", nil, err
	}
	switch {
	case err == nil && steps[len(steps)-1].Info.IsDir():
		return steps[len(steps)-1].Real, nil, nil
	case err == nil || errors.Is(err, syscall.ENOTDIR):
		return "", nil, kindPlaceTaken.Found(steps[len(steps)-1].Real, "a file").WithWant("a directory", "").Unable(nil)
	case !errors.Is(err, fs.ErrNotExist) || len(steps) == 0:
		return "", nil, kindNotInstalled.Found(filepath.Join(in.Root, name), "").Unable(err)
	}
	if real, missing, err = in.way(path.Dir(name)); err != nil {
		return "", nil, err
	}
	if at := filepath.Join(real, path.Base(name)); missing == nil {
		if to, err := os.Readlink(at); err == nil {
			return "", nil, kindPlaceTaken.Found(at, fmt.Sprintf("a link to %s, which is not there below %s", to, in.Root)).
				WithFix("make the directory that it leads to, or remove the link").Unable(nil)
		}
	}
	return real, append(missing, path.Base(name)), nil
}

// trustedWay refuses directories and links of others, and directories in which
// everybody may rename what is not theirs.
func trustedWay(steps []layout.Step) error {
	for _, s := range steps {
		uid, _ := ownerOf(s.Info)
		switch mode := s.Info.Mode(); {
		case !ca.TrustedOwner(s.Info) && s.Target != "":
			return kindPlaceForeign.Found(s.Real, fmt.Sprintf("a link of user %d to %s", uid, s.Target)).WithFix("if it is right: chown -h root %s; else: rm %[1]s", layout.ShellQuote(s.Real)).Wrong()
		case !ca.TrustedOwner(s.Info):
			return kindPlaceForeign.Found(s.Real, fmt.Sprintf("user %d", uid)).WithFix("if only the owner is wrong: chown root %s; else move it out of the way", layout.ShellQuote(s.Real)).Wrong()
		case mode.IsDir() && mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
			return kindPlaceForeign.Found(s.Real, fmt.Sprintf("mode %04o, so everybody may replace what is in it", mode.Perm())).WithFix("chmod o-w %s", layout.ShellQuote(s.Real)).Wrong()
		}
	}
	return nil
}

// checkRoot refuses a root directory that somebody else could exchange.
func (in Installer) checkRoot() error {
	root, err := filepath.Abs(in.Root)
	if err != nil {
		return err
	}
	steps, err := layout.Root("/").Steps(root)
	if err := trustedWay(steps); err != nil {
		return err
	}
	if err != nil {
		return kindNotInstalled.Found(in.Root, "").Unable(err)
	}
	return nil
}

// place returns where a file goes. What is there may be a regular file, which
// have describes; nil if there is nothing.
func (in Installer) place(name string) (target string, have fs.FileInfo, err error) {
	dir, missing, err := in.way(path.Dir(name))
	target = filepath.Join(dir, path.Base(name))
	if err != nil || missing != nil {
		return target, nil, err
	}
	have, err = os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target, nil, nil
	case err != nil:
		return "", nil, kindNotInstalled.Found(target, "").Unable(err)
	case have.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(target)
		return "", nil, kindPlaceTaken.Found(target, "a link to "+to).WithFix("if virtls is to look after this file: rm %s; if what made the link is, leave the service out of the fleet file", layout.ShellQuote(target)).Unable(err)
	case !have.Mode().IsRegular():
		return "", nil, kindPlaceTaken.Found(target, fmt.Sprintf("what is no file, but %v", have.Mode().Type())).WithWant("a file, or nothing", "").Unable(nil)
	}
	return target, have, nil
}

// readPlace reads what place has found, as far as it is as long as what it is
// compared with.
func readPlace(target string, length int) ([]byte, error) {
	f, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(length)+1))
}

// makeDirectory makes a directory, and those above it that are missing, and
// gives it its rights.
func (in Installer) makeDirectory(name string, mode fs.FileMode, uid, gid int) (target, did string, err error) {
	target, missing, err := in.way(name)
	if err != nil {
		return "", "", err
	}
	for i, part := range missing {
		target = filepath.Join(target, part)
		if err := os.Mkdir(target, 0o700); err != nil {
			return target, "", err
		}
		if i < len(missing)-1 { // those above are open to all, whatever the umask
			if err := os.Chmod(target, 0o755); err != nil {
				return target, "", err
			}
		}
	}
	dir, err := os.OpenFile(target, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return target, "", err
	}
	defer dir.Close()
	did, err = setRights(dir, mode, uid, gid)
	if missing != nil {
		did = "created"
	}
	return target, did, err
}

// setRights gives a directory its owner and mode, and says which it had not.
func setRights(dir *os.File, mode fs.FileMode, uid, gid int) (string, error) {
	info, err := dir.Stat()
	if err != nil {
		return "", err
	}
	did := wrongRights(info, mode, uid, gid)
	if did == "owner set" {
		err = dir.Chown(uid, gid)
	}
	if did != "" && err == nil {
		err = dir.Chmod(mode)
	}
	return did, err
}

// wrongRights says which right must be set, empty if none must.
func wrongRights(info fs.FileInfo, mode fs.FileMode, uid, gid int) string {
	switch u, g := ownerOf(info); {
	case u != uid || g != gid:
		return "owner set"
	case info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != mode:
		return "mode set"
	}
	return ""
}

// installFile puts a file in its place. One that is there is never written to
// or given other rights, because it may have other names: it is replaced.
func (in Installer) installFile(name string, data []byte, mode fs.FileMode, uid, gid int) (target, did string, err error) {
	target, have, err := in.place(name)
	if err != nil {
		return target, "", err
	}
	if did = "created"; have != nil {
		did = "replaced"
		old, err := readPlace(target, len(data))
		if err != nil {
			return target, "", err
		}
		same := bytes.Equal(old, data)
		clear(old)
		if same {
			if did = wrongRights(have, mode, uid, gid); did == "" {
				return target, "", nil
			}
		}
	}
	return target, did, atomicfile.Write(target, data, mode, atomicfile.Owner(uid, gid))
}
