package fleet

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/pki"
	"virtls/psk"
)

// child is another process that applies a fleet file.
func child(ctx context.Context, fleet, state string, kill int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), noExitSleep, envScenario+"=apply", envFleet+"="+fleet, envState+"="+state)
	if kill > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", envKill, kill))
	}
	return cmd
}

// runChild applies a fleet file in another process, and tells whether it was killed.
func runChild(t *testing.T, fleet, state string, kill int) (killed bool) {
	t.Helper()
	out, err := child(t.Context(), fleet, state, kill).CombinedOutput()
	return wasKilled(t, out, err)
}

func wasKilled(t *testing.T, out []byte, err error) bool {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// A crash is a fleet whose apply is killed, and what it is without.
type crash struct {
	fleet string // file
	file  *File
	want  map[string]string // shape of an undisturbed tree
}

func newCrash(t *testing.T, text string) *crash {
	t.Helper()
	c := &crash{fleet: filepath.Join(t.TempDir(), "fleet.yaml"), file: parse(t, text)}
	must(t, os.WriteFile(c.fleet, []byte(text), 0o600))
	s := staged(t, c.file)
	c.want = shape(t, s.dir)
	return c
}

// judge wants what a killed run left to be whole, and the next run to finish it.
func (c *crash) judge(t *testing.T, s *site) {
	t.Helper()
	checkWhole(t, s)
	s.apply(Options{})
	check(t, "shape", shape(t, s.dir), c.want)
	noTemps(t, s.dir)
	// A certificate whose key had been staged is finished, not issued again.
	slots := map[string]int{}
	for _, r := range checkTree(t, s) {
		slots[r.Holder+" "+r.Slot]++
	}
	for slot, n := range slots {
		if n != 1 {
			t.Errorf("%s has %d certificates", slot, n)
		}
	}
}

// checkWhole wants every file that is there to be whole, and every certificate
// to be in the register.
func checkWhole(t *testing.T, s *site) {
	t.Helper()
	registered := map[string]bool{}
	if _, err := os.Stat(s.path("register.db")); err == nil {
		db, err := register.Open(s.path("register.db"))
		must(t, err)
		must(t, db.Check(t.Context()))
		serials := map[string]bool{}
		for r, err := range db.List(t.Context(), register.Filter{}) {
			must(t, err)
			if serials[r.Serial] {
				t.Errorf("serial number %s is used twice", r.Serial)
			}
			serials[r.Serial], registered[r.Fingerprint] = true, true
		}
		for a, err := range db.Authorities(t.Context()) {
			must(t, err)
			registered[a.Fingerprint] = true
		}
		must(t, db.Close())
	}
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		data := read(t, path)
		switch name := strings.TrimSuffix(e.Name(), ".pem"); {
		case name == e.Name() && name == "keys.psk":
			_, err = psk.Parse(path, data)
		case name == manifestName:
			err = json.Unmarshal(data, new(Manifest))
		case name == e.Name():
		case strings.HasSuffix(name, "crl"):
			_, err = pki.ParseCRLsPEM(data)
		case strings.Contains(name, "key"):
			_, err = pki.ParsePrivateKeyPEM(data, nil)
		default:
			var certs []*pki.Certificate
			if certs, err = pki.ParseCertificatesPEM(data); err == nil {
				if sum := certs[0].SHA256(); !registered[hex.EncodeToString(sum[:])] {
					t.Errorf("%s is not in the register", path)
				}
			}
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		must(t, err)
	}
}

// Killed at each of its steps on files, apply leaves nothing half done. Every
// fourth step is enough but for the full run: where a batch of files is staged
// or put in place, neighbours differ in the file alone. Each run begins at
// another step, so that none is left out for good.
func TestApplyKilledAtEveryStep(t *testing.T) {
	c := newCrash(t, `organization: A
hosts: [{name: h, uses: {qemu: both}}]
clients: [{name: c, uses: [libvirt]}]
psk: [{user: u, servers: [h], holders: [c]}]
`)
	const workers = 2
	first, every := 1+rand.IntN(4), 4
	if full() {
		first, every = 1, 1
	}
	steps := c.steps(t)
	if steps < 50 {
		t.Errorf("only %d steps: the hook does not work", steps)
	}
	for w := range workers {
		t.Run(fmt.Sprintf("worker %d", w), func(t *testing.T) {
			t.Parallel()
			for n := first + w*every; n <= steps; n += workers * every {
				s := newSite(t, c.file)
				killed := runChild(t, c.fleet, s.dir, n)
				if c.judge(t, s); t.Failed() || !killed {
					t.Fatalf("when killed (%t) at step %d", killed, n)
				}
				must(t, os.RemoveAll(s.dir))
			}
		})
	}
}

// steps counts the steps on files of an undisturbed run.
func (c *crash) steps(t *testing.T) (n int) {
	t.Helper()
	out, err := child(t.Context(), c.fleet, filepath.Join(t.TempDir(), "pki"), 1<<30).Output()
	must(t, err)
	_, err = fmt.Sscan(string(out), &n)
	must(t, err)
	return n
}

// A larger fleet, in several batches, killed here and there and anywhere in
// between, where SQLite writes too.
func TestApplyKilledAnywhere(t *testing.T) {
	c := newCrash(t, "organization: A\npqc: hybrid\nhosts: ["+hosts(8)+"{name: pq, ml-dsa: true, qemu: 11.1, libvirt: 12.8}, {name: r, key: rsa2048, uses: [qemu]}]\nclients: [{name: c}, {name: d, system: true}]")
	t.Run("step", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, c.file)
		// Each run goes on where the one before was killed.
		var at []int
		steps := c.steps(t)
		for killed := true; killed; {
			at = append(at, 1+rand.IntN(steps))
			killed = runChild(t, c.fleet, s.dir, at[len(at)-1])
			if checkWhole(t, s); t.Failed() {
				t.Fatalf("when killed at these steps, one run after the other: %v", at)
			}
		}
		t.Logf("killed at these steps, one run after the other: %v", at)
		c.judge(t, s)
	})
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		rounds := 2 // moments are drawn, so that more of them tell the same
		if full() {
			rounds = 5
		}
		for round := range rounds {
			s := newSite(t, c.file)
			for range 3 {
				cmd := child(t.Context(), c.fleet, s.dir, 0)
				must(t, cmd.Start())
				time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond)
				_ = cmd.Process.Kill() // fails if it has ended
				err := cmd.Wait()
				wasKilled(t, nil, err)
				checkWhole(t, s)
			}
			if c.judge(t, s); t.Failed() {
				t.Fatalf("in round %d", round)
			}
		}
	})
}
