package gssapi

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"virtls/sasl"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A ticket is one that a KDC could have made.
type ticket struct {
	service    string // vnc/host if empty
	user       string // fred if empty
	realm      string // the user's; EXAMPLE.COM if empty
	encryption int32  // aes256-cts-hmac-sha1-96 if 0
	starts     time.Duration
	ends       time.Duration // from now; an hour if 0
	password   string        // of the server's key
}

// keytabs are of keys that are made of a password, each once: that takes a while.
var keytabs = map[string]*keytab.Keytab{}

func newKeytab(t testing.TB, password string) *keytab.Keytab {
	t.Helper()
	if keytabs[password] == nil {
		keys := keytab.New()
		for _, id := range append(slices.Collect(maps.Keys(encryptions)), etypeID.RC4_HMAC) {
			must(t, keys.AddEntry("vnc/host", "EXAMPLE.COM", password, time.Now(), 1, id))
		}
		must(t, keys.AddEntry("qemu/host", "EXAMPLE.COM", password, time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96))
		keytabs[password] = keys
	}
	return keytabs[password]
}

func keytabFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keytab")
	data, err := newKeytab(t, "key").Marshal()
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// initiator is a client that has the ticket.
func (k ticket) initiator(t testing.TB, l sasl.Layer) *initiator {
	t.Helper()
	name := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, or(k.user, "fred"))
	realm := or(k.realm, "EXAMPLE.COM")
	if k.encryption == 0 {
		k.encryption = etypeID.AES256_CTS_HMAC_SHA1_96
	}
	if k.ends == 0 {
		k.ends = time.Hour
	}
	now := time.Now().UTC()
	made, key, err := messages.NewTicket(name, realm, types.NewPrincipalName(nametype.KRB_NT_SRV_HST, or(k.service, "vnc/host")), "EXAMPLE.COM",
		types.NewKrbFlags(), newKeytab(t, or(k.password, "key")), k.encryption, 1, now, now.Add(k.starts), now.Add(k.ends), now.Add(k.ends))
	must(t, err)
	return &initiator{layer: l, ticket: made, key: key, name: name, realm: realm}
}

// exchange runs both ends against each other.
func exchange(client, server sasl.Steps) error {
	var in []byte
	for range 8 {
		out, _, err := client.Step(in)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		done := false
		if in, done, err = server.Step(out); err != nil {
			return fmt.Errorf("server: %w", err)
		} else if done {
			return nil
		}
	}
	return fmt.Errorf("no end")
}

func newServer(t testing.TB, s Server, l sasl.Layer) sasl.Steps {
	t.Helper()
	if s.Keytab == "" {
		s.Keytab = keytabFile(t)
	}
	steps, err := s.Start(l)
	must(t, err)
	return steps
}

