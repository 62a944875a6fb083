package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/object"
)

// objectFlags define credentials and access lists for a network command, in
// QEMU's words.
type objectFlags struct {
	Object []string `help:"Define credentials, a secret or an access list as QEMU does, such as tls-creds-x509,id=tls0,dir=/etc/pki/qemu,endpoint=server, or as JSON; ,help lists an object's properties. May be given several times." placeholder:"OBJECT" sep:"none"`
}

// registry makes the objects in their order. What is wrong with one that can be
// used is printed. The caller closes the registry; report may be nil, else it
// hears of access lists whose files become bad, and good again.
func (f *objectFlags) registry(a *app, report func(id string, err error)) (*object.Registry, error) {
	r := &object.Registry{Report: report}
	for _, text := range f.Object {
		warnings, err := r.Add(text)
		if err != nil {
			r.Close()
			return nil, err
		}
		if err := a.warn(warnings); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// wantsHelp prints the help that the text of an object asked for.
func (a *app) wantsHelp(err error) (asked bool) {
	help, asked := errors.AsType[*object.Help](err)
	if asked {
		a.printf("%s", help.Text)
	}
	return asked
}

// warn tells people of findings that stop nothing; as JSON they go into the
// command's document or log.
func (a *app) warn(findings []finding.Finding) error {
	if a.json || len(findings) == 0 {
		a.found = append(a.found, findings...)
		return nil
	}
	return a.printFindings(findings)
}

// clientFlags are the TLS of a command that connects.
type clientFlags struct {
	objectFlags
	TLSCreds    string `name:"tls-creds" help:"Id of the credentials, an object with endpoint=client." placeholder:"ID"`
	TLSHostname string `name:"tls-hostname" help:"Name that the server's certificate must have, if it is not the host that is connected to." placeholder:"NAME"`
}

// credentials returns what --tls-creds names, nil without it. release ends the
// use of the object.
func (f *clientFlags) credentials(r *object.Registry) (holder *creds.Holder, release func(), err error) {
	return credentials(r, f.TLSCreds, creds.Client)
}

// credentials returns the credentials with an id, nil for the empty one.
func credentials(r *object.Registry, id string, end creds.Endpoint) (holder *creds.Holder, release func(), err error) {
	if id == "" {
		return nil, func() {}, nil
	}
	return r.Creds(id, end)
}

// accessList returns the access list with an id, nil for the empty one, and
// keeps it in place until release is called.
func accessList(r *object.Registry, id string) (list authz.Authorizer, release func(), err error) {
	if id == "" {
		return nil, func() {}, nil
	}
	if release, err = r.Use(id); err != nil {
		return nil, nil, err
	}
	return r.Authz(id), release, nil
}

// keepFresh loads credentials anew when their files change and on SIGHUP, until
// the context ends.
func keepFresh(ctx context.Context, running *sync.WaitGroup, log *slog.Logger, id string, holder *creds.Holder) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	report := func(err error) { logReload(log, id, err) }
	running.Go(func() { holder.Watch(ctx, report) })
	running.Go(func() {
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				report(holder.Reload(ctx))
			}
		}
	})
}

func logReload(log *slog.Logger, id string, err error) {
	if err == nil {
		log.Info("credentials loaded", "object", id)
		return
	}
	f := finding.Of(err)
	log.Error("credentials cannot be loaded; the old ones stay", "object", id, "code", f.Code, "reason", f.String(), "mend", f.Fix)
}
