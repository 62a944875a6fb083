package authz

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"virtls/finding"
	"virtls/internal/qjson"
	"virtls/internal/readfile"
	"virtls/internal/strerror"
	"virtls/internal/watch"
)

var (
	kindFileUnreadable = finding.Define("authz-file-unreadable", finding.Error,
		"an access list cannot be read, so everybody is denied",
		"let the user that the program runs as read the file")
	kindFileMalformed = finding.Define("authz-file-malformed", finding.Error,
		"an access list is malformed, so everybody is denied",
		`write it as one JSON object: {"policy": "deny", "rules": [{"match": "C=GB,O=Example,CN=*", "policy": "allow", "format": "glob"}]}`)
	kindFileRelative = finding.Define("authz-file-relative", finding.Error,
		"an access list that is to be read again on change has no directory in its name",
		"give the file's absolute path, or refresh=off")
)

// ParseList reads an access list in the form of QEMU's list files: one JSON
// object, in QEMU's dialect, with the properties of an authz-list. The error's
// text is QEMU's.
func ParseList(data []byte) (*List, error) {
	v, err := qjson.Parse(data)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(qjson.Object)
	if !ok {
		return nil, errNoObject
	}
	r := qjson.NewReader(obj, qjson.JSON)
	l := ReadList(r)
	if err := r.Err(); err != nil {
		return nil, err
	}
	if rest := r.Rest(); len(rest) > 0 {
		// QEMU knows by now that it makes an authz-list, and speaks of a
		// property of that instead of a parameter.
		return nil, &qjson.ParameterError{Parameter: rest[0], Text: "Property 'authz-list." + rest[0] + "' not found", Unexpected: true}
	}
	return l, nil
}

var errNoObject = errors.New("must contain a JSON object")

// ReadList takes the properties of an authz-list from r, which is to be closed
// by the caller.
func ReadList(r *qjson.Reader) *List {
	l := &List{Policy: Policy(r.Enum("policy", policies...))}
	r.List("rules", func(r *qjson.Reader) {
		l.Rules = append(l.Rules, Rule{
			Match:  r.Required("match"),
			Policy: Policy(r.RequiredEnum("policy", policies...)),
			Format: Format(r.Enum("format", formats...)),
		})
	})
	return l
}

// LoadList reads the access list in a file. The error is a finding whose text
// has QEMU's.
func LoadList(path string) (*List, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, kindFileUnreadable.Found(path, "").WithText("Unable to read '%s': %s", path, strerror.Of(err)).Unable(nil)
	}
	l, err := ParseList(data)
	if errors.Is(err, errNoObject) {
		return nil, kindFileMalformed.Found(path, "").WithText("File '%s' must contain a JSON object", path).Wrong()
	}
	if err != nil {
		return nil, kindFileMalformed.Found(path, "").WithText("%v", err).Wrong()
	}
	return l, nil
}

// readFile returns the content of a regular file of at most qjson.MaxSize octets.
func readFile(path string) ([]byte, error) {
	data, _, err := readfile.Regular(path, qjson.MaxSize, 0)
	if kind, ok := errors.AsType[*readfile.KindError](err); ok && kind.Type.IsDir() {
		return nil, syscall.EISDIR
	}
	return data, err
}

// A ListFile is an access list in a file (QEMU's authz-list-file, which no
// QEMU up to 11.1 can create). While the file is missing or bad it denies
// everybody. QEMU does so while the file is bad, and goes on with the old list
// while it is missing.
type ListFile struct {
	path   string
	report func(error)
	now    atomic.Pointer[loaded]
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// loaded is what a look at the file brought: one of the two.
type loaded struct {
	list *List
	err  error
}

// OpenListFile loads the access list at path and, if refresh is set, loads it
// again whenever the file changes, until it is closed. Without a good list to
// begin with it fails, as QEMU does.
//
// report is called for each later load that failed, with a finding that says
// why everybody is denied now, and with nil when a good list has followed a bad
// one. It is called in a goroutine of its own, one call at a time, and must not
// call Close. It may be nil.
func OpenListFile(path string, refresh bool, report func(error)) (*ListFile, error) {
	if report == nil {
		report = func(error) {}
	}
	f := &ListFile{path: path, report: report, cancel: func() {}}
	if !refresh {
		if err := f.load(); err != nil {
			return nil, err
		}
		return f, nil
	}
	w := watch.New(path)
	if err := f.load(); err != nil {
		w.Close()
		return nil, err
	}
	if filepath.Dir(path) == "." {
		w.Close()
		return nil, kindFileRelative.Found(path, "").WithText("Filename must be an absolute path").Usage()
	}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.done.Go(func() { w.Run(ctx, f.reload) })
	return f, nil
}

func (f *ListFile) load() error {
	l, err := LoadList(f.path)
	f.now.Store(&loaded{l, err})
	return err
}

func (f *ListFile) reload() {
	before := f.now.Load().err
	switch err := f.load(); {
	case err != nil:
		f.report(err)
	case before != nil:
		f.report(nil)
	}
}

// Allowed implements [Authorizer]. While the file is missing or bad it returns
// the finding that says so.
func (f *ListFile) Allowed(identity string) (bool, error) {
	now := f.now.Load()
	if now.err != nil {
		return false, now.err
	}
	return now.list.Allowed(identity)
}

// Current returns the list of now, or the finding that says why there is none.
func (f *ListFile) Current() (*List, error) {
	now := f.now.Load()
	return now.list, now.err
}

// Close ends the watch of the file and returns when nothing is left running.
// The list stays as it is.
func (f *ListFile) Close() {
	f.cancel()
	f.done.Wait()
}
