package validate

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
	"virtls/layout/access"
)

// A tree is one root with what was found below it.
type tree struct {
	*run
	root     layout.Root
	staged   bool // it is to become a host's: its owners and modes are not those of the host
	plain    bool // a single directory, which the calling process reads as it is
	host     *access.Host
	view     *cache // as root, or whoever calls, sees it
	platform layout.Platform
	names    []string // by which peers reach the host
	as       *access.Credential

	verdicts     []Verdict
	notes        []note
	certificates []Certificate
	sets         []*set             // that were judged
	keyFiles     []string           // files of pre-shared keys, of Kerberos keys and of passwords
	found        bool               // a set-up of SASL
	qemuUser     *access.Credential // as whom QEMU runs; nil if unknown
	daemonUse    *layout.Use        // what libvirt's daemon reads, if there is one
}

// A note is a finding and who has it.
type note struct {
	finding.Finding
	by demand // nil if the finding says it itself, or nobody
}

var kindRoot = finding.Define("directory-unreadable", finding.Error,
	"the directory cannot be looked at", "name a directory that is there and that you may read")

// tree prepares to look at a host's root.
func (r *run) tree(root layout.Root) (*tree, error) {
	if info, err := os.Stat(string(root)); err != nil {
		return nil, kindRoot.Found(string(root), "").Unable(err)
	} else if !info.IsDir() {
		return nil, kindRoot.Found(string(root), "no directory").Unable(nil)
	}
	host, err := access.Open(root)
	if err != nil {
		return nil, kindRoot.Found(string(root), "").Unable(err)
	}
	t := &tree{run: r, root: root, host: host, view: newCache(root), names: r.o.Hostnames}
	t.staged = root != "/" && len(host.Accounts.Users) == 0 && (t.view.isDir("/etc/pki") || t.view.exists("/manifest.json"))
	t.platform = t.readPlatform()
	if r.o.As != "" {
		who, err := t.account(r.o.As)
		if err != nil {
			return nil, err
		}
		t.as = &who
	}
	return t, nil
}

var kindAs = finding.Define("user-unknown", finding.Error,
	"there is no such user on the host", "name a user of /etc/passwd, or a number")

// account finds a user by name or number. In a staged tree, which has no users,
// this machine's count.
func (t *tree) account(name string) (access.Credential, error) {
	accounts := t.host.Accounts
	if t.staged {
		if own, err := access.ReadAccounts(layout.Root("/")); err == nil {
			accounts = own
		}
	}
	for _, u := range accounts.Users {
		if u.Name == name || fmt.Sprint(u.UID) == name {
			return accounts.Credential(u, u.GID), nil
		}
	}
	var uid uint32
	if _, err := fmt.Sscanf(name+" ", "%d ", &uid); err == nil {
		return access.Credential{UID: int(uid), GID: int(uid)}, nil
	}
	return access.Credential{}, kindAs.Found("--as", name).Usage()
}

// readPlatform reads what the host runs, as far as it says.
func (t *tree) readPlatform() layout.Platform {
	data, err := t.view.ReadFile("/etc/os-release")
	if err != nil {
		data, _ = t.view.ReadFile("/usr/lib/os-release")
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[name] = strings.Trim(value, `"'`)
		}
	}
	return layout.PlatformOf(fields["ID"], fields["VERSION_ID"], fields["VERSION_CODENAME"], fields["ID_LIKE"])
}

// viewOf returns the host's files as somebody sees them. Root is not kept from
// anything.
func (t *tree) viewOf(who *access.Credential) *cache {
	if t.as != nil {
		who = t.as
	}
	if who == nil || who.UID == 0 {
		return t.view
	}
	c := newCache(t.host.As(*who))
	c.blind = t.view.blind
	return c
}

// at returns where on this machine a path of the host is.
func (t *tree) at(name string) string {
	if t.root == "/" {
		return name
	}
	return filepath.Join(string(t.root), name)
}

// note adds a finding.
func (t *tree) note(f finding.Finding) { t.notes = append(t.notes, note{Finding: f}) }

func (t *tree) noteAll(list []finding.Finding) {
	for _, f := range list {
		t.note(f)
	}
}

// noteBy adds a finding that one release has.
func (t *tree) noteBy(f finding.Finding, consumer string, i int) {
	d := demand{}
	d.add(consumer, i)
	t.notes = append(t.notes, note{f, d})
}

// hostPath finds absolute paths in texts.
var hostPath = regexp.MustCompile(`(^|[\s"'(])/[^\s"']*`)

