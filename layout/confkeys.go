package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"virtls/finding"
)

// A Key is one setting as its reader wants it.
type Key[T any] struct {
	Set   bool
	Where string // FILE:LINE if set
	Drop  string // the command that makes a comment of it; empty if other settings share its lines
	Value T
}

var (
	kindConfType = finding.Define("conf-type", finding.Error,
		"the setting has a value of the wrong type, with which libvirt does not start",
		"write the value as the comment above the setting in libvirt's own file shows")
	kindConfUnreadable = finding.Define("conf-unreadable", finding.Error,
		"the configuration file cannot be read",
		"make it a regular file that its daemon can read")
	kindConfTwice = finding.Define("conf-set-twice", finding.Warning,
		"the setting occurs more than once; libvirt takes the first and says nothing",
		"delete the lines that are not meant")
	kindTooNew = finding.Define("conf-key-too-new", finding.Warning,
		"this libvirt does not know the setting and ignores it",
		"delete the line or upgrade libvirt")
	kindConfUnknown = finding.Define("conf-key-unknown", finding.Warning,
		"libvirt knows no such setting and ignores it without a word",
		"correct the name or delete the line")
)

// or returns the first of two settings that is set.
func (k Key[T]) or(other Key[T]) Key[T] {
	if k.Set {
		return k
	}
	return other
}

// confReader fetches typed settings and remembers what is wrong with them.
type confReader struct {
	conf     *Conf
	rules    rules
	known    []string // what has been asked for
	findings []finding.Finding
}

// openConf reads a configuration file. One that is not there is empty. After a
// syntax error it is empty, too, and the finding says so.
func openConf(v View, file string, libvirt Version) *confReader {
	r := &confReader{conf: &Conf{File: file}, rules: rulesOf(libvirt)}
	data, err := v.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r
	}
	if err != nil {
		r.findings = append(r.findings, kindConfUnreadable.Found(file, reason(err)))
		return r
	}
	conf, err := ParseConf(file, data)
	if err != nil {
		r.findings = append(r.findings, finding.Of(err))
		return r
	}
	r.conf = conf
	return r
}

// reason is an error of a file without its name, which the subject has.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (r *confReader) where(s Setting) string { return fmt.Sprintf("%s:%d", r.conf.File, s.Line) }

// drop is the command that makes a comment of a setting and of nothing else.
func (r *confReader) drop(s Setting) string {
	shared := func(o Setting) bool {
		return (o.Name != s.Name || o.Line != s.Line) && o.Line <= s.Last && s.Line <= o.Last
	}
	if slices.ContainsFunc(r.conf.Settings, shared) {
		return ""
	}
	lines := fmt.Sprint(s.Line)
	if s.Last > s.Line {
		lines += fmt.Sprintf(",%d", s.Last)
	}
	return fmt.Sprintf("sed -i '%ss/^/#/' %s", lines, ShellQuote(r.conf.File))
}

// appended is the command that adds a setting to a file, whose last line may
// lack its end.
func appended(file, name, value string) string {
	return fmt.Sprintf("printf '\\n%%s\\n' %s >> %s", ShellQuote(name+" = "+value), ShellQuote(file))
}

// mended gives a finding a command, if there is one.
func mended(f finding.Finding, command string) finding.Finding {
	if command == "" {
		return f
	}
	return f.WithFix("%s", command)
}

// fetch gets a setting by convert, which returns what libvirt says when the
// value does not suit. want shows one that would.
func fetch[T any](r *confReader, name, want string, convert func(Value) (T, string)) (k Key[T]) {
	r.known = append(r.known, name)
	s, ok := r.conf.Get(name)
	if !ok {
		return k
	}
	value, complaint := convert(s.Value)
	if complaint != "" {
		f := kindConfType.Found(r.where(s), s.Value.String()).WithText(complaint, name)
		r.findings = append(r.findings, f.WithWant(name+" = "+want, ""))
		return k
	}
	return Key[T]{Set: true, Where: r.where(s), Drop: r.drop(s), Value: value}
}

// since fetches a setting that only some releases know, as present tells. The
// others do not even look at its type.
func since[T any](r *confReader, release Version, present bool, fetch func(string) Key[T], name string) Key[T] {
	if present {
		return fetch(name)
	}
	r.known = append(r.known, name)
	if s, ok := r.conf.Get(name); ok {
		r.findings = append(r.findings, mended(kindTooNew.Found(r.where(s), name).WithWant("libvirt "+string(release)+" or later", ""), r.drop(s)))
	}
	return Key[T]{}
}

func (r *confReader) text(name string) Key[string] {
	return fetch(r, name, `"TEXT"`, func(v Value) (string, string) {
		if v.Type != StringValue {
			return "", "expected a string for '%s' parameter"
		}
		return v.Text, ""
	})
}

