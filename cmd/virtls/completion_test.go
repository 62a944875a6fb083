package main

import (
	"testing"

	"virtls/pki"
)

// What completion offers is understood.
func TestValuesOf(t *testing.T) {
	for _, text := range valuesOf("any key") {
		if _, err := pki.ParseKeySpec(text); err != nil {
			t.Error(err)
		}
	}
	reasons := valuesOf("reason")
	for _, text := range reasons {
		if _, err := pki.ParseRevocationReason(text); err != nil {
			t.Error(err)
		}
	}
	if len(reasons) != 9 {
		t.Errorf("reasons %q", reasons)
	}
	for _, what := range []string{"consumer", "key", "mechanism", "security"} {
		if len(valuesOf(what)) == 0 {
			t.Errorf("no values of %q", what)
		}
	}
}
