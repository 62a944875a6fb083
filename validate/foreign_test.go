package validate

import (
	"bytes"
	"crypto"
	"os"
	"path/filepath"
	"strings"

	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
)

// weakAndOther are signature algorithms of RSA keys, the weak ones first.
var weakAndOther = []pki.SignatureAlgorithm{
	{Key: pki.RSA, Hash: crypto.SHA1},
	{Key: pki.RSA, Hash: crypto.MD5},
	{Key: pki.RSA, Hash: crypto.SHA224},
	{Key: pki.RSA, Hash: crypto.SHA512},
	{Key: pki.RSAPSS, Hash: crypto.SHA256, SaltLength: 32},
	{Key: pki.RSAPSS, Hash: crypto.SHA256, SaltLength: 20},
}

// foreignScript makes, with the programs that people use, what they use.
// PURPOSE and USAGE are of the role: tls_www_server, serverAuth.
const foreignScript = `
set -e
mkdir certtool certtool-ec certtool-old openssl openssl-plain openssl-pss openssl-legacy openssl-params openssl-pkcs1
certtool --generate-privkey --key-type rsa --bits 2048 --outfile ca-key.pem
printf 'cn = Example CA\nca\ncert_signing_key\n' >ca.info
certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca.pem
printf 'organization = Example\ncn = host1.example.com\ndns_name = host1.example.com\nPURPOSE\nencryption_key\nsigning_key\n' >leaf.info
printf 'organization = Example\ncn = host1.example.com\nPURPOSE\nsigning_key\n' >new.info
certtool --generate-privkey --key-type rsa --bits 2048 --outfile rsa.pem
certtool --generate-privkey --key-type ecdsa --curve secp256r1 --outfile ec.pem
sign() { certtool --generate-certificate --load-ca-certificate ca.pem --load-ca-privkey ca-key.pem --load-privkey $1 --template $2 --outfile $3/cert; cp $1 $3/key; cp ca.pem $3/ca; }
sign rsa.pem leaf.info certtool
sign ec.pem leaf.info certtool-ec
sign rsa.pem new.info certtool-old

openssl req -x509 -newkey rsa:2048 -noenc -keyout oca-key.pem -out oca.pem -subj '/CN=OpenSSL CA' -days 30
openssl req -new -key rsa.pem -subj '/O=Example/CN=host1.example.com' -out leaf.csr
printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=critical,USAGE\nsubjectAltName=DNS:host1.example.com\n' >leaf.ext
openssl x509 -req -in leaf.csr -CA oca.pem -CAkey oca-key.pem -days 30 -extfile leaf.ext -text -out openssl/cert
openssl x509 -req -in leaf.csr -CA oca.pem -CAkey oca-key.pem -days 30 -out openssl-plain/cert
for d in openssl openssl-plain openssl-legacy openssl-params openssl-pkcs1; do cp oca.pem $d/ca; cp rsa.pem $d/key; [ -f $d/cert ] || cp openssl/cert $d/cert; done
openssl rsa -in rsa.pem -aes128 -traditional -passout pass:sesame -out openssl-legacy/key
openssl rsa -in rsa.pem -traditional -out openssl-pkcs1/key
openssl ecparam -name prime256v1 -genkey -out openssl-params/key
openssl req -new -key openssl-params/key -subj /CN=ec -out ec.csr
openssl x509 -req -in ec.csr -CA oca.pem -CAkey oca-key.pem -days 30 -extfile leaf.ext -out openssl-params/cert
openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out openssl-pss/key
openssl req -x509 -key openssl-pss/key -out openssl-pss/ca -subj '/CN=PSS' -days 30
openssl req -new -key openssl-pss/key -subj /CN=pss -out pss.csr
openssl x509 -req -in pss.csr -CA openssl-pss/ca -CAkey openssl-pss/key -days 30 -extfile leaf.ext -out openssl-pss/cert
`

// foreign are set-ups made by certtool and OpenSSL.
func (m *maker) foreign() {
	dir := m.t.TempDir()
	words := map[layout.Role]*strings.Replacer{
		layout.Server: strings.NewReplacer("PURPOSE", "tls_www_server", "USAGE", "serverAuth"),
		layout.Client: strings.NewReplacer("PURPOSE", "tls_www_client", "USAGE", "clientAuth"),
	}
	cmd := peertest.Host.Command(m.t, peertest.Options{Dir: dir}, "sh", "-c", words[m.role].Replace(foreignScript))
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"certtool", "certtool-ec", "certtool-old", "openssl", "openssl-plain", "openssl-pss", "openssl-legacy", "openssl-params", "openssl-pkcs1"} {
		f := files{}
		for _, what := range []string{"ca", "cert", "key"} {
			data, err := os.ReadFile(filepath.Join(dir, name, what))
			if err != nil {
				m.t.Fatal(err)
			}
			f[what] = data
		}
		m.add("foreign: "+name, f)
		if name == "openssl-legacy" {
			m.list = append(m.list, setup{name: "foreign: openssl-legacy and its password", files: f, password: "sesame"})
		}
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func replaced(data, old, new []byte) []byte { return bytes.ReplaceAll(data, old, new) }

// padded puts text before data until it has a size.
func padded(data []byte, size int) []byte {
	line := []byte("# a line of text that is no part of any certificate\n")
	text := bytes.Repeat(line, size/len(line)+1)[:size-len(data)]
	text[len(text)-1] = '\n'
	return join(text, data)
}

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := pki.MarshalPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodePEM(pki.PEMPublicKey, der)
}
