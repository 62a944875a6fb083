package authz

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/pki/dn"
)

const (
	fred = "C=GB,O=Example,CN=fred"
	bob  = "C=GB,O=Example,CN=bob"
)

func TestAllowed(t *testing.T) {
	tests := []struct {
		name    string
		a       Authorizer
		allowed []string
		denied  []string
	}{
		{"simple", Simple{fred}, []string{fred}, []string{bob, "", fred + " ", strings.ToLower(fred)}},
		{"simple of nobody", Simple{}, []string{""}, []string{fred}},
		{"no rules", &List{}, nil, []string{"", fred}},
		{"no rules, policy allow", &List{Policy: Allow}, []string{"", fred}, nil},
		{"exact", &List{Rules: []Rule{{fred, Allow, Exact}, {"*", Allow, Exact}}}, []string{fred, "*"}, []string{bob, ""}},
		{"glob", &List{Rules: []Rule{{"*,CN=fre?", Allow, Glob}}}, []string{fred, "O=x,CN=freé"}, []string{bob, "CN=fred"}},
		{"the first decides", &List{Rules: []Rule{{bob, Deny, Exact}, {"*,O=Example,*", Allow, Glob}, {fred, Deny, Exact}}}, []string{fred}, []string{bob, ""}},
		{"all but one", &List{Policy: Allow, Rules: []Rule{{bob, Deny, Exact}}}, []string{fred, ""}, []string{bob}},
		{"DN list", DNList{"CN=x", "C=GB,*"}, []string{"CN=x", fred, bob}, []string{"", "C=DE,CN=x"}},
		{"empty DN list", DNList{}, nil, []string{"", fred}},
		{"DN list of everybody", DNList{"*"}, []string{"", fred}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, identity := range tt.allowed {
				if ok, err := tt.a.Allowed(identity); !ok || err != nil {
					t.Errorf("%q is denied (error %v)", identity, err)
				}
			}
			for _, identity := range tt.denied {
				if ok, err := tt.a.Allowed(identity); ok || err != nil {
					t.Errorf("%q is allowed, or error %v", identity, err)
				}
			}
		})
	}
}

// code returns the code of the finding in err, "" if there is none.
func code(err error) string {
	if f, ok := errors.AsType[*finding.Failure](err); ok {
		return f.Code
	}
	return ""
}

