package atomicfile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"virtls/internal/peertest"
)

// The test binary runs itself again as a child that may die, or that lives in
// a world of its own. CHILD names what it does, DIR is where.
const (
	childVar = "ATOMICFILE_TEST_CHILD"
	dirVar   = "ATOMICFILE_TEST_DIR"
	dieVar   = "ATOMICFILE_TEST_DIE_AFTER"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(dirVar)
	switch os.Getenv(childVar) {
	case "":
		os.Exit(m.Run())
	case "write":
		dieAfter(os.Getenv(dieVar))
		exitWith(Write(dir+"/key", []byte("new"), 0o600))
	case "batch":
		dieAfter(os.Getenv(dieVar))
		exitWith(writeBatch(dir))
	case "full-disk":
		exitWith(writeToFullDisk(dir))
	}
}

// exitWith prints err and ends the child: 0 without, 1 with an error.
func exitWith(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// dieAfter has the process kill itself after the given number of steps.
func dieAfter(steps string) {
	left, _ := strconv.Atoi(steps)
	SetStepHook(func(string, string) {
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
}

func writeBatch(dir string) error {
	var batch []*Staged
	for _, name := range []string{"cert", "key"} {
		s, err := Stage(filepath.Join(dir, name), []byte("new"), 0o600)
		if err != nil {
			return err
		}
		batch = append(batch, s)
	}
	return CommitAll(batch)
}

// child returns a command that runs this test binary as the named child, and
// where its standard output goes.
func child(name, dir string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), append(env, childVar+"="+name, dirVar+"="+dir)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

func TestKilledAtEveryStep(t *testing.T) {
	tests := []struct {
		child string
		files []string
		steps int
	}{
		{"write", []string{"key"}, 6},
		{"batch", []string{"cert", "key"}, 11},
	}
	for _, test := range tests {
		for step := 1; step <= test.steps+1; step++ {
			t.Run(fmt.Sprintf("%s after %d", test.child, step), func(t *testing.T) {
				dir := t.TempDir()
				for _, name := range test.files {
					must(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600))
				}
				cmd, out := child(test.child, dir, fmt.Sprintf("%s=%d", dieVar, step))
				err := cmd.Run()
				if killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled(); killed != (step <= test.steps) {
					t.Fatalf("killed %v: %v\n%s", killed, err, out)
				}

				_, err = Sweep(dir)
				must(t, err)
				var renamed int
				left := tree(t, dir)
				check(t, "number of files", len(left), len(test.files))
				for i, name := range test.files {
					switch left[i] {
					case name + " 0600 old":
					case name + " 0600 new":
						renamed++
					default:
						t.Errorf("left: %s", left[i])
					}
				}
				if step > test.steps && renamed != len(test.files) {
					t.Errorf("the last run replaced only %d files", renamed)
				}

				must(t, writeBatch(dir))
				if left := tree(t, dir); left[len(left)-1] != "key 0600 new" {
					t.Errorf("the next run left %v", left)
				}
			})
		}
	}
}

func writeToFullDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		return err
	}
	if err := Write(dir+"/key", []byte("old"), 0o600); err != nil {
		return err
	}
	err := Write(dir+"/key", make([]byte, 1<<20), 0o600)
	names, _ := filepath.Glob(dir + "/.*")
	data, _ := os.ReadFile(dir + "/key")
	fmt.Printf("kept %q, left %q\n", data, names)
	return err
}

func TestFullDisk(t *testing.T) {
	peertest.NeedRoot(t, "mounting a small tmpfs")
	dir := t.TempDir()
	cmd, out := child("full-disk", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Run(); err == nil {
		t.Error("no error from a full disk")
	}
	check(t, "output", out.String(),
		"kept \"old\", left []\nwrite "+dir+"/key: write data: no space left on device\n")
}

func TestReadOnlyDirectory(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "atomicfile") // TempDir's parents are closed to others
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.WriteFile(dir+"/key", []byte("old"), 0o600))
	must(t, os.Chmod(dir, 0o555))
	binary, err := os.ReadFile(os.Args[0])
	must(t, err)
	copied := dir + ".test"
	must(t, os.WriteFile(copied, binary, 0o755))
	defer os.Remove(copied)

	cmd, out := child("write", dir)
	cmd.Path = copied
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := cmd.Run(); err == nil {
		t.Error("no error from a read-only directory")
	}
	check(t, "output", out.String(),
		"write "+dir+"/key: create a temporary file in "+dir+": permission denied\n")
	if left := strings.Join(tree(t, dir), ","); left != "key 0600 old" {
		t.Errorf("left: %s", left)
	}
}
