package virtpki

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"path"
	"strings"

	"golang.org/x/term"

	"virtls/dropin"
	"virtls/layout"
)

var validate = program{name: "virt-pki-validate", usage: `Usage:
  virt-pki-validate { -v | -h } [TRUST|SERVER|CLIENT]

Validate TLS certificate configuration

options:
  -s     | --system   validate system certificates (default)
  -u     | --user     validate user certificates
  -p DIR | --path DIR validate custom certificate path
  -h     | --help     display this help and exit
  -v     | --version  output version information and exit
           --compat-bugs  do what libvirt's own program does, faults included
`, options: []dropin.Option{
	{Long: "system", Short: 's'}, {Long: "user", Short: 'u'}, {Long: "path", Short: 'p', Arg: dropin.RequiredArg}, {Long: "compat-bugs"},
}}

// Validate runs virt-pki-validate and returns its exit code.
func Validate(args []string, std dropin.IO) int {
	parsed, code, ok := validate.parse(args, std)
	if !ok {
		return code
	}
	v := validator{out: std.Out, terminal: isTerminal(std.Out), uid: os.Getuid(), gid: os.Getgid()}
	places := map[string]bool{}
	for _, m := range parsed.Matches {
		switch places[m.Name] = true; m.Name {
		case "compat-bugs":
			v.compat = true
			delete(places, m.Name)
		case "user":
			v.kind, v.base = "user", homeDir()+"/.pki/libvirt"
		case "path":
			v.kind, v.base = "custom", m.Value
		}
	}
	if len(places) > 1 {
		fmt.Fprintln(std.Err, "--system, --user & --path are mutually exclusive")
		return exitWrong
	}
	scopes, wrong := v.scopes(parsed.Operands)
	if wrong != "" {
		return validate.wrong(std, validate.name+": "+wrong)
	}
	for _, scope := range scopes {
		scope(&v)
	}
	return v.code
}

// scopes returns what the operands ask for, or what is wrong with them.
func (v *validator) scopes(operands []string) (scopes []func(*validator), wrong string) {
	most := 1
	if v.compat {
		most = 2
	}
	if len(operands) > most {
		return nil, "too many command line arguments"
	}
	if len(operands) == 0 {
		return []func(*validator){(*validator).trust, (*validator).server, (*validator).client}, ""
	}
	scope := operands[0]
	if !v.compat {
		scope = strings.ToLower(scope)
	}
	switch scope {
	case "trust":
		return []func(*validator){(*validator).trust}, ""
	case "server":
		return []func(*validator){(*validator).server}, ""
	case "client":
		return []func(*validator){(*validator).client}, ""
	}
	if v.compat {
		return nil, ""
	}
	return nil, fmt.Sprintf("'%s' is none of TRUST, SERVER, CLIENT", operands[0])
}

