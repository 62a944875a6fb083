package finding

import (
	"errors"
	"fmt"
	"strings"
)

// Exit codes of every virtls command.
const (
	ExitOK     = 0 // done, and nothing is wrong
	ExitWrong  = 1 // something is wrong: findings of severity error
	ExitUsage  = 2 // the command was called wrongly
	ExitUnable = 3 // it could not be done: unreadable, unreachable, locked
)

// A Failure is a finding that ended an operation. It carries the exit code of
// the command it ends, and the error behind it if there is one.
type Failure struct {
	Finding
	Exit  int
	Cause error
}

// Error returns the finding's sentence followed by its cause.
func (e *Failure) Error() string {
	return withCause(e.Finding.String(), e.Cause)
}

// withCause adds the text of the error behind a failure, unless it is there
// already.
func withCause(text string, cause error) string {
	if cause == nil || strings.Contains(text, cause.Error()) {
		return text
	}
	return fmt.Sprintf("%s: %v", text, cause)
}

// Unwrap returns the error behind the failure.
func (e *Failure) Unwrap() error { return e.Cause }

// Wrong ends an operation because of what was found (exit code 1).
func (f Finding) Wrong() *Failure { return &Failure{Finding: f, Exit: ExitWrong} }

// Usage ends an operation because it was asked for wrongly (exit code 2).
func (f Finding) Usage() *Failure { return &Failure{Finding: f, Exit: ExitUsage} }

// Unable ends an operation because it could not be done (exit code 3).
func (f Finding) Unable(cause error) *Failure {
	return &Failure{Finding: f, Exit: ExitUnable, Cause: cause}
}

// ExitCode returns the exit code that err asks for: 0 for nil, that of a
// [Failure] in its chain, else [ExitUnable].
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Exit
	}
	return ExitUnable
}

var kindFailure = Define("failure", Error,
	"the operation failed",
	"the message says which file or address; correct it and run the command again")

// Of returns err as a finding, so that --json reports an error in the same
// form as everything else.
func Of(err error) Finding {
	if f, ok := errors.AsType[*Failure](err); ok {
		found := f.Finding
		if f.Cause == nil || !strings.Contains(found.Got, f.Cause.Error()) {
			found.Text = withCause(found.Text, f.Cause)
		}
		return found
	}
	return kindFailure.Found("", "").WithText("%v", err)
}
