package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/internal/imagelock"
	"virtls/internal/readfile"
	"virtls/proto/nbd"
)

type nbdCopyCmd struct {
	From string `arg:"" complete:"nbd or file" help:"The source: the address of an export, a raw file or a block device."`
	To   string `arg:"" complete:"nbd or file" help:"The destination: the address of an export, a file that is made or replaced, a block device, or null: for none."`

	Connections int    `help:"How many connections to make to a server that allows several." default:"4" placeholder:"N"`
	Requests    int    `help:"How many requests are in flight." default:"64" placeholder:"N"`
	RequestSize int    `help:"Octets of a request." default:"262144" placeholder:"N"`
	Resume      string `help:"Keep in this file how far the copy is, and go on from there if it is there already. It is removed when the copy is complete." placeholder:"FILE"`

	clientFlags
}

func (*nbdCopyCmd) Help() string {
	return `Copies a disk: down from a server, up to one, or from one to another. Holes and zeroes are not sent. A file that
is made has holes where the source has them. The copy is on stable storage when the command ends well.

` + nbdAddresses + `

Examples:
  virtls nbd copy nbd://kvm1.example.com/disk disk.raw
  virtls nbd copy --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --tls-creds tls0 disk.raw nbds://kvm1.example.com/disk
  virtls nbd copy --resume disk.progress 'nbds://backup@kvm1.example.com/disk?tls-psk-file=keys.psk' disk.raw`
}

func (c *nbdCopyCmd) Run(a *app) error {
	switch {
	case c.Connections < 1 || c.Requests < 1 || c.Connections > 64 || c.Requests > 1024:
		return kindUsage.Found("virtls nbd copy", "").WithText("there may be 1 to 64 connections and 1 to 1024 requests").Usage()
	case c.RequestSize < 4096 || c.RequestSize > 32<<20 || c.RequestSize%4096 != 0:
		return kindUsage.Found("--request-size", fmt.Sprint(c.RequestSize)).WithText("a request has 4096 octets, a multiple of them, and 32 MiB at most").Usage()
	}
	client, err := c.nbd(a)
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer client.close()
	return c.copy(a, client)
}

// A copyEnd is one side of a copy.
type copyEnd struct {
	devices []nbd.Device
	blank   bool // reads as zeroes
	close   func() error
}

func (c *nbdCopyCmd) copy(a *app, client *nbdClient) error {
	from, err := c.source(a.ctx, client)
	if err != nil {
		return err
	}
	defer from.close()
	if err := c.warn(a); err != nil {
		return err
	}
	size := from.devices[0].Size()
	record, err := c.record(size)
	if err != nil {
		return err
	}
	to, err := c.destination(a.ctx, client, size, record.Done > 0)
	if err != nil {
		return err
	}
	defer to.close()
	show := newCopyProgress(a, size, record.Done)
	err = c.run(a.ctx, from, to, record, show)
	show.end(err == nil)
	if err == nil {
		err = to.close()
	}
	if err == nil && c.Resume != "" {
		err = os.Remove(c.Resume)
	}
	return nbdFailure(c.From+" to "+c.To, err)
}

// run copies, and keeps from time to time how far it is.
func (c *nbdCopyCmd) run(ctx context.Context, from, to copyEnd, record *copyRecord, show *copyProgress) error {
	var low atomic.Int64
	low.Store(record.Done)
	keep := func() error {
		if c.Resume == "" {
			return nil
		}
		done := low.Load()
		if f, ok := to.devices[0].(nbd.Flusher); ok {
			if err := f.Flush(); err != nil {
				return err
			}
		}
		return record.keep(c.Resume, done)
	}
	if err := keep(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- nbd.Copy(ctx, to.devices, from.devices, nbd.CopyOptions{
			Requests: c.Requests, RequestSize: c.RequestSize, Start: record.Done, Blank: to.blank,
			Progress: func(at, done int64) { low.Store(at); show.done.Store(done) },
		})
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return errors.Join(err, keepLast(keep, ctx))
			}
			return nil
		case <-tick.C:
			show.print()
			if time.Since(last) > keepEvery {
				last = time.Now()
				// A copy that cannot be resumed is still a copy; the end tells.
				_ = keep()
			}
		}
	}
}

