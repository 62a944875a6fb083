package session

import (
	"errors"
	"io"
	"syscall"

	"virtls/finding"
	"virtls/tlsengine"
)

var kindPSKRefused = finding.Define("psk-refused", finding.Error,
	"the two ends do not have the same key for the same user",
	"compare the user's line in keys.psk on both machines, and the client's username; a server reads its file at every handshake")

// Alerts by which servers refuse a pre-shared key: GnuTLS sends illegal_parameter
// in TLS 1.3 for an unknown user, a wrong key and a wrong hash alike, and
// bad_record_mac in TLS 1.2; OpenSSL and virtls send decrypt_error, OpenSSL
// misses what a client with a certificate would have sent if the user is unknown
// (missing_extension), and others send what RFC 8446 has for it.
var pskAlerts = map[tlsengine.Alert]bool{
	tlsengine.IllegalParameter: true, tlsengine.DecryptError: true, tlsengine.BadRecordMAC: true, tlsengine.MissingExtension: true,
	tlsengine.UnknownPSKIdentity: true,
}

// pskRefused says what a failure of a handshake with a pre-shared key means, as
// far as this end can know. It reports false if the key is not the cause.
func (p *plan) pskRefused(subject string, err error) (finding.Finding, bool) {
	var alert *tlsengine.AlertError
	var own *tlsengine.Error
	why := ""
	switch {
	case p.psk == nil:
		return finding.Finding{}, false
	case p.server() && errors.As(err, &own) && own.PSK:
		return kindPSKRefused.Found(subject, p.chosen.reason).WithText("TLS handshake failed: %v", err), true
	case p.server():
		return finding.Finding{}, false
	case errors.As(err, &own) && own.PSK:
		return kindPSKRefused.Found(subject, "").WithText("TLS handshake failed: %v", err), true
	case errors.As(err, &alert) && pskAlerts[alert.Alert]:
		why = "the server refuses it"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		why = "the server closed the connection, as QEMU and nbdkit do"
	default:
		return finding.Finding{}, false
	}
	return kindPSKRefused.Found(subject, "").WithText("TLS handshake failed: %v: %s where it does not know user %q, has another key for this user, or wants a key with another hash than SHA-256", err, why, p.psk.Username()), true
}
