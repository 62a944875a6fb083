package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"virtls/finding"
	"virtls/internal/wait"
)

// Listen opens the listeners. [Gateway.Serve] does it if it was not done before.
func (g *Gateway) Listen(ctx context.Context) (err error) {
	if g.o.Listen.Address.network != "" {
		if g.listener, err = g.listen(ctx, g.o.Listen.Address); err != nil {
			return err
		}
	}
	if g.door != nil {
		if g.door.listener, err = g.listen(ctx, g.o.VNC.Web.Address); err != nil {
			return err
		}
		return g.checkDoor()
	}
	return nil
}

// checkDoor refuses a socket that shows passwords to a network, whatever its
// address was called.
func (g *Gateway) checkDoor() error {
	at, ok := g.door.listener.Addr().(*net.TCPAddr)
	if !ok || at.IP.IsLoopback() || g.o.VNC.Web.Credentials != nil {
		return nil
	}
	g.door.listener.Close()
	return kindOptions.Found("gateway "+g.o.Name, at.String()).WithText("browsers would send passwords and tokens there in clear").
		WithFix("name credentials (--websocket-tls-creds), or listen on 127.0.0.1 or a UNIX socket behind something that has TLS").Usage()
}

// cannotListen says why nobody can listen at an address, and what helps.
func cannotListen(address, text string, err error) error {
	f := kindListen.Found(address, "").WithText("%s", text)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f = f.WithFix("name an address that this machine has, as ip address shows them, or none for all of them")
	case errors.Is(err, syscall.EADDRINUSE):
		f = f.WithFix("end the program that has the address (ss -ltnp shows it), or choose another port")
	case errors.Is(err, fs.ErrNotExist):
		f = f.WithFix("make the directory of the socket first")
	case errors.Is(err, fs.ErrPermission):
		f = f.WithFix("run it as a user who may, or choose a port above 1023 or another directory")
	}
	return f.Unable(err)
}

func (g *Gateway) listen(ctx context.Context, a Address) (net.Listener, error) {
	l, err := a.listen(ctx)
	if err != nil {
		return nil, cannotListen(a.String(), fmt.Sprintf("the gateway %s cannot listen", g.o.Name), err)
	}
	g.log.Info("listening", "address", l.Addr().String(), "connect", g.o.to())
	return l, nil
}

// Addr returns where the gateway listens, nil before [Gateway.Listen].
func (g *Gateway) Addr() net.Addr {
	if g.listener == nil {
		return nil
	}
	return g.listener.Addr()
}

// Serve serves until ctx ends; then it takes no more connections and returns
// when those that are there have ended, or were cut off after the drain limit.
func (g *Gateway) Serve(ctx context.Context) error {
	if g.listener == nil && (g.door == nil || g.door.listener == nil) {
		if err := g.Listen(ctx); err != nil {
			return err
		}
	}
	// Connections outlive ctx: they are drained.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var serving sync.WaitGroup
	serve := func(l net.Listener, take func(context.Context, net.Conn)) {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		defer stop()
		if err := g.accept(ctx, l, func(nc net.Conn) { take(work, nc) }); err != nil {
			end(err)
		}
		l.Close()
	}
	g.watch(ctx, &serving)
	if g.door != nil {
		serving.Go(func() { g.door.serve(ctx) })
		serving.Go(func() { serve(g.door.listener, g.door.take) })
	}
	if g.listener != nil {
		serve(g.listener, g.take)
	}
	serving.Wait()
	g.drain(cut)
	if failed, ok := errors.AsType[*finding.Failure](context.Cause(ctx)); ok {
		return failed
	}
	return nil
}

// accept takes connections until ctx ends.
func (g *Gateway) accept(ctx context.Context, l net.Listener, take func(net.Conn)) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case err != nil && isPassing(err):
			// Without descriptors or memory accepting fails at once, again and again.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			g.log.Error("cannot accept", "error", err.Error(), "pause", pause.String())
			_ = wait.Sleep(ctx, pause) // what ended is seen above
		case err != nil:
			return kindListen.Found(l.Addr().String(), "").WithText("the gateway %s cannot accept connections", g.o.Name).Unable(err)
		default:
			pause = 0
			take(nc)
		}
	}
}

// passing are errors after which accepting may succeed: what is short, and what is
// the matter with the one connection that is accepted, which Linux tells here
// (accept(2)), or that a firewall forbids it.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EPROTO, syscall.ENOPROTOOPT,
	syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENONET, syscall.EPERM, syscall.EACCES,
}

// isPassing tells whether accepting may succeed later.
func isPassing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}

// drain waits for the connections that are there, and cuts them after the limit.
func (g *Gateway) drain(cut context.CancelFunc) {
	ended := make(chan struct{})
	go func() {
		g.running.Wait()
		close(ended)
	}()
	if n := g.count(); n > 0 {
		g.log.Info("draining", "connections", n, "limit", g.o.DrainLimit.String())
	}
	var late <-chan time.Time
	if g.o.DrainLimit > 0 {
		timer := time.NewTimer(g.o.DrainLimit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ended:
	case <-late:
		g.log.Warn("cut off", "connections", g.count(), "after", g.o.DrainLimit.String())
		cut()
		g.cut()
		<-ended
	}
	g.log.Info("stopped")
}

// cut ends connections that pass bytes; the end of the context has ended those
// that do not yet.
func (g *Gateway) cut() {
	g.mu.Lock()
	g.cutting = true
	var passing []*connection
	for c := range g.conns {
		if c.passes {
			passing = append(passing, c)
		}
	}
	g.mu.Unlock()
	for _, c := range passing {
		c.relay.stop(errCut)
	}
}

func (g *Gateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}
