package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"virtls/finding"
	"virtls/internal/readfile"
	"virtls/internal/strictyaml"
	"virtls/layout"
	"virtls/object"
)

var kindConfig = finding.Define("gateway-config", finding.Error,
	"the configuration of the gateways cannot be used",
	"correct the line; docs/guide/gateway.md describes the file, and docs/gateway.schema.json is for editors")

// A Config is a configuration file: several gateways from shared objects.
type Config struct {
	Objects  []Object  `yaml:"objects" help:"Credentials and access lists as QEMU has them: the text of --object, or a mapping with qom-type and id."`
	Process  Process   `yaml:",inline"`
	Gateways []Defined `yaml:"gateways" help:"The gateways."`
}

// Process are the settings of the process that runs gateways.
type Process struct {
	Status         string `yaml:"status" help:"Serve metrics and a status page here: /metrics for Prometheus, /status as JSON." placeholder:"HOST:PORT"`
	StatusAnywhere bool   `yaml:"status-anywhere" help:"Let the status page listen on other addresses than loopback. It tells everybody who asks which clients are connected."`
	LogFormat      string `yaml:"log-format" help:"Log as text or as JSON (default: text)." enum:",text,json" default:"" placeholder:"FORMAT"`
	Landlock       string `yaml:"landlock" help:"Give up all rights to files and ports that the gateways do not need, by Landlock: auto (where the kernel has it, the default), off or required." enum:",auto,off,required" default:"" placeholder:"WHEN"`
}

// Defined is one gateway of a configuration.
type Defined struct {
	Endpoint `yaml:",inline"`
	Settings `yaml:",inline"`
	VNC      VNCSettings `yaml:",inline"`
	Exports  []Exported  `yaml:"exports" help:"Of NBD: which exports there are, and for whom. Without rules all are there for everybody who comes in."`
	Allow    []Allow     `yaml:"allow" help:"Who may come in: a client whom one of these rules matches. Without rules everybody whose certificate is good."`
}

// Allow is a rule of an access list.
type Allow struct {
	DN   string   `yaml:"dn" help:"Pattern for the name in the order of the certificate; * is any run, ? one character."`
	From []string `yaml:"from" help:"Networks or addresses that the client may come from."`
}

// An Object is the text that defines an object.
type Object string

// UnmarshalYAML takes QEMU's text, or a mapping, which is QEMU's JSON form.
func (o *Object) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = Object(n.Value)
		return nil
	}
	var v map[string]any
	if err := n.Decode(&v); err != nil {
		return err
	}
	text, err := json.Marshal(v)
	*o = Object(text)
	return err
}

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// ReadConfig reads a configuration file, unless everybody may write to it.
func ReadConfig(name string) (*Config, error) {
	unreadable := func(err error) error {
		return kindConfig.Found(name, "").WithText("the configuration cannot be read").WithFix("name a file that is there and that this user may read").Unable(err)
	}
	data, err := readfile.Guarded(name, maxConfig, 0o002)
	if open, ok := errors.AsType[*readfile.ModeError](err); ok {
		return nil, kindConfig.Found(name, fmt.Sprintf("mode %04o", open.Mode)).WithText("every user of this machine may write to the configuration").WithFix("chmod o-w %s", layout.ShellQuote(name)).Wrong()
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return ParseConfig(name, data)
}

// ParseConfig reads the text of a configuration file strictly: an unknown field
// is an error that names the nearest known one. Errors have FILE:LINE as subject.
func ParseConfig(name string, data []byte) (*Config, error) {
	bad := func(line int, format string, args ...any) error {
		return kindConfig.Found(fmt.Sprintf("%s:%d", name, line), "").WithText(format, args...).Wrong()
	}
	c := &Config{}
	doc, err := strictyaml.Decode(data, maxConfig, c)
	if e, ok := errors.AsType[*strictyaml.Error](err); ok {
		return nil, bad(e.Line, "%s", e.Text)
	}
	if text := c.Process.unknown(); text != "" {
		return nil, bad(1, "%s", text)
	}
	names := map[string]bool{}
	for i := range c.Gateways {
		g := &c.Gateways[i]
		line := doc.Line("gateways", i)
		switch {
		case g.Name == "" || names[g.Name]:
			return nil, bad(line, "each gateway needs a name of its own")
		case g.Protocol != "" && !slices.Contains(Protocols, g.Protocol):
			return nil, bad(line, "the protocol %q is not known; there are tls, libvirt, nbd and vnc", g.Protocol)
		case g.Protocol != VNC && (g.Listen == "" || g.Connect == ""):
			return nil, bad(line, "the gateway %s needs listen and connect", g.Name)
		case g.Protocol != VNC && !g.VNC.isZero():
			return nil, bad(line, "the gateway %s has settings that are for the protocol vnc alone", g.Name)
		}
		names[g.Name] = true
		if text := g.tooWide(); text != "" {
			return nil, bad(line, "the gateway %s %s", g.Name, text)
		}
	}
	if len(c.Gateways) == 0 {
		return nil, bad(1, "there are no gateways")
	}
	return c, nil
}

// unknown names a setting whose value is none of those that there are: "requird"
// must not be less than required.
func (p Process) unknown() string {
	for f := range reflect.TypeFor[Process]().Fields() {
		enum, value := f.Tag.Get("enum"), reflect.ValueOf(p).FieldByIndex(f.Index)
		if enum != "" && !slices.Contains(strings.Split(enum, ","), value.String()) {
			return fmt.Sprintf("%s: %q is not one of %s", f.Tag.Get("yaml"), value, strings.ReplaceAll(strings.Trim(enum, ","), ",", ", "))
		}
	}
	return ""
}

// tooWide says what of the access list would let in everybody without saying so,
// as what is left of a template whose values are missing.
func (d *Defined) tooWide() string {
	if d.Allow != nil && len(d.Allow) == 0 {
		return "has an empty list of rules (allow); leave it out to let in everybody whose certificate is good"
	}
	if d.VNC.Security != nil && len(d.VNC.Security) == 0 || d.VNC.WebsocketOrigin != nil && len(d.VNC.WebsocketOrigin) == 0 {
		return "has an empty list (security or websocket-origin); leave it out"
	}
	if d.Exports != nil && len(d.Exports) == 0 {
		return "has an empty list of exports; leave it out to show all of them to everybody who comes in"
	}
	for _, e := range d.Exports {
		if e.Allow != nil && len(e.Allow) == 0 {
			return fmt.Sprintf(`has an empty list of names (allow) for the export %q; "*" is for every name`, e.Name)
		}
	}
	for _, rule := range d.Allow {
		if rule.DN == "" && len(rule.From) == 0 {
			return `has a rule without dn and from; dn: "*" is for every name`
		}
		if rule.From != nil && len(rule.From) == 0 {
			return "has a rule with an empty list of networks (from); leave it out for clients from anywhere"
		}
	}
	return ""
}

// Options makes the options of all gateways, with the credentials that they use,
// each once.
func (c *Config) Options(r *object.Registry) (list []Options, used []Credential, err error) {
	known := map[string]bool{}
	for _, g := range c.Gateways {
		var access Access
		for _, rule := range g.Allow {
			var names []string
			if rule.DN != "" {
				names = []string{rule.DN}
			}
			rules, err := AccessFor(names, rule.From)
			if err != nil {
				return nil, nil, err
			}
			access = append(access, rules...)
		}
		o, more, err := g.Options(r, access)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, o)
		for _, m := range more {
			if !known[m.ID] {
				known[m.ID] = true
				used = append(used, m)
			}
		}
	}
	return list, used, nil
}
