package explain

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ids returns the entries that explain the input.
func ids(input string) []string {
	var out []string
	for _, m := range Explain(input) {
		out = append(out, m.Entry.ID)
	}
	return out
}

// Every text of testdata/messages.txt, taken by hand from what the programs
// print and document, is explained by the entry that it is for.
func TestMessages(t *testing.T) {
	data, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, message, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("line %q: want ENTRY: TEXT", line)
		}
		n++
		t.Run(message, func(t *testing.T) {
			if got := ids(message); !slices.Contains(got, id) {
				t.Errorf("explained by %q, want %s", got, id)
			}
		})
	}
	if n < 250 {
		t.Errorf("only %d texts", n)
	}
}

var samples = map[string]string{
	"file": "/etc/pki/some file.pem", "cert": "/d/cert.pem", "key": "/d/key.pem", "ca": "/d/ca.pem", "dn": `C=GB,O=Name\, of,CN=x`,
	"host": "kvm1.example.com", "n": "42", "role": "server", "id": "tls0", "type": "tls-creds-psk",
}

// sample fills a text.
func sample(s string) string {
	return nameForm.ReplaceAllStringFunc(s, func(name string) string {
		if value := samples[strings.Trim(name, "{}")]; value != "" {
			return value
		}
		return "something"
	})
}

// Every text of every entry is found by itself, and each entry is complete.
func TestEntries(t *testing.T) {
	slug := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := map[string]string{}
	entries := map[string]bool{}
	for _, e := range Entries() {
		t.Run(e.ID, func(t *testing.T) {
			if !slug.MatchString(e.ID) || entries[e.ID] {
				t.Error("the id is no slug, or is another entry's too")
			}
			entries[e.ID] = true
			if e.By == "" || e.Means == "" || len(e.Texts) == 0 || len(e.Causes) == 0 {
				t.Errorf("incomplete: %+v", e)
			}
			commands := 0
			for _, c := range e.Causes {
				commands += len(c.Run)
				if c.Text == "" || c.Look == "" {
					t.Errorf("incomplete cause: %+v", c)
				}
				if strings.Contains(c.Text+c.Look+e.Means, "{n") || nameForm.MatchString(c.Text+c.Look+e.Means) {
					t.Errorf("only texts and commands have names in them: %+v", c)
				}
			}
			if commands == 0 {
				t.Error("there is nothing to run")
			}
			for _, s := range e.Texts {
				p := newPattern(e, s)
				if parts := split(s); parts[0].name != "" || len(p.literals[0]) < 3 || p.size < 9 {
					t.Errorf("%q is too vague to be found", s)
				}
				key := strings.Join(p.literals, "{}") + strings.Join(p.names, ",")
				if other := seen[key]; other != "" {
					t.Errorf("%q is a text of %s too", s, other)
				}
				seen[key] = e.ID
				if got := ids(sample(s)); !slices.Equal(got, []string{e.ID}) {
					t.Errorf("%q is explained by %q", sample(s), got)
				}
			}
		})
	}
}

