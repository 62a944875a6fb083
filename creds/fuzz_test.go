package creds

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"virtls/finding"
	"virtls/psk"
)

func FuzzParseDHParams(f *testing.F) {
	f.Add(testDH)
	f.Add([]byte("-----BEGIN DH PARAMETERS-----\nMAYCARcCAQU=\n-----END DH PARAMETERS-----\n"))
	f.Add([]byte("-----BEGIN DH PARAMETERS-----\nMAYCARcCAQU\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDHParams(data)
		if (d == nil) != (err != nil) {
			t.Fatal(d, err)
		}
		if d == nil {
			return
		}
		if d.P.Sign() <= 0 || d.G.Sign() <= 0 {
			t.Error(d.P, d.G)
		}
		if bits := d.P.BitLen(); d.Usable() == nil && (bits < minDHBits || bits > maxDHBits || d.G.Cmp(d.P) >= 0) {
			t.Error(d.P, d.G)
		}
	})
}

// qemuLookup is how QEMU's clients search a PSK file (crypto/tlscredspsk.c):
// nil for a user who is not there, else what follows the colon.
func qemuLookup(content, username string) *string {
	if i := strings.IndexByte(content, 0); i >= 0 {
		content = content[:i]
	}
	for _, line := range strings.Split(content, "\n") {
		if len(line) > len(username) && line[:len(username)] == username && line[len(username)] == ':' {
			key := line[len(username)+1:]
			return &key
		}
	}
	return nil
}

func FuzzPSKClient(f *testing.F) {
	f.Add("qemu:"+keyA+"\n", "qemu")
	f.Add("# comment\nother:"+keyB+"\r\nqemu:"+keyA, "qemu")
	f.Add("a:b:"+keyA+"\n", "a:b")
	f.Add("qemu:xyz\nqemu:"+keyA, "qemu")
	f.Fuzz(func(t *testing.T, content, username string) {
		if username == "" || strings.ContainsAny(content+username, "\x00\n") && strings.ContainsAny(username, "\x00\n") || strings.Contains(content, "\x00") {
			return // no line can hold them; C ends there
		}
		file, err := psk.Parse("keys.psk", []byte(content))
		if err != nil {
			return
		}
		key, err := file.ClientKey(username)
		digits := qemuLookup(content, username)
		switch {
		case digits == nil:
			if codeOf(err) != codeUserUnknown {
				t.Errorf("nobody has %v, %v", key, err)
			}
		case err == nil && !strings.EqualFold(key.Hex(), *digits):
			t.Errorf("another key than %q", *digits)
		case err != nil:
			if raw, bad := hex.DecodeString(*digits); bad == nil && len(raw) >= psk.MinKeySize {
				t.Errorf("%q is refused: %v", *digits, err)
			}
			if strings.Contains(err.Error(), *digits) && len(*digits) > 8 && *digits != username {
				t.Errorf("the error tells the key: %v", err)
			}
		}
	})
}

func FuzzLoadSecret(f *testing.F) {
	f.Add([]byte("letmein"), 0, []byte(nil), "")
	f.Add([]byte("bGV0bWVpbg=="), 1, []byte(nil), "")
	f.Add([]byte(b64(encrypt([]byte("letmein")))), 1, masterKey, b64(masterIV))
	f.Add(encrypt([]byte("letmein")), 0, masterKey, b64(masterIV))
	f.Fuzz(func(t *testing.T, data []byte, format int, key []byte, iv string) {
		o := SecretOptions{Data: append([]byte{}, data...), Format: SecretFormat(format & 1), IV: iv}
		if key != nil {
			o.Key = &Secret{func() []byte { return key }}
		}
		s, err := LoadSecret(o)
		if (s == nil) != (err != nil) {
			t.Fatal(s, err)
		}
		if want, bad := base64.StdEncoding.DecodeString(string(data)); bad == nil && o.Format == Base64 && key == nil &&
			!bytes.ContainsRune(data, '\r') && (err != nil || !bytes.Equal(s.Bytes(), want)) {
			t.Errorf("%q is %q, %v; want %q", data, s.Bytes(), err, want)
		}
		if s != nil && len(s.Bytes()) > len(data) {
			t.Errorf("%d bytes from %d", len(s.Bytes()), len(data))
		}
	})
}

// memory shows files that are nowhere on disk.
type memory fstest.MapFS

func (m memory) Stat(name string) (fs.FileInfo, error) {
	return fstest.MapFS(m).Stat(strings.TrimPrefix(name, "/"))
}

func (m memory) ReadFile(name string) ([]byte, error) {
	return fstest.MapFS(m).ReadFile(strings.TrimPrefix(name, "/"))
}

// Whatever the files hold, every consumer comes to a judgement that explains itself.
func FuzzJudge(f *testing.F) {
	for _, s := range setups() {
		if len(s.files["ca"])+len(s.files["cert"])+len(s.files["dh"]) < 1<<13 {
			f.Add(s.files["ca"], s.files["cert"], s.files["key"], s.files["cert0"], s.files["key0"], append(s.files["crl"], s.files["dh"]...))
		}
	}
	var extremes []Consumer // those that differ most
	for _, c := range Consumers() {
		switch c.Version {
		case "7.2", "11.1", "9.0", "12.8":
			extremes = append(extremes, c)
		}
	}
	f.Fuzz(func(t *testing.T, ca, cert, key, cert0, key0, extra []byte) {
		for _, c := range extremes {
			names := namesOf(c)
			view := memory{}
			add := func(name string, data []byte) {
				if name != "" && data != nil {
					view[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: data}
				}
			}
			add(names.CA, ca)
			add(names.CRL, extra)
			add(names.DH, extra)
			add(names.Pairs[0].Cert, cert)
			add(names.Pairs[0].Key, key)
			add(names.Pairs[1].Cert, cert0)
			add(names.Pairs[1].Key, key0)
			x, j := c.Load(names, JudgeOptions{View: view, Now: testNow, Password: []byte("secret")})
			if p := j.Refused(); j.Accepted != (p == nil) || p != nil && p.Text == "" {
				t.Fatalf("%s: %+v", c, j)
			}
			for _, p := range j.Problems {
				if p.Finding.Code == "" || p.Finding.Subject == "" || p.Finding.Fix == "" {
					t.Errorf("%s: %+v", c, p)
				}
			}
			for _, w := range x.Check(testNow) {
				if w.Severity != finding.Warning {
					t.Errorf("%s: %+v", c, w)
				}
			}
			if j.Accepted && c.Endpoint == Server && len(x.Identities) == 0 {
				t.Errorf("%s accepts a server without an identity", c)
			}
		}
	})
}

func FuzzConsumerFor(f *testing.F) {
	f.Add("7.2.22")
	f.Add("1:7.2+dfsg-7+deb12u18+b3")
	f.Add("11.3-3+deb13u3")
	f.Fuzz(func(t *testing.T, version string) {
		for _, name := range ConsumerNames() {
			c, err := ConsumerFor(name, version)
			if err != nil {
				continue
			}
			if again, err := ConsumerFor(name, c.Version); err != nil || again != c {
				t.Errorf("%q is %s, which is %s, %v", version, c, again, err)
			}
		}
	})
}
