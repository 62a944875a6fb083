package access

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/layout"
)

var (
	kindUnreadable = finding.Define("consumer-cannot-read", finding.Error,
		"its consumer cannot read the file",
		"let the consumer's group read the file, and enter each directory on the way to it")
	kindUnseen = finding.Define("rights-unreadable", finding.Warning,
		"the file's rights cannot be judged",
		"run the check as root")
	kindKeyWorld = finding.Define("key-readable-by-everybody", finding.Error,
		"every user of the host can read the private key, and so pose as its owner",
		"make the key readable by its consumer alone, and replace it if others have had the chance to read it")
	kindKeyOthers = finding.Define("key-readable-by-others", finding.Warning,
		"others than root and the consumer can read the private key",
		"make the key readable by its consumer alone")
	kindWritable = finding.Define("credential-writable-by-others", finding.Error,
		"others than root and the holder can replace the file, and so decide who is trusted",
		"take away their right to write")
	kindOwner = finding.Define("owner-differs", finding.Warning,
		"owner or group are not as the permission profile has them",
		"change them")
	kindMode = finding.Define("mode-differs", finding.Warning,
		"the mode is not as the permission profile has it",
		"change it")
	kindLabel = finding.Define("selinux-label", finding.Error,
		"the file's SELinux type keeps the confined consumer from reading it",
		"restore the labels of the policy")
)

// A Check says whose files are judged.
type Check struct {
	Files   layout.Files
	Who     Credential // who must be able to read them
	Profile Profile
	// Home is a directory whose files belong to Who, and which nobody else needs
	// to read: the home directory of a person, or the directory of a pkipath.
	Home string
	// QEMUGroup is the group that profiles give to QEMU; empty: that of Who.
	QEMUGroup string
	// AppArmor tells that Who is a guest's QEMU, which libvirt's profile confines.
	// Then links must not lead out of what the profile allows: AppArmor judges
	// where they end. Of which libvirt it is tells where own rules belong.
	AppArmor bool
	Libvirt  layout.Version
}

// own tells whether the object is Who's own.
func (c Check) own(o object) bool {
	return c.Home != "" && (o.path == c.Home || strings.HasPrefix(o.path, strings.TrimSuffix(c.Home, "/")+"/"))
}

// Check judges the rights of the files that are there: whether the consumer can
// read them, who else can read the keys or replace anything, the labels, and the
// profile. What is missing is for others to judge.
func (h *Host) Check(c Check) []finding.Finding {
	var list []finding.Finding
	for _, o := range objects(c.Files) {
		nodes, err := h.nodes(o.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			list = append(list, kindUnseen.Found(o.path, err.Error()))
			continue
		}
		last := nodes[len(nodes)-1]
		if !o.class.dir() {
			list = append(list, h.effects(c, o, nodes)...)
		}
		list = append(list, h.profile(c, o, last)...)
		list = append(list, h.label(o, last)...)
		if c.AppArmor && !o.class.dir() && last.Path != o.path && !layout.AppArmorAllows(last.Path) {
			list = append(list, layout.AppArmorDenies(o.path, path.Dir(last.Path), c.Libvirt))
		}
	}
	return unique(list)
}

// unique leaves out what one command mends for several files: one directory may
// be wrong for all that is in it.
func unique(list []finding.Finding) []finding.Finding {
	var out []finding.Finding
	for _, f := range list {
		same := func(o finding.Finding) bool { return o.Code == f.Code && o.Subject == f.Subject && o.Fix == f.Fix }
		if !slices.ContainsFunc(out, same) {
			out = append(out, f)
		}
	}
	return out
}

// effects judges what the rights on the way to a file bring about.
func (h *Host) effects(c Check, o object, nodes []node) []finding.Finding {
	var list []finding.Finding
	var denial *Denial
	if err := h.judge(nodes, nil, c.Who, o.path, read); errors.As(err, &denial) {
		f := kindUnreadable.Found(denial.At, fmt.Sprintf("%s %s", denial.Owner, modeText(denial.Mode))).
			WithText("%s cannot be read by %s", o.path, c.Who).WithFix("%s", h.grant(c, o, denial))
		list = append(list, f)
	}
	if o.class.key() {
		list = append(list, h.keyReaders(c, o, nodes)...)
	}
	return append(list, h.writers(c, o, nodes)...)
}

// grant is the command that lets the consumer pass an obstacle: for QEMU's key
// the group's bit, for what may be of use to others, too, an entry in its ACL.
func (h *Host) grant(c Check, o object, d *Denial) string {
	who, real := h.Accounts.UserName(c.Who.UID), layout.ShellQuote(d.Real)
	switch {
	case d.Dir:
		return fmt.Sprintf("setfacl -m u:%s:x %s", who, real)
	case c.own(o):
		return fmt.Sprintf("chown %s %s && chmod u+r %s", who, real, real)
	case !o.class.key():
		return "chmod a+r " + real
	case c.Files.Service == layout.Libvirt:
		return fmt.Sprintf("setfacl -m u:%s:r %s", who, real)
	}
	return fmt.Sprintf("chgrp %s %s && chmod 0640 %s", h.qemuGroup(c), real, real)
}

func (h *Host) qemuGroup(c Check) string {
	if c.QEMUGroup != "" {
		return c.QEMUGroup
	}
	return h.Accounts.GroupName(c.Who.GID)
}

