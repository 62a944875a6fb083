package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"virtls/finding"
	"virtls/fleet"
	"virtls/internal/atomicfile"
	"virtls/internal/readfile"
	"virtls/internal/wait"
	"virtls/pki"
)

var (
	kindUsage = finding.Define("usage", finding.Error,
		"the command was called wrongly", "virtls COMMAND --help shows how")
	kindUnreadable = finding.Define("input-unreadable", finding.Error,
		"the file cannot be read", "name a file that is there and that you may read")
	kindMalformed = finding.Define("input-malformed", finding.Error,
		"the file does not hold what is wanted", "name a file of the kind wanted, in PEM form")
	kindUnwritable = finding.Define("output-unwritable", finding.Error,
		"a file cannot be written", "mend what the reason says, or name another place")
	kindKeyExists = finding.Define("key-exists", finding.Error,
		"there is a private key already, and none is ever overwritten", "name another place")
	kindNotOurs = finding.Define("certificate-not-ours", finding.Error,
		"the certificate is not in the register: it was not issued by this authority",
		"use the state directory of the authority that issued it, or issue a new one with virtls issue")
	kindNothingFound = finding.Define("nothing-found", finding.Error,
		"no certificate in the register fits", "virtls list shows all")
)

// input is readInput that an interrupt ends.
func (a *app) input(path string) ([]byte, error) {
	return wait.For(a.ctx, func() ([]byte, error) { return readInput(path) })
}

// load is fleet.Load that an interrupt ends.
func (a *app) load(path string) (*fleet.File, error) {
	return wait.For(a.ctx, func() (*fleet.File, error) { return fleet.Load(path) })
}

// certificate is readCertificate that an interrupt ends.
func (a *app) certificate(path string) (*pki.Certificate, error) {
	return wait.For(a.ctx, func() (*pki.Certificate, error) { return readCertificate(path) })
}

// readInput reads a file that a user names, "-" for standard input.
func readInput(path string) ([]byte, error) {
	data, err := readStdinOr(path)
	if _, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, kindMalformed.Found(path, "a file of more than 1 MiB").Unable(nil)
	}
	if err != nil {
		return nil, kindUnreadable.Found(path, "").Unable(err)
	}
	return data, nil
}

func readStdinOr(path string) ([]byte, error) {
	if path == "-" {
		return readfile.Stream(os.Stdin, pki.MaxFileSize)
	}
	return readfile.File(path, pki.MaxFileSize)
}

// absolute makes a path independent of the working directory, as the journal
// of the state directory needs it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func shortName(host string) string { return fleet.ShortName(host) }

// write replaces a file that a user names.
func write(path string, data []byte, mode fs.FileMode) error {
	if err := atomicfile.Write(path, data, mode); err != nil {
		return kindUnwritable.Found(path, "").Unable(err)
	}
	return nil
}
