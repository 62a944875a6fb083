package machines

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/finding"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

const two = `machines:
- name: vm1
  description: build machine
  connect: unix:///run/vm1.vnc
  allow: ["O=Example,CN=alice", "*,CN=admin"]
- {name: vm2, connect: "tcp://kvm2:5901", users: [bob, "team-*"]}
`

func TestFor(t *testing.T) {
	l, err := Load(write(t, filepath.Join(t.TempDir(), "m.yaml"), two), nil)
	must(t, err)
	for _, tt := range []struct {
		person Person
		want   string
	}{
		{Person{DN: "O=Example,CN=alice"}, "vm1"},
		{Person{DN: "O=Other,CN=admin"}, "vm1"},
		{Person{DN: "O=Example,CN=bob"}, ""},
		{Person{User: "bob"}, "vm2"},
		{Person{User: "team-a"}, "vm2"},
		{Person{User: "O=Example,CN=alice"}, ""},
		{Person{DN: "bob"}, ""},
		{Person{DN: "O=\xff,CN=admin", User: "team-\xff"}, ""},
		{Person{DN: "O=Example,CN=alice", User: "bob"}, "vm1 vm2"},
		{Person{}, ""},
	} {
		var names []string
		for _, m := range l.For(tt.person) {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%+v sees %q, want %q", tt.person, got, tt.want)
		}
	}
	if m, ok := l.Machine("vm2"); !ok || m.Connect != "tcp://kvm2:5901" || len(l.All()) != 2 {
		t.Errorf("%+v, %v", m, ok)
	}
	if _, ok := l.Machine("vm3"); ok {
		t.Error("there is a vm3")
	}
}

