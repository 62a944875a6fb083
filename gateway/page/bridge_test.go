package page

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"virtls/proto/vnc"
	"virtls/sasl"
)

// certify makes an authority, or what it certifies for a host name.
func certify(t testing.TB, ca *tls.Certificate, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	parent, signer := template, key
	if ca == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		parent, signer = ca.Leaf, ca.PrivateKey.(*ecdsa.PrivateKey)
		template.DNSNames = []string{name}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A bridge is a gateway as simple as can be: websockets to one UNIX socket, each
// machine for who has its token.
type bridge struct {
	*httptest.Server
	tokens map[string]string // machine to token
	logins map[string]string // machine to VNC password
	socket string

	mu     sync.Mutex
	open   map[*websocket.Conn]bool
	refuse int // status of what is refused, 0 for nothing
}

// serve answers for one host name.
func serve(t *testing.T, cert *tls.Certificate, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newBridge(t *testing.T, cert *tls.Certificate, o Options, socket string, tokens, logins map[string]string) *bridge {
	b := &bridge{tokens: tokens, logins: logins, socket: socket, open: map[*websocket.Conn]bool{}}
	mux := http.NewServeMux()
	mux.Handle("/", New(o))
	mux.HandleFunc("GET /websocket/{name}", b.websocket)
	b.Server = serve(t, cert, mux)
	t.Cleanup(func() { b.cut(websocket.StatusGoingAway, "") })
	return b
}

func (b *bridge) refusal(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = status
}

func (b *bridge) websocket(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	refuse := b.refuse
	b.mu.Unlock()
	if refuse != 0 {
		http.Error(w, "the machines are being moved", refuse)
		return
	}
	token, ok := b.tokens[r.PathValue("name")]
	if !ok {
		http.Error(w, "there is no machine of that name", http.StatusNotFound)
		return
	}
	if r.FormValue("token") != token {
		http.Error(w, "the token opens nothing here", http.StatusForbidden)
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.open[c] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.open, c)
		b.mu.Unlock()
		c.CloseNow()
	}()
	back, err := net.Dial("unix", b.socket)
	if err != nil {
		c.Close(websocket.StatusBadGateway, "the machine does not answer")
		return
	}
	defer back.Close()
	c.SetReadLimit(1 << 20)
	front := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	if password, ok := b.logins[r.PathValue("name")]; ok {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if front, err = vnc.Accept(ctx, front, vnc.ServerOptions{
			Password: func() []byte { return []byte(password) }, Throttle: &sasl.Throttle{Delay: time.Millisecond}, Client: "test",
		}); err != nil {
			return
		}
		if back, err = vnc.Dial(ctx, back, vnc.Options{}); err != nil {
			return
		}
	}
	go func() {
		defer back.Close()
		io.Copy(back, front)
	}()
	io.Copy(front, back)
}

// cut closes all websockets.
func (b *bridge) cut(status websocket.StatusCode, reason string) {
	b.mu.Lock()
	var open []*websocket.Conn
	for c := range b.open {
		open = append(open, c)
	}
	b.mu.Unlock()
	for _, c := range open {
		c.Close(status, reason)
	}
}

// address returns a server's address at a host name.
func address(s *httptest.Server, host string) string {
	return strings.Replace(s.URL, "127.0.0.1", host, 1)
}
