package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"virtls/pki"
	"virtls/tlsengine"
)

// handshakeTimeout bounds one handshake in memory; it takes milliseconds.
const handshakeTimeout = 30 * time.Second

// shake has two credentials shake hands in memory. Each side judges the other's
// chain by its own files; the client also checks the server's name. Without a
// client, a nameless one judges the server by the server's own files. What
// crypto/tls can do it does: another implementation is the better witness.
func shake(ctx context.Context, server, client *credential) error {
	judge, who := client, "a client"
	if client == nil {
		judge = server
	} else {
		who = client.holder
	}
	var serverErr, clientErr error
	if server.id.PQC || client != nil && client.id.PQC {
		serverErr, clientErr = shakeNative(server, client, judge)
	} else {
		serverErr, clientErr = shakeStd(ctx, server, client, judge)
	}
	switch {
	case serverErr != nil && !isAlert(serverErr):
		return fmt.Errorf("%s refuses %s: %w", server.holder, who, serverErr)
	case clientErr != nil:
		return fmt.Errorf("%s refuses %s: %w", who, server.holder, clientErr)
	}
	return serverErr
}

// shakeStd shakes hands with crypto/tls over a pipe.
func shakeStd(ctx context.Context, server, client, judge *credential) (serverErr, clientErr error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	result := make(chan error, 1)
	go func() {
		err := confirm(ctx, tls.Server(near, server.serverConfig(client)))
		near.Close()
		result <- err
	}()
	clientErr = await(ctx, tls.Client(far, judge.clientConfig(client, server)))
	far.Close()
	return <-result, clientErr
}

// shakeNative shakes hands with our own engine, which has ML-DSA.
func shakeNative(server, client, judge *credential) (serverErr, clientErr error) {
	// What is proved are certificates and keys; the cheapest key exchange will do.
	groups := []tlsengine.Group{tlsengine.X25519}
	serverConfig := &tlsengine.Config{Groups: groups, Identities: []tlsengine.Identity{server.native()}, StrictPQC: true}
	clientConfig := &tlsengine.Config{Groups: groups, VerifyPeer: judge.judge(pki.PurposeServer, server.name)}
	if client != nil {
		serverConfig.RequestCertificate, serverConfig.VerifyPeer = true, server.judge(pki.PurposeClient, "")
		clientConfig.Identities = []tlsengine.Identity{client.native()}
	}
	s, err := tlsengine.Server(serverConfig)
	if err != nil {
		return err, nil
	}
	c, err := tlsengine.Client(clientConfig)
	if err != nil {
		return nil, err
	}
	serverErr, clientErr = converse(s, c)
	if serverErr == nil && client != nil && s.State().PeerChain == nil {
		serverErr = errNoCertificate
	}
	return serverErr, clientErr
}

// converse carries what two engines have to say to each other until their
// handshake has ended, and the client has heard whether it was accepted.
func converse(server, client *tlsengine.Engine) (serverErr, clientErr error) {
	carry := func(from, to *tlsengine.Engine) bool {
		n := to.Feed(from.Output())
		from.Sent(n)
		return n > 0
	}
	for moved := true; moved; {
		_, clientErr = client.Handshake()
		moved = carry(client, server)
		_, serverErr = server.Handshake()
		moved = carry(server, client) || moved
	}
	return serverErr, clientErr
}

var errNoCertificate = errors.New("no certificate was sent")

func (c *credential) native() tlsengine.Identity {
	return tlsengine.Identity{Chain: c.chain, Key: c.key}
}

func (c *credential) std() tls.Certificate {
	cert := tls.Certificate{PrivateKey: c.key}
	for _, link := range c.chain {
		cert.Certificate = append(cert.Certificate, link.Raw)
	}
	return cert
}

// confirm finishes a handshake as server and sends an octet: in TLS 1.3 the
// client learns only by what follows the handshake whether it was accepted.
func confirm(ctx context.Context, conn *tls.Conn) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	_, err := conn.Write([]byte{1})
	return err
}

// await finishes a handshake as client and reads the octet of confirm.
func await(ctx context.Context, conn *tls.Conn) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// isAlert tells whether an error is only the echo of the other side's.
func isAlert(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return true
	}
	_, ok := errors.AsType[*tlsengine.AlertError](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

func (c *credential) serverConfig(client *credential) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{c.std()},
		// What is proved are certificates and keys; the cheapest key exchange will do.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if client != nil {
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyPeerCertificate = verifier(c.judge(pki.PurposeClient, ""))
	}
	return config
}

func (c *credential) clientConfig(client, server *credential) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Whom to trust is judged by judge, with the rules of package pki.
		InsecureSkipVerify: true, VerifyPeerCertificate: verifier(c.judge(pki.PurposeServer, server.name)),
	}
	if client != nil {
		cert := client.std()
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return config
}

// verifier lets judge judge what crypto/tls received.
func verifier(judge func([]*pki.Certificate) error) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		var chain []*pki.Certificate
		for _, der := range raw {
			cert, err := pki.ParseCertificate(der)
			if err != nil {
				return err
			}
			chain = append(chain, cert)
		}
		return judge(chain)
	}
}

// judge judges a peer's chain by c's own trust anchors and revocation lists.
func (c *credential) judge(purpose asn1.ObjectIdentifier, name string) func([]*pki.Certificate) error {
	return func(chain []*pki.Certificate) error {
		if len(chain) == 0 {
			return errNoCertificate
		}
		_, err := pki.Verify(chain[0], pki.VerifyOptions{
			Roots: c.roots, Intermediates: chain[1:], CRLs: c.crls, Time: c.now, Purpose: purpose,
			KeyUsage: pki.DigitalSignature, Hostname: name, Signatures: c.signatures,
		})
		return err
	}
}
