package psk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"virtls/finding"
)

var (
	kindLineEndings = finding.Define("psk-line-endings", finding.Error,
		"lines end in CR LF, and QEMU and GnuTLS take the CR for a part of the key",
		"end lines in LF: sed -i 's/\\r$//' FILE")
	kindLastLine = finding.Define("psk-last-line", finding.Warning,
		"the last line has no newline, and psktool would write the next user onto it",
		"add a newline: echo >> FILE")
	kindLineIgnored = finding.Define("psk-line-ignored", finding.Warning,
		"the line is no USER:HEXKEY, so it is ignored",
		"complete the line, or begin it with '#' if it is a comment")
	kindUserDuplicate = finding.Define("psk-user-duplicate", finding.Warning,
		"the user has several lines, of which QEMU clients and GnuTLS servers take the first",
		"remove the lines that are not wanted")
	kindKeyShared = finding.Define("psk-key-shared", finding.Warning,
		"users share a key, so each of them can pass for the other",
		"make a new key for one of them: psktool -u USER -p FILE")
)

// Check returns what is wrong with the file, line by line. No finding holds a
// key or a part of one.
func (f *File) Check() []finding.Finding {
	var found []finding.Finding
	users := map[string]int{} // user to the first line
	keys := map[[sha256.Size]byte]int{}
	carriageReturns := 0
	for i, l := range f.lines {
		if strings.HasSuffix(l.text(), "\r") {
			carriageReturns++
			l = parseLine(strings.TrimSuffix(l.text(), "\r")) // the CR is reported once, for all lines
		}
		if !l.entry {
			found = append(found, f.checkIgnored(i, l)...)
			continue
		}
		if reason := nameProblem(l.user); reason != "" {
			found = append(found, kindUserName.Found(f.at(i+1), fmt.Sprintf("%q", l.user)).
				WithText("%s", reason).WithSeverity(finding.Warning))
		}
		if first, ok := users[l.user]; ok {
			found = append(found, kindUserDuplicate.Found(f.at(i+1), fmt.Sprintf("%q again", l.user)).
				WithWant(fmt.Sprintf("only the one in line %d", first), ""))
			continue // it is never used
		}
		users[l.user] = i + 1
		found = append(found, f.checkKey(i, l, keys)...)
	}
	if carriageReturns > 0 {
		found = append(found, kindLineEndings.Found(f.name, fmt.Sprintf("%d such lines", carriageReturns)).
			WithWant("LF", "QEMU, GnuTLS"))
	}
	if f.openEnd {
		found = append(found, kindLastLine.Found(f.at(len(f.lines)), ""))
	}
	return found
}

// checkIgnored judges a line in which a server sees no user: comments are
// well, what was meant for an entry is not.
func (f *File) checkIgnored(i int, l line) []finding.Finding {
	if l.key.Size() > 0 {
		return []finding.Finding{kindUserName.Found(f.at(i+1), fmt.Sprintf("%q", l.field)).
			WithText("%s", nameProblem(l.field)).WithSeverity(finding.Warning)}
	}
	text := strings.TrimSpace(l.text())
	if text == "" || text[0] == '#' {
		return nil
	}
	return []finding.Finding{kindLineIgnored.Found(f.at(i+1), "no colon").WithWant("USER:HEXKEY", "QEMU, GnuTLS")}
}

// checkKey judges the key of a user; keys holds the lines of those before it.
func (f *File) checkKey(i int, l line, keys map[[sha256.Size]byte]int) []finding.Finding {
	if l.key.Size() == 0 {
		return []finding.Finding{f.malformed(i)}
	}
	var found []finding.Finding
	if l.key.Size() < MinKeySize {
		found = append(found, f.short(i, l.key))
	}
	sum := sha256.Sum256(l.key.bytes())
	if first, ok := keys[sum]; ok {
		found = append(found, kindKeyShared.Found(f.at(i+1), fmt.Sprintf("the key of line %d", first)).
			WithWant("a key of its own for every user", "RFC 9257"))
	} else {
		keys[sum] = i + 1
	}
	return found
}

func (f *File) short(i int, key Key) finding.Finding {
	short := kindKeyShort.Found(f.at(i+1), fmt.Sprintf("%d bytes", key.Size()))
	if key.Size() < usableKeySize {
		return short.WithWant(fmt.Sprintf("at least %d bytes", usableKeySize), "GnuTLS").
			WithText("the key is shorter than GnuTLS accepts").WithSeverity(finding.Error)
	}
	return short.WithWant(fmt.Sprintf("at least %d bytes", MinKeySize), "RFC 9257")
}

// malformed says what is wrong with the key of line i, without showing it.
func (f *File) malformed(i int) finding.Finding {
	_, digits, _ := strings.Cut(f.lines[i].text(), ":")
	got := "no key"
	for at := range len(digits) {
		if _, err := hex.DecodeString(digits[at:at+1] + "0"); err != nil {
			got = fmt.Sprintf("no hexadecimal digit at character %d of the key", at+1)
			if digits[at:] == "\r" {
				got = "a CR at the end of the key"
			}
			break
		}
		got = fmt.Sprintf("%d hexadecimal digits", len(digits))
	}
	return kindKeyMalformed.Found(f.at(i+1), got).WithWant("an even number of hexadecimal digits", "QEMU, GnuTLS")
}