// homeDir is where libvirt looks for the user's files (g_get_home_dir).
func homeDir() string {
	if home, set := os.LookupEnv("HOME"); set {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A validator is one run of virt-pki-validate.
type validator struct {
	compat   bool
	kind     string // "user" or "custom"; "" for the system's files
	base     string // directory of those
	uid, gid int

	out      io.Writer
	terminal bool
	scope    string // of the lines to be printed
	noCA     bool   // it was said already that there is none
	code     int
}

// system tells whether the system's files are checked, which belong to root.
func (v *validator) system() bool { return v.kind == "" }

// files are what is to be checked for a role.
func (v *validator) files(role layout.Role) layout.Files {
	if v.system() {
		return layout.System(layout.Libvirt, "").Files(role)
	}
	// The real program puts a slash and the name behind the directory, whatever that is.
	f := layout.System(layout.Libvirt, "/").Files(role)
	f.CA, f.CRL = v.base+f.CA, v.base+f.CRL
	for i := range f.Pairs {
		f.Pairs[i].Cert, f.Pairs[i].Key = v.base+f.Pairs[i].Cert, v.base+f.Pairs[i].Key
	}
	return f
}

// begin prints the first part of a line: what is checked.
func (v *validator) begin(format string, args ...any) {
	fmt.Fprintf(v.out, "%6s: %-69s: ", v.scope, fmt.Sprintf(format, args...))
}

// end prints the outcome: nothing is wrong, or why it is.
func (v *validator) end(outcome, why string) {
	colors := map[string]string{"PASS": "\x1b[32m", "FAIL": "\x1b[31m", "WARN": "\x1b[33m"}
	word := outcome
	if v.terminal {
		word = colors[outcome] + outcome + "\x1b[0m"
	}
	switch {
	case outcome != "PASS":
		v.code = exitWrong
		fmt.Fprintf(v.out, "%s (%s)\n", word, why)
	case v.compat && !v.terminal:
		fmt.Fprint(v.out, word, "\n\n")
	default:
		fmt.Fprintln(v.out, word)
	}
}

// verdict ends a line: with PASS if why is empty. It returns whether it is.
func (v *validator) verdict(why string) bool {
	if why == "" {
		v.end("PASS", "")
		return true
	}
	v.end("FAIL", why)
	return false
}

// exists checks that a file or directory is there. what begins with "if".
func (v *validator) exists(what, name, hint string) bool {
	v.begin("Checking %s exists", what)
	if isThere(name) {
		hint = ""
	}
	return v.verdict(hint)
}

// trust checks the authorities.
func (v *validator) trust() {
	v.scope = "TRUST"
	ca := v.files(layout.Server).CA
	v.noCA = !isThere(ca)
	if v.system() {
		const tail = "is usually installed as part of the base filesystem or openssl packages"
		for _, d := range []struct{ what, path string }{{"system PKI dir", path.Dir(path.Dir(ca))}, {"system CA dir", path.Dir(ca)}} {
			if !v.exists("if "+d.what, d.path, fmt.Sprintf("The %s %s %s", d.what, d.path, tail)) {
				return
			}
			v.systemDir(d.what, d.path, everybody)
		}
	} else {
		what := v.kind + " PKI base dir"
		if !v.exists("if "+what, v.base, "Create the dir "+v.base) {
			return
		}
		v.access(what, v.base, wanted{0o700, v.uid, v.gid, owner},
			fmt.Sprintf("The PKI base dir %s must not be accessible to other users. Run: %s", v.base, v.own(v.base, 0o700, false)))
	}
	if !v.exists("if CA cert", ca, "The machine cannot act as a client or server. "+
		"See https://libvirt.org/kbase/tlscerts.html#setting-up-a-certificate-authority-ca on how to install "+ca) {
		return
	}
	if v.system() {
		v.access("CA cert", ca, wanted{0o644, 0, 0, everybody},
			fmt.Sprintf("The CA certificate %s must be accessible to all users. As root run: %s", ca, v.own(ca, 0o644, true)))
		return
	}
	v.access("CA cert", ca, wanted{0o600, v.uid, v.gid, owner},
		fmt.Sprintf("The CA certificate %s must not be accessible to other users. As this user, run: %s", ca, v.own(ca, 0o600, true)))
}

// server checks what a server shows, and client what a client shows.
func (v *validator) server() { v.scope = "SERVER"; v.identities(layout.Server) }
func (v *validator) client() { v.scope = "CLIENT"; v.identities(layout.Client) }

func (v *validator) identities(role layout.Role) {
	files := v.files(role)
	if v.system() {
		const tail = "is usually installed as part of the libvirt package"
		certs, keys := path.Dir(files.Pairs[0].Cert), path.Dir(files.Pairs[0].Key)
		if !v.exists("if system cert dir", certs, fmt.Sprintf("The system cert dir %s %s", certs, tail)) {
			return
		}
		v.systemDir("system cert dir", certs, everybody)
		if !v.exists("if system key dir", keys, fmt.Sprintf("The system key dir %s %s", keys, tail)) {
			return
		}
		v.systemDir("system key dir", keys, daemon)
	}
	for _, pair := range v.pairs(files) {
		v.identity(role, files, pair)
	}
}

// pairs returns the identities to be checked: the plain one, and those of index
// 0 and on up to the first that is not there. If there are some, the plain one
// need not be.
func (v *validator) pairs(files layout.Files) []layout.Pair {
	if v.compat {
		return files.Pairs[:1]
	}
	there := func(p layout.Pair) bool { return isThere(p.Cert) || isThere(p.Key) }
	n := 1
	for n < len(files.Pairs) && there(files.Pairs[n]) {
		n++
	}
	if n > 1 && !there(files.Pairs[0]) {
		return files.Pairs[1:n]
	}
	return files.Pairs[:n]
}

func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// identity checks a key and its certificate.
func (v *validator) identity(role layout.Role, files layout.Files, pair layout.Pair) {
	index := ""
	if pair.Index != layout.NoIndex {
		index = fmt.Sprintf(" %d", pair.Index)
	}
	missing := fmt.Sprintf("The machine cannot act as a %[1]s. See https://libvirt.org/kbase/tlscerts.html#issuing-%[1]s-certificates on how to regenerate ", role)
	if !v.exists("if key"+index, pair.Key, missing+pair.Key) {
		return
	}
	v.keyAccess(role, index, pair.Key)
	if !v.exists("if cert"+index, pair.Cert, missing+pair.Cert) {
		return
	}
	v.certAccess(role, index, pair.Cert)
	v.begin("Checking cert%s properties", index)
	v.verdict(v.properties(role, files, pair))
	if role == layout.Server {
		v.begin("Checking cert%s hostname match", index)
		v.hostname(pair.Cert)
	}
}
