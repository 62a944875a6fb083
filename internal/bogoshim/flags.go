package main

import (
	"crypto"
	_ "crypto/sha256" // of imported keys
	_ "crypto/sha512"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A test is what the flags say of one connection (ssl/test/test_config.h in
// BoringSSL).
type test struct {
	port   int
	ipv6   bool
	shimID uint64
	server bool
	async  bool

	resumeCount       int
	expectSessionMiss bool

	minVersion, maxVersion     int
	noTLS12, noTLS13           bool
	cipher                     string
	serverPreference           bool
	groups, keyShares, schemes numbers
	credentials                []*credential // the first comes from flags without -new-...
	hostName                   string
	verifyPeer, requireClient  bool
	customVerify, verifyFail   bool
	authorities                string
	psk, pskIdentity           string
	policy                     *policy

	shimWritesFirst         bool
	initialWrite            string
	repeatInitialWrite      int
	readSize                int
	readWithUnfinishedWrite bool
	differentSizes          bool
	keyUpdate               bool
	keyUpdateBeforeRead     bool
	sendAlert               bool
	shimShutsDown           bool
	checkCloseNotify        bool
	exportSize              int
	exportLabel             string
	exportContext           string
	useExportContext        bool

	expect expectations
}

// expectations are what a handshake must have led to.
type expectations struct {
	version, group, peerScheme, suite int
	retry, noRetry                    bool
	extended                          bool
	serverName                        string
	noServerName                      bool
	peerCertFile                      string
	noPeerCert                        bool
	authorities                       string
	credential                        int // -2 if it does not matter
}

// A credential is what one end proves its identity with.
type credential struct {
	certFile, keyFile string
	schemes           numbers
	mustMatchIssuer   bool
	psk               *importedPSK
}

type importedPSK struct {
	key, identity, context []byte
	hash                   crypto.Hash
}

// numbers is a flag that may be given several times.
type numbers []int

func (n *numbers) String() string { return fmt.Sprint(*n) }

func (n *numbers) Set(s string) error {
	v, err := strconv.Atoi(s)
	*n = append(*n, v)
	return err
}

// A stage is which of a test's connections flags are for.
type stage string

const (
	initial stage = "on-initial-"
	resumed stage = "on-resume-"
)

// stages are the prefixes of flags that are for some connections or processes
// only. There is one process here, and no early data that could be retried.
var stages = []string{string(initial), string(resumed), "on-retry-", "on-handshaker-"}

// parse reads the flags for a stage.
func parse(args []string, want stage) (*test, error) {
	t := &test{initialWrite: "hello", readSize: 512, expect: expectations{credential: -2}}
	t.credentials = []*credential{{}}
	flags := t.flags()
	var own []string
	for len(args) > 0 {
		name := strings.TrimPrefix(args[0], "-")
		name = strings.TrimPrefix(name, "on-shim-")
		mine := true
		for _, prefix := range stages {
			if rest, found := strings.CutPrefix(name, prefix); found {
				name, mine = rest, prefix == string(want)
			}
		}
		f := flags.Lookup(name)
		if f == nil {
			return nil, unimplemented(whyNot(name))
		}
		size := 2
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			size = 1
		}
		if len(args) < size {
			return nil, fmt.Errorf("-%s lacks its value", name)
		}
		if mine {
			own = append(append(own, "-"+name), args[1:size]...)
		}
		args = args[size:]
	}
	if err := flags.Parse(own); err != nil {
		return nil, err
	}
	return t, nil
}

// ignored are flags that ask for another way to call BoringSSL, or for what
// this engine never does.
var ignored = []string{
	"allow-hint-mismatch", "handshake-twice", "implicit-handshake", "no-op-extra-handshake", // of one handshake there is one way
	"no-tls1", "no-tls11", // never there
	"no-ticket", "expect-no-session", "expect-no-session-id", // no tickets, no session ids
	"use-early-callback", "use-old-client-cert-callback", "reverify-on-resume", "use-ticket-callback", "use-ticket-aead-callback",
	"expect-secure-renegotiation", // always: RFC 5746 is obeyed, and there is no renegotiation
	"renegotiate-ignore",          // all that the engine can do with a HelloRequest
	"permute-extensions", "install-ddos-callback",
}

func (t *test) flags() *flag.FlagSet {
	f := flag.NewFlagSet("bogoshim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	for _, name := range ignored {
		f.Bool(name, false, "")
	}
	f.String("expect-msg-callback", "", "") // a trace of BoringSSL's
	f.String("trust-cert", "", "")          // what is tested here is how a verdict is told, not how it is found
	f.IntVar(&t.port, "port", 0, "")
	f.BoolVar(&t.ipv6, "ipv6", false, "")
	f.Uint64Var(&t.shimID, "shim-id", 0, "")
	f.BoolVar(&t.server, "server", false, "")
	f.BoolVar(&t.async, "async", false, "")
	f.IntVar(&t.resumeCount, "resume-count", 0, "")
	f.BoolVar(&t.expectSessionMiss, "expect-session-miss", false, "")
	t.configFlags(f)
	t.credentialFlags(f)
	t.dataFlags(f)
	t.expectFlags(f)
	return f
}

func (t *test) configFlags(f *flag.FlagSet) {
	f.IntVar(&t.minVersion, "min-version", 0, "")
	f.IntVar(&t.maxVersion, "max-version", 0x0304, "")
	f.BoolVar(&t.noTLS12, "no-tls12", false, "")
	f.BoolVar(&t.noTLS13, "no-tls13", false, "")
	f.StringVar(&t.cipher, "cipher", "", "")
	f.BoolVar(&t.serverPreference, "server-preference", false, "")
	f.Var(&t.groups, "curves", "")
	f.Var(&t.keyShares, "key-shares", "")
	f.Var(&t.schemes, "verify-prefs", "")
	f.StringVar(&t.hostName, "host-name", "", "")
	f.BoolVar(&t.verifyPeer, "verify-peer", false, "")
	f.BoolVar(&t.requireClient, "require-any-client-certificate", false, "")
	f.BoolVar(&t.customVerify, "use-custom-verify-callback", false, "")
	f.BoolVar(&t.verifyFail, "verify-fail", false, "")
	f.StringVar(&t.authorities, "use-client-ca-list", "", "")
	f.StringVar(&t.psk, "psk", "", "")
	f.StringVar(&t.pskIdentity, "psk-identity", "", "")
	for name, p := range policies {
		f.BoolFunc(name, "", func(string) error { t.policy = p; return nil })
	}
}

func (t *test) credentialFlags(f *flag.FlagSet) {
	last := func() *credential { return t.credentials[len(t.credentials)-1] }
	add := func(c *credential) func(string) error {
		return func(string) error { t.credentials = append(t.credentials, c); return nil }
	}
	f.BoolFunc("new-x509-credential", "", func(s string) error { return add(&credential{})(s) })
	f.BoolFunc("new-psk-credential", "", func(s string) error { return add(&credential{psk: &importedPSK{}})(s) })
	f.Func("cert-file", "", func(s string) error { last().certFile = s; return nil })
	f.Func("key-file", "", func(s string) error { last().keyFile = s; return nil })
	f.Func("signing-prefs", "", func(s string) error { return last().schemes.Set(s) })
	f.BoolFunc("must-match-issuer", "", func(string) error { last().mustMatchIssuer = true; return nil })
	bytes := func(name string, field func(*importedPSK) *[]byte) {
		f.Func(name, "", func(s string) (err error) {
			if last().psk == nil {
				return errors.New("without -new-psk-credential")
			}
			*field(last().psk), err = base64.StdEncoding.DecodeString(s)
			return err
		})
	}
	bytes("psk-importer-key", func(p *importedPSK) *[]byte { return &p.key })
	bytes("psk-importer-identity", func(p *importedPSK) *[]byte { return &p.identity })
	bytes("psk-importer-context", func(p *importedPSK) *[]byte { return &p.context })
	f.BoolFunc("psk-importer-sha256", "", func(string) error { last().psk.hash = crypto.SHA256; return nil })
	f.BoolFunc("psk-importer-sha384", "", func(string) error { last().psk.hash = crypto.SHA384; return nil })
}

func (t *test) dataFlags(f *flag.FlagSet) {
	f.BoolVar(&t.shimWritesFirst, "shim-writes-first", false, "")
	f.StringVar(&t.initialWrite, "shim-initial-write", t.initialWrite, "")
	f.IntVar(&t.repeatInitialWrite, "repeat-shim-initial-write", 1, "")
	f.IntVar(&t.readSize, "read-size", t.readSize, "")
	f.BoolVar(&t.readWithUnfinishedWrite, "read-with-unfinished-write", false, "")
	f.BoolVar(&t.differentSizes, "write-different-record-sizes", false, "")
	f.BoolVar(&t.keyUpdate, "key-update", false, "")
	f.BoolVar(&t.keyUpdateBeforeRead, "key-update-before-read", false, "")
	f.BoolVar(&t.sendAlert, "send-alert", false, "")
	f.BoolVar(&t.shimShutsDown, "shim-shuts-down", false, "")
	f.BoolVar(&t.checkCloseNotify, "check-close-notify", false, "")
	f.IntVar(&t.exportSize, "export-keying-material", 0, "")
	f.StringVar(&t.exportLabel, "export-label", "", "")
	f.StringVar(&t.exportContext, "export-context", "", "")
	f.BoolVar(&t.useExportContext, "use-export-context", false, "")
}

func (t *test) expectFlags(f *flag.FlagSet) {
	x := &t.expect
	f.IntVar(&x.version, "expect-version", 0, "")
	f.IntVar(&x.group, "expect-curve-id", 0, "")
	f.IntVar(&x.peerScheme, "expect-peer-signature-algorithm", 0, "")
	f.IntVar(&x.suite, "expect-cipher", 0, "")
	f.IntVar(&x.suite, "expect-cipher-aes", 0, "") // the processors that Go's AES is fast on
	f.Int("expect-cipher-no-aes", 0, "")
	f.BoolVar(&x.retry, "expect-hrr", false, "")
	f.BoolVar(&x.noRetry, "expect-no-hrr", false, "")
	f.BoolVar(&x.extended, "expect-extended-master-secret", false, "")
	f.StringVar(&x.serverName, "expect-server-name", "", "")
	f.BoolVar(&x.noServerName, "expect-no-server-name", false, "")
	f.StringVar(&x.peerCertFile, "expect-peer-cert-file", "", "")
	f.BoolVar(&x.noPeerCert, "expect-no-peer-cert", false, "")
	f.IntVar(&x.credential, "expect-selected-credential", x.credential, "")
	f.Int("expect-total-renegotiations", 0, "")
	f.Bool("expect-verify-result", false, "")
	f.StringVar(&x.authorities, "expect-client-ca-list", "", "")
}

// reasons say why the engine has no use for flags, by a part of their names.
var reasons = []struct{ part, why string }{
	{"dtls", "DTLS"}, {"mtu", "DTLS"}, {"timeout-duration", "DTLS"}, {"srtp", "DTLS"},
	{"quic", "QUIC"},
	{"ech", "Encrypted Client Hello"},
	{"rpk", "raw public keys"}, {"cert-types", "raw public keys"}, {"certificate-type", "raw public keys"},
	{"ocsp", "OCSP stapling"}, {"signed-cert-timestamps", "signed certificate timestamps"},
	{"early-data", "early data"}, {"early-write", "early data"},
	{"alpn", "ALPN"}, {"alps", "ALPN"}, {"application-settings", "ALPN"}, {"npn", "ALPN"}, {"next-proto", "ALPN"},
	{"channel-id", "channel id, an extension of Google's"},
	{"delegated", "delegated credentials"},
	{"pake", "PAKE"}, {"spake2", "PAKE"},
	{"trust-anchor", "trust anchor identifiers"}, {"cert-properties", "trust anchor identifiers"},
	{"cert-compression", "certificate compression"},
	{"renegotiat", "renegotiation"},
	{"ticket", "session resumption"}, {"session", "session resumption"}, {"resum", "session resumption"}, {"sha256-client-cert", "session resumption"},
	{"cnsa", "policies that want ML-KEM-1024 without a curve"},
	{"padding", "a draft for padding of servers"},
	{"false-start", "False Start"},
	{"cbc", "CBC"},
	{"tls-unique", "tls-unique, which RFC 9266 replaces"},
	{"jdk11", "a way around a mistake of JDK 11 that no virtualization host has"},
	{"peek", "reading ahead without taking: a caller's buffer does that"},
}

// whyNot says why a flag is not there: what it is about, or that it is one of
// BoringSSL's own programming interface.
func whyNot(name string) string {
	for _, r := range reasons {
		if strings.Contains(name, r.part) {
			return r.why
		}
	}
	return "BoringSSL's programming interface: -" + name
}
