package creds

import (
	"fmt"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/pki"
)

// The consumers' names, as validate's --for has them.
const (
	QEMUServer    = "qemu-server"
	QEMUClient    = "qemu-client"
	LibvirtServer = "libvirt-server"
	LibvirtClient = "libvirt-client"
)

// ConsumerNames lists the names of all consumers.
func ConsumerNames() []string {
	return []string{QEMUServer, QEMUClient, LibvirtServer, LibvirtClient}
}

// A Consumer is one end of a connection made by one release of QEMU or libvirt,
// with what tells its demands from those of other releases.
type Consumer struct {
	Name     string // [QEMUServer] and so on
	Version  string // of the row: "11.1", "7.2.22", "11.3-3+deb13u3"
	Endpoint Endpoint
	Capabilities
}

// Capabilities are what a release makes of credential files.
type Capabilities struct {
	// Encipherment says which keys' own certificate must allow key
	// encipherment if its key usage is critical.
	Encipherment KeySet

	// ParallelIdentities: after the plain pair those of index 0 to 3 are
	// loaded, up to the first index that has none, and half a pair is an error
	// everywhere.
	ParallelIdentities bool

	// WholeChain: QEMU's check of 10.2, which follows the own file's chain
	// through the CA file up to a self-issued certificate and judges nothing
	// else. Without it the first certificate of the own file must have been
	// issued by one in the CA file, and every authority there is judged.
	WholeChain bool

	// CheckedAnchors is how many certificates of the CA file the sanity check
	// reads, 0 for all.
	CheckedAnchors int

	// DHDeprecated: dh-params.pem draws a warning.
	DHDeprecated bool

	// MLDSA is what Debian's GnuTLS of that time makes of ML-DSA.
	MLDSA pki.GnuTLSMLDSA
}

// A KeySet is a set of kinds of keys.
type KeySet int

// The sets of keys.
const (
	NoKeys      KeySet = iota
	OtherThanEC        // all but ECDSA, X25519 and X448 keys
	AllKeys
)

// has tells whether keys of a kind are in the set.
func (s KeySet) has(a pki.KeyAlgorithm) bool {
	switch a {
	case pki.ECDSA, pki.X25519, pki.X448:
		return s == AllKeys
	}
	return s != NoKeys
}

// A release is a row of the table: the first version of a program with these
// capabilities.
type release struct {
	version string
	branch  bool // a backport: only later versions of the same stable branch have it
	Capabilities
}

// qemuReleases are the releases of QEMU between which loading differs
// (crypto/tlscredsx509.c): 10.2 reads the own file's chain and parallel
// identities and wants no key encipherment any more, which the stable branches
// 7.2 and 10.0 took over.
var qemuReleases = []release{
	{"7.2", false, Capabilities{Encipherment: AllKeys, CheckedAnchors: 16}},
	{"7.2.22", true, Capabilities{CheckedAnchors: 16}},
	{"10.0", false, Capabilities{Encipherment: AllKeys, CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"10.0.7", true, Capabilities{CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"10.2", false, Capabilities{ParallelIdentities: true, WholeChain: true, DHDeprecated: true, MLDSA: pki.MLDSANamed}},
	{"11.1", false, Capabilities{ParallelIdentities: true, WholeChain: true, DHDeprecated: true, MLDSA: pki.MLDSANamed}},
}

// libvirtReleases are those of libvirt (src/rpc/virnettlscert.c,
// virnettlsconfig.c): 11.5 wants no key encipherment of EC keys (commit
// 11867b0224a2), 11.6 of none (8cecd3249e5f), and Debian 13 has both patches in
// its 11.3; 11.10 reads parallel identities.
var libvirtReleases = []release{
	{"9.0", false, Capabilities{Encipherment: AllKeys, CheckedAnchors: 16}},
	{"11.3", false, Capabilities{Encipherment: AllKeys, CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"11.3-3+deb13u3", true, Capabilities{CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"11.5", false, Capabilities{Encipherment: OtherThanEC, CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"11.6", false, Capabilities{CheckedAnchors: 16, MLDSA: pki.MLDSANamed}},
	{"11.10", false, Capabilities{CheckedAnchors: 16, ParallelIdentities: true, MLDSA: pki.MLDSANamed}},
	{"12.8", false, Capabilities{CheckedAnchors: 16, ParallelIdentities: true, MLDSA: pki.MLDSANamed}},
}

func releases(name string) []release {
	switch name {
	case QEMUServer, QEMUClient:
		return qemuReleases
	case LibvirtServer, LibvirtClient:
		return libvirtReleases
	}
	return nil
}

// Consumers lists every row of the table: by name, oldest release first.
func Consumers() []Consumer {
	var all []Consumer
	for _, name := range ConsumerNames() {
		for _, r := range releases(name) {
			all = append(all, r.consumer(name))
		}
	}
	return all
}

func (r release) consumer(name string) Consumer {
	c := Consumer{Name: name, Version: r.version, Capabilities: r.Capabilities}
	if strings.HasSuffix(name, "-server") {
		c.Endpoint = Server
	}
	return c
}

var (
	kindConsumer = finding.Define("consumer-unknown", finding.Error,
		"there is no consumer of this name",
		"name one of "+strings.Join(ConsumerNames(), ", "))
	kindVersion = finding.Define("consumer-version", finding.Error,
		"this version of the consumer is not known",
		"name a version such as 11.1, 7.2.22 or 11.3-3+deb13u3")
)

// ConsumerFor returns the row for a version of a consumer: an upstream one
// ("7.2", "7.2.22") or a Debian package's ("11.3.0-3+deb13u3",
// "1:7.2+dfsg-7+deb12u18"). A version between two rows gets the older one; an
// empty version means the newest. The error is a finding.
func ConsumerFor(name, version string) (Consumer, error) {
	rows := releases(name)
	if rows == nil {
		return Consumer{}, kindConsumer.Found("", fmt.Sprintf("%q", name)).
			WithWant(strings.Join(ConsumerNames(), ", "), "").Usage()
	}
	if version == "" {
		return rows[len(rows)-1].consumer(name), nil
	}
	v, ok := parseVersion(version)
	if ok {
		for _, r := range slices.Backward(rows) {
			row, _ := parseVersion(r.version)
			if !row.after(v) && (!r.branch || row.sameBranch(v)) {
				return r.consumer(name), nil
			}
		}
	}
	return Consumer{}, kindVersion.Found("", fmt.Sprintf("%s %q", name, version)).
		WithWant("a version from "+rows[0].version+" on", "").Usage()
}

// String names the consumer in findings: "QEMU 11.1" or "libvirt 12.8".
func (c Consumer) String() string {
	if c.isLibvirt() {
		return "libvirt " + c.Version
	}
	return "QEMU " + c.Version
}

func (c Consumer) isLibvirt() bool { return strings.HasPrefix(c.Name, "libvirt-") }
