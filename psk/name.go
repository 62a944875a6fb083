package psk

import (
	"encoding/hex"
	"fmt"
	"strings"

	"virtls/finding"
)

// MaxNameSize is the longest name for a new user in bytes: RFC 4279 section
// 5.3 lets every implementation stop there.
const MaxNameSize = 128

var kindUserName = finding.Define("psk-user-name", finding.Error,
	"this name does not work for a PSK user",
	"choose a name of ASCII letters, digits, '-', '_' and '.'")

// CheckName returns nil if a QEMU client and a GnuTLS server will find the
// user of this name in one and the same file, else a finding with the reason.
func CheckName(name string) error {
	if reason := nameProblem(name); reason != "" {
		return kindUserName.Found("", fmt.Sprintf("%q", name)).WithText("%s", reason).Usage()
	}
	return nil
}

// nameProblem returns why name is not to be used, or "".
func nameProblem(name string) string {
	switch {
	case name == "":
		return "a PSK user without a name cannot log in: GnuTLS offers no empty identity"
	case len(name) > MaxNameSize:
		return fmt.Sprintf("a PSK user's name of %d bytes is too long: RFC 4279 makes nobody accept more than %d", len(name), MaxNameSize)
	case name[0] == '#':
		return "a PSK user's name cannot begin with '#': GnuTLS servers read what follows as hexadecimal digits"
	case strings.TrimSpace(name) != name:
		return "a PSK user's name cannot begin or end with a blank: nobody would see it"
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == ':':
			return "a PSK user's name cannot hold a colon: GnuTLS servers find it only in the form #HEX, QEMU clients only as it is"
		case c == '\n':
			return "a PSK user's name cannot hold a newline: GnuTLS servers find it only in the form #HEX, QEMU clients never"
		case c < ' ' || c == 0x7f:
			return fmt.Sprintf("a PSK user's name cannot hold the control character 0x%02x", c)
		case c > 0x7f:
			return "a PSK user's name cannot hold bytes outside ASCII: it is compared byte by byte, and the two ends may encode it differently"
		}
	}
	return ""
}

// EncodeName returns how psktool writes a user's name: as # and hexadecimal
// digits if it holds a colon or a newline, else as it is.
func EncodeName(name string) string {
	if strings.ContainsAny(name, ":\n") {
		return "#" + hex.EncodeToString([]byte(name))
	}
	return name
}

// decodeName returns the user that a GnuTLS server sees in the field before
// the first colon of a line; false if it sees none.
func decodeName(field string) (string, bool) {
	digits, encoded := strings.CutPrefix(field, "#")
	if !encoded {
		return field, true
	}
	name, err := hex.DecodeString(digits)
	return string(name), err == nil && len(name) > 0
}