func (r *confReader) flag(name string) Key[bool] {
	return fetch(r, name, "0 or 1", func(v Value) (bool, string) {
		switch {
		case v.Type != IntegerValue || v.Number < 0:
			return false, "expected a bool for '%s' parameter"
		case v.Number > 1:
			return false, "value for '%s' parameter must be 0 or 1"
		}
		return v.Number == 1, ""
	})
}

func (r *confReader) texts(name string) Key[[]string] {
	return fetch(r, name, `["TEXT", ...]`, func(v Value) ([]string, string) {
		const complaint = "expected a string list for '%s' parameter"
		if v.Type != ListValue {
			return nil, complaint
		}
		list := []string{}
		for _, item := range v.List {
			if item.Type != StringValue {
				return nil, complaint
			}
			list = append(list, item.Text)
		}
		return list, ""
	})
}

// maxRest bounds what is said of settings that nobody asked for.
const maxRest = 50

// rest judges what nobody asked for, as far as its name speaks of TLS.
func (r *confReader) rest() {
	seen := map[string]Setting{}
	limit := len(r.findings) + maxRest
	for _, s := range r.conf.Settings {
		if len(r.findings) == limit {
			return
		}
		first, again := seen[s.Name]
		seen[s.Name] = s
		switch known := slices.Contains(r.known, s.Name); {
		case known && again:
			f := kindConfTwice.Found(r.where(s), s.Name).WithText("%s is set again; libvirt takes line %d and says nothing", s.Name, first.Line)
			r.findings = append(r.findings, mended(f, r.drop(s)))
			seen[s.Name] = first
		case !known && !again && aboutTLS(s.Name):
			f := mended(kindConfUnknown.Found(r.where(s), s.Name), r.drop(s))
			near := r.nearest(s.Name)
			switch {
			case strings.HasPrefix(near, "tls_no_"): // no command of ours switches checks off
				f = f.WithWant(near, "")
			case near != "":
				f = f.WithWant(near, "").WithFix("sed -i '%ds/%s/%s/' %s", s.Line, s.Name, near, ShellQuote(r.conf.File))
			}
			r.findings = append(r.findings, f)
		}
	}
}

// nearest returns the setting that a misspelt one most likely meant. A service
// that has no such setting did not mean another service's.
func (r *confReader) nearest(name string) string {
	near := finding.Nearest(name, r.known)
	prefix, _, _ := strings.Cut(name, "_")
	if of := func(known string) bool { return strings.HasPrefix(known, prefix+"_") }; slices.ContainsFunc(r.known, of) && !of(near) {
		return ""
	}
	return near
}

// tlsWords are the words that names of TLS settings are made of, and no others.
var tlsWords = []string{"tls", "x509", "ca", "crl", "cert", "certs", "key", "keys"}

func aboutTLS(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "_"), func(word string) bool { return slices.Contains(tlsWords, word) })
}

