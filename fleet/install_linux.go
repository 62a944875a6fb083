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

// setLabel sets the SELinux type of a file, keeping the other parts of its
// label. It does nothing where SELinux is off.
func setLabel(path, selinuxType string) error {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		return nil
	}
	label := "system_u:object_r:" + selinuxType + ":s0"
	have := make([]byte, 256)
	if n, err := unix.Lgetxattr(path, "security.selinux", have); err == nil {
		parts := strings.SplitN(strings.TrimRight(string(have[:n]), "\x00"), ":", 4)
		if len(parts) == 4 && parts[2] == selinuxType {
			return nil
		}
	}
	return unix.Lsetxattr(path, "security.selinux", []byte(label+"\x00"), 0)
}
