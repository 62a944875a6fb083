package finding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	kindTestError   = Define("test-error", Error, "something is broken", "mend it")
	kindTestWarning = Define("test-warning", Warning, "something is odd", "")
)

func TestPrint(t *testing.T) {
	tests := []struct {
		name string
		f    Finding
		want string
	}{
		{"everything", kindTestError.Found("a.pem", "2026").WithWant("2027", "QEMU 11.1").WithFix("run %s", "x"),
			"error: a.pem: something is broken [test-error]\n    found:  2026\n    wanted: 2027 (by QEMU 11.1)\n    mend:   run x\n"},
		{"least", kindTestWarning.Found("", ""), "warning: something is odd [test-warning]\n"},
		{"own text", kindTestWarning.Found("b", "").WithText("%d of %d", 1, 2).WithSeverity(Info), "info: b: 1 of 2 [test-warning]\n"},
		{"wanted by somebody without a word", kindTestWarning.Found("b", "").WithWant("", "QEMU 11.1"), "warning: b: something is odd [test-warning]\n    wanted: by QEMU 11.1\n"},
		{"wanted by nobody", kindTestWarning.Found("b", "").WithWant("more", ""), "warning: b: something is odd [test-warning]\n    wanted: more\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Print(&b, []Finding{tt.f}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	b, err := JSON(NewReport(nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"schema\": 1,\n  \"findings\": []\n}\n"; string(b) != want {
		t.Errorf("no findings: %s, want %s", b, want)
	}
	in := NewReport([]Finding{kindTestError.Found("a", "b").WithWant("c", "d").WithFix("e")})
	if b, err = JSON(in); err != nil {
		t.Fatal(err)
	}
	var out Report
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(b), `"severity": "error"`) {
		t.Errorf("severity is not a word: %s", b)
	}
	if err := json.Unmarshal([]byte(`{"severity": "fatal"}`), &Finding{}); err == nil {
		t.Error("an unknown severity was read")
	}
}

func TestFailure(t *testing.T) {
	cause := fmt.Errorf("open: %w", fs.ErrNotExist)
	tests := []struct {
		name string
		err  error
		exit int
		text string
	}{
		{"nothing", nil, ExitOK, ""},
		{"wrong", kindTestError.Found("a", "b").Wrong(), ExitWrong, "a: something is broken: found b"},
		{"usage", kindTestError.Found("", "").Usage(), ExitUsage, "something is broken"},
		{"unable", kindTestError.Found("a", "").Unable(cause), ExitUnable, "a: something is broken: open: file does not exist"},
		{"wrapped", fmt.Errorf("while: %w", kindTestError.Found("a", "").WithWant("x", "y").Wrong()), ExitWrong, "while: a: something is broken; wanted x (by y)"},
		{"said already", kindTestError.Found("a", "").WithText("no luck: %v", cause).Unable(cause), ExitUnable, "a: no luck: open: file does not exist"},
		{"found already", kindTestError.Found("a", cause.Error()).Unable(cause), ExitUnable, "a: something is broken: found open: file does not exist"},
		{"foreign", cause, ExitUnable, "open: file does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ExitCode(tt.err); got != tt.exit {
				t.Errorf("exit code %d, want %d", got, tt.exit)
			}
			if tt.err == nil {
				return
			}
			if got := tt.err.Error(); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			if f := Of(tt.err); f.Code == "" || f.Severity != Error {
				t.Errorf("as finding: %+v", f)
			}
		})
	}
	if err := kindTestError.Found("", "").Unable(cause); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

func TestDefineRefuses(t *testing.T) {
	for _, code := range []string{"", "Upper", "two--dashes", "-x", "x-", "under_score", "test-error"} {
		t.Run(code, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("code %q was accepted", code)
				}
			}()
			Define(code, Error, "", "")
		})
	}
}

func TestCatalogue(t *testing.T) {
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	last := ""
	for _, k := range Catalogue() {
		if !form.MatchString(k.Code) || k.Code <= last || k.Cause == "" {
			t.Errorf("kind %+v after %q", k, last)
		}
		last = k.Code
	}
	if last == "" {
		t.Error("the catalogue is empty")
	}
}

func TestWorst(t *testing.T) {
	if got := Worst(nil); got != Info {
		t.Errorf("of nothing: %v", got)
	}
	if got := Worst([]Finding{kindTestWarning.Found("", ""), kindTestError.Found("", ""), kindTestWarning.Found("", "")}); got != Error {
		t.Errorf("got %v, want error", got)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"addresses", "names", "uses", "platform", "organization"}
	tests := []struct{ word, want string }{
		{"adresses", "addresses"},
		{"nmaes", "names"},
		{"USES", "uses"},
		{"use", "uses"},
		{"platfrom", "platform"},
		{"organisation", "organization"},
		{"zebra", ""},
		{"", ""},
		{strings.Repeat("a", 1000), ""},
	}
	for _, tt := range tests {
		if got := Nearest(tt.word, words); got != tt.want {
			t.Errorf("Nearest(%.20q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}

func TestCounts(t *testing.T) {
	list := []Finding{{Code: "b", Severity: Error}, {Code: "a", Severity: Error}, {Code: "b", Severity: Warning}, {Code: "b", Severity: Error}}
	want := []Count{{"a", Error, 1}, {"b", Warning, 1}, {"b", Error, 2}}
	if got := Counts(list); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Counts(nil); got != nil {
		t.Errorf("of nothing there are %v", got)
	}
}