func TestLoadRefused(t *testing.T) {
	open := write(t, filepath.Join(t.TempDir(), "secret"), "0123456789abcdef\n")
	must(t, os.Chmod(open, 0o644))
	for text, want := range map[string]string{
		"machines:\n- nam: a":                                         `2: there is no field "nam"; did you mean name?`,
		"machines:\n- name: a":                                        "2: the machine a needs connect",
		"machines:\n- connect: a":                                     "2: each machine needs a name",
		"machines:\n- {name: a/b, connect: x}":                        `2: the name "a/b" has other`,
		"machines:\n- {name: .., connect: x}":                         `2: the name ".." has other`,
		"machines:\n- {name: a, connect: x, allow: []}":               "2: the machine a has an empty list",
		"machines:\n- {name: a, connect: x, users: ['']}":             "2: there is no value",
		"machines:\n- {name: a, connect: x, connect-user: u}":         "2: the machine a has a user",
		"machines:\n- {name: a, connect: x}\n- {name: a, connect: y}": "3: there is a machine a already, in ",
		"machines:\n- {name: bad, connect: x}":                        "2: the machine bad: no good",
		"tokens:\n- {sha256: ab}":                                     "2: a token needs the machine",
		"tokens:\n- {machine: a}":                                     "2: a token needs either",
		"tokens:\n- {machine: a, sha256: ab}":                         "2: sha256 has 64",
		"tokens:\n- {machine: a, sha256: ab, file: x}":                "2: a token needs either",
		"tokens:\n- {machine: a, file: " + open + "}":                 "2: " + open + ": others may read it",
		"tokens:\n- {machine: a, sha256: ab, expires: soon}":          "parsing time",
		"machines: 1": "1: want a list",
	} {
		name := write(t, filepath.Join(t.TempDir(), "m.yaml"), text)
		_, err := Load(name, func(m Machine) error {
			if m.Name == "bad" {
				return errors.New("no good")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), name+":") || !strings.Contains(err.Error(), want) || finding.Of(err).Code != "gateway-machines" {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	name := write(t, filepath.Join(t.TempDir(), "m.yaml"), two)
	must(t, os.Chmod(name, 0o606))
	if _, err := Load(name, nil); err == nil || !strings.Contains(err.Error(), "every user of this machine") {
		t.Error(err)
	}
	if _, err := Load(name+".missing", nil); finding.ExitCode(err) != finding.ExitUnable {
		t.Error(err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "machines: [{name: a, connect: x}]")
	write(t, filepath.Join(dir, "b.yml"), "machines: [{name: b, connect: x}]")
	write(t, filepath.Join(dir, "empty.yaml"), "\n")
	write(t, filepath.Join(dir, ".c.yaml"), "machines: [{name: c, connect: x}]")
	write(t, filepath.Join(dir, "d.yaml~"), "machines: [{name: d, connect: x}]")
	l, err := Load(dir, nil)
	must(t, err)
	if len(l.All()) != 2 || l.All()[0].Name != "a" || l.All()[1].Name != "b" {
		t.Errorf("%+v", l.All())
	}
	for _, mode := range []os.FileMode{0o777, os.ModeSticky | 0o777} {
		must(t, os.Chmod(dir, mode))
		if _, err := Load(dir, nil); err == nil || finding.Of(err).Code != "gateway-machines" || !strings.Contains(err.Error(), "may put files there") {
			t.Errorf("a directory with the mode %v: %v", mode, err)
		}
	}
}

// What is no regular file keeps neither a reload nor a login waiting.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "m.yaml"), two)
	s, err := Open(dir, Used{}, nil)
	must(t, err)
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo.yaml"), 0o600))
	if err := s.Reload(); finding.Of(err).Code != "gateway-machines" || !strings.Contains(err.Error(), "a FIFO") {
		t.Error(err)
	}
	if len(s.Current().All()) != 2 {
		t.Error("the old list is gone")
	}
	if _, err := ReadSecret(filepath.Join(dir, "fifo.yaml")); err == nil || !strings.Contains(err.Error(), "fifo.yaml is not a regular file but a FIFO") {
		t.Error(err)
	}
}

// A reload that began before a change does not undo what one that began after it has
// read: who may see nothing any more sees nothing.
func TestReloadsInOrder(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "m.yaml"), two)
	entered, goOn := make(chan bool, 1), make(chan bool)
	slow := false
	s, err := Open(name, Used{}, func(m Machine) error {
		if slow && m.Name == "vm1" {
			entered <- true
			<-goOn
		}
		return nil
	})
	must(t, err)
	slow = true
	done := make(chan error, 2)
	go func() { done <- s.Reload() }()
	<-entered
	write(t, name, "machines: [{name: vm2, connect: x}]")
	go func() { done <- s.Reload() }()
	time.Sleep(50 * time.Millisecond)
	close(goOn)
	must(t, <-done)
	must(t, <-done)
	if _, ok := s.Current().Machine("vm1"); ok {
		t.Error("the old list is in use")
	}
}

// oddDir is a new directory whose name would mean something in a pattern.
func oddDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "[a*")
	must(t, os.Mkdir(dir, 0o700))
	return dir
}

