package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"

	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/sasl/gssapi"
)

var kindLandlock = finding.Define("gateway-landlock", finding.Error,
	"the rights that the gateways do not need cannot be given up",
	"boot a kernel with Landlock (CONFIG_SECURITY_LANDLOCK, lsm=landlock,...), or say --landlock auto")

// resolverFiles are what the resolver reads.
var resolverFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"}

// confine gives up all rights but those to read the credentials' directories and
// the resolver's files, and, where the kernel can tell ports apart (Landlock ABI 4,
// Linux 6.7), to connect to the services' ports. What listens was opened before.
// To connect to a UNIX socket Landlock's ABI 5 asks for no right: there the
// socket's own mode decides.
func (r *Runner) confine() error {
	when := r.Process.Landlock
	if when == "off" {
		return nil
	}
	abi, err := syscall.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		if when == "required" {
			return kindLandlock.Found("kernel", "no Landlock").Unable(err)
		}
		r.Log.Info("no Landlock in this kernel: the process keeps its rights to files and ports")
		return nil
	}
	confined := landlock.V5.BestEffort()
	restrict := confined.Restrict
	if r.roams() {
		restrict = confined.RestrictPaths
	}
	if err := restrict(r.rights()...); err != nil {
		return kindLandlock.Found("kernel", "").Unable(err)
	}
	r.Log.Info("confined by Landlock", slog.Int("abi", abi))
	return nil
}

// roams tells whether a gateway connects to where a file says, at any time: that
// of machines, or Kerberos's krb5.conf, which names its KDC.
func (r *Runner) roams() bool {
	return slices.ContainsFunc(r.Gateways, func(g *Gateway) bool { return g.o.VNC.Machines != nil || g.o.VNC.Login.keytab != "" })
}

// vncRights are what a gateway of VNC needs besides: the directories of machines,
// of accounts, of passwords and of keys.
func vncRights(s *Screens) (rules []landlock.Rule) {
	files := append(s.secrets(), s.keytabs()...)
	if s.Login.keytab != "" {
		rules = append(rules, settings(gssapi.ConfigFile())...)
	}
	if s.Accounts != nil {
		files = append(files, s.Accounts.Path())
	}
	if s.Machines != nil {
		if dir := s.Machines.Used().Dir(); dir != "" {
			rules = append(rules, landlock.RWDirs(dir))
		}
		if info, err := os.Stat(s.Machines.Path()); err == nil && info.IsDir() {
			rules = append(rules, landlock.RODirs(s.Machines.Path()))
		}
		if list, err := machines.Files(s.Machines.Path()); err == nil {
			files = append(files, list...)
		}
	}
	for _, file := range files {
		rules = append(rules, landlock.RODirs(places(file)...).IgnoreIfMissing())
	}
	return rules
}

// places are the directories that a file is read in: its own, and if it is a link,
// as in Kubernetes, that to which it leads.
func places(file string) []string {
	dirs := []string{filepath.Dir(file)}
	if target, err := filepath.EvalSymlinks(file); err == nil && target != file {
		dirs = append(dirs, filepath.Dir(target))
	}
	return dirs
}

// settings are the rights to read the system's files. One that is replaced is another
// file, which the right to its directory is for; but in /etc is too much else, so that
// what is replaced there counts after a restart.
func settings(files ...string) []landlock.Rule {
	rules := []landlock.Rule{landlock.ROFiles(files...).IgnoreIfMissing()}
	for _, file := range files {
		for _, dir := range places(file) {
			if dir != "/etc" {
				rules = append(rules, landlock.RODirs(dir).IgnoreIfMissing())
			}
		}
	}
	return rules
}

// rights are what the gateways need.
func (r *Runner) rights() []landlock.Rule {
	read := map[string]bool{}
	files := slices.Clone(r.Files)
	for _, c := range r.Credentials {
		files = append(files, c.Holder.Current().Files()...)
	}
	for _, file := range files {
		for _, dir := range places(file) {
			read[dir] = true
		}
	}
	rules := settings(resolverFiles...)
	for dir := range read {
		rules = append(rules, landlock.RODirs(dir).IgnoreIfMissing())
	}
	domain := false
	for _, g := range r.Gateways {
		rules = append(rules, vncRights(&g.o.VNC)...)
		if a := g.o.Connect.Address; a.network == schemeTCP {
			if port, err := strconv.ParseUint(a.port, 10, 16); err == nil && !r.roams() {
				rules = append(rules, landlock.ConnectTCP(uint16(port)))
			}
			domain = true
		}
		for _, a := range []Address{g.o.Listen.Address, g.o.VNC.Web.Address} {
			if a.network == schemeUNIX {
				rules = append(rules, landlock.RWDirs(filepath.Dir(a.path))) // to take the socket away at the end
			}
		}
	}
	if domain && !r.roams() {
		rules = append(rules, landlock.ConnectTCP(53)) // answers that are too long for UDP
	}
	if name := os.Getenv("NOTIFY_SOCKET"); filepath.IsAbs(name) {
		rules = append(rules, landlock.RWFiles(name).IgnoreIfMissing())
	}
	return rules
}
