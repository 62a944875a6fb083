package vnc

import (
	"crypto/des"
	"crypto/subtle"
	"math/bits"
)

const challengeSize = 16

// answer encrypts a challenge with a password as VNC does: DES in ECB mode, the
// key being the first eight octets of the password, each with its bits in
// reverse order (RFC 6143, 7.2.2, and errata 4951).
func answer(password []byte, challenge [challengeSize]byte) (out [challengeSize]byte) {
	var key [des.BlockSize]byte
	copy(key[:], password)
	for i := range key {
		key[i] = bits.Reverse8(key[i])
	}
	block, err := des.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	for i := 0; i < challengeSize; i += des.BlockSize {
		block.Encrypt(out[i:i+des.BlockSize], challenge[i:i+des.BlockSize])
	}
	return out
}

// answered tells whether a response is that of the password. No password is
// wrong whatever the response.
func answered(password []byte, challenge, response [challengeSize]byte) bool {
	want := answer(password, challenge)
	return subtle.ConstantTimeCompare(want[:], response[:]) == 1 && len(password) > 0
}
