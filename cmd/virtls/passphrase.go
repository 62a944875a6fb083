package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"virtls/ca"
	"virtls/finding"
	"virtls/internal/readfile"
	"virtls/internal/wait"
	"virtls/pki"
)

var kindNoPassphrase = finding.Define("passphrase-missing", finding.Error,
	"there is no passphrase for the authority's key, and no terminal to ask on",
	"give --passphrase-file FILE, --passphrase-fd N or the environment variable VIRTLS_PASSPHRASE; --no-passphrase makes a key that is not encrypted")

var kindKeyEncrypted = finding.Define("key-encrypted", finding.Error,
	"the private key is encrypted, and there is no terminal to ask for its passphrase on",
	"give --key-passphrase-file FILE")

var kindPassphraseSource = finding.Define("passphrase-unreadable", finding.Error,
	"the passphrase cannot be read", "name a readable file or an open file descriptor that holds the passphrase in its first line")

// passphraseEnv is removed from the environment when it has been read.
const passphraseEnv = "VIRTLS_PASSPHRASE"

// maxPassphrase bounds what is read as a passphrase, in octets.
const maxPassphrase = 1 << 12

// PassphraseFlags say where the passphrase of an authority's key comes from.
// The passphrase itself is never an argument: those can be seen by everybody.
type PassphraseFlags struct {
	PassphraseFile string `help:"Read the passphrase of the authority's key from the first line of a file. Without this flag and the next it comes from $$VIRTLS_PASSPHRASE, or is asked for on the terminal." placeholder:"FILE" xor:"pass"`
	PassphraseFD   *int   `name:"passphrase-fd" help:"Read it from a file descriptor." placeholder:"N" xor:"pass"`
	NoPassphrase   bool   `help:"The authority's key is not encrypted, or a new one is not to be." xor:"pass"`
}

// passphrases remembers the passphrase, so that it is asked for once.
type passphrases struct{ known []byte }

// passphrase returns the source that the flags name; nil for a key that is not
// encrypted. With confirm a person types it twice.
func (a *app) passphrase(f PassphraseFlags, confirm bool) ca.Passphrase {
	if f.NoPassphrase {
		return nil
	}
	return func() ([]byte, error) {
		if a.pass.known == nil {
			pass, err := a.readPassphrase(f, confirm)
			if err != nil {
				return nil, err
			}
			a.pass.known = pass
		}
		return bytes.Clone(a.pass.known), nil
	}
}

func (a *app) readPassphrase(f PassphraseFlags, confirm bool) ([]byte, error) {
	switch {
	case f.PassphraseFile != "":
		return a.secretIn(f.PassphraseFile, aPassphrase)
	case f.PassphraseFD != nil:
		name := fmt.Sprintf("file descriptor %d", *f.PassphraseFD)
		file := os.NewFile(uintptr(*f.PassphraseFD), name)
		if file == nil {
			return nil, kindPassphraseSource.Found(name, "").Unable(nil)
		}
		return wait.For(a.ctx, func() ([]byte, error) { return aPassphrase.firstLine(name, file) })
	}
	if pass := os.Getenv(passphraseEnv); pass != "" {
		os.Unsetenv(passphraseEnv)
		return aPassphrase.firstLine(passphraseEnv, bytes.NewReader([]byte(pass)))
	}
	if !a.canAsk() {
		return nil, kindNoPassphrase.Found("", "").Unable(nil)
	}
	return a.askSecret(aPassphrase, "Passphrase of the authority's key: ", confirm)
}

// keyPassphrase returns the passphrase of a private key that a user brings
// along: what the file holds if there is one, else what the user types.
func (a *app) keyPassphrase(key, file string) pki.PasswordFunc {
	return func() ([]byte, error) {
		switch {
		case file != "":
			return a.secretIn(file, aPassphrase)
		case !a.canAsk():
			return nil, kindKeyEncrypted.Found(key, "").Unable(nil)
		}
		return a.askSecret(aPassphrase, "Passphrase of "+key+": ", false)
	}
}

// A secret is one that is read from a file or a terminal, by its name for people.
type secret string

const (
	aPassphrase secret = "passphrase" // of a private key
	aPassword   secret = "password"
	aToken      secret = "token"
)

// unreadable says that the secret cannot be had from a source.
func (s secret) unreadable(source, got string) finding.Finding {
	f := kindPassphraseSource.Found(source, got)
	if s != aPassphrase {
		f = f.WithText("the %s cannot be read", s).WithFix("name a readable file that has the %s in its first line", s)
	}
	return f
}

// secretIn reads a secret from the first line of a file, which an interrupt ends.
func (a *app) secretIn(name string, s secret) ([]byte, error) {
	return wait.For(a.ctx, func() ([]byte, error) { return s.readFile(name) })
}

// passwordIn is secretIn for a password, which may come from standard input ("-"), too.
func (a *app) passwordIn(name string) ([]byte, error) {
	if name != "-" {
		return a.secretIn(name, aPassword)
	}
	return wait.For(a.ctx, func() ([]byte, error) { return aPassword.firstLine("standard input", a.stdin) })
}

// readFile reads the secret from the first line of a file.
func (s secret) readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, s.unreadable(name, "").Unable(err)
	}
	defer file.Close()
	return s.firstLine(name, file)
}

func (s secret) firstLine(name string, r io.Reader) ([]byte, error) {
	data, err := readfile.Stream(r, maxPassphrase)
	if large, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, s.unreadable(name, large.Error()).Unable(nil)
	}
	if err != nil {
		return nil, s.unreadable(name, "").Unable(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, s.unreadable(name, "an empty first line").Unable(nil)
	}
	return line, nil
}

// canAsk tells whether there is somebody to ask.
func (a *app) canAsk() bool { return term.IsTerminal(int(a.stdin.Fd())) }

// askSecret asks for a secret, with confirm twice.
func (a *app) askSecret(s secret, prompt string, confirm bool) ([]byte, error) {
	typed, err := a.ask(s, prompt)
	if err != nil || !confirm {
		return typed, err
	}
	if len(typed) == 0 {
		f := s.unreadable("terminal", "an empty "+string(s)).WithFix("type a %s", s)
		if s == aPassphrase {
			f = f.WithFix("type a passphrase, or use --no-passphrase for a key that is not encrypted")
		}
		return nil, f.Unable(nil)
	}
	again, err := a.ask(s, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(typed, again) {
		return nil, s.unreadable("terminal", "two different "+string(s)+"s").WithFix("run the command again and type the same twice").Unable(nil)
	}
	return typed, nil
}

// ask reads a line without showing it. An interrupt ends the question and
// leaves the terminal as it was, showing what is typed.
func (a *app) ask(s secret, prompt string) ([]byte, error) {
	fd := int(a.stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, s.unreadable("terminal", "").Unable(err)
	}
	type answer struct {
		pass []byte
		err  error
	}
	answered := make(chan answer, 1)
	fmt.Fprint(a.stderr, prompt)
	go func() {
		pass, err := term.ReadPassword(fd)
		answered <- answer{pass, err}
	}()
	defer fmt.Fprintln(a.stderr)
	select {
	case got := <-answered:
		if got.err != nil {
			return nil, s.unreadable("terminal", "").Unable(got.err)
		}
		return got.pass, nil
	case <-a.ctx.Done():
		term.Restore(fd, before)
		return nil, a.ctx.Err()
	}
}
