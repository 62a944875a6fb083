package main

import (
	"crypto"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/fleet"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/certtemplate"
	"virtls/pki/dn"
)

type issueCmd struct {
	CN       string   `help:"Common name: the host's full name, or the client's." placeholder:"NAME" xor:"subject"`
	Subject  string   `help:"Whole subject instead of --cn, in the order of the certificate: \"C=GB,O=Example Org,CN=kvm1\"." placeholder:"DN" xor:"subject"`
	Server   bool     `help:"For a server."`
	Client   bool     `help:"For a client. With --server: for both."`
	DNS      []string `help:"DNS name. The CN of a server and its short form are added." placeholder:"NAME" name:"dns"`
	IP       []string `help:"IP address." placeholder:"ADDRESS" name:"ip"`
	KeyType  string   `help:"Type of the new key: ec (P-256), p384, p521, rsa (3072 bits), rsa2048 to rsa8192, ed25519, mldsa44, mldsa65 or mldsa87." default:"ec" placeholder:"TYPE" complete:"any key"`
	Key      string   `help:"Use this private key instead of a new one." placeholder:"FILE" xor:"key"`
	KeyPass  string   `name:"key-passphrase-file" help:"File with the passphrase of --key in its first line." placeholder:"FILE"`
	Request  string   `help:"Issue for a certificate request made elsewhere. Subject and names come from it unless flags give them." placeholder:"FILE" xor:"key"`
	AllowAny bool     `name:"allow-names" help:"Sign a request for names that another valid certificate has, or for a wildcard."`
	Template string   `help:"Take everything from a certtool template. Its traps are errors here." placeholder:"FILE"`
	Days     int      `help:"Life in days; never past the authority's." default:"365" placeholder:"DAYS"`
	Out      string   `short:"o" help:"Where the files go: PREFIX-cert.pem and PREFIX-key.pem (default: the CN)." placeholder:"PREFIX"`
	CA       string   `name:"ca" help:"Authority that signs." default:"ca" placeholder:"NAME"`
	Fleet    string   `help:"Fleet file, beside which the state directory is." default:"fleet.yaml" placeholder:"FILE"`
	PassphraseFlags
}

func (*issueCmd) Help() string {
	return `Issues one certificate outside any fleet file and enters it into the register. By default what it
makes works unchanged with libvirt 9.0 to 12.8 and QEMU 7.2 to 11.1.

Whoever made a request chose its subject and names; they are printed before it is signed. One with the
subject or a name of another key's valid certificate, or with a wildcard, needs --allow-names.

Examples:
  virtls issue --cn kvm1.example.com --server --ip 192.0.2.11
  virtls issue --cn admin --client --key-type rsa --out admin
  virtls issue --request host.csr --server --out host
  virtls issue --template server.info --key server-key.pem --out server`
}

func (c *issueCmd) Run(a *app, g *Globals) error {
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	authority, err := state.Authority(a.ctx, c.CA)
	if err != nil {
		return err
	}
	order, key, err := c.order(a, authority.Certificate)
	if err != nil {
		return err
	}
	if order.How == register.Request {
		if err := c.checkAsked(a, state, &order.Spec); err != nil {
			return err
		}
	}
	return a.issueOne(state, authority, c.PassphraseFlags, order, key)
}

