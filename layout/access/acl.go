package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
)

// aclXattr holds a file's POSIX ACL (linux/posix_acl_xattr.h).
const aclXattr = "system.posix_acl_access"

// maxXattr bounds an extended attribute, as the kernel does (XATTR_SIZE_MAX).
const maxXattr = 64 << 10

// An aclTag says whom an entry of an ACL is about.
type aclTag uint16

const (
	tagOwner      aclTag = 0x01
	tagUser       aclTag = 0x02
	tagOwnerGroup aclTag = 0x04
	tagGroup      aclTag = 0x08
	tagMask       aclTag = 0x10
	tagOther      aclTag = 0x20
)

// An aclEntry grants rights: read 4, write 2, search or execute 1.
type aclEntry struct {
	tag    aclTag
	rights fs.FileMode
	id     int // of a named user or group
}

// An acl is a file's rights in the one form that also plain mode bits have.
type acl []aclEntry

// plainACL are the rights of a file that has only mode bits.
func plainACL(mode fs.FileMode) acl {
	return acl{{tag: tagOwner, rights: mode >> 6 & 7}, {tag: tagOwnerGroup, rights: mode >> 3 & 7}, {tag: tagOther, rights: mode & 7}}
}

// parseACL reads the attribute: a little-endian version 2, then eight bytes an entry.
func parseACL(data []byte) (acl, error) {
	const version, header, size = 2, 4, 8
	if len(data) > maxXattr {
		return nil, fmt.Errorf("the ACL has %d bytes, more than %d", len(data), maxXattr)
	}
	if len(data) < header || binary.LittleEndian.Uint32(data) != version {
		return nil, errors.New("the ACL is not of version 2")
	}
	data = data[header:]
	if len(data)%size != 0 {
		return nil, errors.New("the ACL ends within an entry")
	}
	var list acl
	var last aclTag
	seen := map[aclTag]int{}
	for ; len(data) > 0; data = data[size:] {
		e := aclEntry{
			tag:    aclTag(binary.LittleEndian.Uint16(data)),
			rights: fs.FileMode(binary.LittleEndian.Uint16(data[2:])),
			id:     int(binary.LittleEndian.Uint32(data[4:])),
		}
		switch e.tag {
		case tagUser, tagGroup:
		case tagOwner, tagOwnerGroup, tagMask, tagOther:
			e.id = 0
			if seen[e.tag] > 0 {
				return nil, fmt.Errorf("the ACL has two entries of kind %#x", uint16(e.tag))
			}
		default:
			return nil, fmt.Errorf("the ACL has an entry of the unknown kind %#x", uint16(e.tag))
		}
		switch {
		case e.tag < last:
			return nil, errors.New("the ACL's entries are out of order")
		case e.rights > 7:
			return nil, fmt.Errorf("the ACL grants unknown rights %#o", uint32(e.rights))
		}
		last = e.tag
		seen[e.tag]++
		list = append(list, e)
	}
	if seen[tagOwner] == 0 || seen[tagOwnerGroup] == 0 || seen[tagOther] == 0 || seen[tagUser]+seen[tagGroup] > 0 && seen[tagMask] == 0 {
		return nil, errors.New("the ACL is not complete")
	}
	return list, nil
}

func (l acl) get(tag aclTag) (fs.FileMode, bool) {
	for _, e := range l {
		if e.tag == tag {
			return e.rights, true
		}
	}
	return 0, false
}

// mask limits what all but the owner and others have.
func (l acl) mask() fs.FileMode {
	if m, ok := l.get(tagMask); ok {
		return m
	}
	return 7
}

// allows answers as the kernel does (acl(5), ACCESS CHECK ALGORITHM): the
// owner's entry, else a named user's, else any of the groups' that grants it
// all, else, if no group matched, others'.
func (l acl) allows(who Credential, uid, gid int, want fs.FileMode) bool {
	granted := func(rights fs.FileMode) bool { return rights&want == want }
	if who.UID == uid {
		rights, _ := l.get(tagOwner)
		return granted(rights)
	}
	inGroup := false
	for _, e := range l {
		switch {
		case e.tag == tagUser && e.id == who.UID:
			return granted(e.rights & l.mask())
		case e.tag == tagOwnerGroup && who.in(gid), e.tag == tagGroup && who.in(e.id):
			if granted(e.rights & l.mask()) {
				return true
			}
			inGroup = true
		}
	}
	rights, _ := l.get(tagOther)
	return !inGroup && granted(rights)
}
