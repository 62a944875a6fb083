package explain

// openssl are the texts of OpenSSL and of programs that use it: s_client,
// Python, Node.js, SPICE, stunnel, curl.
var openssl = []Entry{
	{
		ID: "openssl-eof", By: "OpenSSL",
		Texts: []string{"unexpected eof while reading", "unexpected eof", "no peer certificate available", "SSL handshake has read 0 bytes", "EOF occurred in violation of protocol", "SSL_ERROR_SYSCALL", "Client network socket disconnected before secure TLS connection was established"},
		Means: "the server hung up in the middle of the handshake, or before it",
		Causes: []Cause{
			because("the server does not speak TLS at once on this port: NBD and VNC begin in clear, so that s_client, testssl and monitors cannot look at them; libvirt (16514), chardev and migration begin with TLS", "the kind of service", "qemu-nbd --list -b HOST -p PORT --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0"),
			because("the versions do not meet: with -tls1_2 against a server of TLS 1.3 alone, or the other way round", "the server's priority string or policy", "openssl s_client -connect HOST:PORT -tls1_3", "openssl s_client -connect HOST:PORT -tls1_2"),
			because("the server did not accept the client's certificate, or got none; QEMU and libvirt then close without an alert", serverSaid, "openssl s_client -connect HOST:PORT -cert client-cert.pem -key client-key.pem -CAfile ca-cert.pem"),
			because("after the data: QEMU and libvirt end connections without TLS's goodbye, which OpenSSL 3 complains of; nothing is wrong then", "whether all data came", "openssl s_client -ignore_unexpected_eof -connect HOST:PORT"),
		},
	},
	{
		ID: "openssl-not-tls", By: "OpenSSL, noVNC, Node.js, Go, curl",
		Texts: []string{"unknown protocol", "SSL routines::unknown protocol", "wrong version number", "packet length too long", "http request", "tls: first record does not look like a TLS handshake", "unsupported protocol", "record layer failure"},
		Means: "what the server sent first is not TLS",
		Causes: []Cause{
			because("TLS is spoken to a port that begins in clear: NBD (10809) and VNC (5900) change to TLS inside their own protocol; websockify's --ssl-target and stunnel cannot do that", "the kind of service", "ss -ltnp"),
			because("the port is plain: libvirt's 16509 instead of 16514, a VNC or chardev without TLS", "the server's settings", "ss -ltnp"),
			because("a very old server, with SSL 3 or TLS 1.0 alone", "the server's version", "openssl s_client -connect HOST:PORT -tls1 -cipher DEFAULT@SECLEVEL=0"),
		},
	},
	{
		ID: "openssl-local-issuer", By: "OpenSSL, Python, Node.js, curl, Go",
		Texts: []string{
			"unable to get local issuer certificate", "unable to get issuer certificate", "self-signed certificate in certificate chain", "self signed certificate in certificate chain", "unable to verify the first certificate", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN",
			"UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "certificate signed by unknown authority", "self-signed certificate", "self signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT", "certificate not trusted",
		},
		Means: "no authority that this program trusts issued the peer's certificate",
		Causes: []Cause{
			because("the program does not know your authority: -CAfile, ca=, cafile= or SSL_CERT_FILE must name it; it looks in the system's authorities otherwise", "the arguments", "openssl s_client -connect HOST:PORT -CAfile ca-cert.pem", "openssl verify -CAfile ca-cert.pem CERT"),
			because("the intermediate is missing: it belongs behind the certificate in the server's file", "the chain that the server sends", "openssl s_client -connect HOST:PORT -showcerts"),
			because("the server has another authority's certificate", "issuer and subject", "virtls show SERVERCERT CAFILE"),
			because("the CA file holds an intermediate alone: OpenSSL wants the root too, or -partial_chain", "the CA file", "openssl verify -partial_chain -CAfile ca-cert.pem CERT"),
		},
	},
	{
		ID: "openssl-verify-failed", By: "OpenSSL, Python, Node.js",
		Texts: []string{"certificate verify failed", "CERTIFICATE_VERIFY_FAILED"},
		Means: "the peer's certificate does not hold; the reason is in the same line or the one before",
		Vague: true,
		Causes: []Cause{
			because("issuer, dates, name or purpose", "the number or text behind \"verify error\"", "openssl s_client -connect HOST:PORT -CAfile ca-cert.pem -verify_return_error"),
		},
	},
	{
		ID: "openssl-expired", By: "OpenSSL, Python, Node.js, curl, Go",
		Texts: []string{"certificate has expired", "CERT_HAS_EXPIRED", "certificate has expired or is not yet valid", "certificate is not yet valid", "CERT_NOT_YET_VALID", "CRL has expired", "CRL is not yet valid", "CRL_HAS_EXPIRED"},
		Means: "a certificate or revocation list is outside its days",
		Causes: []Cause{
			because("it was not renewed, or the server still serves the old one", "the dates", "virtls status", "virtls renew", "virtls show SERVERCERT CAFILE"),
			because("a clock is wrong", "both clocks", "date -u"),
			because("the revocation list was not signed anew in time; QEMU and libvirt go on using one that is too old", "nextUpdate of the list", "virtls ca crl"),
		},
	},
	{
		ID: "openssl-name", By: "OpenSSL, Python, Node.js, curl, Go",
		Texts: []string{
			"hostname mismatch", "IP address mismatch", "Hostname/IP does not match certificate's altnames", "ERR_TLS_CERT_ALTNAME_INVALID", "certificate is valid for {names}, not {host}", "certificate is not valid for any names", "cannot validate certificate for {host} because it doesn't contain any IP SANs",
			"doesn't match target host name", "no alternative certificate subject name matches target host name",
		},
		Means: "the server's certificate does not have the name or address that was given",
		Causes: []Cause{
			because("the name is missing among the certificate's; an address must be an IP address among them, not a DNS name", "the names in the certificate", "virtls show SERVERCERT", "virtls issue --server --cn HOST --dns NAME --ip ADDRESS"),
		},
	},
	{
		ID: "cn-only", By: "Go, OpenSSL",
		Texts: []string{"certificate relies on legacy Common Name field", "certificate is not valid for any names, but wanted to match", "use SANs instead"},
		Means: "the server's certificate has its name in the CN alone, which only GnuTLS still looks at",
		Causes: []Cause{
			because("the template has cn but no dns_name: QEMU and libvirt take that, programs in Go and browsers do not", "the names in the certificate", "virtls show SERVERCERT", "virtls issue --server --cn HOST"),
		},
	},
	{
		ID: "openssl-purpose", By: "OpenSSL, Go",
		Texts: []string{"unsuitable certificate purpose", "unsupported certificate purpose", "INVALID_PURPOSE", "certificate specifies an incompatible key usage", "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage"},
		Means: "the certificate is for the other role; QEMU and libvirt do not look at the purpose of peers, OpenSSL and Go do",
		Causes: []Cause{
			because("a server's certificate is used by a client, or the other way round", "the extended key usage", "virtls show PEERCERT", "virtls issue --server --client --cn HOST"),
		},
	},
	{
		ID: "openssl-ca", By: "OpenSSL, Go",
		Texts: []string{"invalid CA certificate", "INVALID_CA", "path length constraint exceeded", "certificate is not authorized to sign other certificates", "too many intermediates for path length constraint", "certificate chain too long", "permitted subtree violation", "excluded subtree violation"},
		Means: "a certificate above the peer's may not issue it",
		Causes: []Cause{
			because("the authority was made without CA:TRUE or keyCertSign, or its path length or name constraints forbid this certificate", "the extensions of every certificate above", "virtls show CAFILE"),
		},
	},
	{
		ID: "openssl-revoked", By: "OpenSSL",
		Texts: []string{"certificate revoked", "CERT_REVOKED", "unable to get certificate CRL"},
		Means: "the certificate is on the revocation list, or there is no list for its issuer and one is demanded",
		Causes: []Cause{
			because("it was revoked: issue another one", "the list", "virtls list"),
			because("-crl_check is on, and the file has no list of this issuer", "the lists in the file", "virtls ca crl"),
		},
	},
	{
		ID: "openssl-key-mismatch", By: "OpenSSL, Go, SPICE",
		Texts: []string{"key values mismatch", "key type mismatch", "Private key does not match the certificate public key", "tls: private key does not match public key"},
		Means: "the private key is not the one of the certificate",
		Causes: []Cause{
			because("only one of the two files was replaced, or files of two hosts were mixed up", "the key ids of both", "virtls show CERT KEY"),
			because("the first certificate in the file is not the own one", "the order in the file", "virtls show CERT"),
		},
	},
	{
		ID: "openssl-key-password", By: "OpenSSL",
		Texts: []string{"bad decrypt", "bad password read", "interrupted or cancelled", "processing error", "Enter PEM pass phrase", "Enter pass phrase for {file}", "ERR_OSSL_BAD_DECRYPT", "maybe wrong password"},
		Means: "the private key is encrypted, and the password is wrong or there is none",
		Causes: []Cause{
			because("a server without a terminal got an encrypted key", "the key's -----BEGIN line", "grep -E 'BEGIN|ENCRYPTED' KEY", "openssl pkey -in KEY -out NEW.pem"),
		},
	},
	{
		ID: "openssl-pem", By: "OpenSSL",
		Texts: []string{"no start line", "Could not find {what} from {file}", "Could not read {what} from {file}", "Could not open file or uri for loading", "unable to load certificate", "unable to load Private Key", "bad end line", "bad base64 decode", "no certificate or crl found", "Expecting: ANY PRIVATE KEY", "Expecting: CERTIFICATE"},
		Means: "the file is not there, or does not hold what is wanted in PEM form",
		Causes: []Cause{
			because("the file is of another kind (a key for a certificate), DER, empty, damaged or may not be read", "the file", "virtls show {file}", "namei -l {file}"),
		},
	},
	{
		ID: "openssl-weak", By: "OpenSSL",
		Texts: []string{"ee key too small", "ca key too small", "EE certificate key too weak", "CA certificate key too weak", "ca md too weak", "CA signature digest algorithm too weak", "dh key too small", "EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"},
		Means: "OpenSSL's security level finds a key or hash too weak: RSA of 1024 bits and SHA-1, which GnuTLS may still take",
		Causes: []Cause{
			because("the certificate or the authority is old: make them anew with EC P-256 or RSA of 3072 bits and SHA-256", "signature algorithms and keys", "virtls show CERT CAFILE", "virtls apply"),
		},
	},
	{
		ID: "openssl-nothing-shared", By: "OpenSSL",
		Texts: []string{"no shared cipher", "no shared groups", "no suitable key share", "no suitable signature algorithm", "no shared signature algorithms", "no ciphers available", "no protocols available", "unsupported signature algorithm", "wrong signature type", "no cipher match", "version too low", "alert number 40", "alert number 70", "tls: no supported versions satisfy MinVersion and MaxVersion", "tls: client offered only unsupported versions", "tls: no cipher suite supported by both client and server", "tls: peer doesn't support any of the certificate's signature algorithms"},
		Means: "the two sides have no version, suite, group or signature algorithm in common",
		Causes: []Cause{
			because("the server's key is of a kind that the client does not take, as ML-DSA is for GnuTLS and OpenSSL before 3.5", "the server's key", "virtls show SERVERCERT", "virtls issue --server --cn HOST --key-type ec"),
			because("one side has pre-shared keys or anonymous credentials: s_client needs -psk and -psk_identity", "the server's credentials", "openssl s_client -connect HOST:PORT -psk_identity NAME -psk HEXKEY"),
			because("the versions or suites do not meet", "both settings", "openssl ciphers -v", "gnutls-cli --list --priority STRING"),
		},
	},
	{
		ID: "openssl-unsupported-key", By: "OpenSSL, Go, Node.js",
		Texts: []string{"unsupported algorithm", "DECODER routines::unsupported", "decode error", "x509: unsupported public key", "unknown public key algorithm", "x509: cannot verify signature: algorithm unimplemented", "unable to decode issuer public key", "unknown signature algorithm", "tls: unsupported certificate: private key is"},
		Means: "this version cannot do the kind of key or signature that the file has",
		Causes: []Cause{
			because("it is ML-DSA (post-quantum): OpenSSL has it since 3.5, Go's crypto/tls since 1.27", "the key type and the version", "virtls show FILE", "openssl version"),
			because("an encrypted key uses an old cipher: -provider legacy", "the key", "openssl pkey -provider legacy -provider default -in KEY -out NEW.pem"),
			because("the file is damaged or of another kind", "the file", "virtls show FILE"),
		},
	},
	{
		ID: "openssl-verify-number", By: "OpenSSL",
		Texts: []string{"verify error:num={n}", "Verify return code: {n}", "Verification error:", "error {n} at {depth} depth lookup"},
		Means: "s_client or verify does not accept a certificate; the text behind the number says why",
		Vague: true,
		Causes: []Cause{
			because("18, 19, 20, 21: the authority is unknown; 10: expired; 26: wrong purpose; 62, 64: wrong name", "the text behind the number", "openssl s_client -connect HOST:PORT -CAfile ca-cert.pem"),
		},
	},
}

