package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"virtls/console"
	"virtls/creds"
)

type consoleCmd struct {
	URL    string        `arg:"" help:"Where the console is: tls://HOST:PORT, tcp://HOST:PORT or unix:///PATH."`
	Escape string        `help:"Key that ends the console: ^ and a letter or one of @ [ \\ ] ^ _, a single character, or none." default:"^]" placeholder:"KEY"`
	Linger time.Duration `help:"How long to wait for more from the other end when standard input has ended." default:"1s" placeholder:"TIME"`
	clientFlags
}

func (*consoleCmd) Help() string {
	return `Talks to a character device of QEMU's (-chardev socket,server=on,tls-creds=...): a serial console, a monitor.
On a terminal every key goes to the guest, but for the escape key (^]: Control and the right bracket), which
ends the console. From a pipe or a file the octets are sent as they are, and the console ends when the other
end has been silent for --linger.

Examples:
  virtls console tls://kvm1.example.com:5555 --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --tls-creds tls0
  virtls console unix:///run/vm1/console.sock --escape ^a
  echo 'info status' | virtls console tcp://localhost:4444`
}

func (c *consoleCmd) Run(a *app) error {
	key, err := console.ParseKey(c.Escape)
	if err != nil {
		return kindUsage.Found("--escape", c.Escape).WithText("%v", err).Usage()
	}
	address, err := console.ParseAddress(c.URL)
	if err != nil {
		return err
	}
	r, err := c.registry(a, nil)
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	holder, release, err := c.credentials(r)
	if err != nil {
		return err
	}
	defer release()
	var credentials creds.Credentials
	if holder != nil {
		credentials = holder.Current()
	}
	conn, err := console.Dial(a.ctx, address, credentials, c.TLSHostname)
	if err != nil {
		return err
	}
	// The terminal is given back whatever ends the console.
	ctx, stop := signal.NotifyContext(a.ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	people := term.IsTerminal(int(a.stdin.Fd()))
	if people {
		fmt.Fprintf(a.stderr, "Connected to %s. The escape key is %s.\n", c.URL, key)
	}
	end, received, err := console.Run(ctx, conn, console.Options{In: a.stdin, Out: a.stdout.to, Escape: key, Linger: c.Linger})
	switch {
	case ctx.Err() != nil:
		return errors.New("ended by a signal")
	case err != nil:
		return err
	case end == console.Hangup && received == 0:
		return console.Refused(address)
	case people && end == console.Hangup:
		fmt.Fprintln(a.stderr, "\nThe other end has closed the connection.")
	case people:
		fmt.Fprintln(a.stderr)
	}
	return nil
}