func TestExchange(t *testing.T) {
	certified := sasl.Layer{SSF: 128}
	for _, tt := range []struct {
		name   string
		ticket ticket
		server Server
		layer  sasl.Layer
		change func(*initiator)
		user   string
		want   string // of the error
	}{
		{"sealed", ticket{}, Server{}, sasl.Layer{}, nil, "fred", ""},
		{"TLS below", ticket{}, Server{}, certified, nil, "fred", ""},
		{"UNIX socket", ticket{}, Server{}, sasl.Layer{Local: true}, nil, "fred", ""},
		{"AES of 128 bits", ticket{encryption: etypeID.AES128_CTS_HMAC_SHA1_96}, Server{}, sasl.Layer{}, nil, "fred", ""},
		{"SHA-256", ticket{encryption: etypeID.AES128_CTS_HMAC_SHA256_128}, Server{}, sasl.Layer{}, nil, "fred", ""},
		{"the host named", ticket{}, Server{Host: "HOST"}, sasl.Layer{}, nil, "fred", ""},
		{"another service of QEMU", ticket{service: "qemu/host"}, Server{Service: "qemu"}, sasl.Layer{}, nil, "fred", ""},
		{"a name of two parts", ticket{user: "fred/admin"}, Server{}, sasl.Layer{}, nil, "fred/admin", ""},
		{"another service", ticket{service: "qemu/host"}, Server{}, sasl.Layer{}, nil, "", `a ticket for "qemu/host"; one for vnc/HOST was due`},
		{"another host", ticket{}, Server{Host: "other"}, sasl.Layer{}, nil, "", "one for vnc/other was due"},
		{"expired", ticket{ends: -time.Hour}, Server{}, sasl.Layer{}, nil, "", "expired"},
		{"just expired", ticket{ends: -time.Second}, Server{Skew: time.Millisecond}, sasl.Layer{}, nil, "", "expired"},
		{"within the clocks' difference", ticket{ends: -time.Minute}, Server{}, sasl.Layer{}, nil, "fred", ""},
		{"not yet valid", ticket{starts: time.Hour, ends: 2 * time.Hour}, Server{}, sasl.Layer{}, nil, "", "not yet valid"},
		{"of another key", ticket{password: "other"}, Server{}, sasl.Layer{}, nil, "", "the ticket is not good"},
		{"RC4", ticket{encryption: etypeID.RC4_HMAC}, Server{}, sasl.Layer{}, nil, "", "rc4-hmac"},
		{"another realm's user unchecked", ticket{realm: "OTHER.COM"}, Server{}, sasl.Layer{}, nil, "", "by way of which realms"},
		{"a name like another's", ticket{user: `root\@EXAMPLE.COM`}, Server{}, sasl.Layer{}, nil, "", "characters with a meaning"},
		{"another's ticket", ticket{}, Server{}, sasl.Layer{}, func(i *initiator) { i.name.NameString = []string{"root"} }, "", "the ticket is not good"},
		{"another realm than the ticket's", ticket{}, Server{}, sasl.Layer{}, func(i *initiator) { i.realm = "OTHER.COM" }, "", "another realm's user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := tt.ticket.initiator(t, tt.layer), newServer(t, tt.server, tt.layer)
			if tt.change != nil {
				tt.change(client)
			}
			err := exchange(client, server)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v; want %q", err, tt.want)
				}
				return
			}
			must(t, err)
			if server.User() != tt.user || client.User() != tt.user+"@EXAMPLE.COM" {
				t.Errorf("logged in as %q and %q", server.User(), client.User())
			}
			if (client.Seal() != nil) == tt.layer.Suffices() || (server.Seal() != nil) == tt.layer.Suffices() {
				t.Errorf("sealed by %v and %v", client.Seal(), server.Seal())
			}
			if client.Seal() != nil {
				checkSeals(t, client.Seal(), server.Seal())
			}
		})
	}
}

// A keytab that is no file keeps no login waiting.
func TestKeytabFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keytab")
	must(t, syscall.Mkfifo(path, 0o600))
	if err := CheckKeytab(path); err == nil || !strings.Contains(err.Error(), "a FIFO") {
		t.Error(err)
	}
}

// Users of one name in two realms are two, though the server is in both.
func TestTwoRealms(t *testing.T) {
	keys := keytab.New()
	for _, realm := range []string{"EXAMPLE.COM", "OTHER.COM"} {
		must(t, keys.AddEntry("vnc/host", realm, "key", time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96))
		must(t, keys.AddEntry("host/host", realm, "key", time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96))
	}
	must(t, keys.AddEntry("host/host", "THIRD.COM", "key", time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96))
	data, err := keys.Marshal()
	must(t, err)
	path := filepath.Join(t.TempDir(), "keytab")
	must(t, os.WriteFile(path, data, 0o600))
	for _, realm := range []string{"EXAMPLE.COM", "OTHER.COM"} {
		name, now := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "fred"), time.Now().UTC()
		made, key, err := messages.NewTicket(name, realm, types.NewPrincipalName(nametype.KRB_NT_SRV_HST, "vnc/host"), realm,
			types.NewKrbFlags(), keys, etypeID.AES256_CTS_HMAC_SHA1_96, 1, now, now, now.Add(time.Hour), now.Add(time.Hour))
		must(t, err)
		server := newServer(t, Server{Keytab: path}, sasl.Layer{})
		must(t, exchange(&initiator{ticket: made, key: key, name: name, realm: realm}, server))
		if want := "fred@" + realm; server.User() != want {
			t.Errorf("logged in as %q; want %q", server.User(), want)
		}
	}
}

// checkSeals sends messages of many lengths both ways.
func checkSeals(t *testing.T, a, b sasl.Seal) {
	t.Helper()
	var sizes []int
	for n := range 70 {
		sizes = append(sizes, n)
	}
	for _, n := range append(sizes, 1000, a.MaxPlain()) {
		message := bytes.Repeat([]byte{'m'}, n)
		for range 2 {
			sealed, err := a.Wrap(message)
			must(t, err)
			if len(sealed) > sasl.MaxSealed || n > 8 && bytes.Contains(sealed, message) {
				t.Errorf("%d octets of %d", len(sealed), n)
			}
			got, err := b.Unwrap(sealed)
			must(t, err)
			if !bytes.Equal(got, message) {
				t.Fatalf("%d octets come back as %d", n, len(got))
			}
			a, b = b, a
		}
	}
	if a.SSF() != b.SSF() || a.SSF() < 128 {
		t.Errorf("SSF %d and %d", a.SSF(), b.SSF())
	}
}

