package explain

// qemuServices are the texts of NBD, VNC, character devices and SPICE.
var qemuServices = []Entry{
	{
		ID: "nbd-tls-required", By: "QEMU, libnbd, nbdkit",
		Texts: []string{
			"TLS negotiation required before option", "Did you forget a valid tls-creds?", "Option {id} not permitted before TLS", "Option 0x{id} not permitted before TLS",
			"server requires TLS encryption first", "non-TLS client tried to connect in --tls=require mode",
		},
		Means: "the NBD server speaks TLS only, and the client did not ask for it",
		Causes: []Cause{
			because("the client has no tls-creds=: an nbd:// URI cannot carry them; use --image-opts or JSON", "the client's command line",
				"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=HOST,port=10809,tls-creds=tls0"),
			because("libnbd, nbdcopy and nbdinfo: write nbds:// instead of nbd://", "the URI", "nbdinfo 'nbds://HOST?tls-certificates=DIR'"),
			because("libvirt: the disk lacks tls='yes', and nbd_tls in qemu.conf is 0", "the domain's XML", "grep nbd_tls /etc/libvirt/qemu.conf"),
		},
	},
	{
		ID: "nbd-no-tls", By: "QEMU, nbdkit",
		Texts: []string{
			"Server don't support STARTTLS option", "Server does not support STARTTLS", "Denied by server for option 5 (starttls)", "Invalid parameters for option 5 (starttls)",
			"Server lacks support for option 5 (starttls)", "Server answered option 5 (starttls) with unexpected reply", "Option 5 ('starttls') response length is {n} (it should be zero)", "TLS not configured",
		},
		Means: "the client has credentials, and the NBD server does not do TLS",
		Causes: []Cause{
			because("the server was started without --tls-creds (qemu-nbd), tls-creds (nbd-server-start) or --tls=on (nbdkit)", "the server's command line",
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu,endpoint=server --tls-creds tls0 IMAGE"),
			because("nbdkit: --tls=on without readable certificates falls back to none only with --tls=off; it looks in /etc/pki/nbdkit or --tls-certificates", "what nbdkit prints with --verbose", "nbdkit --tls=require --tls-certificates=DIR --dump-config"),
			because("another server listens on this port, or one that is no NBD server of the newer kind", "what listens there", "ss -ltnp"),
		},
	},
	{
		ID: "nbd-negotiation-failed", By: "QEMU",
		Texts: []string{"option negotiation failed:"},
		Means: "an NBD server gave a client up; the rest of the line says why",
		Vague: true,
		Causes: []Cause{
			because("the client did not accept the server, or the server not the client: both logs together tell", clientSaid, "virtls validate"),
		},
	},
	{
		ID: "nbd-tls-twice", By: "QEMU",
		Texts: []string{"TLS already enabled", "option 'starttls' has unexpected length", "Unknown client flags {id} received", "Unsupported option 0x5"},
		Means: "the NBD client does not keep to the protocol while it asks for TLS",
		Causes: []Cause{
			because("the client is a proxy or a program of one's own that asks for TLS a second time or sends something along; clients must be of the fixed newstyle", "the client's program and version", "qemu-nbd --list -b HOST -p 10809 --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0"),
		},
	},
	{
		ID: "nbd-export", By: "QEMU, nbdkit",
		Texts: []string{"export {id} not present"},
		Means: "TLS is up; the server has no export of this name",
		Causes: []Cause{
			because("the export's name is another, often the empty one", "the server's -x or --export-name", "qemu-nbd --list -b HOST -p 10809 --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0"),
		},
	},
	{
		ID: "nbd-uri", By: "QEMU",
		Texts: []string{"Unknown protocol 'nbds'", "No valid URL specified"},
		Means: "QEMU's nbd:// URIs cannot ask for TLS, and there is no nbds://",
		Causes: []Cause{
			because("the URI comes from libnbd's tools: QEMU needs --image-opts or JSON", "the command line",
				"qemu-img info --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --image-opts driver=nbd,host=HOST,port=10809,tls-creds=tls0"),
		},
	},
	{
		ID: "nbd-tls-options", By: "QEMU",
		Texts: []string{
			"--tls-hostname is not permitted without --tls-creds", "TLS is not supported with a host device", "TLS hostname is only supported with export list", "Failed to get TLS creds:", "Invalid handshake limit {id}",
		},
		Means: "qemu-nbd's options do not go together",
		Causes: []Cause{
			because("--tls-creds is missing or wrong; a kernel device (-c) cannot have TLS; a host name is for clients, which qemu-nbd is only with --list", "the command line",
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu,endpoint=server --tls-creds tls0 IMAGE"),
		},
	},
	{
		ID: "vnc-password-options", By: "QEMU",
		Texts: []string{"'password' flag is redundant with 'password-secret'"},
		Means: "VNC got two kinds of passwords",
		Causes: []Cause{
			because("password=on waits for set_password, password-secret= names a secret: one of them is enough", commandEnd, "qemu-system-x86_64 -object secret,id=vnc,file=PASSWORDFILE -vnc :1,tls-creds=tls0,password-secret=vnc"),
		},
	},
	{
		ID: "vnc-security-types", By: "noVNC, virt-viewer, VNC clients",
		Texts: []string{"Unsupported security types", "Unsupported security type", "Failed to negotiate security type with server", "No matching auth scheme: allowed types", "VeNCrypt Plain subtype not offered"},
		Means: "client and VNC server have no way of authentication in common: QEMU offers exactly one, 260 (X509None), 261 (X509Vnc), 263 (X509SASL) or 257, 258, 264 with anonymous credentials",
		Causes: []Cause{
			because("the client runs in a browser: it cannot do TLS inside VNC (VeNCrypt). Use QEMU's websocket= with wss, or a gateway that speaks VeNCrypt to QEMU", "the client", "qemu-system-x86_64 -vnc :1,websocket=on,tls-creds=tls0"),
			because("the client knows plain VNC passwords only; take one that knows VeNCrypt with X.509: virt-viewer, gtk-vnc, TigerVNC", "the client's version", "remote-viewer vnc://HOST:5901"),
			because("type 262 (X509Plain) is not offered by QEMU but by another VNC server", "what listens there", "ss -ltnp"),
			because("the client did not accept the server's certificate and says so in this way", "the client's CA file: ~/.pki/CA/cacert.pem or /etc/pki/CA/cacert.pem", "virtls show SERVERCERT CAFILE"),
		},
	},
	{
		ID: "vnc-sasl", By: "QEMU, libvirt",
		Texts: []string{"No worthy mechs found", "SASL(-4): no mechanism available"},
		Means: "TLS is up; client and server have no SASL mechanism in common",
		Causes: []Cause{
			because("over a websocket QEMU does not tell SASL of TLS, so that PLAIN and SCRAM disappear from the list", "whether the client uses wss", "cat /etc/sasl2/qemu.conf"),
			because("the mechanism's plug-in is not installed on one side, or mech_list does not name it", "/etc/sasl2/qemu.conf, /etc/sasl2/libvirt.conf", "saslpluginviewer"),
			because("without TLS only mechanisms that encrypt by themselves are offered", "whether tls-creds= or listen_tls is set", "virtls validate"),
		},
	},
	{
		ID: "chardev-tls-options", By: "QEMU",
		Texts: []string{
			"'tls_creds' option is incompatible with 'unix' address type", "'tls_creds' option is incompatible with 'vsock' address type", "'tls_creds' option is incompatible with 'fd' address type as client", "'tls-creds' option is incompatible with waiting for connection completion",
		},
		Means: "this kind of character device cannot have TLS",
		Causes: []Cause{
			because("TLS is for TCP: give host= and port=; vhost-user and others that wait for the connection cannot have it", commandEnd,
				"qemu-system-x86_64 -object tls-creds-x509,id=tls0,dir=DIR,endpoint=server -chardev socket,id=c0,host=0.0.0.0,port=4444,server=on,wait=off,tls-creds=tls0"),
		},
	},
	{
		ID: "chardev-options", By: "QEMU",
		Texts: []string{"Websocket client is not implemented", "'reconnect-ms' option is incompatible with socket in server listen mode", "'reconnect' option is incompatible with socket in server listen mode"},
		Means: "the options of the character device do not go together",
		Causes: []Cause{
			because("websocket=on is for servers, reconnect-ms= for clients", commandEnd, "qemu-system-x86_64 -chardev help"),
		},
	},
	{
		ID: "spice-key", By: "SPICE",
		Texts: []string{"Could not use private key file", "Could not load certificates from {file}", "Could not use ca file"},
		Means: "SPICE's server, which reads its files by itself with OpenSSL, cannot use one of them",
		Causes: []Cause{
			because("QEMU's user may not read server-key.pem: certtool and openssl make keys for their owner alone", "owner, group and mode in spice_tls_x509_cert_dir", "namei -l /etc/pki/libvirt-spice/server-key.pem", "virtls validate /etc/pki/libvirt-spice"),
			because("the key is encrypted: give x509-key-password, or decrypt it", "the key's -----BEGIN line", "grep -E 'BEGIN|ENCRYPTED' /etc/pki/libvirt-spice/server-key.pem"),
			because("the key does not belong to the certificate", "the key ids of both", "virtls show /etc/pki/libvirt-spice/server-cert.pem /etc/pki/libvirt-spice/server-key.pem"),
		},
	},
}

// qemuMigration are the texts of migrations.
var qemuMigration = []Entry{
	{
		ID: "migration-source-left", By: "QEMU",
		Texts: []string{
			"Not a migration stream", "load of migration failed: Invalid argument: Not a migration stream", "load of migration failed: Invalid argument", "load of migration failed: Input/output error",
			"error while loading state", "QEMU unexpectedly closed the monitor",
		},
		Means: "the destination got something else than a migration, or nothing at all, and ended",
		Causes: []Cause{
			because("the source did not accept the destination's certificate, mostly because it lacks the name or address that the source dialled, and left (magic: 0)", "the source's error: virsh on the source, and "+guestLog+" there",
				"virtls show /etc/pki/qemu/server-cert.pem", "virsh migrate --live --tls --tls-destination NAME GUEST qemu+tls://HOST/system"),
			because("the source's certificate files are missing or wrong", "the source's error", "virtls validate"),
			because("only one side has tls-creds set: the first bytes of TLS look like magic 0x160301", "query-migrate-parameters on both sides", "virsh migrate --live --tls GUEST qemu+tls://HOST/system"),
			because("it has nothing to do with TLS: other machine types, other devices, another disk", guestLog+" on the destination", "virsh domxml-to-native qemu-argv --domain GUEST"),
		},
	},
	{
		ID: "migration-one-sided-tls", By: "QEMU",
		Texts: []string{"unknown channel magic: {n}"},
		Means: "the destination speaks no TLS, and the source does: 369295617 is the beginning of a TLS handshake",
		Causes: []Cause{
			because("tls-creds was set on the source alone: set it on the destination before migrate-incoming", "query-migrate-parameters on both sides", "virsh migrate --live --tls GUEST qemu+tls://HOST/system"),
		},
	},
	{
		ID: "migration-no-tls-features", By: "QEMU",
		Texts: []string{"Zero copy only available for non-compressed non-TLS multifd migration", "Mapped-ram only available for non-compressed non-TLS multifd migration"},
		Means: "this way of migrating does not go with TLS",
		Causes: []Cause{
			because("zero-copy-send and mapped-ram need the data as it is: switch them or TLS off", "query-migrate-capabilities", "virsh migrate --live --tls --parallel GUEST qemu+tls://HOST/system"),
		},
	},
	{
		ID: "migration-plain-client", By: "QEMU",
		Texts: []string{"TLS handshake failed: Error in the pull function.: Unable to read from socket: Connection reset by peer", "Error in the pull function.: Unable to read from socket: Connection reset by peer"},
		Means: "the peer hung up in the middle of the handshake",
		Causes: []Cause{
			because("the peer does not speak TLS on this port: for a migration, tls-creds was not set on the destination", "query-migrate-parameters on the destination; its log", "virsh migrate --live --tls GUEST qemu+tls://HOST/system"),
			because("the peer refused this side's handshake, or ended", serverSaid, "virtls validate"),
		},
	},
	{
		ID: "migration-tls-forced", By: "libvirt",
		Texts: []string{"this libvirtd instance allows migration only with VIR_MIGRATE_TLS flag"},
		Means: "migrate_tls_force is set, and this migration would be without TLS",
		Causes: []Cause{
			because("--tls is missing", "/etc/libvirt/qemu.conf", "virsh migrate --live --tls GUEST qemu+tls://HOST/system"),
		},
	},
	{
		ID: "migration-unix-name", By: "libvirt",
		Texts: []string{"Explicit destination hostname is required for TLS migration over UNIX socket"},
		Means: "over a UNIX socket there is no name to look for in the certificate",
		Causes: []Cause{
			because("say which name the destination's certificate has", "the destination's certificate", "virsh migrate --live --tls --tls-destination NAME GUEST qemu+unix:///system"),
		},
	},
	{
		ID: "migration-loopback", By: "libvirt",
		Texts: []string{"Attempt to migrate guest to the same host", "hostname on destination resolved to localhost, but migration requires an FQDN"},
		Means: "the destination gives a name of its own that does not lead to it from the source",
		Causes: []Cause{
			because("the destination's host name is localhost in its /etc/hosts, or both hosts have one name or one machine id; the name must also be in its certificate", "hostname -f and /etc/hosts on the destination", "virsh -c qemu+tls://HOST/system hostname", "virsh migrate --live --tls GUEST qemu+tls://HOST/system tcp://NAME"),
		},
	},
}
