package peertest

import (
	"testing"
)

func TestRunOnTerminal(t *testing.T) {
	name := Prompt{Asks: "Name: ", Type: "alice"}
	for _, tt := range []struct {
		name, script string
		prompts      []Prompt
		wants        string
	}{
		{"nothing asked", "test -t 0 && echo terminal", nil, "terminal\n"},
		{"answers", `printf "Name: "; read n; printf "Password: "; stty -echo; read p; stty echo; echo "$n, $p"`,
			[]Prompt{name, {"Password: ", "s3cret", true}}, "Name: Password: alice, s3cret\n"},
		{"echo off late", `printf "Password: "; sleep 0.5; read -t 0 p && echo "too early"; stty -echo; read p; stty echo; echo "$p"`,
			[]Prompt{{"Password: ", "s3cret", true}}, "Password: s3cret\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := Host.RunOnTerminal(t, Options{}, tt.prompts, "bash", "-c", tt.script); r.Code != 0 || r.Stdout != tt.wants {
				t.Errorf("got %v", r)
			}
		})
	}
}
