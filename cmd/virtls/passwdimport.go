package main

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"

	"virtls/finding"
	"virtls/layout"
	"virtls/sasl"
)

type passwdImportCmd struct {
	File     string `arg:"" help:"File of accounts. It is made if there is none."`
	Database string `arg:"" help:"Database of Cyrus SASL, such as /etc/qemu/passwd.db."`
	Realm    string `help:"Take the users of this realm alone." placeholder:"NAME"`
}

func (*passwdImportCmd) Help() string {
	return `Reads a database that saslpasswd2 has made, by Berkeley DB's db_dump (Debian's package db-util), and keeps
verifiers in the place of its passwords. Accounts of the same names get the passwords of the database.

Example:
  virtls passwd import accounts /etc/qemu/passwd.db`
}

var kindSASLDB = finding.Define("sasl-database", finding.Error,
	"a database of Cyrus SASL cannot be read", "it must be one that saslpasswd2 made with Berkeley DB; db_dump comes with Debian's package db-util")

func (c *passwdImportCmd) Run(a *app) error {
	var complaint bytes.Buffer
	dump := exec.CommandContext(a.ctx, "db_dump", c.Database)
	dump.Stderr = &complaint
	out, err := dump.Output()
	if err != nil {
		return kindSASLDB.Found(c.Database, fmt.Sprintf("%.200s", bytes.TrimSpace(complaint.Bytes()))).Unable(err)
	}
	passwords, err := sasl.ParseSASLDB(out, c.Realm)
	if err == nil && len(passwords) == 0 && c.Realm != "" {
		return kindSASLDB.Found(c.Database, "").WithText("no user of the realm %q has a password there", c.Realm).WithFix("sasldblistusers2 -f %s lists users and realms", layout.ShellQuote(c.Database)).Wrong()
	}
	if err == nil && len(passwords) == 0 {
		err = fmt.Errorf("no user with a password")
	}
	if err != nil {
		return kindSASLDB.Found(c.Database, err.Error()).Wrong()
	}
	err = sasl.EditAccounts(a.ctx, c.File, true, func(accounts *sasl.Accounts) error {
		for user, password := range passwords {
			if err := accounts.Set(user, password); err != nil {
				return kindSASLDB.Found(c.Database, fmt.Sprintf("%q: %v", user, err)).Wrong()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.passwdDone(c.File, slices.Sorted(maps.Keys(passwords)), "%s: accounts taken over: %d\n", c.File, len(passwords))
}
