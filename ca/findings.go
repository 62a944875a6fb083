package ca

import "virtls/finding"

// Kinds of findings about the state directory.
var (
	kindStateMissing = finding.Define("state-missing", finding.Error,
		"there is no state directory of virtls",
		"make one with `virtls init`, or with `virtls apply` where there is a fleet file; or name another one with --state")
	kindStateUnreadable = finding.Define("state-unreadable", finding.Error,
		"the state directory may not be read",
		"run the command as the owner of the directory, such as with sudo, or name another directory with --state")
	kindStateForeign = finding.Define("state-foreign", finding.Error,
		"the directory holds other things than the state of virtls",
		"name another directory with --state")
	kindStateMode = finding.Define("state-mode", finding.Error,
		"the state directory is open to others, and the authority's key lies in it",
		"chmod 700 it")
	kindStateOwner = finding.Define("state-owner", finding.Error,
		"the state directory belongs to somebody else, who could have put anything into it",
		"run the command as its owner, or name another directory with --state")
	kindStateLocked = finding.Define("state-locked", finding.Error,
		"another process is changing the state",
		"wait until it is done, or let this command wait for it, such as with --wait 5m")
	kindStateUnwritable = finding.Define("state-unwritable", finding.Error,
		"the state cannot be written",
		"mend what the reason says, such as a full disk or a read-only directory, and run the command again")
	kindStateUnfinished = finding.Define("state-unfinished", finding.Warning,
		"an earlier run was interrupted and left files unplaced",
		"the next command that changes the state finishes the work")
	kindFinished = finding.Define("state-finished", finding.Info,
		"an earlier run was interrupted, and its work has now been finished", "")
	kindAbandoned = finding.Define("placement-abandoned", finding.Warning,
		"files of an interrupted run cannot be put into place",
		"issue the certificate anew, and revoke the one that has no key")
)

