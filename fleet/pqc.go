package fleet

import "fmt"

// pqcOff returns the priority string that keeps a holder's GnuTLS from
// post-quantum algorithms, empty if there is nothing to turn off; why one may
// want it; and whether the holder cannot do without.
//
// GnuTLS 3.8.13 built without leancrypto, as Debian's is, offers ML-DSA and
// cannot verify it, so it breaks off the handshake with every peer that prefers
// an ML-DSA identity. 3.8.9 knows the names and offers nothing; for 3.7.9 they
// are syntax errors. The names of the ML-KEM groups are known to builds with
// leancrypto only.
func (f *File) pqcOff(h *Holder) (priority, why string, needed bool) {
	p := h.Platform
	if f.PQC == PQCOff || !p.MLDSA && p.GnuTLS != "" && !p.GnuTLS.AtLeast("3.8.10") {
		return "", "", false
	}
	priority = "NORMAL"
	if p.SystemPri {
		priority = "@SYSTEM"
	}
	priority += ":-SIGN-ML-DSA-65:-SIGN-ML-DSA-44:-SIGN-ML-DSA-87"
	switch {
	case p.MLDSA:
		return priority + ":-GROUP-X25519-MLKEM768:-GROUP-SECP256R1-MLKEM768:-GROUP-SECP384R1-MLKEM1024",
			"To turn post-quantum algorithms off", false
	case p.GnuTLS == "":
		return priority, "For a GnuTLS of 3.8.10 or later that cannot verify ML-DSA, such as Debian's (before 3.8.9 it is a syntax error)", false
	}
	return priority, fmt.Sprintf("GnuTLS %s offers ML-DSA and cannot verify it: without this there is no talking to hosts that have ML-DSA identities", p.GnuTLS), true
}

// prioritySetting returns what [File.pqcOff] says as a line of a configuration
// file of libvirt: a comment where it is a choice.
func (f *File) prioritySetting(h *Holder, key string) string {
	priority, why, needed := f.pqcOff(h)
	if priority == "" {
		return ""
	}
	line := fmt.Sprintf("%s = %s\n", key, confString(priority))
	if !needed {
		line = "#" + line
	}
	return "# " + why + ".\n" + line
}
