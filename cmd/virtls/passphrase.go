package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"virtls/ca"
	"virtls/finding"
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
		return wait.For(a.ctx, func() ([]byte, error) { return readPassphraseFile(f.PassphraseFile) })
	case f.PassphraseFD != nil:
		name := fmt.Sprintf("file descriptor %d", *f.PassphraseFD)
		file := os.NewFile(uintptr(*f.PassphraseFD), name)
		if file == nil {
			return nil, kindPassphraseSource.Found(name, "").Unable(nil)
		}
		return wait.For(a.ctx, func() ([]byte, error) { return firstLine(name, file) })
	}
	if pass := os.Getenv(passphraseEnv); pass != "" {
		os.Unsetenv(passphraseEnv)
		return firstLine(passphraseEnv, bytes.NewReader([]byte(pass)))
	}
	if !a.canAsk() {
		return nil, kindNoPassphrase.Found("", "").Unable(nil)
	}
	return a.askPassphrase("Passphrase of the authority's key: ", confirm)
}

// keyPassphrase returns the passphrase of a private key that a user brings
// along: what the file holds if there is one, else what the user types.
func (a *app) keyPassphrase(key, file string) pki.PasswordFunc {
	return func() ([]byte, error) {
		switch {
		case file != "":
			return wait.For(a.ctx, func() ([]byte, error) { return readPassphraseFile(file) })
		case !a.canAsk():
			return nil, kindKeyEncrypted.Found(key, "").Unable(nil)
		}
		return a.askPassphrase("Passphrase of "+key+": ", false)
	}
}

func readPassphraseFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, kindPassphraseSource.Found(name, "").Unable(err)
	}
	defer file.Close()
	return firstLine(name, file)
}

// notPassphrase has an error say which secret could not be read: one that is no
// passphrase of a key's.
func notPassphrase(what string, err error) error {
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok || f.Code != kindPassphraseSource.Code {
		return err
	}
	better := *f
	text := strings.ReplaceAll(cmp.Or(f.Text, kindPassphraseSource.Cause), "passphrase", what)
	better.Finding = f.WithText("%s", text)
	better.Got = strings.ReplaceAll(f.Got, "passphrase", what)
	switch {
	case f.Fix == kindPassphraseSource.Cure:
		better.Fix = "name a readable file that has the " + what + " in its first line"
	case strings.Contains(f.Fix, "--no-passphrase"):
		better.Fix = "type a " + what
	}
	return &better
}

func firstLine(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPassphrase+1))
	if err != nil {
		return nil, kindPassphraseSource.Found(name, "").Unable(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return nil, kindPassphraseSource.Found(name, "an empty first line").Unable(nil)
	case len(data) > maxPassphrase:
		return nil, kindPassphraseSource.Found(name, fmt.Sprintf("more than %d octets", maxPassphrase)).Unable(nil)
	}
	return line, nil
}

// canAsk tells whether there is somebody to ask.
func (a *app) canAsk() bool { return term.IsTerminal(int(a.stdin.Fd())) }

func (a *app) askPassphrase(prompt string, confirm bool) ([]byte, error) {
	pass, err := a.ask(prompt)
	if err != nil || !confirm {
		return pass, err
	}
	if len(pass) == 0 {
		return nil, kindPassphraseSource.Found("terminal", "an empty passphrase").WithFix("type a passphrase, or use --no-passphrase for a key that is not encrypted").Unable(nil)
	}
	again, err := a.ask("The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pass, again) {
		return nil, kindPassphraseSource.Found("terminal", "two different passphrases").WithFix("run the command again and type the same twice").Unable(nil)
	}
	return pass, nil
}

// ask reads a line without showing it. An interrupt ends the question and
// leaves the terminal as it was, showing what is typed.
func (a *app) ask(prompt string) ([]byte, error) {
	fd := int(a.stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, kindPassphraseSource.Found("terminal", "").Unable(err)
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
			return nil, kindPassphraseSource.Found("terminal", "").Unable(got.err)
		}
		return got.pass, nil
	case <-a.ctx.Done():
		term.Restore(fd, before)
		return nil, a.ctx.Err()
	}
}
