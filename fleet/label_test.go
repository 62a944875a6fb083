package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/internal/peertest"
)

// TestWriteLabel writes labels as they are on a disk: the kernel keeps them
// whether SELinux is on or not.
func TestWriteLabel(t *testing.T) {
	peertest.NeedRoot(t, "labels of files")
	const attribute = "security.selinux"
	for name, tt := range map[string]struct{ before, want string }{
		"none":             {"", "system_u:object_r:cert_t:s0\x00"},
		"another type":     {"unconfined_u:object_r:user_tmp_t:s0:c1,c2\x00", "unconfined_u:object_r:cert_t:s0:c1,c2\x00"},
		"the type already": {"staff_u:object_r:cert_t:s0", "staff_u:object_r:cert_t:s0"},
		"unreadable":       {"nonsense", "system_u:object_r:cert_t:s0\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca-cert.pem")
			must(t, os.WriteFile(file, nil, 0o644))
			if tt.before != "" {
				must(t, unix.Lsetxattr(file, attribute, []byte(tt.before), 0))
			}
			must(t, writeLabel(file, "cert_t"))
			buf := make([]byte, 1024)
			n, err := unix.Lgetxattr(file, attribute, buf)
			must(t, err)
			check(t, "label", string(buf[:n]), tt.want)
			out := peertest.Host.Run(t, peertest.Options{}, "ls", "-Z", file)
			if !strings.HasPrefix(out.Stdout, strings.TrimRight(tt.want, "\x00")+" ") {
				t.Errorf("ls -Z says %q", out.Stdout)
			}
		})
	}
}
