package ca

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/pki"
)

// The tests here start their own test binary again as another process. These
// variables tell it what to do.
const (
	envScenario = "VIRTLS_CA_TEST_SCENARIO"
	envDir      = "VIRTLS_CA_TEST_DIR"
	envKill     = "VIRTLS_CA_TEST_KILL" // the step at which it kills itself, from 1
)

var scenarios = map[string]func(ctx context.Context, dir string) error{
	"issue":    issueScenario,
	"init":     initScenario,
	"restore":  restoreScenario,
	"export":   exportScenario,
	"batches":  batchesScenario,
	"fulldisk": fullDiskScenario,
	"readonly": readOnlyScenario,
}

func TestMain(m *testing.M) {
	encryptKey = encryptQuickly
	name := os.Getenv(envScenario)
	if name == "" {
		code := m.Run()
		if raceEnabled {
			os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("virtls-ca-%d.test", os.Getpid())))
		}
		os.Exit(code)
	}
	if n, err := strconv.Atoi(os.Getenv(envKill)); err == nil {
		killAt(n)
	}
	if err := scenarios[name](context.Background(), os.Getenv(envDir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// killAt has the process killed at its n-th step on files or on the register.
func killAt(n int) {
	count := make(chan int, 1)
	count <- 0
	took := func() {
		done := <-count + 1
		if done == n {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		count <- done
	}
	stepHook = func(string) { took() }
	atomicfile.SetStepHook(func(string, string) { took() })
}

// childBinary is this test binary, or its like without the race detector, which
// makes SQLite so slow that killing it at every step would take many minutes.
var childBinary = sync.OnceValue(func() string {
	if !raceEnabled {
		return os.Args[0]
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("virtls-ca-%d.test", os.Getpid()))
	build := exec.Command("go", "test", "-c", "-race=false", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as virtls is built, so that little is compiled twice
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("building the test without the race detector: %v\n%s", err, out))
	}
	return path
})

// child is a process that runs a scenario.
func child(ctx context.Context, scenario, dir string, kill int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, childBinary())
	cmd.Env = append(os.Environ(), envScenario+"="+scenario, envDir+"="+dir)
	if kill > 0 {
		cmd.Env = append(cmd.Env, envKill+"="+strconv.Itoa(kill))
	}
	return cmd
}

// runChild runs a scenario to its end, and tells whether it was killed.
func runChild(t *testing.T, scenario, dir string, kill int) (killed bool) {
	t.Helper()
	out, err := child(t.Context(), scenario, dir, kill).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", scenario, err, out)
	}
	return false
}

// everyStep runs a scenario in fresh directories, killed at its first step,
// its second one, and so on until it comes to its end, and judges each time
// what is left.
func everyStep(t *testing.T, scenario string, prepare, judge func(t *testing.T, dir string)) {
	for n := 1; ; n++ {
		dir := stateDir(t)
		if prepare != nil {
			prepare(t, dir)
		}
		killed := runChild(t, scenario, dir, n)
		judge(t, dir)
		if t.Failed() {
			t.Fatalf("when killed at step %d", n)
		}
		if !killed {
			t.Logf("killed at each of %d steps", n-1)
			if n < 10 {
				t.Errorf("only %d steps: the hooks do not work", n-1)
			}
			return
		}
	}
}

var scenarioHosts = []string{"kvm1", "kvm2", "kvm3"}

// issueScenario is what apply does: it issues for each host that has no
// certificate in place.
func issueScenario(ctx context.Context, dir string) error {
	s, err := OpenState(ctx, dir, Options{Create: true, Wait: time.Minute})
	if err != nil {
		return err
	}
	a, err := s.Authority(ctx, "ca")
	if isKind(err, kindAuthorityMissing) {
		a, err = s.CreateAuthority(ctx, AuthoritySpec{Subject: cn("Example CA")})
	}
	if err != nil {
		return err
	}
	if err := a.Unlock(nil); err != nil {
		return err
	}
	orders, err := missing(s)
	if err != nil || len(orders) == 0 {
		return errors.Join(err, s.Close())
	}
	issued, err := a.Issue(ctx, orders)
	if err != nil {
		return err
	}
	var places []*register.Placement
	for _, i := range issued {
		places = append(places, i.Place)
	}
	if err := s.Place(ctx, places); err != nil {
		return err
	}
	if _, err := a.NewCRL(ctx, 0); err != nil {
		return err
	}
	return s.Close()
}

