package access

import "strings"

// Labels tell a file's SELinux label.
type Labels interface {
	// Label returns the label of the file at a path of this machine, such as
	// "system_u:object_r:cert_t:s0", empty if it has none.
	Label(real string) (string, error)
}

// FileLabels reads labels from the file system.
type FileLabels struct{}

// Label implements Labels. Links are not followed.
func (FileLabels) Label(real string) (string, error) {
	data, err := xattr(real, "security.selinux")
	return strings.TrimRight(string(data), "\x00"), err
}

// typeOf returns the type in a label USER:ROLE:TYPE:LEVEL.
func typeOf(label string) string {
	parts := strings.SplitN(label, ":", 4)
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}
