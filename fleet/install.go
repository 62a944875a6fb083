package fleet

import (
	"context"
	"errors"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"virtls/ca"
	"virtls/finding"
	"virtls/layout"
)

var (
	kindPerson = finding.Define("holder-person", finding.Error,
		"a person's files do not belong to a machine", "copy them to the person's home directory")
	kindNoAccount = finding.Define("account-unknown", finding.Error,
		"a file is to belong to a user or group that this machine does not have",
		"install QEMU or libvirt first, or name the right one in the fleet file with qemu-user and qemu-group")
	kindNotInstalled = finding.Define("file-not-installed", finding.Error,
		"a file could not be installed", "run as root; what was installed before stays and is complete")
	kindGroupDiffers = finding.Define("qemu-group-differs", finding.Warning,
		"the fleet file names another group than the one that QEMU runs as on this machine",
		"set qemu-group of the host in the fleet file, or group in /etc/libvirt/qemu.conf")
)

// An Installer puts a staged tree on this machine. Its zero value installs
// below / with the machine's accounts and, where SELinux is on, its labels.
type Installer struct {
	Root   string                                      // "/" if empty; everything is below it, configuration files included
	Lookup func(owner, group string) (int, int, error) // account names to ids; the machine's if nil
	Label  func(path, selinuxType string) error        // sets a label; the machine's if nil
}

// Installed is one file or directory that was made, replaced or given other
// rights. What was right already is not listed.
type Installed struct {
	Path string `json:"path"`
	Did  string `json:"did"` // created, replaced, owner or mode set
}

// Install puts what is staged for a host, or a client with a system tree, on
// this machine. Doing it twice changes nothing the second time. It begins only
// if nothing is in the way of any file.
func (in Installer) Install(ctx context.Context, file *File, state *ca.State, holder string, done func(Installed)) ([]finding.Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := deliver(ctx, file, state, holder)
	if err != nil {
		return nil, err
	}
	defer d.clear()
	if d.manifest.Person {
		dir := d.run.staged(d.holder, "")
		return nil, kindPerson.Found(dir, "").
			WithText("the files of %s belong into a home directory, not on this machine", holder).
			WithFix("copy %s to the person's home directory", filepath.Join(dir, ".pki")).Usage()
	}
	in = in.withDefaults()
	if err := in.checkRoot(); err != nil {
		return nil, err
	}
	list, findings, err := in.prepare(d.manifest.Entries)
	if err != nil {
		return findings, err
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return findings, err
		}
		did, err := in.install(e, d.files[e.Path])
		if err != nil {
			return findings, err
		}
		if did != "" {
			done(Installed{e.Path, did})
		}
	}
	return findings, nil
}

// An owned entry has the ids of its accounts on this machine.
type owned struct {
	ManifestEntry
	uid, gid int
}

// prepare finds out who is to own the entries here, and whether anything is in
// their way.
func (in Installer) prepare(entries []ManifestEntry) (list []owned, findings []finding.Finding, err error) {
	group := in.qemuGroup()
	for _, e := range entries {
		if e.Group == layout.QEMUGroupName {
			if e.Group = group; group == "" {
				return nil, findings, kindNoAccount.Found(e.Path, "no /etc/libvirt/qemu.conf and no /etc/os-release").
					WithText("the group that QEMU runs as cannot be found out").WithFix("name it in the fleet file with qemu-group").Unable(nil)
			}
		} else if e.Group != "root" && group != "" && e.Group != group && len(findings) == 0 {
			findings = append(findings, kindGroupDiffers.Found(e.Path, e.Group).WithWant(group, "qemu.conf or this distribution"))
		}
		uid, gid, err := in.Lookup(e.Owner, e.Group)
		if err != nil {
			return nil, findings, kindNoAccount.Found(e.Path, e.Owner+":"+e.Group).Unable(err)
		}
		if e.Type == "directory" {
			_, _, err = in.way(e.Path)
		} else {
			_, _, err = in.place(e.Path)
		}
		if err != nil {
			return nil, findings, err
		}
		list = append(list, owned{e, uid, gid})
	}
	return list, findings, nil
}

func (in Installer) withDefaults() Installer {
	if in.Root == "" {
		in.Root = "/"
	}
	if in.Lookup == nil {
		in.Lookup = lookupAccounts
	}
	if in.Label == nil {
		in.Label = setLabel
	}
	return in
}

// install brings one entry to its place and returns what had to be done.
func (in Installer) install(e owned, data []byte) (did string, err error) {
	var target string
	if e.Type == "directory" {
		target, did, err = in.makeDirectory(e.Path, e.Mode, e.uid, e.gid)
	} else {
		target, did, err = in.installFile(e.Path, data, e.Mode, e.uid, e.gid)
	}
	if err == nil && e.SELinux != "" {
		err = in.Label(target, e.SELinux)
	}
	if _, ok := errors.AsType[*finding.Failure](err); err != nil && !ok {
		err = kindNotInstalled.Found(target, "").Unable(err)
	}
	return did, err
}

func lookupAccounts(owner, group string) (uid, gid int, err error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	if gid, err = strconv.Atoi(group); err == nil {
		return uid, gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(g.Gid)
	return uid, gid, err
}

// qemuGroup returns the group that QEMU runs as on this machine: what qemu.conf
// says, else what the distribution's libvirt was built with; empty if neither
// file is there.
func (in Installer) qemuGroup() string {
	if g := in.confValue("/etc/libvirt/qemu.conf", "group"); g != "" {
		g = strings.TrimPrefix(g, "+") // libvirt's mark of a number
		if byID, err := user.LookupGroupId(g); err == nil {
			return byID.Name
		}
		return g
	}
	release := func(key string) string { return in.confValue("/etc/os-release", key) }
	if release("ID") == "" {
		return ""
	}
	return layout.PlatformOf(release("ID"), release("VERSION_ID"), release("VERSION_CODENAME"), release("ID_LIKE")).QEMUGroup
}

// confLine is a line of libvirt's configuration or of os-release: the value is
// quoted, or ends at a blank.
var confLine = regexp.MustCompile(`^\s*([A-Za-z0-9_]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'#]*))`)

// confValue reads the last KEY = VALUE line of a file below the root; empty if there is none.
func (in Installer) confValue(name, key string) (value string) {
	data, err := layout.Root(in.Root).ReadFile(name)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if m := confLine.FindStringSubmatch(line); m != nil && m[1] == key {
			value = m[2] + m[3] + m[4]
		}
	}
	return value
}
