package explain

// libvirtSessions are the texts of connections to libvirt's daemons.
var libvirtSessions = []Entry{
	{
		ID: "libvirt-confirmation", By: "libvirt",
		Texts: []string{"Unable to read TLS confirmation: Input/output error", "Unable to read TLS confirmation: Connection reset by peer", "Unable to read TLS confirmation: End of file", "Unable to read TLS confirmation", "server verification (of our certificate or IP address) failed"},
		Means: "the client is satisfied, and the server hung up instead of saying yes: it did not accept the client, and does not tell why",
		Causes: []Cause{
			because("the client's certificate is from an authority that the server does not have; GnuTLS then does not even send it, and the server's log says \"No certificate was found\"", daemonLog+": Certificate check failed",
				"virtls show CLIENTCERT SERVERCA", "virtls validate --for libvirt-client"),
			because("the client has no certificate, or its user may not read clientkey.pem: for root in /etc/pki/libvirt, for others in ~/.pki/libvirt first", daemonLog+": No certificate was found", "virtls validate --for libvirt-client"),
			because("the client's name is not on tls_allowed_dn_list, or is there in another order than libvirt's: C=...,O=...,CN=..., as virt-pki-query-dn prints it, not certtool -i", daemonLog+": Client's Distinguished Name is not on the list",
				"virtls virt-pki-query-dn CLIENTCERT", "grep -A9 tls_allowed_dn_list /etc/libvirt/libvirtd.conf"),
			because("the client's certificate has expired, was revoked, may not be used by clients (a critical purpose), or has an empty subject", daemonLog+": Certificate check failed", "virtls show CLIENTCERT"),
			because("the two clocks differ, so that the server finds the certificate not yet valid", "both clocks", "date -u"),
			because("the server has too many connections that are not authenticated yet (max_anonymous_clients), or was stopped", daemonLog, "virt-admin server-clients-info libvirtd"),
		},
	},
	{
		ID: "libvirt-confirmation-again", By: "libvirt",
		Texts:    []string{"Unable to read TLS confirmation: Resource temporarily unavailable"},
		Means:    "the client met a record that it did not expect before the server's confirmation",
		Versions: "libvirt 9.0 with GnuTLS 3.7; 12.8 with 3.8.13 is not affected",
		Causes: []Cause{
			because("the server is not libvirt but a proxy or gateway that sends TLS 1.3 session tickets, which a GnuTLS client of that age stumbles over: switch tickets off there", "the program that listens on the port", "openssl s_client -connect HOST:16514 -tls1_3"),
		},
	},
	{
		ID: "libvirt-peer-refused", By: "libvirt",
		Texts: []string{"Failed to verify peer's certificate"},
		Means: "this side does not accept the other's certificate; the reason is a line of its own in this side's log",
		Vague: true,
		Causes: []Cause{
			because("the name in the URI is not among the names of the server's certificate", "the log of the client: Certificate [session] owner does not match the hostname", "LIBVIRT_LOG_OUTPUTS=3:stderr virsh -c qemu+tls://HOST/system uri", "virtls show SERVERCERT"),
			because("the server's certificate is from another authority than the client's CA file", "the log of the client: The certificate hasn't got a known issuer", "LIBVIRT_LOG_OUTPUTS=3:stderr virsh -c qemu+tls://HOST/system uri", "virtls validate --for libvirt-client"),
			because("the server's certificate has expired, or was renewed and the daemon still serves the old one", "the log of the client: The certificate is not trusted", "virtls status", "virt-admin server-update-tls libvirtd"),
			because("the server's certificate may not be used by servers, lacks a key usage that this version demands, or has an empty subject", "the log of the client", "LIBVIRT_LOG_OUTPUTS=3:stderr virsh -c qemu+tls://HOST/system uri", "virtls validate --for libvirt-server --against 9.0"),
			because("in the daemon's log it is about the client's certificate, with the reason in the line before", daemonLog, "virtls show CLIENTCERT"),
		},
	},
	{
		ID: "libvirt-check-failed", By: "libvirt",
		Texts: []string{"Certificate check failed"},
		Means: "this side does not accept the other's certificate; the rest of the line says why",
		Vague: true,
		Causes: []Cause{
			because("the reason is behind the colon", "the log of this side", "virtls show PEERCERT"),
		},
	},
	{
		ID: "libvirt-name-mismatch", By: "libvirt",
		Texts: []string{"Certificate [session] owner does not match the hostname {host}", "Certificate {file} owner does not match the hostname {host}"},
		Means: "the server's certificate is good, but does not have the name or address of the URI",
		Causes: []Cause{
			because("the URI has an address, a short name or a name on another network: the certificate must have exactly that one, an address as IP address among the alternative names", "the names in /etc/pki/libvirt/servercert.pem on the server",
				"virtls show /etc/pki/libvirt/servercert.pem", "virtls validate --hostname {host}", "virtls issue --server --cn HOST --dns NAME --ip ADDRESS", "virtls apply"),
			because("in a peer-to-peer migration it is the name in the destination's URI as the source host sees it", "the destination URI given to virsh migrate", "virsh migrate --live --p2p --tls GUEST qemu+tls://NAME/system"),
			because("the CN is right but there are other names: with any alternative name the CN does not count", "the names in the certificate", "virtls show /etc/pki/libvirt/servercert.pem"),
			because("the daemon still serves the certificate from before the name was added", "the time when it was started", "virt-admin server-update-tls libvirtd"),
		},
	},
	{
		ID: "libvirt-dn-list", By: "libvirt",
		Texts: []string{"Client's Distinguished Name is not on the list of allowed clients", "Client's Distinguished Name is not on the list"},
		Means: "the client's certificate is good, but its name is not on tls_allowed_dn_list of the server",
		Causes: []Cause{
			because("the name is on the list in another order or form: libvirt compares the order of the encoding without blanks, as virt-pki-query-dn prints it; certtool -i prints it backwards, openssl with blanks", "tls_allowed_dn_list in the daemon's configuration",
				"virtls virt-pki-query-dn CLIENTCERT"),
			because("the list was changed, and the daemon not restarted: it is read at the start only", "the time when the daemon was started", "systemctl restart libvirtd"),
			because("the list is empty, which lets nobody in; to let every client of the authority in, take the setting out", "tls_allowed_dn_list in the daemon's configuration", "grep -A9 tls_allowed_dn_list /etc/libvirt/libvirtd.conf"),
			because("a pattern is meant as a regular expression: only * and ? are special", "tls_allowed_dn_list in the daemon's configuration", "virtls virt-pki-query-dn CLIENTCERT"),
		},
	},
	{
		ID: "libvirt-not-x509", By: "libvirt",
		Texts: []string{"Only x509 certificates are supported"},
		Means: "the peer came without an X.509 certificate: libvirt has neither PSK nor anonymous TLS",
		Causes: []Cause{
			because("tls_priority of one side allows other kinds of authentication, or raw public keys", "tls_priority in the URI and in the configuration of both sides", "grep tls_priority /etc/libvirt/libvirtd.conf /etc/libvirt/libvirt.conf"),
		},
	},
	{
		ID: "libvirt-priority", By: "libvirt",
		Texts: []string{"Failed to set TLS session priority to {id}:", "Failed to set TLS session priority"},
		Means: "GnuTLS does not understand tls_priority; the daemon starts all the same and then fails every connection",
		Causes: []Cause{
			because("it is @SYSTEM, as in the comments of libvirt's own files, and this distribution (Debian, Ubuntu) has no system-wide priority file for GnuTLS: take it out or write NORMAL", "tls_priority in the URI, libvirt.conf, libvirtd.conf or virtproxyd.conf",
				"grep tls_priority /etc/libvirt/*.conf", "gnutls-cli --list --priority '@SYSTEM'"),
			because("a keyword is misspelt or newer than this GnuTLS", "the string", "gnutls-cli --list --priority STRING"),
		},
	},
	{
		ID: "libvirt-uri-parameter", By: "libvirt",
		Texts: []string{"Failed to parse value of URI component {id}"},
		Means: "a parameter of the URI wants a number",
		Causes: []Cause{
			because("no_verify and no_sanity are 0 or 1", "the URI", "virsh -c 'qemu+tls://HOST/system?no_verify=1' uri"),
		},
	},
	{
		ID: "libvirt-connection-lost", By: "libvirt",
		Texts: []string{"Cannot recv data: Input/output error", "Cannot recv data: Connection reset by peer", "Cannot write data: Broken pipe", "End of file while reading data: Input/output error", "Cannot recv data: Software caused connection abort", "Cannot recv data:", "Cannot write data: "},
		Means: "the other side closed the connection; libvirt does so without goodbye, even at a clean end",
		Vague: true,
		Causes: []Cause{
			because("in a daemon's log, now and then: a client ended. That is normal", "whether any client complains", "virt-admin server-clients-info libvirtd"),
			because("the client speaks qemu+tcp to the TLS port 16514, or the other way round to 16509", "the URI and its port", "virsh -c qemu+tls://HOST/system uri", "ss -ltnp"),
			because("the daemon refused the client, stopped or crashed", daemonLog, "journalctl -u libvirtd -u virtproxyd -n 50"),
		},
	},
	{
		ID: "libvirt-no-connection", By: "libvirt",
		Texts: []string{"unable to connect to server at {host}: Connection refused", "unable to connect to server at {host}: No route to host", "unable to connect to server at {host}: Connection timed out"},
		Means: "nobody listens on this address and port, or a firewall is in between; certificates are not the matter yet",
		Causes: []Cause{
			because("the TLS port 16514 is not open: libvirtd needs --listen or libvirtd-tls.socket, modular set-ups virtproxyd-tls.socket", "what listens on the server", "ss -ltnp sport = :16514", "systemctl enable --now libvirtd-tls.socket", "systemctl enable --now virtproxyd-tls.socket"),
			because("the daemon did not start, because of its certificates", daemonLog, "journalctl -u libvirtd -u virtproxyd -n 50", "virtls validate --for libvirt-server"),
			because("a firewall: TCP 16514, and 49152 to 49215 for migrations", "the firewall of the server", "nft list ruleset"),
		},
	},
	{
		ID: "libvirt-unknown-host", By: "libvirt",
		Texts: []string{"unable to connect to server at {host}: Name or service not known", "unable to resolve {host}", "Temporary failure in name resolution"},
		Means: "the name leads to no address; certificates are not the matter yet",
		Causes: []Cause{
			because("the name is misspelt, or neither in DNS nor in /etc/hosts of this machine", "/etc/hosts and DNS", "getent hosts NAME"),
		},
	},
	{
		ID: "libvirt-hang", By: "Go clients, packer, terraform",
		Texts: []string{"TLS connections hang", "client hangs after TLS OK", "client hangs after TLS"},
		Means: "the client waits for ever although the handshake succeeded",
		Causes: []Cause{
			because("it does not read the one octet (0x01) that libvirt sends when it has accepted a client, and takes it for the beginning of a message: update the program", "the program's version", "virsh -c qemu+tls://HOST/system uri"),
			because("the port belongs to something that speaks only after the client: use the port of TLS, 16514", "what listens", "ss -ltnp"),
		},
	},
	{
		ID: "libvirt-auth", By: "libvirt",
		Texts: []string{"authentication failed: authentication failed", "authentication failed: Failed to start SASL negotiation", "Failed to start SASL negotiation", "Client's username is not on the list of allowed clients", "authentication unavailable: no polkit agent available"},
		Means: "TLS is up; what fails is the login after it",
		Causes: []Cause{
			because("auth_tls is \"sasl\": user or password are wrong, or a mechanism or keytab is missing", "/etc/sasl2/libvirt.conf, "+daemonLog, "sasldblistusers2 -f /etc/libvirt/passwd.db"),
			because("the user is not on sasl_allowed_username_list", "/etc/libvirt/libvirtd.conf", "grep sasl_allowed_username_list /etc/libvirt/libvirtd.conf"),
			because("polkit does not let this user in", "polkit's rules", "journalctl -u polkit"),
		},
	},
}

