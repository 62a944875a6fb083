package psk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"virtls/finding"

	"github.com/google/go-cmp/cmp"
)

const (
	hex1 = "00112233445566778899aabbccddeeff"
	hex2 = "ffeeddccbbaa99887766554433221100"
)

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse("keys.psk", []byte(text))
	must(t, err)
	return f
}

// code returns the finding's code of an error, "" for none.
func code(err error) string {
	if failure, ok := errors.AsType[*finding.Failure](err); ok {
		return failure.Code
	}
	if err != nil {
		return "not a finding: " + err.Error()
	}
	return ""
}

func TestGenerate(t *testing.T) {
	for _, size := range []int{MinKeySize, DefaultKeySize, MaxKeySize} {
		a, err := Generate(size)
		must(t, err)
		b, err := Generate(size)
		must(t, err)
		if a.Size() != size || len(a.Bytes()) != size || len(a.Hex()) != 2*size || a.Equal(b) || !a.Equal(a) {
			t.Errorf("%d: made %v and %v", size, a, b)
		}
	}
	for _, size := range []int{-1, 0, MinKeySize - 1, MaxKeySize + 1} {
		_, err := Generate(size)
		check(t, fmt.Sprint(size), code(err), "psk-key-size")
		check(t, fmt.Sprint(size), finding.ExitCode(err), finding.ExitUsage)
	}
}

func TestKeyIsACopy(t *testing.T) {
	secret := []byte("0123456789abcdef")
	key := NewKey(secret)
	clear(secret)
	clear(key.Bytes())
	check(t, "key", key.Hex(), fmt.Sprintf("%x", "0123456789abcdef"))
	if key.Equal(Key{}) || !(Key{}).Equal(Key{}) || (Key{}).Size() != 0 {
		t.Error("the zero key does not count as none")
	}
}

// Whatever a careless program does with keys, they do not show.
func TestKeysDoNotShow(t *testing.T) {
	const text = "alice:4142434445464748494a4b4c4d4e4f50\n" // ABCDEFGHIJKLMNOP
	f := parse(t, text)
	key := f.Entries()[0].Key
	type wrapper struct {
		Key    Key
		key    Key
		hidden *File
		Entry  Entry
	}
	w := wrapper{key, key, f, f.Entries()[0]}

	var out bytes.Buffer
	for _, value := range []any{key, &key, f, f.Entries(), w, &w, []Key{key}, map[string]Key{"a": key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%U", "%t", "%08x"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		fmt.Fprintln(&out, value)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("message", "value", value, "in", slog.GroupValue(slog.Any("group", value)))
		}
		b, err := json.Marshal(value)
		must(t, err)
		out.Write(b)
	}
	printed := strings.ToLower(out.String())
	for _, secret := range []string{"4142", "abcdef", "65 66", "65, 66", "65,66", "0x41", "qujd", "\\x41", "101 102"} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q shows in:\n%s", secret, printed)
		}
	}
	if !strings.Contains(printed, "[key of 16 bytes]") || !strings.Contains(printed, "[psk file keys.psk with 1 entries]") {
		t.Errorf("sizes do not show in:\n%s", printed)
	}
}

