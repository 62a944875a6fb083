package dropin

import (
	"errors"
	"strings"

	"virtls/finding"
)

// NBDError returns an error of an NBD client as QEMU's programs print it: in
// their words, with what the server says about it on a line of its own. secured
// tells that the connection was to be TLS.
func NBDError(err error, secured bool) error {
	failure, ok := errors.AsType[*finding.Failure](err)
	if !ok {
		return err
	}
	text := failure.Text
	switch {
	case failure.Code == "nbd-protocol" && strings.Contains(failure.Got, "the answer to option"):
		// So a server refuses a client after the handshake: by an alert, or, as QEMU's, without a word.
		text = "Failed to read option reply: "
		switch {
		case !secured:
			text += "Unexpected end-of-file before all data were read"
		case strings.Contains(failure.Got, "alert"):
			text += "Cannot read from TLS channel: A TLS fatal alert has been received."
		default:
			text += "Cannot read from TLS channel: The TLS connection was non-properly terminated."
		}
	case text == "":
		return err
	case strings.HasPrefix(text, "TLS negotiation required"):
		text += "\nDid you forget a valid tls-creds?"
	}
	if strings.HasPrefix(failure.Got, "server reported: ") {
		text += "\n" + failure.Got
	}
	return errors.New(text)
}
