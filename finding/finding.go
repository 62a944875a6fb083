// Package finding holds the one form in which virtls says that something is
// wrong: a stable code, a severity, the subject, what was found, what was
// wanted and by whom, and how to mend it.
//
// Checks produce findings, commands print them, for people with [Print] or for
// programs with [Report]. An operation that fails because of a user's mistake
// returns a [Failure], which is a finding with an exit code, so that an error
// message and a finding read the same everywhere.
package finding

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Severity ranks findings. Only Error findings make a command exit with 1.
type Severity int

// The severities, mildest first.
const (
	Info Severity = iota
	Warning
	Error
)

var severityNames = [...]string{"info", "warning", "error"}

// String returns "info", "warning" or "error".
func (s Severity) String() string { return severityNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(b []byte) error {
	i := slices.Index(severityNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown severity %q: want info, warning or error", b)
	}
	*s = Severity(i)
	return nil
}

// A Kind is one entry of the catalogue of findings: what all findings with the
// same code have in common. Kinds are declared once, with [Define], as package
// variables beside the check that produces them.
type Kind struct {
	Code     string   // stable name, [a-z0-9]+(-[a-z0-9]+)*
	Severity Severity // default severity
	Cause    string   // what is wrong, in a sentence without its subject
	Cure     string   // how it is mended in general; a Finding's Fix is the particular command
}

var (
	codeForm  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	catalogue = map[string]*Kind{}
	mu        sync.RWMutex
)

// Define enters a kind into the catalogue. It panics on a malformed or reused
// code, because both are programming errors seen on every start.
func Define(code string, sev Severity, cause, cure string) *Kind {
	if !codeForm.MatchString(code) {
		panic("finding: malformed code " + code)
	}
	mu.Lock()
	defer mu.Unlock()
	if catalogue[code] != nil {
		panic("finding: code defined twice: " + code)
	}
	k := &Kind{Code: code, Severity: sev, Cause: cause, Cure: cure}
	catalogue[code] = k
	return k
}

// Catalogue returns every kind known to this program, sorted by code.
func Catalogue() []Kind {
	mu.RLock()
	defer mu.RUnlock()
	kinds := make([]Kind, 0, len(catalogue))
	for _, k := range catalogue {
		kinds = append(kinds, *k)
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].Code < kinds[j].Code })
	return kinds
}

// A Finding is one thing that is wrong or worth knowing.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"`        // file, file and field, or endpoint
	Text     string   `json:"text,omitempty"` // the sentence for people; the kind's cause if empty
	Got      string   `json:"got,omitempty"`  // what was found
	Want     string   `json:"want,omitempty"` // what was wanted
	By       string   `json:"by,omitempty"`   // who wants it: consumer and version
	Fix      string   `json:"fix,omitempty"`  // a command or an edit that mends it
}

// Found makes a finding of this kind about a subject. Got, Want, By and Fix
// are set on the result by those who know them; Fix defaults to the kind's cure.
func (k *Kind) Found(subject, got string) Finding {
	return Finding{Code: k.Code, Severity: k.Severity, Subject: subject, Text: k.Cause, Got: got, Fix: k.Cure}
}

// WithText returns f with a sentence of its own instead of its kind's cause.
func (f Finding) WithText(format string, args ...any) Finding {
	f.Text = fmt.Sprintf(format, args...)
	return f
}

// WithWant returns f saying what was wanted and, if known, by whom.
func (f Finding) WithWant(want, by string) Finding {
	f.Want, f.By = want, by
	return f
}

// WithFix returns f with a cure of its own.
func (f Finding) WithFix(format string, args ...any) Finding {
	f.Fix = fmt.Sprintf(format, args...)
	return f
}

// WithSeverity returns f with another severity than its kind's.
func (f Finding) WithSeverity(s Severity) Finding {
	f.Severity = s
	return f
}

// String returns the finding on one line, without severity, code and cure.
func (f Finding) String() string {
	var b strings.Builder
	if f.Subject != "" {
		b.WriteString(f.Subject)
		b.WriteString(": ")
	}
	b.WriteString(f.Text)
	if f.Got != "" {
		fmt.Fprintf(&b, ": found %s", f.Got)
	}
	if f.Want != "" {
		fmt.Fprintf(&b, "; wanted %s", f.Want)
	}
	if f.By != "" {
		fmt.Fprintf(&b, " (by %s)", f.By)
	}
	return b.String()
}

// Worst returns the highest severity among findings, Info for none.
func Worst(findings []Finding) Severity {
	worst := Info
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// A Count is how many findings have a code and a severity.
type Count struct {
	Code     string
	Severity Severity
	Number   int
}

// Counts counts findings by code and severity, in the order of these.
func Counts(findings []Finding) []Count {
	var counts []Count
	for _, f := range findings {
		i, known := slices.BinarySearchFunc(counts, f, func(c Count, f Finding) int {
			return cmp.Or(strings.Compare(c.Code, f.Code), cmp.Compare(c.Severity, f.Severity))
		})
		if !known {
			counts = slices.Insert(counts, i, Count{Code: f.Code, Severity: f.Severity})
		}
		counts[i].Number++
	}
	return counts
}

// A Report is the JSON document of a command that judges things. Commands
// embed it to add their own facts.
type Report struct {
	Schema   int       `json:"schema"`
	Findings []Finding `json:"findings"`
}

// NewReport wraps findings; the JSON form of none is an empty list, not null.
func NewReport(findings []Finding) Report {
	if findings == nil {
		findings = []Finding{}
	}
	return Report{Schema: 1, Findings: findings}
}

// JSON returns v indented and with a final newline, as all --json output is printed.
func JSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}
