package fleet

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"virtls/layout"
	"virtls/pki"
	"virtls/psk"
)

// Defaults of the fields that a fleet file leaves out.
const (
	defaultKey       = "ec"
	defaultLeafDays  = 365
	defaultCADays    = 3650
	defaultCRLDays   = 30
	maxDays          = 100 * 366
	maxCommonName    = 64 // RFC 5280, appendix A.1: ub-common-name
	maxDomainName    = 253
	maxSubjectFields = 128 // RFC 5280's upper bounds are 64 or 128, and none checks them
)

// checker collects the first thing that is wrong in a decoded file.
type checker struct {
	f       *File
	err     error
	hosts   map[string]bool   // by name
	holders map[string]bool   // hosts and clients by name
	taken   map[string]string // path in the file by name in lower case
}

func (c *checker) fail(path, format string, args ...any) {
	if c.err == nil {
		c.err = kindFleetValue.Found(c.f.at(path), "").WithText("%s: %s", path, fmt.Sprintf(format, args...)).Wrong()
	}
}

// at returns FILE:LINE of a field, or of the nearest one above it that is in the file.
func (f *File) at(path string) string {
	for p := path; ; {
		if line, ok := f.lines[p]; ok {
			return fmt.Sprintf("%s:%d", f.name, line)
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			return f.name
		}
		p = p[:i]
	}
}

// check fills in defaults and refuses what could not work.
func (f *File) check() error {
	c := &checker{f: f, hosts: map[string]bool{}, holders: map[string]bool{}, taken: map[string]string{}}
	if f.Organization == "" {
		c.fail("organization", "is missing: write the name of your organization")
	}
	c.text(f.Organization, "organization", maxSubjectFields)
	if f.PQC == "" {
		f.PQC = PQCOff
	}
	c.authority(&f.Authority)
	c.defaults(&f.Defaults)
	for i := range f.Hosts {
		c.host(&f.Hosts[i], fmt.Sprintf("hosts[%d]", i))
		c.hosts[f.Hosts[i].Name] = true
	}
	for i := range f.Clients {
		c.client(&f.Clients[i], fmt.Sprintf("clients[%d]", i))
	}
	for i := range f.Hosts {
		c.references(f.Hosts[i].Allow, fmt.Sprintf("hosts[%d].allow", i), "client or host", c.holders)
	}
	users := map[string]bool{}
	for i := range f.PSK {
		c.pskUser(&f.PSK[i], fmt.Sprintf("psk[%d]", i), users)
	}
	return c.err
}

func (c *checker) authority(a *Authority) {
	if a.Name == "" {
		if a.Name = c.f.Organization + " CA"; len(a.Name) > maxCommonName {
			c.fail("organization", "%q is longer than %d octets, the limit of a common name; give the authority a name of its own with authority.name", a.Name, maxCommonName)
		}
	}
	c.text(a.Name, "authority.name", maxCommonName)
	c.subject(a.Subject, "authority")
	a.Key = c.key(a.Key, defaultKey, "authority.key")
	a.Days = c.days(a.Days, defaultCADays, "authority.days")
	a.CRLDays = c.days(a.CRLDays, defaultCRLDays, "authority.crl-days")
}

func (c *checker) defaults(d *Defaults) {
	c.subject(d.Subject, "defaults")
	d.Subject = d.Subject.over(Subject{Organization: c.f.Organization})
	d.Key = c.key(d.Key, defaultKey, "defaults.key")
	d.Days = c.days(d.Days, defaultLeafDays, "defaults.days")
	if d.Uses == nil {
		both := []layout.Role{layout.Server, layout.Client}
		d.Uses = Uses{{Service: layout.Libvirt, Roles: both, Shared: true}, {Service: layout.QEMU, Roles: both, Shared: true}}
	}
	c.uses(d.Uses, "defaults.uses")
	c.platform(d.Platform, "defaults.platform")
}

