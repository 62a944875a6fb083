package main

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"virtls/pki"
	"virtls/tlsengine"
)

// engine makes the end of the connection that the test wants.
func (t *test) engine() (*tlsengine.Engine, error) {
	cfg := &tlsengine.Config{ServerName: t.hostName, PreferPeer: t.cipher == "" && !t.serverPreference, DeferSigning: t.async}
	cfg.Limits.EarlyData = 16384 // as BoringSSL
	for _, set := range []func(*tlsengine.Config) error{
		t.setPolicy, t.setVersions, t.setSuites, t.setGroups, t.setSchemes, t.setIdentities, t.setVerdict, t.setAuthorities, t.setPSK,
	} {
		if err := set(cfg); err != nil {
			return nil, err
		}
	}
	if t.server {
		return tlsengine.Server(cfg)
	}
	return tlsengine.Client(cfg)
}

func (t *test) setVersions(cfg *tlsengine.Config) error {
	cfg.Versions = []tlsengine.Version{}
	for _, v := range []struct {
		version tlsengine.Version
		off     bool
	}{{tlsengine.TLS13, t.noTLS13}, {tlsengine.TLS12, t.noTLS12}} {
		if !v.off && int(v.version) <= t.maxVersion && int(v.version) >= t.minVersion {
			cfg.Versions = append(cfg.Versions, v.version)
		}
	}
	if len(cfg.Versions) == 0 {
		return unimplemented("TLS 1.1 and older")
	}
	return nil
}

// A policy is a set of lists that BoringSSL knows by name
// (SSL_set_compliance_policy). Here it shows that lists are kept to.
type policy struct {
	suites          []tlsengine.Suite
	groups, schemes numbers
}

var policies = map[string]*policy{
	"fips-202205": {
		suites:  []tlsengine.Suite{0x1301, 0x1302, 0xc02b, 0xc02f, 0xc02c, 0xc030},
		groups:  numbers{0x0017, 0x0018},
		schemes: numbers{0x0401, 0x0501, 0x0601, 0x0403, 0x0503, 0x0804, 0x0805, 0x0806},
	},
	"wpa-202304": {
		suites:  []tlsengine.Suite{0x1302, 0xc02c, 0xc030},
		groups:  numbers{0x0018},
		schemes: numbers{0x0501, 0x0601, 0x0503, 0x0805, 0x0806},
	},
}

// setPolicy has a policy's lists in the place of those of other flags.
func (t *test) setPolicy(*tlsengine.Config) error {
	if t.policy == nil {
		return nil
	}
	t.groups, t.schemes = t.policy.groups, t.policy.schemes
	for _, c := range t.credentials {
		c.schemes = t.policy.schemes
	}
	return nil
}

// setSuites has no grammar of OpenSSL's: the strings that tests use are few.
func (t *test) setSuites(cfg *tlsengine.Config) error {
	if t.policy != nil {
		cfg.Suites = t.policy.suites
	}
	if t.cipher == "" {
		return nil
	}
	return unimplemented("OpenSSL's cipher strings, most of them for CBC")
}

func (t *test) setGroups(cfg *tlsengine.Config) error {
	if t.groups == nil {
		t.groups = defaultGroups
	}
	for _, n := range t.groups {
		g := tlsengine.Group(n)
		if !slices.Contains(tlsengine.Groups(), g) {
			return unimplemented(fmt.Sprintf("the group 0x%04x", n))
		}
		cfg.Groups = append(cfg.Groups, g)
	}
	if t.keyShares == nil {
		cfg.KeyShares = 1
		if g := cfg.Groups; len(g) > 1 && g[0].IsHybrid() != g[1].IsHybrid() {
			cfg.KeyShares = 2 // one of each kind
		}
		return nil
	}
	// Shares are for the groups that are preferred, in their order.
	for i, n := range t.keyShares {
		if i >= len(cfg.Groups) || cfg.Groups[i] != tlsengine.Group(n) {
			return unimplemented("shares for other groups than the preferred ones")
		}
	}
	cfg.KeyShares = len(t.keyShares)
	return nil
}

// What BoringSSL accepts and offers by default, which tests count on.
var (
	defaultSchemes = numbers{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}
	defaultGroups  = numbers{0x11ec, 0x001d, 0x0017, 0x0018}
)

func (t *test) setSchemes(cfg *tlsengine.Config) (err error) {
	if t.schemes == nil {
		t.schemes = defaultSchemes
	}
	cfg.Schemes, err = schemesOf(t.schemes)
	return err
}

// schemesOf returns nil for none.
func schemesOf(n numbers) (list []tlsengine.SignatureScheme, err error) {
	for _, v := range n {
		s := tlsengine.SignatureScheme(v)
		if !slices.Contains(tlsengine.Schemes(), s) {
			return nil, unimplemented(fmt.Sprintf("the signature scheme 0x%04x", v))
		}
		list = append(list, s)
	}
	return list, nil
}

// ordered returns the credentials as BoringSSL prefers them: the one without
// -new-... comes last.
func (t *test) ordered() []*credential {
	return append(slices.Clone(t.credentials[1:]), t.credentials[0])
}

func (t *test) setIdentities(cfg *tlsengine.Config) error {
	for _, c := range t.ordered() {
		if c.certFile == "" {
			continue
		}
		id, err := c.identity()
		if err != nil {
			return err
		}
		cfg.Identities = append(cfg.Identities, *id)
	}
	return nil
}