// others are the texts of programs that are none of the above.
var others = []Entry{
	{
		ID: "go-legacy", By: "Go",
		Texts: []string{"tls: failed to verify certificate:", "tls: unexpected message", "tls: invalid signature by the server certificate", "tls: invalid signature by the client certificate"},
		Means: "a program in Go does not accept the peer; the rest of the line says why",
		Vague: true,
		Causes: []Cause{
			because("issuer, dates or name", "the rest of the line", "virtls show PEERCERT CAFILE"),
		},
	},
	{
		ID: "nbdkit-tls", By: "nbdkit",
		Texts: []string{"--tls=require but could not load TLS certificates", "--tls=on but could not load TLS certificates", "TLS disabled: could not load TLS certificates", "cannot use oldstyle protocol (-o) and require TLS"},
		Means: "nbdkit cannot use its certificates",
		Causes: []Cause{
			because("the directory of --tls-certificates lacks ca-cert.pem, server-cert.pem or server-key.pem, or they may not be read", "the directory", "ls -lL /etc/pki/nbdkit", "nbdkit --tls=require --tls-certificates=DIR --verbose memory 1M"),
			because("a pre-shared key file needs --tls-psk=FILE", "the arguments", "nbdkit --tls=require --tls-psk=keys.psk memory 1M"),
		},
	},
	{
		ID: "gnutls-handshake", By: "nbdkit, libnbd",
		Texts: []string{"gnutls_handshake:", "GnuTLS error:"},
		Means: "the handshake failed; the rest of the line is GnuTLS's reason",
		Vague: true,
		Causes: []Cause{
			because("the two sides have no kind of credentials in common, or one does not accept the other's", "the log of the other side", "virtls validate"),
		},
	},
	{
		ID: "libnbd-tls", By: "libnbd: nbdcopy, nbdinfo, nbdkit-nbd-plugin, virtnbdbackup",
		Texts: []string{"handshake: server refused TLS, but handle TLS setting is 'require'", "handshake: server is oldstyle, but handle TLS setting is 'require'", "handshake: server is not using fixed newstyle, but handle TLS setting is 'require'", "server refused TLS", "URI TLS setting {id} is not permitted"},
		Means: "client and NBD server do not agree on TLS",
		Causes: []Cause{
			because("nbds:// was given and the server has no TLS, or nbd:// and it demands it", "the URI, and the server's command line", "nbdinfo 'nbds://HOST?tls-certificates=DIR'"),
			because("the directory of certificates is another: libnbd looks in /etc/pki/libnbd, ~/.pki/libnbd and ~/.config/pki/libnbd", "the directories", "ls -lL ~/.pki/libnbd"),
		},
	},
	{
		ID: "novnc-proxy", By: "nova-novncproxy, websockify",
		Texts: []string{"certfile should be a valid filesystem path", "Failed to complete auth handshake", "No matching auth scheme"},
		Means: "the proxy could not do VeNCrypt with QEMU",
		Causes: []Cause{
			because("no client certificate is set: the proxy of OpenStack since 2026-04 fails then, and QEMU with vnc_tls_x509_verify demands one", "[vnc] vencrypt_client_cert, vencrypt_client_key, vencrypt_ca_certs in nova.conf", "virtls issue --client --cn novncproxy"),
			because("QEMU's VNC server has no TLS, or SASL besides, which the proxy does not know", "vnc_tls, vnc_sasl in /etc/libvirt/qemu.conf on the compute host", "grep '^vnc' /etc/libvirt/qemu.conf"),
		},
	},
	{
		ID: "monitor-blind", By: "ssl_exporter, blackbox_exporter, testssl, sslyze",
		Texts: []string{"protocol not supported", "STARTTLS protocol {id} is not supported", "unknown starttls"},
		Means: "the monitor cannot speak NBD or VNC, which it would have to before TLS begins",
		Causes: []Cause{
			because("no common monitor knows them: look at the files instead, or at the port with QEMU's own tools", "the files' dates", "virtls status", "qemu-nbd --list -b HOST -p PORT --object tls-creds-x509,id=tls0,dir=DIR,endpoint=client --tls-creds tls0"),
		},
	},
}
