// Package machines knows which machines are behind a gateway of screens, where
// each is, and who may see it: by the name in a certificate, by the name of an
// account, or with a token.
//
// They are in files of their own, which a [Store] reads again when they change,
// so that machines come and go without a restart.
package machines

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"virtls/authz"
	"virtls/finding"
	"virtls/internal/readfile"
	"virtls/internal/strictyaml"
	"virtls/layout"
)

var kindFile = finding.Define("gateway-machines", finding.Error,
	"the file of the machines behind a gateway cannot be used",
	"correct the line; docs/guide/gateway-vnc.md describes the file")

// A Machine is a screen behind a gateway.
type Machine struct {
	Name        string `yaml:"name" help:"Name of the machine, as it is in URLs: letters, digits and . _ - @ + :"`
	Description string `yaml:"description" help:"What people are to know of it."`
	Connect     string `yaml:"connect" help:"Where its VNC server is: tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH. The port is 5900 if none is given."`

	ConnectTLSCreds     string `yaml:"connect-tls-creds" help:"Id of the credentials to connect with; without it those of the gateway."`
	TLSHostname         string `yaml:"tls-hostname" help:"Name that the server's certificate must have, if it is not the host that is connected to."`
	ConnectUser         string `yaml:"connect-user" help:"User to log in as at the server, by SASL or Plain."`
	ConnectPasswordFile string `yaml:"connect-password-file" help:"File with the password for the server; only its owner may read it."`

	Allow []string `yaml:"allow" help:"Who may see it: patterns for the names in certificates; * is any run, ? one character."`
	Users []string `yaml:"users" help:"Who may see it: patterns for the names of accounts."`
}

// A Person is who wants to see a machine, by the names that were proved.
type Person struct {
	DN   string // of a certificate that was verified, in its order
	User string // of an account
}

// sees tells whether a person may see the machine: by either name. A name that is
// not UTF-8 is nobody's, as on access lists.
func (m *Machine) sees(p Person) bool {
	matches := func(patterns authz.DNList, name string) bool {
		ok, err := patterns.Allowed(name)
		return ok && err == nil && name != ""
	}
	return matches(m.Allow, p.DN) || matches(m.Users, p.User)
}

// A List is what the files said when they were read. It is immutable.
type List struct {
	machines []Machine // by name
	tokens   []Token
}

// A File is what a file of machines holds. It is for editors and documentation:
// [Open] and [Load] read such files.
type File struct {
	Machines []Machine `yaml:"machines" help:"The machines."`
	Tokens   []Token   `yaml:"tokens" help:"Tokens, each of which opens one machine for whoever has it."`
}

// All returns the machines, by name.
func (l *List) All() []Machine { return l.machines }

// Secrets are the files with passwords of machines and with tokens.
func (l *List) Secrets() (files []string) {
	for _, m := range l.machines {
		if m.ConnectPasswordFile != "" {
			files = append(files, m.ConnectPasswordFile)
		}
	}
	for _, t := range l.tokens {
		if t.File != "" {
			files = append(files, t.File)
		}
	}
	return files
}

// Machine returns a machine by its name.
func (l *List) Machine(name string) (Machine, bool) {
	i, ok := slices.BinarySearchFunc(l.machines, name, func(m Machine, name string) int { return cmp.Compare(m.Name, name) })
	if !ok {
		return Machine{}, false
	}
	return l.machines[i], true
}

// For returns the machines that a person may see, by name.
func (l *List) For(p Person) (list []Machine) {
	for i := range l.machines {
		if l.machines[i].sees(p) {
			list = append(list, l.machines[i])
		}
	}
	return list
}

// Bounds on files of machines.
const (
	maxFile  = 4 << 20
	maxFiles = 10_000

	// writableByAll is no permission of what decides who sees a machine.
	writableByAll fs.FileMode = 0o002
)

