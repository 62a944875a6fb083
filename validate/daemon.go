package validate

import (
	"errors"
	"fmt"
	"strings"

	"virtls/authz"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki/dn"
	"virtls/priority"
)

var kindDNListNobody = finding.Define("dn-list-matches-nobody", finding.Warning,
	"none of the client certificates that were found here is on the list of allowed names",
	"list the clients' names as virt-pki-query-dn prints them")

// daemon judges what libvirt's daemon is told besides files.
func (t *tree) daemon(use layout.Use) {
	t.priority(use.Priority)
	if list := use.AllowedDN; list.Set {
		t.noteAll(authz.DNList(list.Value).Check(list.Where))
	}
}

// checkClients wants some of the known clients to be on the daemon's list. A
// machine that is looked at alone may have none of its own clients.
func (t *tree) checkClients(use layout.Use, clients []dn.Name, fleet bool) {
	list := use.AllowedDN
	if !list.Set || len(list.Value) == 0 || len(clients) == 0 {
		return
	}
	var names []string
	for _, c := range clients {
		name := c.String()
		if ok, _ := authz.DNList(list.Value).Allowed(name); ok {
			return
		}
		names = append(names, name)
	}
	f := kindDNListNobody.Found(list.Where, strings.Join(list.Value, "; ")).WithWant(strings.Join(names, "; "), "")
	if !fleet {
		f = f.WithSeverity(finding.Info)
	}
	t.note(f)
}

// priority judges a priority string by the host's build of GnuTLS, or by all
// builds if the host's is not known: what only some of them refuse is a
// warning then.
func (t *tree) priority(set layout.Key[string]) {
	if set.Value == "" {
		return
	}
	where := set.Where
	parsed, err := priority.Parse(set.Value)
	if err != nil {
		if f, ok := errors.AsType[*finding.Failure](err); ok {
			t.note(about(f.Finding, where))
		}
		return
	}
	system, found := priority.ReadSystem(t.view.ReadFile, priority.SystemFile)
	builds, known := priority.Builds(), false
	if t.platform.GnuTLS != "" {
		if b, err := priority.BuildFor(string(t.platform.GnuTLS)); err == nil {
			builds, known = []priority.Build{b}, true
		}
	}
	for _, f := range append(found, parsed.Check(system, builds...)...) {
		if !known && f.Severity == finding.Error {
			f = f.WithSeverity(finding.Warning)
		}
		t.note(about(f, where))
	}
}

// about puts the file that a text is from before the subject.
func about(f finding.Finding, where string) finding.Finding {
	if f.Subject != "" {
		where = fmt.Sprintf("%s: %s", where, f.Subject)
	}
	f.Subject = where
	return f
}
