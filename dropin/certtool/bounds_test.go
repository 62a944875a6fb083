package certtool

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/dropin"
	"virtls/pki"
)

// endless is a file without end, as /dev/zero is.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestTooLarge: no file is taken for its beginning. The list that revokes a
// certificate stands where reading used to end.
func TestTooLarge(t *testing.T) {
	inDir(t, fixtureFiles)
	for _, line := range []string{
		"--generate-privkey --key-type ecdsa --outfile ec.pem",
		"--pubkey-info --load-privkey ec.pem --no-text --outfile pub.pem",
		"--generate-request --load-privkey ec.pem --template fixed.tmpl --no-text --outfile req.pem",
		"--generate-self-signed --load-privkey ec.pem --template fixedca.tmpl --outfile ca.pem",
		"--generate-certificate --load-ca-privkey ec.pem --load-ca-certificate ca.pem --load-privkey ec.pem --template leaf.tmpl --outfile direct.pem",
		"--generate-crl --load-ca-privkey ec.pem --load-ca-certificate ca.pem --load-certificate direct.pem --template fixed.tmpl --outfile crl.pem",
	} {
		runHere(t, line)
	}
	pad := strings.Repeat("\n", maxInput)
	for _, name := range []string{"crl.pem", "ca.pem", "ec.pem", "req.pem", "pub.pem", "direct.pem", "fixed.tmpl"} {
		must(t, os.WriteFile("large-"+name, []byte(pad+readFile(t, name)), 0o600))
	}
	must(t, os.WriteFile("full.pem", []byte(pad[len(readFile(t, "ca.pem")):]+readFile(t, "ca.pem")), 0o600))
	verify := "--verify --infile direct.pem --attime 2026-06-01 --load-ca-certificate "
	for _, test := range []struct{ name, line, want string }{
		{"revocation lists", verify + "ca.pem --load-crl large-crl.pem", "--load-crl"},
		{"authorities", verify + "large-ca.pem", "--load-ca-certificate"},
		{"input", "--verify --infile large-direct.pem --load-ca-certificate ca.pem", "input"},
		{"private key", "--to-p8 --load-privkey large-ec.pem --password x", "--load-privkey"},
		{"authority's key", "--generate-crl --load-ca-privkey large-ec.pem --load-ca-certificate ca.pem --template fixed.tmpl", "--load-ca-privkey"},
		{"certificate", "--fingerprint --load-certificate large-direct.pem", "--load-certificate"},
		{"request", "--key-id --load-request large-req.pem", "--load-request"},
		{"public key", "--key-id --load-pubkey large-pub.pem", "--load-pubkey"},
		{"template", "--generate-self-signed --load-privkey ec.pem --template large-fixed.tmpl", "--template"},
		{"template without end", "--generate-self-signed --load-privkey ec.pem --template /dev/zero", "--template"},
		{"list without end", verify + "ca.pem --load-crl /dev/zero", "--load-crl"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := try("", strings.Fields(test.line)...)
			if code != 1 || strings.Contains(stdout, "Verified") || !strings.Contains(stderr, "it is larger than") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	must(t, os.WriteFile("full.tmpl", []byte(pad[:maxTemplate-len(fixtureFiles["fixed.tmpl"])]+fixtureFiles["fixed.tmpl"]), 0o600))
	must(t, os.WriteFile("over.tmpl", []byte(pad[:maxTemplate+1-len(fixtureFiles["fixed.tmpl"])]+fixtureFiles["fixed.tmpl"]), 0o600))
	t.Run("templates", func(t *testing.T) {
		runHere(t, "--generate-self-signed --load-privkey ec.pem --template full.tmpl")
		if code, _, stderr := try("", strings.Fields("--generate-self-signed --load-privkey ec.pem --template over.tmpl")...); code != 1 || !strings.Contains(stderr, "larger than 1 MiB") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("as large as may be", func(t *testing.T) {
		runHere(t, verify+"full.pem")
	})
	for name, line := range map[string]string{
		"answers": "--generate-self-signed --load-privkey ec.pem", "input": "-i", "password": "--to-p8 --load-privkey ec.pem",
		"answer that is not needed": "--generate-request --load-privkey ec.pem",
	} {
		t.Run("standard input without end, "+name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Run(strings.Fields(line), dropin.IO{In: endless{}, Out: &out, Err: &errs})
			if code != 1 || strings.Contains(out.String(), "-----END") || !strings.Contains(errs.String(), "larger than 16 MiB") {
				t.Errorf("exit code %d\n%.500s%.500s", code, out.String(), errs.String())
			}
		})
	}
}

// encryptedWith is an EncryptedPrivateKeyInfo that asks for so many rounds of
// PBKDF2 with HMAC-SHA256 and holds nothing.
func encryptedWith(rounds int) []byte {
	hmacSHA256 := asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	pbkdf2 := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		sequence(b, oidPBES2, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				sequence(b, pbkdf2, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1OctetString(make([]byte, 8))
						b.AddASN1Int64(int64(rounds))
						sequence(b, hmacSHA256, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
					})
				})
				sequence(b, schemes[2].oid, func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, 16)) })
			})
		})
		b.AddASN1OctetString(make([]byte, 16))
	})
	return b.BytesOrPanic()
}