// sealedPair is what both ends have after a login.
func sealedPair(t testing.TB) (client, server *wrapper) {
	t.Helper()
	i, a := ticket{}.initiator(t, sasl.Layer{}), newServer(t, Server{}, sasl.Layer{})
	must(t, exchange(i, a))
	return i.seal.(*wrapper), a.Seal().(*wrapper)
}

// What a stranger writes is quoted in short, and moves no terminal's cursor.
func TestErrorsAreSafeToShow(t *testing.T) {
	text := strings.Repeat("\x1b[2J\r\n", 1000)
	e := messages.NewKRBError(types.PrincipalName{}, "EXAMPLE.COM", 60, text)
	message, err := e.Marshal()
	must(t, err)
	says := frame(tokenError, message)
	elsewhere := ticket{}.initiator(t, sasl.Layer{})
	elsewhere.ticket.Realm = text
	request, _, err := elsewhere.Step(nil)
	must(t, err)
	client := ticket{}.initiator(t, sasl.Layer{})
	_, _, err = client.Step(nil)
	must(t, err)
	for _, tt := range []struct {
		name  string
		end   sasl.Steps
		token []byte
		want  string
	}{
		{"a client's error", newServer(t, Server{}, sasl.Layer{}), says, "the other end says"},
		{"a client's realm", newServer(t, Server{}, sasl.Layer{}), request, "the ticket is not good"},
		{"a server's error", client, says, "the other end says"},
	} {
		_, _, err := tt.end.Step(tt.token)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%s: %.500q", tt.name, fmt.Sprint(err))
		}
	}
}

// Messages that were changed, replayed, dropped, reflected or come from
// elsewhere are refused, and the next one that is due is taken all the same.
func TestForgedMessages(t *testing.T) {
	client, server := sealedPair(t)
	_, stranger := sealedPair(t)
	first, err := client.Wrap([]byte("first"))
	must(t, err)
	second, err := client.Wrap([]byte("second"))
	must(t, err)
	if _, err := stranger.Unwrap(first); err == nil {
		t.Error("a message of another context is taken")
	}
	for at := range first {
		forged := bytes.Clone(first)
		forged[at] ^= 1
		if _, err := server.Unwrap(forged); err == nil {
			t.Errorf("octet %d was changed, and nobody noticed", at)
		}
	}
	for n := range first {
		if _, err := server.Unwrap(first[:n]); err == nil {
			t.Errorf("%d octets of %d are taken", n, len(first))
		}
	}
	if _, err := client.Unwrap(first); err == nil {
		t.Error("a message that was sent back to its author is taken")
	}
	if _, err := server.Unwrap(second); err == nil {
		t.Error("a message before its turn is taken")
	}
	signed, err := client.wrap([]byte("third"), false)
	must(t, err)
	if _, err := server.Unwrap(signed); err == nil {
		t.Error("a message that is not sealed is taken")
	}
	for _, m := range [][]byte{first, second} {
		_, err = server.Unwrap(m)
		must(t, err)
	}
	if _, err := server.Unwrap(first); err == nil {
		t.Error("a message is taken twice")
	}
}

// Others rotate what they seal, and fill it up (RFC 4121, 4.2.4 and 4.2.5).
func TestRotatedMessages(t *testing.T) {
	for _, filling := range []int{0, 16, 300} {
		for _, by := range []int{0, 1, 28, 61, 1000, 65535} {
			client, server := sealedPair(t)
			header := client.ours.header(sealed, filling)
			plain := append(append([]byte("message"), make([]byte, filling)...), header...)
			_, cipher, err := client.method.EncryptMessage(client.key.KeyValue, plain, client.ours.usage)
			must(t, err)
			cut := len(cipher) - by%len(cipher)
			header[6], header[7] = byte(by>>8), byte(by)
			got, err := server.Unwrap(append(header, append(bytes.Clone(cipher[cut:]), cipher[:cut]...)...))
			if err != nil || string(got) != "message" {
				t.Errorf("filled with %d, rotated by %d: %q, %v", filling, by, got, err)
			}
		}
	}
}

