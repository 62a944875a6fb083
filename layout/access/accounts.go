package access

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"virtls/finding"
	"virtls/layout"
)

// A Credential is what the kernel knows of a process that wants to read.
type Credential struct {
	Name   string // of the user, for messages
	UID    int
	GID    int
	Groups []int // supplementary ones
}

// RootUser is the credential of system daemons.
var RootUser = Credential{Name: "root"}

// String returns the user's name, or the number if it has none.
func (c Credential) String() string { return cmp.Or(c.Name, "uid "+strconv.Itoa(c.UID)) }

func (c Credential) in(gid int) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }

// A User is a line of /etc/passwd.
type User struct {
	Name string
	UID  int
	GID  int
	Home string
}

// A Group is a line of /etc/group.
type Group struct {
	Name    string
	GID     int
	Members []string
}

// Accounts are a host's users and groups, as its files list them. Those of a
// directory service are not known here.
type Accounts struct {
	Users  []User
	Groups []Group
}

// ReadAccounts reads etc/passwd and etc/group. Missing files list nobody, as in
// a staged tree; lines that are malformed are passed over, as the C library does.
func ReadAccounts(v layout.View) (Accounts, error) {
	var a Accounts
	passwd, err := table(v, "/etc/passwd")
	if err != nil {
		return a, err
	}
	for _, f := range passwd {
		uid, gid := number(f, 2), number(f, 3)
		if len(f) >= 6 && uid >= 0 && gid >= 0 {
			a.Users = append(a.Users, User{Name: f[0], UID: uid, GID: gid, Home: f[5]})
		}
	}
	group, err := table(v, "/etc/group")
	for _, f := range group {
		if gid := number(f, 2); len(f) >= 4 && gid >= 0 {
			a.Groups = append(a.Groups, Group{Name: f[0], GID: gid, Members: slices.DeleteFunc(strings.Split(f[3], ","), func(m string) bool { return m == "" })})
		}
	}
	return a, err
}

func table(v layout.View, file string) (rows [][]string, err error) {
	data, err := v.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(data)) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), ":"))
	}
	return rows, err
}

// number returns a field of decimal digits that fits a user id, or -1.
func number(fields []string, i int) int {
	if i >= len(fields) {
		return -1
	}
	return id(fields[i])
}

func id(s string) int {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

// User finds a user by name.
func (a Accounts) User(name string) (User, bool) {
	i := slices.IndexFunc(a.Users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return a.Users[i], true
}

// Group finds a group by name.
func (a Accounts) Group(name string) (Group, bool) {
	i := slices.IndexFunc(a.Groups, func(g Group) bool { return g.Name == name })
	if i < 0 {
		return Group{}, false
	}
	return a.Groups[i], true
}

// Credential returns what a process has that logs in as the user, with gid as
// its group: besides that all groups of the user, the login group included, as
// libvirt gives them to QEMU (virGetGroupList; seen with 9.0).
func (a Accounts) Credential(u User, gid int) Credential {
	c := Credential{Name: u.Name, UID: u.UID, GID: gid}
	if u.GID >= 0 && u.GID != gid {
		c.Groups = []int{u.GID}
	}
	for _, g := range a.Groups {
		if slices.Contains(g.Members, u.Name) && !c.in(g.GID) {
			c.Groups = append(c.Groups, g.GID)
		}
	}
	return c
}

// UserName returns the name of a user, or the number.
func (a Accounts) UserName(uid int) string {
	if i := slices.IndexFunc(a.Users, func(u User) bool { return u.UID == uid }); i >= 0 {
		return a.Users[i].Name
	}
	if uid == 0 {
		return "root"
	}
	return strconv.Itoa(uid)
}

// GroupName returns the name of a group, or the number.
func (a Accounts) GroupName(gid int) string {
	if i := slices.IndexFunc(a.Groups, func(g Group) bool { return g.GID == gid }); i >= 0 {
		return a.Groups[i].Name
	}
	if gid == 0 {
		return "root"
	}
	return strconv.Itoa(gid)
}

var kindQEMUUser = finding.Define("qemu-account-unknown", finding.Error,
	"the user or group that QEMU is to run as is not in the host's files",
	"set user and group in qemu.conf to an account that exists")

// QEMU returns as whom libvirt runs QEMU: qemu.conf's user and group, else the
// distribution's (layout.Platform). A name may be a number; one that begins with
// + is never taken for a name (virGetUserID). The last result is false if the host
// does not know the account, as where no QEMU is installed, or in a staged tree;
// the credential then is nobody's, and the finding says what was looked for.
func (a Accounts) QEMU(conf layout.QEMUConf, p layout.Platform) (Credential, []finding.Finding, bool) {
	user, subject := p.QEMUUser, conf.File
	if conf.User.Set {
		user, subject = conf.User.Value, conf.User.Where
	}
	group, groupSubject := p.QEMUGroup, conf.File
	if conf.Group.Set {
		group, groupSubject = conf.Group.Value, conf.Group.Where
	}
	u, okUser := a.userOrNumber(user)
	gid, okGroup := a.groupOrNumber(group)
	if !okUser || !okGroup {
		u, gid = User{UID: stranger.UID, GID: stranger.GID}, stranger.GID
	}
	var list []finding.Finding
	if !okUser {
		list = append(list, kindQEMUUser.Found(subject, user).WithText("there is no user %s, as whom QEMU is to run", user))
	}
	if !okGroup {
		list = append(list, kindQEMUUser.Found(groupSubject, group).WithText("there is no group %s, as which QEMU is to run", group))
	}
	return a.Credential(u, gid), list, okUser && okGroup
}

func (a Accounts) userOrNumber(name string) (User, bool) {
	if u, ok := a.User(name); ok && !strings.HasPrefix(name, "+") {
		return u, true
	}
	uid := id(strings.TrimPrefix(name, "+"))
	if uid < 0 {
		return User{Name: name}, name == "root"
	}
	if i := slices.IndexFunc(a.Users, func(u User) bool { return u.UID == uid }); i >= 0 {
		return a.Users[i], true
	}
	return User{UID: uid, GID: -1}, true
}

func (a Accounts) groupOrNumber(name string) (int, bool) {
	if g, ok := a.Group(name); ok && !strings.HasPrefix(name, "+") {
		return g.GID, true
	}
	gid := id(strings.TrimPrefix(name, "+"))
	return max(gid, 0), gid >= 0 || name == "root"
}

// Owner returns the two names of an owner, as chown wants them.
func (a Accounts) Owner(uid, gid int) string {
	return fmt.Sprintf("%s:%s", a.UserName(uid), a.GroupName(gid))
}
