package creds

import "virtls/finding"

// What can be wrong with the files themselves.
var (
	kindNoDir = finding.Define("credential-dir-unset", finding.Error,
		"the credentials name no directory for their files",
		"give the object its directory: dir=/etc/pki/qemu")
	kindMissing = finding.Define("credential-missing", finding.Error,
		"a file that the credentials need is not there",
		"put the file in its place, or name the directory that has it; 'virtls apply' lays out all files that a host needs")
	kindUnreadable = finding.Define("credential-unreadable", finding.Error,
		"a file of the credentials cannot be read",
		"let the user that the program runs as read the file and enter every directory above it")
	kindTooLarge = finding.Define("credential-too-large", finding.Error,
		"a file of the credentials is too large",
		"leave only what belongs in the file")
	kindHalfPair = finding.Define("pair-incomplete", finding.Error,
		"a certificate lies there without its key, or a key without its certificate",
		"put the other half beside it, or remove the one")
	kindNoIdentity = finding.Define("identity-missing", finding.Error,
		"a server has no certificate to show",
		"put the server's certificate and key in place; 'virtls apply' makes and lays out both")
	kindAnchors = finding.Define("anchors-malformed", finding.Error,
		"the file of trusted authorities cannot be read as certificates in PEM form",
		"put the authority's certificate there in PEM form: virtls show FILE tells what the file is")
	kindCert = finding.Define("cert-malformed", finding.Error,
		"the certificate's file cannot be read as certificates in PEM form",
		"put the certificate there in PEM form: virtls show FILE tells what the file is")
	kindKey = finding.Define("private-key-malformed", finding.Error,
		"the file holds no private key that can be used",
		"put the private key there in PEM form: virtls show FILE tells what the file is")
	kindKeyEncrypted = finding.Define("private-key-encrypted", finding.Error,
		"the private key is encrypted and no password is given",
		"name a secret with the password (QEMU: passwordid), or decrypt the key; libvirt's daemon cannot use encrypted keys")
	kindKeyPassword = finding.Define("private-key-password", finding.Error,
		"the password does not open the private key",
		"check the password; a newline at the end of its file is a part of it")
	kindKeyMismatch = finding.Define("private-key-mismatch", finding.Error,
		"the private key does not belong to the certificate",
		"put the certificate's own key beside it; 'virtls renew' makes a new pair")
	kindCRL = finding.Define("crl-malformed", finding.Error,
		"the revocation list cannot be read",
		"put the authority's list there in PEM form, or remove the file: virtls show FILE tells what it is")
	kindDH = finding.Define("dh-params-malformed", finding.Error,
		"the Diffie-Hellman parameters cannot be read",
		"remove the file: QEMU 10.2 and newer need none")
	kindDHDeprecated = finding.Define("dh-params-deprecated", finding.Warning,
		"a file of Diffie-Hellman parameters is deprecated, and its group is used instead of a standard one",
		"remove the file, unless clients without the groups of RFC 7919 must connect anonymously")
)

// What the sanity check refuses.
var (
	kindExpired = finding.Define("cert-expired", finding.Error,
		"the certificate has expired", "renew it: virtls renew")
	kindNotYetValid = finding.Define("cert-not-yet-valid", finding.Error,
		"the certificate is not valid yet", "check this machine's clock and that of the machine which issued it")
	kindIsCA = finding.Define("cert-is-ca", finding.Error,
		"an authority's certificate lies where one of a server or client belongs",
		"put the server's or client's own certificate first in the file; authorities belong in the CA file")
	kindNoSignature = finding.Define("cert-usage-signature", finding.Error,
		"the certificate's key usage does not allow signatures, without which there is no TLS handshake",
		"issue the certificate anew with the usage digitalSignature (certtool: signing_key)")
	kindNoEncipherment = finding.Define("cert-usage-encipherment", finding.Error,
		"the certificate's key usage does not allow key encipherment, which older releases want",
		"issue the certificate anew with the usage keyEncipherment (certtool: encryption_key, RSA keys only), or upgrade")
	kindPurpose = finding.Define("cert-purpose", finding.Error,
		"the certificate is made for another purpose",
		"issue the certificate anew for this use (certtool: tls_www_server, tls_www_client)")
	kindExtension = finding.Define("cert-extension-malformed", finding.Error,
		"an extension of the certificate is malformed", "issue the certificate anew")
	kindAnchorExpired = finding.Define("anchor-expired", finding.Error,
		"a trusted authority's certificate has expired",
		"take the expired certificate out of the CA file, and put the authority's current one there")
	kindAnchorNotYetValid = finding.Define("anchor-not-yet-valid", finding.Error,
		"a trusted authority's certificate is not valid yet",
		"check this machine's clock; put new authorities in the CA file when they are valid")
	kindNotCA = finding.Define("anchor-not-ca", finding.Error,
		"a certificate that is to be an authority's says that it is none",
		"put only authorities' certificates in the CA file, and make them with basic constraints that say CA (certtool: ca)")
	kindNoConstraints = finding.Define("anchor-without-constraints", finding.Error,
		"a certificate that is to be an authority's has no basic constraints",
		"make the authority's certificate anew with basic constraints that say CA (certtool: ca)")
	kindCannotSign = finding.Define("anchor-usage", finding.Error,
		"a trusted authority's key usage does not allow it to sign certificates",
		"make the authority's certificate anew with the usage keyCertSign (certtool: cert_signing_key)")
	kindUnordered = finding.Define("chain-unordered", finding.Error,
		"the certificates in the file do not follow each other from the leaf to its issuers",
		"put the own certificate first, then its issuer, then that one's issuer")
	kindNoRoot = finding.Define("chain-incomplete", finding.Error,
		"the authorities above the certificate are not all there, up to a self-signed one",
		"put the missing issuers, the root included, in the CA file")
	kindUnknownIssuer = finding.Define("chain-unknown-issuer", finding.Error,
		"no trusted authority has issued the certificate",
		"put the certificate of the authority that has issued it in the CA file")
	kindUntrusted = finding.Define("chain-untrusted", finding.Error,
		"the certificate is not to be trusted by the authorities in the CA file",
		"see what was found; mostly the authority's certificate was made anew and this one is from before: issue it anew")
	kindWeak = finding.Define("chain-weak", finding.Error,
		"the certificate or an authority above it is signed in a way that is too weak",
		"issue it anew, signed with SHA-256 or better")
)
