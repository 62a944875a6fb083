package gssapi

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"virtls/sasl"
)

// Service is what Kerberos calls a VNC server: QEMU's principal is vnc/HOST,
// where HOST is the machine's name.
const Service = "vnc"

// DefaultSkew is how far clocks may differ.
const DefaultSkew = 5 * time.Minute

// A Server lets in who has a ticket for it. It is the GSSAPI of a sasl.Server.
// Any number of exchanges may go on at once.
type Server struct {
	// Keytab is the file with the server's keys. It is read at each login, so that
	// renewed keys count. It must not be readable by everybody. If it has keys of
	// the service in several realms, no realm is the server's own.
	Keytab  string
	Service string        // Service if empty
	Host    string        // of the principal SERVICE/HOST; any that is in the keytab if empty
	Skew    time.Duration // by which clocks may differ; DefaultSkew if 0
}

func (s *Server) service() string { return cmp.Or(s.Service, Service) }

// Start implements sasl.Mechanism.
func (s *Server) Start(l sasl.Layer) (sasl.Steps, error) {
	keys, err := readKeytab(s.Keytab)
	if err != nil {
		return nil, err
	}
	return &acceptor{server: s, keys: keys, layer: l}, nil
}

// An acceptor is a server's end of an exchange.
type acceptor struct {
	server *Server
	keys   *keytab.Keytab
	layer  sasl.Layer

	stage func([]byte) ([]byte, bool, error) // nil to begin with
	user  string
	name  string // with its realm
	w     *wrapper
	seal  sasl.Seal
}

// Step implements sasl.Steps: the client's request and the answer; nothing and
// the layers that there are; the layer that the client chose.
func (a *acceptor) Step(in []byte) ([]byte, bool, error) {
	switch {
	case a.stage != nil:
		return a.stage(in)
	case len(in) == 0:
		return nil, false, nil
	}
	out, err := a.accept(in)
	if err != nil {
		return nil, false, err
	}
	a.stage = a.offer
	return out, false, nil
}

func (a *acceptor) accept(token []byte) ([]byte, error) {
	body, err := unframe(token, tokenRequest)
	if err != nil {
		return nil, err
	}
	var request messages.APReq
	if err := guarded(func() error { return a.verify(body, &request) }); err != nil {
		return nil, err
	}
	ticket, proof := request.Ticket, request.Authenticator
	set, err := contextFlags(proof.Cksum)
	if err != nil {
		return nil, err
	}
	if set&flagMutual == 0 {
		// Without its own key in the answer the server would have to remember
		// requests, so that nobody sends them again (RFC 4120, 3.2.3).
		return nil, errors.New("a client that does not want the server to prove who it is")
	}
	if a.user, a.name, err = userOf(ticket, a.at()); err != nil {
		return nil, err
	}
	session := ticket.DecryptedEncPart.Key
	subkey := types.EncryptionKey{KeyType: session.KeyType, KeyValue: make([]byte, len(session.KeyValue))}
	rand.Read(subkey.KeyValue)
	var number [4]byte
	rand.Read(number[:])
	ours := int64(binary.BigEndian.Uint32(number[:]) >> 2) // as others do, so that it is positive everywhere
	if a.w, err = newWrapper(subkey, false, true, ours, proof.SeqNumber); err != nil {
		return nil, err
	}
	return reply(proof, session, subkey, ours)
}

