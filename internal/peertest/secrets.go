package peertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
)

// Secrets are passwords that a package's tests use, and that nothing may print.
type Secrets []string

// In returns the first secret that a text has, as it is, in hexadecimal digits
// or in base64; empty if there is none.
func (s Secrets) In(text string) string {
	for _, secret := range s {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret))} {
			if bytes.Contains([]byte(text), []byte(form)) {
				return secret
			}
		}
	}
	return ""
}

// Check fails a test for what was printed, logged or told as an error.
func (s Secrets) Check(t testing.TB, printed ...any) {
	t.Helper()
	for _, p := range printed {
		if secret := s.In(fmt.Sprintf("%v %+v", p, p)); secret != "" {
			t.Errorf("the password %q is in: %v", secret, p)
		}
	}
}

// Main runs a package's tests as its TestMain, and fails if any of what the
// test binary writes to its standard output and standard error has a secret:
// results, logs and whatever libraries print.
func (s Secrets) Main(m *testing.M) {
	var mu sync.Mutex
	var all bytes.Buffer
	var copied sync.WaitGroup
	tap := func(f **os.File) (restore func()) {
		real := *f
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		*f = w
		copied.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := r.Read(buf)
				real.Write(buf[:n])
				mu.Lock()
				all.Write(buf[:n])
				mu.Unlock()
				if err == io.EOF {
					return
				}
			}
		})
		return func() { w.Close(); *f = real }
	}
	out, errs := tap(&os.Stdout), tap(&os.Stderr)
	code := m.Run()
	out()
	errs()
	copied.Wait()
	if secret := s.In(all.String()); secret != "" && code == 0 {
		fmt.Printf("FAIL: the tests print the password %q\n", secret)
		code = 1
	}
	os.Exit(code)
}
