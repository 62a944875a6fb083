package sasl

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// dumped is a dump of keys and values, whose NULs are written as |.
func dumped(pairs ...string) []byte {
	text := "VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n"
	for _, p := range pairs {
		text += fmt.Sprintf(" %s\n", hex.EncodeToString([]byte(strings.ReplaceAll(p, "|", "\x00"))))
	}
	return []byte(text + "DATA=END\n")
}

func TestParseSASLDB(t *testing.T) {
	two := dumped("fred|a|userPassword", "one", "fred|b|userPassword", secret, "x|a|cmusaslsecretOTP", "y")
	for _, tt := range []struct {
		name, realm string
		dump        []byte
		want        string // fred's password; an error if empty
	}{
		{"one", "", dumped("fred|a|userPassword", "one"), "one"},
		{"realm", "a", two, "one"},
		{"other realm", "b", two, secret},
		{"two realms", "", two, ""},
		{"the same in two realms", "", dumped("fred|a|userPassword", "one", "fred|b|userPassword", "one"), "one"},
		{"half", "", dumped("fred|a|userPassword"), ""},
		{"cut off", "", []byte("format=bytevalue\nHEADER=END\n 00\n"), ""},
		{"printable form", "", []byte("format=print\nHEADER=END\nDATA=END\n"), ""},
		{"no digits", "", []byte("format=bytevalue\nHEADER=END\n zz\n 00\nDATA=END\n"), ""},
	} {
		got, err := ParseSASLDB(tt.dump, tt.realm)
		if (err == nil) != (tt.want != "") || string(got["fred"]) != tt.want || len(got) > 1 {
			t.Errorf("%s: %d users, %v", tt.name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a password is in %v", tt.name, err)
		}
	}
}

func FuzzParseSASLDB(f *testing.F) {
	f.Add(dumped("fred|a|userPassword", "one"), "a")
	f.Fuzz(func(t *testing.T, data []byte, realm string) { ParseSASLDB(data, realm) })
}
