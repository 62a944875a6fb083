package access

import (
	"encoding/binary"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// encode is the attribute of an ACL.
func encode(list acl) []byte {
	data := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range list {
		data = binary.LittleEndian.AppendUint16(data, uint16(e.tag))
		data = binary.LittleEndian.AppendUint16(data, uint16(e.rights))
		data = binary.LittleEndian.AppendUint32(data, uint32(e.id))
	}
	return data
}

func TestParseACL(t *testing.T) {
	full := acl{{tagOwner, 7, 0}, {tagUser, 4, 107}, {tagUser, 5, 1 << 31}, {tagOwnerGroup, 5, 0}, {tagGroup, 1, 36}, {tagMask, 5, 0}, {tagOther, 0, 0}}
	for _, good := range []acl{full, plainACL(0o640)} {
		got, err := parseACL(encode(good))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(good, got, cmp.AllowUnexported(aclEntry{})); diff != "" {
			t.Error(diff)
		}
	}
	other := encode(full)
	binary.LittleEndian.PutUint32(other, 3)
	bad := map[string][]byte{
		"empty":            nil,
		"version":          other,
		"odd length":       encode(full)[:13],
		"too long":         append(encode(full), make([]byte, maxXattr)...),
		"unknown kind":     encode(acl{{0x40, 7, 0}}),
		"unknown rights":   encode(acl{{tagOwner, 8, 0}}),
		"two owners":       encode(acl{{tagOwner, 7, 0}, {tagOwner, 7, 0}, {tagOwnerGroup, 7, 0}, {tagOther, 7, 0}}),
		"order":            encode(acl{{tagOwnerGroup, 7, 0}, {tagOwner, 7, 0}, {tagOther, 7, 0}}),
		"no owner":         encode(acl{{tagOwnerGroup, 7, 0}, {tagOther, 7, 0}}),
		"no others":        encode(acl{{tagOwner, 7, 0}, {tagOwnerGroup, 7, 0}}),
		"user but no mask": encode(acl{{tagOwner, 7, 0}, {tagUser, 7, 1}, {tagOwnerGroup, 7, 0}, {tagOther, 7, 0}}),
	}
	for name, data := range bad {
		if got, err := parseACL(data); err == nil {
			t.Errorf("%s: read %v", name, got)
		} else if !strings.Contains(err.Error(), "ACL") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The cases of acl(5).
func TestACLAllows(t *testing.T) {
	list := acl{{tagOwner, 0, 0}, {tagUser, 7, 1}, {tagUser, 0, 2}, {tagOwnerGroup, 0, 0}, {tagGroup, 4, 30}, {tagGroup, 2, 31}, {tagMask, 6, 0}, {tagOther, 5, 0}}
	const owner, group = 9, 20
	tests := []struct {
		name string
		who  Credential
		want fs.FileMode
		can  bool
	}{
		{"the owner has the owner's rights only", Credential{UID: owner, GID: 30}, 4, false},
		{"a named user", Credential{UID: 1}, 6, true},
		{"a named user within the mask", Credential{UID: 1}, 1, false},
		{"a named user without rights", Credential{UID: 2, GID: 30}, 4, false},
		{"the owning group", Credential{UID: 5, GID: group}, 4, false},
		{"a named group", Credential{UID: 5, GID: 30}, 4, true},
		{"a supplementary group", Credential{UID: 5, GID: group, Groups: []int{30}}, 4, true},
		{"two groups do not add up", Credential{UID: 5, GID: 30, Groups: []int{31}}, 6, false},
		{"others", Credential{UID: 5, GID: 5}, 5, true},
		{"others are not masked", Credential{UID: 5, GID: 5}, 1, true},
		{"others without the right", Credential{UID: 5, GID: 5}, 2, false},
	}
	for _, c := range tests {
		if got := list.allows(c.who, owner, group, c.want); got != c.can {
			t.Errorf("%s: %t, want %t", c.name, got, c.can)
		}
	}
}

func FuzzParseACL(f *testing.F) {
	f.Add(encode(plainACL(0o644)))
	f.Add(encode(acl{{tagOwner, 7, 0}, {tagUser, 4, 107}, {tagOwnerGroup, 5, 0}, {tagGroup, 1, 36}, {tagMask, 5, 0}, {tagOther, 0, 0}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseACL(data)
		if err != nil {
			return
		}
		again, err := parseACL(encode(list))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list, again, cmp.AllowUnexported(aclEntry{})); diff != "" {
			t.Fatal(diff)
		}
		everybody := list.allows(stranger, -2, -2, read)
		seen := map[int]bool{}
		for _, e := range list {
			if e.tag != tagUser || seen[e.id] {
				continue // of two entries about one user the kernel takes the first
			}
			seen[e.id] = true
			if e.rights&list.mask()&read != 0 && !list.allows(Credential{UID: e.id, GID: -1}, -2, -2, read) {
				t.Fatalf("user %d has no right that it is granted", e.id)
			}
		}
		if other, _ := list.get(tagOther); everybody != (other&read != 0) {
			t.Fatal("others have other rights than theirs")
		}
	})
}
