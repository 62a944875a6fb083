package layout

// rules are what one libvirt release does where releases differ. Facts are from
// runs of 9.0, 11.3 and 12.8; what lies between 11.3 and 12.8 is set to 11.10,
// in which the search for files was rewritten for parallel identities.
type rules struct {
	since Version
	// indexed: servercert0.pem to 3 and the settings cert_files and key_files exist.
	indexed bool
	// halfPairsCount: half a pair is looked at and refused. Before, a client
	// takes it for absent and goes on to the next place.
	halfPairsCount bool
	// emptyPathIsNone: an empty path in libvirtd.conf means that nothing is
	// loaded. Since, it is a file that does not exist.
	emptyPathIsNone bool
	// crlOptional: a file that crl_file names may be missing.
	crlOptional bool
	// rdp: there is RDP for guests. 9.0 has none; when between 9.0 and 11.3 it came is not known.
	rdp bool
	// priorities: qemu.conf knows default_tls_priority and those of the services.
	priorities bool
}

var releases = []rules{
	{since: "", emptyPathIsNone: true, crlOptional: true},
	{since: "11.3", emptyPathIsNone: true, crlOptional: true, rdp: true},
	{since: "11.6", emptyPathIsNone: true, crlOptional: true, rdp: true, priorities: true},
	{since: "11.10", indexed: true, halfPairsCount: true, rdp: true, priorities: true},
}

// rulesOf returns the row of a release: the newest that is not above it. An
// unknown version is taken for an old one.
func rulesOf(libvirt Version) rules {
	r := releases[0]
	for _, row := range releases[1:] {
		if libvirt.AtLeast(row.since) {
			r = row
		}
	}
	return r
}
