package explain

// sanity are the texts of the checks that QEMU and libvirt make on their own
// certificates before they use them: qcrypto_tls_creds_check_cert and
// virNetTLSCertSanityCheck, which say the same.
var sanity = []Entry{
	{
		ID: "own-certificate-expired", By: "QEMU, libvirt",
		Texts: []string{"The {role} certificate {file} has expired"},
		Means: "the file's certificate is past its last day, and the program does not start to use it",
		Causes: []Cause{
			because("the certificate was not renewed in time", "the dates in the file",
				"virtls show {file}", "virtls renew", "virtls apply"),
			because("it is an old authority that is still in the CA file: libvirt, and QEMU before 10.2, refuse all of the file because of one expired certificate in it, used or not", "each certificate in the file",
				"virtls show {file}"),
			because("it was renewed, but another file than this one", "which directories have copies of the certificate", "virtls validate"),
			because("the clock of this machine is ahead", "the date", "date -u", "chronyc tracking"),
		},
	},
	{
		ID: "own-certificate-early", By: "QEMU, libvirt",
		Texts: []string{"The {role} certificate {file} is not yet active"},
		Means: "the first day of the file's certificate is still to come",
		Causes: []Cause{
			because("the clock of this machine is behind the one that issued the certificate; certtool and OpenSSL backdate nothing", "the date here and in the file",
				"date -u", "virtls show {file}"),
			because("the certificate was issued for later on purpose, or its template has a local time in activation_date", "the dates in the file", "virtls show {file}"),
		},
	},
	{
		ID: "own-certificate-ca", By: "QEMU, libvirt",
		Texts: []string{"The certificate {file} basic constraints show a CA, but we need one for a {role}"},
		Means: "the file that should hold the certificate of a server or client begins with that of an authority",
		Causes: []Cause{
			because("the authority's certificate was copied to the name of the server's or client's", "the first certificate of the file", "virtls show {file}"),
			because("the file holds a chain in the wrong order: the server's or client's own certificate must come first, and libvirt looks at no other", "the first certificate of the file", "virtls show {file}"),
			because("it is a self-signed certificate that is its own authority: these programs never take one; make an authority and issue from it", "issuer and subject", "virtls show {file}", "virtls issue --server --cn HOST"),
		},
	},
	{
		ID: "ca-not-an-authority", By: "QEMU, libvirt",
		Texts: []string{"The certificate {file} basic constraints do not show a CA", "The certificate {file} is missing basic constraints for a CA"},
		Means: "a certificate that is to be an authority says that it is none, or nothing about it",
		Causes: []Cause{
			because("a server's or client's certificate is in the CA file, by itself or after a chain was appended to it", "each certificate in the file", "virtls show {file}"),
			because("the authority was made without `ca` in certtool's template, or without basicConstraints=CA:TRUE in OpenSSL's configuration", "the basic constraints", "virtls show {file}", "virtls init --org NAME"),
			because("it is a very old authority (X.509 version 1), which has no extensions", "the version", "virtls show {file}"),
			because("a self-signed server certificate is used as its own authority: QEMU takes the first certificate that issued itself for the root", "issuer and subject", "virtls show {file}"),
		},
	},
	{
		ID: "own-extension-unreadable", By: "QEMU, libvirt",
		Texts: []string{"Unable to query certificate {file} basic constraints", "Unable to query certificate {file} key usage", "Unable to query certificate {file} key purpose"},
		Means: "the certificate has this extension, and its content is not proper DER",
		Causes: []Cause{
			because("the program that issued the certificate encodes the extension wrongly, or the file is damaged", "the extensions", "virtls show {file}", "openssl x509 -noout -text -in {file}"),
		},
	},
	{
		ID: "ca-no-cert-sign", By: "QEMU, libvirt",
		Texts: []string{"Certificate {file} usage does not permit certificate signing"},
		Means: "the authority's key usage is critical and lacks keyCertSign",
		Causes: []Cause{
			because("the authority was made without cert_signing_key in certtool's template, or without keyCertSign", "the key usage", "virtls show {file}"),
			because("a server's or client's certificate with CA:TRUE is in the CA file or behind the own certificate", "each certificate in the file", "virtls show {file}"),
		},
	},
	{
		ID: "own-no-digital-signature", By: "QEMU, libvirt",
		Texts: []string{"Certificate {file} usage does not permit digital signature"},
		Means: "the certificate's key usage is critical and lacks digitalSignature, without which there is no TLS 1.3",
		Causes: []Cause{
			because("it was issued without signing_key in certtool's template, or only with keyEncipherment", "the key usage", "virtls show {file}", "virtls issue --server --client --cn HOST"),
			because("its key usage is there and empty", "the key usage", "virtls show {file}"),
		},
	},
	{
		ID: "own-no-key-encipherment", By: "QEMU, libvirt",
		Texts:    []string{"Certificate {file} usage does not permit key encipherment"},
		Means:    "the certificate's key usage is critical and lacks keyEncipherment, which these versions demand though TLS does not need it",
		Versions: "QEMU before 10.2 (without the patch that 10.0.7 and Debian's 7.2.22 have), libvirt before 11.5 for all keys, 11.5 for RSA keys; Debian's 11.3.0-3+deb13u3 has the patch",
		Causes: []Cause{
			because("certtool leaves keyEncipherment out for EC and EdDSA keys, even with encryption_key in the template", "the key usage",
				"virtls show {file}", "virtls issue --server --client --cn HOST"),
			because("the template has no encryption_key, as newer documentation recommends", "the template", "virtls show {file}"),
		},
	},
	{
		ID: "own-purpose", By: "QEMU, libvirt",
		Texts: []string{"Certificate {file} purpose does not allow use with a TLS {role}", "Certificate {file} purpose does not allow use for with a TLS {role}"},
		Means: "the certificate's extended key usage is critical and does not name this role",
		Causes: []Cause{
			because("a client's certificate is in the place of a server's, or the other way round", "the extended key usage", "virtls show {file}", "virtls validate {dir}"),
			because("the certificate has one purpose, and the host needs both: a host is client when it migrates a guest away and server when it receives one", "the extended key usage",
				"virtls issue --server --client --cn HOST"),
			because("the extended key usage says \"any\", which QEMU takes and libvirt, by a mistake in its check, does not", "the extended key usage", "virtls show {file}").in("libvirt, all versions"),
		},
	},
	{
		ID: "own-chain-order", By: "QEMU",
		Texts:    []string{"Cert {dn} does not match issuer of cert {dn}"},
		Means:    "the certificates in the own file are not in order: each must be followed by the one that issued it",
		Versions: "10.2 and later",
		Causes: []Cause{
			because("intermediates were appended in the wrong order, or ones that have nothing to do with the certificate", "subject and issuer of each certificate in server-cert.pem or client-cert.pem", "virtls show server-cert.pem"),
			because("the authority was replaced by one of the same name: its key identifier is another", "the key identifiers", "virtls validate"),
		},
	},
	{
		ID: "own-chain-incomplete", By: "QEMU",
		Texts:    []string{"Cert {dn} has no issuer in CA chain"},
		Means:    "going up from the own certificate, this one's issuer is neither in ca-cert.pem nor in the own file",
		Versions: "10.2 and later",
		Causes: []Cause{
			because("ca-cert.pem holds an intermediate without its root; QEMU before 10.2 took that, and sessions still would", "issuer and subject in ca-cert.pem", "virtls show ca-cert.pem"),
			because("ca-cert.pem is that of another authority", "the issuer of the certificate named in the text", "virtls validate"),
			because("the authority was made anew with the same name: its key identifier is another one", "the key identifiers", "virtls validate"),
			because("the intermediate is missing: it belongs behind the certificate in its own file", "server-cert.pem or client-cert.pem", "virtls show server-cert.pem"),
		},
	},
	{
		ID: "own-chain-unverifiable", By: "QEMU, libvirt",
		Texts: []string{"Unable to verify {role} certificate {file} against CA certificate {ca}"},
		Means: "GnuTLS could not even begin to verify the certificate",
		Causes: []Cause{
			because("one of the two files holds something that GnuTLS cannot use, such as a key of an unknown kind", "both files", "virtls show {file} {ca}"),
		},
	},
	{
		ID: "own-chain-unknown-issuer", By: "QEMU, libvirt",
		Texts: []string{"Our own certificate {file} failed validation against {ca}: The certificate hasn't got a known issuer"},
		Means: "the own certificate was not issued by any authority in the CA file",
		Causes: []Cause{
			because("the CA file is that of another authority: the authority was made anew, or the files come from two different ones", "the issuer of the certificate, the subjects in the CA file", "virtls show {file} {ca}", "virtls validate {dir}"),
			because("the certificate was issued by an intermediate, which is behind it in its own file: this check looks at the first certificate only, so the intermediate must be in the CA file", "both files", "virtls show {file}").in("libvirt, all versions; QEMU before 10.2"),
			because("the intermediate is in neither file", "the issuer of the certificate", "virtls show {file} {ca}"),
			because("the CA file holds more than 16 certificates, and the right one comes later", "how many there are", "grep -c BEGIN {ca}").in("libvirt; QEMU before 10.2"),
		},
	},
	{
		ID: "own-chain-not-trusted", By: "QEMU, libvirt",
		Texts: []string{"Our own certificate {file} failed validation against {ca}: The certificate is not trusted"},
		Means: "the own certificate names an authority of the CA file, but does not hold against it",
		Causes: []Cause{
			because("the authority was made anew with the same name, and the certificate is signed with the old key", "the key identifiers of both", "virtls show {file} {ca}", "virtls apply"),
			because("an authority or intermediate of the chain has expired or is not valid yet", "the dates in the CA file", "virtls show {ca}"),
			because("an intermediate may not issue (no CA in its basic constraints, or a path length that is used up), or name constraints forbid the certificate's names", "the extensions", "virtls validate {dir}"),
		},
	},
	{
		ID: "own-chain-insecure", By: "QEMU, libvirt",
		Texts: []string{"Our own certificate {file} failed validation against {ca}: The certificate uses an insecure algorithm"},
		Means: "a certificate of the chain is signed with SHA-1 or MD5, or has a key that the system's policy finds too small",
		Causes: []Cause{
			because("the authority or the certificate was made long ago, or by a tool that was told to use SHA-1", "signature algorithms and keys", "virtls show {file} {ca}", "virtls apply"),
			because("the system's policy was tightened", "the system-wide GnuTLS configuration: /etc/gnutls/config, update-crypto-policies --show", "virtls show {file} {ca}"),
		},
	},
	{
		ID: "own-chain-revoked", By: "QEMU, libvirt",
		Texts: []string{"Our own certificate {file} failed validation against {ca}: The certificate has been revoked"},
		Means: "the own certificate counts as revoked",
		Causes: []Cause{
			because("it is on a revocation list or a list of distrusted certificates of the system", "the lists", "virtls show {file}", "virtls list"),
		},
	},
	{
		ID: "own-chain-invalid", By: "QEMU, libvirt",
		Texts: []string{"Our own certificate {file} failed validation against {ca}: Invalid certificate", "Our own certificate {file} failed validation against {ca}"},
		Means: "the own certificate does not hold against the CA file",
		Causes: []Cause{
			because("the certificate comes from another authority than the CA file", "the issuer of the certificate, the subjects in the CA file", "virtls show {file} {ca}"),
			because("something in the chain has expired, is too weak or may not issue", "every certificate of the chain", "virtls validate {dir}"),
		},
	},
}
