package certtool

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/dropin"
)

// FuzzInput shows any input in every way that needs no password: a password
// would let the fuzzer ask for years of key derivation.
func FuzzInput(f *testing.F) {
	for _, name := range []string{"../../pki/certtext/testdata/foreign.pem"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for rest := data; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			f.Add(block.Bytes, true)
			f.Add(pem.EncodeToMemory(block), false)
		}
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, isDER bool) {
		for _, action := range []string{"-i", "--crq-info", "--crl-info", "--pubkey-info", "--fingerprint", "--key-id", "--p8-info", "--dh-info",
			"--certificate-pubkey", "--verify-chain", "--key-info", "--to-rsa"} {
			if der, _ := findKey(data, isDER); strings.Contains(action, "-to") && isEncrypted(der) || action == "--key-info" && isEncrypted(der) {
				continue
			}
			args := []string{action}
			if isDER {
				args = append(args, "--inder")
			}
			var out, errs bytes.Buffer
			code := Run(args, dropin.IO{In: bytes.NewReader(data), Out: &out, Err: &errs})
			if code != 0 && errs.Len() == 0 && action != "--verify-chain" {
				t.Fatalf("%s: exit code %d and no message", action, code)
			}
		}
	})
}

// FuzzAnswers answers the questions in any way.
func FuzzAnswers(f *testing.F) {
	dir := f.TempDir()
	key := filepath.Join(dir, "key")
	if code := Run([]string{"-p", "--key-type", "ed25519", "--outfile", key}, dropin.IO{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}); code != 0 {
		f.Fatal("no key")
	}
	for _, s := range steps {
		if s.stdin != "" {
			f.Add(s.stdin)
		}
	}
	f.Fuzz(func(t *testing.T, answers string) {
		for _, action := range []string{"-s", "-q"} {
			var out, errs bytes.Buffer
			code := Run([]string{action, "--load-privkey", key}, dropin.IO{In: strings.NewReader(answers), Out: &out, Err: &errs})
			if code == 0 && !bytes.Contains(out.Bytes(), []byte("-----END ")) {
				t.Fatalf("%s: success without a result", action)
			}
		}
	})
}
