package virtpki

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// properties tells why libvirt 12.8 would not load an identity, in its words;
// nothing if it would, or if this user cannot see.
func (v *validator) properties(role layout.Role, files layout.Files, pair layout.Pair) string {
	judged := layout.Files{Service: files.Service, Role: role, CA: files.CA, CRL: files.CRL, Pairs: []layout.Pair{pair}, Named: true}
	if v.compat {
		judged.CRL, judged.Pairs = "", nil // the real program forgets to hand them over
	}
	if (v.compat || v.noCA) && !isThere(files.CA) {
		return ""
	}
	name := map[layout.Role]string{layout.Server: creds.LibvirtServer, layout.Client: creds.LibvirtClient}[role]
	consumer, err := creds.ConsumerFor(name, strings.TrimSuffix(LibvirtVersion, ".0"))
	if err != nil {
		return err.Error()
	}
	for _, p := range consumer.Judge(judged, creds.JudgeOptions{}).Problems {
		if p.Finding.Severity != finding.Error || denied(p.Finding.Subject) {
			continue
		}
		if strings.HasPrefix(p.Text, "Failed to read file") && strings.HasSuffix(p.Text, "'") {
			return p.Text + ": " + p.Finding.Got // strerror's text
		}
		return p.Text
	}
	return ""
}

// denied tells whether a file is there but may not be read by this user, of
// whom nobody wants that.
func denied(path string) bool {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, os.ErrPermission) && isThere(path)
}

// maxCheckedFile is how much libvirt's check reads of a file.
const maxCheckedFile = 1 << 16

// hostname checks that a server's certificate has this machine's name.
func (v *validator) hostname(path string) {
	cert, why := loadServer(path)
	if cert == nil {
		code := v.code
		v.end("FAIL", "Unable to load "+path+": "+why)
		if v.compat {
			v.code = code // the real program forgets this one
		}
		return
	}
	name := hostName()
	if _, err := pki.MatchHostname(cert, name); err != nil {
		v.end("WARN", fmt.Sprintf("Certificate %s owner does not match the hostname %s", path, name))
		return
	}
	v.end("PASS", "")
}

// loadServer loads a server's certificate as libvirt does; if it cannot, why is
// what libvirt says.
func loadServer(path string) (cert *pki.Certificate, why string) {
	data, err := readFile(path, maxCheckedFile)
	if err != nil {
		verb := "read"
		if open := (*openError)(nil); errors.As(err, &open) {
			verb = "open"
		}
		return nil, fmt.Sprintf("Failed to %s file '%s': %v", verb, path, err)
	}
	if cert, _ = firstCertificate(data); cert == nil {
		why = "Unable to import server certificate " + path
	}
	return cert, why
}

// lookupPatience bounds the look-up of this machine's own name.
const lookupPatience = 10 * time.Second

// hostName returns the name of this machine as libvirt sees it
// (virGetHostname): the full one, if a short one leads to it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || strings.HasPrefix(name, "localhost") || strings.Contains(name, ".") {
		return name
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
	defer cancel()
	full, err := net.DefaultResolver.LookupCNAME(ctx, name)
	full = strings.TrimSuffix(full, ".")
	if err != nil || full == "" || strings.HasPrefix(full, "localhost") {
		return name
	}
	return full
}
