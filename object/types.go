package object

import (
	"context"
	"slices"
	"strings"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/internal/qjson"
)

// A kind is a type of objects.
type kind struct {
	name       string
	alias      string // another name for it
	properties []property
	read       func(*qjson.Reader) maker // takes the properties in the order of QEMU's schema
}

// A maker makes an object of the properties that were read: it fills in what
// the entry is and returns warnings.
type maker func(r *Registry, id string, e *entry) ([]finding.Finding, error)

// A property is one line of a type's help.
type property struct {
	name, typ string
	values    []string // of an enumeration
}

const (
	text    = "string"
	boolean = "bool"
)

// Words of enumerations; the index is the value.
var (
	endpoints = []string{creds.Client: "client", creds.Server: "server"}
	encodings = []string{creds.Raw: "raw", creds.Base64: "base64"}
)

var (
	dir        = property{"dir", text, nil}
	endpoint   = property{"endpoint", "QCryptoTLSCredsEndpoint", endpoints}
	priority   = property{"priority", text, nil}
	verifyPeer = property{"verify-peer", boolean, nil}
	policy     = property{"policy", "QAuthZListPolicy", []string{authz.Deny.String(), authz.Allow.String()}}

	// ruleProperties are those of a rule of an authz-list.
	ruleProperties = []property{{"match", text, nil}, policy, {"format", "QAuthZListFormat", []string{authz.Exact.String(), authz.Glob.String()}}}
)

// kinds are the types there are. QEMU's schema calls an authz-list-file
// authz-listfile, so that up to 11.1 QEMU itself makes none under either name.
var kinds = []*kind{
	{"authz-list", "", []property{policy, {"rules", "QAuthZListRule", nil}}, readAuthzList},
	{"authz-list-file", "authz-listfile", []property{{"filename", text, nil}, {"refresh", boolean, nil}}, readAuthzListFile},
	{"authz-simple", "", []property{{"identity", text, nil}}, readAuthzSimple},
	{"secret", "", []property{
		{"data", text, nil}, {"file", text, nil}, {"format", "QCryptoSecretFormat", encodings}, {"iv", text, nil}, {"keyid", text, nil},
	}, readSecret},
	{"tls-creds-anon", "", []property{dir, endpoint, priority, verifyPeer}, readAnon},
	{"tls-creds-psk", "", []property{dir, endpoint, priority, {"username", text, nil}, verifyPeer}, readPSK},
	{"tls-creds-x509", "", []property{dir, endpoint, {"passwordid", text, nil}, priority, {"sanity-check", boolean, nil}, verifyPeer}, readX509},
}

// Types lists the types of objects, sorted.
func Types() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// typeNames are all names that qom-type may have; the kind of each is in
// kindsByName.
var (
	typeNames   []string
	kindsByName = map[string]*kind{}
)

func init() {
	for _, k := range kinds {
		for _, name := range []string{k.name, k.alias} {
			if name != "" {
				typeNames = append(typeNames, name)
				kindsByName[name] = k
			}
		}
	}
}

// HelpText returns what QEMU prints for "TYPE,help", or for "help" if there is
// no such type. Lists of types name ours alone.
func HelpText(typ string) string {
	var b strings.Builder
	if k := kindsByName[typ]; k != nil {
		b.WriteString(k.name + " options:\n")
		for _, p := range k.properties {
			b.WriteString("  " + p.name + "=<" + p.typ + ">\n")
		}
		return b.String()
	}
	b.WriteString("List of user creatable objects:\n")
	for _, name := range Types() {
		b.WriteString("  " + name + "\n")
	}
	return b.String()
}

// property returns a property of the kind by its key, which for those of a rule
// is "rules.N.NAME".
func (k *kind) property(key string) (property, bool) {
	properties, name := k.properties, key
	if rule, ok := strings.CutPrefix(key, "rules."); ok && k.name == "authz-list" {
		index, last, _ := strings.Cut(rule, ".")
		if index == "" || indexLen(index) != len(index) {
			return property{}, false
		}
		properties, name = ruleProperties, last
	}
	i := slices.IndexFunc(properties, func(p property) bool { return p.name == name })
	if i < 0 {
		return property{}, false
	}
	return properties[i], true
}

func readAuthzSimple(rd *qjson.Reader) maker {
	identity := rd.Required("identity")
	return func(_ *Registry, _ string, e *entry) ([]finding.Finding, error) {
		e.authorizer = authz.Simple{Identity: identity}
		return nil, nil
	}
}