const (
	progressEvery = 200 * time.Millisecond
	keepEvery     = 5 * time.Second
)

// keepLast keeps how far a copy came that was interrupted.
func keepLast(keep func() error, ctx context.Context) error {
	if ctx.Err() == nil {
		return nil // the connection may be gone
	}
	return keep()
}

// warn tells of a file that is more than the octets in it.
func (c *nbdCopyCmd) warn(a *app) error {
	if isNBD(c.From) {
		return nil
	}
	if format, err := looksLike(c.From); err == nil && format != "raw" {
		return a.warn([]finding.Finding{kindDiskLooks.Found(c.From, format)})
	}
	return nil
}

// source opens what is copied.
func (c *nbdCopyCmd) source(ctx context.Context, client *nbdClient) (copyEnd, error) {
	if isNBD(c.From) {
		return c.connect(ctx, client, c.From)
	}
	f, err := nbd.OpenFile(c.From, nbd.FileOptions{})
	if err != nil {
		return copyEnd{}, nbdFailure(c.From, err)
	}
	return copyEnd{devices: []nbd.Device{f}, close: f.Close}, nil
}

// destination opens what is copied to. A file is made anew unless the copy goes on.
func (c *nbdCopyCmd) destination(ctx context.Context, client *nbdClient, size int64, goOn bool) (copyEnd, error) {
	switch {
	case c.To == "null:":
		return copyEnd{devices: []nbd.Device{nbd.Discard(size)}, close: func() error { return nil }}, nil
	case isNBD(c.To):
		return c.connect(ctx, client, c.To)
	}
	blank, err := makeDestination(c.From, c.To, size, goOn)
	if err != nil {
		return copyEnd{}, nbdFailure(c.To, err)
	}
	f, err := nbd.OpenFile(c.To, nbd.FileOptions{Write: true})
	if err != nil {
		return copyEnd{}, nbdFailure(c.To, err)
	}
	return copyEnd{devices: []nbd.Device{f}, blank: blank, close: onceClose(f)}, nil
}

func onceClose(c io.Closer) func() error {
	return func() error {
		if err := c.Close(); !errors.Is(err, fs.ErrClosed) {
			return err
		}
		return nil
	}
}

var errSameFile = errors.New("source and destination are the same file")

// makeDestination gives a file its size. blank tells that it has nothing but a hole.
func makeDestination(from, to string, size int64, goOn bool) (blank bool, err error) {
	if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() {
		return false, nil
	} else if err == nil {
		if source, err := os.Stat(from); err == nil && os.SameFile(info, source) {
			return false, errSameFile
		}
	}
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := imagelock.Take(f, imagelock.Create); err != nil {
		return false, err
	}
	// What a resumed copy finds after its beginning may be from before.
	if !goOn {
		if err := f.Truncate(0); err != nil {
			return false, err
		}
	}
	return !goOn, f.Truncate(size)
}

// connect makes the connections to an export: several if the server says that
// this is safe.
func (c *nbdCopyCmd) connect(ctx context.Context, client *nbdClient, address string) (copyEnd, error) {
	t, o, err := client.target(address)
	if err != nil {
		return copyEnd{}, err
	}
	var e copyEnd
	var clients []*nbd.Client
	e.close = func() (err error) {
		for _, n := range clients {
			err = errors.Join(err, n.Close())
		}
		return err
	}
	for i := 0; i < c.Connections; i++ {
		n, err := t.Connect(ctx, o)
		if err != nil && i > 0 && ctx.Err() == nil {
			break // a server may have a limit; what there is will do
		}
		if err != nil {
			e.close()
			return copyEnd{}, err
		}
		clients = append(clients, n)
		e.devices = append(e.devices, n.WithContext(ctx))
		if !n.Flags().Has(nbd.CanMultiConn) {
			break
		}
	}
	return e, nil
}

