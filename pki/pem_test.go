package pki

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// TestPEM reads files that are not as they should be, and compares with GnuTLS,
// whose word counts: a file that QEMU loads must not fail here.
func TestPEM(t *testing.T) {
	a, b := string(mold{cn: "a"}.root(t).PEM()), string(mold{cn: "b"}.root(t).PEM())
	lines := strings.Split(strings.TrimSpace(a), "\n")
	begin, body, end := lines[0], lines[1:len(lines)-1], lines[len(lines)-1]
	indented := "  " + strings.Join(lines, "\n  ") + "\n"
	key, err := EncodePrivateKeyPEM(sharedKey(), MLDSABoth)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, text string
		want       int    // certificates
		err        string // part of the error
	}{
		{"one", a, 1, ""},
		{"two", a + b, 2, ""},
		{"text around", "Subject: CN=a\n" + a + "\nText between:\n" + b + "end\n", 2, ""},
		{"CRLF", strings.ReplaceAll(a, "\n", "\r\n"), 1, ""},
		{"CR", strings.ReplaceAll(a, "\n", "\r"), 1, ""},
		{"byte order mark", "\ufeff" + a, 1, ""},
		{"indented", indented, 1, ""},
		{"trailing blanks", strings.ReplaceAll(a, "\n", "  \n"), 1, ""},
		{"no final newline", strings.TrimSpace(a), 1, ""},
		{"joined", strings.TrimSpace(a) + b, 2, ""},
		{"blank lines", strings.Join([]string{begin, "", body[0], "", strings.Join(body[1:], "\n"), end, ""}, "\n"), 1, ""},
		{"text on the same line", "cert: " + a, 1, ""},
		{"one line of base64", begin + "\n" + strings.Join(body, "") + "\n" + end + "\n", 1, ""},
		{"one line", begin + strings.Join(body, "") + end, 1, ""},
		{"old label", strings.ReplaceAll(a, "CERTIFICATE", "X509 CERTIFICATE"), 1, ""},
		{"other end label", strings.Replace(a, "END CERTIFICATE", "END X509 CERTIFICATE", 1), 1, ""},
		{"key first", string(key) + a, 1, ""},
		{"NULs after", a + "\x00\x00", 1, ""},
		{"six dashes", "-" + a, 1, ""},
		{"nothing", "", 0, "the file has no -----BEGIN line"},
		{"text only", "hello\n", 0, "the file has no -----BEGIN line"},
		{"key only", string(key), 0, "no certificate in PEM form found: the file holds PRIVATE KEY"},
		{"OpenSSL's trusted form", strings.ReplaceAll(a, "CERTIFICATE", "TRUSTED CERTIFICATE"), 0, "the file holds TRUSTED CERTIFICATE"},
		{"lower case", strings.ReplaceAll(a, "CERTIFICATE", "certificate"), 0, "the file holds certificate"},
		{"no end", begin + "\n" + strings.Join(body, "\n") + "\n", 0, "its -----END line is missing"},
		{"no end of the first", begin + "\n" + strings.Join(body, "\n") + "\n" + b, 2, ""},
		{"not base64", begin + "\n!!!!\n" + strings.Join(body, "\n") + "\n" + end + "\n", 0, "it is not proper base64"},
		{"garbage first", begin + "\nAAAA\n" + end + "\n" + a, 0, "certificate 1 of 2: malformed"},
		{"garbage last", a + begin + "\nAAAA\n" + end + "\n", 0, "certificate 2 of 2: malformed"},
		{"four dashes", strings.ReplaceAll(a, "-----", "----"), 0, "the file has no -----BEGIN line"},
	}
	files := map[string][]byte{}
	var s strings.Builder
	for i, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			certs, err := ParseCertificatesPEM([]byte(tt.text))
			if len(certs) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %d certificates and %v, want %d and %q", len(certs), err, tt.want, tt.err)
			}
			var none *ErrNoPEM
			if errors.As(err, &none) && none.Want != "certificate" {
				t.Errorf("got %+v", none)
			}
		})
		files[fmt.Sprint(i)] = []byte(tt.text)
		fmt.Fprintf(&s, "certtool --certificate-info --infile %d 2>/dev/null | grep -c Subject:.CN; true\n", i)
	}
	dir := writeFiles(t, files)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		counts := strings.Fields(shell(t, g, dir, s.String()))
		for i, tt := range cases {
			if counts[i] != fmt.Sprint(tt.want) {
				t.Errorf("%s: certtool finds %s certificates, want %d", tt.name, counts[i], tt.want)
			}
		}
	})
}

// TestNoPEMText: what a file holds is told in few words, whatever that is.
func TestNoPEMText(t *testing.T) {
	block := func(label string) string { return "-----BEGIN " + label + "-----\nAAAA\n-----END " + label + "-----\n" }
	var different strings.Builder
	for i := range 1000 {
		different.WriteString(block(fmt.Sprint("LABEL ", i)))
	}
	for name, tt := range map[string]struct{ text, want string }{
		"the same often":     {strings.Repeat(block("A"), 1000), "holds A"},
		"many":               {different.String(), "and 992 more"},
		"long label":         {block(strings.Repeat("x", 100_000)), "xxx..."},
		"control characters": {block("\x1b[31m"), `"\x1b[31m"`},
	} {
		_, err := ParseCertificatesPEM([]byte(tt.text))
		if text := fmt.Sprint(err); len(text) > 400 || !strings.HasSuffix(text, tt.want) {
			t.Errorf("%s: got %d octets: %.200q", name, len(text), text)
		}
	}
}

// TestPEMHasOneForm keeps what we write to RFC 7468.
func TestPEMHasOneForm(t *testing.T) {
	c := mold{cn: "a"}.root(t)
	text := c.PEM()
	if !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n")) || !bytes.HasSuffix(text, []byte("\n-----END CERTIFICATE-----\n")) {
		t.Errorf("got %s", text)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if len(line) > 64 {
			t.Errorf("line of %d octets", len(line))
		}
	}
}
