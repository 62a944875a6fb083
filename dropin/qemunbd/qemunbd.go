// Package qemunbd is QEMU's qemu-nbd, as far as TLS for disks needs it: it serves
// a raw file, a block device or a qcow2 image to NBD clients, or lists what a
// server has, with the same options, exit codes and, as far as given here, the
// same messages. What else the real one has is refused by name, never ignored.
//
// It differs from the real one in these ways:
//
//   - qcow2 images are served read-only, and standard error says so.
//   - With --fork the program is started a second time, and its first process
//     ends when that one listens.
package qemunbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/dropin"
	"virtls/finding"
	"virtls/object"
	"virtls/proto/nbd"
	"virtls/session"
)

// A generation is what one QEMU's qemu-nbd prints differently from others'.
type generation struct {
	version         string
	transactionSize bool // --list tells whether requests may be longer than 4 GiB (8.2)
}

var (
	qemu72  = generation{"7.2.22", false}
	qemu100 = generation{"10.0.13", true}
	qemu111 = generation{"11.1.2", true}
)

// newest is the generation that Run imitates.
var newest = qemu111

const (
	exitOK    = 0
	exitWrong = 1
)

// An option is an option of the command line with its line of help; without one
// the real program has the option and this one refuses it.
type option struct {
	dropin.Option
	help string
}

var options = []option{
	{dropin.Option{Long: "help", Short: 'h'}, "print this help and exit"},
	{dropin.Option{Long: "version", Short: 'V'}, "print the version and exit"},
	{dropin.Option{Long: "port", Short: 'p', Arg: dropin.RequiredArg}, "TCP port (10809)"},
	{dropin.Option{Long: "bind", Short: 'b', Arg: dropin.RequiredArg}, "address to listen on (0.0.0.0), or host to list"},
	{dropin.Option{Long: "socket", Short: 'k', Arg: dropin.RequiredArg}, "UNIX socket instead, an absolute path"},
	{dropin.Option{Long: "shared", Short: 'e', Arg: dropin.RequiredArg}, "so many clients at once (1); 0 is no limit"},
	{dropin.Option{Long: "persistent", Short: 't'}, "go on when the last client has gone"},
	{dropin.Option{Long: "export-name", Short: 'x', Arg: dropin.RequiredArg}, "name of the export (none)"},
	{dropin.Option{Long: "description", Short: 'D', Arg: dropin.RequiredArg}, "description of the export"},
	{dropin.Option{Long: "read-only", Short: 'r'}, "let nobody write"},
	{dropin.Option{Long: "format", Short: 'f', Arg: dropin.RequiredArg}, "format of FILE: raw or qcow2"},
	{dropin.Option{Long: "list", Short: 'L'}, "list what a server has"},
	{dropin.Option{Long: "object", Arg: dropin.RequiredArg}, "make an object: tls-creds-x509, tls-creds-psk, authz-list, ..."},
	{dropin.Option{Long: "tls-creds", Arg: dropin.RequiredArg}, "id of the credentials; without TLS nobody gets in"},
	{dropin.Option{Long: "tls-authz", Arg: dropin.RequiredArg}, "id of the list of who may come"},
	{dropin.Option{Long: "tls-hostname", Arg: dropin.RequiredArg}, "name in the certificate of a server that is listed"},
	{dropin.Option{Long: "handshake-limit", Arg: dropin.RequiredArg}, "seconds for a client to get ready (10); 0 is no limit"},
	{dropin.Option{Long: "fork"}, "go on in the background"},
	{dropin.Option{Long: "pid-file", Arg: dropin.RequiredArg}, "file for the process id"},
	{Option: dropin.Option{Long: "offset", Short: 'o', Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "snapshot", Short: 's'}},
	{Option: dropin.Option{Long: "load-snapshot", Short: 'l', Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "nocache", Short: 'n'}},
	{Option: dropin.Option{Long: "cache", Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "aio", Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "discard", Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "detect-zeroes", Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "connect", Short: 'c', Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "disconnect", Short: 'd'}},
	{Option: dropin.Option{Long: "allocation-depth", Short: 'A'}},
	{Option: dropin.Option{Long: "bitmap", Short: 'B', Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "image-opts"}},
	{Option: dropin.Option{Long: "selinux-label", Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "trace", Short: 'T', Arg: dropin.RequiredArg}},
	{Option: dropin.Option{Long: "verbose", Short: 'v'}},
}

// A run is one run of the program.
type run struct {
	dropin.IO
	dropin.Parsed
	generation
	objects object.Registry
	port    int
	shared  int
	limit   time.Duration
}

// Run runs qemu-nbd until it ends or SIGTERM or SIGINT ends it, and returns its
// exit code.
func Run(args []string, std dropin.IO) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runAs(ctx, newest, args, std)
}

func runAs(ctx context.Context, g generation, args []string, std dropin.IO) int {
	r := &run{IO: std, generation: g, port: nbd.DefaultPort, shared: 1, limit: 10 * time.Second}
	defer r.objects.Close()
	syntax := dropin.Syntax{Program: "qemu-nbd"}
	for _, o := range options {
		syntax.Options = append(syntax.Options, o.Option)
	}
	var err error
	if r.Parsed, err = syntax.Parse(args); err != nil {
		fmt.Fprintf(r.Err, "%v\nqemu-nbd: Try `qemu-nbd --help' for more information.\n", err)
		return exitWrong
	}
	err = r.start(ctx)
	var help *object.Help
	switch {
	case errors.As(err, &help):
		fmt.Fprint(r.Out, help.Text)
	case err != nil:
		fmt.Fprintf(r.Err, "qemu-nbd: %v\n", plain(err))
		return exitWrong
	}
	return exitOK
}