func TestNotUTF8(t *testing.T) {
	const identity = "CN=fred\xff"
	file, err := OpenListFile(write(t, `{"policy":"allow"}`), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Authorizer{Simple{identity}, &List{Policy: Allow}, &List{Rules: []Rule{{identity, Allow, Exact}}}, DNList{"*", identity}, file} {
		if ok, err := a.Allowed(identity); ok || code(err) != "authz-identity-not-utf8" {
			t.Errorf("%T: allowed %v, error %v", a, ok, err)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParseList(t *testing.T) {
	tests := []struct {
		name, text string
		want       *List
		err        string
	}{
		{"empty", `{}`, &List{}, ""},
		{"QEMU's dialect", `{'rules': [{'match': 'fred', 'policy': 'allow'}], 'policy': 'deny'}`, &List{Rules: []Rule{{"fred", Allow, Exact}}}, ""},
		{"everything", `{"policy": "allow", "rules": [{"match": "*", "policy": "deny", "format": "glob"}, {"format": "exact", "policy": "allow", "match": ""}]}`,
			&List{Allow, []Rule{{"*", Deny, Glob}, {"", Allow, Exact}}}, ""},
		{"bare name, as the manual has it", `CN=laptop.example.com,O=Example,C=GB`, nil, "1:1: JSON parse error, stray 'C'"},
		{"nothing", ``, nil, "1:1: Expecting a JSON value"},
		{"list", `[]`, nil, "must contain a JSON object"},
		{"comma at the end", `{"policy": "deny",}`, nil, "1:19: JSON parse error, expecting key"},
		{"other property", `{"polcy": "deny"}`, nil, "Property 'authz-list.polcy' not found"},
		{"other policy", `{"policy": "reject"}`, nil, "Parameter 'policy' does not accept value 'reject'"},
		{"one rule", `{"rules": {"match": "fred"}}`, nil, "Invalid parameter type for 'rules', expected: array"},
		{"rule without policy", `{"rules": [{"match": "fred"}]}`, nil, "Parameter 'rules[0].policy' is missing"},
		{"rule with more", `{"rules": [{"match": "fred", "policy": "allow", "for": "me"}]}`, nil, "Parameter 'rules[0].for' is unexpected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseList([]byte(tt.text))
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v; want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		check func() []finding.Finding
		want  []string
	}{
		{"good", (&List{Rules: []Rule{{fred, Allow, Exact}, {"C=GB,*", Allow, Glob}}}).check, nil},
		{"SASL names", (&List{Rules: []Rule{{"fred@EXAMPLE", Allow, Exact}}}).check, nil},
		{"nobody", (&List{Rules: []Rule{{fred, Deny, Exact}}}).check, []string{"authz-nobody"}},
		{"everybody by default", (&List{Policy: Allow}).check, []string{"authz-everybody"}},
		{"everybody by rule", (&List{Rules: []Rule{{"**", Allow, Glob}}}).check, []string{"authz-everybody"}},
		{"all but one", (&List{Policy: Allow, Rules: []Rule{{fred, Deny, Exact}}}).check, nil},
		{"all but one by rules", (&List{Rules: []Rule{{fred, Deny, Exact}, {"*", Allow, Glob}}}).check, nil},
		{"rule behind all", (&List{Rules: []Rule{{"*", Deny, Glob}, {fred, Allow, Exact}}}).check, []string{"authz-rule-unreachable"}},
		{"rule behind a pattern", (&List{Rules: []Rule{{"*CN=fred", Allow, Glob}, {fred, Deny, Exact}}}).check, []string{"authz-rule-unreachable"}},
		{"rule twice", (&List{Rules: []Rule{{fred, Allow, Exact}, {bob, Allow, Exact}, {fred, Deny, Exact}}}).check, []string{"authz-rule-unreachable"}},
		{"exact star", (&List{Rules: []Rule{{"C=GB,*", Allow, Exact}}}).check, []string{"dn-pattern-literal"}},
		{"openssl", DNList{"C = GB, O = Example, CN = fred"}.check, []string{"dn-pattern-form"}},
		{"openssl 3.2", DNList{"C=GB, O=Example, CN=fred"}.check, []string{"dn-pattern-form"}},
		{"slashes", DNList{"/C=GB/CN=fred"}.check, []string{"dn-pattern-form"}},
		{"emailAddress", DNList{"C=GB,emailAddress=x@y"}.check, []string{"dn-pattern-form"}},
		{"lower case", DNList{"C=GB,cn=fred"}.check, []string{"dn-pattern-form"}},
		{"comma not escaped", DNList{"O=Example, Inc.,CN=fred"}.check, []string{"dn-pattern-form"}},
		{"comma escaped", DNList{`O=Example\, Inc.,CN=fred`}.check, nil},
		{"two in one step", DNList{`O=Example,CN=fred+UID=fred`}.check, nil},
		{"number for a type", DNList{"2.5.4.97=#0c0141,CN=fred"}.check, nil},
		{"host name", DNList{"fred"}.check, []string{"dn-pattern-form"}},
		{"empty", DNList{""}.check, []string{"dn-pattern-form"}},
		{"everybody", DNList{fred, "*"}.check, []string{"authz-everybody"}},
		{"wildcards", DNList{"*CN=fred", "C=GB*fred", "C?=x", "?=x", "C=GB,*=Example,CN=x y"}.check, nil},
		{"RFC 4514", DNList{"CN=fred,O=Example,C=GB"}.check, []string{"dn-pattern-order"}},
		{"RFC 4514 with wildcard", DNList{"CN=*,O=Example,C=GB"}.check, []string{"dn-pattern-order"}},
		{"no list", DNList{}.check, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range tt.check() {
				if f.Subject != "here" {
					t.Errorf("subject %q", f.Subject)
				}
				got = append(got, f.Code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (l *List) check() []finding.Finding  { return l.Check("here") }
func (l DNList) check() []finding.Finding { return l.Check("here") }

func TestCheckSaysHow(t *testing.T) {
	for text, want := range map[string]string{
		"C = GB, O = Example, CN = fred": "write " + fred,
		"/C=GB/O=Example/CN=fred":        "write " + fred,
		"CN=fred,O=Example,C=GB":         "write " + fred,
	} {
		if found := (DNList{text}).Check(""); len(found) != 1 || found[0].Fix != want {
			t.Errorf("%s: %v; want the cure %q", text, found, want)
		}
	}
}

func TestPatternFor(t *testing.T) {
	plain := dn.New(dn.Attr(dn.OrganizationOID, "Name, Of"), dn.Attr(dn.CommonNameOID, "fred"))
	if got := PatternFor(plain); got != `O=Name\, Of,CN=fred` || !dn.Match(got, plain.String()) {
		t.Errorf("got %s", got)
	}
	if found := CheckName("cert.pem", plain); found != nil {
		t.Error(found)
	}
	star := dn.New(dn.Attr(dn.CommonNameOID, "*.example.com"))
	if found := CheckName("cert.pem", star); len(found) != 1 || found[0].Code != "dn-wildcard-in-name" {
		t.Error(found)
	}
}

func TestWords(t *testing.T) {
	if got := Deny.String() + Allow.String() + Exact.String() + Glob.String(); got != "denyallowexactglob" {
		t.Error(got)
	}
}

// FuzzList checks that no list panics or lets in whom it should not.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"policy": "allow", "rules": [{"match": "*", "policy": "deny", "format": "glob"}]}`), fred)
	f.Add([]byte(`{'rules': [{'match': 'CN=fred,O=Example, C=GB', 'policy': 'allow'}]}`), bob)
	f.Add([]byte(`{'rules': [{'match': 'C=GB,*=\\,+,CN=?', 'policy': 'allow', 'format': 'glob'}]}`), "C=GB,O=\\,,CN=\xff")
	f.Fuzz(func(t *testing.T, data []byte, identity string) {
		l, err := ParseList(data)
		if err != nil {
			if l != nil {
				t.Error("a list in spite of", err)
			}
			return
		}
		ok, err := l.Allowed(identity)
		if !utf8.ValidString(identity) && (ok || err == nil) {
			t.Error("not UTF-8, but not denied")
		}
		if ok && l.Policy == Deny && len(l.Rules) == 0 {
			t.Error("allowed by nothing")
		}
		for _, found := range l.Check("here") {
			if ok && found.Code == "authz-nobody" {
				t.Errorf("%q is allowed, but the finding is %v", identity, found)
			}
		}
		var patterns DNList
		for _, r := range l.Rules {
			patterns = append(patterns, r.Match)
		}
		patterns.Check("here")
		if !strings.Contains(identity, "\x00") {
			(&List{Rules: []Rule{{identity, Allow, Exact}}}).Check("here")
		}
	})
}
