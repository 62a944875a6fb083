package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/parallel"
	"virtls/layout"
	"virtls/layout/access"
)

var kindNothing = finding.Define("no-credentials", finding.Error,
	"there are no credentials of QEMU or libvirt here",
	"name a directory with ca-cert.pem (QEMU) or cacert.pem (libvirt) and the certificates beside it, or a host's root with etc/pki below it")

// Dir judges what is in a directory: a host's root or a home, a staged fleet or
// a directory of such roots, else a directory of credentials. Reading it
// needs the rights of the caller only. The error is a *[finding.Failure].
func Dir(ctx context.Context, dir string, o Options) (*Result, error) {
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, kindRoot.Found(dir, "").Unable(err)
	}
	if _, err := os.ReadDir(abs); errors.Is(err, syscall.ENOTDIR) {
		return nil, kindRoot.Found(dir, "a file").WithFix("name the directory that it is in; virtls show says what is in a file").Unable(nil)
	} else if err != nil {
		return nil, kindRoot.Found(dir, "").Unable(err)
	}
	roots := rootsIn(abs)
	if roots == nil {
		t, err := r.credentials(abs)
		if err != nil {
			return nil, err
		}
		return r.result([]*tree{t}), ctx.Err()
	}
	trees, err := r.roots(roots)
	if err != nil {
		return nil, err
	}
	r.judgeFleet(trees)
	return r.result(trees), ctx.Err()
}

// rootsIn returns the roots that a directory stands for: itself, those of a
// staged fleet, those that it is full of; none if it holds credentials.
func rootsIn(dir string) []string {
	if isRoot(dir) {
		return []string{dir}
	}
	if root, ok := strings.CutSuffix(dir, "/.pki"); ok && isRoot(root) {
		return []string{cmp.Or(root, "/")}
	}
	if root, ok := strings.CutSuffix(dir, "/etc/sasl2"); ok {
		return []string{cmp.Or(root, "/")}
	}
	for _, tail := range []string{"/etc/pki", "/etc/pki/libvirt", "/etc/pki/CA"} {
		root, ok := strings.CutSuffix(dir, tail)
		if _, err := os.Stat(root + "/etc/pki/CA"); ok && err == nil {
			return []string{cmp.Or(root, "/")}
		}
	}
	var roots []string
	for _, below := range []string{dir, filepath.Join(dir, "hosts"), filepath.Join(dir, "clients")} {
		entries, _ := os.ReadDir(below)
		for _, e := range entries {
			if root := filepath.Join(below, e.Name()); e.IsDir() && isRoot(root) {
				roots = append(roots, root)
			}
		}
	}
	return roots
}

