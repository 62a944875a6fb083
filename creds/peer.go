package creds

import (
	"time"

	"virtls/pki"
)

// sessionFile is what libvirt calls a certificate that came in a session.
const sessionFile = "[session]"

// JudgePeer predicts what the consumer says of a peer's own certificate by
// itself, its chain, name and revocation set aside: libvirt makes the checks of
// its own certificate again (virNetTLSSessionCheckCertificate), QEMU only those
// of the times (qcrypto_tls_session_check_certificate), if a check of the chain
// has not made them already.
func (c Consumer) JudgePeer(cert *pki.Certificate, now time.Time) Judgement {
	c.Endpoint = 1 - c.Endpoint // the peer's
	l := &loader{Consumer: c, now: now}
	s := subject{cert: cert, file: sessionFile}
	l.checkTimes(s)
	if c.isLibvirt() {
		l.checkBasicConstraints(s)
		l.checkKeyUsage(s)
		l.checkPurpose(s)
	}
	return Judgement{Accepted: !l.refused(), Problems: l.problems}
}
