package main

import (
	"fmt"

	"virtls/finding"
	"virtls/layout"
	"virtls/sasl"
)

type passwdCmd struct {
	Add    passwdAddCmd    `cmd:"" help:"Make an account, or give it another password."`
	Remove passwdRemoveCmd `cmd:"" help:"Remove an account."`
	List   passwdListCmd   `cmd:"" help:"List the accounts."`
	Import passwdImportCmd `cmd:"" help:"Take over the accounts of a database of Cyrus SASL."`
}

type passwdAddCmd struct {
	File         string `arg:"" help:"File of accounts. It is made if there is none; only its owner may read it."`
	User         string `arg:"" help:"The user's name."`
	PasswordFile string `help:"Read the password from the first line of a file; - for standard input. Without it the terminal asks." placeholder:"FILE"`
}

func (*passwdAddCmd) Help() string {
	return `Keeps what SCRAM-SHA-1, SCRAM-SHA-256 and SCRAM-SHA-512 need to verify a password, and not the password.

Examples:
  virtls passwd add accounts fred
  virtls passwd add accounts fred --password-file fred.txt`
}

func (c *passwdAddCmd) Run(a *app) error {
	password, err := a.password(c)
	if err != nil {
		return err
	}
	err = sasl.EditAccounts(a.ctx, c.File, true, func(accounts *sasl.Accounts) error {
		if err := accounts.Set(c.User, password); err != nil {
			return kindUsage.Found("virtls passwd add", "").WithText("%v", err).Usage()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.passwdDone(c.File, []string{c.User}, "%s: %s has this password now\n", c.File, c.User)
}

// password reads a new password. It is never an argument: those can be seen by everybody.
func (a *app) password(c *passwdAddCmd) ([]byte, error) {
	switch {
	case c.PasswordFile != "":
		return a.passwordIn(c.PasswordFile)
	case !a.canAsk():
		return nil, kindPassphraseSource.Found("", "").WithText("there is no terminal to ask for a password on").
			WithFix("virtls passwd add %s %s --password-file FILE", layout.ShellQuote(c.File), layout.ShellQuote(c.User)).Unable(nil)
	}
	return a.askSecret(aPassword, fmt.Sprintf("Password of %s: ", c.User), true)
}

type passwdRemoveCmd struct {
	File string `arg:"" help:"File of accounts."`
	User string `arg:"" help:"The user's name."`
}

func (*passwdRemoveCmd) Help() string {
	return `Example:
  virtls passwd remove accounts fred`
}

var kindAccountUnknown = finding.Define("sasl-account-unknown", finding.Error,
	"the file of accounts has no such user", "virtls passwd list FILE shows all")

func (c *passwdRemoveCmd) Run(a *app) error {
	err := sasl.EditAccounts(a.ctx, c.File, false, func(accounts *sasl.Accounts) error {
		if !accounts.Remove(c.User) {
			f := kindAccountUnknown.Found(c.File, fmt.Sprintf("%q", c.User)).WithFix("virtls passwd list %s", layout.ShellQuote(c.File))
			if near := finding.Nearest(c.User, accounts.Users()); near != "" {
				f = f.WithFix("did you mean %s?", near)
			}
			return f.Wrong()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.passwdDone(c.File, []string{c.User}, "%s: %s is removed\n", c.File, c.User)
}

// passwdReport tells of a file of accounts, and of those that were changed or are
// in it.
type passwdReport struct {
	finding.Report
	File  string   `json:"file"`
	Users []string `json:"users"`
}

func (a *app) passwdDone(file string, users []string, format string, args ...any) error {
	if a.json {
		return a.printJSON(passwdReport{finding.NewReport(nil), file, users})
	}
	a.printf(format, args...)
	return nil
}

type passwdListCmd struct {
	File string `arg:"" help:"File of accounts."`
}

func (*passwdListCmd) Help() string {
	return `Example:
  virtls passwd list accounts`
}

func (c *passwdListCmd) Run(a *app) error {
	accounts, err := sasl.LoadAccounts(c.File)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(passwdReport{finding.NewReport(nil), c.File, append([]string{}, accounts.Users()...)})
	}
	for _, user := range accounts.Users() {
		a.printf("%s\n", user)
	}
	return nil
}