func TestCheckName(t *testing.T) {
	tests := []struct{ name, user, want string }{
		{"plain", "rich", ""},
		{"documented default", "qemu", ""},
		{"host", "kvm1.example.com", ""},
		{"punctuation", "a-b_c/d=e,f@g h!\"'\\", ""},
		{"longest", strings.Repeat("x", MaxNameSize), ""},
		{"hash inside", "a#b", ""},
		{"empty", "", "offers no empty identity"},
		{"too long", strings.Repeat("x", MaxNameSize+1), "129 bytes"},
		{"hash", "#hash", "cannot begin with '#'"},
		{"colon", "a:b", "cannot hold a colon"},
		{"newline", "a\nb", "cannot hold a newline"},
		{"newline at the end", "a\n", "begin or end with a blank"},
		{"blank before", " a", "begin or end with a blank"},
		{"tab after", "a\t", "begin or end with a blank"},
		{"carriage return", "a\rb", "control character 0x0d"},
		{"NUL", "a\x00b", "control character 0x00"},
		{"DEL", "a\x7fb", "control character 0x7f"},
		{"UTF-8", "jürgen", "outside ASCII"},
		{"Latin-1", "j\xfcrgen", "outside ASCII"},
		{"invisible", "\u00a0", "begin or end with a blank"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := CheckName(test.user)
			if test.want == "" {
				check(t, "error", err, nil)
				return
			}
			check(t, "code", code(err), "psk-user-name")
			check(t, "exit", finding.ExitCode(err), finding.ExitUsage)
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", test.user)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestEntries(t *testing.T) {
	f := parse(t, strings.Join([]string{
		"# a comment",
		"# host: kvm1",
		"",
		"alice:" + hex1,
		"no colon",
		"#613a62:" + strings.ToUpper(hex2),
		"#6:" + hex1,
		"#:" + hex1,
		"bob:abc",
		":" + hex1,
		"crlf:" + hex1 + "\r",
		"last:" + hex2,
	}, "\n"))
	type entry struct {
		Line int
		User string
		Key  string
	}
	var got []entry
	for _, e := range f.Entries() {
		got = append(got, entry{e.Line, e.User, e.Key.Hex()})
	}
	check(t, "entries", got, []entry{
		{4, "alice", hex1}, {6, "a:b", hex2}, {9, "bob", ""}, {10, "", hex1}, {11, "crlf", ""}, {12, "last", hex2},
	})
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"good", "# comment\n\nalice:" + hex1 + "\nbob:" + hex2 + "\n", nil},
		{"empty", "", nil},
		{"encoded name", "#6162:" + hex1 + "\n", nil},
		{"comment with a colon", "# who: what\n#also:this\n", nil},
		{"encoded colon", "#613a62:" + hex1 + "\n", []string{
			`warning psk-user-name keys.psk:1: a PSK user's name cannot hold a colon: GnuTLS servers find it only in the form #HEX, QEMU clients only as it is: found "a:b"`}},
		{"unencoded hash", "#hash:" + hex1 + "\n", []string{
			`warning psk-user-name keys.psk:1: a PSK user's name cannot begin with '#': GnuTLS servers read what follows as hexadecimal digits: found "#hash"`}},
		{"no name", ":" + hex1 + "\n", []string{
			`warning psk-user-name keys.psk:1: a PSK user without a name cannot log in: GnuTLS offers no empty identity: found ""`}},
		{"odd", "a:" + hex1 + "1\n", []string{
			"error psk-key-malformed keys.psk:1: the line's key is not an even number of hexadecimal digits, so nobody can log in with it: found 33 hexadecimal digits; wanted an even number of hexadecimal digits (by QEMU, GnuTLS)"}},
		{"no hex", "a:0011zz\n", []string{
			"error psk-key-malformed keys.psk:1: the line's key is not an even number of hexadecimal digits, so nobody can log in with it: found no hexadecimal digit at character 5 of the key; wanted an even number of hexadecimal digits (by QEMU, GnuTLS)"}},
		{"blank after", "a:" + hex1 + " \n", []string{
			"error psk-key-malformed keys.psk:1: the line's key is not an even number of hexadecimal digits, so nobody can log in with it: found no hexadecimal digit at character 33 of the key; wanted an even number of hexadecimal digits (by QEMU, GnuTLS)"}},
		{"no key", "a:\n", []string{
			"error psk-key-malformed keys.psk:1: the line's key is not an even number of hexadecimal digits, so nobody can log in with it: found no key; wanted an even number of hexadecimal digits (by QEMU, GnuTLS)"}},
		{"short", "a:" + hex1[:30] + "\n", []string{
			"warning psk-key-short keys.psk:1: the key is short enough to be guessed from a recorded handshake: found 15 bytes; wanted at least 16 bytes (by RFC 9257)"}},
		{"too short", "a:001122\n", []string{
			"error psk-key-short keys.psk:1: the key is shorter than GnuTLS accepts: found 3 bytes; wanted at least 4 bytes (by GnuTLS)"}},
		{"twice", "a:" + hex1 + "\nb:" + hex2 + "\n#61:00\n", []string{
			`warning psk-user-duplicate keys.psk:3: the user has several lines, of which QEMU clients and GnuTLS servers take the first: found "a" again; wanted only the one in line 1`}},
		{"shared", "a:" + hex1 + "\nb:" + strings.ToUpper(hex1) + "\n", []string{
			"warning psk-key-shared keys.psk:2: users share a key, so each of them can pass for the other: found the key of line 1; wanted a key of its own for every user (by RFC 9257)"}},
		{"CRLF", "# comment\r\na:" + hex1 + "\r\n\r\nb:12\r\n", []string{
			"error psk-key-short keys.psk:4: the key is shorter than GnuTLS accepts: found 1 bytes; wanted at least 4 bytes (by GnuTLS)",
			"error psk-line-endings keys.psk: lines end in CR LF, and QEMU and GnuTLS take the CR for a part of the key: found 4 such lines; wanted LF (by QEMU, GnuTLS)"}},
		{"ignored", "alice " + hex1 + "\n", []string{
			"warning psk-line-ignored keys.psk:1: the line is no USER:HEXKEY, so it is ignored: found no colon; wanted USER:HEXKEY (by QEMU, GnuTLS)"}},
		{"open end", "a:" + hex1, []string{
			"warning psk-last-line keys.psk:1: the last line has no newline, and psktool would write the next user onto it"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, found := range parse(t, test.text).Check() {
				got = append(got, fmt.Sprintf("%s %s %s", found.Severity, found.Code, found))
				if strings.Contains(fmt.Sprintf("%+v", found), hex1[:8]) {
					t.Errorf("a key shows in %+v", found)
				}
			}
			check(t, "findings", got, test.want)
		})
	}
}