func TestTokens(t *testing.T) {
	dir := oddDir(t)
	write(t, filepath.Join(dir, "m.yaml"), two)
	now := time.Now()
	day := now.Add(24 * time.Hour)
	add := func(machine string, expires time.Time, once bool) string {
		token, text := NewToken(machine, expires, once)
		must(t, AddToken(dir, token, now.Add(-time.Hour)))
		return text
	}
	lasting, ending, once, ended := add("vm1", time.Time{}, false), add("vm1", day, false), add("vm2", day, true), add("vm1", now.Add(-time.Minute), false)
	filed := "a-token-of-our-own"
	write(t, filepath.Join(dir, "files.yaml"), "tokens: [{machine: vm2, file: '"+write(t, filepath.Join(dir, "t"), filed+"\n")+"'}]")
	s, err := Open(dir, Used{}, nil)
	must(t, err)
	use := func(machine, token string, want error) {
		t.Helper()
		name, err := s.Use(machine, token, now)
		if err != want || want == nil && name == "" {
			t.Errorf("%s: %q, %v; want %v", machine, name, err, want)
		}
	}
	use("vm1", lasting, nil)
	use("vm1", lasting, nil)
	use("", lasting, nil)
	use("vm2", lasting, ErrUnknown)
	use("vm1", lasting+"x", ErrUnknown)
	use("vm1", "", ErrUnknown)
	use("vm1", ending, nil)
	use("vm1", ended, ErrExpired)
	use("vm2", filed, nil)
	if _, err := s.Valid("vm2", once, now); err != nil {
		t.Error(err)
	}
	use("vm2", once, nil)
	use("vm2", once, ErrUsed)
	must(t, s.Reload())
	use("vm2", once, ErrUsed)
	if _, err := s.Valid("vm2", once, now); err != ErrUsed {
		t.Error(err)
	}
	if _, err := s.Use("vm1", ending, day); err != ErrExpired {
		t.Error(err)
	}

	// The files hold no token, and those of ended tokens go.
	more, _ := NewToken("vm1", day, false)
	must(t, AddToken(dir, more, now))
	files, err := named(dir, "token-", ".yaml")
	must(t, err)
	if len(files) != 4 {
		t.Errorf("%d files of tokens; want 4", len(files))
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		must(t, err)
		for _, text := range []string{lasting, ending, once, ended} {
			if strings.Contains(string(data), text) {
				t.Errorf("%s holds a token", name)
			}
		}
	}
	if !strings.HasPrefix(more.YAML(), "- machine: vm1\n  sha256: ") {
		t.Error(more.YAML())
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"a": "a", "a b\n": "a b", "a\r\n": "a", "a\n\n": "a\n", "": "", "\n": "", strings.Repeat("x", 5000): ""} {
		got, err := ReadSecret(write(t, filepath.Join(dir, "s"), text))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.10q: %q, %v", text, got, err)
		}
	}
}

// Machines come, change and go while the store watches; a bad file leaves the old
// ones in place.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Used{}, nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 100)
	done := make(chan struct{})
	go func() {
		s.Watch(ctx, func(err error) { outcome <- err })
		close(done)
	}()
	await := func(want string, good bool) {
		t.Helper()
		for end := time.After(20 * time.Second); ; {
			select {
			case err := <-outcome:
				names := ""
				for _, m := range s.Current().All() {
					names += m.Name + m.Connect + " "
				}
				if names == want && (err == nil) == good {
					return
				}
			case <-end:
				t.Fatalf("never %q: %+v", want, s.Current().All())
			}
		}
	}
	await("", true)
	begin := time.Now()
	name := write(t, filepath.Join(dir, "a.yaml"), "machines: [{name: a, connect: x}]")
	await("ax ", true)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the first machine was seen after %v", took) // by looking now and then
	}
	write(t, filepath.Join(dir, "b.yaml"), "machines: [{name: b, connect: x}]")
	await("ax bx ", true)
	write(t, name, "machines: [{name: a, connect: y}]") // in place, behind a change of the directory
	await("ay bx ", true)
	write(t, name, "machines: [{nam: a}]")
	await("ay bx ", false)
	must(t, os.Remove(name))
	await("bx ", true)
	cancel()
	<-done
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(two))
	f.Add([]byte("tokens: [{machine: a, sha256: " + strings.Repeat("ab", 32) + ", expires: 2026-12-31T18:00:00Z, once: true}]"))
	name := filepath.Join(f.TempDir(), "m.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "file") {
			return // it would read other files
		}
		must(t, os.WriteFile(name, data, 0o600))
		l, err := Load(name, nil)
		if err != nil {
			if finding.Of(err).Code != "gateway-machines" {
				t.Error(err)
			}
			return
		}
		for _, m := range l.All() {
			if _, ok := l.Machine(m.Name); !ok || strings.ContainsAny(m.Name, "/?#%") {
				t.Errorf("%q", m.Name)
			}
		}
		l.For(Person{DN: "a", User: "b"})
	})
}
