// Package ca holds certificate authorities in a state directory: it makes them
// or takes them over, issues, renews and revokes certificates, backs
// authorities up and restores them, and keeps in a register (package register)
// what was done, by whom and how.
//
// A [State] is an open state directory:
//
//	version             of the directory's layout
//	lock                who is changing the state; empty if nobody is
//	register.db         the register
//	ca/NAME-cert.pem    an authority's certificate, then its issuers' up to the root
//	ca/NAME-key.pem     its key, encrypted unless asked otherwise
//	ca/NAME-crl.pem     its newest revocation list
//	ca/NAME-request.pem the request of one whose certificate its parent has yet to sign
//
// All other names in it are the caller's. A certificate to be issued is an
// [Order] around a pki.Spec, whoever asks for it: [Leaf] makes the Spec for a
// fleet or for flags, [RenewalSpec] for a certificate that exists, package
// certtemplate for a template. [Authority.Issue] takes them all, and the policy
// is there: what is not a good certificate is not signed.
//
// # What is on the disk when
//
// Writers hold the directory's lock, so that there is one at a time. Each
// change goes through these steps, and a process may be killed, or the power
// may fail, before, in or after any of them:
//
//  1. The caller stages new private keys: each is complete in a temporary file
//     beside its place, with its final mode, and on the disk (atomicfile.Stage
//     and Sync).
//  2. Issue signs in memory.
//  3. One transaction adds the certificates to the register, and to its journal
//     which files they make necessary (register.Placement): where the staged
//     key is, where it belongs, what is to stand in the certificate's file, and
//     where that belongs. The commit is on the disk before anything follows.
//  4. [State.Place] writes the certificates' files under temporary names, syncs
//     them, and renames keys and certificates to their places, a key's copies
//     before the staged key itself, and keys before certificates; it syncs the
//     directories.
//  5. A second transaction takes the placements out of the journal.
//
// What a kill leaves:
//
//   - Before the commit of 3, temporary files that nobody knows. SQLite rolls
//     the transaction back. No certificate has left memory, so no serial number
//     has been used. The next OpenState removes the temporary files: a lock file
//     that is not empty says that its holder did not come to its end.
//   - After it, a register that knows everything and files that are old, new or
//     staged, each of them whole. The next OpenState places the journal's
//     entries again from step 4, which changes nothing where it had been done. A
//     staged key that is gone has taken its place, since its rename is the last
//     thing that happens to it.
//
// So no certificate is in a file or in a peer's hands that the register lacks,
// no serial number is used twice, no key is half-written, and whoever comes
// next finishes the work. If a staged key was deleted meanwhile, its
// certificate is useless: OpenState says so, and the placement leaves the
// journal. Authorities, requests and revocation lists take the same way.
//
// A restore has one step at which it happens: a directory that holds the whole
// and checked backup gets the name that OpenState looks for; what follows are
// renames that OpenState does again.
package ca
