package certtool

import (
	"os"
	"path/filepath"
	"testing"

	"virtls/dropin"
	"virtls/dropin/psktool"
)

// fewIterations keep tests quick that are not about their number: with the race
// detector, a file with GnuTLS's takes seconds for each thing in it.
const fewIterations = 1000

// fewer is in the environment of those of our steps that are to encrypt with fewIterations.
const fewer = "CERTTOOL_TEST_FEWER_ITERATIONS"

// TestMain makes the test binary certtool or psktool when it is called so, as
// virtls is through symbolic links.
func TestMain(m *testing.M) {
	std := dropin.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	switch filepath.Base(os.Args[0]) {
	case "certtool":
		if os.Getenv(fewer) != "" {
			iterations = fewIterations
		}
		os.Exit(Run(os.Args[1:], std))
	case "psktool":
		os.Exit(psktool.Run(os.Args[1:], std))
	}
	iterations = fewIterations
	os.Exit(m.Run())
}

// links returns a directory with the links by which the test binary is found
// as certtool and psktool.
func links(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	for _, name := range []string{"certtool", "psktool"} {
		must(t, os.Symlink(self, filepath.Join(dir, name)))
	}
	return dir
}

// full tells whether every generation is to do everything.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
