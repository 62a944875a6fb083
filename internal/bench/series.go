package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A series is what one thing cost in several rounds.
type series []usage

// median is that of each figure on its own.
func (s series) median() usage {
	var wall, cpu []time.Duration
	var memory []int64
	for _, u := range s {
		wall, cpu, memory = append(wall, u.wall), append(cpu, u.cpu), append(memory, u.memory)
	}
	return usage{middle(wall), middle(cpu), middle(memory)}
}

// sum is what all rounds took together, and the most memory of one.
func (s series) sum() (all usage) {
	for _, u := range s {
		all.wall += u.wall
		all.cpu += u.cpu
		all.memory = max(all.memory, u.memory)
	}
	return all
}

func middle[T time.Duration | int64](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// spread is the lowest and the highest CPU time.
func (s series) spread() string {
	byCPU := func(a, b usage) int { return int(a.cpu - b.cpu) }
	return fmt.Sprintf("%.2f-%.2f", slices.MinFunc(s, byCPU).cpu.Seconds(), slices.MaxFunc(s, byCPU).cpu.Seconds())
}

// times makes the series of a sample that of the whole.
func (s series) times(scale float64) series {
	whole := series{}
	for _, u := range s {
		whole = append(whole, usage{time.Duration(float64(u.wall) * scale), time.Duration(float64(u.cpu) * scale), u.memory})
	}
	return whole
}

// What settle waits for, in all of a run. Making a file takes ext4 about 20
// microseconds of the processor, and ten times that within 5 minutes of a mass
// deletion: it does not use an inode again that was deleted just now, and looks
// at one after the other (Linux 6.18, fs/ext4/ialloc.c, RECENTCY_DIRTY). That
// would be measured, not the programs.
const (
	settledCost = 60 * time.Microsecond
	settledWait = 6 * time.Minute
)

// settle has the disk finish what was before, so that each command begins in the
// same conditions.
func (b *bench) settle() error {
	const pause = 10 * time.Second
	unix.Sync()
	for {
		cost, err := b.fileCost()
		if err != nil || cost < settledCost {
			return err
		}
		if b.waited >= settledWait {
			fmt.Printf("disturbed: making a file takes %v of the processor\n", cost)
			return nil
		}
		time.Sleep(pause)
		b.waited += pause
	}
}

// fileCost is the CPU time that one new file takes the kernel.
func (b *bench) fileCost() (time.Duration, error) {
	const files = 400
	dir, err := os.MkdirTemp(b.dir, "probe-")
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return 0, err
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("probe"), 0o600); err != nil {
			return 0, err
		}
	}
	err = unix.Getrusage(unix.RUSAGE_THREAD, &after)
	return time.Duration(after.Stime.Nano()-before.Stime.Nano()) / files, err
}

// fileSystem names the type of the file system that a directory is in.
func fileSystem(dir string) string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown"
	}
	longest, name := "", "unknown"
	for line := range bytes.Lines(data) {
		// proc_pid_mountinfo(5): the mount point is the fifth field, the type follows a dash.
		fields, rest, found := strings.Cut(string(line), " - ")
		before, after := strings.Fields(fields), strings.Fields(rest)
		if !found || len(before) < 5 || len(after) < 1 {
			continue
		}
		at := before[4]
		if inside := dir == at || strings.HasPrefix(dir, strings.TrimSuffix(at, "/")+"/"); inside && len(at) >= len(longest) {
			longest, name = at, after[0]
		}
	}
	return name
}
