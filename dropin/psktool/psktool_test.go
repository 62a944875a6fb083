package psktool

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"virtls/dropin"
	"virtls/internal/peertest"

	"github.com/google/go-cmp/cmp"
)

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcome is all that a run of psktool leaves.
type outcome struct {
	Code           int
	Stdout, Stderr string
	Files          []string // "name mode content", links as "name -> target"
}

var (
	freshKey      = regexp.MustCompile(`(?m):([0-9a-f]{2}){6,}$`) // the keys in base are shorter
	versionLetter = regexp.MustCompile(`option argument '.' invalid`)
)

// files lists what is below dir, with keys that may be new as their number of digits.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			list = append(list, name+" -> "+target)
			return err
		case !info.Mode().IsRegular():
			list = append(list, fmt.Sprintf("%s %v", name, info.Mode()))
			return nil
		}
		data, err := os.ReadFile(path)
		text := freshKey.ReplaceAllStringFunc(string(data), func(s string) string { return fmt.Sprintf(":<%d digits>", len(s)-1) })
		list = append(list, fmt.Sprintf("%s %04o %s", name, info.Mode().Perm(), text))
		return err
	}))
	return list
}

// ours runs our psktool in dir.
func ours(t *testing.T, dir string, args []string) outcome {
	t.Helper()
	t.Chdir(dir)
	defer syscall.Umask(syscall.Umask(0o022))
	var out, errs bytes.Buffer
	code := Run(args, dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs})
	return outcome{code, out.String(), errs.String(), files(t, dir)}
}

// theirs runs the generation's psktool in dir. It may run by its full path,
// and then says so.
func theirs(t *testing.T, g peertest.Generation, dir string, args []string) outcome {
	t.Helper()
	got := g.Run(t, peertest.Options{Dir: dir, Stdin: strings.NewReader("")}, "psktool", args...)
	stderr := strings.ReplaceAll(got.Stderr, "/usr/bin/psktool: ", "psktool: ")
	return outcome{got.Code, got.Stdout, stderr, files(t, dir)}
}

const base = "alice:0011\n#6162:22\n #c:omment\nbob:33\nalice:44\n#c:55\n:66\n"

func write(dir, name, text string, mode fs.FileMode) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func withBase(dir string) error { return write(dir, "keys", base, 0o644) }

