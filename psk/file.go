package psk

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"virtls/finding"
)

// Bounds on what is read.
const (
	MaxFileSize = 1 << 20  // bytes in a file
	MaxLineSize = 64 << 10 // bytes in a line: a TLS identity has no more than 65,535
)

var (
	kindTooLarge = finding.Define("psk-too-large", finding.Error,
		"this is too large for a PSK file",
		"check that the path names a PSK file")
	kindUnknownUser = finding.Define("psk-user-unknown", finding.Error,
		"the PSK file has no key for this user",
		"list the users with 'virtls show FILE'; names are compared byte by byte")
	kindKeyMalformed = finding.Define("psk-key-malformed", finding.Error,
		"the line's key is not an even number of hexadecimal digits, so nobody can log in with it",
		"make a new key for the user: psktool -u USER -p FILE")
	kindKeyShort = finding.Define("psk-key-short", finding.Warning,
		"the key is short enough to be guessed from a recorded handshake",
		"make a new key for the user: psktool -u USER -p FILE")
)

// A File is the content of a PSK file. What it is not asked to change, it
// keeps byte by byte: comments, blank lines, order, malformed lines; only the
// newline that the last line may lack comes with the first change. It is not
// safe for concurrent changes.
type File struct {
	name    string // what findings call it
	lines   []line
	openEnd bool // the last line has no newline
}

// A line is one line of a file without its newline.
type line struct {
	text  func() string // a function for the same reason as in Key
	field string        // what precedes the first colon
	user  string        // the user a GnuTLS server sees in field
	key   Key           // none if what follows the colon is malformed
	entry bool          // a GnuTLS server sees a user here
}

// An Entry is one user of a file.
type Entry struct {
	Line int    // 1 is the first
	User string // as a server knows it: #HEX decoded
	Key  Key    // no key if it is malformed; [File.Check] says how
}

func tooLarge(name string) error {
	return kindTooLarge.Found(name, "more than the limit").WithWant(fmt.Sprintf("at most %d bytes", MaxFileSize), "").Wrong()
}

// Parse reads the content of a PSK file; name is what findings are to call it.
// Malformed lines are kept, and [File.Check] reports them: the only errors are
// sizes beyond [MaxFileSize] and [MaxLineSize].
func Parse(name string, data []byte) (*File, error) {
	if len(data) > MaxFileSize {
		return nil, tooLarge(name)
	}
	f := &File{name: name}
	for number := 1; len(data) > 0; number++ {
		text, rest, newline := bytes.Cut(data, []byte{'\n'})
		if len(text) > MaxLineSize {
			return nil, kindTooLarge.Found(f.at(number), fmt.Sprintf("a line of %d bytes", len(text))).
				WithWant(fmt.Sprintf("at most %d bytes", MaxLineSize), "").Wrong()
		}
		f.lines = append(f.lines, parseLine(string(text)))
		f.openEnd = !newline
		data = rest
	}
	return f, nil
}

func parseLine(text string) line {
	l := line{text: func() string { return text }}
	field, digits, colon := strings.Cut(text, ":")
	if colon {
		l.field = field
		l.user, l.entry = decodeName(field)
		l.key = parseKey(digits)
	}
	return l
}

// parseKey returns no key if digits is malformed.
func parseKey(digits string) Key {
	secret, err := hex.DecodeString(digits)
	if err != nil || len(secret) == 0 {
		return Key{}
	}
	return newKey(secret)
}

