package gateway

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"virtls/sasl"
)

// throttled is by what name failed logins of a client count.
func (v *visit) throttled() string {
	return cmp.Or(v.c.throttled(), sasl.ClientOf(v.RemoteAddr()))
}

// identify finds out who sent a request: by the certificate of its connection,
// and by an account, whose password is checked, or a ticket for it.
func (d *door) identify(w http.ResponseWriter, r *http.Request, v *visit) error {
	if d.g.o.VNC.Accounts == nil {
		return nil // Kerberos is for viewers alone
	}
	server := d.g.o.VNC.server()
	user, password, tried := r.BasicAuth()
	if !tried {
		if user := d.tickets.user(r, d.g.o.VNC.Accounts.Current().Mark, time.Now()); user != "" && d.allowed(user) {
			v.login(user)
		}
		return nil
	}
	var mark []byte
	check := func() error {
		// If the password changes meanwhile, the ticket is one of the old password.
		mark = d.g.o.VNC.Accounts.Current().Mark(user)
		return server.Check(sasl.Login{User: user, Password: []byte(password)})
	}
	if err := d.g.throttle.Guard(r.Context(), v.throttled(), check); err != nil {
		d.g.throttle.Pause(r.Context(), v.throttled())
		return kindStranger.Found(v.c.subject(), err.Error()).Wrong()
	}
	v.login(user)
	if v.https {
		http.SetCookie(w, d.tickets.cookie(user, mark, time.Now()))
	}
	return nil
}

// login notes whose account the client has.
func (v *visit) login(user string) {
	v.c.user.Store(&user)
	v.person.User = user
}

// allowed tells whether the access list lets an account in.
func (d *door) allowed(user string) bool {
	s := &d.g.o.VNC
	if s.Users == nil {
		return true
	}
	ok, err := s.Users.Allowed(user)
	return ok && err == nil
}

// tickets are cookies that stand for an account after its password was checked:
// not every browser sends the password when it opens a websocket. They are for
// this process, and this site alone.
type tickets struct{ key []byte }

func newTickets() tickets {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return tickets{key}
}

const (
	ticketName = "__Host-virtls" // browsers take it by TLS alone, and for this host alone
	ticketLife = time.Hour
)

// sign returns what proves that a ticket is of this process, and for the account
// as it is: mark changes with its password.
func (t tickets) sign(user string, mark []byte, end uint64) []byte {
	m := hmac.New(sha256.New, t.key)
	m.Write(binary.BigEndian.AppendUint64(nil, end))
	m.Write(mark)
	m.Write([]byte(user))
	return m.Sum(nil)
}

// cookie is the ticket of a user; it ends with the browser, and after ticketLife.
func (t tickets) cookie(user string, mark []byte, now time.Time) *http.Cookie {
	end := uint64(now.Add(ticketLife).Unix())
	value := append(binary.BigEndian.AppendUint64(t.sign(user, mark, end), end), user...)
	return &http.Cookie{
		Name: ticketName, Value: base64.RawURLEncoding.EncodeToString(value), Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// user returns whom the ticket of a request stands for, empty without a good one.
func (t tickets) user(r *http.Request, markOf func(user string) []byte, now time.Time) string {
	cookie, err := r.Cookie(ticketName)
	if err != nil {
		return ""
	}
	value, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(value) < sha256.Size+8 {
		return ""
	}
	end, user := binary.BigEndian.Uint64(value[sha256.Size:]), string(value[sha256.Size+8:])
	mark := markOf(user)
	if mark == nil || !hmac.Equal(value[:sha256.Size], t.sign(user, mark, end)) || now.Unix() >= int64(end) {
		return ""
	}
	return user
}
