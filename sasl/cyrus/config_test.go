package cyrus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"virtls/finding"
	"virtls/layout"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", maxLine-len("keytab: "))
	for _, tt := range []struct {
		name, text string
		want       []Setting
		wrong      string // found; empty if the file is good
	}{
		{"as documented", "# QEMU\nmech_list: gssapi\n\nkeytab: /etc/qemu/krb5.tab\n", []Setting{{"mech_list", "gssapi", 2}, {"keytab", "/etc/qemu/krb5.tab", 4}}, ""},
		{"blanks around", "  \tMech_List:\tscram-sha-256  plain \r\n  # comment\n", []Setting{{"mech_list", "scram-sha-256  plain", 1}}, ""},
		{"no blank after the colon", "mech_list:plain", []Setting{{"mech_list", "plain", 1}}, ""},
		{"a comment behind", "mech_list: plain # not one", []Setting{{"mech_list", "plain # not one", 1}}, ""},
		{"a colon in the value", "sql_hostnames: a:1", []Setting{{"sql_hostnames", "a:1", 1}}, ""},
		{"twice", "keytab: a\nkeytab: b", []Setting{{"keytab", "a", 1}, {"keytab", "b", 2}}, ""},
		{"behind a NUL", "keytab: a\x00b\nmech_list: c", []Setting{{"keytab", "a", 1}, {"mech_list", "c", 2}}, ""},
		{"as long as a line can be", "keytab: " + long, []Setting{{"keytab", long, 1}}, ""},
		{"too long a line", "keytab: " + long + "sasldb_path: x", []Setting{{"keytab", long, 1}, {"sasldb_path", "x", 1}}, ""},
		{"no colon", "mech_list gssapi", nil, `' ' after the key "mech_list"`},
		{"a blank before the colon", "mech_list : gssapi", nil, `' ' after the key "mech_list"`},
		{"equals", "mech_list=gssapi", nil, `'=' after the key "mech_list"`},
		{"nothing but a key", "mech_list", nil, "no colon"},
		{"no value", "mech_list:  \nkeytab: x", nil, `no value for "mech_list"`},
		{"a byte order mark", "\ufeffmech_list: gssapi", nil, `after the key ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("qemu.conf", []byte(tt.text))
			if tt.wrong != "" {
				if f := finding.Of(err); err == nil || f.Code != "sasl-conf-malformed" || !strings.Contains(f.Got, tt.wrong) || f.Subject != "qemu.conf:1" {
					t.Errorf("got %v; want %q", err, tt.wrong)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(tt.want, c.Settings); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := Parse("qemu.conf", make([]byte, maxConfig+1)); err == nil {
		t.Error("a file without bounds is read")
	}
}

func TestCheck(t *testing.T) {
	c, err := Parse("qemu.conf", []byte("mech_lst: a\nmech_list: b\nmech_list: c\nwhatever: d\nkeytab: e\n"))
	must(t, err)
	var got []string
	for _, f := range c.Check() {
		got = append(got, f.Subject+" "+f.Code+" "+f.Want)
	}
	want := []string{"qemu.conf:1 sasl-conf-unknown-key mech_list", "qemu.conf:3 sasl-conf-key-twice the one in line 2", "qemu.conf:4 sasl-conf-unknown-key "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.Value("mech_list") != "b" || c.Value("nothing") != "" {
		t.Errorf("got %q", c.Value("mech_list"))
	}
}

func TestMechanisms(t *testing.T) {
	for text, want := range map[string][]string{
		"mech_list: scram-sha-256\tGSSAPI": {"SCRAM-SHA-256", "GSSAPI"}, "mech_list: gssapi,plain": {"GSSAPI,PLAIN"}, "keytab: x": nil,
	} {
		c, err := Parse("", []byte(text))
		must(t, err)
		if got := c.Mechanisms(); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q", text, got)
		}
	}
	if _, ok := MechanismOf("SCRAM-SHA-256"); !ok {
		t.Error("SCRAM is unknown")
	}
	p := FindPlugins(func(dir string) []string {
		if dir == "/usr/lib64/sasl2" {
			return []string{"libplain.so", "libplain.so.3", "libscram.so.3.0.0"}
		}
		return nil
	})
	if !p.Has("libplain") || p.Has("libscram") || !Plugins(nil).Has("libscram") {
		t.Errorf("plugins: %q", p)
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"etc/sasl2/qemu.conf": "mech_list: a", "etc/sasl/qemu.conf": "mech_list: b", "mine/qemu.conf": "mech_list: c", "bad/qemu.conf": "x"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	for search, want := range map[string]string{"": "a", "/nowhere:/mine:/etc/sasl2": "c", "/etc/sasl": "b", "/nowhere": ""} {
		c, err := Find(layout.Root(root), search, "qemu")
		must(t, err)
		if c.Value("mech_list") != want {
			t.Errorf("%q: %+v", search, c)
		}
	}
	if _, err := Find(layout.Root(root), "/bad:/mine", "qemu"); finding.Of(err).Code != "sasl-conf-malformed" {
		t.Errorf("a bad file: %v", err)
	}
	t.Setenv("SASL_CONF_PATH", filepath.Join(root, "mine"))
	if c, err := FindHere("qemu"); err != nil || c.Value("mech_list") != "c" {
		t.Errorf("here: %+v, %v", c, err)
	}
}

func keytabOf(t testing.TB, names ...string) []byte {
	t.Helper()
	keys := keytab.New()
	for _, name := range names {
		must(t, keys.AddEntry(name, "EXAMPLE.COM", "secret", time.Now(), 1, etypeID.AES128_CTS_HMAC_SHA1_96))
	}
	data, err := keys.Marshal()
	must(t, err)
	return data
}

func TestPrincipals(t *testing.T) {
	got, err := Principals(keytabOf(t, "vnc/host", "qemu/host", "vnc/host"))
	must(t, err)
	if want := []string{"qemu/host@EXAMPLE.COM", "vnc/host@EXAMPLE.COM"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, data := range []string{"", "x", "\x05\x02\x00\x00\x00\x10", "-----BEGIN"} {
		if list, err := Principals([]byte(data)); err == nil && list != nil {
			t.Errorf("%q has %q", data, list)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# x\nmech_list: a b\r\nKEYTAB:y\x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("qemu.conf", data)
		if err != nil {
			return
		}
		c.Check()
		var text strings.Builder
		for _, s := range c.Settings {
			text.WriteString(s.Key + ": " + s.Value + "\n")
		}
		again, err := Parse("qemu.conf", []byte(text.String()))
		if err != nil || len(again.Settings) < len(c.Settings) {
			t.Errorf("%q is read as %q: %v", data, text.String(), err)
		}
	})
}

func FuzzPrincipals(f *testing.F) {
	f.Add(keytabOf(f, "vnc/host"))
	f.Fuzz(func(t *testing.T, data []byte) { Principals(data) })
}
