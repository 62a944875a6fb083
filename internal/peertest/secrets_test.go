package peertest

import "testing"

func TestSecrets(t *testing.T) {
	s := Secrets{"hunter2"}
	for text, found := range map[string]bool{
		"nothing": false, "user=fred password=hunter2": true, "68756e74657232": true, "aHVudGVyMg==": true, "[104 117 110 116 101 114 50]": true,
	} {
		if (s.In(text) != "") != found {
			t.Errorf("%q: %q", text, s.In(text))
		}
	}
}
