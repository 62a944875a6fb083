package creds

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"virtls/finding"
	"virtls/pki"
)

// loadFrom loads the X.509 credentials of whichever directory dir returns.
func loadFrom(e Endpoint, dir func() string) LoadFunc {
	return func(context.Context) (Credentials, []finding.Finding, error) {
		x, warnings, err := LoadX509(X509Options{Dir: dir(), Endpoint: e})
		if err != nil {
			return nil, nil, err
		}
		return x, warnings, nil
	}
}

func TestHolder(t *testing.T) {
	w := theWorld()
	good, weak := dirOf(t, w.good(), Server), dirOf(t, usual(w.root, mold{}.by(w.root)), Server)
	bad := dirOf(t, w.good().with("key", keyOf(w.root)), Server)
	dir := bad
	load := loadFrom(Server, func() string { return dir })
	ctx, cancel := context.WithCancel(context.Background())
	if h, err := NewHolder(ctx, load); h != nil || codeOf(err) != kindKeyMismatch.Code {
		t.Fatal(h, err)
	}
	dir = good
	h, err := NewHolder(ctx, load)
	if err != nil {
		t.Fatal(err)
	}
	first := h.Current()
	dir = bad
	if err := h.Reload(ctx); codeOf(err) != kindKeyMismatch.Code || h.Current() != first {
		t.Error("a bad set took the place of a good one:", err)
	}
	dir = weak
	if err := h.Reload(ctx); err != nil || h.Current() == first || len(h.Warnings()) != 1 || h.Warnings()[0].Code != kindEmptySubject.Code {
		t.Error(err, h.Warnings())
	}
	second := h.Current()
	cancel()
	if err := h.Reload(ctx); !errors.Is(err, context.Canceled) || h.Current() != second {
		t.Error(err)
	}
}

// replace renames a new file over an old one, as renewals do.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	writeFile(t, path+".new", string(data))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestHolderWatch(t *testing.T) {
	w := theWorld()
	dir := dirOf(t, w.good(), Server)
	ctx, cancel := context.WithCancel(context.Background())
	h, err := NewHolder(ctx, loadFrom(Server, func() string { return dir }))
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Watch(ctx, func(err error) {
			select {
			case reports <- err:
			case <-ctx.Done():
			}
		})
	}()
	until := func(what string, ok func(error) bool) {
		t.Helper()
		for {
			select {
			case err := <-reports:
				if ok(err) {
					return
				}
			case <-done:
				t.Fatal("the watch ended before", what)
			}
		}
	}
	until("it began", func(err error) bool { return err == nil })
	serves := func(e *entity) bool {
		return pki.SameCertificate(h.Current().(*X509).Identities[0].Chain[0], e.Certificate)
	}
	next := mold{cn: "localhost"}.by(w.root) // with the same key
	replace(t, filepath.Join(dir, "server-cert.pem"), pemOf(next))
	until("the renewed certificate came", func(err error) bool { return err == nil && serves(next) })
	replace(t, filepath.Join(dir, "server-cert.pem"), []byte("junk"))
	until("the bad certificate was refused", func(err error) bool { return codeOf(err) == kindCert.Code && serves(next) })
	writeFile(t, filepath.Join(dir, "ca-crl.pem"), string(w.crl(w.root, testNow.Add(day), w.deep).PEM()))
	replace(t, filepath.Join(dir, "server-cert.pem"), pemOf(w.leaf))
	until("a list that was not there before came", func(err error) bool {
		return err == nil && serves(w.leaf) && len(h.Current().(*X509).CRLs) == 1
	})
	cancel()
	<-done
}

// config is how crypto/tls uses credentials.
func (x *X509) config() *tls.Config {
	pool := x509.NewCertPool()
	for _, ca := range x.Anchors {
		c, err := x509.ParseCertificate(ca.Raw)
		if err != nil {
			panic(err)
		}
		pool.AddCert(c)
	}
	c := &tls.Config{ServerName: "localhost", RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true}
	for _, id := range x.Identities {
		cert := tls.Certificate{PrivateKey: id.Key.(crypto.Signer)}
		for _, link := range id.Chain {
			cert.Certificate = append(cert.Certificate, link.Raw)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c
}

// session makes one session with the current credentials of both ends, of
// which it goes on to use the ones it began with while pause lasts.
func session(server, client *Holder, pause func()) error {
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() {
		defer a.Close()
		s := tls.Server(a, server.Current().(*X509).config())
		_, err := io.Copy(s, s)
		served <- err
	}()
	defer b.Close()
	c := tls.Client(b, client.Current().(*X509).config())
	for range 2 {
		var echo [4]byte
		if _, err := c.Write([]byte("ping")); err != nil {
			return errors.Join(err, b.Close(), <-served)
		}
		if _, err := io.ReadFull(c, echo[:]); err != nil {
			return errors.Join(err, b.Close(), <-served)
		}
		pause()
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	return <-served
}

// 100 goroutines make sessions while both ends' credentials are loaded anew
// 1,000 times, half of the times from files that are bad. No session fails.
func TestHolderUnderSessions(t *testing.T) {
	const sessions, reloads, rest = 100, 1000, 50
	w := theWorld()
	sets := []files{
		w.good(),
		w.good().with("key", keyOf(w.root)),
		usual(w.root, w.deep).with("cert", pemOf(w.deep, w.inter)),
		w.good().with("ca", []byte("junk")),
	}
	ctx := context.Background()
	var at atomic.Int64 // the set that is loaded next
	holders := map[Endpoint]*Holder{}
	for _, e := range []Endpoint{Server, Client} {
		var dirs []string
		for _, s := range sets {
			dirs = append(dirs, dirOf(t, s, e))
		}
		h, err := NewHolder(ctx, loadFrom(e, func() string { return dirs[at.Load()] }))
		if err != nil {
			t.Fatal(err)
		}
		holders[e] = h
	}

	var wg sync.WaitGroup
	stop := make(chan struct{})
	turn := make(chan struct{}) // closed and made anew after so many reloads as sessions rest
	var mu sync.Mutex
	pause := func() {
		mu.Lock()
		reloaded := turn
		mu.Unlock()
		select {
		case <-reloaded:
		case <-stop:
		}
	}
	failures := make(chan error, sessions)
	var made atomic.Int64
	for range sessions {
		wg.Go(func() {
			for {
				if err := session(holders[Server], holders[Client], pause); err != nil {
					failures <- err
					return
				}
				made.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range reloads {
		at.Store(int64(i % len(sets)))
		for e, h := range holders {
			before := h.Current()
			err := h.Reload(ctx)
			if bad := i%2 == 1; bad != (err != nil) || bad && h.Current() != before {
				t.Errorf("reload %d of the %s: %v", i, e, err)
			}
		}
		if i%rest == 0 {
			mu.Lock()
			close(turn)
			turn = make(chan struct{})
			mu.Unlock()
		}
	}
	close(stop)
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if made.Load() < sessions {
		t.Errorf("only %d sessions in %d reloads", made.Load(), reloads)
	}
}
