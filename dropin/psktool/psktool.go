// Package psktool is GnuTLS's psktool: the same options, messages, exit codes
// and files, those of 3.7.9 to 3.8.13.
//
// It differs where the real one harms:
//
//   - The file is replaced in one step, where the real one empties it and writes
//     it again. A killed run or a full disk leaves the old file; hard links to
//     it keep the old keys. Devices, FIFOs and directories are refused.
//   - Comments and all other lines without a colon are kept; the real one
//     deletes them. A last line without newline gets one; the real one writes
//     the next user onto it.
//   - Names that no QEMU client or GnuTLS server will find, and keys below 128
//     bits, are written as the real one writes them, with a warning on stderr.
//   - The lock FILE.tmp, which keeps other psktools away, is empty; the real
//     one's is a copy of the keys, written to wherever a link of that name leads.
//   - When the file cannot be written, one more line says why.
//   - A number that fits no int is out of range; the real one cuts it short.
package psktool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os/user"

	"virtls/dropin"
	"virtls/finding"
	"virtls/psk"
)

var tool = dropin.Tool{
	Name:  "psktool",
	Title: "makes keys for TLS-PSK",
	Groups: []dropin.Group{{Heading: "None", Options: []dropin.ToolOption{
		{Option: dropin.Option{Long: "debug", Short: 'd', Arg: dropin.RequiredArg}, Kind: "num", Max: 9999,
			Help: "accepted, without effect"},
		{Option: dropin.Option{Long: "keysize", Short: 's', Arg: dropin.RequiredArg}, Kind: "num", Max: psk.MaxKeySize,
			Help: "bytes of the key; 0 and the default are 32"},
		{Option: dropin.Option{Long: "username", Short: 'u', Arg: dropin.RequiredArg}, Kind: "str",
			Help: "user who gets the key; by default whoever runs this"},
		{Option: dropin.Option{Long: "pskfile", Short: 'p', Arg: dropin.RequiredArg}, Kind: "str",
			Help: "file of keys to make or to change"},
		{Option: dropin.Option{Long: "passwd", Arg: dropin.RequiredArg, As: "pskfile"}},
	}}},
	About: `Makes a random key for a user and writes it to a file, which a GnuTLS or QEMU
server and a QEMU client can read, as USER:HEXKEY in a line of its own.
`,
}

// Exit codes of psktool.
const (
	exitUsage = 1
	exitFile  = 255
)

// Run runs psktool and returns its exit code.
func Run(args []string, std dropin.IO) int {
	given, code, ok := tool.Parse(args, std)
	if !ok {
		return code
	}
	file, ok := given.Last("pskfile")
	if !ok {
		fmt.Fprintln(std.Err, "You need to specify a PSK key file")
		return exitUsage
	}
	name, ok := given.Last("username")
	if !ok {
		me, err := user.Current()
		if err != nil {
			fmt.Fprintln(std.Err, "No such user")
			return exitFile
		}
		name = me.Username
	}
	size := given.Number("keysize", 0)
	if size == 0 {
		size = psk.DefaultKeySize
	}
	return store(file, name, size, std)
}

// store gives the user a new key in the file.
func store(file, name string, size int, std dropin.IO) int {
	fmt.Fprintf(std.Out, "Generating a random key for user '%s'\n", name)
	secret := make([]byte, size)
	rand.Read(secret) // never fails
	err := psk.UpdateKeepingMode(file, func(f *psk.File) error {
		_, err := f.SetField(psk.EncodeName(name), psk.NewKey(secret))
		return err
	})
	if err != nil {
		complain(file, err, std)
		return exitFile
	}
	warn(name, size, std)
	fmt.Fprintf(std.Out, "Key stored to %s\n", file)
	return 0
}

// complain says why the file could not be changed, first in psktool's words.
func complain(file string, err error, std dropin.IO) {
	switch finding.Of(err).Code {
	case "psk-locked":
		fmt.Fprintf(std.Err, "file '%s.tmp' is locked\n", file)
	case "psk-lock-failed":
		fmt.Fprintf(std.Err, "Cannot open '%s.tmp' for write\nCannot copy '%s' to '%s.tmp'\n", file, file, file)
	default:
		fmt.Fprintf(std.Err, "Cannot open '%s' for write\npsktool: %v\n", file, err)
	}
}

// warn says what will not work, or not be safe, with the new line.
func warn(name string, size int, std dropin.IO) {
	if failure, ok := errors.AsType[*finding.Failure](psk.CheckName(name)); ok {
		fmt.Fprintf(std.Err, "psktool: warning: %s: %s\n", failure.Got, failure.Text)
	}
	if size < psk.MinKeySize {
		fmt.Fprintf(std.Err, "psktool: warning: a key of %d bytes can be guessed from a recorded handshake; wanted at least %d bytes\n", size, psk.MinKeySize)
	}
}
