package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"virtls/finding"
)

// examplesJSON has a finding of each kind, as it is met, by its code: subject,
// got, want, by, and what is not the kind's own of text, fix and severity. A
// new kind gets one here; a test says so.
//
//go:embed examples.json
var examplesJSON []byte

// examples returns the examples by code.
var examples = sync.OnceValue(func() map[string]finding.Finding {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(examplesJSON, &all); err != nil {
		panic("examples.json: " + err.Error()) // a test reads it
	}
	out := map[string]finding.Finding{}
	for _, k := range finding.Catalogue() {
		raw, ok := all[k.Code]
		if !ok {
			continue
		}
		f := k.Found("", "")
		if err := json.Unmarshal(raw, &f); err != nil {
			panic(fmt.Sprintf("examples.json: %s: %v", k.Code, err))
		}
		out[k.Code] = f
	}
	return out
})

// A codeEntry is the catalogue's entry of a finding.
type codeEntry struct {
	Code     string           `json:"code"`
	Severity finding.Severity `json:"severity"`
	Cause    string           `json:"cause"`
	Cure     string           `json:"cure"`
	Example  *finding.Finding `json:"example,omitempty"`
}

// entry returns the catalogue's entry of a kind.
func entry(k finding.Kind) codeEntry {
	e := codeEntry{Code: k.Code, Severity: k.Severity, Cause: k.Cause, Cure: k.Cure}
	if f, ok := examples()[k.Code]; ok {
		e.Example = &f
	}
	return e
}

// printed returns a finding as virtls prints it.
func printed(f finding.Finding) string {
	var b strings.Builder
	_ = finding.Print(&b, []finding.Finding{f}) // a Builder takes everything
	return b.String()
}