func TestSet(t *testing.T) {
	key := NewKey([]byte("0123456789abcdef"))
	digits := key.Hex()
	const base = "# comment\nalice:11\n\nno colon\n#626f62:22\nalice:33\n"
	tests := []struct {
		name, before, user string
		after              string
		replaced           bool
		code               string
	}{
		{name: "new", before: base, user: "carol", after: base + "carol:" + digits + "\n"},
		{name: "into an empty file", before: "", user: "carol", after: "carol:" + digits + "\n"},
		{name: "after an open end", before: "a:11", user: "b", after: "a:11\nb:" + digits + "\n"},
		{name: "at an open end", before: "a:11", user: "a", after: "a:" + digits + "\n", replaced: true},
		{name: "every line of the user", before: base, user: "alice", replaced: true,
			after: "# comment\nalice:" + digits + "\n\nno colon\n#626f62:22\nalice:" + digits + "\n"},
		{name: "encoded before", before: base, user: "bob", replaced: true,
			after: "# comment\nalice:11\n\nno colon\nbob:" + digits + "\nalice:33\n"},
		{name: "CRLF beside it stays", before: "a:11\r\nb:22\r\n", user: "a", replaced: true, after: "a:" + digits + "\nb:22\r\n"},
		{name: "refused name", before: base, user: "a:b", after: base, code: "psk-user-name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := parse(t, test.before)
			replaced, err := f.Set(test.user, key)
			check(t, "replaced", replaced, test.replaced)
			check(t, "code", code(err), test.code)
			check(t, "file", string(f.Bytes()), test.after)
		})
	}
	for _, key := range []Key{{}, NewKey(make([]byte, MinKeySize-1)), NewKey(make([]byte, MaxKeySize+1))} {
		_, err := parse(t, "").Set("a", key)
		check(t, key.String(), code(err), "psk-key-size")
	}
}

func TestSetField(t *testing.T) {
	key := NewKey([]byte{1})
	tests := []struct{ name, before, field, after, code string }{
		{"literal", "#6162:22\nab:33\n", "ab", "#6162:22\nab:01\n", ""},
		{"literal hash", "#6162:22\nab:33\n", "#6162", "#6162:01\nab:33\n", ""},
		{"comment with a colon", "# who: what\n", "# who", "# who:01\n", ""},
		{"comment without", "who\n", "who", "who\nwho:01\n", ""},
		{"colon", "", "a:b", "", "psk-user-name"},
		{"newline", "", "a\nb", "", "psk-user-name"},
		{"too long", "", strings.Repeat("x", MaxLineSize), "", "psk-too-large"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := parse(t, test.before)
			_, err := f.SetField(test.field, key)
			check(t, "code", code(err), test.code)
			check(t, "file", string(f.Bytes()), test.after)
		})
	}
	check(t, "encoded", EncodeName("a:b"), "#613a62")
	check(t, "encoded", EncodeName("a\nb"), "#610a62")
	check(t, "plain", EncodeName("#hash"), "#hash")
}

func TestRemove(t *testing.T) {
	const base = "# alice: the first\nalice:11\nbob:22\n#616c696365:33\n:44\nno colon\nalice:55"
	tests := []struct {
		user, after string
		removed     bool
	}{
		{"alice", "# alice: the first\nbob:22\n:44\nno colon\n", true},
		{"", "# alice: the first\nalice:11\nbob:22\n#616c696365:33\nno colon\nalice:55\n", true},
		{"carol", base, false},
		{"no colon", base, false},
		{"# alice", base, false},
	}
	for _, test := range tests {
		t.Run(test.user, func(t *testing.T) {
			f := parse(t, base)
			check(t, "removed", f.Remove(test.user), test.removed)
			check(t, "file", string(f.Bytes()), test.after)
		})
	}
}