var cases = []struct {
	name  string
	setup func(dir string) error
	args  []string
}{
	{name: "documented", args: []string{"-u", "rich", "-p", "keys.psk"}},
	{name: "default user", args: []string{"-p", "keys.psk"}},
	{name: "long options", args: []string{"--username=rich", "--pskfile", "keys", "--keysize=16"}},
	{name: "abbreviations", args: []string{"--user", "rich", "--psk=keys", "--k", "20"}},
	{name: "joined", args: []string{"-urich", "-pkeys", "-s64", "-d5"}},
	{name: "passwd", args: []string{"-u", "rich", "--passwd", "keys"}},
	{name: "the last pskfile", args: []string{"-u", "rich", "-p", "one", "--passwd=two", "--pskfile=three"}},
	{name: "the last username", args: []string{"-u", "one", "-u", "two", "-p", "keys"}},
	{name: "size 0", args: []string{"-s", "0", "-u", "a", "-p", "keys"}},
	{name: "size 512", args: []string{"-s", "512", "-u", "a", "-p", "keys"}},
	{name: "size in hexadecimal", args: []string{"-s", "0x20", "-u", "a", "-p", "keys"}},
	{name: "size in octal", args: []string{"-s", "040", "-u", "a", "-p", "keys"}},
	{name: "no size", args: []string{"-s", "", "-u", "a", "-p", "keys"}},

	{name: "nothing"},
	{name: "user alone", args: []string{"-u", "a"}},
	{name: "size 513", args: []string{"-s", "513", "-p", "keys"}},
	{name: "size -1", args: []string{"-s", "-1", "-p", "keys"}},
	{name: "size in words", args: []string{"-s", "many", "-p", "keys"}},
	{name: "size with a blank", args: []string{"-s", "7 ", "-p", "keys"}},
	{name: "the last size", args: []string{"-s", "1", "-s", "600", "-p", "keys"}},
	{name: "debug 10000", args: []string{"-d", "10000", "-p", "keys"}},
	{name: "operand", args: []string{"-p", "keys", "alice"}},
	{name: "operand after dashes", args: []string{"-p", "keys", "--", "-x"}},
	{name: "dash", args: []string{"-p", "keys", "-"}},
	{name: "version", args: []string{"-v", "v"}},
	{name: "version of a wrong form", args: []string{"-v", "x"}},
	{name: "range before help", args: []string{"-h", "-s", "600"}},

	{name: "new user", setup: withBase, args: []string{"-u", "new", "-p", "keys"}},
	{name: "every line of a user", setup: withBase, args: []string{"-u", "alice", "-p", "keys"}},
	{name: "user in the middle", setup: withBase, args: []string{"-u", "bob", "-p", "keys"}},
	{name: "a user's beginning", setup: withBase, args: []string{"-u", "bo", "-p", "keys"}},
	{name: "decoded name of a line", setup: withBase, args: []string{"-u", "ab", "-p", "keys"}},
	{name: "empty file", setup: func(dir string) error { return write(dir, "keys", "", 0o600) }, args: []string{"-u", "a", "-p", "keys"}},
	{name: "CRLF", setup: func(dir string) error { return write(dir, "keys", "a:11\r\nb:22\r\n", 0o600) }, args: []string{"-u", "a", "-p", "keys"}},
	{name: "more colons", setup: func(dir string) error { return write(dir, "keys", "a:11:22\nb:33\n", 0o600) }, args: []string{"-u", "b", "-p", "keys"}},

	{name: "private mode", setup: func(dir string) error { return write(dir, "keys", base, 0o600) }, args: []string{"-u", "bob", "-p", "keys"}},
	{name: "wide mode", setup: func(dir string) error { return write(dir, "keys", base, 0o777) }, args: []string{"-u", "bob", "-p", "keys"}},
	{name: "read-only mode", setup: func(dir string) error { return write(dir, "keys", base, 0o400) }, args: []string{"-u", "bob", "-p", "keys"}},

	{name: "link", args: []string{"-u", "bob", "-p", "link"}, setup: func(dir string) error {
		if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
			return err
		}
		if err := write(dir+"/sub", "keys", base, 0o640); err != nil {
			return err
		}
		return os.Symlink("sub/keys", dir+"/link")
	}},
	{name: "dangling link", setup: func(dir string) error { return os.Symlink("keys", dir+"/link") }, args: []string{"-u", "bob", "-p", "link"}},
	{name: "link into a missing directory", setup: func(dir string) error { return os.Symlink("none/keys", dir+"/link") }, args: []string{"-u", "bob", "-p", "link"}},
	{name: "endless link", setup: func(dir string) error { return os.Symlink("link", dir+"/link") }, args: []string{"-u", "bob", "-p", "link"}},

	{name: "missing directory", args: []string{"-u", "a", "-p", "none/keys"}},
	{name: "directory", setup: func(dir string) error { return os.Mkdir(dir+"/keys", 0o700) }, args: []string{"-u", "a", "-p", "keys"}},
	{name: "the directory itself", args: []string{"-u", "a", "-p", "./"}},
	{name: "no path", args: []string{"-u", "a", "-p", ""}},
	{name: "locked", setup: func(dir string) error { return write(dir, "keys.tmp", "", 0o600) }, args: []string{"-u", "a", "-p", "keys"}},
	{name: "locked by a directory", setup: func(dir string) error { return os.Mkdir(dir+"/keys.tmp", 0o700) }, args: []string{"-u", "a", "-p", "keys"}},

	{name: "colon in the name", args: []string{"-u", "a:b", "-p", "keys"}},
	{name: "newline in the name", args: []string{"-u", "a\nb", "-p", "keys"}},
	{name: "colon replaced", setup: func(dir string) error { return write(dir, "keys", "#613a62:11\n", 0o600) }, args: []string{"-u", "a:b", "-p", "keys"}},
	{name: "hash before the name", args: []string{"-u", "#x", "-p", "keys"}},
	{name: "encoded by the user", setup: withBase, args: []string{"-u", "#6162", "-p", "keys"}},
	{name: "blanks in the name", args: []string{"-u", " a b\t", "-p", "keys"}},
	{name: "UTF-8 in the name", args: []string{"-u", "jürgen", "-p", "keys"}},
	{name: "other bytes in the name", args: []string{"-u", "\xff\x01", "-p", "keys"}},
	{name: "no name", args: []string{"-u", "", "-p", "keys"}},
	{name: "no name replaced", setup: withBase, args: []string{"--username=", "-p", "keys"}},
	{name: "long name", args: []string{"-u", strings.Repeat("x", 5000), "-p", "keys"}},
	{name: "short key", args: []string{"-s", "8", "-u", "a", "-p", "keys"}},
}

