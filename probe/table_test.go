package probe

import (
	"time"

	"virtls/pki"
)

// setups are good and broken ones: every cause that people meet and that shows,
// or hides, on the wire.
var setups = []setup{
	// libvirt, what is right.
	{name: "libvirt good", service: "libvirtd", client: peer, posture: Mutual, each: true},
	{name: "libvirt list ours", service: "libvirtd list ours", client: peer, posture: Mutual},
	{name: "libvirt TLS 1.2", service: "libvirtd TLS 1.2", client: peer, posture: Mutual},

	// The server's certificate.
	{name: "libvirt foreign CA", service: "libvirtd foreign", client: peer, want: "peer-untrusted probe-client-foreign", posture: Encrypted, each: true},
	{name: "libvirt CA made anew", service: "libvirtd namesake", client: peer, want: "peer-untrusted", posture: Encrypted},
	{name: "libvirt expired", service: "libvirtd expired", client: peer, want: "peer-expired", posture: Encrypted},
	{name: "libvirt not yet valid", service: "libvirtd early", client: peer, want: "peer-expired", posture: Encrypted},
	{name: "libvirt ends soon", service: "libvirtd ends soon", client: peer, want: "probe-ends-soon", posture: Mutual},
	{name: "libvirt other name", service: "libvirtd other name", client: peer, want: "peer-name-mismatch", posture: Encrypted},
	{name: "libvirt name in CN alone", service: "libvirtd CN", client: peer, want: "peer-name-from-cn", posture: Mutual},
	{name: "libvirt intermediate missing", service: "libvirtd no chain", client: peer, want: "peer-untrusted", posture: Encrypted},
	{name: "libvirt server with a client's purpose", service: "libvirtd purpose", client: peer, want: "peer-usage", posture: Encrypted},
	{name: "libvirt stale", service: "libvirtd", client: peer, options: expecting, want: "probe-stale", posture: Mutual},

	// The client's certificate.
	{name: "libvirt client missing", service: "libvirtd", client: bare, want: "probe-client-missing", posture: Mutual, each: true},
	{name: "libvirt client foreign", service: "libvirtd", client: dir{client: &leaf{by: foreign}}, want: "chain-unknown-issuer probe-client-foreign", posture: Mutual},
	{name: "libvirt client expired", service: "libvirtd", client: dir{client: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}, want: "cert-expired probe-client-expired", posture: Mutual},
	{name: "libvirt client not yet valid", service: "libvirtd", client: dir{client: &leaf{from: 24 * time.Hour, to: 48 * time.Hour}}, want: "cert-not-yet-valid probe-client-expired", posture: Mutual},
	{name: "libvirt client with a server's purpose", service: "libvirtd", client: dir{client: &leaf{purpose: pki.PurposeServer}}, want: "cert-purpose probe-client-usage", posture: Mutual},
	{name: "libvirt client that may not sign", service: "libvirtd", client: dir{client: &leaf{usage: pki.KeyEncipherment}}, want: "cert-usage-signature probe-client-usage", posture: Mutual},
	{name: "libvirt client not on the list", service: "libvirtd list", client: peer, want: "probe-client-refused", posture: ServerVerified, each: true, log: 1},
	{name: "libvirt client revoked", service: "libvirtd revoked", client: dir{client: &leaf{name: "revoked"}}, want: "probe-client-refused", posture: ServerVerified, log: 2},
	{name: "libvirt client revoked by an old list", service: "libvirtd old list", client: dir{client: &leaf{name: "revoked"}}, want: "probe-client-refused", posture: ServerVerified, log: 2},
	{name: "libvirt everybody", service: "libvirtd everybody", client: peer, want: "probe-not-demanded", posture: ServerVerified},
	{name: "libvirt no_verify", service: "libvirtd foreign", client: dir{trust: foreign, client: &leaf{by: foreign}}, more: "&no_verify=1", want: "probe-no-verify", posture: Encrypted},
	{name: "libvirt list seen by a stranger", service: "libvirtd list ours", client: peer, options: stranger, posture: MutualList},
	{name: "libvirt stranger let in", service: "libvirtd", client: peer, options: stranger, want: "probe-stranger", posture: Mutual},

	// Priorities, other services, other ports.
	{name: "libvirt no shared version", service: "libvirtd TLS 1.2", client: peer, more: "&tls_priority=NORMAL:-VERS-ALL:%2bVERS-TLS1.3", want: "probe-no-version"},
	{name: "libvirt bad priority of the server", service: "libvirtd @SYSTEM", client: peer, want: "probe-closed", log: 2},
	{name: "libvirt bad priority of the client", service: "libvirtd", client: peer, more: "&tls_priority=NORMALL", want: "priority-syntax"},
	{name: "libvirt TLS to the plain port", service: "libvirtd plain", client: peer, want: "probe-closed", log: 1},
	{name: "libvirt without TLS", service: "libvirtd plain", client: peer, scheme: "test+tcp", want: "probe-plain", posture: Plain, each: true},
	{name: "libvirt without TLS to the TLS port", service: "libvirtd", client: peer, scheme: "test+tcp", want: "probe-plain probe-no-answer", posture: Plain},
	{name: "libvirt byte missing", service: "gnutls", client: peer, options: patient, want: "libvirt-confirmation-late", posture: ServerVerified},
	{name: "libvirt no such driver", service: "libvirtd", client: peer, scheme: "nosuch+tls", want: "probe-not-opened", posture: Mutual},
	{name: "libvirt nothing listens", service: "nothing", client: peer, want: "probe-refused", host: true},

	// Character devices and migrations of QEMU.
	{name: "chardev look", service: "chardev", tls: true, options: credentials(peer, ""), posture: ServerVerified, each: true},
	{name: "chardev complete", service: "chardev", tls: true, options: with(credentials(peer, ""), complete), posture: Mutual, each: true},
	{name: "chardev without credentials", service: "chardev", tls: true, want: "probe-not-judged", posture: Encrypted},
	{name: "chardev foreign CA", service: "chardev foreign", tls: true, options: credentials(peer, ""), want: "peer-untrusted probe-client-foreign", posture: Encrypted},
	{name: "chardev client missing", service: "chardev", tls: true, options: with(credentials(bare, ""), complete), want: "probe-client-missing", posture: Mutual},
	{name: "chardev client foreign", service: "chardev", tls: true, options: credentials(dir{client: &leaf{by: foreign}}, ""), want: "probe-client-foreign", posture: ServerVerified},
	{name: "chardev client with a server's purpose", service: "chardev", tls: true, options: credentials(dir{client: &leaf{purpose: pki.PurposeServer}}, ""), want: "probe-client-purpose", posture: ServerVerified},
	{name: "chardev client expired", service: "chardev", tls: true, options: with(credentials(dir{client: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}, ""), complete), want: "probe-client-expired", posture: Mutual},
	{name: "chardev client not on the list", service: "chardev list", tls: true, options: with(credentials(peer, ""), complete), want: "probe-client-refused", posture: ServerVerified, each: true},
	{name: "chardev everybody", service: "chardev everybody", tls: true, options: with(credentials(peer, ""), complete), want: "probe-not-demanded", posture: ServerVerified},
	{name: "chardev psk good", service: "chardev psk", tls: true, options: key("rich", pskKey, ""), posture: Mutual, each: true},
	{name: "chardev psk wrong key", service: "chardev psk", tls: true, options: key("rich", otherKey, ""), want: "probe-key-refused", each: true},
	{name: "chardev psk unknown user", service: "chardev psk", tls: true, options: key("poor", pskKey, ""), want: "probe-key-refused"},
	{name: "chardev psk TLS 1.2 wrong key", service: "chardev TLS 1.2 psk", tls: true, options: with(key("rich", otherKey, ""), complete), want: "probe-key-refused"},
	{name: "chardev psk probed with a certificate", service: "chardev psk", tls: true, options: credentials(peer, ""), want: "probe-other-credentials"},
	{name: "chardev TLS 1.3 psk probed with a certificate", service: "chardev TLS 1.3 psk", tls: true, options: credentials(peer, ""), want: "probe-nothing-shared"},
	{name: "chardev probed with a key", service: "chardev", tls: true, options: key("rich", pskKey, ""), want: "probe-other-credentials"},
	{name: "chardev anonymous", service: "chardev anonymous", tls: true, options: anonymous, want: "probe-anonymous", posture: AnonymousTLS},
	{name: "chardev anonymous probed with a certificate", service: "chardev anonymous", tls: true, options: credentials(peer, ""), want: "probe-other-credentials", posture: AnonymousTLS},
	{name: "chardev probed anonymously", service: "chardev", tls: true, options: anonymous, want: "probe-other-credentials"},
	{name: "chardev plain", service: "chardev plain", tls: true, options: with(credentials(peer, ""), quick), want: "probe-silent"},
	{name: "migration look", service: "migration", tls: true, options: credentials(peer, ""), posture: ServerVerified, each: true},
	{name: "migration plain", service: "migration plain", tls: true, options: credentials(peer, ""), want: "probe-closed", log: 1},

	// GnuTLS and OpenSSL.
	{name: "gnutls TLS 1.1", service: "gnutls TLS 1.1", tls: true, options: credentials(peer, ""), want: "probe-no-version", each: true},
	{name: "gnutls CBC alone", service: "gnutls CBC", tls: true, options: credentials(peer, ""), want: "probe-no-suite"},
	{name: "gnutls group", service: "gnutls X448", tls: true, options: credentials(peer, ""), want: "probe-no-group"},
	{name: "gnutls suite", service: "gnutls CBC", tls: true, options: credentials(peer, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM"), want: "probe-no-suite"},
	{name: "gnutls anonymous", service: "gnutls anonymous", tls: true, options: credentials(peer, ""), want: "probe-other-credentials", posture: AnonymousTLS},
	{name: "gnutls psk wrong key", service: "gnutls psk", tls: true, options: key("rich", otherKey, ""), want: "probe-key-refused", log: 2},
	{name: "gnutls client missing", service: "gnutls demands", tls: true, options: with(credentials(bare, ""), complete), want: "probe-client-missing", posture: Mutual},
	{name: "openssl good", service: "openssl demands", tls: true, options: with(credentials(peer, ""), complete), posture: Mutual, each: true},
	{name: "openssl client not asked", service: "openssl", tls: true, options: credentials(peer, ""), want: "probe-not-asked", posture: ServerVerified},
	{name: "openssl client missing", service: "openssl demands", tls: true, options: with(credentials(bare, ""), complete), want: "probe-client-missing", posture: Mutual},
	{name: "openssl client expired", service: "openssl demands", tls: true, options: with(credentials(dir{client: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}, ""), complete), want: "probe-client-expired", posture: Mutual},
	{name: "openssl RSA kept back by old GnuTLS", service: "openssl RSA", tls: true, options: credentials(dir{client: &leaf{key: "rsa2048"}}, ""), want: "probe-client-rsa", posture: ServerVerified},
	{name: "openssl no RSA for clients", service: "openssl no RSA", tls: true, options: credentials(dir{client: &leaf{key: "rsa2048"}}, ""), want: "probe-client-signature", posture: ServerVerified},
	{name: "openssl signature", service: "openssl Ed25519", tls: true, options: credentials(peer, "NORMAL:-SIGN-ALL:+SIGN-ECDSA-SECP256R1-SHA256"), want: "probe-no-signature"},
	{name: "openssl no shared version", service: "openssl TLS 1.2", tls: true, options: credentials(peer, "NORMAL:-VERS-ALL:+VERS-TLS1.3"), want: "probe-no-version"},

	// No TLS at all.
	{name: "hangs", service: "hangs", tls: true, options: patient, want: "probe-hangs", host: true},
	{name: "server wrong", service: "wrong", tls: true, options: patient, want: "probe-server-wrong", host: true},
	{name: "silence", service: "silence", tls: true, options: quick, want: "probe-silent", host: true},
	{name: "VNC", service: "VNC", tls: true, options: patient, want: "probe-not-tls", posture: Plain, host: true},
	{name: "dropped", service: "drops", tls: true, options: quick, want: "probe-timeout", host: true},
	{name: "nothing listens", service: "nothing", tls: true, want: "probe-refused", host: true},
}
