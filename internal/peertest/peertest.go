// Package peertest lets tests talk to real QEMU, libvirt, GnuTLS, OpenSSL and
// nbdkit, of every generation that virtls promises to work with.
//
// A [Generation] is one Debian release with its programs: the machine itself
// ([Host], which is to be Debian 12), and the roots [Trixie] and [Forky] that
// scripts/peers makes. [Each] runs a subtest for each of them:
//
//	func TestQemuAcceptsOurCertificates(t *testing.T) {
//		creds := makeCredentials(t) // a directory below t.TempDir()
//		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
//			server := g.QemuNBD(t, peertest.Options{},
//				"--object", "tls-creds-x509,id=tls0,endpoint=server,dir="+creds,
//				"--tls-creds", "tls0", "--read-only", "--format=raw", image).Ready()
//			got := g.Run(t, peertest.Options{}, "qemu-img", "info",
//				"--object", "tls-creds-x509,id=tls0,endpoint=client,dir="+creds,
//				"--image-opts", fmt.Sprintf("driver=nbd,host=localhost,port=%d,tls-creds=tls0", server.Port))
//			if got.Code != 0 {
//				t.Fatal(got)
//			}
//		})
//	}
//
// [Generation.Run] runs a program to its end. The methods named after servers
// start one on a free port of 127.0.0.1; [Proc.Ready] waits until it listens,
// [Proc.Refused] until it has given up, [Proc.Until] for anything else. A test
// that fails prints what its servers printed.
//
// # Where a program runs
//
// Every program has namespaces and a root of its own: an overlay over the
// machine's or the release's, gone when the program ends. In it are
//   - the directory for temporary files, at its own path and writable, so that
//     files below t.TempDir() and UNIX sockets have the same name on both sides;
//   - the module's files, at their own path and read-only, and the test's
//     working directory as working directory;
//   - empty /run, /etc/pki, /etc/libvirt, /var/lib/libvirt and home directory,
//     whatever the machine has there;
//   - the host name "peer", /etc/hosts with that, localhost and [Options].Hosts, and no DNS;
//   - a clean environment with LC_ALL=C, TZ=UTC and the umask 022.
//
// [Options] puts directories in other places (a staged etc/pki at /etc/pki),
// fills the home directory and makes the program run as an ordinary user. The
// network is the one of the calling thread, so that the test and its programs
// meet on loopback; a test that wants a network of its own locks its goroutine
// to a thread and unshares that thread's.
//
// Nothing outlives its test: a program and all it started, daemons included,
// are killed when the test ends, even if the test binary itself is killed.
//
// Namespaces need root. Without it only programs of [Host] run, directly on the
// machine and without Options that need a root of their own; the rest is skipped.
//
// # What is missing
//
// A test that needs a missing program, root or privilege is skipped with a
// message that says how to get it. Two environment variables change that:
//
//	VIRTLS_REQUIRE_PEERS=1        the test fails instead, unless only Forky is missing
//	VIRTLS_PEER_REPORT=/abs/file  each thing skipped is appended to this file, a line each
//
// VIRTLS_CACHE names the cache directory, as it does for scripts/peers.
package peertest
