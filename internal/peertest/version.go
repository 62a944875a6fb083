package peertest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Program is a piece of software whose version matters to tests.
type Program struct {
	name    string
	command string // prints the version
	pkg     string // the Debian package that holds the command
}

// The programs that have versions.
var (
	QEMU    = Program{"QEMU", "qemu-nbd --version", "qemu-utils"}
	Libvirt = Program{"libvirt", "libvirtd --version", "libvirt-daemon"}
	GnuTLS  = Program{"GnuTLS", "certtool --version", "gnutls-bin"}
	OpenSSL = Program{"OpenSSL", "openssl version", "openssl"}
	Nbdkit  = Program{"nbdkit", "nbdkit --version", "nbdkit"}
)

// A Version says which build of a program a generation has.
type Version struct {
	Upstream string // "7.2.22"
	Package  string // the Debian package's: "1:7.2+dfsg-7+deb12u18+b3"
}

// AtLeast tells whether the upstream version is not older than want ("10.2").
func (v Version) AtLeast(want string) bool {
	return slices.Compare(numbers(v.Upstream), numbers(want)) >= 0
}

func numbers(version string) []int {
	var out []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			panic(fmt.Sprintf("peertest: version %q: want numbers with dots between them", version))
		}
		out = append(out, n)
	}
	return out
}

type versionKey struct {
	Generation
	Program
}

var (
	versions      sync.Map // versionKey to Version
	versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)
)

// Version asks the generation's program, once per test binary, what it is.
func (g Generation) Version(t testing.TB, p Program) Version {
	t.Helper()
	key := versionKey{g, p}
	if v, ok := versions.Load(key); ok {
		return v.(Version)
	}
	program, _, _ := strings.Cut(p.command, " ")
	g.needProgram(t, program)
	r := g.Run(t, Options{}, "sh", "-c", p.command+` && dpkg-query -W -f='\n${Version}' "$0"`, p.pkg)
	lines := strings.Split(r.Stdout, "\n")
	v := Version{Upstream: versionNumber.FindString(lines[0]), Package: lines[len(lines)-1]}
	if r.Code != 0 || v.Upstream == "" {
		t.Fatalf("%s: cannot tell the version of %s: %v", g.Name, p.name, r)
	}
	versions.Store(key, v)
	return v
}
