package strerror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestOf(t *testing.T) {
	_, missing := os.Open("/nonexistent")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"of the system", missing, "No such file or directory"},
		{"wrapped", fmt.Errorf("a list: %w", missing), "No such file or directory"},
		{"not permitted", syscall.EPERM, "Operation not permitted"},
		{"judged", fmt.Errorf("fred cannot read it: %w", fs.ErrPermission), "Permission denied"},
		{"of a path alone", &fs.PathError{Op: "open", Path: "x", Err: errors.New("too large")}, "Too large"},
		{"another", errors.New("too large"), "Too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Of(tt.err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
