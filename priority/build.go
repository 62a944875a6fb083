package priority

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtls/finding"
)

// A release counts the releases of GnuTLS that differ in what a string means.
type release int

const (
	r379  release = iota
	r389          // + ML-DSA names, %FORCE_SESSION_HASH, %NO_SHUFFLE_EXTENSIONS, %NO_STATUS_REQUEST, AES-*-SIV-GCM, PBMAC1
	r3813         // + ML-DSA in NORMAL, AES-*-CFB
)

// A Build is a build of GnuTLS: the same string means different things to
// different builds. Take one from [Builds] or [BuildFor] and change its
// fields; the zero Build is none. None is in FIPS mode.
type Build struct {
	Version    string // the release of GnuTLS whose behaviour it is: "3.8.13"
	Leancrypto bool   // built with leancrypto: it computes ML-KEM and ML-DSA, and knows the ML-KEM groups
	SRP        bool   // built with SRP
	SlowAES    bool   // runs without AES instructions: PERFORMANCE puts ChaCha20 first
	release    release
}

// builds are the releases whose behaviour was compared with the real program:
// gnutls-cli of Debian 12, 13 and forky. Debian builds none with leancrypto;
// that row follows the tables of the 3.8.13 release.
var builds = []Build{
	{Version: "3.7.9", SRP: true, release: r379},
	{Version: "3.8.9", release: r389},
	{Version: "3.8.13", release: r3813},
	{Version: "3.8.13", Leancrypto: true, release: r3813},
}

// anyBuild knows what at least one build knows.
var anyBuild = Build{Version: "any", Leancrypto: true, SRP: true, release: r3813}

// Builds returns the builds that are known, oldest first: GnuTLS 3.7.9 (Debian
// 12), 3.8.9 (Debian 13), 3.8.13 (Debian forky) and 3.8.13 with leancrypto.
func Builds() []Build { return slices.Clone(builds) }

const leancryptoSuffix = "+leancrypto"

var kindUnknownBuild = finding.Define("priority-build-unknown", finding.Error,
	"nothing is known of this build of GnuTLS",
	"name a version from 3.7.9 on, such as 3.8.13, 3.8.9-3+deb13u1 or 3.8.13+leancrypto")

// BuildFor returns the build of a version, which may be a package's
// ("3.8.9-3+deb13u1"). A version between two known ones counts as the older of
// them. The suffix "+leancrypto" names a build with post-quantum algorithms.
func BuildFor(version string) (Build, error) {
	upstream, leancrypto := strings.CutSuffix(version, leancryptoSuffix)
	upstream, _, _ = strings.Cut(upstream, "-")
	numbers, ok := versionNumbers(upstream)
	for _, b := range slices.Backward(builds) {
		known, _ := versionNumbers(b.Version)
		if !ok || b.Leancrypto || slices.Compare(numbers, known) < 0 {
			continue
		}
		if leancrypto && b.release < r389 {
			break // GnuTLS could not be built with it yet
		}
		b.Leancrypto = leancrypto
		return b, nil
	}
	return Build{}, kindUnknownBuild.Found("GnuTLS", clip(version)).Usage()
}

func versionNumbers(version string) (numbers []int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return nil, false
	}
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return nil, false
		}
		numbers = append(numbers, int(n))
	}
	return numbers, true
}

// String names the build in messages: "GnuTLS 3.8.13 with leancrypto".
func (b Build) String() string {
	if b.Leancrypto {
		return fmt.Sprintf("GnuTLS %s with leancrypto", b.Version)
	}
	return "GnuTLS " + b.Version
}