// copyRecord is how far a copy is, in a file.
type copyRecord struct {
	Schema int    `json:"schema"`
	From   string `json:"from"`
	To     string `json:"to"`
	Size   int64  `json:"size"`
	Done   int64  `json:"done"` // octets from the beginning that are on stable storage
}

// maxRecord is more than a record has, in octets.
const maxRecord = 1 << 16

// record reads the record of an earlier copy, or begins one.
func (c *nbdCopyCmd) record(size int64) (*copyRecord, error) {
	fresh := &copyRecord{Schema: 1, From: c.From, To: c.To, Size: size}
	if c.Resume == "" {
		return fresh, nil
	}
	data, _, err := readfile.Regular(c.Resume, maxRecord, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return nil, nbdFailure(c.Resume, err)
	}
	old := *fresh
	if err := json.Unmarshal(data, &old); err != nil || old.Schema != 1 || old.Done < 0 || old.Done > old.Size {
		return nil, nbdFailure(c.Resume, errors.New("this is not a record of a copy; remove it to begin anew"))
	}
	if old.From != c.From || old.To != c.To || old.Size != size {
		return nil, nbdFailure(c.Resume, fmt.Errorf("this is the record of another copy: %s to %s, %d octets; remove it to begin anew", old.From, old.To, old.Size))
	}
	if info, err := os.Stat(c.To); !isNBD(c.To) && (err != nil || info.Mode().IsRegular() && info.Size() != size) {
		return nil, nbdFailure(c.Resume, fmt.Errorf("%s is not as the interrupted copy left it; remove the record to begin anew", c.To))
	}
	return &old, nil
}

func (r *copyRecord) keep(path string, done int64) error {
	r.Done = done
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// copyProgress shows how far a copy is.
type copyProgress struct {
	app         *app
	size, start int64
	done        atomic.Int64
	began       time.Time
	live        bool
}

func newCopyProgress(a *app, size, start int64) *copyProgress {
	p := &copyProgress{app: a, size: size, start: start, began: time.Now(), live: term.IsTerminal(int(a.terminal.Fd()))}
	p.done.Store(start)
	return p
}

// rate returns octets a second.
func (p *copyProgress) rate() int64 {
	spent := max(time.Since(p.began), time.Millisecond)
	return int64(float64(p.done.Load()-p.start) / spent.Seconds())
}

const barWidth = 30

// print rewrites the line on a terminal.
func (p *copyProgress) print() {
	if !p.live {
		return
	}
	done, rate := p.done.Load(), p.rate()
	full := 0
	if p.size > 0 {
		full = int(float64(done) / float64(p.size) * barWidth)
	}
	left := "a moment"
	if rate > 0 && time.Since(p.began) > time.Second {
		left = (time.Duration(float64(p.size-done) / float64(rate) * float64(time.Second))).Round(time.Second).String()
	}
	bar := make([]byte, barWidth)
	for i := range bar {
		bar[i] = '-'
		if i < full {
			bar[i] = '#'
		}
	}
	fmt.Fprintf(p.app.terminal, "%s[%s] %s of %s, %s/s, %s left", clearLine, bar, octets(done), octets(p.size), octets(rate), left)
}

type copyReport struct {
	Schema   int               `json:"schema"`
	Size     int64             `json:"size"`
	Seconds  float64           `json:"seconds"`
	Findings []finding.Finding `json:"findings,omitempty"`
}

// end clears the line and says what was done.
func (p *copyProgress) end(ok bool) {
	if p.live {
		fmt.Fprint(p.app.terminal, clearLine)
	}
	switch spent := time.Since(p.began); {
	case !ok:
	case p.app.json:
		p.app.printJSON(copyReport{1, p.size, spent.Seconds(), p.app.found})
	default:
		p.app.printf("copied %s in %s, %s/s\n", octets(p.size), spent.Round(time.Millisecond), octets(p.rate()))
	}
}