// libvirtDriver are the texts of libvirt's QEMU driver about TLS of guests.
var libvirtDriver = []Entry{
	{
		ID: "libvirt-cert-dir", By: "libvirt",
		Texts: []string{"_tls_x509_cert_dir directory {file} does not exist"},
		Means: "qemu.conf names a directory of certificates that is not there, and the daemon's QEMU driver does not start",
		Causes: []Cause{
			because("the directory was never made, or the setting is older than the directory", "/etc/libvirt/qemu.conf", "grep x509_cert_dir /etc/libvirt/qemu.conf", "virtls apply"),
		},
	},
	{
		ID: "libvirt-backup-tls", By: "libvirt",
		Texts: []string{"backup TLS directory not configured", "host migration TLS directory not configured"},
		Means: "TLS was asked for, and there is no directory of certificates for this service",
		Causes: []Cause{
			because("neither the service's directory nor /etc/pki/qemu is there", "/etc/libvirt/qemu.conf", "ls -ld /etc/pki/qemu /etc/pki/libvirt-*", "virtls apply"),
			because("the directory was made after the daemon's start, which is when libvirt looks", "the time when the daemon was started", "systemctl restart libvirtd"),
		},
	},
	{
		ID: "libvirt-tls-hostname", By: "libvirt",
		Texts: []string{"'tlsHostname' field is supported only with NBD disks", "'tlsHostname' field is not supported by this QEMU", "TLS transport is not supported for disk protocol {id}"},
		Means: "the domain's XML asks for TLS, or a name for it, where it does not go",
		Causes: []Cause{
			because("only disks of protocol nbd can have tlsHostname=, and tls='yes' besides", "the domain's XML", "virsh dumpxml GUEST"),
			because("QEMU knows the name for NBD disks since 7.0", "the version", "qemu-system-x86_64 --version"),
		},
	},
	{
		ID: "libvirt-spice-tls", By: "libvirt",
		Texts: []string{"spice secure channels set in XML configuration, but TLS connection is not available", "spice defaultMode secure requested in XML configuration, but TLS connection is not available",
			"spice TLS port set in XML configuration, but TLS is disabled in qemu.conf", "Auto allocation of spice TLS port requested but spice TLS is disabled in qemu.conf"},
		Means: "the domain's XML asks for TLS of SPICE, and spice_tls is off",
		Causes: []Cause{
			because("spice_tls = 1 is missing in qemu.conf, or the port tlsPort in the domain", "/etc/libvirt/qemu.conf and the domain's XML", "grep spice_tls /etc/libvirt/qemu.conf", "virsh dumpxml GUEST"),
		},
	},
	{
		ID: "libvirt-tls-unsupported", By: "libvirt",
		Texts: []string{"TLS migration is not supported with this QEMU binary", "QEMU NBD server does not support TLS transport", "this qemu does not support TLS transport for NBD", "NBD migration with TLS is not supported over UNIX socket"},
		Means: "this QEMU, or this way of migrating, cannot have TLS",
		Causes: []Cause{
			because("QEMU is too old, was built without GnuTLS, or the migration of disks goes over a UNIX socket", "the version", "qemu-system-x86_64 --version", "qemu-system-x86_64 -object help"),
		},
	},
	{
		ID: "libvirt-tls-secret", By: "libvirt",
		Texts: []string{"Secret not found: no secret with matching uuid {id}", "no secret with matching uuid {id}", "malformed TLS secret uuid {id} provided"},
		Means: "a *_tls_x509_secret_uuid of qemu.conf names a secret that libvirt does not have",
		Causes: []Cause{
			because("the secret was not defined on this host, or has no value", "virsh secret-list", "virsh secret-list", "virsh secret-define SECRET.xml", "virsh secret-set-value UUID --file PASSWORDFILE"),
		},
	},
}