func readAuthzList(rd *qjson.Reader) maker {
	list := authz.ReadList(rd)
	return func(_ *Registry, id string, e *entry) ([]finding.Finding, error) {
		e.authorizer = list
		return list.Check(subject(id)), nil
	}
}

func readAuthzListFile(rd *qjson.Reader) maker {
	filename := rd.Required("filename")
	refresh := rd.Bool("refresh", true)
	return func(r *Registry, id string, e *entry) ([]finding.Finding, error) {
		file, err := authz.OpenListFile(filename, refresh, func(err error) {
			if r.Report != nil {
				r.Report(id, err)
			}
		})
		if err != nil {
			return nil, err
		}
		e.authorizer, e.close, e.file = file, file.Close, filename
		list, err := file.Current()
		if err != nil {
			return []finding.Finding{finding.Of(err)}, nil
		}
		return list.Check(filename), nil
	}
}

var kindInline = finding.Define("secret-inline", finding.Warning,
	"the secret is part of the object's text, which on a command line everybody on this machine can read",
	"put it into a file that only the service can read, and give the object file= instead of data=")

func readSecret(rd *qjson.Reader) maker {
	o := creds.SecretOptions{Format: creds.SecretFormat(rd.Enum("format", encodings...))}
	keyID, encrypted := rd.Optional("keyid")
	o.IV = rd.Text("iv")
	data, inline := rd.Optional("data")
	if inline {
		o.Data = []byte(data)
	}
	o.File = rd.Text("file")
	return func(r *Registry, id string, e *entry) ([]finding.Finding, error) {
		if encrypted {
			key, err := r.secret(keyID)
			if err != nil {
				return nil, err
			}
			o.Key = key
		}
		s, err := creds.LoadSecret(o)
		if err != nil {
			return nil, err
		}
		e.secret = s
		if inline && !encrypted {
			return []finding.Finding{kindInline.Found(subject(id), "")}, nil
		}
		return nil, nil
	}
}

// common are the properties of all credentials.
type common struct {
	verify        bool
	dir, priority string
	endpoint      creds.Endpoint
}

func readCommon(rd *qjson.Reader) common {
	return common{
		verify:   rd.Bool("verify-peer", true),
		dir:      rd.Text("dir"),
		endpoint: creds.Endpoint(rd.Enum("endpoint", endpoints...)),
		priority: rd.Text("priority"),
	}
}

func readAnon(rd *qjson.Reader) maker {
	c := readCommon(rd)
	return holding(func() (creds.Credentials, []finding.Finding, error) {
		return creds.LoadAnon(creds.AnonOptions{Dir: c.dir, Endpoint: c.endpoint, NoVerifyPeer: !c.verify, Priority: c.priority})
	})
}

func readPSK(rd *qjson.Reader) maker {
	c := readCommon(rd)
	username := rd.Text("username")
	return holding(func() (creds.Credentials, []finding.Finding, error) {
		return creds.LoadPSK(creds.PSKOptions{Dir: c.dir, Endpoint: c.endpoint, Username: username, NoVerifyPeer: !c.verify, Priority: c.priority})
	})
}

func readX509(rd *qjson.Reader) maker {
	c := readCommon(rd)
	sanity := rd.Bool("sanity-check", true)
	passwordID, locked := rd.Optional("passwordid")
	o := creds.X509Options{Dir: c.dir, Endpoint: c.endpoint, NoVerifyPeer: !c.verify, NoSanityCheck: !sanity, Priority: c.priority}
	return func(r *Registry, id string, e *entry) ([]finding.Finding, error) {
		if locked {
			release, err := r.useSecret(passwordID)
			if err != nil {
				return nil, err
			}
			e.release = release
		}
		return holding(func() (creds.Credentials, []finding.Finding, error) {
			o := o
			if locked {
				s, err := r.secret(passwordID)
				if err != nil {
					return nil, nil, err
				}
				if o.Password, err = s.Password(passwordID); err != nil {
					return nil, nil, err
				}
			}
			return creds.LoadX509(o)
		})(r, id, e)
	}
}

// holding returns the maker of credentials that load loads, now and at every
// reload.
func holding(load func() (creds.Credentials, []finding.Finding, error)) maker {
	return func(_ *Registry, _ string, e *entry) ([]finding.Finding, error) {
		h, err := creds.NewHolder(context.Background(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
			c, warnings, err := load()
			if err != nil {
				return nil, nil, err // not a nil pointer in a Credentials
			}
			return c, warnings, nil
		})
		if err != nil {
			return nil, err
		}
		e.holder = h
		return h.Warnings(), nil
	}
}