func TestTolerance(t *testing.T) {
	const own = "own-chain-unknown-issuer"
	tests := []struct {
		name, input string
		want        []string
	}{
		{"plain", "Our own certificate /a/b.pem failed validation against /a/c.pem: The certificate hasn't got a known issuer", []string{own}},
		{"journal", "Nov 22 06:13:00 kvm1 libvirtd[4242]: 2026-11-22 06:13:00.123+0000: 4242: error : virNetTLSCertValidate:455 : " +
			"Our own certificate /a/b.pem failed validation against /a/c.pem: The certificate hasn't got a known issuer.", []string{own}},
		{"upper case and blanks", "  OUR OWN   certificate\t/a/b.pem failed validation against /a/c.pem:the certificate hasn't got a known issuer", []string{own}},
		{"other quotes", "Our own certificate ‘/a/b.pem’ failed validation against “/a/c.pem”: The certificate hasn’t got a known issuer", []string{own}},
		{"colours", "\x1b[31;1mOur own \x1b[0mcertificate /a/b.pem failed ^[[1mvalidation against /a/c.pem: The certificate hasn't got #033[0ma known issuer\x1b]0;title\x07", []string{own}},
		{"broken by a terminal", "Our own certificate /a/very/long/path/that/does/not/fit/into/one/li\nne.pem failed valid\r\nation against /a/c.pem: The cer\ntificate hasn't got a known issuer", []string{own}},
		{"in JSON", `{"error": {"class": "GenericError", "desc": "Our own certificate \"/a/b.pem\" failed validation against /a/c.pem: The certificate hasn't got a known issuer"}}`, []string{own}},
		{"inside another", "error: internal error: unable to execute QEMU command 'object-add': Unable to access credentials /a/b: No such file or directory", []string{"qemu-file-missing"}},
		{"a vague one alone", "error: authentication failed: Failed to verify peer's certificate", []string{"libvirt-peer-refused"}},
		{"a vague one with its reason", "Certificate check failed Certificate [session] owner does not match the hostname kvm9\nerror: authentication failed: Failed to verify peer's certificate", []string{"libvirt-name-mismatch"}},
		{"two in the order of the paste", "a: No TLS credentials with id 'x'\nb: Missing 'dir' property value\nc: No TLS credentials with id 'y'", []string{"qemu-no-credentials", "qemu-dir-missing"}},
		{"parts of two lines are no text", "No TLS credentials\nwhatever\nMissing property value", nil},
		{"a long path", "Unable to access credentials /" + strings.Repeat("d/", 1500) + "x: No such file or directory", []string{"qemu-file-missing"}},
		{"nothing", "", nil},
		{"something else", "all is well", nil},
		{"invalid UTF-8", "\xff\xfeMissing \xff'dir' property value", nil},
		{"NUL", "Missing 'dir'\x00 property value", []string{"qemu-dir-missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ids(tt.input)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValues(t *testing.T) {
	tests := []struct {
		name, input string
		values      map[string]string
		found       string
		command     string // one of the commands
	}{
		{"file and its directory", "x: Unable to access credentials /etc/pki/my qemu/ca-cert.pem: No such file or directory.",
			map[string]string{"file": "/etc/pki/my qemu/ca-cert.pem"},
			"Unable to access credentials /etc/pki/my qemu/ca-cert.pem: No such file or directory", "virtls validate '/etc/pki/my qemu'"},
		{"quoted", "The certificate “/a b/c.pem” basic constraints do not show a CA", map[string]string{"file": "/a b/c.pem"},
			"The certificate “/a b/c.pem” basic constraints do not show a CA", "virtls show '/a b/c.pem'"},
		{"last word", "Certificate does not match the hostname kvm1.example.com.\nmore", map[string]string{"host": "kvm1.example.com"},
			"Certificate does not match the hostname kvm1.example.com",
			"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=127.0.0.1,tls-creds=tls0,tls-hostname=kvm1.example.com"},
		{"last word is missing", "Cannot find QAuthZ object ID ", map[string]string{"id": ""}, "Cannot find QAuthZ object ID",
			"qemu-nbd --object authz-list,id=auth0,policy=deny --tls-authz auth0 --tls-creds tls0 IMAGE"},
		{"hostile", "Unable to import private key /x';rm -rf $HOME;'\x1b[31m", map[string]string{"file": "/x';rm"}, "Unable to import private key /x';rm", `virtls show '/x'\'';rm'`},
		{"looks like an option", "The certificate --help basic constraints do not show a CA", map[string]string{"file": "--help"},
			"The certificate --help basic constraints do not show a CA", "virtls show FILE"},
		{"broken line", "The certificate /a/lo\nng.pem basic constraints do not show a CA", map[string]string{"file": "/a/long.pem"},
			"The certificate /a/lo\nng.pem basic constraints do not show a CA", "virtls show /a/long.pem"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Explain(tt.input)
			if len(got) != 1 {
				t.Fatalf("%d explanations", len(got))
			}
			if diff := cmp.Diff(tt.values, got[0].Values); diff != "" {
				t.Error(diff)
			}
			if got[0].Found != tt.found {
				t.Errorf("found %q, want %q", got[0].Found, tt.found)
			}
			var commands []string
			for _, c := range got[0].Entry.Causes {
				commands = append(commands, c.Run...)
			}
			if !slices.Contains(commands, tt.command) {
				t.Errorf("commands %q, want %q among them", commands, tt.command)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"misspelt", "Unable to acess credential /etc/pki/qemu/ca-cert.pem: no such file", "qemu-file-missing"},
		{"a part", "TLS confirmation", "libvirt-confirmation"},
		{"other words", "error: certificate's owner doesn't match hostname kvm2", "libvirt-name-mismatch"},
		{"nothing like it", "the quick brown fox jumps over the lazy dog", ""},
		{"too short", "TLS", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ids(tt.input); len(got) > 0 {
				t.Fatalf("this is known: %q", got)
			}
			near, first := Nearest(tt.input, 3), ""
			if len(near) > 0 {
				first = near[0].Entry.ID
			}
			if len(near) > 3 || first != tt.want {
				t.Errorf("nearest of %d is %q, want %q", len(near), first, tt.want)
			}
		})
	}
}

// A long text of the same is no more work than it should be.
func TestLongInput(t *testing.T) {
	for _, line := range []string{"The server certificate a has expired\n", "The server certificate ", "Cannot find QAuthZ object ID x ", "a"} {
		input := strings.Repeat(line, MaxText/16/len(line))
		if got := Explain(input); len(got) > 1 {
			t.Errorf("%q: %d explanations", line, len(got))
		}
		Nearest(input, 3)
	}
	if got := ids(strings.Repeat("a", MaxText) + "Missing 'dir' property value"); got != nil {
		t.Errorf("%q is behind what is looked at", got)
	}
}

func TestReadable(t *testing.T) {
	if got, want := Readable("Key {key} does not exist, {n} {\"a\":1}"), "Key KEY does not exist, N {\"a\":1}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzExplain(f *testing.F) {
	for _, s := range []string{"Unable to access credentials /a: No such file or directory", "\x1b[1mThe server certificate 'x\n has expired", "“”‘’", "Cannot find QAuthZ object ID ", "\xffİ\u2028ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input string) {
		for _, m := range Explain(input) {
			if m.Entry.ID == "" || strings.ContainsAny(m.Found, "\x00\x1b\a") {
				t.Errorf("%+v", m)
			}
			for _, c := range m.Entry.Causes {
				for _, run := range c.Run {
					if strings.ContainsAny(run, "\n\x1b\x00") {
						t.Errorf("a command of more than one line: %q", run)
					}
				}
			}
		}
		for _, m := range Nearest(input, 3) {
			if m.Text == "" {
				t.Error("a nearest text that is none")
			}
		}
	})
}
