package probe

import (
	"crypto"
	"encoding/asn1"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"virtls/creds"
	"virtls/pki"
	"virtls/pki/dn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An authority of the test's, made once.
type authority struct {
	cert *pki.Certificate
	key  crypto.Signer
}

var (
	ours    = sync.OnceValue(func() authority { return newAuthority("Our CA") })
	foreign = sync.OnceValue(func() authority { return newAuthority("Foreign CA") })
	// namesake has the name of ours and another key: the authority was made anew.
	namesake = sync.OnceValue(func() authority { return newAuthority("Our CA") })
	// between is an authority that ours has signed.
	between = sync.OnceValue(func() authority {
		key := newKey("p256")
		return authority{sign(key, "Between CA", ours(), time.Hour*-100, time.Hour*10000, authorityExtensions()), key}
	})
)

func authorityExtensions() pki.Extensions {
	return pki.Extensions{pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true)}
}

var keys sync.Map

// newKey makes a key; RSA ones once.
func newKey(spec string) crypto.Signer {
	if k, ok := keys.Load(spec); ok {
		return k.(crypto.Signer)
	}
	ks, err := pki.ParseKeySpec(spec)
	if err != nil {
		panic(err)
	}
	key, err := pki.GenerateSigner(ks)
	if err != nil {
		panic(err)
	}
	if spec == "rsa2048" {
		keys.Store(spec, key)
	}
	return key
}

func newAuthority(name string) authority {
	key := newKey("p256")
	return authority{sign(key, name, authority{key: key}, time.Hour*-1000, time.Hour*100000, authorityExtensions()), key}
}

func sign(key crypto.Signer, name string, by authority, from, to time.Duration, x pki.Extensions) *pki.Certificate {
	s := &pki.Spec{Serial: pki.NewSerial(), PublicKey: key.Public(), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), Extensions: x}
	if name != "" {
		s.Subject = dn.New(dn.Attr(dn.OrganizationOID, "Test"), dn.Attr(dn.CommonNameOID, name))
	}
	c, err := pki.Sign(s, by.cert, by.key, pki.SignatureAlgorithm{})
	if err != nil {
		panic(err)
	}
	return c
}

// A leaf is what a certificate is to be.
type leaf struct {
	by       func() authority // ours if nil
	name     string           // the role if empty
	key      string           // p256 if empty
	names    []string         // localhost and 127.0.0.1 if nil
	from, to time.Duration    // an hour ago, for 1000 hours
	purpose  asn1.ObjectIdentifier
	usage    pki.KeyUsage
	chain    *authority // sent behind it
}

func (l leaf) issue(role string) (cert, key []byte) {
	by, name, spec := ours(), l.name, l.key
	if l.by != nil {
		by = l.by()
	}
	if name == "" {
		name = role
	}
	if spec == "" {
		spec = "p256"
	}
	if l.to == 0 {
		l.from, l.to = -time.Hour, 1000*time.Hour
	}
	if l.usage == 0 {
		l.usage = pki.DigitalSignature | pki.KeyEncipherment
	}
	if l.names == nil {
		l.names = []string{"localhost", "127.0.0.1"}
	}
	x := pki.Extensions{pki.BasicConstraints{}.Extension(), l.usage.Extension(true)}
	var names pki.GeneralNames
	for _, n := range l.names {
		if a, err := netip.ParseAddr(n); err == nil {
			names = append(names, pki.IPAddress(a))
		} else if n != "" {
			names = append(names, pki.DNSName(n))
		}
	}
	if len(names) > 0 {
		x = append(x, names.Extension())
	}
	if l.purpose != nil {
		e, err := pki.ExtKeyUsageExtension([]asn1.ObjectIdentifier{l.purpose}, true)
		if err != nil {
			panic(err)
		}
		x = append(x, e)
	}
	k := newKey(spec)
	c := sign(k, name, by, l.from, l.to, x)
	pem, err := pki.EncodePrivateKeyPEM(k.(pki.PrivateKey), pki.MLDSABoth)
	if err != nil {
		panic(err)
	}
	cert = c.PEM()
	if l.chain != nil {
		cert = append(cert, l.chain.cert.PEM()...)
	}
	return cert, pem
}

// A dir is a directory with a side's files, by the names of QEMU and of libvirt.
type dir struct {
	trust          func() authority // ours if nil
	server, client *leaf
	revoked        []byte // certificate in PEM form that the CRL revokes
	crlExpired     bool
}

func (d dir) write(t testing.TB) string {
	t.Helper()
	path := t.TempDir()
	put := func(names []string, data []byte) {
		for _, n := range names {
			must(t, os.WriteFile(filepath.Join(path, n), data, 0o600))
		}
	}
	trust := ours
	if d.trust != nil {
		trust = d.trust
	}
	put([]string{"ca-cert.pem", "cacert.pem"}, trust().cert.PEM())
	for role, l := range map[string]*leaf{"server": d.server, "client": d.client} {
		if l != nil {
			cert, key := l.issue(role)
			put([]string{role + "-cert.pem", role + "cert.pem"}, cert)
			put([]string{role + "-key.pem", role + "key.pem"}, key)
		}
	}
	if d.revoked != nil {
		list, err := pki.ParseCertificatesPEM(d.revoked)
		must(t, err)
		s := &pki.CRLSpec{Number: pki.NewSerial(), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: time.Now().Add(48 * time.Hour),
			Revoked: []pki.RevokedCertificate{{Serial: list[0].Serial, RevokedAt: time.Now().Add(-50 * time.Hour)}}}
		if d.crlExpired {
			s.NextUpdate = time.Now().Add(-24 * time.Hour)
		}
		crl, err := pki.SignCRL(s, trust().cert, trust().key, pki.SignatureAlgorithm{})
		must(t, err)
		put([]string{"ca-crl.pem", "cacrl.pem"}, crl.PEM())
	}
	return path
}

// client loads a client's credentials, whatever a sanity check says.
func client(t testing.TB, path, priority string) creds.Credentials {
	t.Helper()
	x, _, err := creds.LoadX509(creds.X509Options{Dir: path, Priority: priority, NoSanityCheck: true})
	must(t, err)
	return x
}

func pskClient(t testing.TB, user, key, priority string) creds.Credentials {
	t.Helper()
	path := t.TempDir()
	must(t, os.WriteFile(filepath.Join(path, "keys.psk"), []byte(user+":"+key+"\n"), 0o600))
	c, _, err := creds.LoadPSK(creds.PSKOptions{Dir: path, Username: user, Priority: priority})
	must(t, err)
	return c
}

func anonClient(t testing.TB) creds.Credentials {
	t.Helper()
	c, _, err := creds.LoadAnon(creds.AnonOptions{})
	must(t, err)
	return c
}

// expecting expects another certificate than the server shows.
func expecting(t testing.TB, o *Options) {
	cert, _ := leaf{name: "renewed"}.issue("server")
	list, err := pki.ParseCertificatesPEM(cert)
	must(t, err)
	o.Expected = list[0]
}

// stranger has a certificate of ours with a name that lists do not have.
func stranger(t testing.TB, o *Options) {
	o.Stranger = client(t, dir{client: &leaf{name: "stranger"}}.write(t), "")
}

func parsed(t testing.TB, data []byte) []*pki.Certificate {
	t.Helper()
	list, err := pki.ParseCertificatesPEM(data)
	must(t, err)
	return list
}
