package fleet

import (
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func ownerOf(info fs.FileInfo) (uid, gid int) {
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}

// setLabel sets the SELinux type of a file. It does nothing where SELinux is off.
func setLabel(path, selinuxType string) error {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		return nil
	}
	return writeLabel(path, selinuxType)
}

// writeLabel changes the type in a file's label, USER:ROLE:TYPE:RANGE, as
// restorecon(8) does: the other parts stay. A file without a label gets that of
// system files.
func writeLabel(path, selinuxType string) error {
	const attribute = "security.selinux"
	parts := []string{"system_u", "object_r", "", "s0"}
	have := make([]byte, 1024)
	if n, err := unix.Lgetxattr(path, attribute, have); err == nil {
		if found := strings.SplitN(strings.TrimRight(string(have[:n]), "\x00"), ":", 4); len(found) == 4 {
			parts = found
		}
	}
	if parts[2] == selinuxType {
		return nil
	}
	parts[2] = selinuxType
	return unix.Lsetxattr(path, attribute, []byte(strings.Join(parts, ":")+"\x00"), 0)
}
