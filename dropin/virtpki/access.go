package virtpki

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"virtls/layout"
)

// readers are those who need to read a file, and so those who may.
type readers int

const (
	everybody readers = iota // all users of the machine
	daemon                   // a daemon that runs as root; others may if there is nothing secret
	secret                   // a daemon that runs as root, and at most a group of its own
	either                   // all users, or only some
	owner                    // the user whose file it is, and nobody else
)

// wanted is what the real program wants to see: the mode, exactly, and the owner.
type wanted struct {
	mode     fs.FileMode
	uid, gid int
	readers  readers // what is behind it
}

// exact is the real program's judgement.
func (w wanted) exact(mode fs.FileMode, uid, gid int) bool {
	return mode == w.mode && uid == w.uid && gid == w.gid
}

// safe tells whether owner and mode let those read who need to and nobody who
// must not, and let nobody else write.
func (w wanted) safe(mode fs.FileMode, uid int) bool {
	const (
		groupWrite = 0o020
		otherWrite = 0o002
		others     = 0o007
		group      = 0o070
	)
	if uid != w.uid || mode&(groupWrite|otherWrite) != 0 || mode&w.mode&0o500 != w.mode&0o500 {
		return false
	}
	switch w.readers {
	case everybody:
		return mode&w.mode&others == w.mode&others && mode&w.mode&group == w.mode&group
	case secret:
		return mode&others == 0
	case owner:
		return mode&(group|others) == 0
	}
	return true
}

// access checks the owner and mode of what is there.
func (v *validator) access(what, path string, w wanted, hint string) {
	v.begin("Checking %s access", what)
	info, err := os.Stat(path)
	if err != nil {
		v.verdict(hint)
		return
	}
	st := info.Sys().(*syscall.Stat_t)
	mode, uid, gid := info.Mode().Perm(), int(st.Uid), int(st.Gid)
	if w.exact(mode, uid, gid) || !v.compat && w.safe(mode, uid) {
		hint = ""
	}
	v.verdict(hint)
}

// systemDir checks a directory of the system's.
func (v *validator) systemDir(what, path string, r readers) {
	v.access(what, path, wanted{0o755, 0, 0, r},
		fmt.Sprintf("The %s %s must be accessible to all users. As root, run: %s", what, path, v.own(path, 0o755, false)))
}

// keyAccess checks a private key.
func (v *validator) keyAccess(role layout.Role, index, path string) {
	what := "key" + index
	switch {
	case !v.system():
		v.access(what, path, wanted{0o600, v.uid, v.gid, owner},
			fmt.Sprintf("The %s key %s must be not be accessible to other users. As this user, run: %s", role, path, v.own(path, 0o600, true)))
	case role == layout.Server:
		v.access(what, path, wanted{0o600, 0, 0, secret},
			fmt.Sprintf("The server key %s must not be accessible to unprivileged users. As root run: %s", path, v.own(path, 0o600, true)))
	default:
		v.access(what, path, wanted{0o644, 0, 0, either},
			fmt.Sprintf("The client key %s must be accessible to all users. As root run: %s", path, v.own(path, 0o644, true)))
	}
}

// certAccess checks a certificate's file.
func (v *validator) certAccess(role layout.Role, index, path string) {
	what := "cert" + index
	if !v.system() {
		v.access(what, path, wanted{0o600, v.uid, v.gid, owner},
			fmt.Sprintf("The %s cert %s must be restricted to this user. As this user, run: %s", role, path, v.own(path, 0o600, true)))
		return
	}
	r := everybody
	if role == layout.Server {
		r = daemon
	}
	v.access(what, path, wanted{0o644, 0, 0, r},
		fmt.Sprintf("The %s cert %s must be accessible to all users. As root run: %s", role, path, v.own(path, 0o644, true)))
}

// own returns the commands that make a file belong to whom it should, as the
// real program writes them: of the system's directories chown has no operand.
func (v *validator) own(path string, mode fs.FileMode, file bool) string {
	who := "root:root"
	if !v.system() {
		who = fmt.Sprintf("%d:%d", v.uid, v.gid)
	}
	if file || !v.system() {
		who += " " + path
	}
	return fmt.Sprintf("chown %s; chmod %04o %s", who, mode, path)
}
