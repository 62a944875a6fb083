// Package virtpki is libvirt's virt-pki-query-dn and virt-pki-validate: the
// same options, output and exit codes, those of 12.8.
//
// virt-pki-query-dn ([QueryDN]) differs in nothing but GnuTLS's reason for some
// kinds of broken DER.
//
// virt-pki-validate ([Validate]) differs where the real one is wrong; with
// --compat-bugs it does not:
//
//   - "Checking cert properties" looks at the certificate and its key, and the
//     revocation list, as libvirt's daemon does before it starts. The real one
//     of 12.8 looks at the authorities only, that of 11.3 not at the key.
//   - Identities of their own besides the plain one (servercert0.pem) are
//     checked too, and are enough: lines about them have the index.
//   - TRUST, SERVER and CLIENT may be written as the usage has them, and what
//     is none of the three is an error; the real one then checks nothing and
//     is content. It also ignores a second one.
//   - Owners and modes that are as safe as those wanted pass: files that only
//     the daemon reads may be for fewer readers, the client's private key may be
//     private, and of what everybody can read the group does not matter.
//   - A certificate that cannot be loaded for its host name is an error.
//   - There are no empty lines after PASS when the output goes to a file.
//
// Both leave out what the real ones log to standard error.
package virtpki

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"virtls/dropin"
	"virtls/internal/readfile"
	"virtls/internal/strerror"
)

// LibvirtVersion is the version of libvirt whose tools are imitated; --version
// says it, because scripts ask.
const LibvirtVersion = "12.8.0"

// Exit codes of both programs.
const (
	exitOK    = 0
	exitWrong = 1
)

// A program is what the two command lines have in common.
type program struct {
	name    string
	usage   string
	options []dropin.Option
}

// standardOptions come with every program.
var standardOptions = []dropin.Option{{Long: "help", Short: 'h'}, {Long: "version", Short: 'v'}}

// parse reads the command line. If there is nothing left to do it prints what
// the real program prints and returns its exit code and false.
func (p *program) parse(args []string, std dropin.IO) (parsed dropin.Parsed, code int, ok bool) {
	syntax := dropin.Syntax{Program: p.name, Options: append(p.options, standardOptions...)}
	parsed, err := syntax.Parse(args)
	// Like the real programs, which act on an option as soon as they have read it.
	for _, m := range parsed.Matches {
		switch m.Name {
		case "help":
			fmt.Fprint(std.Out, p.usage)
			return parsed, exitOK, false
		case "version":
			fmt.Fprintln(std.Out, LibvirtVersion)
			return parsed, exitOK, false
		}
	}
	if err != nil {
		return parsed, p.wrong(std, err.Error()), false
	}
	return parsed, exitOK, true
}

// wrong prints what is wrong with the command line, if there is something to
// say, and the usage.
func (p *program) wrong(std dropin.IO, message string) int {
	if message != "" {
		fmt.Fprintln(std.Err, message)
	}
	fmt.Fprint(std.Err, p.usage)
	return exitWrong
}

// readFile reads a file that a user names, up to a limit. The error has
// strerror(3)'s text.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &openError{strerror.Of(err)}
	}
	defer f.Close()
	data, err := readfile.Stream(f, limit)
	if _, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, errors.New(strerror.Of(err))
	}
	return data, nil
}

// An openError tells that a file could not even be opened.
type openError struct{ reason string }

func (e *openError) Error() string { return e.reason }

var errTooLarge = errors.New(strerror.Of(syscall.EOVERFLOW))