// Kinds of findings about an authority.
var (
	kindAuthorityMissing = finding.Define("ca-missing", finding.Error,
		"there is no such authority",
		"make it with `virtls init`, or take it over with `virtls ca import`")
	kindAuthorityLost = finding.Define("ca-lost", finding.Error,
		"the register knows this authority and what it has issued, and its certificate or key is gone",
		"put both files back from a backup, or take the same authority over again with virtls ca import --cert FILE --key FILE; docs/guide/ca.md says how another one replaces it")
	kindAuthorityExists = finding.Define("ca-exists", finding.Error,
		"there is such an authority already, and none is ever overwritten",
		"use another name or another state directory; docs/guide/ca.md says how one authority replaces another")
	kindAuthorityName = finding.Define("ca-name", finding.Error,
		"this is no name for an authority's files", "")
	kindAuthorityWaits = finding.Define("ca-waiting", finding.Error,
		"the authority has no certificate yet",
		"have its request signed by the parent authority, and run: virtls ca install ANSWER PARENT...")
	kindAuthorityUnreadable = finding.Define("ca-unreadable", finding.Error,
		"the authority's file cannot be used",
		"restore it from a backup")
	kindAuthorityUnknown = finding.Define("ca-unregistered", finding.Error,
		"the register does not know this authority, so what it has issued is unknown",
		"restore register.db together with it, or take the authority over into a new state directory with `virtls ca import`")
	kindNotRoot = finding.Define("ca-not-a-root", finding.Error,
		"the authority is not a root, so its parent must renew it",
		"have the parent sign a new certificate for the same key, and run: virtls ca install ANSWER PARENT...")
	kindForeignFile = finding.Define("ca-import-unreadable", finding.Error,
		"the authority's file cannot be used",
		"give the file in PEM form")
	kindForeignPassphrase = finding.Define("ca-import-passphrase", finding.Error,
		"the authority's key does not open",
		"give the passphrase that opens it now with --key-passphrase-file")
	kindNotAuthority = finding.Define("ca-not-an-authority", finding.Error,
		"the certificate is not that of an authority",
		"use a certificate with basic constraints CA:TRUE")
	kindNoCertSign = finding.Define("ca-no-cert-sign", finding.Error,
		"the authority's certificate does not allow it to sign certificates",
		"use a certificate whose key usage has keyCertSign, or none at all")
	kindNoCRLSign = finding.Define("ca-no-crl-sign", finding.Warning,
		"the authority's certificate does not allow it to sign revocation lists: GnuTLS takes its lists nevertheless, OpenSSL refuses them",
		"renew the authority's certificate with cRLSign (certtool: crl_signing_key) before you revoke")
	kindKeyMismatch = finding.Define("ca-key-mismatch", finding.Error,
		"the authority's key does not belong to its certificate",
		"find the key that the certificate was made for, or restore both from one backup")
	kindChain = finding.Define("ca-chain", finding.Error,
		"the authority's chain is not one",
		"give the certificates in order: the authority's, its issuer's, and so on up to the root")
	kindChainShort = finding.Define("ca-chain-short", finding.Warning,
		"the authority's chain does not reach a root: OpenSSL does not trust it without",
		"import the authority with its issuers' certificates up to the root")
	kindPassphrase = finding.Define("ca-passphrase", finding.Error,
		"the authority's key does not open",
		"give its passphrase with --passphrase-file, --passphrase-fd or VIRTLS_PASSPHRASE")
	kindExpired = finding.Define("ca-expired", finding.Error,
		"the authority has expired, so nobody would accept what it signs",
		"renew it for the same key with virtls ca renew, or replace it as docs/guide/ca.md says")
	kindNotYetValid = finding.Define("ca-not-yet-valid", finding.Error,
		"the authority is not valid yet",
		"set this machine's clock")
	kindIndex = finding.Define("ca-index", finding.Error,
		"the index of issued certificates cannot be read",
		"give the index.txt that OpenSSL or easy-rsa wrote, undamaged")
	kindForeignCRL = finding.Define("ca-crl", finding.Error,
		"the revocation list cannot be taken over",
		"give the newest list that this authority signed")
	kindCRLWrong = finding.Define("crl-missing", finding.Error,
		"there is no revocation list of the authority that can be used",
		"run virtls apply, or virtls ca crl: they sign a new one")
	kindCRLDue = finding.Define("crl-due", finding.Warning,
		"a new revocation list is due",
		"run virtls apply, and put the new one in place")
	kindBackup = finding.Define("backup-damaged", finding.Error,
		"the backup cannot be used",
		"take another copy of it: this one is damaged or incomplete")
	kindNoBackup = finding.Define("backup-foreign", finding.Error,
		"the file is no backup that virtls ca export has written",
		"name such a backup; the files of an authority made elsewhere are taken over with virtls ca import --cert FILE --key FILE")
	kindBackupTooNew = finding.Define("backup-too-new", finding.Error,
		"the backup was written by a newer version of virtls",
		"use that version or a later one")
)

// Kinds of findings about certificates to be issued, renewed or revoked.
var (
	kindOrder = finding.Define("order-refused", finding.Error,
		"this certificate is not issued", "")
	kindWeakKey = finding.Define("key-refused", finding.Error,
		"no certificate is issued for this key",
		"make a key of type ec, rsa (2048 bits or more), ed25519 or mldsa65")
	kindRequest = finding.Define("request-refused", finding.Error,
		"the certificate request cannot be accepted",
		"have its owner make a new request")
	kindEndsEarlier = finding.Define("ca-ends-earlier", finding.Warning,
		"the authority's new certificate ends before the one whose place it takes",
		"renew it for longer: virtls ca renew --days DAYS")
	kindClamped = finding.Define("certificate-clamped", finding.Warning,
		"the certificate ends with its authority, earlier than asked for",
		"shorten its life, or renew the authority first with virtls ca renew")
	kindNameless = finding.Define("certificate-nameless", finding.Warning,
		"clients that compare host names with the alternative names will not find the server's name there",
		"add the name by which clients connect as an alternative name")
	kindUnknown = finding.Define("certificate-unknown", finding.Error,
		"no certificate with this serial number was issued here",
		"list what was issued with `virtls list`")
)
