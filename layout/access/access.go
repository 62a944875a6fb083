// Package access judges who can read a credential file on a host: mode bits,
// owners, POSIX ACLs and every directory on the way to it, as the kernel would,
// for a user that need not be the one who asks.
//
// It reads files' metadata below a layout.Root and changes nothing.
package access

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"virtls/layout"
)

// A Host is a machine, or a tree that is to become one's.
type Host struct {
	Root     layout.Root
	Accounts Accounts
	Labels   Labels
}

// Open reads the host's accounts. Labels are those of the file system.
func Open(root layout.Root) (*Host, error) {
	accounts, err := ReadAccounts(root)
	if err != nil {
		return nil, err
	}
	return &Host{Root: root, Accounts: accounts, Labels: FileLabels{}}, nil
}

const (
	read   fs.FileMode = 4
	write  fs.FileMode = 2
	search fs.FileMode = 1
)

// A node is one object on a path with its rights.
type node struct {
	layout.Step
	uid, gid int
	acl      acl
}

// nodes walks to a file. When it cannot be reached it returns the directories
// up to there and the error.
func (h *Host) nodes(name string) ([]node, error) {
	steps, failed := h.Root.Steps(name)
	var list []node
	for _, s := range steps {
		if s.Target != "" || s.Path == "/" && h.Root != "" && h.Root != "/" {
			continue // a link has no rights of its own, nor has the top of a tree those of a host's root
		}
		n := node{Step: s, acl: plainACL(s.Info.Mode().Perm())}
		if st, ok := s.Info.Sys().(*syscall.Stat_t); ok {
			n.uid, n.gid = int(st.Uid), int(st.Gid)
		}
		// Where the group has nothing Linux does not look at the ACL (acl_permission_check).
		if s.Info.Mode().Perm()&0o070 != 0 {
			if err := n.readACL(); err != nil {
				return list, &fs.PathError{Op: "getxattr", Path: s.Path, Err: err}
			}
		}
		list = append(list, n)
	}
	return list, failed
}

func (n *node) readACL() error {
	data, err := xattr(n.Real, aclXattr)
	if err != nil || data == nil {
		return err
	}
	n.acl, err = parseACL(data)
	return err
}

// xattr reads an extended attribute, nil if the file has none of that name.
func xattr(file, name string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n, err := unix.Lgetxattr(file, name, buf)
		switch {
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
			return nil, nil
		case errors.Is(err, unix.ERANGE) && len(buf) < maxXattr:
			buf = make([]byte, maxXattr)
		case err != nil:
			return nil, err
		default:
			return buf[:n], nil
		}
	}
}

func (n node) allows(who Credential, want fs.FileMode) bool {
	return who.UID == 0 || n.acl.allows(who, n.uid, n.gid, want)
}

// A Denial says where somebody's way to a file ends.
type Denial struct {
	Who   Credential
	File  string // what was to be read
	At    string // the directory that cannot be entered, or the file itself
	Real  string // At on this machine
	Dir   bool   // At is a directory on the way
	Owner string // of At, USER:GROUP
	Mode  fs.FileMode
}

// Error implements error.
func (d *Denial) Error() string {
	verb := "read"
	if d.Dir {
		verb = "enter"
	}
	return fmt.Sprintf("%s cannot %s %s (%s %04o)", d.Who, verb, d.At, d.Owner, d.Mode)
}

// Is makes a Denial match fs.ErrPermission.
func (d *Denial) Is(target error) bool { return target == fs.ErrPermission }

// CanRead tells whether somebody can read a file: nil if so, a *Denial that
// says where the way ends, or the error of a file that is not there or whose
// rights cannot be seen by this program.
func (h *Host) CanRead(who Credential, name string) error {
	list, failed := h.nodes(name)
	return h.judge(list, failed, who, name, read)
}

// judge looks for the first object that stops somebody. want is of the last
// object, if the walk has reached it.
func (h *Host) judge(list []node, failed error, who Credential, name string, want fs.FileMode) error {
	for i, n := range list {
		onTheWay := i < len(list)-1 || failed != nil
		need := want
		switch {
		case onTheWay && n.Info.IsDir():
			need = search
		case onTheWay:
			return failed // a file in a directory's place
		}
		if !n.allows(who, need) {
			return &Denial{
				Who: who, File: name, At: n.Path, Real: n.Real, Dir: onTheWay,
				Owner: h.Accounts.Owner(n.uid, n.gid), Mode: n.Info.Mode().Perm(),
			}
		}
	}
	return failed
}

// Readers are those who can read a file, root apart.
type Readers struct {
	Everybody bool
	Users     []string // each account that can, by whatever way, with the numbers of users without one
	Groups    []string // the groups whose members can for being members
}

// stranger is nobody's credential: it has what everybody has.
var stranger = Credential{UID: -1, GID: -1}

// Readers tells who can read a file.
func (h *Host) Readers(name string) (Readers, error) {
	list, err := h.nodes(name)
	if err != nil {
		return Readers{}, err
	}
	return h.readers(list), nil
}

func (h *Host) readers(list []node) Readers {
	can := func(who Credential) bool { return h.judge(list, nil, who, "", read) == nil }
	r := Readers{Everybody: can(stranger)}
	for uid, who := range h.candidates(list) {
		if uid != 0 && can(who) {
			r.Users = append(r.Users, h.Accounts.UserName(uid))
		}
	}
	slices.Sort(r.Users)
	for _, gid := range groups(list) {
		if !r.Everybody && can(Credential{UID: -1, GID: gid}) {
			r.Groups = append(r.Groups, h.Accounts.GroupName(gid))
		}
	}
	return r
}

// candidates are all users that may have rights on the objects: those with an
// account, and those whom the objects name.
func (h *Host) candidates(list []node) map[int]Credential {
	users := map[int]Credential{}
	for _, n := range list {
		users[n.uid] = Credential{UID: n.uid, GID: -1}
		for _, e := range n.acl {
			if e.tag == tagUser {
				users[e.id] = Credential{UID: e.id, GID: -1}
			}
		}
	}
	for _, u := range h.Accounts.Users {
		users[u.UID] = h.Accounts.Credential(u, u.GID)
	}
	return users
}

// groups are those that the objects name.
func groups(list []node) []int {
	var gids []int
	for _, n := range list {
		gids = append(gids, n.gid)
		for _, e := range n.acl {
			if e.tag == tagGroup {
				gids = append(gids, e.id)
			}
		}
	}
	slices.Sort(gids)
	return slices.Compact(gids)
}

// As returns the host's files as somebody sees them, for a layout.Lookup.
func (h *Host) As(who Credential) layout.View { return view{h, who} }

type view struct {
	host *Host
	who  Credential
}

func (v view) Stat(name string) (fs.FileInfo, error) {
	list, failed := v.host.nodes(name)
	if err := v.host.judge(list, failed, v.who, name, 0); err != nil {
		return nil, err
	}
	return v.host.Root.Stat(name)
}

func (v view) ReadFile(name string) ([]byte, error) {
	if err := v.host.CanRead(v.who, name); err != nil {
		return nil, err
	}
	return v.host.Root.ReadFile(name)
}
