// Package kex has the key exchanges of TLS: elliptic curves, their hybrids with
// ML-KEM (draft-ietf-tls-ecdhe-mlkem), and finite fields (RFC 7919).
//
// A client makes an [Exchange], sends its share and finishes with the server's;
// a server answers a client's share in one step.
package kex

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"errors"
	"fmt"
	"io"
	"slices"

	"virtls/tlsengine/internal/wire"
)

// An Exchange is a client's half of a key exchange. It is used once.
type Exchange interface {
	// Share returns the value for the peer.
	Share() []byte
	// Finish returns the secret that both sides have, from the peer's share.
	Finish(peer []byte) ([]byte, error)
}

// Groups lists the groups, those worth preferring first.
func Groups() []wire.Group {
	return []wire.Group{
		wire.X25519MLKEM768, wire.SecP256r1MLKEM768, wire.SecP384r1MLKEM1024,
		wire.X25519, wire.P256, wire.P384, wire.P521,
		wire.FFDHE2048, wire.FFDHE3072, wire.FFDHE4096, wire.FFDHE6144, wire.FFDHE8192,
	}
}

// Known tells whether the package has a group.
func Known(g wire.Group) bool { return slices.Contains(Groups(), g) }

// ErrShare means that a peer's share is malformed or not in the group.
var ErrShare = errors.New("the peer's key share is not valid")

// New makes a client's half for a group.
func New(g wire.Group, rand io.Reader) (Exchange, error) {
	switch {
	case curves[g] != nil:
		return newCurve(curves[g], rand)
	case hybrids[g] != nil:
		return newHybrid(hybrids[g], rand)
	case fields[g] != 0:
		return newNamed(fields[g], rand)
	}
	return nil, fmt.Errorf("kex: %s is not there", g)
}

// Respond answers a client's share for a group: the server's share and the
// secret that both sides have.
func Respond(g wire.Group, client []byte, rand io.Reader) (share, secret []byte, err error) {
	if h := hybrids[g]; h != nil {
		return h.respond(client, rand)
	}
	own, err := New(g, rand)
	if err != nil {
		return nil, nil, err
	}
	secret, err = own.Finish(client)
	return own.Share(), secret, err
}

var curves = map[wire.Group]ecdh.Curve{
	wire.P256: ecdh.P256(), wire.P384: ecdh.P384(), wire.P521: ecdh.P521(), wire.X25519: ecdh.X25519(),
}

type curveExchange struct{ key *ecdh.PrivateKey }

func newCurve(c ecdh.Curve, rand io.Reader) (Exchange, error) {
	// Since Go 1.26 GenerateKey takes no other randomness than its own.
	scalar := make([]byte, scalarSizes[c])
	defer clear(scalar)
	for range maxScalars {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, err
		}
		if c == ecdh.P521() {
			scalar[0] &= 1
		}
		if key, err := c.NewPrivateKey(scalar); err == nil {
			return curveExchange{key}, nil
		}
	}
	return nil, errors.New("kex: the source of randomness has no private key")
}

// maxScalars bounds the search for a private key below the curve's order: all
// but one number in four thousand million is one.
const maxScalars = 16

var scalarSizes = map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66, ecdh.X25519(): 32}

func (e curveExchange) Share() []byte { return e.key.PublicKey().Bytes() }

// Finish fails for a point that is not on the curve, and for one of small
// order, as RFC 8446, section 7.4.2 wants.
func (e curveExchange) Finish(peer []byte) ([]byte, error) {
	point, err := e.key.Curve().NewPublicKey(peer)
	if err != nil {
		return nil, ErrShare
	}
	secret, err := e.key.ECDH(point)
	if err != nil {
		return nil, ErrShare
	}
	return secret, nil
}

// A hybrid joins a curve and an ML-KEM. Shares and secrets are put together in
// the same order: the curve first, but for X25519MLKEM768.
type hybrid struct {
	curve     ecdh.Curve
	pointSize int
	kem       kem
	kemFirst  bool
}

// A kem is a parameter set of ML-KEM.
type kem struct {
	publicSize, cipherSize int
	decapsulator           func(seed []byte) (decapsulator, error)
	encapsulate            func(public []byte) (secret, cipher []byte, err error)
}

