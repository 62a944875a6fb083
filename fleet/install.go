package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/layout"
)

var (
	kindManifest = finding.Define("manifest-unusable", finding.Error,
		"the manifest of a staged tree cannot be used", "run virtls apply, which writes it anew")
	kindNoAccount = finding.Define("account-unknown", finding.Error,
		"a file is to belong to a user or group that this machine does not have",
		"install QEMU or libvirt first, or name the right one in the fleet file with qemu-user and qemu-group")
	kindNotInstalled = finding.Define("file-not-installed", finding.Error,
		"a file could not be installed", "run as root; what was installed before stays and is complete")
	kindTampered = finding.Define("staged-file-changed", finding.Error,
		"a staged file is not the one that its manifest lists", "run virtls apply, then install again")
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
// this machine. Doing it twice changes nothing the second time.
func (in Installer) Install(ctx context.Context, stateDir, holder string, done func(Installed)) ([]finding.Finding, error) {
	dir, m, err := readManifest(stateDir, holder)
	if err != nil {
		return nil, err
	}
	if m.Person {
		return nil, kindManifest.Found(dir, "the tree of a person").
			WithText("the files of %s belong into a home directory, not on this machine", holder).
			WithFix("copy %s to the person's home directory", filepath.Join(dir, ".pki")).Usage()
	}
	in = in.withDefaults()
	var findings []finding.Finding
	group := in.qemuGroup()
	for _, e := range m.Entries {
		if err := ctx.Err(); err != nil {
			return findings, err
		}
		if e.Group == layout.QEMUGroupName {
			if e.Group = group; group == "" {
				return findings, kindNoAccount.Found(e.Path, "no /etc/libvirt/qemu.conf and no /etc/os-release").
					WithText("the group that QEMU runs as cannot be found out").WithFix("name it in the fleet file with qemu-group").Unable(nil)
			}
		} else if e.Group != "root" && group != "" && e.Group != group && len(findings) == 0 {
			findings = append(findings, kindGroupDiffers.Found(e.Path, e.Group).WithWant(group, "qemu.conf or this distribution"))
		}
		did, err := in.install(dir, e)
		if err != nil {
			return findings, err
		}
		if did != "" {
			done(Installed{e.Path, did})
		}
	}
	return findings, nil
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

// readManifest reads the manifest of a host, or of a client if there is no such host.
func readManifest(stateDir, holder string) (dir string, m Manifest, err error) {
	if !holderForm.MatchString(holder) {
		return "", m, kindNoHolder.Found(holder, "").WithText("this is no name of a host or client").Usage()
	}
	for _, kind := range []string{"hosts", "clients"} {
		dir = filepath.Join(stateDir, kind, holder)
		data, err := readBounded(filepath.Join(dir, manifestName))
		if err != nil {
			return dir, m, err
		}
		if data == nil {
			continue
		}
		if err := json.Unmarshal(data, &m); err != nil {
			return dir, m, kindManifest.Found(filepath.Join(dir, manifestName), "").Unable(err)
		}
		if m.Schema != 1 {
			return dir, m, kindManifest.Found(filepath.Join(dir, manifestName), fmt.Sprintf("schema %d", m.Schema)).WithWant("schema 1", "this version of virtls").Unable(nil)
		}
		if err := m.check(); err != nil {
			return dir, m, kindManifest.Found(filepath.Join(dir, manifestName), "").Unable(err)
		}
		return dir, m, nil
	}
	return "", m, notStaged(stateDir, holder)
}

// notStaged says that nothing is staged for a holder, and for whom something is.
func notStaged(stateDir, holder string) error {
	var names []string
	for _, kind := range []string{"hosts", "clients"} {
		entries, err := os.ReadDir(filepath.Join(stateDir, kind))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kindStagedUnreadable.Found(filepath.Join(stateDir, kind), "").Unable(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	f := kindNotStaged.Found(filepath.Join(stateDir, "hosts", holder), "")
	switch near := finding.Nearest(holder, names); {
	case near != "":
		f = f.WithFix("if you meant %s, name it so; else run: virtls apply", near)
	case len(names) > 0 && len(names) <= manyNames:
		f = f.WithFix("something is staged for %s; for others run: virtls apply", strings.Join(names, ", "))
	}
	return f.Unable(nil)
}

// check refuses what no manifest of ours holds: it decides what root writes
// where, and its words become a part of the bundle's installer.
func (m Manifest) check() error {
	for _, e := range m.Entries {
		local := strings.TrimPrefix(e.Path, "/")
		switch {
		case filepath.Clean(e.Path) != e.Path || !filepath.IsLocal(local) || (local == e.Path) != m.Person ||
			strings.ContainsFunc(e.Path, unicode.IsControl):
			return fmt.Errorf("path %q", e.Path)
		case e.Type != "file" && e.Type != "directory":
			return fmt.Errorf("type %q of %s", e.Type, e.Path)
		case e.Owner != "root" && e.Owner != layout.HolderUser:
			return fmt.Errorf("owner %q of %s", e.Owner, e.Path)
		case e.Group != layout.QEMUGroupName && e.Group != layout.HolderUser && !accountForm.MatchString(e.Group):
			return fmt.Errorf("group %q of %s", e.Group, e.Path)
		}
	}
	return nil
}

// install brings one entry to its place and returns what had to be done.
func (in Installer) install(dir string, e ManifestEntry) (did string, err error) {
	target := filepath.Join(in.Root, e.Path)
	uid, gid, err := in.Lookup(e.Owner, e.Group)
	if err != nil {
		return "", kindNoAccount.Found(e.Path, e.Owner+":"+e.Group).Unable(err)
	}
	if e.Type == "directory" {
		did, err = makeDirectory(target, e.Mode, uid, gid)
	} else {
		did, err = in.installFile(dir, target, e, uid, gid)
	}
	if err == nil && e.SELinux != "" {
		err = in.Label(target, e.SELinux)
	}
	if _, ok := errors.AsType[*finding.Failure](err); err != nil && !ok {
		err = kindNotInstalled.Found(target, "").Unable(err)
	}
	return did, err
}

func makeDirectory(target string, mode fs.FileMode, uid, gid int) (string, error) {
	if err := makeParents(filepath.Dir(target)); err != nil {
		return "", err
	}
	err := os.Mkdir(target, mode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	did, fixErr := fixRights(target, mode, uid, gid)
	if err == nil {
		did = "created"
	}
	return did, fixErr
}

// makeParents makes the missing directories above one that is installed, open
// to all whatever the umask.
func makeParents(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func (in Installer) installFile(dir, target string, e ManifestEntry, uid, gid int) (string, error) {
	data, err := e.read(dir)
	if err != nil {
		return "", err
	}
	defer clear(data)
	have, err := readBounded(target)
	if err != nil {
		return "", err
	}
	if bytes.Equal(have, data) && have != nil {
		return fixRights(target, e.Mode, uid, gid)
	}
	if err := atomicfile.Write(target, data, e.Mode, atomicfile.Owner(uid, gid)); err != nil {
		return "", err
	}
	if have == nil {
		return "created", nil
	}
	return "replaced", nil
}

// fixRights gives a file that is there its owner and mode.
func fixRights(target string, mode fs.FileMode, uid, gid int) (string, error) {
	info, err := os.Stat(target)
	if err != nil {
		return "", err
	}
	did := ""
	if u, g := ownerOf(info); u != uid || g != gid {
		if err := os.Chown(target, uid, gid); err != nil {
			return "", err
		}
		did = "owner set"
	}
	if info.Mode().Perm() != mode || did != "" {
		if err := os.Chmod(target, mode); err != nil {
			return "", err
		}
		if did == "" {
			did = "mode set"
		}
	}
	return did, nil
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
	if g := confValue(filepath.Join(in.Root, "etc/libvirt/qemu.conf"), "group"); g != "" {
		g = strings.TrimPrefix(g, "+") // libvirt's mark of a number
		if byID, err := user.LookupGroupId(g); err == nil {
			return byID.Name
		}
		return g
	}
	path := filepath.Join(in.Root, "etc/os-release")
	if confValue(path, "ID") == "" {
		return ""
	}
	return layout.PlatformOf(confValue(path, "ID"), confValue(path, "VERSION_ID"), confValue(path, "VERSION_CODENAME"), confValue(path, "ID_LIKE")).QEMUGroup
}

// confLine is a line of libvirt's configuration or of os-release: the value is
// quoted, or ends at a blank.
var confLine = regexp.MustCompile(`^\s*([A-Za-z0-9_]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'#]*))`)

// confValue reads the last KEY = VALUE line; empty if there is none.
func confValue(path, key string) (value string) {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m := confLine.FindStringSubmatch(lines.Text()); m != nil && m[1] == key {
			value = m[2] + m[3] + m[4]
		}
	}
	return value
}
