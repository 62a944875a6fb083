package certtool

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// asks tells whether passwords are asked for.
func (c *command) asks() bool { return !c.batch() || c.Has("ask-pass") }

// newPassword returns the password to encrypt or to open something with: that
// of the command line, of the template, or what somebody types, twice if that
// is to be confirmed. encrypt is false if there is to be no encryption.
func (c *command) newPassword(confirm bool) (password string, encrypt bool, err error) {
	switch {
	case c.password != nil:
		password = *c.password
	case c.asks():
		if password, err = c.askPassword("Enter password: "); err != nil || !confirm {
			break
		}
		password, err = c.confirmPassword(password)
	default:
		password, _ = c.template.Password()
	}
	return password, password != "" || c.Has("null-password") || c.Has("empty-password"), err
}

func (c *command) confirmPassword(password string) (string, error) {
	for {
		again, err := c.askPassword("Confirm password: ")
		if err != nil || again == password || again == "" {
			return again, err
		}
		fmt.Fprintln(c.std.Err, "Password mismatch, try again.")
		if password, err = c.askPassword("Enter password: "); err != nil {
			return "", err
		}
	}
}

// pin returns what GnuTLS tries first on an encrypted key: GNUTLS_PIN, the
// command line, or what somebody types.
func (c *command) pin() (password string, err error) {
	password = os.Getenv("GNUTLS_PIN")
	if password == "" && c.password != nil && !c.Has("ask-pass") {
		password = *c.password
	}
	if password == "" && c.asks() {
		if password, err = c.askPassword("Enter password: "); err != nil {
			return "", err
		}
	}
	switch {
	case password != "":
		return password, nil
	case c.batch():
		return "", fail("No PIN given.\nnote: when operating in batch mode, set the GNUTLS_PIN or GNUTLS_SO_PIN environment variables")
	}
	return "", fail("No PIN given.")
}

// askPassword asks at the terminal, unseen, or reads a line where there is no
// terminal. The end of the input is an empty password.
func (c *command) askPassword(prompt string) (string, error) {
	if c.std.In == io.Reader(os.Stdin) {
		if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			defer tty.Close()
			fmt.Fprint(tty, prompt)
			password, err := term.ReadPassword(int(tty.Fd()))
			fmt.Fprintln(tty)
			return string(password), err
		}
	}
	fmt.Fprint(c.std.Err, prompt)
	line, err := c.readLine()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

func (c *command) verbose(format string, args ...any) {
	if c.Has("verbose") {
		fmt.Fprintf(c.std.Err, format+"\n", args...)
	}
}