// missing returns an order for each host without a certificate.
func missing(s *State) (orders []Order, err error) {
	for _, host := range scenarioHosts {
		dir := hostDir(s.Dir(), host)
		if _, err := os.Stat(filepath.Join(dir, certFiles[len(certFiles)-1])); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		key, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.ECDSA, Bits: 256})
		if err != nil {
			return nil, err
		}
		data, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
		if err != nil {
			return nil, err
		}
		staged, err := atomicfile.Stage(filepath.Join(dir, keyFiles[0]), data, 0o640)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Sync([]*atomicfile.Staged{staged}); err != nil {
			return nil, err
		}
		spec, err := Leaf(cn(host), pki.GeneralNames{pki.DNSName(host)}, Server|Client, key.Public())
		if err != nil {
			return nil, err
		}
		place := &register.Placement{Key: staged.Temp()}
		for i := range keyFiles {
			place.KeyPaths = append(place.KeyPaths, filepath.Join(dir, keyFiles[i]))
			place.Paths = append(place.Paths, filepath.Join(dir, certFiles[i]))
		}
		orders = append(orders, Order{Spec: spec, How: register.Apply, Holder: "host:" + host, Slot: "qemu/both", Place: place})
	}
	return orders, nil
}

// judgeTree wants every file of a tree whole, each certificate registered, and
// each key beside its certificate.
func judgeTree(t *testing.T, dir string) {
	t.Helper()
	registered := map[string]bool{}
	if _, err := os.Stat(filepath.Join(dir, registerFile)); err == nil {
		db, err := register.Open(filepath.Join(dir, registerFile))
		must(t, err)
		for _, c := range certificates(t, db, filterAll) {
			if registered[c.Fingerprint] {
				t.Errorf("certificate %s is registered twice", c.Serial)
			}
			registered[c.Fingerprint] = true
		}
		for a, err := range db.Authorities(t.Context()) {
			must(t, err)
			registered[a.Fingerprint] = true
		}
		must(t, db.Close())
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (e.Name() == unpackDir || e.Name() == restoreDir) {
			return filepath.SkipDir
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".pem") {
			return err
		}
		data := read(t, path)
		switch {
		case strings.HasSuffix(path, "cert.pem"):
			certs, err := pki.ParseCertificatesPEM(data)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if !registered[fmt.Sprintf("%x", certs[0].SHA256())] {
				t.Errorf("%s: the register lacks %s", path, certs[0])
			}
		case strings.HasSuffix(path, "key.pem"):
			if _, err := pki.ParsePrivateKeyPEM(data, nil); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		case strings.HasSuffix(path, "crl.pem"):
			if _, err := pki.ParseCRLsPEM(data); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Kill -9 at every step leaves no half-written key and nothing issued that the
// register lacks, and the next run finishes the work.
func TestIssueKilledAtEveryStep(t *testing.T) {
	everyStep(t, "issue", nil, func(t *testing.T, dir string) {
		judgeTree(t, dir)
		runChild(t, "issue", dir, 0)
		judgeTree(t, dir)
		noTemps(t, dir)
		for _, host := range scenarioHosts {
			checkPlaced(t, dir, host, nil)
		}
		s := open(t, dir, Options{ReadOnly: true})
		check(t, "findings", codes(s.Findings()), []string(nil))
		for _, host := range scenarioHosts {
			rows := certificates(t, s.Register(), register.Filter{Holder: "host:" + host})
			// A certificate whose key was still staged is finished, not issued again.
			check(t, "certificates of "+host, len(rows), 1)
		}
		must(t, s.Close())
	})
}

// A reader that comes after a kill brings in order what it must, and no more.
func TestReaderAfterKill(t *testing.T) {
	everyStep(t, "issue", nil, func(t *testing.T, dir string) {
		s, err := OpenState(t.Context(), dir, Options{ReadOnly: true})
		if err != nil {
			// There is nothing to read yet.
			if err := wantFailure(err, "state-missing", "register-missing"); err != nil {
				t.Error(err)
			}
			return
		}
		for _, err := range s.Register().List(t.Context(), filterAll) {
			must(t, err)
		}
		must(t, s.Close())
	})
}

// initScenario makes an intermediate, so that all kinds of an authority's files are written.
func initScenario(ctx context.Context, dir string) error {
	s, err := OpenState(ctx, dir, Options{Create: true})
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.requestPath("ca")); err != nil {
		if _, err := s.RequestAuthority(ctx, AuthoritySpec{Subject: cn("Intermediate")}); err != nil {
			return err
		}
	}
	return s.Close()
}

func TestInitKilledAtEveryStep(t *testing.T) {
	everyStep(t, "init", nil, func(t *testing.T, dir string) {
		judgeTree(t, dir)
		runChild(t, "init", dir, 0)
		noTemps(t, dir)
		request, err := pki.ParseRequestPEM(read(t, dir+"/ca/ca-request.pem"))
		must(t, err)
		key, err := pki.ParsePrivateKeyPEM(read(t, dir+"/ca/ca-key.pem"), nil)
		must(t, err)
		check(t, "the request is the key's", pki.SameKey(request.PublicKey.Key, key), true)
	})
}

const (
	batches   = 6
	batchSize = 25
)

// batchesScenario issues several batches, with the lock taken anew for each,
// and says which serial numbers it got.
func batchesScenario(ctx context.Context, dir string) error {
	for b := range batches {
		s, err := OpenState(ctx, dir, Options{Wait: time.Minute})
		if err != nil {
			return err
		}
		a, err := s.Authority(ctx, "ca")
		if err != nil {
			return err
		}
		if err := a.Unlock(nil); err != nil {
			return err
		}
		var orders []Order
		var places []*register.Placement
		for i := range batchSize {
			host := fmt.Sprintf("kvm-%d-%d-%d", os.Getpid(), b, i)
			key, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.ECDSA, Bits: 256})
			if err != nil {
				return err
			}
			spec, err := Leaf(cn(host), pki.GeneralNames{pki.DNSName(host)}, Server, key.Public())
			if err != nil {
				return err
			}
			places = append(places, &register.Placement{Paths: []string{filepath.Join(dir, host+"-cert.pem")}})
			orders = append(orders, Order{Spec: spec, Place: places[i], Holder: "host:" + host})
		}
		issued, err := a.Issue(ctx, orders)
		if err != nil {
			return err
		}
		if err := s.Place(ctx, places); err != nil {
			return err
		}
		for _, i := range issued {
			fmt.Println(i.Certificate.SerialHex())
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Two processes that issue at once get different serial numbers, and all files
// and rows are there in the end.
func TestTwoProcesses(t *testing.T) {
	dir := stateDir(t)
	s, _ := newCA(t, dir, Options{}, AuthoritySpec{})
	must(t, s.Close())
	var children []*exec.Cmd
	outputs := make([]strings.Builder, 2)
	for i := range 2 {
		cmd := child(t.Context(), "batches", dir, 0)
		cmd.Stdout, cmd.Stderr = &outputs[i], &outputs[i]
		must(t, cmd.Start())
		children = append(children, cmd)
	}
	serials := map[string]bool{}
	for i, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, outputs[i].String())
		}
		for serial := range strings.FieldsSeq(outputs[i].String()) {
			serials[serial] = true
		}
	}
	check(t, "serial numbers", len(serials), 2*batches*batchSize)
	s = open(t, dir, Options{ReadOnly: true})
	rows := certificates(t, s.Register(), filterAll)
	check(t, "rows", len(rows), len(serials))
	for _, c := range rows {
		name := strings.TrimPrefix(c.Holder, "host:") + "-cert.pem"
		certs, err := pki.ParseCertificatesPEM(read(t, filepath.Join(dir, name)))
		must(t, err)
		if !serials[c.Serial] || certs[0].SerialHex() != c.Serial {
			t.Errorf("%s is not certificate %s", name, c.Serial)
		}
	}
	noTemps(t, dir)
}

