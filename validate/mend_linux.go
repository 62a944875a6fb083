package validate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtls/finding"
	"virtls/layout"
	"virtls/layout/access"
)

var kindNotMended = finding.Define("fix-failed", finding.Error,
	"the file's owner or mode could not be changed", "run the command as root, or mend the file by hand")

// Mend makes the steps that are safe: it changes modes and owners of what is
// there, gives back the labels of the SELinux policy, and nothing else. Symbolic links are not followed, and a file that has
// several names is left alone, so that nobody who may write into a directory
// can have other files changed. It returns the steps it has made and what went
// wrong.
func Mend(steps []Step) (done []Step, failed []finding.Finding) {
	accounts, err := access.ReadAccounts(layout.Root("/"))
	if err != nil {
		return nil, []finding.Finding{kindNotMended.Found("/etc/passwd", err.Error())}
	}
	for _, s := range steps {
		if !s.Safe {
			continue
		}
		changes, err := parseFix(s.Command)
		for _, c := range changes {
			if err == nil {
				err = c.make(accounts)
			}
		}
		if err != nil {
			failed = append(failed, kindNotMended.Found(s.Finding.Subject, err.Error()).WithFix("%s", s.Command))
			continue
		}
		done = append(done, s)
	}
	return done, failed
}

// A modification is one command that is safe to run.
type modification struct {
	command string // chmod, chown, chgrp or restorecon
	how     string // its first argument
	path    string
}

var errUnsafe = errors.New("the command changes more than modes, owners and labels")

// parseFix reads a fix made of safe commands.
func parseFix(fix string) ([]modification, error) {
	var list []modification
	for part := range strings.SplitSeq(fix, " && ") {
		words, ok := shellWords(part)
		if !ok || len(words) != 3 || !slices.Contains([]string{"chmod", "chown", "chgrp", "restorecon"}, words[0]) || !path.IsAbs(words[2]) {
			return nil, errUnsafe
		}
		m := modification{words[0], words[1], words[2]}
		if m.command == "restorecon" && m.how != "-v" {
			return nil, errUnsafe
		}
		if m.command == "chmod" {
			if _, err := newMode(0, m.how); err != nil {
				return nil, err
			}
		}
		list = append(list, m)
	}
	return list, nil
}

// shellWords takes apart what layout.ShellQuote has put together.
func shellWords(text string) (words []string, ok bool) {
	var word strings.Builder
	inWord, quoted := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\'':
			quoted = false
		case quoted:
			word.WriteByte(c)
		case c == '\'':
			quoted, inWord = true, true
		case c == '\\' && i+1 < len(text) && text[i+1] == '\'':
			i++
			word.WriteByte('\'')
			inWord = true
		case c == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case strings.IndexByte("\\\"$`;&|<>()*?[]#~{}!\n", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, !quoted
}

// newMode applies what chmod is told, in octal or as in "go=" and "a+r".
func newMode(mode fs.FileMode, how string) (fs.FileMode, error) {
	if n, err := strconv.ParseUint(how, 8, 12); err == nil {
		return fs.FileMode(n) & fs.ModePerm, nil
	}
	at := strings.IndexAny(how, "+-=")
	if at < 1 || strings.Trim(how[:at], "ugoa") != "" || strings.Trim(how[at+1:], "rwx") != "" {
		return 0, fmt.Errorf("the mode %q is not understood", how)
	}
	var bits, who fs.FileMode
	for i, c := range "rwx" {
		if strings.ContainsRune(how[at+1:], c) {
			bits |= 4 >> i
		}
	}
	for i, c := range "ugo" {
		if strings.ContainsAny(how[:at], string(c)+"a") {
			who |= 7 << (6 - 3*i)
		}
	}
	bits = (bits | bits<<3 | bits<<6) & who
	switch how[at] {
	case '+':
		return mode | bits, nil
	case '-':
		return mode &^ bits, nil
	}
	return mode&^who | bits, nil
}

// make makes the modification.
func (m modification) make(accounts access.Accounts) error {
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, m.path, how)
	if err != nil {
		return &fs.PathError{Op: "open", Path: m.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), m.path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: m.path, Err: err}
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		return fmt.Errorf("%s is neither a file nor a directory", m.path)
	case kind == unix.S_IFREG && st.Nlink > 1:
		return fmt.Errorf("%s has %d names, so that other files could be meant", m.path, st.Nlink)
	}
	if m.command == "restorecon" {
		// The policy decides by the path which label it is, so that none can be chosen.
		if out, err := exec.Command("restorecon", m.how, "--", m.path).CombinedOutput(); err != nil {
			return fmt.Errorf("restorecon: %w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	if m.command == "chmod" {
		mode, err := newMode(fs.FileMode(st.Mode)&fs.ModePerm, m.how)
		if err != nil {
			return err
		}
		return unix.Fchmod(fd, st.Mode&^unix.S_IFMT&^uint32(fs.ModePerm)|uint32(mode))
	}
	uid, gid, err := m.owners(accounts)
	if err != nil {
		return err
	}
	return f.Chown(uid, gid)
}

// owners resolves the names; -1 is left as it is.
func (m modification) owners(accounts access.Accounts) (uid, gid int, err error) {
	uid, gid = -1, -1
	user, group, both := strings.Cut(m.how, ":")
	if m.command == "chgrp" {
		user, group, both = "", m.how, true
	}
	if user != "" {
		u, ok := accounts.User(user)
		switch n, notNumber := strconv.ParseUint(user, 10, 31); {
		case ok:
			uid = u.UID
		case notNumber == nil:
			uid = int(n)
		default:
			return 0, 0, fmt.Errorf("there is no user %q", user)
		}
	}
	if both {
		g, ok := accounts.Group(group)
		switch n, notNumber := strconv.ParseUint(group, 10, 31); {
		case ok:
			gid = g.GID
		case notNumber == nil:
			gid = int(n)
		default:
			return 0, 0, fmt.Errorf("there is no group %q", group)
		}
	}
	return uid, gid, nil
}
