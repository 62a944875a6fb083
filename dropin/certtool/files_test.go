package certtool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/dropin"
)

// inDir writes files into a new working directory.
func inDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	t.Chdir(dir)
	return dir
}

// try runs certtool in this process.
func try(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(args, dropin.IO{In: strings.NewReader(stdin), Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

func TestFileModes(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type ecdsa --outfile ec.pem")
	mode := func(name string) string {
		info, err := os.Stat(name)
		must(t, err)
		return fmt.Sprintf("%04o", info.Mode())
	}
	for _, test := range []struct{ name, line string }{
		{"key", "--generate-privkey --key-type ecdsa"},
		{"request with key", "--generate-request --key-type ecdsa --template client.tmpl"},
		{"key info", "--key-info --infile ec.pem"},
		{"PKCS #8", "--to-p8 --load-privkey ec.pem --password x"},
		{"PKCS #12", "--to-p12 --load-privkey ec.pem --password x --p12-name n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			must(t, os.WriteFile("old", nil, 0o666))
			must(t, os.Chmod("old", 0o666))
			runHere(t, test.line+" --outfile old")
			os.Remove("new")
			runHere(t, test.line+" --outfile new")
			if mode("old") != "0600" || mode("new") != "0600" {
				t.Errorf("old %s, new %s, want 0600", mode("old"), mode("new"))
			}
		})
	}
	must(t, os.WriteFile("cert.pem", nil, 0o640))
	must(t, os.Chmod("cert.pem", 0o640))
	runHere(t, "--generate-self-signed --load-privkey ec.pem --template ca.tmpl --outfile cert.pem")
	if mode("cert.pem") != "0640" {
		t.Errorf("an old certificate file has mode %s, want its own, 0640", mode("cert.pem"))
	}
}

// TestFailureKeepsFile runs commands that fail early and late over an output
// file that exists, and one that does not.
func TestFailureKeepsFile(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type ecdsa --outfile ec.pem")
	for _, template := range []string{"badip.tmpl", "baddate.tmpl", "badserial", "badhex.tmpl", "baddn.tmpl", "emptycn.tmpl", "badoid.tmpl", "nosuch"} {
		t.Run(template, func(t *testing.T) {
			must(t, os.WriteFile("old", []byte("precious"), 0o644))
			for _, out := range []string{"old", "new"} {
				code, _, stderr := try("", "-s", "--load-privkey", "ec.pem", "--template", template, "--outfile", out)
				if code != 1 || stderr == "" {
					t.Errorf("exit code %d, %s", code, stderr)
				}
			}
			if readFile(t, "old") != "precious" {
				t.Error("the old file is lost")
			}
			if _, err := os.Stat("new"); err == nil {
				t.Error("there is a new file")
			}
		})
	}
}

func TestOutputThroughLinkAndToDevice(t *testing.T) {
	inDir(t, fixtureFiles)
	must(t, os.WriteFile("target", nil, 0o644))
	must(t, os.Symlink("target", "link"))
	runHere(t, "--generate-privkey --key-type ed25519 --outfile link")
	if info, err := os.Lstat("link"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is gone", err)
	}
	if !strings.Contains(readFile(t, "target"), "BEGIN PRIVATE KEY") {
		t.Error("the link's target was not written")
	}
	for _, line := range []string{"--generate-privkey --key-type ed25519", "--p8-info --infile target"} {
		if code, _, stderr := try("", append(strings.Fields(line), "--outfile", "/dev/full")...); code != 1 || !strings.Contains(stderr, "no space left") {
			t.Errorf("%s to a full device: exit code %d, %s", line, code, stderr)
		}
	}
	runHere(t, "--generate-privkey --key-type ed25519 --outfile /dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Error("/dev/null is no device any more", err)
	}
}

// TestRefusals checks that what is missing is named, and that nothing happens.
func TestRefusals(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type ecdsa --outfile ec.pem")
	lines := []string{
		"--generate-privkey --key-type dsa", "--generate-privkey --key-type gost12-256", "--generate-privkey --bits 1024",
		"--generate-privkey --key-type ecdsa --curve secp192r1", "--generate-privkey --key-type ecdsa --bits 192",
		"--generate-privkey --curve secp256r1", "--generate-privkey --key-type ed25519 --pkcs8 --password x --pkcs-cipher rc2-40",
		"--to-p12 --load-privkey ec.pem --template ca.tmpl", "--to-p12 --load-privkey ec.pem --p12-name x --password x --pkcs-cipher none",
		"--generate-self-signed --load-privkey pkcs11:object=x --template ca.tmpl",
		"--generate-self-signed --key-type x25519 --load-privkey ec.pem --template ca.tmpl",
	}
	for _, r := range refusals {
		line := "--generate-privkey --key-type ed25519 --" + r.option
		for _, group := range tool.Groups {
			for _, o := range group.Options {
				if o.Long == r.option && o.Arg == dropin.RequiredArg {
					line += " 1"
				}
			}
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		t.Run(line, func(t *testing.T) {
			code, stdout, stderr := try("", append(strings.Fields(line), "--outfile", "o")...)
			if code != 1 || stdout != "" || stderr == "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			for _, r := range refusals {
				if strings.Contains(line, "--"+r.option) && !strings.Contains(stderr, "--"+r.option+": "+r.why) {
					t.Errorf("does not name the option: %s", stderr)
				}
			}
			if _, err := os.Stat("o"); err == nil {
				t.Error("there is an output file")
			}
		})
	}
}

// TestKeyAndCertificateMismatch: the real certtool signs with any key.
func TestKeyAndCertificateMismatch(t *testing.T) {
	inDir(t, fixtureFiles)
	for _, key := range []string{"a", "b"} {
		runHere(t, "--generate-privkey --key-type ecdsa --outfile "+key)
	}
	runHere(t, "--generate-self-signed --load-privkey a --template ca.tmpl --outfile ca")
	for _, action := range []string{"--generate-certificate --load-privkey a", "--generate-crl", "--update-certificate --load-certificate ca"} {
		code, stdout, stderr := try("", append(strings.Fields(action), "--load-ca-privkey", "b", "--load-ca-certificate", "ca", "--template", "client.tmpl")...)
		if code != 1 || strings.Contains(stdout, "BEGIN") || !strings.Contains(stderr, "does not belong to the issuer's certificate") {
			t.Errorf("%s: exit code %d, %s", action, code, stderr)
		}
	}
}

// TestEndOfInput checks that questions end where standard input does.
func TestEndOfInput(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type ecdsa --outfile ec.pem")
	runHere(t, "--generate-self-signed --load-privkey ec.pem --template ca.tmpl --outfile ca.pem")
	ca := "--load-ca-privkey ec.pem --load-ca-certificate ca.pem"
	for _, line := range []string{
		"--generate-self-signed --load-privkey ec.pem", "--generate-certificate --load-privkey ec.pem " + ca, "--generate-crl " + ca,
		"--update-certificate --load-certificate ca.pem " + ca, "--to-p12 --load-privkey ec.pem --password x",
	} {
		for _, stdin := range []string{"", "x\n", strings.Repeat("\n", 12), strings.Repeat("\n", 10) + "0\n", strings.Repeat("-5\n", 100)} {
			code, stdout, stderr := try(stdin, strings.Fields(line)...)
			if len(stderr) > 1<<20 || code != 1 && !strings.Contains(stdout, "BEGIN") {
				t.Errorf("%s <%q: exit code %d, %d octets on standard error", line, stdin, code, len(stderr))
			}
		}
	}
	// A request can be made of defaults alone, as with the real certtool.
	if code, stdout, _ := try("", "-q", "--load-privkey", "ec.pem"); code != 0 || !strings.Contains(stdout, "NEW CERTIFICATE REQUEST") {
		t.Errorf("request: exit code %d", code)
	}
}

// TestSecretsStaySecret: neither passwords nor keys appear where they do not belong.
func TestSecretsStaySecret(t *testing.T) {
	inDir(t, fixtureFiles)
	code, stdout, stderr := try("", "--generate-privkey", "--key-type", "ecdsa", "--password", "verysecret")
	if code != 0 || strings.Contains(stdout+stderr, "verysecret") || strings.Contains(stdout, "private key:") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	must(t, os.WriteFile("enc", []byte(stdout), 0o600))
	if _, stdout, stderr = try("", "-k", "--infile", "enc", "--password", "stillsecret"); strings.Contains(stdout+stderr, "stillsecret") {
		t.Error(stdout + stderr)
	}
}
