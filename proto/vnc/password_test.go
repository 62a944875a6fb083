package vnc

import "testing"

// A response that QEMU 7.2 takes for this password and challenge is tested by
// TestPeerMapping; here is what must be the same, and what must not.
func TestAnswer(t *testing.T) {
	challenge := [challengeSize]byte([]byte("0123456789abcdef"))
	long, short := answer([]byte("12345678 and more"), challenge), answer([]byte("12345678"), challenge)
	if long != short {
		t.Error("more than eight octets of a password count")
	}
	for _, tt := range []struct {
		name, password string
		response       [challengeSize]byte
		want           bool
	}{
		{"right", "12345678", long, true},
		{"wrong", "12345679", long, false},
		{"one bit of the response", "12345678", flip(long), false},
		{"no password", "", answer(nil, challenge), false},
	} {
		if got := answered([]byte(tt.password), challenge, tt.response); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func flip(r [challengeSize]byte) [challengeSize]byte { r[15] ^= 1; return r }