func (c *credential) identity() (*tlsengine.Identity, error) {
	pem, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, err
	}
	id := &tlsengine.Identity{}
	if id.Chain, err = pki.ParseCertificatesPEM(pem); err != nil {
		return nil, err
	}
	if pem, err = os.ReadFile(c.keyFile); err != nil {
		return nil, err
	}
	key, err := pki.ParsePrivateKeyPEM(pem, nil)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key that signs nothing", c.keyFile)
	}
	id.Key, id.MatchIssuer, id.Schemes = signer, c.mustMatchIssuer, tlsengine.Schemes()
	if c.schemes != nil {
		id.Schemes, err = schemesOf(c.schemes)
	}
	return id, err
}

// setVerdict has the peer's certificate judged as the test wants.
func (t *test) setVerdict(cfg *tlsengine.Config) error {
	judged := t.verifyPeer || t.requireClient
	cfg.RequestCertificate = judged
	cfg.VerifyPeer = func(chain []*pki.Certificate) error {
		switch {
		case chain == nil && t.requireClient && !t.verifyPeer:
			return errors.New("the client sent no certificate")
		case chain != nil && judged && t.verifyFail:
			alert := tlsengine.Alert(40) // handshake_failure, by which BoringSSL knows that an application said no
			if t.customVerify {
				alert = 46 // certificate_unknown
			}
			return &tlsengine.Error{Alert: alert, Reason: "the test wants the certificate refused"}
		}
		return nil
	}
	return nil
}

func (t *test) setAuthorities(cfg *tlsengine.Config) (err error) {
	cfg.Authorities, err = names(t.authorities)
	return err
}

// names reads a list of names in DER.
func names(list string) (der [][]byte, err error) {
	if list == "" || list == "<NULL>" || list == "<EMPTY>" {
		return nil, nil
	}
	for _, s := range strings.Split(list, ",") {
		name, err := hex.DecodeString(s)
		if err != nil {
			return nil, err
		}
		der = append(der, name)
	}
	return der, nil
}

// setPSK configures keys: those for the suites of TLS 1.2, and imported ones of
// TLS 1.3.
func (t *test) setPSK(cfg *tlsengine.Config) error {
	var keys []*tlsengine.PSK
	if t.psk != "" {
		if !slices.Contains(cfg.Versions, tlsengine.TLS12) {
			return nil
		}
		keys = append(keys, &tlsengine.PSK{Identity: []byte(t.pskIdentity), Key: []byte(t.psk)})
		cfg.Versions, cfg.PSKAlone = []tlsengine.Version{tlsengine.TLS12}, true
	}
	for _, c := range t.ordered() {
		if c.psk != nil {
			keys = append(keys, &tlsengine.PSK{Identity: c.psk.identity, Key: c.psk.key, Context: c.psk.context, Hash: c.psk.hash, Import: true})
		}
	}
	switch {
	case len(keys) == 0:
		return nil
	case t.server:
		cfg.FindPSK = func(identity []byte) (*tlsengine.PSK, error) {
			for _, k := range keys {
				if bytes.Equal(identity, k.Identity) {
					return k, nil
				}
			}
			return nil, nil
		}
		return nil
	case len(keys) > 1:
		return unimplemented("a client with several keys, of which GnuTLS's servers look at the first only")
	case t.verifyPeer || len(cfg.Identities) > 0:
		return unimplemented("a client that takes a key or a certificate: credential objects have one kind")
	}
	cfg.PSK = keys[0]
	return nil
}

// used returns which credential was used: -1 for the one without -new-..., or
// none.
func (t *test) used(s tlsengine.State) int {
	identities := 0
	for i, c := range t.credentials[1:] {
		if c.psk != nil && s.PSKIdentity != nil && bytes.Equal(c.psk.identity, s.PSKIdentity) {
			return i
		}
		if c.certFile != "" {
			if s.Identity == identities {
				return i
			}
			identities++
		}
	}
	return -1
}

// check compares what was agreed with what the test expects.
func (t *test) check(s tlsengine.State) error {
	x := &t.expect
	if x.peerCertFile != "" {
		pem, err := os.ReadFile(x.peerCertFile)
		if err != nil {
			return err
		}
		want, err := pki.ParseCertificatesPEM(pem)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(s.PeerChain, want, pki.SameCertificate) {
			return errors.New("the peer has another chain than expected")
		}
	}
	if x.authorities != "" {
		want, err := names(x.authorities)
		if err != nil {
			return err
		}
		if s.Request == nil || !slices.EqualFunc(s.Request.Authorities, want, bytes.Equal) {
			return errors.New("the server names other authorities than expected")
		}
	}
	number := func(want, got int) bool { return want == 0 || got == want }
	switch {
	case !number(x.version, int(s.Version)), !number(x.group, int(s.Group)), !number(x.peerScheme, int(s.PeerScheme)), !number(x.suite, int(s.Suite)):
		return fmt.Errorf("%s, %s, %s and %s were agreed, which was not expected", s.Version, s.Suite, s.Group, s.PeerScheme)
	case x.retry && !s.Retried, x.noRetry && s.Retried:
		return fmt.Errorf("hello_retry_request: %t", s.Retried)
	case x.extended && s.Version == tlsengine.TLS12 && !s.ExtendedMasterSecret:
		return errors.New("no extended master secret")
	case x.serverName != "" && s.ServerName != x.serverName, x.noServerName && s.ServerName != "":
		return fmt.Errorf("the server name %q", s.ServerName)
	case x.noPeerCert && s.PeerChain != nil:
		return errors.New("the peer has a certificate")
	case x.credential != -2 && x.credential != t.used(s):
		return fmt.Errorf("credential %d was used", t.used(s))
	}
	return nil
}
