// Package scan finds out what a TLS server accepts: versions from SSL 3.0 to TLS
// 1.3, cipher suites, CBC and worse included, and groups. It sends ClientHellos
// of its own making and goes no further than the ServerHello, so that the server
// never has a session.
package scan

import (
	"context"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/tlsengine/internal/wire"
)

// A Suite is a cipher suite.
type Suite struct {
	ID   uint16 `json:"-"`
	Name string `json:"name"` // by IANA's registry
}

// Suites lists the suites that a scan of a version offers.
func Suites(v Version) (list []Suite) {
	for _, s := range suites {
		switch is13 := s.ID>>8 == 0x13; {
		case is13 != (v == TLS13):
		case v < TLS12 && s.needsTLS12():
		default:
			list = append(list, s)
		}
	}
	return list
}

// needsTLS12 tells whether a suite came with TLS 1.2: those with an AEAD and
// those with a hash of the SHA-2 family for CBC, some of which OpenSSL takes
// in earlier versions too.
func (s Suite) needsTLS12() bool {
	for _, part := range []string{"_GCM_", "_CCM", "_POLY1305"} {
		if strings.Contains(s.Name, part) {
			return true
		}
	}
	return false
}

// Class is what a suite asks of both ends to know each other.
type Class string

// The classes.
const (
	Certificates Class = "certificates"
	PSK          Class = "pre-shared keys"
	Anonymous    Class = "anonymous"
	SRP          Class = "passwords (SRP)"
)

// Class returns the suite's class. The suites of TLS 1.3 leave it open.
func (s Suite) Class() Class {
	switch {
	case strings.Contains(s.Name, "_anon_"):
		return Anonymous
	case strings.Contains(s.Name, "PSK"):
		return PSK
	case strings.Contains(s.Name, "_SRP_"):
		return SRP
	}
	return Certificates
}

// A VersionResult is what a server accepts of a version.
type VersionResult struct {
	Version  string   `json:"version"`
	Accepted bool     `json:"accepted"`
	Refusal  string   `json:"refusal,omitempty"` // how it refuses a version that it does not accept, or the last offer
	Suites   []Suite  `json:"suites,omitempty"`  // in the order in which the server takes them when all are offered
	Groups   []string `json:"groups,omitempty"`
}

// A Result is what a server accepts.
type Result struct {
	Versions []VersionResult   `json:"versions"` // newest first
	Findings []finding.Finding `json:"-"`
	Hellos   int               `json:"hellos"` // how many were sent
}

// versions are scanned in this order.
var versions = []Version{TLS13, TLS12, TLS11, TLS10, SSL30}

// groups are what is offered; the ML-KEM hybrids first, as clients do.
var groups = []Group{
	wire.X25519MLKEM768, wire.SecP256r1MLKEM768, wire.SecP384r1MLKEM1024, wire.X25519, wire.P256, wire.P384, wire.P521, x448,
	wire.FFDHE2048, wire.FFDHE3072, wire.FFDHE4096, wire.FFDHE6144, wire.FFDHE8192, brainpool256, brainpool384, brainpool512, secp224r1, secp256k1, secp192r1,
}

// Groups that the engine does not have.
const (
	secp192r1    Group = 0x0013
	secp224r1    Group = 0x0015
	secp256k1    Group = 0x0016
	brainpool256 Group = 0x001a
	brainpool384 Group = 0x001b
	brainpool512 Group = 0x001c
	x448         Group = 0x001e
)

var groupNames = map[Group]string{
	secp192r1: "secp192r1", secp224r1: "secp224r1", secp256k1: "secp256k1", x448: "x448",
	brainpool256: "brainpoolP256r1", brainpool384: "brainpoolP384r1", brainpool512: "brainpoolP512r1",
}

func groupName(g Group) string {
	if name, ok := groupNames[g]; ok {
		return name
	}
	return g.String()
}

// schemes are offered in every hello of a version that has them.
var schemes = []SignatureScheme{
	wire.ECDSAP256, wire.ECDSAP384, wire.ECDSAP521, wire.Ed25519, wire.Ed448, wire.RSAPSSSHA256, wire.RSAPSSSHA384, wire.RSAPSSSHA512,
	wire.PSSPSSSHA256, wire.PSSPSSSHA384, wire.PSSPSSSHA512, wire.RSAPKCS1SHA256, wire.RSAPKCS1SHA384, wire.RSAPKCS1SHA512,
	wire.MLDSA44, wire.MLDSA65, wire.MLDSA87, wire.RSAPKCS1SHA1, wire.ECDSASHA1, 0x0402, 0x0202, // DSA
}

// Scan finds out what a server accepts. progress, which may be nil, is called
// with each version before it is scanned. The error is that the server could not
// be reached or does not speak TLS.
func Scan(ctx context.Context, dial Dialer, progress func(version string)) (*Result, error) {
	s := scanner{dial: dial, result: &Result{}}
	for _, v := range versions {
		if progress != nil {
			progress(v.String())
		}
		if err := s.version(ctx, v); err != nil {
			return s.result, err
		}
	}
	s.result.judge()
	return s.result, nil
}

type scanner struct {
	dial   Dialer
	result *Result
}

func (s *scanner) try(ctx context.Context, o Offer) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	s.result.Hellos++
	return Try(ctx, s.dial, o)
}

// version offers everything, and again without what was chosen, until nothing is.
func (s *scanner) version(ctx context.Context, v Version) error {
	r := VersionResult{Version: v.String()}
	left := Suites(v)
	for len(left) > 0 {
		a, err := s.try(ctx, Offer{Version: v, Suites: left, Groups: groups})
		if err != nil {
			return err
		}
		if !a.Accepted {
			r.Refusal = a.Refusal
			break
		}
		i := slices.IndexFunc(left, func(s Suite) bool { return s.ID == a.Suite })
		r.Accepted, r.Suites = true, append(r.Suites, left[i])
		left = slices.Delete(slices.Clone(left), i, i+1)
	}
	if r.Accepted && v >= TLS12 {
		if err := s.groups(ctx, v, &r); err != nil {
			return err
		}
	}
	s.result.Versions = append(s.result.Versions, r)
	return nil
}

// groups offers one group after the other. In TLS 1.2 it does so with suites
// that need one, which are those of elliptic curves.
func (s *scanner) groups(ctx context.Context, v Version, r *VersionResult) error {
	var with []Suite
	for _, suite := range r.Suites {
		if v == TLS13 || strings.Contains(suite.Name, "ECDH") {
			with = append(with, suite)
		}
	}
	if len(with) == 0 {
		return nil
	}
	for _, g := range groups {
		if v == TLS12 && (g.IsHybrid() || g.IsFFDHE()) {
			continue
		}
		a, err := s.try(ctx, Offer{Version: v, Suites: with, Groups: []Group{g}})
		if err != nil {
			return err
		}
		if a.Accepted {
			r.Groups = append(r.Groups, groupName(g))
		}
	}
	return nil
}

// Groups lists the groups that a scan offers.
func Groups() []Group { return slices.Clone(groups) }
