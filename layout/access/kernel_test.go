package access

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// needRoot skips a test that gives files away.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	peertest.NeedRoot(t, "giving files to others")
	for _, p := range programs {
		peertest.NeedProgram(t, p, "acl util-linux")
	}
}

// open makes a directory that others can enter, unlike t.TempDir().
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "access")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The kernel's answer for every file and every user, in a tree of directories
// and files with random owners, modes and ACLs, is CanRead's.
func TestCanReadAsKernel(t *testing.T) {
	needRoot(t, "setfacl")
	const first, people, directories, filesEach = 64210, 4, 60, 6
	dir := open(t)
	random := rand.New(rand.NewPCG(1, 2))
	person := func() int { return first + random.IntN(people) }
	var names []string
	var acls strings.Builder
	add := func(name string, isDir bool) {
		var err error
		if isDir {
			err = os.Mkdir(name, 0o700)
		} else {
			err = os.WriteFile(name, nil, 0o600)
		}
		if err == nil {
			err = os.Chown(name, person(), person())
		}
		if err == nil {
			err = os.Chmod(name, fs.FileMode(random.IntN(0o1000)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if random.IntN(2) == 0 {
			acls.WriteString(randomACL(random, name, person))
		}
	}
	for d := range directories {
		sub := filepath.Join(dir, fmt.Sprint(d))
		add(sub, true)
		for f := range filesEach {
			name := filepath.Join(sub, fmt.Sprint(f))
			add(name, false)
			names = append(names, name)
		}
		link := filepath.Join(dir, fmt.Sprintf("link%d", d))
		if err := os.Symlink(fmt.Sprintf("%d/../%d/0", (d+1)%directories, d), link); err != nil {
			t.Fatal(err)
		}
		names = append(names, link)
	}
	cmd := exec.Command("setfacl", "--restore=-")
	cmd.Stdin = strings.NewReader(acls.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		peertest.Missing(t, fmt.Sprintf("this file system has no ACLs: %v: %s", err, out), "set TMPDIR to one that has")
	}
	host := &Host{Root: "/", Labels: FileLabels{}}
	for _, who := range []Credential{
		{UID: 0, GID: 0}, {UID: first, GID: first}, {UID: first + 1, GID: first, Groups: []int{first + 2, first + 3}},
		{UID: first + 2, GID: first + 1}, {UID: 64220, GID: first + 1}, {UID: 64220, GID: 64220}, {UID: 64220, GID: 64220, Groups: []int{first, first + 1}},
	} {
		readable := 0
		for i, kernel := range ask(t, who, names) {
			err := host.CanRead(who, names[i])
			if (err == nil) != kernel {
				t.Errorf("%v reads %s: the kernel says %t, CanRead %v", who, names[i], kernel, err)
			}
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%v: %v", who, err)
			}
			if kernel {
				readable++
			}
		}
		if readable == 0 || who.UID != 0 && readable == len(names) {
			t.Errorf("%v reads %d of %d files, which shows nothing", who, readable, len(names))
		}
	}
}

// randomACL describes an ACL in the form of getfacl.
func randomACL(random *rand.Rand, name string, person func() int) string {
	rights := func() string {
		text := []byte("---")
		for i, r := range "rwx" {
			if random.IntN(2) == 0 {
				text[i] = byte(r)
			}
		}
		return string(text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# file: %s\nuser::%s\n", name, rights())
	for _, kind := range []string{"user", "group"} {
		var ids []int
		for range random.IntN(3) {
			ids = append(ids, person())
		}
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			fmt.Fprintf(&b, "%s:%d:%s\n", kind, id, rights())
		}
		if kind == "user" {
			fmt.Fprintf(&b, "group::%s\n", rights())
		}
	}
	fmt.Fprintf(&b, "mask::%s\nother::%s\n\n", rights(), rights())
	return b.String()
}

// ask has a process with the credential open each file.
func ask(t *testing.T, who Credential, names []string) []bool {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `for f; do if (: < "$f") 2>/dev/null; then echo yes; else echo no; fi; done`, "sh"}, names...)...)
	cmd.Dir = "/"
	credential := &syscall.Credential{Uid: uint32(who.UID), Gid: uint32(who.GID)}
	for _, g := range who.Groups {
		credential.Groups = append(credential.Groups, uint32(g))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []bool
	for word := range strings.FieldsSeq(string(out)) {
		answers = append(answers, word == "yes")
	}
	if len(answers) != len(names) {
		t.Fatalf("%d answers about %d files", len(answers), len(names))
	}
	return answers
}

var _ layout.View = view{}
