package dropin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"virtls/finding"
	"virtls/proto/nbd"
	"virtls/tlsengine"
)

var kindTest = finding.Define("test-nbd-option", finding.Error, "a server does not accept an option", "ask for another one")

// TestNBDError has QEMU's words for what servers say, and for how they say nothing.
func TestNBDError(t *testing.T) {
	behind := func(e *nbd.OptionError) error {
		return &finding.Failure{Finding: kindTest.Found("nbd://h:1", "").WithText("ours"), Cause: e}
	}
	const ended = "Failed to read option reply: "
	for _, tt := range []struct {
		name    string
		err     error
		secured bool
		want    string
	}{
		{"TLS wanted", behind(&nbd.OptionError{Option: nbd.OptGo, Reply: nbd.RepErrTLSRequired, Text: "TLS negotiation required before option 7 (go)", Said: "no"}), false,
			"TLS negotiation required before option 7 (go)\nDid you forget a valid tls-creds?\nserver reported: no"},
		{"no such export", behind(&nbd.OptionError{Option: nbd.OptGo, Reply: nbd.RepErrUnknown, Text: "Requested export not available"}), true, "Requested export not available"},
		{"end", behind(&nbd.OptionError{Option: nbd.OptGo, Err: io.ErrUnexpectedEOF}), false, ended + "Unexpected end-of-file before all data were read"},
		{"end of TLS", behind(&nbd.OptionError{Option: nbd.OptGo, Err: io.ErrUnexpectedEOF}), true, ended + "Cannot read from TLS channel: The TLS connection was non-properly terminated."},
		{"alert of crypto/tls", behind(&nbd.OptionError{Option: nbd.OptGo, Err: fmt.Errorf("read: %w", &net.OpError{Op: "remote error", Err: tls.AlertError(49)})}), true,
			ended + "Cannot read from TLS channel: A TLS fatal alert has been received."},
		{"alert of ours", behind(&nbd.OptionError{Option: nbd.OptGo, Err: fmt.Errorf("read: %w", &tlsengine.AlertError{Alert: tlsengine.AccessDenied})}), true,
			ended + "Cannot read from TLS channel: A TLS fatal alert has been received."},
		{"another finding", kindTest.Found("h", "").WithText("said so").Wrong(), true, "said so"},
		{"another error", errors.New("x"), true, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NBDError(tt.err, tt.secured).Error(); got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
		})
	}
}