func TestLookUp(t *testing.T) {
	f := parse(t, "# comment\nalice:"+hex1+"\nalice:"+hex2+"\n#613a62:"+hex2+"\na:b:"+hex1+"\n:"+hex1+
		"\nshort:001122\nodd:123\ncrlf:"+hex1+"\r\nno colon\nlast:"+hex2)
	tests := []struct{ user, server, client string }{
		{"alice", hex1, hex1},
		{"alic", "psk-user-unknown", "psk-user-unknown"},
		{"alice:", "psk-user-unknown", "psk-user-unknown"},
		{"a:b", hex2, hex1},
		{"#613a62", "psk-user-unknown", hex2},
		{"a", "psk-key-malformed", "psk-key-malformed"},
		{"", "psk-user-unknown", "psk-user-unknown"},
		{"short", "psk-key-short", "psk-key-short"},
		{"odd", "psk-key-malformed", "psk-key-malformed"},
		{"crlf", "psk-key-malformed", "psk-key-malformed"},
		{"no colon", "psk-user-unknown", "psk-user-unknown"},
		{"last", hex2, hex2},
	}
	result := func(key Key, err error) string {
		if err != nil {
			return code(err)
		}
		return key.Hex()
	}
	for _, test := range tests {
		check(t, "server's key of "+test.user, result(f.ServerKey(test.user)), test.server)
		check(t, "client's key of "+test.user, result(f.ClientKey(test.user)), test.client)
	}
	_, err := f.ServerKey("crlf")
	check(t, "error", err.Error(), "keys.psk:9: the line's key is not an even number of hexadecimal digits, so nobody can log in with it: "+
		"found a CR at the end of the key; wanted an even number of hexadecimal digits (by QEMU, GnuTLS)")
}

func TestBounds(t *testing.T) {
	for name, text := range map[string]string{
		"file": strings.Repeat("#\n", MaxFileSize/2) + "#",
		"line": "\n" + strings.Repeat("x", MaxLineSize+1) + "\n",
	} {
		_, err := Parse("keys.psk", []byte(text))
		check(t, name, code(err), "psk-too-large")
	}
	f := parse(t, strings.Repeat("#\n", MaxFileSize/2))
	check(t, "entries", len(f.Entries()), 0)
	_, err := f.Set("a", NewKey(make([]byte, MinKeySize)))
	check(t, "no room", code(err), "psk-too-large")
	check(t, "size", len(f.Bytes()), MaxFileSize)
	parse(t, strings.Repeat("x", MaxLineSize)+"\n")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# comment\nalice:" + hex1 + "\r\n#6162:ff\n\nnothing\nlast:00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("keys.psk", data)
		if err != nil {
			return
		}
		if !bytes.Equal(file.Bytes(), data) {
			t.Fatalf("%q printed as %q", data, file.Bytes())
		}
		file.Check()
		seen := map[string]bool{}
		for _, e := range file.Entries() {
			if !seen[e.User] {
				seen[e.User] = true
				fuzzUser(t, file, e.User)
			}
		}
	})
}

// fuzzUser looks a user of the file up, and replaces and removes it if its
// name is good.
func fuzzUser(t *testing.T, file *File, user string) {
	for _, lookUp := range []func(string) (Key, error){file.ServerKey, file.ClientKey} {
		if key, err := lookUp(user); err == nil && key.Size() < usableKeySize {
			t.Fatalf("%q has the unusable %v", user, key)
		}
	}
	if CheckName(user) != nil {
		return
	}
	fresh := NewKey(make([]byte, MinKeySize))
	if replaced, err := file.Set(user, fresh); err != nil || !replaced {
		t.Fatalf("%q: replaced %v, error %v", user, replaced, err)
	}
	server, serverErr := file.ServerKey(user)
	client, clientErr := file.ClientKey(user)
	if serverErr != nil || clientErr != nil || !server.Equal(fresh) || !client.Equal(fresh) {
		t.Fatalf("%q: server has %v %v, client has %v %v", user, server, serverErr, client, clientErr)
	}
	if again := parse(t, string(file.Bytes())); len(again.Entries()) != len(file.Entries()) {
		t.Fatalf("%q reads back differently", file.Bytes())
	}
	if !file.Remove(user) || file.Remove(user) {
		t.Fatalf("%q is not removed at once", user)
	}
}
