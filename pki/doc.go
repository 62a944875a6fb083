// Package pki makes, reads and verifies keys, certificates, certificate
// requests and certificate revocation lists: classical ones and those signed
// with ML-DSA (RFC 9881), which crypto/x509 of Go 1.26 does not know.
//
// A certificate to be made is a [Spec], whoever asks for it: flags, a certtool
// template, a fleet file, a request. A certificate that exists is a
// [Certificate], which keeps every byte of its encoding, so that it can be
// judged as QEMU, libvirt, GnuTLS and OpenSSL judge it.
//
// Reading is lenient and judging is strict: what those programs load is loaded
// here too, with its oddities visible, and [Verify] refuses what must not be
// trusted. What GnuTLS, and so QEMU and libvirt, will say of a chain is another
// question, which [PredictGnuTLS] answers.
//
// Private keys are the standard library's types where it has one
// (*rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, *ecdh.PrivateKey),
// *mldsa.PrivateKey, and the few types of this package for what neither has.
package pki
