package fleet

import (
	"errors"
	"syscall"

	"virtls/finding"
)

var (
	kindStagedUnreadable = finding.Define("staged-file-unreadable", finding.Error,
		"a file of the staged tree cannot be read", "give yourself the right to read it; virtls runs as the user who owns the state directory")
	kindStagedUnwritable = finding.Define("staged-file-unwritable", finding.Error,
		"a file of the staged tree cannot be changed", "mend what the reason says, such as a full disk or a wrong owner, and run the command again")
	kindNotInFile = finding.Define("holder-not-in-file", finding.Warning,
		"credentials are staged for a host or client that the fleet file does not name",
		"put it back into the file, or revoke its certificates with virtls revoke and delete its directory")
	kindFileNotWanted = finding.Define("staged-file-not-wanted", finding.Warning,
		"a file is staged that the fleet file does not ask for",
		"delete it if the host no longer needs it; nothing is deleted for you")
	kindCannotPQC = finding.Define("pqc-not-loadable", finding.Error,
		"the fleet is to use ML-DSA alone, and this holder's GnuTLS cannot load ML-DSA keys",
		"set ml-dsa: true if its GnuTLS is 3.8.10 or later built with leancrypto, or use pqc: hybrid")
	kindNoParallel = finding.Define("pqc-no-parallel-identities", finding.Warning,
		"the host can load ML-DSA keys, but its QEMU or libvirt reads one identity only, so it gets the classical one",
		"QEMU 10.2 and libvirt 11.10 read parallel identities: set qemu and libvirt to the versions the host runs, or update it")
	kindDowngrade = finding.Define("pqc-downgrade", finding.Warning,
		"in a hybrid fleet whoever can forge classical signatures can pose as any host: a peer that offers no ML-DSA gets the classical identity",
		"use pqc: exclusive once every host and client can load ML-DSA")
	kindNotProved = finding.Define("proof-failed", finding.Error,
		"a TLS handshake with the credentials just staged failed", "the message says which check failed; run virtls apply again after mending it")
	kindTrustUnreadable = finding.Define("trust-file-unusable", finding.Error,
		"a file named under authority.trust holds no usable authority", "name files with CA certificates in PEM form")
	kindTrustExpired = finding.Define("trust-expired", finding.Warning,
		"an authority under authority.trust has expired and is left out of the bundles: libvirt, and QEMU up to 10.1, refuse to start with one in theirs",
		"remove it from the fleet file")
	kindTrustSameName = finding.Define("trust-same-name", finding.Warning,
		"an authority under authority.trust has the name of the fleet's own, and another key: people cannot tell them apart, nor can programs that look for names",
		"give the newer of them a name of its own with authority.name, as docs/guide/ca.md says")
	kindNotStaged = finding.Define("holder-not-staged", finding.Error,
		"nothing is staged for this host or client", "run virtls apply first")
	kindNoHolder = finding.Define("holder-unknown", finding.Error,
		"there is no such host or client", "give a name as it stands under hosts or clients in the fleet file")
	kindInterrupted = finding.Define("interrupted", finding.Error,
		"the run was interrupted; what was finished is kept", "run the same command again: it does the rest")
)

// Interrupted returns the error of a run whose context has ended.
func Interrupted() error { return kindInterrupted.Found("", "").Unable(nil) }

// unwritable makes an error of the file system a finding.
func unwritable(err error) error {
	_, isFailure := errors.AsType[*finding.Failure](err)
	if _, isSystem := errors.AsType[syscall.Errno](err); isFailure || !isSystem {
		return err
	}
	return kindStagedUnwritable.Found("", "").Unable(err)
}
