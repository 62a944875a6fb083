package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"virtls/authz"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki/dn"
)

var kindNobody = finding.Define("gateway-vnc-nobody", finding.Warning,
	"a machine is for people whom the gateway cannot tell from others, so it is for nobody", "name --accounts, --keytab, or credentials that verify clients")

// forNobody finds a machine that no list can let anybody in to, because clients
// have no way to prove who they are, or there is nobody of that name.
func (o *Options) forNobody() []finding.Finding {
	s := &o.VNC
	if o.Protocol != VNC || s.Machines == nil {
		return nil
	}
	certificates := verifies(o.Listen.Credentials) || verifies(s.Web.Credentials)
	for _, m := range s.Machines.Current().All() {
		f := kindNobody.Found("machine "+m.Name, "")
		switch {
		case len(m.Users) > 0 && len(m.Allow) == 0 && s.server() == nil:
			f = f.WithText("it is for users, and the gateway knows no accounts").WithFix("--accounts FILE or --keytab FILE; without them a token alone opens it")
		case len(m.Users) > 0 && len(m.Allow) == 0 && s.Kerberos == nil && !known(m.Users, s.Accounts.Current().Users()):
			f = f.WithText("it is for users, and there is no account of such a name").WithFix("virtls passwd add FILE %s, or correct the name", layout.ShellQuote(m.Users[0]))
			if near := finding.Nearest(m.Users[0], s.Accounts.Current().Users()); near != "" {
				f = f.WithFix("did you mean %s?", near)
			}
			f.Got = strings.Join(m.Users, ", ")
		case len(m.Allow) > 0 && len(m.Users) == 0 && !certificates:
			f = f.WithText("it is for certificates, and the gateway asks for none").WithFix("credentials without verify-peer=off; without them a token alone opens it")
		default:
			continue
		}
		return []finding.Finding{f} // the others are alike
	}
	return nil
}

// misread finds patterns for names in certificates that are not what their author
// means, such as names written backwards.
func (o *Options) misread() (list []finding.Finding) {
	check := func(subject string, patterns ...string) {
		meant := slices.DeleteFunc(patterns, func(p string) bool { return strings.Trim(p, "*") == "" }) // everybody, as it says
		list = append(list, authz.DNList(meant).Check(subject)...)
	}
	for _, r := range o.Access {
		check("gateway "+o.Name, r.DN)
	}
	if o.Protocol == VNC && o.VNC.Machines != nil {
		for _, m := range o.VNC.Machines.Current().All() {
			check("machine "+m.Name, slices.Clone(m.Allow)...)
		}
	}
	return list
}

// known tells whether a pattern is for an account that there is.
func known(patterns, accounts []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return slices.ContainsFunc(accounts, func(user string) bool { return dn.Match(pattern, user) })
	})
}

// advise gives the error of a session with a client the advice that goes with a
// gateway: the client is a program that somebody else runs.
func advise(err error) error {
	var f *finding.Failure
	if !errors.As(err, &f) {
		return err
	}
	fix := ""
	switch text := f.String(); {
	// OpenSSL up to 3.0 at least sends its alert unencrypted, which is no record of TLS 1.3.
	case strings.Contains(text, "local error: tls: bad record MAC"):
		fix = "clients of OpenSSL's end like this if they do not trust the gateway's certificate: give them the CA's (curl --cacert ca-cert.pem), and connect by a name that is in the certificate"
	case strings.Contains(text, "remote error: tls: unknown certificate"), strings.Contains(text, "remote error: tls: bad certificate"):
		fix = "the client does not trust the gateway's certificate: give it the CA's, and connect by a name that is in the certificate"
	case f.Code == "vnc-closed":
		fix = "nothing, if somebody closed the window; a viewer that does not trust the gateway's certificate, or has no password to give, ends like this, too"
	default:
		return err
	}
	better := *f
	better.Finding = f.WithFix("%s", fix)
	return &better
}

// adviseBrowser does the same for a session with a browser, and answers one that
// does not begin with TLS.
func adviseBrowser(err error, client streamConn) error {
	var f *finding.Failure
	if !errors.As(err, &f) {
		return err
	}
	better := *f
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && isHTTP(header.RecordHeader) {
		better.Finding = f.WithFix("write https:// in the place of http:// in the address")
		answerHTTP(client)
		return &better
	}
	if f.Code == "peer-no-certificate" {
		better.Finding = f.WithFix("install a certificate in the browser; to let it in with an account or a token, put verify-peer=off into the object that --websocket-tls-creds names")
		return &better
	}
	return advise(err)
}

func isHTTP(header [5]byte) bool {
	text := string(header[:])
	return text == "GET /" || text == "HEAD " || text == "POST "
}

// answerHTTP says to a browser what it will show: that it should use TLS.
func answerHTTP(client streamConn) {
	const text = "This gateway is at https://, not http://.\n"
	client.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(client, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
	client.CloseWrite()
	// Closed with octets unread, the answer would be lost to a reset.
	io.Copy(io.Discard, io.LimitReader(client, maxHeader))
}
