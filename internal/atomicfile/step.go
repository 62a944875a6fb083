package atomicfile

import "sync/atomic"

// The steps of replacing a file, in their order.
const (
	StepCreate  = "create"  // the temporary file exists, empty
	StepOwner   = "owner"   // it has its owner, if one was asked for
	StepMode    = "mode"    // it has its mode
	StepWrite   = "write"   // it has its content
	StepSync    = "sync"    // its content is on the disk
	StepRename  = "rename"  // it has taken its place
	StepSyncDir = "syncdir" // its name is on the disk
)

var stepHook atomic.Pointer[func(step, path string)]

// SetStepHook has hook called after every step that any file takes, with the
// target's path (the directory's for [StepSyncDir]). It is for tests alone:
// they kill the process, or change the world, at a step of their choice. Nil
// ends it.
func SetStepHook(hook func(step, path string)) {
	if hook == nil {
		stepHook.Store(nil)
		return
	}
	stepHook.Store(&hook)
}

func took(step, path string) {
	if hook := stepHook.Load(); hook != nil {
		(*hook)(step, path)
	}
}