// order makes the order, and its key if it needs one. What a template is found
// to have goes to a.found.
func (c *issueCmd) order(a *app, issuer *pki.Certificate) (order ca.Order, key newKey, err error) {
	if c.Days < 1 {
		return order, key, kindUsage.Found("--days", strconv.Itoa(c.Days)).WithText("a life has one day at least").Usage()
	}
	order = ca.Order{Days: c.Days, How: register.Issue, Place: &register.Placement{}}
	public, request, err := c.publicKey(a, &key)
	if err != nil {
		return order, key, err
	}
	if request != nil {
		order.How = register.Request
	}
	if c.Template != "" {
		order.Spec, err = c.fromTemplate(a, public, issuer, request)
	} else {
		order.Spec, err = c.fromFlags(public, issuer, request)
	}
	if err != nil {
		return order, key, err
	}
	prefix := c.Out
	if prefix == "" {
		if prefix = order.Spec.Subject.CommonName(); prefix == "" || prefix != filepath.Base(prefix) {
			return order, key, kindUsage.Found("--out", "").WithText("the files need a name").WithFix("say where they go with --out PREFIX").Usage()
		}
	}
	order.Holder = "issue:" + order.Spec.Subject.CommonName()
	order.Place.Paths = []string{absolute(prefix + "-cert.pem")}
	if err := checkDir(order.Place.Paths[0]); err != nil {
		return order, key, err
	}
	if key.key == nil {
		return order, key, nil
	}
	key.path = absolute(prefix + "-key.pem")
	if _, err := os.Lstat(key.path); !errors.Is(err, fs.ErrNotExist) {
		return order, key, kindKeyExists.Found(key.path, "").
			WithFix("name another place with --out, keep the key with --key %s, or renew its certificate with: virtls renew --file %s", layout.ShellQuote(tilde(key.path)), layout.ShellQuote(tilde(order.Place.Paths[0]))).Unable(err)
	}
	return order, key, nil
}

// publicKey returns the key to certify, and the request if there is one. A new
// private key goes to key.
func (c *issueCmd) publicKey(a *app, key *newKey) (public crypto.PublicKey, request *pki.Request, err error) {
	switch {
	case c.Request != "":
		data, err := a.input(c.Request)
		if err != nil {
			return nil, nil, err
		}
		if request, err = pki.ParseRequestPEM(data); err != nil {
			return nil, nil, kindMalformed.Found(c.Request, "").Unable(err)
		}
		return request.PublicKey.Key, request, ca.CheckRequest(c.Request, request)
	case c.Key != "":
		data, err := a.input(c.Key)
		if err != nil {
			return nil, nil, err
		}
		defer clear(data)
		given, err := pki.ParsePrivateKeyPEM(data, a.keyPassphrase(c.Key, c.KeyPass))
		if _, ok := errors.AsType[*finding.Failure](err); ok {
			return nil, nil, err
		} else if err != nil {
			return nil, nil, kindMalformed.Found(c.Key, "").Unable(err)
		}
		return given.Public(), nil, nil
	}
	spec, err := pki.ParseKeySpec(c.KeyType)
	if err != nil {
		return nil, nil, kindUsage.Found("--key-type", "").WithText("%v", err).Usage()
	}
	signer, err := pki.GenerateSigner(spec)
	if err != nil {
		return nil, nil, err
	}
	key.key = signer.(pki.PrivateKey)
	return signer.Public(), nil, nil
}

func (c *issueCmd) fromTemplate(a *app, public crypto.PublicKey, issuer *pki.Certificate, request *pki.Request) (pki.Spec, error) {
	if c.CN != "" || c.Subject != "" || c.Server || c.Client || c.DNS != nil || c.IP != nil {
		return pki.Spec{}, kindUsage.Found("--template", "").WithText("a template gives subject, names and uses itself").
			WithFix("leave the other flags out, or write their values into the template").Usage()
	}
	data, err := a.input(c.Template)
	if err != nil {
		return pki.Spec{}, err
	}
	t, err := certtemplate.Parse(c.Template, data)
	in := certtemplate.CertInput{Clock: certtemplate.Clock{Now: time.Now(), Location: time.Local}, PublicKey: public, Issuer: issuer, Request: request}
	findings := t.Lint(in)
	if finding.Worst(findings) == finding.Error {
		if a.json {
			a.printJSON(finding.NewReport(append(a.found, findings...)))
		}
		return pki.Spec{}, a.judge(append(a.found, findings...))
	}
	if err != nil {
		return pki.Spec{}, kindMalformed.Found(c.Template, "").Unable(err)
	}
	a.found = append(a.found, findings...)
	spec, _, err := t.Certificate(in)
	if err != nil {
		return pki.Spec{}, kindMalformed.Found(c.Template, "").Unable(err)
	}
	return *spec, nil
}