// A kill in the middle of SQLite's own writes: whoever comes next finds the
// register in order, and each serial number that was told is in it.
func TestKilledAnywhere(t *testing.T) {
	dir := stateDir(t)
	s, _ := newCA(t, dir, Options{}, AuthoritySpec{})
	must(t, s.Close())
	told := map[string]bool{}
	for round := range 15 {
		cmd := child(t.Context(), "batches", dir, 0)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		// Some way into the first batch, or into a later one.
		for range round % 3 * batchSize {
			if lines.Scan() {
				told[lines.Text()] = true
			}
		}
		time.Sleep(time.Duration(round) * 3 * time.Millisecond)
		must(t, cmd.Process.Kill())
		for lines.Scan() {
			if len(lines.Text()) == 40 {
				told[lines.Text()] = true
			}
		}
		cmd.Wait()
		judgeTree(t, dir)
		s := open(t, dir, Options{})
		must(t, s.Register().Check(t.Context()))
		check(t, "pending", pending(t, s), 0)
		for serial := range told {
			if c, err := s.Register().BySerial(t.Context(), serial); err != nil || c == nil {
				t.Errorf("the register lacks %s: %v", serial, err)
			}
		}
		for _, c := range certificates(t, s.Register(), filterAll) {
			if _, err := os.Stat(filepath.Join(dir, strings.TrimPrefix(c.Holder, "host:")+"-cert.pem")); err != nil {
				t.Error(err)
			}
		}
		must(t, s.Close())
		noTemps(t, dir)
	}
	if len(told) == 0 {
		t.Error("no certificate was issued before a kill")
	}
}
