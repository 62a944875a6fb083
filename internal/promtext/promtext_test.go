package promtext

import "testing"

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		want  string
		pairs []string
	}{
		{"", nil},
		{`a="b",c=""`, []string{"a", "b", "c", ""}},
		{`dn="CN=\"x\\y\"\nz"`, []string{"dn", "CN=\"x\\y\"\nz"}},
		{"dn=\"a\uFFFDb\"", []string{"dn", "a\xffb"}},
	} {
		if got := Labels(tt.pairs...); got != tt.want {
			t.Errorf("Labels(%q) = %s, want %s", tt.pairs, got, tt.want)
		}
	}
}