func (c *issueCmd) fromFlags(public crypto.PublicKey, issuer *pki.Certificate, request *pki.Request) (pki.Spec, error) {
	if !c.Server && !c.Client {
		return pki.Spec{}, kindUsage.Found("virtls issue", "").WithText("what is the certificate for?").WithFix("give --server, --client or both").Usage()
	}
	subject, err := c.subject(issuer, request)
	if err != nil {
		return pki.Spec{}, err
	}
	names, err := c.names(subject, request)
	if err != nil {
		return pki.Spec{}, err
	}
	var uses ca.Uses
	if c.Server {
		uses |= ca.Server
	}
	if c.Client {
		uses |= ca.Client
	}
	return ca.Leaf(subject, names, uses, public)
}

// subject returns the whole subject if it was given, the request's if nothing
// was, else the CN under the authority's organization.
func (c *issueCmd) subject(issuer *pki.Certificate, request *pki.Request) (dn.Name, error) {
	switch {
	case c.Subject != "":
		name, err := dn.Parse(c.Subject)
		if err != nil {
			return nil, kindUsage.Found("--subject", "").WithText("%v", err).Usage()
		}
		return name, nil
	case c.CN == "" && request != nil:
		return request.Subject, nil
	case c.CN == "":
		return nil, kindUsage.Found("virtls issue", "").WithText("whose certificate is it?").WithFix("give --cn NAME or --subject DN").Usage()
	}
	var attrs []dn.Attribute
	for _, rdn := range issuer.Subject {
		for _, attr := range rdn {
			if attr.Type.Equal(dn.OrganizationOID) {
				attrs = append(attrs, attr)
			}
		}
	}
	return dn.New(append(attrs, dn.Attr(dn.CommonNameOID, c.CN))...), nil
}

// names returns the alternative names: those given, else the request's; for a
// server its CN and short name too.
func (c *issueCmd) names(subject dn.Name, request *pki.Request) (pki.GeneralNames, error) {
	var names pki.GeneralNames
	if c.DNS == nil && c.IP == nil && request != nil {
		asked, err := request.Extensions.SubjectAltName()
		if err != nil {
			return nil, kindMalformed.Found(c.Request, "").Unable(err)
		}
		names = asked
	}
	if cn := subject.CommonName(); c.Server && cn != "" {
		if _, err := netip.ParseAddr(cn); err != nil {
			if err := fleet.CheckDomainName(cn); err != nil {
				return nil, kindUsage.Found("--cn", "").WithText("a server's common name is its host name: %v", err).Usage()
			}
		}
		names = addHost(names, cn)
	}
	for _, n := range c.DNS {
		if _, err := netip.ParseAddr(n); err == nil {
			return nil, kindUsage.Found("--dns", "").WithText("%q is an address", n).WithFix("addresses go to --ip").Usage()
		}
		if err := fleet.CheckDomainName(n); err != nil {
			return nil, kindUsage.Found("--dns", "").WithText("%v", err).Usage()
		}
		names = addName(names, pki.DNSName(n))
	}
	for _, s := range c.IP {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" {
			f := kindUsage.Found("--ip", "").WithText("%q is not an IPv4 or IPv6 address", s).WithFix("host names go to --dns")
			if strings.Contains(s, ":") {
				f = f.WithFix("write an IPv6 address without brackets and without a zone, such as 2001:db8::1")
			}
			return nil, f.Usage()
		}
		names = addName(names, pki.IPAddress(ip))
	}
	return names, nil
}

// addHost adds a host's name, or address, and its short form.
func addHost(names pki.GeneralNames, host string) pki.GeneralNames {
	if ip, err := netip.ParseAddr(host); err == nil {
		return addName(names, pki.IPAddress(ip))
	}
	names = addName(names, pki.DNSName(host))
	if short := shortName(host); short != "" {
		names = addName(names, pki.DNSName(short))
	}
	return names
}

func addName(names pki.GeneralNames, n pki.GeneralName) pki.GeneralNames {
	for _, have := range names {
		if have.Kind == n.Kind && string(have.Bytes) == string(n.Bytes) {
			return names
		}
	}
	return append(names, n)
}