func (c *checker) host(h *Host, path string) {
	c.holder(h.Name, path)
	if _, err := netip.ParseAddr(h.Name); err != nil {
		c.domainName(h.Name, path+".name")
	}
	for j, n := range h.Names {
		c.domainName(n, fmt.Sprintf("%s.names[%d]", path, j))
	}
	for j, a := range h.Addresses {
		field := fmt.Sprintf("%s.addresses[%d]", path, j)
		ip, err := netip.ParseAddr(a)
		switch {
		case err != nil:
			c.fail(field, "%q is not an IPv4 or IPv6 address; host names go into names", a)
		case ip.Zone() != "":
			c.fail(field, "%q has a zone, which no certificate can hold", a)
		case ip.IsUnspecified():
			c.fail(field, "%q is no address that anybody connects to", a)
		}
	}
	c.subject(h.Subject, path)
	h.Subject = h.Subject.over(c.f.Defaults.Subject)
	h.Key = c.key(h.Key, c.f.Defaults.Key, path+".key")
	h.Days = c.days(h.Days, c.f.Defaults.Days, path+".days")
	if h.Uses == nil {
		h.Uses = c.f.Defaults.Uses // which have been checked
	} else {
		c.uses(h.Uses, path+".uses")
	}
	if h.Platform == "" {
		h.Platform = c.f.Defaults.Platform
	}
	c.platform(h.Platform, path+".platform")
	for _, v := range []struct{ field, value string }{{"qemu", h.QEMU}, {"libvirt", h.Libvirt}, {"gnutls", h.GnuTLS}} {
		if v.value != "" && !versionForm.MatchString(v.value) {
			c.fail(path+"."+v.field, "%q is not a version number such as 11.1", v.value)
		}
	}
	for _, v := range []struct{ field, value string }{{"qemu-user", h.QEMUUser}, {"qemu-group", h.QEMUGroup}} {
		if v.value != "" && !accountForm.MatchString(v.value) {
			c.fail(path+"."+v.field, "%q is not a user or group name", v.value)
		}
	}
}

// uses checks the directories of services.
func (c *checker) uses(uses Uses, field string) {
	var locations []layout.Location
	for _, u := range uses {
		switch dir := path.Clean(u.Dir); {
		case u.Dir == "":
		case !dirForm.MatchString(u.Dir):
			c.fail(field, "dir of %s: %q may hold only letters, digits, and . _ - + / between them, because it becomes a part of settings and commands", u.Service, u.Dir)
			return
		case strings.Count(dir, "/") < 2 || slices.Contains(sharedDirs, dir):
			c.fail(field, "dir of %s: %s belongs to others too, and its owner and mode are to be set; name a directory of its own, such as %s/virtls", u.Service, dir, strings.TrimSuffix(dir, "/"))
			return
		}
		locations = append(locations, layout.System(u.Service, u.Dir))
	}
	if at, a, b := layout.Conflict(locations); at != "" {
		c.fail(field, "%s and %s both have %s, and want different things there; give each a directory of its own", a, b, at)
	}
}

// sharedDirs are directories that distributions' packages make and fill.
var sharedDirs = []string{
	"/etc/pki", "/etc/pki/tls", "/etc/pki/tls/certs", "/etc/pki/tls/private", "/etc/ssl", "/etc/ssl/certs", "/etc/ssl/private",
	"/etc/libvirt", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/usr/share", "/var/cache", "/var/lib", "/var/lib/libvirt", "/var/log",
}

var (
	versionForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)
	dirForm     = regexp.MustCompile(`^/[A-Za-z0-9._+/-]*$`)
	accountForm = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

func (c *checker) client(cl *Client, path string) {
	c.holder(cl.Name, path)
	c.subject(cl.Subject, path)
	cl.Subject = cl.Subject.over(c.f.Defaults.Subject)
	cl.Key = c.key(cl.Key, c.f.Defaults.Key, path+".key")
	cl.Days = c.days(cl.Days, c.f.Defaults.Days, path+".days")
	if cl.Uses == nil {
		cl.Uses = ClientUse{layout.Libvirt, layout.QEMU}
	}
}

// holder checks a name that becomes a CN, an entry of an access list and a directory.
func (c *checker) holder(name, path string) {
	field := path + ".name"
	switch {
	case name == "":
		c.fail(field, "is missing")
	case len(name) > maxCommonName:
		c.fail(field, "%q is longer than %d octets, the limit of a common name; use a shorter name here and put the long one into names", name, maxCommonName)
	case !holderForm.MatchString(name) || strings.Trim(name, ".") == "":
		c.fail(field, "%q may hold only letters, digits, and . _ - @ : between them, because it becomes a directory and an entry of access lists", name)
	case c.taken[strings.ToLower(name)] != "":
		c.fail(field, "%q is already the name of %s", name, c.taken[strings.ToLower(name)])
	}
	c.taken[strings.ToLower(name)] = path
	c.holders[name] = true
}