type decapsulator interface {
	Decapsulate(cipher []byte) ([]byte, error)
	public() []byte
}

type kem768 struct{ *mlkem.DecapsulationKey768 }

func (k kem768) public() []byte { return k.EncapsulationKey().Bytes() }

type kem1024 struct{ *mlkem.DecapsulationKey1024 }

func (k kem1024) public() []byte { return k.EncapsulationKey().Bytes() }

var (
	mlkem768 = kem{mlkem.EncapsulationKeySize768, mlkem.CiphertextSize768,
		func(seed []byte) (decapsulator, error) {
			k, err := mlkem.NewDecapsulationKey768(seed)
			return kem768{k}, err
		},
		func(public []byte) (secret, cipher []byte, err error) {
			k, err := mlkem.NewEncapsulationKey768(public)
			if err != nil {
				return nil, nil, ErrShare
			}
			secret, cipher = k.Encapsulate()
			return secret, cipher, nil
		}}
	mlkem1024 = kem{mlkem.EncapsulationKeySize1024, mlkem.CiphertextSize1024,
		func(seed []byte) (decapsulator, error) {
			k, err := mlkem.NewDecapsulationKey1024(seed)
			return kem1024{k}, err
		},
		func(public []byte) (secret, cipher []byte, err error) {
			k, err := mlkem.NewEncapsulationKey1024(public)
			if err != nil {
				return nil, nil, ErrShare
			}
			secret, cipher = k.Encapsulate()
			return secret, cipher, nil
		}}
)

var hybrids = map[wire.Group]*hybrid{
	wire.X25519MLKEM768:     {ecdh.X25519(), 32, mlkem768, true},
	wire.SecP256r1MLKEM768:  {ecdh.P256(), 65, mlkem768, false},
	wire.SecP384r1MLKEM1024: {ecdh.P384(), 97, mlkem1024, false},
}

// join puts the curve's and the KEM's part in the hybrid's order.
func (h *hybrid) join(point, kem []byte) []byte {
	if h.kemFirst {
		return slices.Concat(kem, point)
	}
	return slices.Concat(point, kem)
}

// split is the reverse of join for a share whose KEM part has a size.
func (h *hybrid) split(share []byte, kemSize int) (point, kem []byte, err error) {
	if len(share) != h.pointSize+kemSize {
		return nil, nil, ErrShare
	}
	if h.kemFirst {
		return share[kemSize:], share[:kemSize], nil
	}
	return share[:h.pointSize], share[h.pointSize:], nil
}

type hybridExchange struct {
	*hybrid
	point Exchange
	key   decapsulator
}

func newHybrid(h *hybrid, rand io.Reader) (Exchange, error) {
	point, err := newCurve(h.curve, rand)
	if err != nil {
		return nil, err
	}
	seed := make([]byte, mlkem.SeedSize)
	defer clear(seed)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, err
	}
	key, err := h.kem.decapsulator(seed)
	return hybridExchange{h, point, key}, err
}

func (e hybridExchange) Share() []byte { return e.join(e.point.Share(), e.key.public()) }

func (e hybridExchange) Finish(peer []byte) ([]byte, error) {
	point, cipher, err := e.split(peer, e.kem.cipherSize)
	if err != nil {
		return nil, err
	}
	a, err := e.point.Finish(point)
	if err != nil {
		return nil, err
	}
	b, err := e.key.Decapsulate(cipher)
	if err != nil {
		return nil, ErrShare
	}
	return e.join(a, b), nil
}

func (h *hybrid) respond(client []byte, rand io.Reader) (share, secret []byte, err error) {
	point, public, err := h.split(client, h.kem.publicSize)
	if err != nil {
		return nil, nil, err
	}
	own, err := newCurve(h.curve, rand)
	if err != nil {
		return nil, nil, err
	}
	a, err := own.Finish(point)
	if err != nil {
		return nil, nil, err
	}
	b, cipher, err := h.kem.encapsulate(public)
	if err != nil {
		return nil, nil, err
	}
	return h.join(own.Share(), cipher), h.join(a, b), nil
}