// Bytes returns the content of the file, secrets included.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	for i, l := range f.lines {
		b.WriteString(l.text())
		if i < len(f.lines)-1 || !f.openEnd {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// String says what the file is, without its keys.
func (f *File) String() string {
	return fmt.Sprintf("[PSK file %s with %d entries]", f.name, len(f.Entries()))
}

// Format prints the same as [File.String] for every verb.
func (f *File) Format(s fmt.State, _ rune) { fmt.Fprint(s, f.String()) }

// Entries returns every line that a GnuTLS server takes for a user's, in order.
func (f *File) Entries() []Entry {
	var entries []Entry
	for i, l := range f.lines {
		if l.entry {
			entries = append(entries, Entry{Line: i + 1, User: l.user, Key: l.key})
		}
	}
	return entries
}

// Set gives user this key, in the place of the old one or at the end, and
// reports whether there was an old one. Several lines for the user all get the
// new key, as with psktool. A name that [CheckName] refuses is an error, and so
// is a key that [Generate] would not make for its size.
func (f *File) Set(user string, key Key) (replaced bool, err error) {
	if err := CheckName(user); err != nil {
		return false, err
	}
	if err := checkSize(key.Size()); err != nil {
		return false, err
	}
	return f.put(user, key, func(l line) bool { return l.entry && l.user == user })
}

// SetField is [File.Set] as psktool does it: field is what is to stand before
// the colon, compared with what stands there, whatever a server will make of
// it and of the key. It may hold no colon and no newline: see [EncodeName].
func (f *File) SetField(field string, key Key) (replaced bool, err error) {
	if strings.ContainsAny(field, ":\n") {
		return false, kindUserName.Found("", fmt.Sprintf("%q", field)).
			WithText("a colon or newline would end the name in a PSK file").Usage()
	}
	return f.put(field, key, func(l line) bool {
		return strings.Contains(l.text(), ":") && l.field == field
	})
}

func (f *File) put(field string, key Key, match func(line) bool) (replaced bool, err error) {
	fresh := parseLine(field + ":" + key.Hex())
	if length := len(fresh.text()); length > MaxLineSize {
		return false, kindTooLarge.Found(f.name, fmt.Sprintf("a line of %d bytes", length)).
			WithWant(fmt.Sprintf("at most %d bytes", MaxLineSize), "").Usage()
	}
	lines := slices.Clone(f.lines)
	for i, l := range lines {
		if match(l) {
			lines[i] = fresh
			replaced = true
		}
	}
	if !replaced {
		lines = append(lines, fresh)
	}
	size := 0
	for _, l := range lines {
		size += len(l.text()) + len("\n")
	}
	if size > MaxFileSize {
		return false, kindTooLarge.Found(f.name, fmt.Sprintf("%d bytes with the new line", size)).
			WithWant(fmt.Sprintf("at most %d bytes", MaxFileSize), "").Usage()
	}
	f.lines = lines
	f.openEnd = false
	return replaced, nil
}

// Remove takes every line of user out of the file and reports whether there
// was one. Any name may be removed.
func (f *File) Remove(user string) bool {
	kept := f.lines[:0]
	for _, l := range f.lines {
		if !l.entry || l.user != user {
			kept = append(kept, l)
		}
	}
	if len(kept) == len(f.lines) {
		return false
	}
	f.lines = kept
	f.openEnd = false
	return true
}

// ServerKey returns the key that a GnuTLS server finds for an identity from
// the wire. Its time depends on the file alone, not on where or whether the
// identity is in it. An unknown user or an unusable key is a finding; tell the
// peer nothing of it, so that users cannot be guessed.
func (f *File) ServerKey(identity string) (Key, error) {
	found := -1
	for i, l := range f.lines {
		match := subtle.ConstantTimeCompare([]byte(l.user), []byte(identity))
		if !l.entry {
			match = 0
		}
		first := subtle.ConstantTimeEq(int32(found), -1)
		found = subtle.ConstantTimeSelect(match&first, i, found)
	}
	if found < 0 || identity == "" {
		return Key{}, kindUnknownUser.Found(f.name, fmt.Sprintf("%q", identity)).Wrong()
	}
	return f.usable(found, f.lines[found].key)
}

// ClientKey returns the key that a QEMU client finds for its username, which
// unlike a server's identity may hold a colon and is never decoded. An unknown
// user or an unusable key is a finding.
func (f *File) ClientKey(username string) (Key, error) {
	for i, l := range f.lines {
		digits, match := strings.CutPrefix(l.text(), username+":")
		if match && username != "" {
			return f.usable(i, parseKey(digits))
		}
	}
	return Key{}, kindUnknownUser.Found(f.name, fmt.Sprintf("%q", username)).Wrong()
}

// usable returns key unless it is one that GnuTLS refuses.
func (f *File) usable(i int, key Key) (Key, error) {
	if key.Size() == 0 {
		return Key{}, f.malformed(i).Wrong()
	}
	if key.Size() < usableKeySize {
		return Key{}, f.short(i, key).Wrong()
	}
	return key, nil
}

// at names a line in findings.
func (f *File) at(number int) string { return fmt.Sprintf("%s:%d", f.name, number) }
