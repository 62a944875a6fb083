package imagelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestTake has two who open a file agree, or not. That QEMU has the same locks is
// shown by the tests of the programs that take them.
func TestTake(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		first, second Use
		want          *Error
	}{
		{"two readers", Use{Needs: Read}, Use{Needs: Read, Denies: Write}, nil},
		{"two writers", Use{Needs: Read | Write}, Use{Needs: Read | Write}, nil},
		{"writer after a reader that wants none", Use{Read, Write | Resize}, Use{Needs: Read | Write}, &Error{name, "write", false}},
		{"reader that wants none after a writer", Use{Needs: Read | Write}, Use{Read, Write}, &Error{name, "write", true}},
		{"made anew", Use{Read, Resize}, Create, &Error{name, "resize", false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var files [2]*os.File
			for i := range files {
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				files[i] = f
			}
			if err := Take(files[0], c.first); err != nil {
				t.Fatal(err)
			}
			err := Take(files[1], c.second)
			if got, _ := errors.AsType[*Error](err); (got == nil) != (c.want == nil) || got != nil && *got != *c.want || got == nil && err != nil {
				t.Errorf("%v", err)
			}
			files[0].Close()
			if err := Take(files[1], c.second); err != nil {
				t.Errorf("after the first one has closed it: %v", err)
			}
		})
	}
}