// String returns the value as a configuration file has it.
func (v Value) String() string {
	switch v.Type {
	case StringValue:
		return `"` + v.Text + `"`
	case IntegerValue:
		return fmt.Sprint(v.Number)
	}
	var list []string
	for _, item := range v.List {
		list = append(list, item.String())
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// A DaemonConf is what libvirtd.conf or virtproxyd.conf say about TLS.
type DaemonConf struct {
	File      string
	ListenTLS Key[bool]   // unset: on for libvirtd, if started with --listen, off for virtproxyd
	TLSPort   Key[string] // unset: 16514
	AuthTLS   Key[string] // unset: "none"

	CAFile    Key[string]
	CRLFile   Key[string]
	CertFile  Key[string]
	KeyFile   Key[string]
	CertFiles Key[[]string] // libvirt 11.10 and later
	KeyFiles  Key[[]string]

	NoSanity  Key[bool] // tls_no_sanity_certificate
	NoVerify  Key[bool] // tls_no_verify_certificate
	AllowedDN Key[[]string]
	Priority  Key[string]
}

// The places of libvirt's configuration files.
const (
	LibvirtdConf   = "/etc/libvirt/libvirtd.conf"
	VirtproxydConf = "/etc/libvirt/virtproxyd.conf"
	QEMUConfFile   = "/etc/libvirt/qemu.conf"
	LibvirtConf    = "/etc/libvirt/libvirt.conf"
)

// ReadDaemonConf reads libvirtd.conf or virtproxyd.conf as a release of libvirt
// does. A file that is not there sets nothing, nor does one that the daemon
// refuses. Findings of severity error keep the daemon from starting.
func ReadDaemonConf(v View, file string, libvirt Version) (DaemonConf, []finding.Finding) {
	r := openConf(v, file, libvirt)
	d := DaemonConf{
		File:      file,
		ListenTLS: r.flag("listen_tls"),
		TLSPort:   r.text("tls_port"),
		AuthTLS:   r.text("auth_tls"),
		CAFile:    r.text("ca_file"),
		CRLFile:   r.text("crl_file"),
		CertFile:  r.text("cert_file"),
		KeyFile:   r.text("key_file"),
		CertFiles: since(r, "11.10", r.rules.indexed, r.texts, "cert_files"),
		KeyFiles:  since(r, "11.10", r.rules.indexed, r.texts, "key_files"),
		NoSanity:  r.flag("tls_no_sanity_certificate"),
		NoVerify:  r.flag("tls_no_verify_certificate"),
		AllowedDN: r.texts("tls_allowed_dn_list"),
		Priority:  r.text("tls_priority"),
	}
	r.rest()
	return d, r.findings
}

// A ClientConf is what libvirt.conf says about TLS.
type ClientConf struct {
	File       string
	Priority   Key[string] // tls_priority
	URIDefault Key[string]
}

// ReadClientConf reads libvirt.conf as [ReadDaemonConf] does.
func ReadClientConf(v View, file string) (ClientConf, []finding.Finding) {
	r := openConf(v, file, "")
	c := ClientConf{File: file, Priority: r.text("tls_priority"), URIDefault: r.text("uri_default")}
	r.rest()
	return c, r.findings
}

// A QEMUConf is what qemu.conf says about TLS and about whom QEMU runs as.
type QEMUConf struct {
	File         string
	User, Group  Key[string]
	MigrateForce Key[bool] // migrate_tls_force
	VNC          VNCConf
	Services     map[Service]ServiceConf
}

// A VNCConf is what qemu.conf says about logins to VNC servers.
type VNCConf struct {
	SASL    Key[bool]   // vnc_sasl
	SASLDir Key[string] // vnc_sasl_dir, which QEMU gets as SASL_CONF_PATH
	Unix    Key[bool]   // vnc_auto_unix_socket: no network
}

// A ServiceConf is what qemu.conf says about one of libvirt's services. Its
// defaults stand under [QEMU]. What a service has no setting for is unset.
type ServiceConf struct {
	Enable   Key[bool]   // vnc_tls
	Dir      Key[string] // vnc_tls_x509_cert_dir
	Verify   Key[bool]   // vnc_tls_x509_verify
	Secret   Key[string] // vnc_tls_x509_secret_uuid, of the keys' password
	Priority Key[string] // vnc_tls_priority, libvirt 11.6 and later
}

// ReadQEMUConf reads qemu.conf as [ReadDaemonConf] does.
func ReadQEMUConf(v View, file string, libvirt Version) (QEMUConf, []finding.Finding) {
	r := openConf(v, file, libvirt)
	q := QEMUConf{
		File: file, User: r.text("user"), Group: r.text("group"),
		MigrateForce: r.flag("migrate_tls_force"), Services: map[Service]ServiceConf{},
		VNC: VNCConf{SASL: r.flag("vnc_sasl"), SASLDir: r.text("vnc_sasl_dir"), Unix: r.flag("vnc_auto_unix_socket")},
	}
	for _, row := range services {
		if row.confKey == "" {
			continue
		}
		prefix, _, _ := strings.Cut(row.confKey, "_")
		has := row.service != LibvirtRDP || r.rules.rdp
		c := ServiceConf{Dir: since(r, "11.3", has, r.text, row.confKey)}
		if name := row.service.Enable(); name != "" {
			c.Enable = r.flag(name)
		}
		if row.asQEMU() {
			c.Secret = r.text(prefix + "_tls_x509_secret_uuid")
			c.Priority = since(r, "11.6", r.rules.priorities, r.text, prefix+"_tls_priority")
			if slices.Contains(row.roles, Server) {
				c.Verify = r.flag(prefix + "_tls_x509_verify")
			}
		}
		q.Services[row.service] = c
	}
	for _, name := range []string{"vxhs_tls", "vxhs_tls_x509_cert_dir", "vxhs_tls_x509_secret_uuid"} {
		r.known = append(r.known, name)
		if s, ok := r.conf.Get(name); ok {
			r.findings = append(r.findings, mended(kindVxHS.Found(r.where(s), name), r.drop(s)))
		}
	}
	r.rest()
	return q, r.findings
}

// asQEMU tells whether libvirt hands the service's directory to a credential
// object of QEMU's. SPICE's server and qemu-rdp read theirs by themselves, and
// libvirt has nothing else to say to them.
func (row serviceRow) asQEMU() bool {
	return row.confKey != "" && row.service != LibvirtSPICE && row.service != LibvirtRDP
}
