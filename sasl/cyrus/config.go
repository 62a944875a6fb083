// Package cyrus reads how Cyrus SASL is set up for a program: the configuration
// that QEMU and libvirt leave the choice of mechanisms to, as Cyrus SASL 2.1.28
// reads it, with its quirks.
package cyrus

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/layout"
)

var (
	kindMalformed = finding.Define("sasl-conf-malformed", finding.Error,
		"a line of a configuration of Cyrus SASL is not one, so the program does not start",
		"each line is KEY: VALUE, with the colon next to the key and a value; comments begin with # and have a line of their own")
	kindUnknown = finding.Define("sasl-conf-unknown-key", finding.Warning,
		"Cyrus SASL has no such setting, and ignores the line", "correct the key or delete the line")
	kindTwice = finding.Define("sasl-conf-key-twice", finding.Warning,
		"the setting was made before, and the first one counts", "delete one of the lines")
	kindMissing = finding.Define("sasl-conf-missing", finding.Error,
		"there is no configuration of Cyrus SASL for QEMU, so every mechanism that is installed counts, those that need no password too",
		"virtls validate --sasl-conf prints a right one")
)

// Path is where Cyrus SASL looks for configurations, as Debian and its relatives
// build it, unless SASL_CONF_PATH says otherwise. Elsewhere it is
// /usr/lib64/sasl2:/etc/sasl2, which leads to the same file. Home directories are
// not looked at.
const Path = "/etc/sasl2:/etc/sasl:/usr/lib/x86_64-linux-gnu/sasl2:/usr/lib64/sasl2:/usr/lib/sasl2"

// Bounds on what is read.
const (
	maxConfig = 1 << 20
	maxLine   = 4095 // octets: Cyrus takes what is beyond for another line
)

// A Setting is a line of a configuration.
type Setting struct {
	Key   string // in lower case
	Value string
	Line  int
}

// A Config is a configuration.
type Config struct {
	File     string // what was read
	Settings []Setting
}

// Find reads a program's configuration, APP.conf, in the first directory of a
// search path that has it: SASL_CONF_PATH's value, or Path if empty. There is
// none if the result is nil. The error is a *finding.Failure.
func Find(v layout.View, searchPath, app string) (*Config, error) {
	for dir := range strings.SplitSeq(cmp.Or(searchPath, Path), ":") {
		file := path.Join(cmp.Or(dir, "/"), app+".conf")
		data, err := v.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			// Cyrus goes on to the next directory when it cannot open a file.
			continue
		}
		return Parse(file, data)
	}
	return nil, nil
}

// FindHere reads the configuration of a program on this machine, as the
// environment says.
func FindHere(app string) (*Config, error) {
	return Find(layout.Root("/"), os.Getenv("SASL_CONF_PATH"), app)
}

// NotFound is the finding that there is no configuration for a program.
func NotFound(app string) finding.Finding {
	return kindMissing.Found("/etc/sasl2/"+app+".conf", "no such file").WithFix("virtls validate --sasl-conf > /etc/sasl2/%s.conf", app)
}

// Parse reads the content of a configuration. The error is a *finding.Failure
// about the first line that is none, at which Cyrus SASL gives up.
func Parse(file string, data []byte) (*Config, error) {
	c := &Config{File: file}
	if len(data) > maxConfig {
		return nil, kindMalformed.Found(file, fmt.Sprintf("%d octets", len(data))).WithWant(fmt.Sprintf("at most %d", maxConfig), "virtls").Wrong()
	}
	number := 0
	for whole := range bytes.Lines(data) {
		number++
		for line := range slices.Chunk(whole, maxLine) {
			s, wrong := parseLine(string(line))
			if wrong != "" {
				return nil, kindMalformed.Found(fmt.Sprintf("%s:%d", file, number), wrong).WithWant("KEY: VALUE", "Cyrus SASL").Wrong()
			}
			if s.Value != "" {
				s.Line = number
				c.Settings = append(c.Settings, s)
			}
		}
	}
	return c, nil
}

// parseLine reads a line as sasl_config_init does; what is wrong never quotes a
// value, which may be a password.
func parseLine(line string) (s Setting, wrong string) {
	line, _, _ = strings.Cut(line, "\x00") // where a C string ends
	line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), blanks)
	if line == "" || line[0] == '#' {
		return s, ""
	}
	end := strings.IndexFunc(line, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
	switch {
	case end < 0:
		return s, "no colon"
	case line[end] != ':':
		return s, fmt.Sprintf("%q after the key %.40q", line[end], line[:end])
	}
	s = Setting{Key: strings.ToLower(line[:end]), Value: strings.Trim(line[end+1:], blanks)}
	if s.Value == "" {
		return s, fmt.Sprintf("no value for %.40q", s.Key)
	}
	return s, ""
}

// blanks are what C's isspace is true for.
const blanks = " \t\n\v\f\r"

// Get returns a setting: the first of that key. A Config that is nil has none.
func (c *Config) Get(key string) (Setting, bool) {
	if c == nil {
		return Setting{}, false
	}
	at := slices.IndexFunc(c.Settings, func(s Setting) bool { return s.Key == key })
	if at < 0 {
		return Setting{}, false
	}
	return c.Settings[at], true
}

// Value returns a setting's value, empty if there is none.
func (c *Config) Value(key string) string {
	s, _ := c.Get(key)
	return s.Value
}

// Mechanisms returns mech_list in upper case, nil if it is not set, when every
// mechanism counts that is installed. Only blanks separate names: a name with a
// comma in it is nobody's.
func (c *Config) Mechanisms() []string {
	if s, ok := c.Get("mech_list"); ok {
		return strings.FieldsFunc(strings.ToUpper(s.Value), func(r rune) bool { return strings.ContainsRune(blanks, r) })
	}
	return nil
}

// Where names a setting's line.
func (c *Config) Where(s Setting) string { return fmt.Sprintf("%s:%d", c.File, s.Line) }

// keys are the settings that Cyrus SASL's library and plugins ask for.
var keys = strings.Fields(`ad_compat authdaemond_path auto_transition auxprop_plugin canon_user_plugin ccache_store
	client_mech_list keytab ldapdb_canon_attr ldapdb_id ldapdb_mech ldapdb_pw ldapdb_rc ldapdb_starttls ldapdb_uri log_level
	mech_list ntlm_server ntlm_v2 opiekeys otp_mda plugin_list pwcheck_method reauth_timeout saslauthd_path sasldb_mapsize
	sasldb_maxreaders sasldb_path scram_iteration_counter scram_secret_generate service_principal sql_database sql_engine
	sql_hostnames sql_insert sql_passwd sql_select sql_statement sql_update sql_user sql_usessl srp_mda srvtab`)

// Check finds lines that have no effect.
func (c *Config) Check() []finding.Finding {
	var list []finding.Finding
	for _, s := range c.Settings {
		if !slices.Contains(keys, s.Key) {
			f := kindUnknown.Found(c.Where(s), s.Key)
			if near := finding.Nearest(s.Key, keys); near != "" {
				f = f.WithWant(near, "Cyrus SASL")
			}
			list = append(list, f)
		} else if first, _ := c.Get(s.Key); first.Line != s.Line {
			list = append(list, kindTwice.Found(c.Where(s), s.Key).WithWant(fmt.Sprintf("the one in line %d", first.Line), "Cyrus SASL"))
		}
	}
	return list
}
