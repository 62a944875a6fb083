package gssapi

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"virtls/finding"
	"virtls/sasl"
)

var kindTicket = finding.Define("gssapi-no-ticket", finding.Error,
	"there is no Kerberos ticket for the server", "get one with kinit; the server's principal is vnc/ and its host's name, which the KDC has to know")

// A Client logs in with a Kerberos ticket. It is the GSSAPI of a
// sasl.ClientOptions. The KDC is asked at each login, for some seconds at most,
// unless the cache has a ticket for the server already. Its answers are read by
// gokrb5, which believes a KDC on TCP how long an answer is: whoever can pose as
// the KDC can have 4 GiB of address space reserved for these seconds.
type Client struct {
	Host    string // the server's, as in its principal SERVICE/HOST
	Service string // Service if empty

	// Config is the path of krb5.conf; $KRB5_CONFIG or /etc/krb5.conf if empty.
	Config string
	// Cache is the file that kinit puts tickets into; $KRB5CCNAME or
	// /tmp/krb5cc_UID if empty. Caches that are no files cannot be read.
	Cache string
	// Keytab has the client's own keys, for a program that logs in without kinit;
	// it must not be readable by everybody. Principal is the user then, NAME or
	// NAME@REALM.
	Keytab, Principal string
}

// Start implements sasl.Mechanism. The error is a *finding.Failure.
func (c *Client) Start(l sasl.Layer) (sasl.Steps, error) {
	s := &initiator{layer: l}
	err := guarded(func() (err error) {
		s.ticket, s.key, s.name, s.realm, err = c.serviceTicket()
		return err
	})
	if err == nil {
		err = checkKey(s.key)
	}
	if err != nil {
		return nil, kindTicket.Found(c.principal(), finding.Printable(err.Error())).Wrong()
	}
	return s, nil
}

func (c *Client) principal() string {
	if c.Service == "" {
		return Service + "/" + c.Host
	}
	return c.Service + "/" + c.Host
}

// serviceTicket gets a ticket, and whose it is.
func (c *Client) serviceTicket() (t messages.Ticket, key types.EncryptionKey, name types.PrincipalName, realm string, err error) {
	conf, err := c.config()
	if err != nil {
		return t, key, name, realm, err
	}
	if c.Keytab != "" {
		return c.fromKeytab(conf)
	}
	path, err := c.cache()
	if err != nil {
		return t, key, name, realm, err
	}
	cache, err := credentials.LoadCCache(path)
	if err != nil {
		return t, key, name, realm, fmt.Errorf("the cache of tickets: %w", err)
	}
	name, realm = cache.GetClientPrincipalName(), cache.GetClientRealm()
	service := types.NewPrincipalName(nametype.KRB_NT_SRV_HST, c.principal())
	if e, ok := cache.GetEntry(service); ok && time.Now().Before(e.EndTime) {
		return t, e.Key, name, realm, t.Unmarshal(e.Ticket)
	}
	e, ok := cache.GetEntry(types.NewPrincipalName(nametype.KRB_NT_SRV_INST, "krbtgt/"+realm))
	switch {
	case !ok:
		return t, key, name, realm, fmt.Errorf("the cache %s has neither a ticket for %s nor one for the KDC", path, c.principal())
	case time.Now().After(e.EndTime):
		return t, key, name, realm, fmt.Errorf("the ticket in %s ended at %s", path, e.EndTime.Format(time.RFC3339))
	}
	cl, err := client.NewFromCCache(cache, conf)
	if err != nil {
		return t, key, name, realm, err
	}
	defer cl.Destroy()
	var granting messages.Ticket
	if err := granting.Unmarshal(e.Ticket); err != nil {
		return t, key, name, realm, err
	}
	_, answer, err := cl.TGSREQGenerateAndExchange(service, realm, granting, e.Key, false)
	return answer.Ticket, answer.DecryptedEncPart.Key, name, realm, err
}

func (c *Client) fromKeytab(conf *config.Config) (t messages.Ticket, key types.EncryptionKey, name types.PrincipalName, realm string, err error) {
	keys, err := readKeytab(c.Keytab)
	if err != nil {
		return t, key, name, realm, err
	}
	user, realm, found := strings.Cut(c.Principal, "@")
	if !found {
		realm = conf.LibDefaults.DefaultRealm
	}
	cl := client.NewWithKeytab(user, realm, keys, conf)
	defer cl.Destroy()
	if err := cl.Login(); err != nil {
		return t, key, name, realm, err
	}
	t, key, err = cl.GetServiceTicket(c.principal())
	return t, key, cl.Credentials.CName(), realm, err
}

