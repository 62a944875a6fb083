package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"virtls/ca"
	"virtls/finding"
)

var kindNoPassphrase = finding.Define("passphrase-missing", finding.Error,
	"there is no passphrase for the authority's key, and no terminal to ask on",
	"give --passphrase-file FILE, --passphrase-fd N or the environment variable VIRTLS_PASSPHRASE; --no-passphrase makes a key that is not encrypted")

var kindPassphraseSource = finding.Define("passphrase-unreadable", finding.Error,
	"the passphrase cannot be read", "name a readable file or an open file descriptor that holds the passphrase in its first line")

// passphraseEnv is removed from the environment when it has been read.
const passphraseEnv = "VIRTLS_PASSPHRASE"

// maxPassphrase bounds what is read as a passphrase, in octets.
const maxPassphrase = 1 << 12

// PassphraseFlags say where the passphrase of an authority's key comes from.
// The passphrase itself is never an argument: those can be seen by everybody.
type PassphraseFlags struct {
	PassphraseFile string `help:"Read the passphrase of the authority's key from the first line of a file." placeholder:"FILE" xor:"pass" type:"path"`
	PassphraseFD   *int   `name:"passphrase-fd" help:"Read it from a file descriptor." placeholder:"N" xor:"pass"`
	NoPassphrase   bool   `help:"The authority's key is not encrypted." xor:"pass"`
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
		file, err := os.Open(f.PassphraseFile)
		if err != nil {
			return nil, kindPassphraseSource.Found(f.PassphraseFile, "").Unable(err)
		}
		defer file.Close()
		return firstLine(f.PassphraseFile, file)
	case f.PassphraseFD != nil:
		name := fmt.Sprintf("file descriptor %d", *f.PassphraseFD)
		file := os.NewFile(uintptr(*f.PassphraseFD), name)
		if file == nil {
			return nil, kindPassphraseSource.Found(name, "").Unable(nil)
		}
		return firstLine(name, file)
	}
	if pass, ok := os.LookupEnv(passphraseEnv); ok {
		os.Unsetenv(passphraseEnv)
		return firstLine(passphraseEnv, bytes.NewReader([]byte(pass)))
	}
	return a.askPassphrase(confirm)
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

func (a *app) askPassphrase(confirm bool) ([]byte, error) {
	fd := int(a.stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, kindNoPassphrase.Found("", "").Unable(nil)
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(a.stderr, prompt)
		pass, err := term.ReadPassword(fd)
		fmt.Fprintln(a.stderr)
		if err != nil {
			return nil, kindPassphraseSource.Found("terminal", "").Unable(err)
		}
		return pass, nil
	}
	pass, err := ask("Passphrase of the authority's key: ")
	if err != nil || !confirm {
		return pass, err
	}
	if len(pass) == 0 {
		return nil, kindPassphraseSource.Found("terminal", "an empty passphrase").WithFix("type a passphrase, or use --no-passphrase for a key that is not encrypted").Unable(nil)
	}
	again, err := ask("The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pass, again) {
		return nil, kindPassphraseSource.Found("terminal", "two different passphrases").Unable(nil)
	}
	return pass, nil
}