// keyReaders finds those who can read a key and need not. A profile may let
// them: then there is nothing to mend but the choice of the profile.
func (h *Host) keyReaders(c Check, o object, nodes []node) []finding.Finding {
	last := nodes[len(nodes)-1]
	real := layout.ShellQuote(last.Real)
	w, _ := h.wanted(c, o)
	r := h.readers(nodes)
	if r.Everybody {
		f := kindKeyWorld.Found(o.path, modeText(last.Info.Mode())).WithFix("chmod o= %s", real)
		if w.mode&0o004 != 0 {
			f = f.WithSeverity(finding.Warning).WithText("every user of the host can read the private key, as the profile %s has it", c.Profile).
				WithFix("judge by another profile and run: chmod o= %s", real)
		}
		return []finding.Finding{f}
	}
	consumer := h.Accounts.UserName(c.Who.UID)
	others := slices.DeleteFunc(r.Users, func(name string) bool { return name == consumer })
	if len(others) == 0 || w.mode&0o040 != 0 && len(last.acl) == len(plainACL(0)) {
		return nil
	}
	mend := "chmod o= " + real
	switch {
	case len(last.acl) > len(plainACL(0)):
		mend = "setfacl -b " + real
	case c.Who.UID == 0 || c.own(o):
		mend = "chmod go= " + real
	}
	return []finding.Finding{kindKeyOthers.Found(o.path, strings.Join(others, ", ")).WithFix("%s", mend)}
}

// writers finds those who can change a file or put another into its place: by
// its own rights, or by those of a directory on the way, unless its sticky bit
// keeps them from touching what is not theirs.
func (h *Host) writers(c Check, o object, nodes []node) []finding.Finding {
	for i, n := range nodes {
		if n.Info.Mode()&fs.ModeSticky != 0 && i < len(nodes)-1 {
			continue
		}
		who := h.usersWith(n, write, c, o)
		if len(who) == 0 {
			continue
		}
		f := kindWritable.Found(n.Path, h.Accounts.Owner(n.uid, n.gid)+" "+modeText(n.Info.Mode())).
			WithText("%s can be replaced by %s", o.path, strings.Join(who, ", ")).WithFix("%s", h.revoke(c, o, n))
		if slices.Equal(who, []string{h.Accounts.UserName(c.Who.UID)}) {
			f = f.WithSeverity(finding.Warning) // bad only once the consumer is broken into
		}
		return []finding.Finding{f}
	}
	return nil
}

// revoke is the command after which only root, and the holder, can write. A
// consumer that was the owner reads on as the group.
func (h *Host) revoke(c Check, o object, n node) string {
	real := layout.ShellQuote(n.Real)
	cmd := "chmod go-w " + real
	switch {
	case n.uid == 0 || c.own(o) && n.uid == c.Who.UID:
	case n.uid == c.Who.UID:
		cmd = fmt.Sprintf("chown root:%s %s && chmod g=u,go-w %s", h.qemuGroup(c), real, real)
	default:
		cmd = "chown root " + real + " && " + cmd
	}
	if len(n.acl) > len(plainACL(0)) {
		cmd = "setfacl -b " + real + " && " + cmd
	}
	return cmd
}

// usersWith names those who have a right on one object, root and the holder apart.
func (h *Host) usersWith(n node, want fs.FileMode, c Check, o object) []string {
	if n.allows(stranger, want) {
		return []string{"everybody"}
	}
	var names []string
	for uid, who := range h.candidates([]node{n}) {
		if uid != 0 && !(c.own(o) && uid == c.Who.UID) && n.allows(who, want) {
			names = append(names, h.Accounts.UserName(uid))
		}
	}
	slices.Sort(names)
	return names
}

// wanted is what the profile of the check says of an object.
func (h *Host) wanted(c Check, o object) (wanted, bool) {
	switch {
	case c.Profile == NoProfile:
		return wanted{}, false
	case c.own(o) && o.class.dir():
		return wanted{owner: h.Accounts.Owner(c.Who.UID, c.Who.GID), mode: 0o700}, true
	case c.own(o):
		return wanted{owner: h.Accounts.Owner(c.Who.UID, c.Who.GID), mode: 0o600}, true
	}
	w, ok := c.Profile.want(c.Files.Service, o.class)
	w.owner = "root:root"
	if w.qemu {
		w.owner = "root:" + h.qemuGroup(c)
	}
	return w, ok
}

// profile compares owner and mode with the profile's.
func (h *Host) profile(c Check, o object, n node) []finding.Finding {
	w, ok := h.wanted(c, o)
	if !ok {
		return nil
	}
	var list []finding.Finding
	by, real := "profile "+string(c.Profile), layout.ShellQuote(n.Real)
	if got := h.Accounts.Owner(n.uid, n.gid); got != w.owner {
		list = append(list, kindOwner.Found(o.path, got).WithWant(w.owner, by).WithFix("chown %s %s", w.owner, real))
	}
	if got := modeText(n.Info.Mode()); got != modeText(w.mode) {
		list = append(list, kindMode.Found(o.path, got).WithWant(modeText(w.mode), by).WithFix("chmod %s %s", modeText(w.mode), real))
	}
	return list
}

// label compares the SELinux type with the policy's. A file without a label is
// on a host without SELinux.
func (h *Host) label(o object, n node) []finding.Finding {
	label, err := h.Labels.Label(n.Real)
	if err != nil || label == "" {
		return nil
	}
	real := layout.ShellQuote(n.Real)
	want, fix := layout.SELinuxType(n.Path), "restorecon -v "+real
	if want == "" {
		dir := path.Dir(n.Path)
		want, fix = "cert_t", fmt.Sprintf("semanage fcontext -a -t cert_t %s && restorecon -Rv %s", layout.ShellQuote(dir+"(/.*)?"), layout.ShellQuote(path.Dir(n.Real)))
	}
	if typeOf(label) == want {
		return nil
	}
	return []finding.Finding{kindLabel.Found(o.path, label).WithWant(want, "the SELinux policy of Fedora and RHEL").WithFix("%s", fix)}
}
