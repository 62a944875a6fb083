package object

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/qjson"
)

const cure = "--object "

func TestCorrections(t *testing.T) {
	tests := []struct {
		name, text, want string
		code             string // object-outdated unless it says otherwise
		d                Dialect
	}{
		{"verify", "tls-creds-x509,id=tls0,verify=off,dir=/x", "tls-creds-x509,id=tls0,verify-peer=off,dir=/x", "", Tools},
		{"verify in JSON", `{"qom-type": "tls-creds-x509", "id": "tls0", "verify": false}`, `'{"qom-type": "tls-creds-x509", "id": "tls0", "verify-peer": false}'`, "", System},
		{"endpoint in the id", "tls-creds-x509,id=tls0.endpoint=server,dir=/etc/pki/qemu", "tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu", "", System},
		{"endpoint and verify", "tls-creds-anon,id=tls0.endpoint=server,verify=yes", "tls-creds-anon,id=tls0,endpoint=server,verify-peer=yes", "", Tools},
		{"x509verify", "tls,x509verify=/etc/pki/qemu", "tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu,verify-peer=on", "", Tools},
		{"x509", "tls,x509=/etc/pki,,x,sasl", "tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki,,x,verify-peer=off", "", Tools},
		{"whole display", ":1,tls,x509verify=/x,acl", "tls-creds-x509,id=tls0,endpoint=server,dir=/x,verify-peer=on", "", System},
		{"tls", "tls", "tls-creds-anon,id=tls0,endpoint=server", "", Tools},
		{"tls with id", "tls,id=vnc", "tls-creds-anon,id=vnc,endpoint=server", "", Tools},
		{"acl", "acl,id=a,policy=x", "authz-list,id=a,rules.0.match=C=GB,,O=Example,,CN=client,rules.0.policy=allow", "", Tools},
		{"acl of the emulator", "acl", `'{"qom-type": "authz-list", "id": "auth0", "rules": [{"match": "C=GB,O=Example,CN=client", "policy": "allow"}]}'`, "", System},
		{"loaded", "tls-creds-anon,id=a,loaded=on", "tls-creds-anon,id=a", "", Tools},
		{"loaded alone", "tls-creds-anon,id=a,loaded", "tls-creds-anon,id=a", "", Tools},

		{"key alone", "tls-creds-anon,id=a,noverify-peer,endpoint=server", "tls-creds-anon,id=a,verify-peer=off,endpoint=server", "object-property", Tools},
		{"boolean", "tls-creds-anon,id=a,verify-peer=False", "tls-creds-anon,id=a,verify-peer=off", "object-property", Tools},
		{"boolean number", "tls-creds-anon,id=a,verify-peer=1", "tls-creds-anon,id=a,verify-peer=on", "object-property", System},
		{"boolean in JSON", `{"qom-type": "tls-creds-anon", "id": "a", "verify-peer": "off"}`, `'{"qom-type": "tls-creds-anon", "id": "a", "verify-peer": false}'`, "object-property", Tools},
		{"number in JSON", `{"qom-type": "tls-creds-anon", "id": "a", "verify-peer": 1}`, `'{"qom-type": "tls-creds-anon", "id": "a", "verify-peer": true}'`, "object-property", Tools},
		{"word", "tls-creds-anon,id=a,endpoint=Server", "tls-creds-anon,id=a,endpoint=server", "object-property", Tools},
		{"misspelt word", "tls-creds-anon,id=a,endpoint=sever", "tls-creds-anon,id=a,endpoint=server", "object-property", Tools},
		{"rule's word", "authz-list,id=a,rules.0.match=x,rules.0.policy=ALLOW", "authz-list,id=a,rules.0.match=x,rules.0.policy=allow", "object-property", Tools},
		{"underscore", "tls-creds-x509,id=a,verify_peer=on,dir=/", "tls-creds-x509,id=a,verify-peer=on,dir=/", "object-property", Tools},
		{"misspelt property", "tls-creds-x509,id=a,enpoint=server", "tls-creds-x509,id=a,endpoint=server", "object-property", Tools},
		{"misspelt type", "tls-creds-x590,id=a,dir=/", "tls-creds-x509,id=a,dir=/", "object-type", Tools},
		{"short type", "x509,id=a,dir=/", "tls-creds-x509,id=a,dir=/", "object-type", Tools},
		{"short list", "simple,id=a,identity=x", "authz-simple,id=a,identity=x", "object-type", Tools},
		{"no id", "tls-creds-x509,dir=/", "tls-creds-x509,id=tls0,dir=/", "object-id", Tools},
		{"secret without id", "secret,file=/x", "secret,id=sec0,file=/x", "object-id", Tools},
		{"list without id", `{"qom-type": "authz-list"}`, `'{"qom-type": "authz-list", "id": "auth0"}'`, "object-id", Tools},
		{"commas in a name", "authz-simple,id=a,identity=C=GB,O=Example,CN=fred", "authz-simple,id=a,identity=C=GB,,O=Example,,CN=fred", "object-property", Tools},
		{"commas in a rule", "authz-list,id=a,rules.0.match=C=GB,CN=*,rules.0.policy=allow,rules.0.format=glob", "'authz-list,id=a,rules.0.match=C=GB,,CN=*,rules.0.policy=allow,rules.0.format=glob'", "object-property", Tools},
		{"list of the emulator", "authz-list,id=a,rules.0.match=C=GB,,CN=x,rules.0.policy=allow", `'{"qom-type": "authz-list", "id": "a", "rules": [{"match": "C=GB,CN=x", "policy": "allow"}]}'`, "object-property", System},
		{"concealed", "secret,id=a,dta=x,data=hunter2", "", "object-property", Tools},
		{"concealed secret", "secret,id=a,data=hunter2,formt=raw", "secret,id=a,data=...,format=raw", "object-property", Tools},

		{"unknown type", "iothread,id=a", "", "object-type", Tools},
		{"unknown property", "tls-creds-anon,id=a,colour=red", "", "object-property", Tools},
		{"unknown word", "tls-creds-anon,id=a,endpoint=both", "", "object-property", Tools},
		{"unknown boolean", "tls-creds-anon,id=a,verify-peer=maybe", "", "object-property", Tools},
		{"malformed id", "tls-creds-anon,id=1", "", "object-id", Tools},
		{"malformed JSON", `{"qom-type"`, "", "object-malformed", Tools},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Registry{Dialect: tt.d}
			_, err := r.Add(tt.text)
			f, ok := errors.AsType[*finding.Failure](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			code := tt.code
			if code == "" {
				code = "object-outdated"
			}
			if f.Code != code {
				t.Errorf("code %s; want %s", f.Code, code)
			}
			got, isLine := strings.CutPrefix(f.Fix, cure)
			if tt.want == "" {
				isLine = isLine && !strings.HasPrefix(got, "TYPE,help") && !strings.HasPrefix(got, "help")
				if isLine {
					t.Errorf("corrected to %s", got)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	for text, want := range map[string]string{
		"tls-creds-anon,id=a,colour=red":         "one of id, dir, endpoint, priority, verify-peer",
		"tls-creds-anon,id=a,endpoint=both":      "client, server",
		"tls-creds-anon,id=a,verify-peer=maybe":  "on, off",
		"iothread,id=a":                          "one of authz-list, authz-list-file, authz-simple, secret, tls-creds-anon, tls-creds-psk, tls-creds-x509",
		"{'qom-type':'authz-simple','id':'a'}":   "",
		"{'qom-type':'secret','id':'a','x':'y'}": "one of id, data, file, format, iv, keyid",
	} {
		_, err := new(Registry).Add(text)
		if f, ok := errors.AsType[*finding.Failure](err); !ok || f.Want != want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// TestSecretsAreConcealed looks for the secret in all that is said of a text.
func TestSecretsAreConcealed(t *testing.T) {
	texts := []string{
		"secret,id=a,data=hunter2,hunter2",
		"secret,id=a,data=x,hunter2=y",
		"secret,id=a,data=x,nohunter2",
		"secret,id=a,data=x,hunter2.hunter2=y",
		"secret,id=a,data=x,a=b,a.hunter2=y",
		"secret,id=a,data=x,h=1,h.hunter2=y",
		"secret,id=a,data=x,hunter2.1=y",
		"secret,id=a,data=x,.hunter2=y",
		"secret,id=a,data=x," + strings.Repeat("hunter2", 20) + "=y",
		"secret,id=a,data=hunter2,format=hex",
		"secret,id=a,data=hunter2,file=x",
		"secret,id=a,data=hunter2,format=base64",
		"secret,id=a,data=hunter2,formt=raw",
		"secret,data=hunter2",
		"secret,id=1,data=hunter2",
		"secrt,id=a,data=hunter2",
		`{"qom-type":"secret","id":"a","data":"hunter2`,
		`{"qom-type":"secret","id":"a","data":"x\uhunter2"}`,
		`{"qom-type":"secret","id":"a","data":hunter2}`,
		`{"qom-type":"secret","id":"a","data":"x","hunter2":1}`,
		`{"qom-type":"secret","id":"a","dta":"hunter2"}`,
		"secret,id=a,data=hunter2,x",
		"secrt,id=a,data=x,hunter2",
		"secret,id=a,data",
		"secret,id=a,data=x,hunter2",
	}
	for _, text := range texts {
		for _, d := range []Dialect{Tools, System} {
			r := &Registry{Dialect: d}
			found, err := r.Add(text)
			if err != nil {
				found = append(found, finding.Of(err))
			}
			for _, f := range found {
				for _, s := range []string{f.Subject, f.Text, f.Got, f.Want, f.Fix, f.String()} {
					if strings.Contains(s, "hunter2") {
						t.Errorf("%s: %s", text, s)
					}
				}
			}
		}
	}
}

// check reads a text, and fails if what is said of it is not sound.
func check(t *testing.T, d Dialect, text string) {
	s, _, err := d.read(text)
	if err == nil {
		if !wellFormed(s.id) || s.make == nil {
			t.Errorf("%q was understood as %+v", text, s)
		}
		return
	}
	if help, ok := errors.AsType[*Help](err); ok {
		if help.Text == "" {
			t.Error("empty help")
		}
		return
	}
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok || f.Text == "" || f.Code == "" || f.Fix == "" {
		t.Fatalf("%q: %+v", text, err)
	}
	// A corrected line is good, unless it was concealed.
	if line, _ := d.correct(text); line != "" && !strings.Contains(line, "...") {
		if _, _, err := d.understand(line); err != nil {
			t.Errorf("%q was corrected to %q: %v", text, line, err)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, tt := range refusals {
		f.Add(tt.text, false)
		f.Add(tt.text, true)
	}
	f.Add("tls,x509verify=/etc/pki/qemu,acl", false)
	f.Add("authz-list,id=a,rules.0.match=C=GB,CN=*,rules.0.policy=allow,rules.0.format=glob", true)
	f.Fuzz(func(t *testing.T, text string, system bool) {
		d := Tools
		if system {
			d = System
		}
		check(t, d, text)
	})
}

// FuzzKeyval checks what the tools' syntax makes of a text: names, no empty
// lists, and the same again after it is written as options.
func FuzzKeyval(f *testing.F) {
	f.Add("authz-list,id=a,rules.0.match=a,,b,rules.1.match=c")
	f.Add("a.0.0=x,a.0.1=y,b.c.d=e,__com.x_y=z,help")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxText {
			return
		}
		obj, help, err := parseKeyval(text)
		if err != nil {
			if e, ok := errors.AsType[*qjson.ParameterError](err); !ok || e.Text == "" || obj != nil || help {
				t.Fatalf("%v, %v, %v", obj, help, err)
			}
			return
		}
		sound(t, obj)
		l := &line{obj: flat(nil, "", obj)}
		if !help && len(l.obj) > 0 && l.get(typeKey) == "" {
			again, _, err := parseKeyval(l.String())
			if diff := cmp.Diff(obj, again); err != nil || diff != "" {
				t.Errorf("%q, written as %q: %v %s", text, l, err, diff)
			}
		}
	})
}

func sound(t *testing.T, v any) {
	switch v := v.(type) {
	case string:
	case qjson.Object:
		for _, m := range v {
			if nameLen(m.Key) != len(m.Key) || m.Key == "" {
				t.Errorf("key %q", m.Key)
			}
			sound(t, m.Value)
		}
	case []any:
		if len(v) == 0 {
			t.Error("empty list")
		}
		for _, e := range v {
			sound(t, e)
		}
	default:
		t.Errorf("%T", v)
	}
}

// flat writes an object with dotted keys.
func flat(to qjson.Object, path string, v any) qjson.Object {
	switch v := v.(type) {
	case string:
		return append(to, qjson.Member{Key: path, Value: v})
	case qjson.Object:
		for _, m := range v {
			to = flat(to, strings.TrimPrefix(path+"."+m.Key, "."), m.Value)
		}
	case []any:
		for i, e := range v {
			to = flat(to, fmt.Sprint(path, ".", i), e)
		}
	}
	return to
}