// verify reads a request and tells whether it is from who has a ticket for this server.
func (a *acceptor) verify(body []byte, r *messages.APReq) error {
	if err := r.Unmarshal(body); err != nil {
		return errors.New("a request of Kerberos that cannot be read")
	}
	service := a.server.service()
	name := r.Ticket.SName.NameString
	if len(name) != 2 || name[0] != service || a.server.Host != "" && !strings.EqualFold(name[1], a.server.Host) {
		host := a.server.Host
		if host == "" {
			host = "HOST"
		}
		return fmt.Errorf("a ticket for %.100q; one for %s/%s was due", strings.Join(name, "/"), service, host)
	}
	for _, part := range []types.EncryptedData{r.Ticket.EncPart, r.EncryptedAuthenticator} {
		if err := checkCipher(part); err != nil {
			return err
		}
	}
	skew := a.server.Skew
	if skew == 0 {
		skew = DefaultSkew
	}
	if ok, err := r.Verify(a.keys, skew, types.HostAddress{}, nil); err != nil || !ok {
		return fmt.Errorf("the ticket is not good: %w", shown(err))
	}
	ticket := r.Ticket.DecryptedEncPart
	if r.Authenticator.CRealm != ticket.CRealm {
		return errors.New("the request is of another realm's user than its ticket")
	}
	if ticket.CRealm != r.Ticket.Realm && !types.IsFlagSet(&ticket.Flags, flags.TransitedPolicyChecked) {
		return fmt.Errorf("a user of the realm %.100q, and the KDC has not checked by way of which realms", ticket.CRealm)
	}
	return checkKey(ticket.Key)
}

// at is the realm that the server is in, empty if it is in several.
func (a *acceptor) at() (realm string) {
	for _, e := range a.keys.Entries {
		switch p := e.Principal; {
		case len(p.Components) != 2 || p.Components[0] != a.server.service():
		case realm != "" && realm != p.Realm:
			return ""
		default:
			realm = p.Realm
		}
	}
	return realm
}

// userOf names a ticket's user: with its realm, unless that is the server's own,
// as Cyrus SASL does. In two realms there may be two users of one name, which Cyrus
// tells apart by krb5.conf's default realm. Names that could be taken for others'
// are refused.
func userOf(t messages.Ticket, own string) (user, whole string, err error) {
	part := t.DecryptedEncPart
	names := part.CName.NameString
	odd := func(s string) bool {
		return s == "" || strings.ContainsAny(s, `/@\`) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	if len(names) > 0 && names[0] == "WELLKNOWN" {
		return "", "", errors.New("a principal that stands for anybody (RFC 6112)")
	}
	if len(names) == 0 || slices.ContainsFunc(names, odd) || odd(part.CRealm) {
		return "", "", errors.New("a user whose name has characters with a meaning")
	}
	user = strings.Join(names, "/")
	whole = user + "@" + part.CRealm
	if part.CRealm != own {
		user = whole
	}
	return user, whole, nil
}

// offer follows the client's empty message.
func (a *acceptor) offer(in []byte) ([]byte, bool, error) {
	if len(in) != 0 {
		return nil, false, fmt.Errorf("a message of %d octets that is not due", len(in))
	}
	out, err := a.w.wrap(offer(a.layer), false)
	a.stage = a.chosen
	return out, false, err
}

// chosen ends the exchange.
func (a *acceptor) chosen(in []byte) ([]byte, bool, error) {
	choice, err := a.w.unwrap(in, false)
	if err != nil {
		return nil, false, err
	}
	if len(choice) < 4 {
		return nil, false, fmt.Errorf("a choice of a layer with %d octets", len(choice))
	}
	want := offer(a.layer)[0]
	// Some clients set the bit of integrity besides that of encryption, which
	// Cyrus SASL puts up with, too.
	if choice[0] != want && (want != layerSealed || choice[0] != layerSealed|layerIntegrity) {
		return nil, false, fmt.Errorf("the client chose %s; %s was offered", layers(choice[0]), layers(want))
	}
	if as := string(choice[4:]); as != "" && as != a.user && as != a.name {
		return nil, false, errors.New("a user who wants to act as another")
	}
	a.seal, err = seal(a.w, want, choice)
	return nil, err == nil, err
}

// User implements sasl.Steps.
func (a *acceptor) User() string { return a.user }

// Seal implements sasl.Steps.
func (a *acceptor) Seal() sasl.Seal { return a.seal }
