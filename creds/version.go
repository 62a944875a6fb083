package creds

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A version is a release's number, and the revision of a package of it.
type version struct {
	upstream []int // without zeros at its end
	revision []string
}

var versionForm = regexp.MustCompile(`^(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)*)(?:[+~][^-]*)?(?:-(.+))?$`)

// debianStable gives the stable release of QEMU that a revision of Debian's
// package, which keeps the branch's number, was made from.
var debianStable = []struct {
	upstream []int
	revision string
	stable   []int
}{
	{[]int{7, 2}, "7+deb12u18", []int{7, 2, 22}},
}

func parseVersion(s string) (v version, ok bool) {
	match := versionForm.FindStringSubmatch(s)
	if match == nil || len(s) > 100 {
		return v, false
	}
	for part := range strings.SplitSeq(match[1], ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return v, false
		}
		v.upstream = append(v.upstream, n)
	}
	for len(v.upstream) > 1 && v.upstream[len(v.upstream)-1] == 0 {
		v.upstream = v.upstream[:len(v.upstream)-1]
	}
	if match[2] != "" {
		v.revision = revisionParts(match[2])
	}
	for _, d := range debianStable {
		if slices.Equal(v.upstream, d.upstream) && compareRevisions(v.revision, revisionParts(d.revision)) >= 0 {
			v.upstream = d.stable
		}
	}
	return v, true
}

// after tells whether v is newer than w.
func (v version) after(w version) bool {
	if c := slices.Compare(v.upstream, w.upstream); c != 0 {
		return c > 0
	}
	return compareRevisions(v.revision, w.revision) > 0
}

// sameBranch tells whether w can have what was backported to v: a package's
// patches are in later packages of that release, a stable release's in later
// ones of its branch.
func (v version) sameBranch(w version) bool {
	if v.revision != nil {
		return slices.Equal(v.upstream, w.upstream) && slices.Contains(w.revision, "+deb")
	}
	return len(w.upstream) >= 2 && slices.Equal(v.upstream[:2], w.upstream[:2])
}

var revisionPart = regexp.MustCompile(`[0-9]+|[^0-9]+`)

func revisionParts(revision string) []string { return revisionPart.FindAllString(revision, -1) }

// compareRevisions orders revisions as far as theirs differ in numbers, as dpkg
// does; no revision comes before all.
func compareRevisions(a, b []string) int {
	return slices.CompareFunc(a, b, func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(x, y)
	})
}