func TestLikeTheRealOne(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			prepare := func() string {
				dir := t.TempDir()
				if test.setup != nil {
					must(t, test.setup(dir))
				}
				return dir
			}
			got := ours(t, prepare(), test.args)
			got.Stderr = likeReal(got.Stderr)
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				want := theirs(t, g, prepare(), test.args)
				want.Stderr = likeOurs(want.Stderr)
				want.Stdout = regexp.MustCompile(`^psktool 3\.8?.*\n`).ReplaceAllString(want.Stdout, "psktool "+dropin.GnuTLSVersion+"\n")
				check(t, "outcome", got, want)
			})
		})
	}
}

// likeReal takes the lines out of our standard error that the real one lacks:
// warnings and reasons.
func likeReal(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "psktool: warning: ") && !strings.Contains(line, "the PSK file cannot be ") {
			kept = append(kept, line)
		}
	}
	return likeOurs(strings.Join(kept, ""))
}

// likeOurs evens out what 3.7.9 and 3.8 put differently: the program's name, a
// full stop, the reason "Success". Both name the same letter whatever version
// was asked for.
func likeOurs(text string) string {
	first, rest, _ := strings.Cut(text, "\n")
	if strings.HasSuffix(first, " out of range.") || strings.Contains(first, "not a recognizable number") || strings.Contains(first, "not allowed") {
		first = strings.TrimSuffix(strings.TrimSuffix(first, ": Success"), ".")
	}
	first = strings.TrimPrefix(first, "psktool: ")
	first = versionLetter.ReplaceAllString(first, "option argument 'x' invalid")
	return first + "\n" + rest
}

// The errors of getopt_long(3) come with the usage, whose text is ours.
func TestOptionErrorsLikeTheRealOne(t *testing.T) {
	for _, args := range []string{"--foo", "--foo=bar", "-x", "--p", "--p=keys", "-v", "-hv", "-p", "--pass", "--help=x", "-h --foo", "--foo -s abc", "-!x"} {
		t.Run(args, func(t *testing.T) {
			got := ours(t, t.TempDir(), strings.Fields(args))
			message, usage, _ := strings.Cut(got.Stderr, "\n")
			check(t, "usage after the message", usage, ours(t, t.TempDir(), []string{"-h"}).Stdout)
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				want := theirs(t, g, t.TempDir(), strings.Fields(args))
				wantMessage, _, _ := strings.Cut(want.Stderr, "\n")
				check(t, "message", message, wantMessage)
				check(t, "code", got.Code, want.Code)
				check(t, "stdout", got.Stdout, want.Stdout)
			})
		})
	}
}

