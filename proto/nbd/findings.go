package nbd

import "virtls/finding"

var (
	kindAddress = finding.Define("nbd-address", finding.Error,
		"an NBD address cannot be read", "nbd://HOST[:PORT]/EXPORT, nbds:// for TLS, nbd+unix:///EXPORT?socket=PATH, or QEMU's driver=nbd,host=HOST,export=EXPORT")
	kindUnreachable = finding.Define("nbd-unreachable", finding.Error,
		"nothing answers at the address of an NBD server", "is the server running, listening there, and let through by firewalls?")
	kindNotNBD = finding.Define("nbd-not-nbd", finding.Error,
		"what answers does not speak NBD, or an old dialect without options", "check the port; NBD's is 10809, and qemu-nbd, nbdkit and nbd-server speak fixed newstyle by default")
	kindNoTLS = finding.Define("nbd-tls-missing", finding.Error,
		"the server offers no TLS, and this end insists on it", "give the server credentials (qemu-nbd --tls-creds, nbdkit --tls=require); without TLS anybody on the way reads and changes the disk")
	kindTLSRequired = finding.Define("nbd-tls-required", finding.Error,
		"the server wants TLS before anything else", "connect by nbds:// or with tls-creds")
	kindUnknown = finding.Define("nbd-export-unknown", finding.Error,
		"the server has no export of that name, or does not show it to this client", "virtls nbd list shows the names; servers with access lists hide what a client may not see")
	kindRefused = finding.Define("nbd-refused", finding.Error,
		"the server refuses what was asked of it", "the text says what, and what the server says about it")
	kindDenied = finding.Define("nbd-denied", finding.Error,
		"the access list of an export keeps it from a client, who is told that there is no such export", "put the client's name on the list if it may come in")
	kindProtocol = finding.Define("nbd-protocol", finding.Error,
		"the connection ended, or the server broke the protocol, before an export could be used", "after a TLS handshake this is how QEMU's servers refuse a client's certificate or name: look there")
)
