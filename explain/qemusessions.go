package explain

// qemuSessions are the texts of TLS sessions of QEMU, of any service.
var qemuSessions = []Entry{
	{
		ID: "handshake-failed", By: "QEMU, libvirt",
		Texts: []string{"TLS handshake failed"},
		Means: "TLS did not come about; the rest of the line is GnuTLS's reason",
		Vague: true,
		Causes: []Cause{
			because("the two sides have no version, cipher suite or kind of certificate in common, or one does not speak TLS here", "the rest of the line, and the other side's log", "virtls validate"),
		},
	},
	{
		ID: "peer-without-certificate", By: "QEMU, libvirt",
		Texts: []string{"Verify failed: No certificate was found", "Unable to verify TLS peer: No certificate was found", "No certificate peers", "The certificate has no peers", "No certificate was found"},
		Means: "this side verifies its peers, and the peer sent no certificate",
		Causes: []Cause{
			because("the client's certificate is from another authority: GnuTLS keeps back one whose issuer is not among those that the server names, so that a wrong certificate looks like none", "the issuer of the client's certificate, the server's CA file",
				"virtls show CLIENTCERT SERVERCA"),
			because("the client has no certificate: client-cert.pem and client-key.pem (QEMU) or clientcert.pem and clientkey.pem (libvirt) are not in its directory, or only one of the two", "the client's directory", "virtls validate --for qemu-client", "virtls validate --for libvirt-client"),
			because("the client's user may not read its key, which counts as having no certificate", "owner, group and mode on the client", "namei -l CLIENTKEY"),
			because("the client's certificate may not sign (key usage without digitalSignature), or its key is of a kind that the server does not offer, such as RSA towards a server in Go", "the key usage", "virtls show CLIENTCERT"),
			because("the client's certificate was issued by an intermediate that the server does not list, and the intermediate is not behind it in its file", "the client's file", "virtls show CLIENTCERT"),
		},
	},
	{
		ID: "peer-not-verifiable", By: "QEMU, libvirt",
		Texts: []string{"Verify failed:", "Unable to verify TLS peer:"},
		Means: "GnuTLS could not verify the peer at all; the rest of the line is its reason",
		Vague: true,
		Causes: []Cause{
			because("the peer's certificate is malformed or of a kind that this GnuTLS cannot use", "the peer's certificate", "virtls show PEERCERT"),
		},
	},
	{
		ID: "peer-not-trusted", By: "QEMU, libvirt, virt-viewer",
		Texts: []string{"The certificate is not trusted", "Certificate failed validation: The certificate is not trusted"},
		Means: "the peer's certificate does not hold, for a reason other than an unknown issuer, revocation or a weak algorithm",
		Causes: []Cause{
			because("the peer's certificate, or that of an authority above it, has expired or is not valid yet: QEMU and libvirt have no text of its own for that", "the dates of the peer's certificate and of both CA files; both clocks",
				"virtls show PEERCERT CAFILE", "virtls status", "virtls renew", "date -u"),
			because("the peer was renewed on disk but still serves the old certificate, which it read when it started", "the time when the peer was started against that of its files", "virt-admin server-update-tls libvirtd", "virsh domdisplay-reload GUEST"),
			because("the authority was made anew with the same name, so that the signature is not by this one", "the key identifiers", "virtls show PEERCERT CAFILE"),
			because("an intermediate may not issue, or name constraints forbid the peer's names", "the extensions", "virtls validate"),
		},
	},
	{
		ID: "peer-unknown-issuer", By: "QEMU, libvirt",
		Texts: []string{"The certificate hasn't got a known issuer", "Certificate failed validation: The certificate hasn't got a known issuer"},
		Means: "no authority in this side's CA file issued the peer's certificate",
		Causes: []Cause{
			because("the two sides have different authorities: the CA was made anew on one, or each host made its own", "the issuer of the peer's certificate, this side's CA file",
				"virtls show PEERCERT CAFILE", "virtls apply"),
			because("the peer's certificate was issued by an intermediate that neither side has: it belongs behind the certificate in the peer's file, or into this side's CA file", "the peer's file", "virtls show PEERCERT"),
			because("this side reads another CA file than thought: a user's ~/.pki/libvirt comes before /etc/pki, and QEMU has a directory for each service", "what this side reads", "virtls validate"),
			because("the CA file was changed on disk, and this side has the old one in memory", "the time when it was started", "virt-admin server-update-tls libvirtd"),
		},
	},
	{
		ID: "peer-revoked", By: "QEMU, libvirt",
		Texts: []string{"The certificate has been revoked", "Certificate failed validation: The certificate has been revoked"},
		Means: "the peer's certificate is on this side's revocation list",
		Causes: []Cause{
			because("it was revoked: issue another one", "the revocation list against the certificate's serial number", "virtls show PEERCERT ca-crl.pem", "virtls list", "virtls issue"),
		},
	},
	{
		ID: "peer-insecure", By: "QEMU, libvirt",
		Texts: []string{"The certificate uses an insecure algorithm", "Certificate failed validation: The certificate uses an insecure algorithm"},
		Means: "a certificate of the peer's chain is signed with SHA-1 or MD5, or has a key that is too small for this side's policy",
		Causes: []Cause{
			because("the peer's certificate or authority is old, or was made with --hash SHA1 or a key of less than 1024 bits", "signature algorithms and keys", "virtls show PEERCERT CAFILE", "virtls apply"),
			because("this side's priority string or system-wide policy asks for more than the peer has", "priority=, tls_priority, /etc/gnutls/config", "update-crypto-policies --show"),
		},
	},
	{
		ID: "peer-invalid", By: "QEMU, libvirt",
		Texts: []string{"Certificate failed validation: Invalid certificate", "Certificate failed validation", "Invalid certificate"},
		Means: "the peer's certificate does not hold",
		Causes: []Cause{
			because("expired, not valid yet, from another authority, revoked or too weak", "the rest of the log on this side", "virtls show PEERCERT CAFILE"),
		},
	},
	{
		ID: "peer-expired", By: "QEMU, libvirt",
		Texts: []string{"The certificate has expired", "The client certificate [session] has expired", "The server certificate [session] has expired", "The certificate is not yet activated",
			"The client certificate [session] is not yet active", "The server certificate [session] is not yet active"},
		Means: "a certificate that the peer sent is outside its days",
		Causes: []Cause{
			because("it was not renewed, or the renewed one is on disk and the peer still serves the old one", "the dates in the peer's file, and the time when the peer was started",
				"virtls status", "virtls renew", "virt-admin server-update-tls libvirtd", "virsh domdisplay-reload GUEST"),
			because("one of the clocks is wrong", "both clocks", "date -u"),
		},
	},
	{
		ID: "peer-name-unreadable", By: "QEMU, libvirt",
		Texts: []string{"Cannot get client distinguished name", "Failed to get certificate [session] distinguished name", "Failed to get certificate {file} distinguished name"},
		Means: "the peer's certificate has no subject that could be written as text",
		Causes: []Cause{
			because("the subject is empty, with the names among the subject alternative names alone: libvirt refuses such peers always", "the peer's subject", "virtls show PEERCERT", "virtls issue --client --cn NAME"),
			because("an attribute of the subject is an empty string", "the peer's subject", "virtls show PEERCERT"),
		},
	},
	{
		ID: "qemu-name-mismatch", By: "QEMU",
		Texts: []string{"Certificate does not match the hostname {host}"},
		Means: "the server's certificate is good, but does not have the name or address that the client was told to connect to",
		Causes: []Cause{
			because("the client was told an address, a short name or a name on another network: the certificate must have exactly that one; an address counts only as an IP address among the alternative names", "the names in the server's certificate against the name in the text",
				"virtls show SERVERCERT", "virtls validate --hostname {host}", "virtls issue --server --cn HOST --dns NAME --ip ADDRESS"),
			because("for a migration it is the host of the migration URI, which may come from the destination's own host name or from migration_host in qemu.conf", "/etc/libvirt/qemu.conf and /etc/hosts on the destination",
				"virsh migrate --live --tls --tls-destination NAME GUEST qemu+tls://HOST/system"),
			because("the connection goes through a tunnel, a port forward or 127.0.0.1: tell the client which name to look for", "tls-hostname=", "qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=127.0.0.1,tls-creds=tls0,tls-hostname={host}"),
			because("the server still serves the certificate from before the name was added", "the time when the server was started", "virsh domdisplay-reload GUEST"),
		},
	},
	{
		ID: "qemu-no-hostname", By: "QEMU",
		Texts: []string{"No hostname for certificate validation"},
		Means: "the client knows no name that the server's certificate should have",
		Causes: []Cause{
			because("the connection is over a UNIX socket, a file descriptor, exec or vsock: give tls-hostname", commandEnd,
				"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,path=SOCKET,tls-creds=tls0,tls-hostname=NAME",
				"virsh migrate --live --tls --tls-destination NAME GUEST qemu+tls://HOST/system"),
		},
	},
	{
		ID: "qemu-priority", By: "QEMU",
		Texts: []string{"Unable to set TLS session priority {id}:", "Cannot set default TLS session priority {id}:"},
		Means: "GnuTLS does not understand the priority string; QEMU notices that only when the first connection is made",
		Causes: []Cause{
			because("it is @SYSTEM, and this distribution (Debian, Ubuntu) has no system-wide priority file for GnuTLS: leave priority= out or write NORMAL", "/etc/gnutls/config, /etc/gnutls/default-priorities", "gnutls-cli --list --priority '@SYSTEM'"),
			because("a keyword is misspelt, or this version of GnuTLS does not know it: names of ML-DSA and ML-KEM are new", "the string", "gnutls-cli --list --priority STRING"),
			because("nothing is left: the string begins with NONE or takes away all versions or groups", "the string", "gnutls-cli --list --priority STRING"),
		},
	},
	{
		ID: "qemu-session", By: "QEMU",
		Texts: []string{"Cannot initialize TLS session:", "Cannot set session credentials:"},
		Means: "GnuTLS could not make a session of these credentials",
		Vague: true,
		Causes: []Cause{
			because("the rest of the line is GnuTLS's reason: out of memory, or FIPS mode", "the rest of the line", "gnutls-cli --version"),
		},
	},
	{
		ID: "peer-left", By: "QEMU, libvirt, GnuTLS",
		Texts: []string{
			"The TLS connection was non-properly terminated", "Cannot read from TLS channel: The TLS connection was non-properly terminated",
			"Cannot read from TLS channel: Input/output error", "Cannot write to TLS channel: Input/output error",
			"Cannot read from TLS channel: Software caused connection abort", "Cannot write to TLS channel: Software caused connection abort",
			"Software caused connection abort", "Cannot read from TLS channel:", "Cannot write to TLS channel:",
			"Unable to read from socket: Connection reset by peer", "Unable to write to socket: Connection reset by peer", "Unable to write to socket: Broken pipe",
		},
		Means: "the peer closed the connection without saying why. QEMU checks certificates after the handshake and then just closes, so this is what the refused side sees",
		Vague: true,
		Causes: []Cause{
			because("the server demands a certificate of the client, and the client has none or one of another authority: the client's client-cert.pem and client-key.pem; for a migration on the source host", serverSaid,
				"virtls validate --for qemu-client", "virtls show CLIENTCERT SERVERCA"),
			because("the client's certificate has expired, or the server's access list (tls-authz) does not have its name", serverSaid, "virtls show CLIENTCERT", "virtls virt-pki-query-dn CLIENTCERT"),
			because("seen by a server: the client did not accept the server's certificate, because of its name, issuer or dates", clientSaid, "virtls show SERVERCERT", "virtls validate --for qemu-server"),
			because("pre-shared keys: the two sides have different keys for the name", "the line of the name in both keys.psk", "virtls show keys.psk"),
			because("the peer does not speak TLS there, or has nothing to do with it: a port of another service, a load balancer", "what listens on the port", "ss -ltnp"),
			because("the peer ended, crashed or was killed", "the peer's log", "virsh list --all", "dmesg"),
			because("the negotiation took longer than the server's limit of 10 seconds", serverSaid, "qemu-nbd --handshake-limit 30 IMAGE").in("NBD servers of QEMU 10.0 and later"),
		},
	},
	{
		ID: "qemu-bye-failed", By: "QEMU",
		Texts: []string{"TLS termination failed:"},
		Means: "at the end of a multifd migration one side could not say goodbye",
		Causes: []Cause{
			because("the other side closed first, or failed: the reason is in its log", guestLog+" on both hosts", "virsh domjobinfo GUEST --completed"),
		},
	},
}
