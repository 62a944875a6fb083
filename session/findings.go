package session

import "virtls/finding"

var (
	kindHandshake = finding.Define("handshake-failed", finding.Error,
		"the TLS handshake ended before both ends had agreed", "the text says which end gave up and why; virtls explain knows the usual causes")
	kindCredentials = finding.Define("session-credentials", finding.Error,
		"credentials cannot serve the session they are used for", "the text says what is missing")
	kindEngine = finding.Define("engine-cannot", finding.Error,
		"the TLS engine that was asked for cannot do what the credentials or the priority string demand", "let virtls choose the engine, or change the priority string")
	kindNoHostname = finding.Define("no-hostname", finding.Error,
		"a client that verifies its server must know whom it wants to talk to", "name the host: tls-hostname of NBD, the host part of a URI; or verify-peer=off, which trusts everybody")
	kindNoPeerCertificate = finding.Define("peer-no-certificate", finding.Error,
		"the peer showed no certificate", "give the peer one that was issued by an authority in this end's CA file, for its role; clients keep one back whose authority the server does not name")
	kindPeerUntrusted = finding.Define("peer-untrusted", finding.Error,
		"the peer's certificate is not to be trusted", "the text says what is wrong with it; virtls show and virtls validate say more on the peer's machine")
	kindPeerExpired = finding.Define("peer-expired", finding.Error,
		"a certificate of the peer is past its end, or not yet valid", "renew it (virtls renew), or set the clock of the machine that is wrong")
	kindPeerRevoked = finding.Define("peer-revoked", finding.Error,
		"the peer's certificate is on a revocation list", "issue another certificate if the peer is still to come in")
	kindPeerName = finding.Define("peer-name-mismatch", finding.Error,
		"the server's certificate is not for the host that was asked for", "connect by a name that is in the certificate, or add this one to the host's names in the fleet file and run virtls apply")
	kindPeerDenied = finding.Define("peer-denied", finding.Error,
		"the access list does not let the peer in", "add a rule for this name to the access list; it must be in the order of the certificate, as printed here")
	kindPeerUsage = finding.Define("peer-usage", finding.Error,
		"the peer's certificate is not for what the peer does with it", "issue it again for that role")
	kindPeerPurpose = finding.Define("peer-purpose", finding.Warning,
		"the peer's certificate is not for its role; QEMU does not look, OpenSSL and Go refuse it", "issue it again for that role")
	kindNameFromCN = finding.Define("peer-name-from-cn", finding.Warning,
		"the server's name was found in the common name only, which GnuTLS accepts and others do not", "issue the certificate again with the name among its alternative names")
)
