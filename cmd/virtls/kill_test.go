package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/internal/peertest"
	"virtls/pki"
)

// mutating are the system calls that change files. What lies between them is
// the same to whoever comes after a kill.
const mutating = "fchmod,fchmodat,ftruncate,mkdirat,pwrite64,renameat,unlink,write"

// Killed before any system call that changes a file, apply leaves nothing half
// written, and the next one finishes its work without issuing twice.
func TestApplyKilledAtSystemCalls(t *testing.T) {
	atSystemCalls(t, 8, func() string { return fleetDir(t, 1) }, func(dir string) {
		judgeTree(t, dir)
		finishes(t, dir, 1)
	}, "apply", "--no-passphrase")
}

// The same for issue, whose files are outside the state directory.
func TestIssueKilledAtSystemCalls(t *testing.T) {
	first := fleetDir(t, 0)
	if _, _, err := execute(first, "virtls", "apply", "--no-passphrase"); err != nil {
		t.Fatal(err)
	}
	prepare := func() string {
		dir := filepath.Join(memoryDir(t), "copy")
		if _, _, err := execute("", "cp", "-a", first, dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	issue := []string{"issue", "--cn", "admin", "--client", "--no-passphrase"}
	atSystemCalls(t, 5, prepare, func(dir string) {
		judgeTree(t, dir)
		// What was issued is finished, and its key is not overwritten.
		if _, stderr, err := execute(dir, "virtls", issue...); err != nil && !strings.Contains(stderr, "[key-exists]") {
			t.Error(err)
		}
		finishes(t, dir, 1)
		cert, err := os.ReadFile(filepath.Join(dir, "admin-cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := whole("admin-cert.pem", cert, registered(t, filepath.Join(dir, "pki"))); err != nil {
			t.Error(err)
		}
		if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "admin-cert.pem"), filepath.Join(dir, "admin-key.pem")); err != nil {
			t.Error(err)
		}
	}, issue...)
}

// atSystemCalls runs virtls in a directory, killed at every step-th system
// call that changes a file, and judges each time what is left. strace counts
// for each thread, so that the N-th call is not the same in every run; the
// first is drawn, too, so that a sample leaves none out for good.
func atSystemCalls(t *testing.T, step int, prepare func() string, judge func(dir string), args ...string) {
	t.Helper()
	peertest.Host.Run(t, peertest.Options{}, "strace", "-V") // skips the test if there is none
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		peertest.Missing(t, fmt.Sprintf("strace may not trace here: %v: %s", err, out), "run the test where ptrace is allowed")
	}
	if os.Getenv("VIRTLS_INTEROP") == "full" {
		step = 1
	}
	kills := 0
	for n, survived := 1+rand.IntN(step), 0; survived < 3; n += step {
		dir := prepare()
		_, _, err := execute(dir, "strace", append([]string{"-f", "-o", os.DevNull, "-e", "trace=" + mutating,
			"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", mutating, n), "virtls"}, args...)...)
		if killed(err) {
			kills++
			survived = 0
		} else if survived++; err != nil {
			t.Fatalf("with a kill at call %d: %v", n, err)
		}
		judge(dir)
		if t.Failed() {
			t.Fatalf("with a kill at call %d", n)
		}
		os.RemoveAll(dir)
	}
	t.Logf("killed %d times", kills)
	if kills < 20/step {
		t.Errorf("killed %d times only: the injection does not work", kills)
	}
}

// Killed again and again, apply gets on with its work, and ends with what one
// run makes.
func TestKilledAtRandom(t *testing.T) {
	const hosts = 12
	dir := fleetDir(t, hosts)
	begin := time.Now()
	if _, _, err := execute(dir, "virtls", "apply", "--no-passphrase"); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begin)
	dir = fleetDir(t, hosts)
	for range 10 {
		delay := rand.N(whole)
		cmd := program(dir, "virtls", "apply", "--no-passphrase")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		cmd.Process.Kill()
		cmd.Wait()
		judgeTree(t, dir)
		if t.Failed() {
			t.Fatalf("killed after %v", delay)
		}
	}
	finishes(t, dir, hosts)
}

// judgeTree wants every file whole, every key for its owner alone, every
// certificate in the register, and the register undamaged.
func judgeTree(t *testing.T, dir string) {
	t.Helper()
	known := registered(t, filepath.Join(dir, "pki"))
	err := filepath.WalkDir(filepath.Join(dir, "pki"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && pki.HasPrivateKey(data) && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if atomicfile.IsTemp(e.Name()) {
			return nil
		}
		if err := whole(e.Name(), data, known); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// whole tells whether a file is complete, and a certificate registered.
func whole(name string, data []byte, known map[string]bool) (err error) {
	switch {
	case strings.HasSuffix(name, "key.pem"):
		_, err = pki.ParsePrivateKeyPEM(data, nil)
	case strings.HasSuffix(name, "crl.pem"):
		_, err = pki.ParseCRLsPEM(data)
	case strings.HasSuffix(name, "cert.pem"):
		var certs []*pki.Certificate
		if certs, err = pki.ParseCertificatesPEM(data); err == nil && !known[fmt.Sprintf("%x", certs[0].SHA256())] {
			err = fmt.Errorf("the register lacks %s", certs[0])
		}
	case name == "manifest.json":
		err = json.Unmarshal(data, new(any))
	case name == "version":
		_, err = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	return err
}

// registered returns the fingerprints in a copy of the register, which a
// killed process may have left to be rolled back.
func registered(t *testing.T, state string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	copied := t.TempDir()
	for _, name := range []string{"register.db", "register.db-journal"} {
		data, err := os.ReadFile(filepath.Join(state, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := register.Open(filepath.Join(copied, "register.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for a, err := range db.Authorities(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		known[a.Fingerprint] = true
	}
	for c, err := range db.List(t.Context(), register.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		known[c.Fingerprint] = true
	}
	return known
}

// finishes wants one more run to bring everything in order: one certificate for
// each host, and nothing left behind.
func finishes(t *testing.T, dir string, hosts int) {
	t.Helper()
	for _, args := range [][]string{{"apply", "--no-passphrase"}, {"status"}} {
		if _, stderr, err := execute(dir, "virtls", args...); err != nil {
			t.Fatal(err)
		} else if strings.Contains(stderr, "error:") || args[0] == "status" && stderr != "" {
			t.Errorf("%s: %s", args[0], stderr)
		}
	}
	judgeTree(t, dir)
	if n := len(registered(t, filepath.Join(dir, "pki"))); n != hosts+1 {
		t.Errorf("%d certificates are registered, want those of %d hosts and the authority", n, hosts)
	}
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && atomicfile.IsTemp(e.Name()) {
			t.Errorf("%s is left behind", path)
		}
		return err
	})
}