// local turns the host's paths in a text into those of this machine.
func (t *tree) local(text string) string {
	if t.root == "/" || !strings.Contains(text, "/") {
		return text
	}
	return hostPath.ReplaceAllStringFunc(text, func(match string) string {
		i := strings.IndexByte(match, '/')
		name := match[i:]
		if name == "/" || strings.HasPrefix(name, string(t.root)+"/") {
			return match
		}
		return match[:i] + t.at(name) + strings.Repeat("/", trailing(name))
	})
}

// trailing is 1 if a path ends in a slash, which joining would drop.
func trailing(name string) int {
	if strings.HasSuffix(name, "/") {
		return 1
	}
	return 0
}

// merged returns the findings, each once: what several releases say of one
// thing is one finding by all of them. Fixes keep the paths of this machine.
func (t *tree) merged() []finding.Finding {
	type key struct{ code, subject, text, got, want string }
	index := map[key]int{}
	var list []note
	for _, n := range t.notes {
		k := key{n.Code, n.Subject, n.Text, n.Got, n.Want}
		i, seen := index[k]
		if !seen {
			i = len(list)
			index[k] = i
			list = append(list, note{n.Finding, demand{}})
		}
		list[i].Severity = max(list[i].Severity, n.Severity)
		list[i].By = cmp.Or(list[i].By, n.By)
		for p, rows := range n.by {
			for _, row := range rows {
				if !slices.Contains(list[i].by[p], row) {
					list[i].by[p] = append(list[i].by[p], row)
				}
			}
		}
	}
	var out []finding.Finding
	for _, n := range list {
		f := n.Finding
		if t.keptFrom(f) {
			continue // file-not-judged says it
		}
		if by := t.of(n.by); by != "" {
			f.By = by
			f.Want = cmp.Or(f.Want, "a file that can be loaded")
		}
		f.Subject, f.Text, f.Got, f.Want, f.Fix = t.local(f.Subject), t.local(f.Text), t.local(f.Got), t.local(f.Want), t.local(f.Fix)
		out = append(out, f)
	}
	return out
}

// result puts together what the trees have.
func (r *run) result(trees []*tree) *Result {
	res := &Result{Verdicts: []Verdict{}, Hosts: len(trees)}
	for _, t := range trees {
		for _, name := range t.unjudged() {
			t.note(kindUnread.Found(name, ""))
		}
		findings := t.merged()
		slices.SortStableFunc(findings, func(a, b finding.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
		res.Verdicts = append(res.Verdicts, t.verdicts...)
		res.Findings = append(res.Findings, findings...)
		res.Certificates = append(res.Certificates, t.certificates...)
		for _, name := range t.unjudged() {
			res.Unjudged = append(res.Unjudged, t.at(name))
		}
	}
	slices.Sort(res.Unjudged)
	return res
}

// owner returns whose directory it is.
func owner(info fs.FileInfo) (uid, gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return int(st.Uid), int(st.Gid)
}

// A set is what one consumer reads in one place.
type set struct {
	consumer string
	role     layout.Role
	dir      string // the verdict's subject, a path of the host
	who      *access.Credential
	home     string     // the directory of a person whose files they are; else empty
	inv      *inventory // what the newest release reads; set when it is judged
	// use returns the files for a release, with what is to be said of how they
	// were found, and the codes for which the release does not even start.
	use func(release) (layout.Use, []finding.Finding, []string)
}

// alike returns a use that is the same for all releases.
func alike(u layout.Use) func(release) (layout.Use, []finding.Finding, []string) {
	return func(release) (layout.Use, []finding.Finding, []string) { return u, nil, nil }
}

// consumerOf names the consumer of a program's files in a role.
func consumerOf(s layout.Service, r layout.Role) string {
	switch {
	case s == layout.Libvirt && r == layout.Server:
		return creds.LibvirtServer
	case s == layout.Libvirt:
		return creds.LibvirtClient
	case r == layout.Server:
		return creds.QEMUServer
	}
	return creds.QEMUClient
}

// wanted tells whether a consumer is to be judged: it was asked for, or any of
// its own files is there.
func (t *tree) wanted(consumer string, f layout.Files) bool {
	if len(t.rows[consumer]) == 0 {
		return false
	}
	return slices.Contains(t.o.For, consumer) || t.hasIdentity(f)
}

// hasIdentity tells whether any file of an identity is there.
func (t *tree) hasIdentity(f layout.Files) bool {
	return slices.ContainsFunc(f.Pairs, func(p layout.Pair) bool { return t.view.exists(p.Cert) || t.view.exists(p.Key) })
}

// dirOf is the directory that a set's files have in common.
func dirOf(f layout.Files) string { return cmp.Or(f.Dir, path.Dir(f.CA)) }
