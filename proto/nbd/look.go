package nbd

import (
	"context"
	"net"
	"slices"
)

// Upgrade greets a server and has it begin TLS: the next octets on the connection
// are to be a handshake's, none of which has been read. It is for those who want
// to shake hands by themselves; [Look] goes on after that. The connection is the
// caller's to close. Errors are findings.
func Upgrade(ctx context.Context, c net.Conn, subject string) error {
	stay := func(_ context.Context, c net.Conn) (net.Conn, Peer, error) { return c, Peer{}, nil }
	return ask(ctx, c, Options{Secure: stay, Subject: subject}, func(*asker) error { return nil })
}

// Look is [Query] for all exports that the server lists and for the one of the
// options, of which a server that lists none may tell all the same. With
// [Options].Upgraded the connection is one on which [Upgrade] and a handshake
// were done. That the server does not have the export of the options is an
// error, with which the list of the others is returned. It closes the connection.
func Look(ctx context.Context, c net.Conn, o Options) (list []Info, err error) {
	err = query(ctx, c, o, func(a *asker) error {
		names, err := a.list()
		if err != nil {
			return err
		}
		if err := a.replies(); err != nil {
			return err
		}
		for _, listed := range names {
			info, err := a.about(listed, true)
			if err != nil {
				return err
			}
			list = append(list, info)
		}
		if o.Export == "" || slices.ContainsFunc(list, func(i Info) bool { return i.Name == o.Export }) {
			return nil
		}
		info, err := a.about(Info{Name: o.Export}, false)
		if err == nil {
			list = append(list, info)
		}
		return err
	})
	return list, err
}