// Files returns the files that are read: path itself, or those of a directory
// whose names end in .yaml or .yml and do not begin with a dot.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	if mode := info.Mode().Perm(); mode&writableByAll != 0 {
		return nil, kindFile.Found(path, fmt.Sprintf("mode %04o", mode)).WithText("every user of this machine may put files there").WithFix("chmod o-w %s", layout.ShellQuote(path)).Wrong()
	}
	entries, err := os.ReadDir(path)
	var names []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if err == nil && len(names) > maxFiles {
		err = fmt.Errorf("there are %d files; at most %d are read", len(names), maxFiles)
	}
	return names, err
}

// Load reads a file, or the files of a directory. Check says what else is wrong
// with a machine, and may be nil. The error is a *finding.Failure with FILE or
// FILE:LINE as subject.
func Load(path string, check func(Machine) error) (*List, error) {
	names, err := Files(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	l := &List{}
	where := map[string]string{}
	for _, name := range names {
		data, err := read(name)
		if errors.Is(err, os.ErrNotExist) && name != path {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, err
		}
		if err := l.add(name, data, where, check); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.machines, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	return l, nil
}

func unreadable(name string, err error) error {
	if _, known := errors.AsType[*finding.Failure](err); known {
		return err
	}
	return kindFile.Found(name, "").WithText("the machines cannot be read").WithFix("name a file or directory that is there and that this user may read").Unable(err)
}

// read reads a file, unless everybody may write to it.
func read(name string) ([]byte, error) {
	data, err := readfile.Kept(name, maxFile, writableByAll)
	if open, ok := errors.AsType[*readfile.ModeError](err); ok {
		return nil, kindFile.Found(name, fmt.Sprintf("mode %04o", open.Mode)).WithText("every user of this machine may write to it").WithFix("chmod o-w %s", layout.ShellQuote(name)).Wrong()
	}
	if err != nil {
		return nil, unreadable(name, err)
	}
	return data, nil
}

// add adds what a file says. where has where each machine was defined.
func (l *List) add(name string, data []byte, where map[string]string, check func(Machine) error) error {
	at := func(line int) string { return fmt.Sprintf("%s:%d", name, line) }
	bad := func(line int, format string, args ...any) error {
		return kindFile.Found(at(line), "").WithText(format, args...).Wrong()
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil // a file of no machines
	}
	var f File
	doc, err := strictyaml.Decode(data, maxFile, &f)
	if e, ok := errors.AsType[*strictyaml.Error](err); ok {
		return bad(e.Line, "%s", e.Text)
	}
	for i, m := range f.Machines {
		line := doc.Line("machines", i)
		if text := m.wrong(); text != "" {
			return bad(line, "%s", text)
		}
		if before := where[m.Name]; before != "" {
			return bad(line, "there is a machine %s already, in %s", m.Name, before)
		}
		where[m.Name] = at(line)
		if check != nil {
			if err := check(m); err != nil {
				return bad(line, "the machine %s: %s", m.Name, finding.Of(err))
			}
		}
		l.machines = append(l.machines, m)
	}
	for i, t := range f.Tokens {
		if err := t.prepare(); err != nil {
			return bad(doc.Line("tokens", i), "%v", err)
		}
		l.tokens = append(l.tokens, t)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+:-]{0,127}$`)

// wrong says what is wrong with a machine, "" for nothing.
func (m *Machine) wrong() string {
	switch {
	case m.Name == "":
		return "each machine needs a name"
	case !nameForm.MatchString(m.Name):
		return fmt.Sprintf("the name %q has other characters than letters, digits and . _ - @ + : or begins with one of those", m.Name)
	case m.Connect == "":
		return fmt.Sprintf("the machine %s needs connect: where its VNC server is", m.Name)
	case m.Allow != nil && len(m.Allow) == 0 || m.Users != nil && len(m.Users) == 0:
		return fmt.Sprintf("the machine %s has an empty list of names; leave it out", m.Name)
	case m.ConnectUser != "" && m.ConnectPasswordFile == "":
		return fmt.Sprintf("the machine %s has a user to connect as, but no password (connect-password-file)", m.Name)
	}
	return ""
}
