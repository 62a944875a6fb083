package nbd

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtls/internal/qjson"
	"virtls/internal/qopts"
)

// An Image is what QEMU's --image-opts or a json: file name describe: a chain of
// drivers down to one that gets the data from somewhere.
type Image struct {
	Formats  []string          // "qcow2", "raw": outermost first; empty if the text leaves it to probing
	Driver   string            // of the protocol: "nbd" or "file"
	Filename string            // of "file"
	Target   Target            // of "nbd"
	Options  map[string]string // all other settings, by their dotted keys: "read-only", "file.cache.direct"
}

// protocolDrivers are the drivers that end a chain and are known here.
var protocolDrivers = []string{"nbd", "file"}

// maxChain is how many drivers a chain may have.
const maxChain = 16

// ParseImageOpts reads the value of --image-opts of QEMU's tools
// ("driver=nbd,host=...,export=..."), or a file name that begins with "json:".
func ParseImageOpts(text string) (Image, error) {
	bad := func(err error) (Image, error) {
		return Image{}, kindAddress.Found(text, "").WithText("%v", err).Usage()
	}
	settings, err := parseSettings(text)
	if err != nil {
		return bad(err)
	}
	i, err := settings.image()
	if err != nil {
		return bad(err)
	}
	return i, nil
}

// settings are what a text says, by dotted keys.
type settings map[string]string

func parseSettings(text string) (settings, error) {
	s := settings{}
	if object, ok := strings.CutPrefix(text, "json:"); ok {
		v, err := qjson.Parse([]byte(object))
		if err != nil {
			return nil, err
		}
		if _, isObject := v.(qjson.Object); !isObject {
			return nil, inQEMU("Could not parse the JSON options")
		}
		return s, s.flatten("", v)
	}
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		if !found || strings.Contains(key, ",") {
			key, _, _ = strings.Cut(key, ",")
			return nil, inQEMU("Expected '=' after parameter '%s'", key)
		}
		s[key], text = qopts.Cut(rest)
	}
	return s, nil
}

// inQEMU is an error in QEMU's words.
func inQEMU(format string, args ...any) error { return fmt.Errorf(format, args...) }

// flatten enters a JSON value under a key.
func (s settings) flatten(key string, v any) error {
	switch v := v.(type) {
	case qjson.Object:
		for _, m := range v {
			if err := s.flatten(strings.TrimPrefix(key+"."+m.Key, "."), m.Value); err != nil {
				return err
			}
		}
	case string:
		s[key] = v
	case qjson.Number:
		s[key] = string(v)
	case bool:
		s[key] = map[bool]string{true: "on", false: "off"}[v]
	default:
		return fmt.Errorf("%s is neither an object nor text, a number, true or false", cmp.Or(key, "the value"))
	}
	return nil
}

// take returns a setting and removes it.
func (s settings) take(key string) (string, bool) {
	v, ok := s[key]
	delete(s, key)
	return v, ok
}

// has reports whether there are settings of a child.
func (s settings) has(prefix string) bool {
	for key := range s {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// image follows the chain of drivers.
func (s settings) image() (i Image, err error) {
	i.Options = s
	for prefix := ""; ; prefix += "file." {
		driver, named := s.take(prefix + "driver")
		ends := slices.Contains(protocolDrivers, driver)
		switch {
		case ends && s.has(prefix+"file."):
			return i, inQEMU("Block protocol '%s' doesn't support the option 'file'", driver)
		case ends:
			i.Driver = driver
		case len(i.Formats) == maxChain:
			return i, fmt.Errorf("a chain of more than %d drivers", maxChain)
		case named:
			i.Formats = append(i.Formats, driver)
		}
		if !ends && s.has(prefix+"file.") {
			continue
		}
		if !ends {
			i.Driver = "file"
			if _, ok := s[prefix+"filename"]; !ok {
				return i, fmt.Errorf("no driver that says where the data are: want driver=nbd or driver=file")
			}
		}
		if i.Driver == "file" {
			i.Filename, _ = s.take(prefix + "filename")
			if i.Filename == "" {
				return i, inQEMU("The 'file' block driver requires a file name")
			}
			return i, nil
		}
		i.Target, err = s.target(prefix)
		return i, err
	}
}

// target reads the settings of the driver nbd (block/nbd.c).
func (s settings) target(prefix string) (t Target, err error) {
	flat := map[string]string{}
	for _, key := range []string{"host", "port", "path", "export", "tls-creds", "tls-hostname", "reconnect-delay", "open-timeout",
		"server.type", "server.host", "server.port", "server.path"} {
		if v, ok := s.take(prefix + key); ok {
			flat[key] = v
		}
	}
	t = Target{Export: flat["export"], CredsID: flat["tls-creds"], Hostname: flat["tls-hostname"]}
	t.TLS = t.CredsID != ""
	host, path, port := cmp.Or(flat["server.host"], flat["host"]), cmp.Or(flat["server.path"], flat["path"]), cmp.Or(flat["server.port"], flat["port"])
	switch kind := flat["server.type"]; {
	case kind != "" && kind != "inet" && kind != "unix":
		return t, fmt.Errorf("server.type is %q, want inet or unix", kind)
	case path != "" && host != "":
		return t, fmt.Errorf("path and host may not be used at the same time")
	case path == "" && host == "":
		return t, inQEMU("NBD server address missing")
	case path != "" && port != "":
		return t, fmt.Errorf("port may not be used without host")
	case kind == "inet" && host == "", kind == "unix" && path == "":
		return t, fmt.Errorf("server.type=%s needs another address", kind)
	case path != "":
		t.Network, t.Path = "unix", path
	default:
		t.Network, t.Host, t.Port = "tcp", host, cmp.Or(port, strconv.Itoa(DefaultPort))
	}
	for _, key := range []string{"reconnect-delay", "open-timeout"} {
		text, ok := flat[key]
		if !ok {
			continue
		}
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return t, inQEMU("Parameter '%s' expects a number", key)
		}
		if key == "open-timeout" {
			t.OpenTimeout = time.Duration(seconds) * time.Second
		} else if seconds > 0 {
			return t, fmt.Errorf("reconnect-delay is not supported by virtls: a connection that is lost is not made again")
		}
	}
	return t, nil
}
