package sasl

import "virtls/finding"

var (
	kindNoMechanism = finding.Define("sasl-no-mechanism", finding.Error,
		"the two ends have no SASL mechanism in common that may be used here", "set mech_list of the server to scram-sha-256, and use TLS with certificates below")
	kindFailed = finding.Define("sasl-failed", finding.Error,
		"a SASL exchange failed", "check user, password and realm; the server's log may say more")
	kindAccounts = finding.Define("sasl-accounts", finding.Error,
		"a file of accounts cannot be used", "the text says why; each line is USER VERIFIER, and only the owner may read the file")
)
