package explain

// gnutls are the texts of GnuTLS itself (gnutls_strerror, alerts), which
// every program that uses it prints.
var gnutls = []Entry{
	{
		ID: "no-cipher-suites", By: "GnuTLS: QEMU, libvirt, nbdkit",
		Texts: []string{"No supported cipher suites have been found", "Could not negotiate a supported cipher suite"},
		Means: "the two sides have no cipher suite in common, or the server has no certificate that would go with one",
		Causes: []Cause{
			because("the two sides have credentials of different kinds: X.509 on one, PSK or anonymous on the other", "the type of the object on both command lines: tls-creds-x509, -psk, -anon", "virtls validate"),
			because("the server's certificate cannot sign: its key usage has no digitalSignature, critical or not", "the key usage of the server's certificate", "virtls show SERVERCERT", "virtls issue --server --cn HOST"),
			because("priority strings leave nothing in common, or not the kind of the server's key", "priority=, tls_priority on both sides", "gnutls-cli --list --priority STRING"),
			because("anonymous credentials: the client offers no group of RFC 7919, as OpenSSL does not in TLS 1.2", "the client", "openssl s_client -connect HOST:PORT -cipher ADH-AES256-GCM-SHA384:@SECLEVEL=0 -tls1_2").in("QEMU 10.2 and later"),
			because("the server has no identity at all: cert_files = [] in libvirt's configuration", "/etc/libvirt/libvirtd.conf", "grep cert_files /etc/libvirt/libvirtd.conf").in("libvirt 11.10 and later"),
		},
	},
	{
		ID: "not-tls", By: "GnuTLS: QEMU, libvirt, nbdkit",
		Texts: []string{"An unexpected TLS packet was received", "A TLS record packet with invalid length was received", "A packet with illegal or unsupported version was received", "Error decoding the received TLS packet"},
		Means: "what arrived is not TLS, or a version of it that this side does not speak",
		Causes: []Cause{
			because("the other side does not speak TLS on this port: qemu+tcp to 16514, plain NBD or VNC, a chardev without tls-creds", "both command lines or URIs", "ss -ltnp"),
			because("TLS begins at another moment: NBD and VNC begin in clear and change to TLS in their protocol, chardev, migration and libvirt begin with TLS at once", "the kind of service on both sides", "qemu-nbd --list -b HOST -p PORT --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0"),
			because("the versions do not meet: one side has TLS 1.3 alone and the other is older", "priority=, tls_priority on both sides", "gnutls-cli --list --priority STRING"),
			because("somebody scans the port; then nobody complains but the log", "the address in the log", "ss -tnp"),
			because("chardev with telnet=on or tn3270=on over TLS: QEMU sends the telnet negotiation in clear, by a mistake; use websocket=on too, or telnet without TLS behind a gateway", commandEnd, "qemu-system-x86_64 -chardev help").in("QEMU, all versions"),
		},
	},
	{
		ID: "alert", By: "GnuTLS: QEMU, libvirt, nbdkit",
		Texts: []string{"A TLS fatal alert has been received", "A TLS warning alert has been received"},
		Means: "the other side ended the handshake and sent an alert, whose name GnuTLS does not show here",
		Causes: []Cause{
			because("the other side does not accept this side's certificate (bad certificate, unknown CA, certificate expired) or wants one (certificate required); programs of OpenSSL and Go say so by alert, QEMU and libvirt do not", "the log of the other side", "virtls validate", "GNUTLS_DEBUG_LEVEL=5 qemu-img info IMAGE"),
			because("pre-shared keys: the keys differ or the user is unknown, or one side has X.509 (decrypt error, handshake failure, missing extension)", "keys.psk on both sides", "virtls show keys.psk"),
			because("no version, cipher suite or signature algorithm in common (protocol version, handshake failure)", "priority=, tls_priority on both sides", "gnutls-cli --list --priority STRING"),
		},
	},
	{
		ID: "alert-named", By: "GnuTLS tools, OpenSSL, Go",
		Texts: []string{
			"Received alert [40]: Handshake failed", "Received alert [70]: Error in protocol version", "Received alert [71]: Insufficient security", "Received alert [47]: Illegal parameter", "Received alert [109]: An extension was expected but was not seen", "Received alert [110]: An unsupported extension was sent",
			"sslv3 alert handshake failure", "ssl/tls alert handshake failure", "alert handshake failure", "alert protocol version", "alert insufficient security", "alert missing extension", "tlsv13 alert missing extension", "remote error: tls: handshake failure", "remote error: tls: protocol version not supported",
			"alert illegal parameter", "remote error: tls: illegal parameter", "alert internal error", "remote error: tls: internal error",
		},
		Means: "the other side found nothing in common: version, cipher suite, group, signature algorithm or kind of credentials",
		Causes: []Cause{
			because("one side has PSK or anonymous credentials and the other X.509", "the credentials of both sides", "virtls validate"),
			because("the server's certificate cannot sign, or has a key of a kind that the client does not take", "the server's key and key usage", "virtls show SERVERCERT"),
			because("the versions or suites do not meet: one side is old, or restricted to TLS 1.3 or by a policy", "priorities, system-wide policies", "gnutls-cli --list --priority STRING", "openssl s_client -connect HOST:PORT -tls1_2"),
		},
	},
	{
		ID: "alert-certificate-required", By: "GnuTLS tools, OpenSSL, Go",
		Texts: []string{
			"Certificate is required", "Received alert [116]: Certificate is required", "tlsv13 alert certificate required", "alert certificate required", "remote error: tls: certificate required", "tls: client didn't provide a certificate", "peer did not return a certificate", "alert number 116",
		},
		Means: "the server demands a certificate of the client and got none",
		Causes: []Cause{
			because("the client was given no certificate: clients need their own for services that verify peers, which monitors and s_client forget", "the client's arguments", "openssl s_client -connect HOST:PORT -cert client-cert.pem -key client-key.pem -CAfile ca-cert.pem", "virtls issue --client --cn NAME"),
			because("the client has one of another authority than those the server names, and keeps it back", "the issuer of the client's certificate", "virtls show CLIENTCERT SERVERCA"),
			because("a GnuTLS client before 3.8.13 with an RSA key towards a server in Go with TLS 1.3 that names authorities: the client does not find its key usable; use an EC key, TLS 1.2, or a server that names none", "the key of the client", "virtls issue --client --cn NAME --key-type ec"),
		},
	},
	{
		ID: "alert-bad-certificate", By: "GnuTLS tools, OpenSSL, Go",
		Texts: []string{
			"Received alert [42]: Certificate is bad", "Received alert [43]: Certificate is not supported", "Received alert [46]: Unknown certificate", "sslv3 alert bad certificate", "ssl/tls alert bad certificate", "alert bad certificate", "remote error: tls: bad certificate",
			"sslv3 alert certificate unknown", "alert certificate unknown", "alert unsupported certificate", "remote error: tls: unknown certificate", "remote error: tls: unsupported certificate", "Received alert [44]: Certificate was revoked", "alert certificate revoked", "remote error: tls: revoked certificate", "Received alert [49]: Access was denied", "alert access denied",
		},
		Means: "the other side does not accept this side's certificate",
		Causes: []Cause{
			because("the name, the purpose (a server's certificate used by a client), a revocation list or an access list of the other side", "the log of the other side", "virtls show OWNCERT"),
			because("TLS 1.2 servers in Go say this also when they want a certificate and get none", "the client's arguments", "virtls validate --for qemu-client"),
		},
	},
	{
		ID: "alert-unknown-ca", By: "GnuTLS tools, OpenSSL, Go",
		Texts: []string{"Received alert [48]: CA is unknown", "tlsv1 alert unknown ca", "alert unknown ca", "remote error: tls: unknown certificate authority", "alert number 48"},
		Means: "the other side does not know the authority that issued this side's certificate",
		Causes: []Cause{
			because("the other side's CA file is that of another authority", "the issuer of this side's certificate, the other side's CA file", "virtls show OWNCERT OTHERCA"),
			because("this side does not send the intermediate: it belongs behind the certificate in its file", "this side's certificate file", "virtls show OWNCERT"),
		},
	},
	{
		ID: "alert-expired", By: "GnuTLS tools, OpenSSL, Go",
		Texts: []string{"Received alert [45]: Certificate is expired", "sslv3 alert certificate expired", "alert certificate expired", "remote error: tls: expired certificate", "alert number 45"},
		Means: "the other side says that this side's certificate has expired",
		Causes: []Cause{
			because("it has; or it was renewed and this program still has the old one", "the dates of the certificate, the time when the program was started", "virtls show OWNCERT", "virtls renew"),
			because("the other side's clock is ahead", "both clocks", "date -u"),
		},
	},
	{
		ID: "alert-psk", By: "GnuTLS tools, OpenSSL",
		Texts: []string{
			"Received alert [51]: Decrypt error", "Received alert [115]: The SRP/PSK username is missing or not known", "Received alert [20]: Bad record MAC", "alert decrypt error", "alert unknown psk identity", "remote error: tls: error decrypting message", "alert bad record mac", "psk identity not found", "binder does not verify", "The username supplied is unknown",
		},
		Means: "with pre-shared keys: the two sides do not have the same key for the name",
		Causes: []Cause{
			because("the keys differ: the file was made twice, on each side, instead of once and copied", "the line of the name in both keys.psk", "virtls show keys.psk", "sha256sum keys.psk"),
			because("the name is not in the server's file; GnuTLS then acts as if the key were wrong, so that nobody can find out names", "the names in the server's file", "cut -d: -f1 keys.psk"),
			because("without PSK: the peer's private key is not the one of its certificate, or something on the way changes the data", "the peer's files", "virtls show PEERCERT PEERKEY"),
		},
	},
	{
		ID: "no-priorities", By: "GnuTLS: QEMU, libvirt",
		Texts: []string{"No or insufficient priorities were set"},
		Means: "the priority string leaves no version, cipher, group or key exchange to negotiate",
		Causes: []Cause{
			because("it begins with NONE and does not add one of each kind, or takes all versions away", "priority=, tls_priority", "gnutls-cli --list --priority STRING"),
			because("it leaves TLS 1.2 alone with anonymous or pre-shared keys, or TLS 1.3 alone with anonymous ones, which it does not have", "priority=, tls_priority", "gnutls-cli --list --priority STRING"),
			because("the system-wide configuration disables what the string asks for", "/etc/gnutls/config", "update-crypto-policies --show"),
		},
	},
	{
		ID: "invalid-request", By: "GnuTLS: QEMU, libvirt",
		Texts: []string{"The request is invalid"},
		Means: "GnuTLS got something that makes no sense to it; with QEMU and libvirt mostly the priority string",
		Causes: []Cause{
			because("the priority string has a misspelt or unknown keyword, or is @SYSTEM on a distribution without a system-wide file (Debian, Ubuntu)", "priority= of the object, tls_priority in the URI and /etc/libvirt/*.conf", "gnutls-cli --list --priority STRING", "grep tls_priority /etc/libvirt/*.conf"),
		},
	},
	{
		ID: "insufficient-credentials", By: "GnuTLS",
		Texts: []string{"Insufficient credentials for that request"},
		Means: "the two sides settled on a kind of authentication for which this side has no credentials",
		Causes: []Cause{
			because("one side has pre-shared keys (tls-creds-psk) or anonymous credentials and the other X.509 (tls-creds-x509)", "the type of the object on both command lines", "virtls validate"),
			because("the priority string asks for PSK without a key, or for X.509 without a certificate", "priority=, tls_priority", "gnutls-cli --list --priority STRING"),
		},
	},
	{
		ID: "pem-header", By: "GnuTLS",
		Texts: []string{"import error: No certificate was found", "Base64 unexpected header error", "Base64 decoding error", "The requested data were not available"},
		Means: "the file has no PEM block of the kind wanted, or a damaged one",
		Causes: []Cause{
			because("the file is DER, empty, cut short, or of another kind: a key for a certificate, a certificate for a list", "the file", "virtls show FILE"),
			because("its base64 was changed: a line is missing, an editor broke lines, or it went through mail", "the file", "virtls show FILE"),
		},
	},
	{
		ID: "asn1", By: "GnuTLS",
		Texts: []string{"ASN1 parser: Error in DER parsing", "ASN1 parser: Error in TAG", "ASN1 parser: Element was not found", "ASN1 parser: Value was not found", "ASN1 parser: Generic parsing error", "ASN1 parser:", "The DER time encoding is invalid", "Error in the time fields of certificate", "Error in the certificate", "Duplicate extension in X.509 certificate"},
		Means: "the PEM is right, and what is in it is not what it should be",
		Causes: []Cause{
			because("the file is cut short or has lines missing", "the file", "virtls show FILE", "openssl asn1parse -in FILE"),
			because("it is another thing than its -----BEGIN line says", "the file", "openssl asn1parse -in FILE"),
			because("it was made by a program that does not keep to the standard (the same extension twice, dates in a form that is not allowed)", "the program that issued it", "virtls show FILE"),
		},
	},
	{
		ID: "file-reading", By: "GnuTLS",
		Texts: []string{"Error while reading file"},
		Means: "GnuTLS could not read a file; it does not say which, nor why",
		Causes: []Cause{
			because("the file is not there, or its owner, group, mode or a directory above does not allow it", "the file that the rest of the line names", "namei -l FILE", "virtls validate"),
		},
	},
	{
		ID: "unsupported-algorithm", By: "GnuTLS",
		Texts: []string{"The signature algorithm is not supported", "An unknown public key algorithm was encountered", "The encryption algorithm is not supported", "The hash algorithm is unknown", "The cipher type is unsupported", "The specified algorithm or protocol is unknown", "The OID is not supported", "The curve is unsupported", "The certificate type is not supported"},
		Means: "this build of GnuTLS cannot do an algorithm that a key or certificate has",
		Causes: []Cause{
			because("it is ML-DSA (post-quantum): Debian's GnuTLS to 3.8.13 is built without it; such hosts need a classical identity", "the key type", "virtls show FILE", "virtls issue --server --cn HOST --key-type ec"),
			because("an encrypted key uses a cipher or key derivation that GnuTLS does not have, such as scrypt or OpenSSL's old headers", "the key", "openssl pkey -in KEY -aes256 -out NEW.pem"),
			because("it was switched off by the system-wide policy", "/etc/gnutls/config", "update-crypto-policies --show"),
		},
	},
	{
		ID: "weak-algorithm", By: "GnuTLS",
		Texts: []string{"One of the involved algorithms has insufficient security level", "The Diffie-Hellman prime sent by the server is not acceptable (not long enough)"},
		Means: "a key, signature or group is weaker than this side's policy allows",
		Causes: []Cause{
			because("the certificate or authority has a small RSA key or SHA-1", "signature algorithms and keys", "virtls show PEERCERT CAFILE"),
			because("an old dh-params.pem of 1024 bits or less: delete it", "the server's directory", "openssl dhparam -in dh-params.pem -noout -text"),
		},
	},
	{
		ID: "key-usage-violation", By: "GnuTLS",
		Texts: []string{"Key usage violation in certificate has been detected", "Peer's certificate does not allow encryption. Key usage violation detected"},
		Means: "the certificate's key usage does not allow what the cipher suite needs",
		Causes: []Cause{
			because("the certificate has no digitalSignature, or for RSA key exchange in TLS 1.2 no keyEncipherment", "the key usage", "virtls show PEERCERT", "virtls issue --server --client --cn HOST"),
		},
	},
	{
		ID: "pull-push", By: "GnuTLS",
		Texts: []string{"Error in the pull function", "Error in the push function"},
		Means: "the connection broke while TLS read or wrote",
		Vague: true,
		Causes: []Cause{
			because("the other side closed it: QEMU and libvirt do so without a word when they do not accept a certificate", "the log of the other side", "virtls validate"),
			because("the port belongs to something that does not speak TLS and hung up", "what listens", "ss -ltnp"),
			because("a firewall or load balancer cuts connections", "whether it happens after the same time always", "ss -tno"),
		},
	},
	{
		ID: "bad-finished", By: "GnuTLS",
		Texts: []string{"The Message Authentication Code verification failed", "An error was encountered at the TLS Finished packet calculation", "Public key signature verification has failed", "Error in the certificate verification", "Could not authenticate peer"},
		Means: "what the peer sent does not go with its key",
		Causes: []Cause{
			because("pre-shared keys: the two sides have different keys for the name", "keys.psk on both sides", "sha256sum keys.psk"),
			because("the peer's key is not the one of its certificate, or something on the way changes the data", "the peer's files", "virtls show PEERCERT PEERKEY"),
			because("two writers used one session at the same time, or the race in GnuTLS's key update (its issue 1717): large migrations with TLS 1.3", "the versions", "qemu-system-x86_64 --version"),
		},
	},
	{
		ID: "illegal-parameter", By: "GnuTLS",
		Texts: []string{"An illegal parameter has been received", "An illegal TLS extension was received", "An unexpected TLS handshake packet was received", "No common key share with peer", "An algorithm that is not enabled was negotiated", "Too many handshake packets have been received", "The handshake data size is too large", "Safe renegotiation failed", "An required TLS extension was received"},
		Means: "the peer's handshake is not what this side expects",
		Causes: []Cause{
			because("a fault in one of the two TLS libraries, or a machine in between that changes the handshake", "the versions of both libraries", "gnutls-cli --version", "openssl version"),
			because("no group in common: one side is restricted to some curves", "priority=, tls_priority on both sides", "gnutls-cli --list --priority STRING"),
		},
	},
}
