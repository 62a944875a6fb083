package explain

// tables hold the entries, by the program that prints their texts. Where two
// programs print the same text there is one entry, in the table of the first.
var tables = [][]Entry{
	sanity, qemuCredentials, qemuSecrets, qemuObjects, qemuSessions, qemuServices, qemuMigration,
	libvirtFiles, libvirtSessions, libvirtDriver, libvirtTools,
	gnutls, gnutlsTools, openssl, others,
}

// because makes a cause: what is wrong, where to see it, what to run.
func because(text, look string, run ...string) Cause {
	return Cause{Text: text, Look: look, Run: run}
}

// in limits a cause to some versions.
func (c Cause) in(versions string) Cause {
	c.Versions = versions
	return c
}

// Places to look at that many causes have in common.
const (
	daemonLog  = "the libvirt daemon's log on the server: journalctl -u libvirtd -u virtproxyd"
	guestLog   = "the guest's log on its host: /var/log/libvirt/qemu/GUEST.log"
	serverSaid = "what the server printed or logged: it knows the reason, and its peer does not get it"
	clientSaid = "what the client printed: it knows the reason, and its peer does not get it"
	commandEnd = "the command line, or the domain's XML that it was made from"
)