// isRoot tells whether a directory is a host's root or a home directory.
func isRoot(dir string) bool {
	for _, name := range []string{"etc/pki", "etc/sasl2", ".pki/libvirt", ".pki/qemu"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// roots judges several roots at a time.
func (r *run) roots(roots []string) ([]*tree, error) {
	trees := make([]*tree, len(roots))
	err := parallel.For(r.ctx, len(roots), func(i int) (err error) {
		if trees[i], err = r.tree(layout.Root(roots[i])); err == nil {
			trees[i].judgeRoot()
		}
		return err
	})
	return trees, err
}

// judgeRoot judges a root that somebody names.
func (t *tree) judgeRoot() {
	if name := filepath.Base(string(t.root)); filepath.Base(filepath.Dir(string(t.root))) == "hosts" && t.staged {
		t.names = append(t.names, name)
	}
	if t.view.isDir("/etc/pki") || t.view.isDir("/etc/sasl2") {
		t.judgeHost()
	}
	for _, s := range []layout.Service{layout.Libvirt, layout.QEMU} {
		if loc := layout.Home(s, "/"); t.view.isDir(loc.Dir) {
			t.judgeHome(loc, nil)
		}
	}
	if t.empty() {
		t.note(kindNothing.Found(string(t.root), ""))
	}
}

// judgeHost judges what libvirt and QEMU read on a host.
func (t *tree) judgeHost() {
	t.libvirt()
	t.qemu()
	t.homes()
	t.psk()
	t.sasl()
	t.authorityKeys()
	t.access()
}

// libvirt judges libvirt's daemon and root's clients.
func (t *tree) libvirt() {
	lookup := func(row release) layout.Lookup {
		return layout.Lookup{View: t.view, Account: layout.Account{Home: "/root"}, Platform: t.platform, Libvirt: layout.Version(row.Version)}
	}
	server := func(row release) (layout.Use, []finding.Finding, []string) {
		f := lookup(row).LibvirtServer()
		return f.Uses[0], f.Findings, f.Refused
	}
	client := func(row release) (layout.Use, []finding.Finding, []string) {
		f := lookup(row).LibvirtClient()
		return f.Uses[0], f.Findings, f.Refused
	}
	system := layout.System(layout.Libvirt, "")
	newest := func(consumer string) (u layout.Use) {
		if rows := t.rows[consumer]; len(rows) > 0 {
			u, _, _ = server(rows[len(rows)-1])
		}
		return u
	}
	use := newest(creds.LibvirtServer)
	hasServer := use.Named || t.wanted(creds.LibvirtServer, use.Files)
	if hasServer {
		t.judge(&set{consumer: creds.LibvirtServer, role: layout.Server, dir: cmp.Or(use.Dir, path.Dir(use.CA)), use: server})
		t.daemon(use)
		t.daemonUse = &use
	} else if t.view.exists(layout.LibvirtdConf) || t.view.exists(layout.VirtproxydConf) {
		_, found, _ := server(release{})
		t.noteAll(found)
	}
	files := system.Files(layout.Client)
	if t.wanted(creds.LibvirtClient, files) || !hasServer && t.view.exists(files.CA) {
		t.judge(&set{consumer: creds.LibvirtClient, role: layout.Client, dir: system.Dir, use: client})
		use, _, _ := client(release{})
		t.priority(use.Priority)
	}
}

// qemu judges the directories of QEMU and of libvirt's services.
func (t *tree) qemu() {
	newest := layout.Version("")
	if rows := t.rows[creds.LibvirtServer]; len(rows) > 0 {
		newest = layout.Version(rows[len(rows)-1].Version)
	}
	lookup := layout.Lookup{View: t.view, Platform: t.platform, Libvirt: cmp.Or(t.platform.Libvirt, newest)}
	conf, found := lookup.Services()
	t.noteAll(found.Findings)
	who, unknown, ok := t.host.Accounts.QEMU(conf, t.platform)
	if ok {
		t.qemuUser = &who
	} else if conf.User.Set || conf.Group.Set {
		t.noteAll(unknown)
	}
	uses := found.Uses
	for _, role := range []layout.Role{layout.Server, layout.Client} {
		uses = append(uses, layout.Use{Files: layout.System(layout.QEMU, "").Files(role), Sanity: true, Verify: true})
	}
	type place struct {
		dir  string
		role layout.Role
	}
	done := map[place]bool{}
	for _, u := range uses {
		at := place{u.Dir, u.Role}
		if done[at] || !t.view.isDir(u.Dir) && !t.asked(u.Role) {
			continue
		}
		done[at] = true
		t.priority(u.Priority)
		if t.qemuDir(u) {
			u.Service = layout.QEMU
			t.judge(&set{consumer: consumerOf(layout.QEMU, u.Role), role: u.Role, dir: u.Dir, who: t.qemuUser, use: alike(u)})
		}
	}
}

// asked tells whether somebody asks for QEMU in a role by name.
func (t *tree) asked(r layout.Role) bool {
	return slices.Contains(t.o.For, consumerOf(layout.QEMU, r))
}

// qemuDir tells whether a directory of QEMU's is to be judged in a role: its
// files are there, or only a CA that any client can use.
func (t *tree) qemuDir(u layout.Use) bool {
	consumer := consumerOf(layout.QEMU, u.Role)
	if t.wanted(consumer, u.Files) {
		return true
	}
	other := layout.System(u.Service, u.Dir).Files(layout.Server)
	return u.Role == layout.Client && t.view.exists(u.CA) && !t.hasIdentity(other) && len(t.rows[consumer]) > 0
}

// homes judges the files of the host's people.
func (t *tree) homes() {
	seen := map[string]bool{}
	for _, u := range t.host.Accounts.Users {
		if seen[u.Home] || u.UID == 0 || u.Home == "" || u.Home == "/" {
			continue
		}
		seen[u.Home] = true
		who := t.host.Accounts.Credential(u, u.GID)
		for _, s := range []layout.Service{layout.Libvirt, layout.QEMU} {
			if loc := layout.Home(s, u.Home); t.view.isDir(loc.Dir) {
				t.judgeHome(loc, &who)
			}
		}
	}
}

// judgeHome judges a person's files.
func (t *tree) judgeHome(loc layout.Location, who *access.Credential) {
	for _, role := range loc.Service.Roles() {
		files := loc.Files(role)
		consumer := consumerOf(loc.Service, role)
		onlyCA := role == layout.Client && t.view.exists(files.CA) && len(t.rows[consumer]) > 0
		if !t.wanted(consumer, files) && !onlyCA {
			continue
		}
		s := &set{consumer: consumer, role: role, dir: loc.Dir, who: who, home: path.Dir(path.Dir(loc.Dir)), use: alike(layout.Use{Files: files, Sanity: true, Verify: true})}
		if loc.Service == layout.Libvirt && who != nil {
			s.use = t.homeUse(role, who, path.Dir(path.Dir(loc.Dir)))
			use, _, _ := s.use(release{})
			t.priority(use.Priority)
		}
		t.judge(s)
	}
}

// homeUse has libvirt's search decide, which goes on to the system's files.
func (t *tree) homeUse(role layout.Role, who *access.Credential, home string) func(release) (layout.Use, []finding.Finding, []string) {
	return func(row release) (layout.Use, []finding.Finding, []string) {
		l := layout.Lookup{View: t.viewOf(who), Account: layout.Account{UID: who.UID, Home: home}, Platform: t.platform, Libvirt: layout.Version(row.Version)}
		found := l.LibvirtClient()
		if role == layout.Server {
			found = l.LibvirtServer()
		}
		return found.Uses[0], found.Findings, found.Refused
	}
}

// credentials judges a directory of credentials.
func (r *run) credentials(dir string) (*tree, error) {
	t, err := r.tree("/")
	if err != nil {
		return nil, err
	}
	t.plain = true
	if t.as == nil {
		t.view = newCache(layout.Root("/"))
	}
	for _, s := range []layout.Service{layout.QEMU, layout.Libvirt} {
		loc := layout.System(s, dir)
		named := slices.ContainsFunc(t.o.For, func(c string) bool { return program(c) == program(consumerOf(s, layout.Client)) })
		for _, role := range s.Roles() {
			files, consumer := loc.Files(role), consumerOf(s, role)
			onlyCA := role == layout.Client && t.view.exists(files.CA) && len(t.rows[consumer]) > 0 && len(t.o.For) == 0 && !t.hasIdentity(loc.Files(layout.Server))
			if t.wanted(consumer, files) || onlyCA || named && slices.Contains(t.o.For, consumer) {
				t.judge(&set{consumer: consumer, role: role, dir: dir, who: t.as, home: dir, use: alike(layout.Use{Files: files, Sanity: true, Verify: true})})
			}
		}
	}
	t.pskIn(dir)
	t.authorityKeysIn(dir)
	t.access()
	if t.empty() {
		t.note(kindNothing.Found(dir, fmt.Sprintf("%d files", len(t.list(dir)))))
	}
	return t, nil
}

// empty tells whether nothing was found that could be judged.
func (t *tree) empty() bool {
	return len(t.sets) == 0 && len(t.keyFiles) == 0 && len(t.notes) == 0 && !t.found
}

// list returns the names of a directory's files, as the host has it.
func (t *tree) list(dir string) (names []string) {
	for _, e := range t.entries(dir) {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// maxEntries bounds how much of a directory is looked at.
const maxEntries = 4096

func (t *tree) entries(dir string) []fs.DirEntry {
	real, err := t.root.Real(dir)
	if err != nil {
		return nil
	}
	f, err := os.Open(real)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(maxEntries)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries
}