// say makes an error of QEMU's words, which follow other rules than ours.
func say(format string, args ...any) error { return fmt.Errorf(format, args...) }

// plain is an error without what findings add to their sentence.
func plain(err error) error {
	failure, ok := errors.AsType[*finding.Failure](err)
	if !ok || failure.Text == "" {
		return err
	}
	return errors.New(failure.Text)
}

// start reads the options and does what they ask for.
func (r *run) start(ctx context.Context) error {
	for _, m := range r.Matches {
		if err := r.take(m); err != nil {
			return err
		}
	}
	if err := r.judge(); err != nil {
		return err
	}
	for _, text := range r.All("object") {
		findings, err := r.objects.Add(text)
		if err != nil {
			return err
		}
		for _, f := range findings {
			fmt.Fprintf(r.Err, "qemu-nbd: warning: %v\n", f)
		}
	}
	if r.Has("list") {
		return r.list(ctx)
	}
	if r.Has("fork") && os.Getenv(forked) == "" {
		return r.fork()
	}
	return r.serve(ctx)
}

// take looks at one option.
func (r *run) take(m dropin.Match) error {
	for _, o := range options {
		if o.Long == m.Name && o.help == "" {
			return fmt.Errorf("--%s is not supported by virtls", m.Name)
		}
	}
	switch m.Name {
	case "help":
		return &object.Help{Text: helpText()}
	case "version":
		return &object.Help{Text: "qemu-nbd " + r.version + "\n"}
	case "port":
		port, err := strconv.ParseUint(m.Value, 0, 16)
		if err != nil || port == 0 {
			return say("Invalid port number '%s'", m.Value)
		}
		r.port = int(port)
	case "socket":
		if !filepath.IsAbs(m.Value) {
			return say("socket path must be absolute")
		}
	case "shared":
		n, err := strconv.ParseInt(m.Value, 0, 32)
		if err != nil || n < 0 {
			return say("Invalid shared device number '%s'", m.Value)
		}
		if r.shared = int(n); n == 0 {
			r.shared = 1 << 20
		}
	case "handshake-limit":
		n, err := strconv.ParseUint(m.Value, 0, 31)
		if err != nil {
			return say("Invalid handshake limit '%s'", m.Value)
		}
		if r.limit = time.Duration(n) * time.Second; n == 0 {
			r.limit = 1 << 62
		}
	}
	return nil
}

// judge refuses what does not go together.
func (r *run) judge() error {
	switch {
	case r.Has("socket") && (r.Has("port") || r.Has("bind")):
		return say("Unix socket can't be used with --port or --bind")
	case r.Has("list") && len(r.Operands) > 0:
		return say("List mode is incompatible with a file name")
	case r.Has("list") && (r.Has("export-name") || r.Has("description") || r.Has("read-only") || r.Has("format")):
		return say("List mode is incompatible with per-device settings")
	case r.Has("list") && r.Has("fork"):
		return say("List mode is incompatible with fork")
	case !r.Has("list") && len(r.Operands) != 1:
		return say("Invalid number of arguments\nTry `qemu-nbd --help' for more information.")
	case !r.Has("tls-creds") && r.Has("tls-authz"):
		return say("--tls-authz is not permitted without --tls-creds")
	case !r.Has("tls-creds") && r.Has("tls-hostname"):
		return say("--tls-hostname is not permitted without --tls-creds")
	case r.Has("list") && r.Has("tls-authz"):
		return say("TLS authorization is incompatible with export list")
	case !r.Has("list") && r.Has("tls-hostname"):
		return say("TLS hostname is only supported with export list")
	}
	if format, ok := r.Last("format"); ok && !slices.Contains([]string{"raw", "qcow2"}, format) {
		return fmt.Errorf("the format '%s' is not supported by virtls; there are raw and qcow2", format)
	}
	return nil
}

// secure returns how connections become TLS ones, nil without --tls-creds.
func (r *run) secure(end creds.Endpoint) (nbd.Secure, error) {
	id, ok := r.Last("tls-creds")
	if !ok {
		return nil, nil
	}
	holder, _, err := r.objects.Creds(id, end)
	if err != nil {
		return nil, say("Failed to get TLS creds: %v", plain(err))
	}
	host, ok := r.Last("tls-hostname")
	if bound, given := r.Last("bind"); !ok && given {
		host = bound
	}
	var access authz.Authorizer
	if id, ok := r.Last("tls-authz"); ok {
		access = r.objects.Authz(id)
	}
	return nbd.Session(func() session.Options {
		o := session.Options{Credentials: holder.Current(), Authorizer: access}
		if end == creds.Client {
			o.Hostname = host
		}
		if list, ok := r.Last("tls-authz"); ok {
			o.Authorizer = r.objects.Authz(list)
		}
		return o
	}), nil
}

// address is where to listen, or what to connect to.
func (r *run) address() (network, address string) {
	if path, ok := r.Last("socket"); ok {
		return "unix", path
	}
	host, ok := r.Last("bind")
	if !ok {
		host = "0.0.0.0"
	}
	return "tcp", net.JoinHostPort(host, strconv.Itoa(r.port))
}

func helpText() string {
	var b strings.Builder
	b.WriteString("Usage: qemu-nbd [OPTIONS] FILE\n       qemu-nbd -L [OPTIONS]\n\nServes a raw or qcow2 disk to NBD clients, as QEMU's qemu-nbd does.\n\n")
	for _, o := range options {
		if o.help == "" {
			continue
		}
		name := "    --" + o.Long
		if o.Short != 0 {
			name = fmt.Sprintf("-%c, --%s", o.Short, o.Long)
		}
		if o.Arg == dropin.RequiredArg {
			name += "=..."
		}
		fmt.Fprintf(&b, "  %-24s %s\n", name, o.help)
	}
	return b.String()
}
