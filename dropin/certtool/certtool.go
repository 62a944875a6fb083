// Package certtool is GnuTLS's certtool: the same options, templates, prompts,
// texts, files and exit codes, those of 3.8.13, as far as TLS needs them.
//
// What is missing ends with a message on standard error that names it, and exit
// code 1: DSA and GOST keys, curves and RSA keys below 2048 bits that are not
// safe any more, provable keys, PKCS #7, PKCS #11 and TPM URLs, proxy
// certificates, PKCS #12's old ciphers, --cprint. What is there beyond Debian's
// certtool: ML-DSA keys, as GnuTLS has them when built with leancrypto.
//
// It differs where the real one harms:
//
//   - Output files are replaced in one step when all has gone well. The real
//     one empties them first, so that a mistyped template costs the old file.
//     Output to a device or FIFO is written as it comes.
//   - Files that hold private keys get mode 0600, whatever their old mode; the
//     real one gives it only to new ones, and not to all. What goes to standard
//     output has the mode that the shell gave it.
//   - A certificate or revocation list is only signed with the key that belongs
//     to the authority's certificate, and never ends before it begins.
//   - Prompts end with an error where standard input ends and an answer is
//     needed. The real one asks for ever.
//   - --to-p12 without a password is refused; the real one crashes (3.8.13) or
//     writes the private key in clear (3.7.9).
//   - A password that does not open the authority's key is said to be that
//     key's. The real one blames --load-privkey.
//   - Certificates with doubtful contents, such as an extension that is there
//     twice, are shown; the real one refuses to load some of them.
package certtool

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"virtls/dropin"
	"virtls/pki"
	"virtls/pki/certtemplate"
)

// Run runs certtool and returns its exit code.
func Run(args []string, std dropin.IO) int {
	given, code, ok := tool.Parse(args, std)
	if !ok {
		return code
	}
	c := &command{Given: given, std: std, log: std.Err, stdin: bufio.NewReader(newBounded(std.In, maxInput))}
	err := c.run()
	err = cmp.Or(c.stdinErr, err)
	if err == nil {
		err = c.out.commit()
	}
	if why, ok := errors.AsType[*failure](err); ok && why.keep {
		if err := c.out.commit(); err != nil {
			fmt.Fprintln(std.Err, err)
		}
	}
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(std.Err, text)
	}
	return 1
}

// A failure ends certtool with exit code 1.
type failure struct {
	text string // what certtool prints, without the last newline; nothing if empty
	keep bool   // what was written so far is the result nevertheless
}

func (f *failure) Error() string { return f.text }

func fail(format string, args ...any) error { return &failure{text: fmt.Sprintf(format, args...)} }

// unsupported says that virtls lacks something.
func unsupported(what, why string) error {
	return fail("certtool: virtls does not do %s: %s", what, why)
}

// A command is one run of certtool.
type command struct {
	dropin.Given
	std   dropin.IO
	stdin *bufio.Reader
	// stdinErr is what went wrong where an answer was read from it.
	stdinErr error
	log      io.Writer // of progress: standard error unless --stdout-info is given
	out      *output
	in       io.ReadCloser // --infile, or what takes its place

	pemOnly bool // --outder cannot be done

	template *certtemplate.Template // nil if certtool asks instead
	clock    certtemplate.Clock
	settings
}

// batch tells whether nobody is asked anything.
func (c *command) batch() bool { return c.template != nil }

// text tells whether text stands above PEM output.
func (c *command) text() bool { return c.Enabled("text") && !c.Enabled("outder") }

// value returns the value of an option, "" without it.
func (c *command) value(name string) string {
	v, _ := c.Last(name)
	return v
}

// actions are in the order in which they win when several are given.
var actions = []struct {
	option string
	run    func(*command) error
}{
	{"generate-self-signed", (*command).generateSelfSigned},
	{"generate-certificate", (*command).generateCertificate},
	{"generate-crl", (*command).generateCRL},
	{"update-certificate", (*command).updateCertificate},
	{"generate-privkey", (*command).generatePrivateKey},
	{"generate-request", (*command).generateRequest},
	{"verify-chain", (*command).verifyChain},
	{"verify", (*command).verifyCertificate},
	{"verify-crl", (*command).verifyCRL},
	{"certificate-info", (*command).certificateInfo},
	{"dh-info", (*command).dhInfo},
	{"certificate-pubkey", (*command).certificatePublicKeys},
	{"key-info", (*command).keyInfo},
	{"to-rsa", (*command).toRSA},
	{"pubkey-info", (*command).publicKeyInfo},
	{"fingerprint", (*command).fingerprint},
	{"key-id", (*command).keyID},
	{"to-p12", (*command).toPKCS12},
	{"p12-info", (*command).pkcs12Info},
	{"generate-dh-params", (*command).generateDH},
	{"get-dh-params", (*command).getDH},
	{"crl-info", (*command).crlInfo},
	{"p8-info", (*command).pkcs8Info},
	{"to-p8", (*command).toPKCS8},
	{"crq-info", (*command).requestInfo},
}

// writesKeys are the actions whose output holds a private key.
var writesKeys = []string{"generate-privkey", "generate-request", "key-info", "to-rsa", "to-p8", "to-p12"}

// run prepares what every action needs, in certtool's order, which decides
// what is complained about first, and does the first action that is asked for.
func (c *command) run() (err error) {
	for _, r := range refusals {
		if c.Has(r.option) {
			return unsupported("--"+r.option, r.why)
		}
	}
	if c.Has("stdout-info") {
		c.log = c.std.Out
	}
	if c.out, err = c.openOutput(); err != nil {
		return err
	}
	if err := c.openInput(); err != nil {
		return err
	}
	defer c.in.Close()
	if err := c.readSettings(); err != nil {
		return err
	}
	for _, a := range actions {
		if c.Has(a.option) {
			return a.run(c)
		}
	}
	tool.Parse([]string{"--help"}, c.std)
	return fail("")
}

// loadTemplate reads the template and prints its warnings.
func (c *command) loadTemplate() error {
	c.clock = certtemplate.Clock{Now: time.Now()}
	name, ok := c.Last("template")
	if !ok {
		return nil
	}
	data, err := fileContents(name, maxTemplate)
	if why, ok := errors.AsType[errTooLarge](err); ok {
		return tooLarge("template", name, why)
	}
	if err != nil {
		return fail("configFileLoad: No such file or directory\nError loading template: %s", name)
	}
	c.template, err = certtemplate.Parse(name, data)
	if c.template != nil && len(c.template.Warnings) > 0 {
		fmt.Fprintln(c.std.Err, strings.Join(c.template.Warnings, "\n"))
	}
	return err
}

// notes prints what a template's author should know.
func (c *command) notes(lines []string) {
	for _, line := range lines {
		fmt.Fprintln(c.std.Err, line)
	}
}

// encode returns an object in the form that is asked for.
func (c *command) encode(label string, der []byte) []byte {
	if c.Enabled("outder") && !c.pemOnly {
		return der
	}
	return pki.EncodePEM(label, der)
}
