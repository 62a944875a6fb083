package certtool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

var mldsaNames = []string{"mldsa44", "mldsa65", "mldsa87"}

// TestMLDSA makes keys in every form, an authority, a certificate, a request
// and a revocation list, and has us and the OpenSSLs that know ML-DSA judge them.
func TestMLDSA(t *testing.T) {
	dir := inDir(t, fixtureFiles)
	for _, name := range mldsaNames {
		for _, form := range []string{"seed", "expanded", "both"} {
			runHere(t, fmt.Sprintf("--generate-privkey --key-type %s --key-format %s --outfile %s-%s.pem", name, form, name, form))
		}
		// RFC 9881 lets no other size be.
		sizes := map[string]int{"mldsa44": 2560, "mldsa65": 4032, "mldsa87": 4896}
		for form, want := range map[string]int{"seed": 54, "expanded": sizes[name] + 28, "both": sizes[name] + 66} {
			der := runHere(t, fmt.Sprintf("--to-p8 --load-privkey %s-%s.pem --password= --key-format %s --outder", name, form, form))
			if len(der) != want {
				t.Errorf("%s, %s: %d octets of PKCS #8, want %d", name, form, len(der), want)
			}
		}
		key := name + "-both.pem"
		ca := fmt.Sprintf("--load-ca-privkey %s --load-ca-certificate %s-ca.pem", key, name)
		runHere(t, fmt.Sprintf("-s --load-privkey %s --template ca.tmpl --outfile %s-ca.pem", key, name))
		runHere(t, fmt.Sprintf("-q --load-privkey %s-seed.pem --template client.tmpl --outfile %s-req.pem", name, name))
		runHere(t, fmt.Sprintf("-c --load-request %s-req.pem --template client.tmpl %s --outfile %s-cert.pem", name, ca, name))
		runHere(t, fmt.Sprintf("--generate-crl %s --template ca.tmpl --outfile %s-crl.pem", ca, name))
		runHere(t, fmt.Sprintf("--verify --load-ca-certificate %s-ca.pem --load-crl %s-crl.pem --infile %s-cert.pem", name, name, name))
		runHere(t, fmt.Sprintf("--verify-crl --load-ca-certificate %s-ca.pem --infile %s-crl.pem", name, name))
		if text := runHere(t, "-i --infile "+name+"-cert.pem"); !strings.Contains(text, "Signature Algorithm: "+strings.Replace(strings.ToUpper(name), "MLDSA", "ML-DSA-", 1)+"\n") {
			t.Error(text)
		}
	}
	for _, g := range []peertest.Generation{peertest.Trixie, peertest.Forky} {
		t.Run(g.Name, func(t *testing.T) {
			g.Need(t)
			judgedByOpenSSL(t, g, dir)
		})
	}
}

func judgedByOpenSSL(t *testing.T, g peertest.Generation, dir string) {
	run := func(args ...string) {
		t.Helper()
		if r := g.Run(t, peertest.Options{Dir: dir}, "openssl", args...); r.Code != 0 {
			t.Error(r)
		}
	}
	for _, name := range mldsaNames {
		for _, form := range []string{"seed", "expanded", "both"} {
			run("pkey", "-noout", "-in", name+"-"+form+".pem")
		}
		run("verify", "-x509_strict", "-CAfile", name+"-ca.pem", name+"-cert.pem")
		run("req", "-verify", "-noout", "-in", name+"-req.pem")
		run("crl", "-noout", "-CAfile", name+"-ca.pem", "-in", name+"-crl.pem")

		// The other direction.
		algorithm := strings.Replace(strings.ToUpper(name), "MLDSA", "ML-DSA-", 1)
		at := filepath.Join(t.TempDir(), name)
		run("req", "-x509", "-newkey", algorithm, "-nodes", "-subj", "/CN=theirs", "-keyout", at+".key", "-out", at+".pem")
		run("pkcs8", "-topk8", "-in", at+".key", "-passout", "pass:secret", "-out", at+".enc")
		runHere(t, "--verify-chain --infile "+at+".pem")
		plain := runHere(t, "--key-id --load-privkey "+at+".key")
		if id := runHere(t, "--key-id --infile "+at+".pem"); id != plain {
			t.Errorf("%s: key %s, certificate %s", name, plain, id)
		}
		if id := runHere(t, "--key-id --load-privkey "+at+".enc --password secret"); id != plain {
			t.Errorf("%s: key %s, encrypted %s", name, plain, id)
		}
	}
}

// TestInconsistentMLDSAKey: a key whose seed and expanded form do not belong
// together must not be used (RFC 9881, 8.2).
func TestInconsistentMLDSAKey(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type mldsa44 --outder --outfile a.der")
	der, err := os.ReadFile("a.der")
	must(t, err)
	der[len(der)-1] ^= 1
	must(t, os.WriteFile("a.der", der, 0o600))
	code, _, stderr := try("", "-k", "--inder", "--infile", "a.der")
	if code != 1 || !strings.Contains(stderr, "import error: ") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