// The help lists the same options with the same values and bounds.
func TestHelpLikeTheRealOne(t *testing.T) {
	form := regexp.MustCompile(`(?m)^ +(?:-(.), )?--[a-z-]+(?:\[?=[a-z]+\]?)?|^\t\t\t\t.*`)
	for _, args := range []string{"-h", "--help", "--more-help", "-!"} {
		got := ours(t, t.TempDir(), []string{args})
		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
			want := theirs(t, g, t.TempDir(), []string{args})
			check(t, "options", form.FindAllString(got.Stdout, -1), form.FindAllString(want.Stdout, -1))
			check(t, "code", got.Code, want.Code)
			check(t, "stderr", got.Stderr, want.Stderr)
		})
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ name, user, size, want string }{
		{"good", "rich", "16", ""},
		{"colon", "a:b", "16", "psktool: warning: \"a:b\": a PSK user's name cannot hold a colon: GnuTLS servers find it only in the form #HEX, QEMU clients only as it is\n"},
		{"hash", "#x", "16", "psktool: warning: \"#x\": a PSK user's name cannot begin with '#': GnuTLS servers read what follows as hexadecimal digits\n"},
		{"short", "rich", "15", "psktool: warning: a key of 15 bytes can be guessed from a recorded handshake; wanted at least 16 bytes\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ours(t, t.TempDir(), []string{"-u", test.user, "-s", test.size, "-p", "keys"})
			check(t, "stderr", got.Stderr, test.want)
			check(t, "code", got.Code, 0)
		})
	}
}

// Where we deviate: nothing in the file is lost.
func TestKeepsEverything(t *testing.T) {
	tests := []struct{ name, before, after string }{
		{"comments", "# one\n\nno colon\nbob:11\n # two\n", "# one\n\nno colon\nbob:11\n # two\nnew:<64 digits>\n"},
		{"last line without newline", "bob:11", "bob:11\nnew:<64 digits>\n"},
		{"NUL", "bob:11\x00x\nal:22\n", "bob:11\x00x\nal:22\nnew:<64 digits>\n"},
		{"long line", strings.Repeat("x", 9000) + ":11\n", strings.Repeat("x", 9000) + ":11\nnew:<64 digits>\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, write(dir, "keys", test.before, 0o600))
			got := ours(t, dir, []string{"-u", "new", "-p", "keys"})
			check(t, "outcome", got, outcome{0, "Generating a random key for user 'new'\nKey stored to keys\n", "", []string{"keys 0600 " + test.after}})
		})
	}
}

func TestRefusedTargets(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	got := ours(t, dir, []string{"-u", "a", "-p", "fifo"})
	check(t, "outcome", got, outcome{255, "Generating a random key for user 'a'\n",
		"Cannot open 'fifo' for write\npsktool: fifo: the PSK file cannot be read: not a regular file but a FIFO\n", []string{"fifo prw-------"}})
	info, err := os.Stat("/dev/null")
	must(t, err)
	got = ours(t, t.TempDir(), []string{"-u", "a", "-p", "/dev/null"})
	check(t, "code", got.Code, 255)
	again, err := os.Stat("/dev/null")
	must(t, err)
	if !os.SameFile(info, again) {
		t.Error("/dev/null was replaced")
	}
}

// A lock that is a link to elsewhere is a lock; the real psktool copies the keys there.
func TestLockIsNoLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("elsewhere", dir+"/keys.tmp"))
	got := ours(t, dir, []string{"-u", "a", "-p", "keys"})
	check(t, "outcome", got, outcome{255, "Generating a random key for user 'a'\n", "file 'keys.tmp' is locked\n", []string{"keys.tmp -> elsewhere"}})
}

func TestManyUsers(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		got := ours(t, dir, []string{"-u", fmt.Sprintf("user%d", i%25), "-p", "keys"})
		check(t, "code", got.Code, 0)
	}
	data, err := os.ReadFile(dir + "/keys")
	must(t, err)
	check(t, "lines", bytes.Count(data, []byte("\n")), 25)
}
