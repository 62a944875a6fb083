package qopts

import (
	"slices"
	"strings"
	"testing"
)

var cases = []struct {
	name, text, value, rest string
	parts                   []string
}{
	{"empty", "", "", "", []string{""}},
	{"one", "a=b", "a=b", "", []string{"a=b"}},
	{"two", "a=b,c=d", "a=b", "c=d", []string{"a=b", "c=d"}},
	{"doubled", "a=O=X,,CN=y,c=d", "a=O=X,CN=y", "c=d", []string{"a=O=X,CN=y", "c=d"}},
	{"doubled at the end", "a=b,,", "a=b,", "", []string{"a=b,"}},
	{"single at the end", "a=b,", "a=b", "", []string{"a=b", ""}},
	{"three at the end", "a=b,,,", "a=b,", "", []string{"a=b,", ""}},
	{"three between", "a,,,b", "a,", "b", []string{"a,", "b"}},
	{"four", ",,,,", ",,", "", []string{",,"}},
	{"one comma", ",", "", "", []string{"", ""}},
}

func TestCutAndSplit(t *testing.T) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			if value, rest := Cut(tt.text); value != tt.value || rest != tt.rest {
				t.Errorf("Cut: %q and %q, want %q and %q", value, rest, tt.value, tt.rest)
			}
			if parts := Split(tt.text); !slices.Equal(parts, tt.parts) {
				t.Errorf("Split: %q, want %q", parts, tt.parts)
			}
		})
	}
}

// FuzzSplit: parts joined again are the text.
func FuzzSplit(f *testing.F) {
	for _, tt := range cases {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doubled []string
		for _, part := range Split(text) {
			doubled = append(doubled, strings.ReplaceAll(part, ",", ",,"))
		}
		if again := strings.Join(doubled, ","); again != text {
			t.Errorf("%q became %q", text, again)
		}
	})
}
