package layout

import (
	"path"
	"slices"
	"strings"

	"virtls/finding"
)

// LibNBD are the clients that are built on libnbd: nbdinfo, nbdcopy. They are no
// service of a host's, so they have no row in the table of services.
const LibNBD Service = "libnbd"

var kindLibNBDNoCA = finding.Define("libnbd-ca-missing", finding.Warning,
	"without a ca-cert.pem in its directories libnbd trusts the public authorities of the machine and shows no certificate",
	"put ca-cert.pem there")

// LibNBD returns what libnbd's clients read unless they are told a directory
// (seen with libnbd 1.14): root /etc/pki/libnbd, others the first of two
// directories in their home that has a ca-cert.pem. A key without its
// certificate or the other way round counts as absent.
func (l Lookup) LibNBD() Found {
	const system = "/etc/pki/libnbd"
	dirs := []string{system}
	if l.Account.UID != 0 {
		dirs = []string{path.Join(l.Account.Home, ".pki/libnbd"), path.Join(l.Account.Home, ".config/pki/libnbd")}
	}
	locations := make([]Location, len(dirs))
	for i, d := range dirs {
		locations[i] = Location{Service: LibNBD, Dir: d, naming: qemuNames, reader: HolderOnly}
	}
	var f Found
	use := Use{Verify: true, Why: []string{"libnbd takes the first ca-cert.pem in " + strings.Join(dirs, ", then in ")}}
	at := slices.IndexFunc(locations, func(loc Location) bool { return exists(l.View, loc.CA()) })
	if at < 0 {
		at = 0
		if meant := slices.IndexFunc(append(dirs, system), func(d string) bool { return exists(l.View, d) }); meant >= 0 {
			f.add(kindLibNBDNoCA.Found(append(dirs, system)[meant], "").WithWant(locations[0].CA(), "libnbd"))
		}
	}
	use.Files = locations[at].Files(Client)
	use.CRL, use.Pairs = locations[at].CRL(), use.Pairs[:1]
	f.Uses = []Use{use}
	return f
}
