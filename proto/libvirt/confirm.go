package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"virtls/finding"
	"virtls/internal/wait"
)

// DefaultConfirmationLimit bounds the wait for the confirmation, and its sending,
// when the context has no deadline. libvirt's own client waits for ever.
const DefaultConfirmationLimit = 10 * time.Second

// confirmation is what a server sends to a client that it has accepted
// (virNetServerClientCheckAccess, src/rpc/virnetserverclient.c).
const confirmation = 1

var (
	kindUnconfirmed = finding.Define("libvirt-unconfirmed", finding.Error,
		"the libvirt server closed the connection after the TLS handshake, without confirming it: it has refused this client's certificate, or it is no libvirt server",
		"the server's log has the reason (journalctl -u libvirtd, or -u virtproxyd: \"Certificate check failed\"); virtls probe compares the certificate with what the server asks for")
	kindConfirmationLate = finding.Define("libvirt-confirmation-late", finding.Error,
		"the TLS handshake is complete, but the byte did not come with which a libvirt server confirms it",
		"something else than libvirt listens there, a TLS proxy that ends in front of a plain service that waits, or a server that hangs; virtls gateway libvirt sends the byte")
	kindConfirmationWrong = finding.Define("libvirt-confirmation-wrong", finding.Error,
		"the server sent something else than the byte with which libvirt confirms a client",
		"it is no libvirt server, or a proxy of another protocol; libvirt's TLS port is 16514")
)

// Confirm tells the client that it was accepted. Servers call it once, when the
// handshake is complete and the client's certificate has been judged.
func Confirm(ctx context.Context, c net.Conn) error {
	return within(ctx, c, DefaultConfirmationLimit, func() error {
		_, err := c.Write([]byte{confirmation})
		return err
	})
}

// AwaitConfirmation waits until the server confirms that it accepts this client,
// until the context ends or, if it has no deadline, [DefaultConfirmationLimit].
// A refusal is a *[finding.Failure]. It reads that byte and nothing more.
func AwaitConfirmation(ctx context.Context, c net.Conn) error {
	var b [1]byte
	err := within(ctx, c, DefaultConfirmationLimit, func() error {
		_, err := io.ReadFull(c, b[:])
		return err
	})
	subject := "libvirt server"
	if a := c.RemoteAddr(); a != nil {
		subject += " at " + a.String()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		f := kindConfirmationLate.Found(subject, "").Wrong()
		f.Cause = err
		return f
	case err != nil:
		f := kindUnconfirmed.Found(subject, "").Wrong()
		f.Cause = err
		return f
	case b[0] != confirmation:
		return kindConfirmationWrong.Found(subject, fmt.Sprintf("0x%02x", b[0])).WithWant("0x01", "libvirt").Wrong()
	}
	return nil
}

// within runs reads or writes until the context ends, or a limit if it has no
// deadline. What ends it is the context's error. Afterwards the connection has
// no deadline.
func within(ctx context.Context, c net.Conn, limit time.Duration, f func() error) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	late, err := wait.Within(ctx, f, c)
	if late && err != nil {
		return context.Cause(ctx)
	}
	return err
}
