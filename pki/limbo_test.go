package pki

import (
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/publicsuffix"
)

// x509-limbo (C2SP) is a collection of chains with the verdict that each
// deserves. It is not part of this repository; see [limboCases].
type limboCase struct {
	ID            string   `json:"id"`
	Features      []string `json:"features"`
	Kind          string   `json:"validation_kind"`
	Trusted       []string `json:"trusted_certs"`
	Intermediates []string `json:"untrusted_intermediates"`
	Peer          string   `json:"peer_certificate"`
	Time          string   `json:"validation_time"`
	KeyUsage      []string `json:"key_usage"`
	ExtKeyUsage   []string `json:"extended_key_usage"`
	MaxDepth      *int     `json:"max_chain_depth"`
	CRLs          []string `json:"crls"`
	Expected      string   `json:"expected_result"`
	PeerName      *struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	} `json:"expected_peer_name"`
}

// limboCases reads the collection from the file that VIRTLS_LIMBO names, or
// from ../shared/data beside the repository.
func limboCases(t *testing.T) []limboCase {
	t.Helper()
	name := os.Getenv("VIRTLS_LIMBO")
	if name == "" {
		name = filepath.Join("..", "..", "shared", "data", "x509-limbo.json")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Skipf("x509-limbo is not here (%v): set VIRTLS_LIMBO to a copy of limbo.json from https://github.com/C2SP/x509-limbo", err)
	}
	var file struct {
		Testcases []limboCase `json:"testcases"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Testcases
}

// verify judges a case.
func (c limboCase) verify(policy Policy) error {
	o := VerifyOptions{Policy: &policy, PartialChain: true, Purpose: PurposeServer}
	if c.Kind == "CLIENT" {
		o.Purpose = PurposeClient
	}
	var err error
	if c.Time != "" {
		if o.Time, err = time.Parse(time.RFC3339, c.Time); err != nil {
			return err
		}
	}
	if o.Roots, err = limboCertificates(c.Trusted); err != nil {
		return err
	}
	if o.Intermediates, err = limboCertificates(c.Intermediates); err != nil {
		return err
	}
	for _, text := range c.CRLs {
		crls, err := ParseCRLsPEM([]byte(text))
		if err != nil {
			return err
		}
		o.CRLs = append(o.CRLs, crls...)
	}
	leaf, err := limboCertificates([]string{c.Peer})
	if err != nil {
		return err
	}
	for _, u := range c.KeyUsage {
		o.KeyUsage |= 1 << slices.Index(keyUsageNames[:], u)
	}
	if len(c.ExtKeyUsage) > 0 {
		o.Purpose = map[string]asn1.ObjectIdentifier{"serverAuth": PurposeServer, "clientAuth": PurposeClient}[c.ExtKeyUsage[0]]
	}
	if c.MaxDepth != nil {
		if o.MaxIntermediates = *c.MaxDepth; o.MaxIntermediates == 0 {
			o.MaxIntermediates = NoIntermediates
		}
	}
	if c.PeerName != nil {
		o.Hostname = c.PeerName.Value
	}
	_, err = Verify(leaf[0], o)
	return err
}

func limboCertificates(texts []string) (certs []*Certificate, err error) {
	for _, text := range texts {
		c, err := ParseCertificatesPEM([]byte(text))
		if err != nil {
			return nil, err
		}
		certs = append(certs, c...)
	}
	return certs, nil
}

// TestLimbo judges every case twice: by the profile that it is written for, and
// by the one that virtls uses by default. The outcomes that differ from those
// expected are listed in testdata/limbo.json, each with its reason.
func TestLimbo(t *testing.T) {
	cases := limboCases(t)
	data, err := os.ReadFile("testdata/limbo.json")
	if err != nil {
		t.Fatal(err)
	}
	var deviations map[string]map[string]string // run, case, reason
	if err := json.Unmarshal(data, &deviations); err != nil {
		t.Fatal(err)
	}
	runs := map[string]func(limboCase) Profile{
		"own profile": func(c limboCase) Profile {
			group, _, _ := strings.Cut(c.ID, "::")
			return map[string]Profile{"rfc5280": RFC5280, "crl": RFC5280, "webpki": WebPKI, "online": WebPKI}[group]
		},
		"default": func(limboCase) Profile { return PrivatePKI },
	}
	for run, profile := range runs {
		t.Run(run, func(t *testing.T) {
			conformant := 0
			known := deviations[run]
			for _, c := range cases {
				policy := *StrictPolicy()
				policy.Profile = profile(c)
				policy.PublicSuffix = isPublicSuffix
				err := c.verify(policy)
				got := "SUCCESS"
				if err != nil {
					got = "FAILURE"
				}
				reason, deviates := known[c.ID]
				if got == c.Expected {
					conformant++
				}
				switch {
				case got != c.Expected && !deviates:
					t.Errorf("%s: got %s (%v), want %s", c.ID, got, err, c.Expected)
				case got == c.Expected && deviates:
					t.Errorf("%s is as expected (%v), but listed as a deviation: %s", c.ID, err, reason)
				case testing.Verbose():
					t.Logf("%s: %s: %s", c.ID, got, limboWhy(err))
				}
			}
			t.Logf("x509-limbo, %s: %d of %d cases conformant, %d deviations, none skipped", run, conformant, len(cases), len(cases)-conformant)
		})
	}
}

// isPublicSuffix leaves out the suffixes that companies registered for
// themselves: they hold certificates for the names below, Amazon for instance.
func isPublicSuffix(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return icann && suffix == domain
}

func limboWhy(err error) string {
	var ve *VerifyError
	if errors.As(err, &ve) {
		return fmt.Sprintf("%s: %v", ve.Reason(), err)
	}
	return fmt.Sprint(err)
}
