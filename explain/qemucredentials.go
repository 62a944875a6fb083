package explain

// qemuCredentials are the texts of loading tls-creds-x509, -psk and -anon.
var qemuCredentials = []Entry{
	{
		ID: "qemu-file-missing", By: "QEMU",
		Texts: []string{"Unable to access credentials {file}: No such file or directory"},
		Means: "the credential object's directory lacks a file that QEMU needs for this endpoint",
		Causes: []Cause{
			because("the directory is another one, or its files have libvirt's names: QEMU reads ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem, and no others", "the directory",
				"ls -lL {dir}", "virtls validate {dir}"),
			because("the object is for the other endpoint than the files: endpoint=client is the default", commandEnd, "ls -lL {dir}"),
			because("a migration or an NBD disk needs a client certificate on this host, and only the server's was installed; a host that both sends and receives guests needs both pairs", "migrate_tls_x509_cert_dir and default_tls_x509_cert_dir in /etc/libvirt/qemu.conf on the source host",
				"virtls validate", "virtls apply"),
			because("the guest was started before the files were there, or in a container or mount namespace that does not have them; a running guest does not see them later", "the file as the QEMU process sees it, below /proc/PID/root",
				"ls -lL /proc/PID/root{file}"),
			because("the file is a symbolic link to nothing", "the link", "readlink -f {file}"),
		},
	},
	{
		ID: "qemu-file-denied", By: "QEMU",
		Texts: []string{"Unable to access credentials {file}: Permission denied"},
		Means: "the user that QEMU runs as may not read this file, or not enter a directory above it",
		Causes: []Cause{
			because("the key or a directory belongs to root alone; QEMU runs as qemu, libvirt-qemu or what qemu.conf says, not as root", "owner, group and mode of the file and of every directory above",
				"namei -l {file}", "grep -E '^(user|group)' /etc/libvirt/qemu.conf", "virtls validate {dir} --as libvirt-qemu", "virtls validate {dir} --as libvirt-qemu --fix"),
			because("AppArmor: guests may read /etc/pki/qemu, /etc/pki/libvirt, /etc/pki/libvirt-vnc, /etc/pki/libvirt-spice and /etc/pki/CA only", "the kernel's log: apparmor=\"DENIED\"",
				"journalctl -k -g apparmor", "cat /etc/apparmor.d/abstractions/libvirt-qemu"),
			because("SELinux: the file was moved here and kept its old type; it should be cert_t", "the audit log",
				"ls -Z {file}", "restorecon -Rv {dir}", "ausearch -m avc -ts recent"),
		},
	},
	{
		ID: "qemu-file-inaccessible", By: "QEMU",
		Texts: []string{"Unable to access credentials {file}:"},
		Means: "the file cannot be reached; the rest of the line is the system's reason",
		Causes: []Cause{
			because("a part of the path is not a directory, or a file system is not mounted or broken", "the path", "namei -l {file}"),
		},
	},
	{
		ID: "qemu-file-unreadable", By: "QEMU",
		Texts: []string{"Cannot load CA cert list {file}:", "Cannot load private key {file}:"},
		Means: "the file is there, but QEMU's user cannot read it (own certificates are called a CA cert list too)",
		Causes: []Cause{
			because("the file or a directory above it may not be read by the user that QEMU runs as", "owner, group and mode of the file and of every directory above",
				"namei -l {file}", "virtls validate {dir} --as libvirt-qemu"),
			because("AppArmor or SELinux forbids it", "the kernel's and the audit log", "journalctl -k -g apparmor", "ausearch -m avc -ts recent"),
		},
	},
	{
		ID: "qemu-dir-missing", By: "QEMU",
		Texts: []string{"Missing 'dir' property value"},
		Means: "tls-creds-x509 and tls-creds-psk must be told their directory; there is no default",
		Causes: []Cause{
			because("dir= was forgotten, or /etc/pki/qemu was taken for a default because the documentation recommends it", commandEnd,
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu,endpoint=server --tls-creds tls0 IMAGE"),
		},
	},
	{
		ID: "ca-unusable", By: "QEMU, libvirt",
		Texts: []string{"Unable to import CA certificate list {file}", "Unable to import certificate list {file}"},
		Means: "the file of trusted authorities holds no certificate that can be used",
		Causes: []Cause{
			because("the file is empty, was cut short, or is DER: PEM is wanted, with -----BEGIN CERTIFICATE-----", "the file",
				"virtls show {file}", "openssl x509 -inform DER -in {file} -out NEW.pem"),
			because("it holds a key, a request or a TRUSTED CERTIFICATE instead", "the -----BEGIN lines", "grep BEGIN {file}"),
			because("one of its certificates is malformed, or signed in a way that this GnuTLS cannot do, as ML-DSA is for Debian's", "each certificate", "virtls show {file}"),
		},
	},
	{
		ID: "certificate-unusable", By: "QEMU, libvirt",
		Texts: []string{"Unable to import certificate {file}", "Unable to import {role} certificate {file}", "Cannot import certificate:"},
		Means: "the file holds no certificate that can be used",
		Causes: []Cause{
			because("the file is empty, was cut short, or is DER: PEM is wanted, with -----BEGIN CERTIFICATE-----", "the file",
				"virtls show {file}", "openssl x509 -inform DER -in {file} -out NEW.pem"),
			because("key and certificate were exchanged", "the -----BEGIN lines", "grep BEGIN {file}"),
			because("the certificate is malformed, or its key is of a kind that this GnuTLS cannot use, as ML-DSA is for Debian's", "the certificate", "virtls show {file}"),
		},
	},
	{
		ID: "qemu-key-unusable", By: "QEMU",
		Texts:    []string{"Unable to import private key {file}"},
		Means:    "the private key cannot be used; QEMU does not say why",
		Versions: "10.2 and later",
		Causes: []Cause{
			because("the key is encrypted, and no passwordid= names a secret with its password, or the password is another; the password ends with a line feed if its file does", "the key's -----BEGIN line; the secret object",
				"grep -E 'BEGIN|ENCRYPTED' {file}"),
			because("the file is no private key in PEM form, or damaged", "the file", "virtls show {file}"),
			because("the key is of a kind that this GnuTLS cannot use, as ML-DSA is for Debian's", "the key", "virtls show {file}"),
		},
	},
	{
		ID: "qemu-half-pair", By: "QEMU",
		Texts:    []string{"Cert {cert} without corresponding key {key}", "Key {key} without corresponding cert {cert}"},
		Means:    "of an identity's two files only one is there",
		Versions: "10.2 and later; older versions ignore half a pair of a client silently",
		Causes: []Cause{
			because("the copying of the files was not finished, or a name is misspelt", "the directory", "virtls validate"),
			because("QEMU's user may not read one of the two, which counts as missing", "owner, group and mode of both files", "ls -lL {cert} {key}"),
			because("a file of an identity that was given up is left over (server-cert-N.pem, client-key-N.pem)", "the directory", "ls -lL {cert} {key}"),
		},
	},
	{
		ID: "qemu-no-server-identity", By: "QEMU",
		Texts:    []string{"Missing server cert {cert} & key {key}"},
		Means:    "a server needs a certificate with its key, and there is neither the plain pair nor one with index 0",
		Versions: "10.2 and later",
		Causes: []Cause{
			because("the directory has a client's files only, or the object should have endpoint=client", "the directory; "+commandEnd, "virtls validate"),
			because("indexed identities begin with 1, or have gaps: QEMU looks for server-cert-0.pem to server-cert-3.pem and stops at the first that is missing", "the directory", "virtls validate"),
			because("QEMU's user may not read the files, which counts as missing", "owner, group and mode", "ls -lL {cert} {key}"),
		},
	},
	{
		ID: "qemu-ca-refused", By: "QEMU",
		Texts: []string{"Cannot set CA certificate {file}:", "Cannot load CA certificate {file}:"},
		Means: "GnuTLS does not take the authorities; the rest of the line is its reason",
		Vague: true,
		Causes: []Cause{
			because("a certificate in the file is malformed or of a kind that GnuTLS cannot use", "each certificate in the file", "virtls show {file}"),
		},
	},
	{
		ID: "key-mismatch", By: "QEMU, libvirt, GnuTLS",
		Texts: []string{
			"The certificate and the given key do not match",
			"Cannot set certificate {cert} & key {key}: The certificate and the given key do not match",
			"Cannot load certificate {cert} & key {key}: The certificate and the given key do not match",
			"Unable to set x509 key and certificate: {key}, {cert}: The certificate and the given key do not match",
		},
		Means: "the private key is not the one of the certificate",
		Causes: []Cause{
			because("only one of the two files was replaced when the certificate was renewed with a new key", "the key ids of both, which must be the same", "virtls show {cert} {key}"),
			because("files of two hosts, or of server and client, were mixed up", "subject of the certificate, key ids of both", "virtls show {cert} {key}"),
			because("the certificate was read between the replacement of the two files: try again", "the times of the files", "ls -l {cert} {key}"),
			because("the first certificate in the file is not the host's own: the order is own certificate, then intermediates", "the first certificate of the file", "virtls show {cert}"),
		},
	},
	{
		ID: "key-encrypted", By: "QEMU, libvirt, GnuTLS",
		Texts: []string{
			"Decryption has failed",
			"Cannot load certificate {cert} & key {key}: Decryption has failed",
			"Cannot set certificate {cert} & key {key}: Decryption has failed",
			"Unable to set x509 key and certificate: {key}, {cert}: Decryption has failed",
		},
		Means: "the private key is encrypted, and the password is wrong or there is none",
		Causes: []Cause{
			because("libvirtd, virtproxyd and virsh have no way to give a password: their keys must not be encrypted; protect them by mode 0600 instead", "the key's -----BEGIN line",
				"virtls certtool --to-p8 --load-privkey {key} --outfile NEW.pem").in("libvirt"),
			because("QEMU's object has no passwordid=, or the secret has another password; a line feed at the end of the secret's file is part of it", commandEnd,
				"qemu-img info --object secret,id=sec0,file=PASSWORDFILE --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client,passwordid=sec0 --image-opts IMAGE").in("QEMU"),
			because("qemu.conf names no *_tls_x509_secret_uuid, or names the default one while the service's directory is set on its own, which switches the default secret off", "/etc/libvirt/qemu.conf", "grep secret_uuid /etc/libvirt/qemu.conf").in("guests run by libvirt"),
		},
	},
	{
		ID: "chain-unsorted", By: "GnuTLS: QEMU, libvirt",
		Texts: []string{"The provided X.509 certificate list is not sorted (in subject to issuer order)", "The provided X.509 certificate list is not sorted"},
		Means: "the certificates in the file do not follow each other from the own one to its issuers",
		Causes: []Cause{
			because("intermediates were appended in the wrong order, or ones that have nothing to do with the certificate", "subject and issuer of each certificate in the file", "virtls show {cert}"),
		},
	},
	{
		ID: "key-garbage", By: "QEMU, libvirt",
		Texts: []string{
			"Cannot load certificate {cert} & key {key}: The requested data were not available",
			"Cannot load certificate {cert} & key {key}: Base64 unexpected header error",
			"Cannot load certificate {cert} & key {key}: Base64 decoding error",
			"Unable to set x509 key and certificate: {key}, {cert}: The requested data were not available",
			"Unable to set x509 key and certificate: {key}, {cert}: Base64 unexpected header error",
			"Unable to set x509 key and certificate: {key}, {cert}: Base64 decoding error",
		},
		Means: "the key's file, or the certificate's, does not hold what it should",
		Causes: []Cause{
			because("key and certificate were exchanged, or the file is empty, cut short or DER", "the -----BEGIN lines of both", "virtls show {cert} {key}"),
		},
	},
	{
		ID: "qemu-identity-refused", By: "QEMU",
		Texts: []string{"Cannot set certificate {cert} & key {key}:", "Cannot load certificate {cert} & key {key}:"},
		Means: "GnuTLS does not take certificate and key; the rest of the line is its reason",
		Vague: true,
		Causes: []Cause{
			because("the two do not belong together, or one is damaged or of a kind that GnuTLS cannot use", "both files", "virtls show {cert} {key}"),
		},
	},
	{
		ID: "crl-unusable", By: "QEMU, libvirt",
		Texts: []string{"Cannot load CRL {file}:", "Unable to set x509 certificate revocation list: {file}: Base64", "Unable to set x509 certificate revocation list: {file}:"},
		Means: "the revocation list is there but cannot be used",
		Causes: []Cause{
			because("the file is empty, no PEM, or not a revocation list: -----BEGIN X509 CRL----- is wanted", "the file", "virtls show {file}", "openssl crl -inform DER -in {file} -out NEW.pem"),
			because("the file may not be read", "owner, group and mode", "namei -l {file}"),
		},
	},
	{
		ID: "libvirt-crl-missing", By: "libvirt",
		Texts:    []string{"Unable to set x509 certificate revocation list: {file}: Error while reading file"},
		Means:    "the revocation list that crl_file names cannot be read",
		Versions: "12.8; 9.0 runs without the list and says nothing",
		Causes: []Cause{
			because("the file is not there: a list that is named must exist", "crl_file in /etc/libvirt/libvirtd.conf or virtproxyd.conf", "ls -lL {file}", "virtls ca crl"),
		},
	},
	{
		ID: "qemu-dh-unusable", By: "QEMU",
		Texts: []string{"Unable to load DH parameters from {file}:"},
		Means: "dh-params.pem is there but cannot be used",
		Causes: []Cause{
			because("the file is not -----BEGIN DH PARAMETERS----- in PEM, is damaged or may not be read; since 10.2 it is best deleted", "the file", "openssl dhparam -in {file} -noout -check", "rm {file}"),
		},
	},
	{
		ID: "qemu-dh-deprecated", By: "QEMU",
		Texts:    []string{"Use of an external DH parameters file {file} is deprecated and will be removed in a future release"},
		Means:    "a warning: QEMU uses the groups of RFC 7919 and needs no file of DH parameters",
		Versions: "10.2 and later",
		Causes: []Cause{
			because("dh-params.pem is left over; delete it, unless clients are so old that they know no group of RFC 7919", "the directory", "rm {file}"),
		},
	},
	{
		ID: "qemu-psk-unreadable", By: "QEMU",
		Texts: []string{"Cannot read PSK file {file}:"},
		Means: "the file of pre-shared keys cannot be read; the rest of the line is the system's reason",
		Causes: []Cause{
			because("the file is not there: its name is keys.psk, in the directory that dir= names", "the directory", "ls -lL {dir}", "virtls psktool -u qemu -p {file}"),
			because("QEMU's user may not read it", "owner, group and mode", "namei -l {file}"),
		},
	},
	{
		ID: "qemu-psk-user-unknown", By: "QEMU",
		Texts: []string{"Username {id} not found in PSK file {file}"},
		Means: "no line of the client's file begins with this name and a colon",
		Causes: []Cause{
			because("username= was not given, so that the name is qemu, and the file has another", "the names in the file", "cut -d: -f1 {file}"),
			because("the key was made for another user than the client gives; psktool takes the login name without -u", "the names in the file", "virtls psktool -u NAME -p {file}"),
			because("there are blanks before the name: QEMU's client takes the line as it is", "the file", "virtls show {file}"),
		},
	},
	{
		ID: "qemu-psk-refused", By: "QEMU",
		Texts: []string{"Cannot set PSK client credentials:", "Cannot set PSK server credentials:"},
		Means: "GnuTLS does not take the pre-shared key",
		Causes: []Cause{
			because("the key is not an even number of hexadecimal digits; a carriage return at the end of the line is one character too many", "the file", "virtls show keys.psk", "sed -i 's/\\r$//' keys.psk"),
			because("the server's file is not there or may not be read", "keys.psk in the server's directory", "ls -lL keys.psk"),
		},
	},
	{
		ID: "qemu-psk-server-username", By: "QEMU",
		Texts: []string{"username should not be set when endpoint=server"},
		Means: "a server takes the name from the client and looks it up in keys.psk",
		Causes: []Cause{
			because("username= was copied from a client's object, or the object should have endpoint=client", commandEnd, "virtls show keys.psk"),
		},
	},
	{
		ID: "psk-file-malformed", By: "GnuTLS, QEMU, nbdkit",
		Texts: []string{"Error in password/key file"},
		Means: "the server looked for the client's name in the file of pre-shared keys and met a line that it does not understand",
		Causes: []Cause{
			because("lines end with carriage return and line feed", "the server's keys.psk", "virtls show keys.psk", "sed -i 's/\\r$//' keys.psk"),
			because("the key is not an even number of hexadecimal digits", "the server's keys.psk", "virtls show keys.psk"),
			because("the file is not there or may not be read: servers notice that only when a client comes", "owner, group and mode on the server", "namei -l keys.psk"),
		},
	},
	{
		ID: "qemu-endpoint", By: "QEMU",
		Texts: []string{"Expected TLS credentials for a client endpoint", "Expected TLS credentials for a server endpoint", "Credentials endpoint doesn't match session"},
		Means: "the credential object is for the other end of the connection",
		Causes: []Cause{
			because("endpoint= is missing: the default is client, so that servers (qemu-nbd, VNC, chardev with server=on, the receiving end of a migration) must say endpoint=server", commandEnd,
				"qemu-nbd --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu,endpoint=server --tls-creds tls0 IMAGE"),
			because("one object is used for both directions: make two, with ids of their own", commandEnd,
				"qemu-img info --object tls-creds-x509,id=tls1,dir=/etc/pki/qemu,endpoint=client --image-opts driver=nbd,host=HOST,tls-creds=tls1"),
		},
	},
	{
		ID: "qemu-cipher-suites-priority", By: "QEMU",
		Texts: []string{"'priority' property is not set"},
		Means: "a tls-cipher-suites object lists the suites of a priority string and has none",
		Causes: []Cause{
			because("priority= is missing", commandEnd, "qemu-system-x86_64 -object tls-cipher-suites,id=suites,priority=NORMAL"),
		},
	},
	{
		ID: "qemu-reload", By: "QEMU",
		Texts: []string{"vnc tls is not enabled", "Can not find vnc display", "does not support reloading credentials", "doesn't support to reload TLS credential"},
		Means: "display-reload cannot reload these credentials",
		Causes: []Cause{
			because("the guest's VNC server has no TLS: vnc_tls in qemu.conf was set after the guest was started, or not at all", "the guest's process: -vnc with tls-creds=", "virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"query-vnc-servers\"}'"),
			because("the guest has no VNC server but SPICE, which cannot reload: migrate the guest away and back, or restart it", "the domain's XML: <graphics>", "virsh dumpxml GUEST"),
			because("its VNC server has PSK or anonymous credentials: only x509 ones can be reloaded", commandEnd, "virsh domdisplay GUEST"),
		},
	},
	{
		ID: "qemu-credentials-memory", By: "QEMU",
		Texts: []string{"Cannot allocate credentials:", "Cannot initialize certificate:"},
		Means: "GnuTLS could not make its own structures",
		Causes: []Cause{
			because("the machine or the process is out of memory, or GnuTLS did not start (FIPS self-tests)", "the system's log", "dmesg", "gnutls-cli --version"),
		},
	},
}

// qemuSecrets are the texts of secret objects.
var qemuSecrets = []Entry{
	{
		ID: "qemu-secret-unknown", By: "QEMU",
		Texts: []string{"No secret with id {id}", "Object with id {id} is not a secret"},
		Means: "passwordid= or keyid= names something that is not a secret object",
		Causes: []Cause{
			because("the secret comes after the object that uses it: it must come first", commandEnd,
				"qemu-nbd --object secret,id=sec0,file=PASSWORDFILE --object tls-creds-x509,id=tls0,dir=DIR,endpoint=server,passwordid=sec0 --tls-creds tls0 IMAGE"),
			because("the id is misspelt, or is that of the credentials", commandEnd, "virsh qemu-monitor-command GUEST --pretty '{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/objects\"}}'"),
		},
	},
	{
		ID: "qemu-secret-empty", By: "QEMU",
		Texts: []string{"Secret with id {id} has no data", "Data from secret {id} is not valid UTF-8", "Either 'file' or 'data' must be provided", "'file' and 'data' are mutually exclusive",
			"Base64 data {data} is not valid", "Base64 data contains invalid characters", "Base64 data contains embedded NUL characters"},
		Means: "the secret is there, but what it holds cannot be a password",
		Causes: []Cause{
			because("data= or file= is missing or empty, or both are there", commandEnd, "wc -c PASSWORDFILE"),
			because("the secret is base64 or encrypted, and the object does not say so: format=base64, keyid=, iv=", commandEnd, "base64 -d PASSWORDFILE"),
		},
	},
	{
		ID: "qemu-secret-cipher", By: "QEMU",
		Texts: []string{"Key should be 32 bytes in length", "IV is required to decrypt secret", "IV should be 16 bytes in length not {n}", "Incorrect number of padding bytes ({n}) found on decrypted data", "Length {n} must be a multiple of block size {n}"},
		Means: "an encrypted secret cannot be opened: it is AES-256-CBC with a key of 32 bytes (the secret keyid=) and an iv= of 16 bytes in base64",
		Causes: []Cause{
			because("key and iv are not those with which the secret was encrypted", "how the secret was made", "openssl enc -aes-256-cbc -a -K HEXKEY -iv HEXIV"),
			because("the master key is in base64, and its secret lacks format=base64", commandEnd, "openssl rand -base64 32 -out KEYFILE"),
			because("iv= is hexadecimal: base64 is wanted, 24 characters long", commandEnd, "openssl rand -base64 16"),
		},
	},
}
