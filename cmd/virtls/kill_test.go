package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"virtls/internal/atomicfile"
)

// envKillAt has the program kill itself at its n-th step on files.
const envKillAt = "VIRTLS_TEST_KILL_AT"

func killAtStep() {
	n, err := strconv.ParseInt(os.Getenv(envKillAt), 10, 64)
	if err != nil {
		return
	}
	var done atomic.Int64
	atomicfile.SetStepHook(func(string, string) {
		if done.Add(1) == n {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
}
