package probe

import "virtls/finding"

var (
	kindTarget = finding.Define("probe-target", finding.Error,
		"this is no target of a probe", "write tls://HOST:PORT, an address of NBD such as nbds://HOST/EXPORT, or a URI of libvirt's such as qemu://HOST/system")
	kindUnresolved = finding.Define("probe-unresolved", finding.Error,
		"the name has no address", "correct the name, or add it to the DNS or to /etc/hosts")
	kindNotAllowed = finding.Define("probe-not-allowed", finding.Error,
		"this address may not be probed", "add it with --allow where the exporter is started")
	kindRefused = finding.Define("probe-refused", finding.Error,
		"the connection is refused: nothing listens there, or a firewall says so", "one of the listed causes")
	kindTimeout = finding.Define("probe-timeout", finding.Error,
		"there is no answer to the connection", "one of the listed causes")
	kindUnreachable = finding.Define("probe-unreachable", finding.Error,
		"no connection can be made", "look at the route to the host, and at firewalls")
	kindPlainURI = finding.Define("probe-plain", finding.Error,
		"everything goes over the network unencrypted, and the server does not prove who it is", "use DRIVER+tls:// in the place of DRIVER+tcp://, and turn listen_tcp off")
	kindNotNBD = finding.Define("probe-not-nbd", finding.Error,
		"the service does not speak NBD on this port", "correct the port; NBD's is 10809 unless the server was told otherwise")
	kindNBDPlain = finding.Define("probe-nbd-plain", finding.Error,
		"the NBD server has no TLS: whoever is on the way reads and changes the disk, and whoever reaches it has it", "give it credentials (qemu-nbd --tls-creds, nbdkit --tls=require), or put virtls gateway nbd in front of it and have it listen on a UNIX socket")
	kindNBDOptional = finding.Define("probe-nbd-optional", finding.Error,
		"the NBD server lets in clients without TLS: nobody has to prove anything, and whoever is on the way can make clients do without", "have it demand TLS (nbdkit --tls=require, nbd-server FORCEDTLS, virtls nbd serve without --tls-optional)")
	kindNotVNC = finding.Define("probe-not-vnc", finding.Error,
		"the service does not speak VNC on this port", "correct the port; VNC's is 5900 and the display's number")
	kindVNCOther = finding.Define("probe-vnc-other", finding.Error,
		"the service does not greet as VNC does, but waits for its client's first words", "probe wss://HOST:PORT/ if it wants TLS at once, ws://HOST:PORT/ if it is HTTP: QEMU's websockets are on port 5700 and the display's number; else correct the port")
	kindVNCUnknown = finding.Define("probe-vnc-unknown", finding.Error,
		"the server offers no security type that is known here and fits", "QEMU: tls-creds with an object tls-creds-x509; below a websocket a type without VeNCrypt, which viewers in browsers do not have")
	kindVNCOpen = finding.Define("probe-vnc-open", finding.Error,
		"the VNC server lets everybody in, without TLS: whoever reaches the port has the screen and the keyboard", "libvirt: vnc_tls = 1 and vnc_tls_x509_verify = 1, or vnc_sasl = 1, in qemu.conf; QEMU: -vnc ...,tls-creds=ID; or have it listen on a UNIX socket behind virtls gateway vnc")
	kindVNCPlain = finding.Define("probe-vnc-plain", finding.Error,
		"the VNC server has no TLS: whoever is on the way sees the screen and all that is typed, and can try passwords against what he has heard", "libvirt: vnc_tls = 1 in qemu.conf; QEMU: -vnc ...,tls-creds=ID; or have it listen on a UNIX socket behind virtls gateway vnc")
	kindVNCBeside = finding.Define("probe-vnc-downgrade", finding.Error,
		"the VNC server offers weaker security beside good one: whoever is on the way has clients take it, and who wants to come in chooses it himself", "have the server offer the best alone")
	kindVNCMechanisms = finding.Define("probe-vnc-mechanisms", finding.Error,
		"the VNC server has no SASL mechanism for this connection: without TLS with certificates QEMU takes those alone that encrypt, such as GSSAPI", "use tls-creds-x509 (libvirt: vnc_tls = 1), and mech_list: scram-sha-256 in /etc/sasl2/qemu.conf; else see whether SASL's plugin and accounts are there")
	kindVNCFull = finding.Define("probe-vnc-full", finding.Error,
		"the VNC server ends the connection after the login: it shows its screen to nobody more", "one of the listed causes")
	kindNotWebsocket = finding.Define("probe-not-websocket", finding.Error,
		"the service does not speak HTTP on this port", "correct the port, or probe vnc://HOST:PORT")
	kindWebsocket = finding.Define("probe-websocket", finding.Error,
		"the server does not open a websocket", "correct the path and its parameters")
	kindNotTLS = finding.Define("probe-not-tls", finding.Error,
		"the service does not speak TLS on this port", "turn TLS on for it, or correct the port")
	kindSilent = finding.Define("probe-silent", finding.Error,
		"the server takes the connection and does not answer", "one of the listed causes")
	kindHangs = finding.Define("probe-hangs", finding.Error,
		"the server began the handshake and did not go on", "look at the service on its machine; a firewall that lets only small packets pass does this too (MTU)")
	kindClosed = finding.Define("probe-closed", finding.Error,
		"the server closes the connection in the handshake without saying why", "one of the listed causes; the server's log tells which")
	kindServerWrong = finding.Define("probe-server-wrong", finding.Error,
		"the server's part of the handshake is wrong", "the text says how; a certificate and a key that do not belong together do this, and so does what changes bytes on the way")
	kindNothingShared = finding.Define("probe-nothing-shared", finding.Error,
		"the server accepts nothing of what TLS clients offer", "one of the listed causes; the server's log tells which")
	kindOtherCredentials = finding.Define("probe-other-credentials", finding.Error,
		"server and client have credentials of different kinds", "use the same kind at both ends")
	kindNoSharedVersion = finding.Define("probe-no-version", finding.Error,
		"server and client have no version of TLS in common", "change the priority string of one end")
	kindNoSuite = finding.Define("probe-no-suite", finding.Error,
		"server and client have no cipher suite in common", "change the priority string of one end")
	kindNoGroup = finding.Define("probe-no-group", finding.Error,
		"server and client have no group for the key exchange in common", "change the priority string of one end")
	kindNoScheme = finding.Define("probe-no-signature", finding.Error,
		"this side does not verify the kind of signature that goes with the server's certificate", "change this side's priority string, or the server's key")
	kindKeyRefused = finding.Define("probe-key-refused", finding.Error,
		"the server does not take the pre-shared key: it does not say whether it is the user's name or the key", "one of the listed causes; the server's log tells which")
	kindNoVerify = finding.Define("probe-no-verify", finding.Error,
		"the URI takes every server for the right one", "take no_verify away; a certificate that is refused is to be mended")
	kindNotJudged = finding.Define("probe-not-judged", finding.Warning,
		"the server's certificate was not judged: there is nothing to judge it by", "name credentials with the CA file: --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0")
	kindAnonymous = finding.Define("probe-anonymous", finding.Warning,
		"the sessions of this service are anonymous: whoever is in between reads and changes everything", "use tls-creds-x509 or tls-creds-psk at both ends")
	kindOtherName = finding.Define("probe-name", finding.Warning,
		"the certificate is not for the host that was asked for", "connect by a name that is in it, name that with --tls-hostname, or add this one to the host's names in the fleet file and run virtls apply")
	kindEndsSoon = finding.Define("probe-ends-soon", finding.Warning,
		"a certificate that the server shows ends soon", "virtls renew, then have the service load it")
	kindStale = finding.Define("probe-stale", finding.Error,
		"the server shows another certificate than the file has: it still has the old one in memory", "virt-admin server-update-tls libvirtd (or virtproxyd), which reads the default paths alone; else restart the daemon")
	kindNotAsked = finding.Define("probe-not-asked", finding.Warning,
		"the server asks its clients for no certificate: everybody comes in", "QEMU: tls-creds-x509 asks always; others have a setting to verify peers")
	kindNotDemanded = finding.Define("probe-not-demanded", finding.Warning,
		"the server lets in clients without a certificate", "QEMU: verify-peer=on; libvirtd.conf: tls_no_verify_certificate = 0; or have clients authenticate otherwise (SASL)")
	kindStranger = finding.Define("probe-stranger", finding.Error,
		"the server lets in a certificate that its access list should not have", "set tls-authz, or tls_allowed_dn_list, and restart the service")
	kindClientMissing = finding.Define("probe-client-missing", finding.Error,
		"the server demands a certificate of its clients, and this one has none", "probe with credentials that have a client's certificate and key")
	kindForeignClient = finding.Define("probe-client-foreign", finding.Error,
		"the client's certificate is from an authority that the server does not name: clients keep it back, and the server takes them for ones without", "issue the client's certificate by an authority of the server's CA file, or add the issuer to that file")
	kindClientScheme = finding.Define("probe-client-signature", finding.Error,
		"the server cannot verify signatures with the key of the client's certificate", "change the server's priority string, or issue a certificate with another kind of key (--key-type)")
	kindKeepsRSA = finding.Define("probe-client-rsa", finding.Warning,
		"GnuTLS before 3.8.13 keeps an RSA certificate back from this server: QEMU and virsh of Debian 12 and 13 come without one", "have the server offer PKCS #1 signatures or name no authorities, or use EC certificates")
	kindClientTime = finding.Define("probe-client-expired", finding.Error,
		"the client's certificate has expired", "renew it: virtls renew; or set the clock")
	kindClientUsage = finding.Define("probe-client-usage", finding.Error,
		"the client's certificate is not for clients", "issue it again with the purpose: virtls issue --client")
	kindClientPurpose = finding.Define("probe-client-purpose", finding.Warning,
		"the client's certificate is not for clients; some servers do not look", "issue it again with the purpose: virtls issue --client")
	kindClientRefused = finding.Define("probe-client-refused", finding.Error,
		"the server refuses the client's certificate and does not say why", "one of the listed causes; the server's log tells which")
	kindNoAnswer = finding.Define("probe-no-answer", finding.Error,
		"the libvirt server accepted the client and does not answer its calls", "look into the server's log: journalctl -u libvirtd -u virtproxyd")
	kindNotOpened = finding.Define("probe-not-opened", finding.Error,
		"the libvirt server does not open the URI", "correct the driver or the path of the URI, or start the driver's daemon on the server")
	kindSocket = finding.Define("tls-socket-inactive", finding.Error,
		"libvirt's TLS socket is not active on this machine", "systemctl enable --now virtproxyd-tls.socket, or libvirtd-tls.socket where libvirtd is one daemon")
)
