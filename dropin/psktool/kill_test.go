package psktool

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"virtls/dropin"
	"virtls/internal/atomicfile"
)

// The test binary runs itself again as a psktool that kills itself after the
// step of this number.
const dieVar = "PSKTOOL_TEST_DIE_AFTER"

func TestMain(m *testing.M) {
	left, err := strconv.Atoi(os.Getenv(dieVar))
	if err != nil {
		os.Exit(m.Run())
	}
	atomicfile.SetStepHook(func(string, string) {
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	os.Exit(Run(os.Args[1:], dropin.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// A killed run leaves the old file or the new one, and its lock; what else it
// leaves, the next run removes.
func TestKilledAtEveryStep(t *testing.T) {
	const steps = 7
	self, err := os.Executable()
	must(t, err)
	for step := 1; step <= steps+1; step++ {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			dir := t.TempDir()
			must(t, write(dir, "keys", base, 0o640))
			before := files(t, dir)[0]
			cmd := exec.Command(self, "-u", "new", "-p", "keys")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", dieVar, step))
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled(); killed != (step <= steps) {
				t.Fatalf("killed %v: %v\n%s", killed, err, out)
			}
			if step <= steps {
				check(t, "next run", ours(t, dir, []string{"-u", "next", "-p", "keys"}).Code, exitFile)
				must(t, os.Remove(dir+"/keys.tmp"))
			}
			next := ours(t, dir, []string{"-u", "next", "-p", "keys"})
			left := strings.Join(next.Files, "|")
			lost, kept := before+"next:<64 digits>\n", before+"new:<64 digits>\nnext:<64 digits>\n"
			if next.Code != 0 || left != lost && left != kept || step > steps && left != kept {
				t.Errorf("code %d, left: %s", next.Code, left)
			}
		})
	}
}
