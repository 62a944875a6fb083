package qemunbd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"virtls/creds"
	"virtls/dropin"
	"virtls/internal/strerror"
	"virtls/proto/nbd"
)

// flagNames are qemu-nbd's names of the flags, by bit.
var flagNames = []string{"", "readonly", "flush", "fua", "rotational", "trim", "zeroes", "df", "multi", "resize", "cache", "fast-zero", "block-status-payload"}

// list prints what a server has.
func (r *run) list(ctx context.Context) error {
	secure, err := r.secure(creds.Client)
	if err != nil {
		return err
	}
	network, address := r.address()
	dialer := net.Dialer{Timeout: 30 * time.Second}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return say("Failed to connect to '%s': %s", address, strerror.Of(err))
	}
	exports, err := nbd.Query(ctx, c, nbd.Options{Secure: secure})
	if err != nil {
		return dropin.NBDError(err, secure != nil)
	}
	fmt.Fprintf(r.Out, "exports available: %d\n", len(exports))
	for _, e := range exports {
		fmt.Fprintf(r.Out, " export: '%s'\n", e.Name)
		if e.Description != "" {
			fmt.Fprintf(r.Out, "  description: %s\n", e.Description)
		}
		if e.Size < 0 {
			continue
		}
		fmt.Fprintf(r.Out, "  size:  %d\n", e.Size)
		if e.Flags.Has(nbd.HasFlags) {
			var names []string
			for bit, name := range flagNames {
				if name != "" && e.Flags&(1<<bit) != 0 {
					names = append(names, name)
				}
			}
			fmt.Fprintf(r.Out, "  flags: 0x%x ( %s )\n", uint16(e.Flags), strings.Join(names, " "))
		}
		if b := e.BlockSize; b.Min != 0 {
			fmt.Fprintf(r.Out, "  min block: %d\n  opt block: %d\n  max block: %d\n", b.Min, b.Preferred, b.Max)
		}
		if r.transactionSize {
			fmt.Fprintf(r.Out, "  transaction size: %s\n", map[bool]string{true: "64-bit", false: "32-bit"}[e.Extended])
		}
		if len(e.Contexts) > 0 {
			fmt.Fprintf(r.Out, "  available meta contexts: %d\n", len(e.Contexts))
			for _, name := range e.Contexts {
				fmt.Fprintf(r.Out, "   %s\n", name)
			}
		}
	}
	return nil
}
