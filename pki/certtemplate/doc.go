// Package certtemplate reads certtool's templates, the files that QEMU's and
// libvirt's documentation has people write, and compiles them into the
// specifications of package pki.
//
// There are two ways to use a template. The certtool drop-in wants what the
// real tool makes of it, quirks included: [Parse], then [Template.Certificate],
// [Template.Request], [Template.CRL] and the accessors, whose results, warnings
// and errors are those of certtool. Commands of our own want to know what the
// author got wrong: [Template.Lint] says it, with what to write instead.
//
// What is said of certtool here holds for GnuTLS 3.7.9 to 3.8.13 unless a
// version is named; where they differ, 3.8.13 is followed. The tests compare
// with the programs.
//
// Nothing here reads a clock, a file or a random source: time comes in as a
// [Clock], and serial and CRL numbers that the template does not name are left
// to the caller. A Template is not changed after it was made, so it may be
// shared among goroutines.
package certtemplate