// Layers that are refused by a client, and choices that are by a server.
func TestLayers(t *testing.T) {
	none, certified := sasl.Layer{}, sasl.Layer{SSF: 128}
	for _, tt := range []struct {
		offer []byte
		layer sasl.Layer
		want  byte // 0 is an error
	}{
		{[]byte{7, 0, 0x20, 0}, none, layerSealed},
		{[]byte{7, 0, 0x20, 0}, certified, layerNone},
		{[]byte{4, 0, 0x20, 0}, certified, layerSealed},
		{[]byte{3, 0, 0x20, 0}, none, 0},
		{[]byte{1, 0, 0, 0}, none, 0},
		{[]byte{2, 0, 0x20, 0}, certified, 0},
		{[]byte{0, 0, 0, 0}, certified, 0},
		{[]byte{4, 0, 0}, none, 0},
		{[]byte{4, 0, 0, 0, 0}, none, 0},
	} {
		if got, err := choose(tt.offer, tt.layer); got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%v: %d, %v", tt.offer, got, err)
		}
	}
	for _, tt := range []struct {
		name   string
		layer  sasl.Layer
		choice string
		good   bool
	}{
		{"encryption", none, "\x04\x00\x20\x00", true},
		{"both bits", none, "\x06\x00\x20\x00", true},
		{"own name", none, "\x04\x00\x20\x00fred", true},
		{"own name with realm", none, "\x04\x00\x20\x00fred@EXAMPLE.COM", true},
		{"no layer", none, "\x01\x00\x00\x00", false},
		{"integrity", none, "\x02\x00\x20\x00", false},
		{"tiny buffer", none, "\x04\x00\x00\x40", false},
		{"short", none, "\x04\x00", false},
		{"another's name", none, "\x04\x00\x20\x00root", false},
		{"no layer below which TLS is", certified, "\x01\x00\x00\x00", true},
		{"encryption that was not offered", certified, "\x04\x00\x20\x00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := ticket{}.initiator(t, tt.layer), newServer(t, Server{}, tt.layer)
			client.stage = nil
			out, _, err := client.Step(nil)
			must(t, err)
			in, _, err := server.Step(out)
			must(t, err)
			_, _, err = client.Step(in)
			must(t, err)
			in, _, err = server.Step(nil)
			must(t, err)
			_, err = client.w.unwrap(in, false)
			must(t, err)
			out, err = client.w.wrap([]byte(tt.choice), false)
			must(t, err)
			_, done, err := server.Step(out)
			if (err == nil) != tt.good || done != tt.good {
				t.Errorf("%v, %v", done, err)
			}
		})
	}
}

func TestServerKeytab(t *testing.T) {
	path := keytabFile(t)
	must(t, os.Chmod(path, 0o644))
	for _, s := range []Server{{Keytab: path}, {Keytab: path + "x"}, {Keytab: "/dev/null"}, {}} {
		if _, err := s.Start(sasl.Layer{}); err == nil {
			t.Errorf("%q is taken", s.Keytab)
		}
	}
}

// A client is not fooled by who does not know the server's key, nor by an old answer.
func TestServerProvesItself(t *testing.T) {
	server, old := newServer(t, Server{}, sasl.Layer{}), ticket{}.initiator(t, sasl.Layer{})
	out, _, err := old.Step(nil)
	must(t, err)
	answer, _, err := server.Step(out)
	must(t, err)
	client := ticket{}.initiator(t, sasl.Layer{})
	_, _, err = client.Step(nil)
	must(t, err)
	if _, _, err := client.Step(answer); err == nil {
		t.Error("another server's answer is taken")
	}
	again := *old
	again.stage = nil
	time.Sleep(time.Millisecond)
	_, _, err = again.Step(nil)
	must(t, err)
	if _, _, err := again.Step(answer); err == nil || !strings.Contains(err.Error(), "another request") {
		t.Errorf("an old answer: %v", err)
	}
}

// The connection that a Seal protects: what is written is read, however it is cut.
func TestSealConn(t *testing.T) {
	a, b := sealedPair(t)
	near, far := net.Pipe()
	x, y := sasl.SealConn(near, a), sasl.SealConn(far, b)
	sent := bytes.Repeat([]byte("0123456789"), 20_000)
	go func() { x.Write(sent); x.Close() }()
	var got bytes.Buffer
	if _, err := got.ReadFrom(y); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("%d octets of %d, %v", got.Len(), len(sent), err)
	}
	near, far = net.Pipe()
	y = sasl.SealConn(far, b)
	go near.Write([]byte{0, 1, 0, 1})
	for range 2 {
		if _, err := y.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("a message of 65537 octets: %v", err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	client, server := sealedPair(b)
	message := make([]byte, 8000)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		sealed, err := client.Wrap(message)
		must(b, err)
		_, err = server.Unwrap(sealed)
		must(b, err)
	}
}
