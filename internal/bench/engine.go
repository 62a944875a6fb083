package main

import (
	"crypto"
	"errors"
	"fmt"
	"runtime"
	"time"

	"virtls/pki"
	"virtls/pki/dn"
	"virtls/tlsengine"
)

// benchEngine measures what the engine alone costs: handshakes with ML-DSA, the
// memory of idle sessions, and many handshakes at once. Both ends are in this process.
func benchEngine(b *bench) error {
	rows := [][]string{{"certificates", "handshakes/s, both ends on one core", "octets for the client"}}
	each := 2 * time.Second
	if b.quick {
		each = 200 * time.Millisecond
	}
	for _, spec := range []string{"ec", "ed25519", "mldsa44", "mldsa65", "mldsa87"} {
		id, err := engineIdentity(spec)
		if err != nil {
			return err
		}
		n, octets, start := 0, 0, time.Now()
		for ; time.Since(start) < each; n++ {
			p, err := newEnginePair(tlsengine.Config{}, tlsengine.Config{Identities: []tlsengine.Identity{id}})
			if err != nil {
				return err
			}
			if octets, err = p.shake(); err != nil {
				return err
			}
		}
		rows = append(rows, []string{spec, fmt.Sprintf("%.0f", float64(n)/time.Since(start).Seconds()), fmt.Sprint(octets)})
	}
	table("Handshakes of the engine by certificate (X25519MLKEM768)", rows)
	return benchMany(b)
}

// benchMany has many handshakes under way at once, and then as many idle sessions.
func benchMany(b *bench) error {
	most := 10_000
	if b.quick {
		most = 500
	}
	key := &tlsengine.PSK{Identity: []byte("rich"), Key: make([]byte, 32)}
	client := tlsengine.Config{PSK: key, Groups: []tlsengine.Group{tlsengine.X25519}}
	server := tlsengine.Config{FindPSK: func([]byte) (*tlsengine.PSK, error) { return key, nil }}
	before := heap()
	pairs := make([]enginePair, most)
	start := time.Now()
	for i := range pairs {
		var err error
		if pairs[i], err = newEnginePair(client, server); err != nil {
			return err
		}
		// All have said hello before the first is answered.
		if _, err := pairs[i].client.Handshake(); err != nil {
			return err
		}
		pairs[i].carry(pairs[i].client, pairs[i].server)
		if _, err := pairs[i].server.Handshake(); err != nil {
			return err
		}
	}
	middle := heap()
	for i := range pairs {
		if _, err := pairs[i].shake(); err != nil {
			return err
		}
	}
	took := time.Since(start)
	after := heap()
	table(fmt.Sprintf("%d handshakes under way at once (PSK, X25519)", most), [][]string{
		{"until all are complete", seconds(took)},
		{"memory of a server and a client in the middle", fmt.Sprintf("%.1f KiB", float64(middle-before)/float64(most)/1024)},
		{"memory of a server and a client that are idle", fmt.Sprintf("%.1f KiB", float64(after-before)/float64(most)/1024)},
	})
	runtime.KeepAlive(pairs)
	return nil
}

// heap returns what is in use after everything else has been let go.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type enginePair struct{ client, server *tlsengine.Engine }

func newEnginePair(c, s tlsengine.Config) (p enginePair, err error) {
	if p.client, err = tlsengine.Client(&c); err != nil {
		return p, err
	}
	p.server, err = tlsengine.Server(&s)
	return p, err
}

// carry moves what one end has to say to the other, and returns how much it was.
func (p enginePair) carry(from, to *tlsengine.Engine) int {
	n := to.Feed(from.Output())
	from.Sent(n)
	return n
}

// shake brings the handshake to its end, and returns what the server said.
func (p enginePair) shake() (octets int, err error) {
	for {
		a, clientErr := p.client.Handshake()
		b, serverErr := p.server.Handshake()
		if err := errors.Join(clientErr, serverErr); err != nil {
			return 0, err
		}
		if a == tlsengine.Complete && b == tlsengine.Complete {
			return octets, nil
		}
		p.carry(p.client, p.server)
		octets += p.carry(p.server, p.client)
	}
}

// engineIdentity makes a certificate that signed itself.
func engineIdentity(spec string) (id tlsengine.Identity, err error) {
	ks, err := pki.ParseKeySpec(spec)
	if err != nil {
		return id, err
	}
	var key crypto.Signer
	if key, err = pki.GenerateSigner(ks); err != nil {
		return id, err
	}
	now := time.Now()
	c, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.CommonNameOID, "localhost")), PublicKey: key.Public(), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}, nil, key, pki.SignatureAlgorithm{})
	return tlsengine.Identity{Chain: []*pki.Certificate{c}, Key: key}, err
}