// TestRounds: what one file asks for is bounded, however it is divided. What
// real programs write is opened.
func TestRounds(t *testing.T) {
	const million = 1_000_000
	for _, test := range []struct {
		name               string
		mac, safes, rounds int
		ok                 bool
	}{
		{"GnuTLS", pki.DefaultPBKDF2Iterations, 3, pki.DefaultPBKDF2Iterations, true},
		{"GnuTLS, many certificates", pki.DefaultPBKDF2Iterations, 80, pki.DefaultPBKDF2Iterations, true},
		{"OpenSSL", 2048, 2, 2048, true},
		{"OpenSSL, -iter 1000000", million, 2, million, true},
		{"as much as one structure may ask for", 10 * million, 2, 10 * million, true},
		{"six structures of 10 million", 1, 6, 10 * million, false},
		{"MAC beside them", 45 * million, 6, million, false},
		{"very many small ones", 1, 60_000, 1000, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &pfx{mac: macData{iterations: test.mac}}
			for range test.safes {
				f.safes = append(f.safes, safe{encrypted: encryptedWith(test.rounds)})
			}
			if err := f.checkRounds(); (err == nil) != test.ok {
				t.Errorf("got %v, want ok %t", err, test.ok)
			}
		})
	}

	inDir(t, nil)
	six := encryptedWith(10 * million)
	password := "x"
	der, err := marshalPFX(slices.Repeat([]safe{{encrypted: six}}, 6), &password, crypto.SHA256, 1)
	must(t, err)
	must(t, os.WriteFile("six.p12", der, 0o600))
	must(t, os.WriteFile("six.pem", bytes.Repeat(pki.EncodePEM(pki.PEMEncryptedKey, six), 6), 0o600))
	for _, line := range []string{"--p12-info --inder --infile six.p12 --password x", "--to-p12 --load-privkey six.pem --p12-name x --password x"} {
		code, _, stderr := try("", strings.Fields(line)...)
		if code != 1 || !strings.Contains(stderr, "60000000") && !strings.Contains(stderr, "60000001") {
			t.Errorf("%s: exit code %d\n%s", line, code, stderr)
		}
	}
}

// TestManyLinks: a long name is not shown again for each of many lists.
func TestManyLinks(t *testing.T) {
	name := strings.Repeat("a", 1<<20-1000)
	defer func(limit int) { maxShown = limit }(maxShown)
	maxShown = 4 << 20
	inDir(t, map[string]string{
		"ca.tmpl": "cn = CA\nca\ncert_signing_key\ncrl_signing_key\n", "leaf.tmpl": "cn = " + name + "\n", "crl.tmpl": "crl_next_update = 10\n"})
	for _, line := range []string{
		"--generate-privkey --key-type ecdsa --outfile key",
		"--generate-self-signed --load-privkey key --template ca.tmpl --outfile ca",
		"--generate-certificate --load-ca-privkey key --load-ca-certificate ca --load-privkey key --template leaf.tmpl --outfile leaf",
		"--generate-crl --load-ca-privkey key --load-ca-certificate ca --template crl.tmpl --outfile crl",
	} {
		runHere(t, line)
	}
	must(t, os.WriteFile("chain", []byte(readFile(t, "leaf")+readFile(t, "ca")+strings.Repeat(readFile(t, "crl"), 100)), 0o600))
	out := runHere(t, "--verify-chain --infile chain")
	if len(out) > maxShown+4*len(name) || !strings.Contains(out, "more links") || !strings.HasSuffix(out, "Chain verification output: Verified. The certificate is trusted. \n\n") {
		t.Errorf("got %d octets, ending in %q", len(out), out[max(0, len(out)-200):])
	}
}
