package schedule

import (
	"crypto"
	"crypto/hmac"
	"encoding/binary"
	"slices"
)

// MasterSize is the size of TLS 1.2's master secret.
const MasterSize = 48

// Randoms are the random values of both hellos.
type Randoms struct{ Client, Server [32]byte }

// PRF is TLS 1.2's pseudorandom function (RFC 5246, section 5).
func PRF(h crypto.Hash, secret []byte, label string, seed []byte, size int) []byte {
	seed = append([]byte(label), seed...)
	mac := hmac.New(h.New, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < size; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:size]
}

// Master12 derives the master secret from the randoms (RFC 5246, section 8.1).
func Master12(h crypto.Hash, premaster []byte, r Randoms) []byte {
	return PRF(h, premaster, "master secret", slices.Concat(r.Client[:], r.Server[:]), MasterSize)
}

// ExtendedMaster12 derives the master secret from the hash of the handshake up
// to ClientKeyExchange (RFC 7627, section 4).
func ExtendedMaster12(h crypto.Hash, premaster, transcript []byte) []byte {
	return PRF(h, premaster, "extended master secret", transcript, MasterSize)
}

// Finished12 returns the content of a Finished message (RFC 5246, section 7.4.9).
func Finished12(h crypto.Hash, master []byte, client bool, transcript []byte) []byte {
	label := "server finished"
	if client {
		label = "client finished"
	}
	return PRF(h, master, label, transcript, 12)
}

// Block12 returns the keys and fixed parts of nonces of both directions for an
// AEAD suite (RFC 5246, section 6.3).
func Block12(h crypto.Hash, master []byte, r Randoms, keySize, ivSize int) (clientKey, serverKey, clientIV, serverIV []byte) {
	block := PRF(h, master, "key expansion", slices.Concat(r.Server[:], r.Client[:]), 2*keySize+2*ivSize)
	cut := func(n int) []byte {
		part := block[:n:n]
		block = block[n:]
		return part
	}
	return cut(keySize), cut(keySize), cut(ivSize), cut(ivSize)
}

// Export12 returns keying material for an application (RFC 5705, section 4).
// A nil context is none, which is not the same as an empty one.
func Export12(h crypto.Hash, master []byte, r Randoms, label string, context []byte, size int) []byte {
	seed := slices.Concat(r.Client[:], r.Server[:])
	if context != nil {
		seed = binary.BigEndian.AppendUint16(seed, uint16(len(context)))
		seed = append(seed, context...)
	}
	return PRF(h, master, label, seed, size)
}

// PSKPremaster joins the result of a key exchange with a pre-shared key (RFC
// 4279, section 2; RFC 5489, section 2). other is nil for a key alone.
func PSKPremaster(other, psk []byte) []byte {
	if other == nil {
		other = make([]byte, len(psk))
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(len(other)))
	out = append(out, other...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(psk)))
	return append(out, psk...)
}
