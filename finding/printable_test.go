package finding

import "testing"

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"wrong password":        "wrong password",
		"falsches Paßwort":      "falsches Paßwort",
		"\x1b[2Jgone\r\n":       "?[2Jgone??",
		"bad \xff\u202e\u00a0!": "bad \ufffd??!",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
