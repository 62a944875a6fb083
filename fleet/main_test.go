package fleet

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/ca"
	"virtls/internal/atomicfile"
)

// Some tests start their own test binary again as another process. These
// variables tell it what to do.
const (
	envScenario = "VIRTLS_FLEET_TEST_SCENARIO"
	envFleet    = "VIRTLS_FLEET_TEST_FLEET" // fleet file
	envState    = "VIRTLS_FLEET_TEST_STATE" // state directory
	envHolder   = "VIRTLS_FLEET_TEST_HOLDER"
	envKill     = "VIRTLS_FLEET_TEST_KILL" // the step at which it kills itself, from 1
)

// noExitSleep keeps the race detector from waiting a second before a child ends.
const noExitSleep = "GORACE=atexit_sleep_ms=0"

var scenarios = map[string]func(context.Context) error{
	"apply":   applyScenario,
	"install": installScenario,
}

func TestMain(m *testing.M) {
	name := os.Getenv(envScenario)
	if name == "" {
		os.Exit(runTests(m))
	}
	if n, err := strconv.Atoi(os.Getenv(envKill)); err == nil {
		killAt(n)
	}
	if err := scenarios[name](context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runTests keeps the tests' files in memory if there is room: they sync
// thousands of them, and what a disk makes of that is not tested here.
func runTests(m *testing.M) int {
	const room = 1 << 30
	var fs unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs("/dev/shm", &fs) == nil && int64(fs.Bavail)*fs.Bsize > room {
		if dir, err := os.MkdirTemp("/dev/shm", "fleet-test"); err == nil {
			defer os.RemoveAll(dir)
			os.Setenv("TMPDIR", dir)
		}
	}
	return m.Run()
}

// count holds the number of steps on files that a process told to kill itself has taken.
var count = make(chan int, 1)

// killAt has the process killed at its n-th step on files.
func killAt(n int) {
	count <- 0
	atomicfile.SetStepHook(func(string, string) {
		done := <-count + 1
		if done == n {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		count <- done
	})
}

// applyScenario is virtls apply, for a user whose umask lets nobody else read.
func applyScenario(ctx context.Context) error {
	syscall.Umask(0o077)
	file, err := Load(os.Getenv(envFleet))
	if err != nil {
		return err
	}
	state, err := ca.OpenState(ctx, os.Getenv(envState), ca.Options{Create: true})
	if err != nil {
		return err
	}
	if _, err := Apply(ctx, file, state, Options{}); err != nil {
		return err
	}
	if os.Getenv(envKill) != "" {
		fmt.Println(<-count)
	}
	return state.Close()
}

// installScenario is virtls apply --install, on the machine it runs on.
func installScenario(ctx context.Context) error {
	syscall.Umask(0o077)
	file, err := Load(os.Getenv(envFleet))
	if err != nil {
		return err
	}
	state, err := ca.OpenState(ctx, os.Getenv(envState), ca.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer state.Close()
	n := 0
	findings, err := Installer{}.Install(ctx, file, state, os.Getenv(envHolder), func(i Installed) {
		n++
		fmt.Println(i.Path, i.Did)
	})
	for _, f := range findings {
		fmt.Println(f.Code)
	}
	fmt.Println(n, "changes")
	return err
}
