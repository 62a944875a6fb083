package wire

import "fmt"

// Alert is an alert description (RFC 8446, section 6).
type Alert uint8

// The alerts.
const (
	CloseNotify                  Alert = 0
	UnexpectedMessage            Alert = 10
	BadRecordMAC                 Alert = 20
	RecordOverflow               Alert = 22
	HandshakeFailure             Alert = 40
	BadCertificate               Alert = 42
	UnsupportedCertificate       Alert = 43
	CertificateRevoked           Alert = 44
	CertificateExpired           Alert = 45
	CertificateUnknown           Alert = 46
	IllegalParameter             Alert = 47
	UnknownCA                    Alert = 48
	AccessDenied                 Alert = 49
	DecodeError                  Alert = 50
	DecryptError                 Alert = 51
	ProtocolVersion              Alert = 70
	InsufficientSecurity         Alert = 71
	InternalError                Alert = 80
	InappropriateFallback        Alert = 86
	UserCanceled                 Alert = 90
	NoRenegotiation              Alert = 100
	MissingExtension             Alert = 109
	UnsupportedExtension         Alert = 110
	UnrecognizedName             Alert = 112
	BadCertificateStatusResponse Alert = 113
	UnknownPSKIdentity           Alert = 115
	CertificateRequired          Alert = 116
	NoApplicationProtocol        Alert = 120
)

func (a Alert) String() string { return name(alertNames, a, "alert") }

var alertNames = map[Alert]string{
	CloseNotify: "close_notify", UnexpectedMessage: "unexpected_message", BadRecordMAC: "bad_record_mac", RecordOverflow: "record_overflow",
	HandshakeFailure: "handshake_failure", BadCertificate: "bad_certificate", UnsupportedCertificate: "unsupported_certificate",
	CertificateRevoked: "certificate_revoked", CertificateExpired: "certificate_expired", CertificateUnknown: "certificate_unknown",
	IllegalParameter: "illegal_parameter", UnknownCA: "unknown_ca", AccessDenied: "access_denied", DecodeError: "decode_error",
	DecryptError: "decrypt_error", ProtocolVersion: "protocol_version", InsufficientSecurity: "insufficient_security",
	InternalError: "internal_error", InappropriateFallback: "inappropriate_fallback", UserCanceled: "user_canceled",
	NoRenegotiation: "no_renegotiation", MissingExtension: "missing_extension", UnsupportedExtension: "unsupported_extension",
	UnrecognizedName: "unrecognized_name", BadCertificateStatusResponse: "bad_certificate_status_response",
	UnknownPSKIdentity: "unknown_psk_identity", CertificateRequired: "certificate_required", NoApplicationProtocol: "no_application_protocol",
}

// An Error is a reason to end a connection, with the alert that tells the peer.
type Error struct {
	Alert  Alert
	Reason string
	PSK    bool // the ends' pre-shared keys are the reason
}

func (e *Error) Error() string { return e.Reason }

// Errorf returns an [Error].
func Errorf(a Alert, format string, args ...any) *Error {
	return &Error{Alert: a, Reason: fmt.Sprintf(format, args...)}
}

// PSKErrorf returns an [Error] whose reason is a pre-shared key.
func PSKErrorf(a Alert, format string, args ...any) *Error {
	e := Errorf(a, format, args...)
	e.PSK = true
	return e
}