// libvirtTools are the texts of virt-pki-validate and virt-pki-query-dn.
var libvirtTools = []Entry{
	{
		ID: "pki-dir-missing", By: "virt-pki-validate",
		Texts: []string{
			"The system PKI dir {file} is usually installed as part of the base filesystem or openssl packages", "The system CA dir {file} is usually installed as part of the base filesystem or openssl packages",
			"The system cert dir {file} is usually installed as part of the libvirt package", "The system key dir {file} is usually installed as part of the libvirt package",
			"Checking if system PKI dir exists", "Checking if system CA dir exists", "Checking if system cert dir exists", "Checking if system key dir exists", "Checking if user PKI base dir exists", "Checking if custom PKI base dir exists",
		},
		Means: "a directory that libvirt needs is not there; not every distribution ships it, whatever the hint says",
		Causes: []Cause{
			because("nobody made the directory: Debian has no /etc/pki at all", "the directories", "virtls apply", "install -d -m 755 /etc/pki/CA /etc/pki/libvirt /etc/pki/libvirt/private"),
		},
	},
	{
		ID: "pki-dir-access", By: "virt-pki-validate",
		Texts: []string{"Checking system PKI dir access", "Checking system CA dir access", "Checking system cert dir access", "Checking system key dir access", "Checking user PKI base dir access", "Checking custom PKI base dir access", "Checking CA cert access", "Checking cert access", "Checking key access",
			"The system PKI dir {file} must be accessible to all users", "The system CA dir {file} must be accessible to all users", "The system cert dir {file} must be accessible to all users", "The system key dir {file} must be accessible to all users",
			"The PKI base dir {file} must not be accessible to other users", "The CA certificate {file} must be accessible to all users", "The CA certificate {file} must not be accessible to other users",
			"The {role} cert {file} must be accessible to all users", "The {role} cert {file} must be restricted to this user", "The {role} key {file} must be"},
		Means: "owner, group or mode are not exactly what virt-pki-validate wants. It is stricter than libvirt, and wants clientkey.pem readable by everybody",
		Causes: []Cause{
			because("the hint in the line has the command; root:qemu 0750 and 0640, as the wiki has them, work too and fail here", "owner and mode", "virtls validate"),
			because("a private key is readable by others", "the mode of the key", "chmod 600 /etc/pki/libvirt/private/serverkey.pem"),
		},
	},
	{
		ID: "pki-file-missing", By: "virt-pki-validate",
		Texts: []string{
			"Checking if CA cert exists", "Checking if cert exists", "Checking if key exists",
			"The machine cannot act as a client or server", "The machine cannot act as a server", "The machine cannot act as a client",
		},
		Means: "the file is not there, so that this machine cannot be a server, a client or either",
		Causes: []Cause{
			because("the file was not put in place, or only an indexed one (servercert0.pem), which virt-pki-validate does not know", "the directories", "ls -lL /etc/pki/CA /etc/pki/libvirt /etc/pki/libvirt/private", "virtls validate"),
		},
	},
	{
		ID: "pki-properties", By: "virt-pki-validate",
		Texts: []string{"Checking cert properties"},
		Means: "virt-pki-validate looks at the authorities and the host's name; the certificate itself, its dates, its purpose and its key it does not look at",
		Causes: []Cause{
			because("the text in brackets says what is wrong; that the line passes means little", "the certificate", "virtls validate"),
		},
	},
	{
		ID: "pki-hostname", By: "virt-pki-validate",
		Texts: []string{"Checking cert hostname match: WARN", "Checking cert hostname match: FAIL"},
		Means: "the server's certificate does not have this machine's own name",
		Causes: []Cause{
			because("the machine's name is short and the certificate has the full one, or clients use another name anyhow: what counts is the name in their URIs", "hostname, hostname -f, the names in the certificate", "virtls show /etc/pki/libvirt/servercert.pem", "virtls validate"),
		},
	},
	{
		ID: "pki-old", By: "virt-pki-validate",
		Texts:    []string{"The CA certificate and the client certificate do not match", "The CA certificate and the server certificate do not match"},
		Means:    "nothing: this version compares the CA's CN with the certificate's O, which are different for nearly everybody",
		Versions: "libvirt before 10.5",
		Causes: []Cause{
			because("the old shell script's test is wrong", "the certificate's issuer", "virtls validate"),
		},
	},
	{
		ID: "query-dn-load", By: "virt-pki-query-dn",
		Texts: []string{"Unable to load certificate, make sure it is in PEM format:", "Failed to get distinguished name:"},
		Means: "the file holds no certificate in PEM form that GnuTLS can use",
		Causes: []Cause{
			because("the file is DER, a key, a request or damaged", "the file", "virtls show FILE", "openssl x509 -inform DER -in FILE -out NEW.pem"),
		},
	},
}
