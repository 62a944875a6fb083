package ca

import (
	"testing"

	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

// No certificate is issued for a name that would steer the terminals and logs
// in which it is shown.
func TestControlCharacters(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	tests := []struct {
		name    string
		subject dn.Name
		names   pki.GeneralNames
	}{
		{"an escape sequence in a subject", cn("eve\x1b[2J"), nil},
		{"a line in a subject", cn("eve\nerror: forged"), nil},
		{"NUL", cn("admin\x00.example.com"), nil},
		{"C1", cn("eve\u009b2J"), nil},
		{"in a DNS name", cn("kvm1"), pki.GeneralNames{pki.DNSName("kvm1\x1b[2J")}},
		{"in a directory name", cn("kvm1"), pki.GeneralNames{pki.DirectoryName(cn("a\nb"))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec, err := Leaf(test.subject, test.names, Client, newKey(t, "ec").Public())
			must(t, err)
			_, err = a.Issue(t.Context(), []Order{{Spec: spec}})
			checkFailure(t, err, kindOrder, finding.ExitWrong)
		})
	}
	spec, err := Leaf(cn("Jürgen Ж"), pki.GeneralNames{pki.DirectoryName(cn("x"))}, Client, newKey(t, "ec").Public())
	must(t, err)
	_, err = a.Issue(t.Context(), []Order{{Spec: spec}})
	must(t, err)
}