// unknown refuses a name that refers to nobody.
func (c *checker) unknown(field, what, name string, known map[string]bool) {
	if c.err == nil { // the nearest name is looked for only once
		c.fail(field, "there is no %s %q in this file%s", what, name, meant(name, slices.Collect(maps.Keys(known))))
	}
}

var (
	holderForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@:-]*$`)
	labelForm  = regexp.MustCompile(`^(\*|[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)$`)
)

func (c *checker) domainName(name, field string) {
	if err := CheckDomainName(name); err != nil {
		c.fail(field, "%v", err)
	}
}

// CheckDomainName returns why no peer can be found by a DNS name: it is an
// address, it is malformed, or it has a wildcard that GnuTLS does not match.
func CheckDomainName(name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%q is an address; addresses go into addresses, because no program looks for them among names", name)
	}
	if len(name) > maxDomainName {
		return fmt.Errorf("%q is longer than %d octets", name, maxDomainName)
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		switch {
		case label == "" && i == len(labels)-1 && i > 0:
			return fmt.Errorf("%q ends in a dot, which clients do not match; leave it off", name)
		case len(label) > 63 || !labelForm.MatchString(label):
			return fmt.Errorf("%q is not a DNS name: look at %q (write international names in their xn-- form)", name, label)
		case label == "*" && (i > 0 || len(labels) < 3):
			return fmt.Errorf("%q: a wildcard matches only as the first label of a name with three or more", name)
		}
	}
	return nil
}

func (c *checker) subject(s Subject, path string) {
	if s.Country != "" && !countryForm.MatchString(s.Country) {
		c.fail(path+".country", "%q is not a country: want two capital letters, such as GB", s.Country)
	}
	for _, v := range []struct{ field, value string }{
		{"state", s.State}, {"locality", s.Locality}, {"organization", s.Organization}, {"unit", s.Unit},
	} {
		c.text(v.value, path+"."+v.field, maxSubjectFields)
	}
}

// text checks what becomes an attribute of a distinguished name and, with it, a
// line of access lists and configuration files.
func (c *checker) text(value, field string, limit int) {
	switch {
	case len(value) > limit:
		c.fail(field, "%q is longer than %d octets", value, limit)
	case strings.ContainsAny(value, "*?"):
		c.fail(field, "%q holds * or ?, which access lists of QEMU and libvirt take for wildcards", value)
	case strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.fail(field, "%q has blanks at an end, or characters that cannot be printed", value)
	}
}

var countryForm = regexp.MustCompile(`^[A-Z]{2}$`)

func (c *checker) key(got, standard, field string) string {
	if got == "" {
		return standard
	}
	spec, err := pki.ParseKeySpec(got)
	switch {
	case err != nil:
		c.fail(field, "%v", err)
	case spec.Algorithm.IsMLDSA():
		c.fail(field, "%q: post-quantum keys are asked for with the field pqc, which also keeps them from hosts that cannot load them", got)
	}
	return got
}

func (c *checker) days(got, standard int, field string) int {
	if got == 0 {
		return standard
	}
	if got < 0 || got > maxDays {
		c.fail(field, "%d days: want 1 to %d", got, maxDays)
	}
	return got
}

func (c *checker) platform(name, field string) {
	if name == "" {
		return
	}
	if _, err := layout.PlatformByName(name); err != nil {
		c.fail(field, "%v%s", err, suggest(name, layout.PlatformNames()))
	}
}

func (c *checker) pskUser(u *PSKUser, path string, users map[string]bool) {
	if err := psk.CheckName(u.User); err != nil {
		c.fail(path+".user", "%v", err)
	}
	if users[u.User] {
		c.fail(path+".user", "%q is listed twice", u.User)
	}
	users[u.User] = true
	if len(u.Servers) == 0 {
		c.fail(path+".servers", "is missing: name the hosts that accept the user")
	}
	if len(u.Holders) == 0 {
		c.fail(path+".holders", "is missing: name the hosts or clients that connect as the user")
	}
	c.references(u.Servers, path+".servers", "host", c.hosts)
	c.references(u.Holders, path+".holders", "client or host", c.holders)
}

func (c *checker) references(names []string, path, what string, known map[string]bool) {
	seen := map[string]bool{}
	for i, name := range names {
		field := fmt.Sprintf("%s[%d]", path, i)
		if !known[name] {
			c.unknown(field, what, name, known)
		}
		if seen[name] {
			c.fail(field, "%q is listed twice", name)
		}
		seen[name] = true
	}
}
