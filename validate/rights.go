package validate

import (
	"errors"
	"path"

	"virtls/creds"
	"virtls/layout"
	"virtls/layout/access"
)

func quoted(name string) string { return layout.ShellQuote(name) }

// access judges the rights of all files of the sets. Those of a staged tree
// are another machine's, where the manifest says how the files must be.
func (t *tree) access() {
	if t.staged && t.o.Profile == access.NoProfile {
		return
	}
	for _, s := range t.sets {
		t.rights(s)
	}
	for _, file := range t.keyFiles {
		s := &set{consumer: creds.QEMUServer, who: t.qemuUser, inv: &inventory{}}
		s.inv.files = layout.Files{Service: layout.QEMU, Dir: path.Dir(file), Pairs: []layout.Pair{{Index: layout.NoIndex, Key: file}}}
		if t.plain {
			s.home = path.Dir(file)
		}
		t.rights(s)
	}
}

// kindDenied is the code of what package access says of a file that its consumer
// may not read.
const kindDenied = "consumer-cannot-read"

// denied tells whether a file's rights keep the consumer from reading it.
func (t *tree) denied(s *set, file string) bool {
	who := s.who
	if t.as != nil {
		who = t.as
	}
	var denial *access.Denial
	return who != nil && errors.As(t.host.CanRead(*who, file), &denial)
}

// rights judges the rights of a set's files.
func (t *tree) rights(s *set) {
	who := s.who
	switch {
	case t.as != nil:
		who = t.as
	case who == nil && s.home != "":
		who = t.ownerOf(dirOf(s.inv.files))
	case who == nil:
		who = &access.RootUser
	}
	t.noteAll(t.host.Check(access.Check{
		Files: s.inv.files, Who: *who, Profile: t.o.Profile, Home: s.home,
		AppArmor: t.platform.AppArmor && s.home == "" && program(s.consumer) == "QEMU", Libvirt: t.platform.Libvirt,
	}))
}

// ownerOf returns whose a directory is.
func (t *tree) ownerOf(dir string) *access.Credential {
	info, err := t.view.Stat(dir)
	if err != nil {
		return &access.RootUser
	}
	uid, gid := owner(info)
	return &access.Credential{Name: t.host.Accounts.UserName(uid), UID: uid, GID: gid}
}
