package pki

import "testing"

// TestPKCS8Rounds counts what opening encrypted keys takes.
func TestPKCS8Rounds(t *testing.T) {
	made := func(c Cipher, iterations int) []byte {
		der, err := EncryptPKCS8([]byte{0x30, 0}, []byte("secret"), c, iterations)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	_, malformed := PKCS8Rounds([]byte{0x30, 0})
	tests := []struct {
		name string
		der  []byte
		want int
	}{
		{"PBKDF2", made(AES256, 1000), 1000},
		{"PBKDF2, other cipher", made(Ciphers[3], 7), 7},
		{"malformed", []byte{0x30, 0}, 0},
		{"nothing", nil, 0},
	}
	want := map[string]int{
		"openssl-p8-one-iteration.pem": 1,
		"openssl-p8-scrypt.pem":        scryptRounds * (1 << 14) * 8,
		"openssl-p8-sha1-3des.pem":     3 * 2048,
	}
	seedForeign(t, "keys-forky.txtar", ".pem", func(name string, _, der []byte) {
		if rounds, ok := want[name]; ok {
			delete(want, name)
			tests = append(tests, struct {
				name string
				der  []byte
				want int
			}{name, der, rounds})
		}
	})
	if len(want) > 0 || malformed == nil {
		t.Errorf("no files %v, error %v", want, malformed)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := PKCS8Rounds(tt.der); got != tt.want || (err == nil) != (tt.want > 0) {
				t.Errorf("got %d rounds and %v, want %d", got, err, tt.want)
			}
		})
	}
}
