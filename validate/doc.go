// Package validate judges the credentials of a machine, of staged trees or of
// one directory: what each consumer in each of its versions makes of them, and
// whatever else is wrong with them.
//
// [Machine] looks wherever libvirt and QEMU look on a host, [Dir] at a directory
// that somebody names: a host's root (it has etc/pki below it), a home (it has
// .pki), a staged fleet (it has hosts or is full of roots), or the credentials
// themselves. Both return a [Result]: a [Verdict] for each consumer and version,
// and the findings behind them, where the consequence of something that is
// itself told is left out.
//
// How QEMU has Cyrus SASL let VNC's clients log in is judged, too, and [SASLConf]
// writes a configuration that is right.
//
// Verdicts are those of package creds, so of the files alone: nothing is
// started and nobody is asked.
package validate
