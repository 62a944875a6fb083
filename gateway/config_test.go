package gateway

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/internal/strictyaml"
	"virtls/object"
	"virtls/sasl"
)

var update = flag.Bool("update", false, "rewrite docs/gateway.schema.json")

const exampleConfig = `
objects:
- tls-creds-x509,id=tls0,endpoint=server,dir=DIR
- {qom-type: tls-creds-x509, id: tls1, endpoint: client, dir: DIR}
- authz-simple,id=list0,identity=bob
status: 127.0.0.1:9464
landlock: off
log-format: json
gateways:
- name: libvirt
  protocol: libvirt
  listen: tls://:16514
  listen-tls-creds: tls0
  connect: unix:///run/libvirt/libvirt-sock
  handshake-timeout: 5s
  allow:
  - {dn: "*,CN=admin", from: [192.0.2.0/24]}
  - from: [127.0.0.1]
- name: console
  listen: tcp://127.0.0.1:5555
  connect: tls://kvm2.example.com:5555
  connect-tls-creds: tls1
- name: disks
  protocol: nbd
  listen: nbds://
  listen-tls-creds: tls0
  connect: tcp://127.0.0.1
  exports:
  - {name: a, allow: [alice, "*,CN=backup"]}
  - {name: b, tls-authz: list0}
- name: screens
  protocol: vnc
  listen: tls://
  listen-tls-creds: tls0
  accounts: DIR/accounts
  sasl-authz: list0
  security: [X509SASL, X509Plain]
  machines: DIR/machines.yaml
  connect-tls-creds: tls1
  websocket: tls://:443
  websocket-tls-creds: tls0
  websocket-origin: [https://portal.example.com]
`

func TestConfig(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	must(t, sasl.NewAccounts().Save(filepath.Join(dir, "accounts")))
	must(t, os.WriteFile(filepath.Join(dir, "machines.yaml"), []byte("machines: [{name: vm1, connect: 'tls://kvm1.example.com'}]"), 0o600))
	c, err := ParseConfig("gateway.yaml", []byte(strings.ReplaceAll(exampleConfig, "DIR", dir)))
	must(t, err)
	r := &object.Registry{}
	defer r.Close()
	for _, o := range c.Objects {
		_, err := r.Add(string(o))
		must(t, err)
	}
	list, used, err := c.Options(r)
	must(t, err)
	if len(list) != 4 || len(used) != 2 || list[0].Protocol != Libvirt || list[0].HandshakeLimit != 5*time.Second || len(list[0].Access) != 2 || list[0].Access[1].DN != "" || list[2].Connect.Address.port != NBDPort || len(list[2].Exports) != 2 || list[2].Exports[1].Authz == nil || list[3].Listen.Address.port != VNCPort || len(list[3].VNC.Security) != 2 {
		t.Errorf("%+v", list)
	}
	for _, o := range list {
		_, err := New(o)
		must(t, err)
	}
}

