package layout

// Files are the files that one end of a connection reads, whether or not they
// are there.
type Files struct {
	Service Service
	Role    Role
	Dir     string // where they were looked for; empty if each was named on its own
	CA      string // trust anchors
	CRL     string // empty where the consumer reads none
	DH      string // empty where the consumer reads none
	Pairs   []Pair // in the order in which they are loaded: plain, then 0 to MaxIndex
	// Named tells that a configuration file named the CA and the pairs one by
	// one (libvirtd.conf), CRLNamed that it named the CRL: nothing else is
	// looked at, and what is missing is an error.
	Named, CRLNamed bool
}

// A Pair is a certificate's file and its key's.
type Pair struct {
	Index     int // NoIndex, or 0 to MaxIndex
	Cert, Key string
}

// Files returns what the location's service reads in a role. QEMU's clients
// read no revocation list and no DH parameters (crypto/tlscredsx509.c).
func (l Location) Files(r Role) Files {
	f := Files{Service: l.Service, Role: r, Dir: l.Dir, CA: l.CA()}
	if r == Server || l.Service == Libvirt {
		f.CRL = l.CRL()
	}
	if r == Server && l.Service != Libvirt {
		f.DH = l.DH()
	}
	for i := NoIndex; i <= MaxIndex; i++ {
		f.Pairs = append(f.Pairs, Pair{Index: i, Cert: l.Cert(r, i), Key: l.Key(r, i)})
	}
	return f
}
