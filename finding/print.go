package finding

import (
	"fmt"
	"io"
)

// Print writes findings for people: one line that says what is wrong and
// where, then, indented, what was found, what was wanted and the cure.
//
//	error: pki/hosts/kvm1/etc/pki/qemu/server-cert.pem: the certificate has expired [cert-expired]
//	    found:  2026-01-01T00:00:00Z
//	    wanted: a time after now (by QEMU 11.1)
//	    mend:   virtls renew kvm1
func Print(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		if err := f.print(w); err != nil {
			return err
		}
	}
	return nil
}

func (f Finding) print(w io.Writer) error {
	subject := f.Subject
	if subject != "" {
		subject += ": "
	}
	if _, err := fmt.Fprintf(w, "%s: %s%s [%s]\n", f.Severity, subject, f.Text, f.Code); err != nil {
		return err
	}
	want := f.Want
	switch {
	case f.By != "" && want != "":
		want += " (by " + f.By + ")"
	case f.By != "":
		want = "by " + f.By
	}
	for _, line := range []struct{ label, text string }{{"found: ", f.Got}, {"wanted:", want}, {"mend:  ", f.Fix}} {
		if line.text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "    %s %s\n", line.label, line.text); err != nil {
			return err
		}
	}
	return nil
}
