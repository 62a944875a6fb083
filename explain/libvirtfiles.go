package explain

// libvirtFiles are the texts of libvirt's own certificates, its daemons'
// configuration and their start.
var libvirtFiles = []Entry{
	{
		ID: "libvirt-no-ca", By: "libvirt",
		Texts: []string{
			"Cannot read CA certificate {file}: No such file or directory", "CA certificate {file} does not exist", "Cannot read CA certificate {file}:",
		},
		Means: "libvirt wants TLS and has no file of trusted authorities",
		Causes: []Cause{
			because("a URI with a host and without a transport means TLS: qemu://localhost/system wants certificates, qemu:///system and qemu+ssh://HOST/system do not", "the URI", "virsh -c qemu:///system list", "virsh -c qemu+ssh://HOST/system list"),
			because("the client's files are not in place: cacert.pem in /etc/pki/CA for root, in ~/.pki/libvirt (not ~/.pki) or /etc/pki/CA for others", "the two directories", "virtls validate --for libvirt-client", "virtls apply"),
			because("a directory above the file may not be entered", "owner and mode of every directory", "namei -l {file}"),
			because("the daemon's ca_file is an empty string, which meant \"none\" before 12.8", "/etc/libvirt/libvirtd.conf, virtproxyd.conf", "grep -E '^(ca|cert|key|crl)_file' /etc/libvirt/libvirtd.conf").in("libvirt 12.8"),
			because("server-update-tls reads the default files, whatever ca_file, cert_file and key_file of the configuration say: use the default places, or restart the daemon", "the configuration of the daemon", "systemctl restart libvirtd"),
		},
	},
	{
		ID: "libvirt-no-certificate", By: "libvirt",
		Texts: []string{"Cannot read {role} certificate {file}", "Cannot read {role} key {file}", "Cannot read certificate {file}", "Cannot read private key {file}", "Certificate {file} does not exist", "Missing cert {cert} / key {key}"},
		Means: "libvirt needs this file and cannot find it",
		Causes: []Cause{
			because("the daemon was started with --listen or by virtproxyd-tls.socket, and the server's files are not in place: it does not start without them", "/etc/pki/libvirt and /etc/pki/libvirt/private", "ls -lL /etc/pki/libvirt /etc/pki/libvirt/private", "virtls validate --for libvirt-server"),
			because("the files have QEMU's names (server-cert.pem), or are in a directory for QEMU", "the directory", "ls -lL /etc/pki/libvirt"),
			because("cert_file or key_file names another file", "/etc/libvirt/libvirtd.conf, virtproxyd.conf", "grep -E '^(ca|cert|key|crl)_file' /etc/libvirt/libvirtd.conf"),
			because("a directory above the file may not be entered", "owner and mode of every directory", "namei -l {file}"),
		},
	},
	{
		ID: "libvirt-half-pair", By: "libvirt",
		Texts:    []string{"Certificate {cert} does not exist, but key {key} does", "Key {key} does not exist, but certificate {cert} does"},
		Means:    "of an identity's two files only one is there",
		Versions: "11.10 and later; before, a client went on without a certificate",
		Causes: []Cause{
			because("the copying was not finished, or a renewal removed one of the files", "both places", "ls -lL {cert} {key}", "virtls validate"),
			because("the other file is there, but a directory above it may not be entered: private is often for root alone", "owner and mode of every directory", "namei -l {key}"),
			because("an identity that was given up left a file behind (servercertN.pem, clientkeyN.pem), in ~/.pki/libvirt too", "the directories", "virtls validate"),
		},
	},
	{
		ID: "libvirt-conf-incomplete", By: "libvirt",
		Texts: []string{
			"No CA certificate path set to match server key", "No server certificate path set to match server key", "No server key path set to match server cert",
			"No CA certificate path set to match server key(s)/cert(s)", "Number of certificates ({n}) must match number of keys ({n})",
		},
		Means: "of ca_file, cert_file(s) and key_file(s) some are set and some are not: it is all or none",
		Causes: []Cause{
			because("one of the three is missing or still a comment", "/etc/libvirt/libvirtd.conf, virtproxyd.conf", "grep -E '^(ca|cert|key|crl)_file' /etc/libvirt/libvirtd.conf"),
			because("the lists cert_files and key_files have different lengths", "/etc/libvirt/libvirtd.conf, virtproxyd.conf", "grep -E '^(cert|key)_files' /etc/libvirt/libvirtd.conf").in("libvirt 11.10 and later"),
		},
	},
	{
		ID: "libvirt-conf-lists", By: "libvirt",
		Texts: []string{"cert_file/key_file are mutually exclusive with cert_files/key_files", "expected a string list for {id} parameter", "expected a string or string list for {id} parameter", "value for {id} parameter must be 0 or 1"},
		Means: "the daemon's configuration has a value of the wrong form",
		Causes: []Cause{
			because("a list is needed: tls_allowed_dn_list = [\"DN\"], cert_files = [\"A\", \"B\"]; a string alone is an error", "the line that the text names", "grep -nE '_list|_files' /etc/libvirt/libvirtd.conf"),
			because("both the settings for one identity and those for several are there", "/etc/libvirt/libvirtd.conf, virtproxyd.conf", "grep -E '^(cert|key)_files?' /etc/libvirt/libvirtd.conf").in("libvirt 11.10 and later"),
		},
	},
	{
		ID: "libvirt-file-too-large", By: "libvirt",
		Texts: []string{"Failed to read file {file}: Value too large for defined data type"},
		Means: "libvirt reads at most 64 KiB of a certificate file",
		Causes: []Cause{
			because("the file has a text before each certificate, or a whole system's bundle of authorities was taken as CA file: keep the few that are needed", "the size of the file", "ls -l {file}", "openssl x509 -in {file} -out NEW.pem"),
		},
	},
	{
		ID: "libvirt-file-unreadable", By: "libvirt",
		Texts: []string{"Failed to read file {file}: Is a directory", "Failed to read file {file}: Permission denied", "Failed to open file {file}: Permission denied", "Failed to open file {file}: No such file or directory"},
		Means: "a file cannot be read; the rest of the line is the system's reason",
		Causes: []Cause{
			because("there is a directory of that name, the file is not there, or it may not be read by the user that the program runs as", "owner, group and mode of the file and of every directory above", "namei -l {file}", "virtls validate {dir}"),
		},
	},
	{
		ID: "libvirt-identity-refused", By: "libvirt",
		Texts: []string{"Unable to set x509 key and certificate:"},
		Means: "GnuTLS does not take key and certificate; the rest of the line is its reason",
		Vague: true,
		Causes: []Cause{
			because("the two do not belong together, the key is encrypted, or one file is damaged", "both files", "virtls validate"),
		},
	},
	{
		ID: "libvirt-ca-refused", By: "libvirt",
		Texts: []string{"Unable to set x509 CA certificate: {file}:"},
		Means: "GnuTLS does not take the authorities; the rest of the line is its reason",
		Causes: []Cause{
			because("the file holds no certificate in PEM form, or may not be read", "the file", "virtls show {file}", "namei -l {file}"),
		},
	},
	{
		ID: "libvirt-listen-activation", By: "libvirt",
		Texts: []string{"--listen parameter not permitted with systemd activation sockets"},
		Means: "systemd opens the sockets, and the daemon was told to open them too",
		Causes: []Cause{
			because("LIBVIRTD_ARGS or a drop-in has --listen: take it away and enable the TLS socket instead; tls_port and listen_addr are ignored then", "/etc/default/libvirtd, /etc/sysconfig/libvirtd, systemctl cat libvirtd",
				"systemctl stop libvirtd libvirtd.socket && systemctl enable --now libvirtd-tls.socket"),
			because("the other way: sockets of systemd are to be masked for --listen to work", "systemctl list-sockets", "systemctl mask libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd-tls.socket libvirtd-tcp.socket"),
		},
	},
	{
		ID: "libvirt-update-failed", By: "libvirt",
		Texts: []string{"no tls service found, unable to update tls files", "Server not found: No server named {id}"},
		Means: "server-update-tls was sent to a daemon, or to a server in it, that does not do TLS",
		Causes: []Cause{
			because("in modular set-ups virtproxyd owns the TLS port, not libvirtd or virtqemud", "which daemon listens on 16514", "ss -ltnp sport = :16514", "virt-admin -c virtproxyd:///system server-update-tls virtproxyd"),
			because("the daemon was started without --listen, or libvirtd-tls.socket is not enabled", "the daemon's arguments", "systemctl status libvirtd-tls.socket virtproxyd-tls.socket", "virt-admin server-list"),
		},
	},
	{
		ID: "libvirt-start-failed", By: "libvirt, systemd",
		Texts: []string{"Unable to initialize network sockets", "libvirtd.service: Main process exited, code=exited", "libvirtd.service: Failed with result", "virtproxyd.service: Main process exited, code=exited", "virtproxyd.service: Failed with result"},
		Means: "the daemon could not open its ports or load its certificates: TLS is not optional once it was asked for",
		Vague: true,
		Causes: []Cause{
			because("certificate files are missing, expired or wrong; the line before in the log says which", daemonLog, "journalctl -u libvirtd -u virtproxyd -n 50", "virtls validate --for libvirt-server"),
			because("another process has the port", "what listens on 16514", "ss -ltnp sport = :16514"),
		},
	},
	{
		ID: "libvirt-port-in-use", By: "libvirt, QEMU",
		Texts: []string{"Unable to bind to port: Address already in use", "Failed to find an available port: Address already in use", "Address already in use"},
		Means: "another process has the port",
		Causes: []Cause{
			because("the daemon runs already, or systemd's socket unit holds the port for it", "what listens", "ss -ltnp sport = :16514", "systemctl list-sockets"),
		},
	},
}
