package dropin

import (
	"errors"
	"net"

	"virtls/finding"
	"virtls/proto/nbd"
	"virtls/tlsengine"
)

// NBDError returns an error of an NBD client as QEMU's programs print it: in
// their words, with what the server says about it on a line of its own. secured
// tells that the connection was to be TLS.
func NBDError(err error, secured bool) error {
	if option, ok := errors.AsType[*nbd.OptionError](err); ok {
		return errors.New(optionText(option, secured))
	}
	if failure, ok := errors.AsType[*finding.Failure](err); ok && failure.Text != "" {
		return errors.New(failure.Text)
	}
	return err
}

func optionText(e *nbd.OptionError, secured bool) string {
	text := e.Text
	switch {
	case e.Err != nil && !secured:
		return "Failed to read option reply: Unexpected end-of-file before all data were read"
	// So a server refuses a client after the handshake: by an alert, or, as QEMU's, without a word.
	case e.Err != nil && isAlert(e.Err):
		return "Failed to read option reply: Cannot read from TLS channel: A TLS fatal alert has been received."
	case e.Err != nil:
		return "Failed to read option reply: Cannot read from TLS channel: The TLS connection was non-properly terminated."
	case e.Reply == nbd.RepErrTLSRequired:
		text += "\nDid you forget a valid tls-creds?"
	}
	if e.Said != "" {
		text += "\nserver reported: " + e.Said
	}
	return text
}

// isAlert tells whether the other side has said by an alert that it goes away:
// crypto/tls has no type for these.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	_, native := errors.AsType[*tlsengine.AlertError](err)
	return native || ok && op.Op == "remote error"
}