func TestConfigRefused(t *testing.T) {
	const one = "gateways:\n- {name: a, listen: 'tcp://:1', connect: 'tcp://h:1'%}\n"
	for text, want := range map[string]string{
		"gatways: []":                                                 "1: there is no field \"gatways\"; did you mean gateways?",
		"gateways: []":                                                "there are no gateways",
		"gateways: {}":                                                "1: want a list",
		"gateways:\n- name: a\n  listn: x":                            "3: there is no field \"listn\"; did you mean listen?",
		"gateways:\n- name: a\n  listen: tcp://:1":                    "2: the gateway a needs listen and connect",
		"gateways:\n- listen: x\n  connect: y":                        "2: each gateway needs a name",
		strings.Replace(one, "%", ", protocol: vncc", 1):              "2: the protocol \"vncc\"",
		strings.Replace(one, "%", ", idle-timeout: soon", 1):          "2: ",
		strings.Replace(one, "%", ", allow: [{dn: [x]}]", 1):          "2: want one value",
		strings.Replace(one, "%", ", allow: []", 1):                   "2: the gateway a has an empty list of rules",
		strings.Replace(one, "%", ", allow: [{}]", 1):                 "2: the gateway a has a rule without dn and from",
		strings.Replace(one, "%", ", allow: [{dn: ''}]", 1):           "2: there is no value",
		strings.Replace(one, "%", ", allow: [{dn: a, from: []}]", 1):  "2: the gateway a has a rule with an empty list of networks",
		strings.Replace(one, "%", ", tls-authz: ''", 1):               "2: there is no value",
		strings.Replace(one, "%", ", listen-tls-creds: ", 1):          "2: there is no value",
		strings.Replace(one, "%", ", machines: x", 1):                 "2: the gateway a has settings that are for the protocol vnc alone",
		strings.Replace(one, "%", ", protocol: vnc, security: []", 1): "2: the gateway a has an empty list",
		strings.Replace(one, "%", ", exports: []", 1):                 "2: the gateway a has an empty list of exports",
		"landlock: requird\n" + strings.Replace(one, "%", "", 1):      `landlock: "requird" is not one of auto, off, required`,
		"log-format: jsn\n" + strings.Replace(one, "%", "", 1):        `log-format: "jsn" is not one of text, json`,
		"a: &x [1]\nb: *x":                                            "1: there is no field",
		"objects: &x []":                                              "1: anchors",
		"\t":                                                          "1: ",
		"a: b\n---\nc: d":                                             "second document",
		"- x":                                                         "1: want fields",
	} {
		_, err := ParseConfig("gateway.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), "gateway.yaml:") || !strings.Contains(err.Error(), want) || finding.Of(err).Code != "gateway-config" {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A file that everybody may write to says nothing of who may come in.
func TestConfigModes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(name, []byte("gateways:\n- {name: a, listen: 'tcp://:1', connect: 'tcp://h:1'}\n"), 0o600))
	for mode, fine := range map[os.FileMode]bool{0o600: true, 0o644: true, 0o664: true, 0o666: false, 0o602: false} {
		must(t, os.Chmod(name, mode))
		if _, err := ReadConfig(name); (err == nil) != fine {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := ReadConfig(name + ".missing"); finding.ExitCode(err) != finding.ExitUnable || !strings.Contains(finding.Of(err).Fix, "that is there") {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(exampleConfig))
	f.Add([]byte("gateways: [{name: a, listen: x, connect: y, allow: [{from: [::1]}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig("f", data)
		if err != nil {
			if finding.Of(err).Code != "gateway-config" {
				t.Error(err)
			}
			return
		}
		for _, g := range c.Gateways {
			ParseAddress(g.Listen, "1")
			ParseAddress(g.Connect, "")
		}
	})
}

// schema describes a type for editors.
func schema(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[Object]():
		return map[string]any{"type": []string{"string", "object"}}
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": "^([0-9.]+(ns|us|ms|s|m|h))+$"}
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[Protocol]():
		return map[string]any{"enum": Protocols}
	}
	switch t.Kind() {
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schema(t.Elem())}
	case reflect.Struct:
		fields := map[string]any{}
		schemaFields(t, fields)
		return map[string]any{"type": "object", "additionalProperties": false, "properties": fields}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "string"}
}

func schemaFields(t reflect.Type, fields map[string]any) {
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			schemaFields(f.Type, fields)
			continue
		}
		s := schema(f.Type)
		s["description"] = f.Tag.Get("help")
		if enum := f.Tag.Get("enum"); enum != "" {
			s["enum"] = strings.Split(strings.TrimPrefix(enum, ","), ",")
		}
		fields[name] = s
	}
}

// The schema and the guide have every field.
func TestConfigReference(t *testing.T) {
	for name, of := range map[string]struct {
		title string
		file  reflect.Type
	}{
		"gateway.schema.json":  {"virtls gateway --config", reflect.TypeFor[Config]()},
		"machines.schema.json": {"virtls gateway vnc --machines", reflect.TypeFor[machines.File]()},
	} {
		s := schema(of.file)
		s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", of.title
		b, err := json.MarshalIndent(s, "", "  ")
		must(t, err)
		b = append(b, '\n')
		file := filepath.Join("..", "docs", name)
		if *update {
			must(t, os.WriteFile(file, b, 0o644))
		}
		have, err := os.ReadFile(file)
		must(t, err)
		if string(have) != string(b) {
			t.Errorf("docs/%s is not what the code says; go test ./gateway -run Reference -update writes it", name)
		}
	}
	var guide []byte
	for _, page := range []string{"gateway.md", "gateway-vnc.md"} {
		text, err := os.ReadFile(filepath.Join("..", "docs", "guide", page))
		must(t, err)
		guide = append(guide, text...)
	}
	for name := range strictyaml.Fields(reflect.TypeFor[Config]()) {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide does not describe %s", name)
		}
	}
	for name := range strictyaml.Fields(reflect.TypeFor[machines.Machine]()) {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide does not describe %s of a machine", name)
		}
	}
	for name := range strictyaml.Fields(reflect.TypeFor[Defined]()) {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("the guide does not describe %s", name)
		}
	}
}

// A limit that the open files do not allow is told.
func TestFileLimit(t *testing.T) {
	o := Options{Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Connect: Side{Address: address(t, "tcp://127.0.0.1:1")}}
	for most, want := range map[int]bool{0: false, 5: false, maxByFiles(): false, maxByFiles() + 1: true} {
		o.MaxConnections = most
		g, err := New(o)
		must(t, err)
		told := slices.ContainsFunc(g.Findings(), func(f finding.Finding) bool { return f.Code == "gateway-files" })
		if told != want {
			t.Errorf("%d connections: told is %v, want %v", most, told, want)
		}
	}
}