// ConfigFile is the path of this machine's krb5.conf: $KRB5_CONFIG or /etc/krb5.conf.
func ConfigFile() string { return cmp.Or(os.Getenv("KRB5_CONFIG"), "/etc/krb5.conf") }

func (c *Client) config() (*config.Config, error) {
	path := cmp.Or(c.Config, ConfigFile())
	conf, err := config.Load(path)
	if unsupported := (config.UnsupportedDirective{}); errors.As(err, &unsupported) && conf != nil {
		return conf, nil // what the library knows counts
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conf, nil
}

func (c *Client) cache() (string, error) {
	name := c.Cache
	if name == "" {
		name = os.Getenv("KRB5CCNAME")
	}
	if name == "" {
		return fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid()), nil
	}
	kind, path, found := strings.Cut(name, ":")
	switch {
	case !found || strings.Contains(kind, "/"):
		return name, nil
	case kind == "FILE":
		return path, nil
	}
	return "", fmt.Errorf("the cache of tickets %s is of the kind %s; only FILE can be read: set KRB5CCNAME=FILE:/path and run kinit", name, kind)
}

// An initiator is a client's end of an exchange.
type initiator struct {
	layer  sasl.Layer
	ticket messages.Ticket
	key    types.EncryptionKey
	name   types.PrincipalName
	realm  string

	stage func([]byte) ([]byte, bool, error) // nil to begin with
	proof types.Authenticator
	w     *wrapper
	seal  sasl.Seal
}

// Step implements sasl.Steps: the request; the server's answer and nothing; the
// layers that it has and the one that is chosen.
func (i *initiator) Step(in []byte) ([]byte, bool, error) {
	switch {
	case i.stage != nil:
		return i.stage(in)
	case len(in) != 0:
		return nil, false, errors.New("a message that is not due")
	}
	out, err := i.request()
	i.stage = i.answered
	return out, false, err
}

func (i *initiator) request() ([]byte, error) {
	proof, err := types.NewAuthenticator(i.realm, i.name)
	if err != nil {
		return nil, err
	}
	if err := proof.GenerateSeqNumberAndSubKey(i.key.KeyType, len(i.key.KeyValue)); err != nil {
		return nil, err
	}
	proof.Cksum = contextChecksum(flagMutual | flagSequence | flagSealed | flagSigned)
	i.proof = proof
	r, err := messages.NewAPReq(i.ticket, i.key, proof)
	if err != nil {
		return nil, err
	}
	types.SetFlag(&r.APOptions, flags.APOptionMutualRequired)
	message, err := r.Marshal()
	return frame(tokenRequest, message), err
}

func (i *initiator) answered(in []byte) ([]byte, bool, error) {
	part, err := readReply(in, i.proof, i.key)
	if err != nil {
		return nil, false, err
	}
	key, own := i.proof.SubKey, false
	if len(part.Subkey.KeyValue) > 0 {
		key, own = part.Subkey, true
	}
	i.w, err = newWrapper(key, true, own, i.proof.SeqNumber, part.SequenceNumber)
	i.stage = i.offered
	return []byte{}, false, err
}

func (i *initiator) offered(in []byte) ([]byte, bool, error) {
	offer, err := i.w.unwrap(in, false)
	if err != nil {
		return nil, false, err
	}
	layer, err := choose(offer, i.layer)
	if err != nil {
		return nil, false, err
	}
	if i.seal, err = seal(i.w, layer, offer); err != nil {
		return nil, false, err
	}
	out, err := i.w.wrap(layerChoice(layer), false)
	i.stage = func([]byte) ([]byte, bool, error) { return nil, false, errors.New("a message after the last one") }
	return out, err == nil, err
}

// User implements sasl.Steps.
func (i *initiator) User() string { return i.name.PrincipalNameString() + "@" + i.realm }

// Seal implements sasl.Steps.
func (i *initiator) Seal() sasl.Seal { return i.seal }
