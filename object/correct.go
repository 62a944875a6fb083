package object

import (
	"slices"
	"strings"

	"virtls/finding"
	"virtls/internal/qjson"
	"virtls/pki/dn"
)

// A line is a text as its author may have meant it, for making the text that he
// should have written.
type line struct {
	json bool
	obj  qjson.Object
}

// parseLine reads a text with as few demands as possible.
func parseLine(text string) (*line, bool) {
	if strings.HasPrefix(text, "{") {
		v, err := qjson.Parse([]byte(text))
		obj, ok := v.(qjson.Object)
		return &line{true, obj}, err == nil && ok
	}
	if len(text) > maxText {
		return nil, false
	}
	obj, _ := parseOptions(text)
	return &line{false, obj}, true
}

// get returns the text of a member, "" if there is none.
func (l *line) get(key string) string {
	v, _ := l.obj.Get(key)
	s, _ := v.(string)
	return s
}

// set gives a member a value; new ones come after the type and the id.
func (l *line) set(key string, value any) {
	for i := range l.obj {
		if l.obj[i].Key == key {
			l.obj[i].Value = value
			return
		}
	}
	at := 0
	for at < len(l.obj) && (l.obj[at].Key == typeKey || l.obj[at].Key == "id") {
		at++
	}
	l.obj = slices.Insert(l.obj, at, qjson.Member{Key: key, Value: value})
}

// String returns the line as a text.
func (l *line) String() string {
	if l.json {
		return qjson.Text(l.obj)
	}
	var parts []string
	for _, m := range l.obj {
		value := strings.ReplaceAll(m.Value.(string), ",", ",,")
		if m.Key == typeKey && len(parts) == 0 {
			parts = append(parts, value)
			continue
		}
		parts = append(parts, m.Key+"="+value)
	}
	return strings.Join(parts, ",")
}

// concealed returns a copy of the line with dots for a secret.
func (l *line) concealed() *line {
	c := &line{l.json, slices.Clone(l.obj)}
	if l.get(typeKey) == "secret" {
		for i := range c.obj {
			if c.obj[i].Key == "data" {
				c.obj[i].Value = "..."
			}
		}
	}
	return c
}

// A correction changes a line in which it finds a certain mistake.
type correction struct {
	outdated bool // manuals and recipes have the mistake
	apply    func(d Dialect, l *line)
}

// corrections are made one after the other.
var corrections = []correction{
	{true, fromVNC},
	{true, fromACL},
	{false, nearestType},
	{true, splitID},
	{true, withoutLoaded},
	{true, verify},
	{false, missingID},
	{false, joinNames},
	{false, nearestKeys},
	{false, values},
	{false, listsAsJSON},
}

// correct returns the text that the author of a bad one may have meant, which
// is good, and whether his is an outdated one. It returns "" if it does not know.
func (d Dialect) correct(text string) (corrected string, outdated bool) {
	l, ok := parseLine(text)
	if !ok {
		return "", false
	}
	for _, c := range corrections {
		before := l.String()
		c.apply(d, l)
		if c.outdated && l.String() != before {
			outdated = true
		}
	}
	good := l.String()
	if good == text {
		return "", false
	}
	if _, _, err := d.understand(good); err != nil {
		return "", false
	}
	return l.concealed().String(), outdated
}

// fromVNC translates the options that -vnc had before QEMU 3.1: "tls", with
// "x509=DIR" or, for clients that must show a certificate, "x509verify=DIR".
func fromVNC(_ Dialect, l *line) {
	dir, verify := l.get("x509verify"), "on"
	if dir == "" {
		dir, verify = l.get("x509"), "off"
	}
	if l.json || dir == "" && l.get(typeKey) != "tls" {
		return
	}
	id := l.get("id")
	l.obj = nil
	if dir == "" {
		l.set("endpoint", "server")
		l.set(typeKey, "tls-creds-anon")
	} else {
		l.set("verify-peer", verify)
		l.set("dir", dir)
		l.set("endpoint", "server")
		l.set(typeKey, "tls-creds-x509")
	}
	if wellFormed(id) {
		l.set("id", id)
	}
}

// fromACL shows what has replaced the access lists that were called acl until
// QEMU 6.0.
func fromACL(_ Dialect, l *line) {
	if l.json || l.get(typeKey) != "acl" {
		return
	}
	l.set(typeKey, "authz-list")
	l.obj = slices.DeleteFunc(l.obj, func(m qjson.Member) bool { return m.Key != typeKey && m.Key != "id" })
	l.obj = append(l.obj,
		qjson.Member{Key: "rules.0.match", Value: "C=GB,O=Example,CN=client"},
		qjson.Member{Key: "rules.0.policy", Value: "allow"})
}

// nearestType completes or corrects the type's name.
func nearestType(_ Dialect, l *line) {
	typ := l.get(typeKey)
	if kindsByName[typ] != nil || typ == "" {
		return
	}
	for _, prefix := range []string{"tls-creds-", "authz-"} {
		if kindsByName[prefix+typ] != nil {
			l.set(typeKey, prefix+typ)
			return
		}
	}
	if near := finding.Nearest(typ, Types()); near != "" {
		l.set(typeKey, near)
	}
}

// splitID mends "id=tls0.endpoint=server", which was printed for
// "id=tls0,endpoint=server".
func splitID(_ Dialect, l *line) {
	k, id := kindsByName[l.get(typeKey)], l.get("id")
	if k == nil || l.json {
		return
	}
	head, value, found := strings.Cut(id, "=")
	dot := strings.LastIndexByte(head, '.')
	if !found || dot < 0 {
		return
	}
	if _, ok := k.property(head[dot+1:]); ok {
		l.set("id", head[:dot])
		l.set(head[dot+1:], value)
	}
}

// withoutLoaded drops the property that did nothing until 9.1 and is gone.
func withoutLoaded(_ Dialect, l *line) {
	l.obj = slices.DeleteFunc(l.obj, func(m qjson.Member) bool { return m.Key == "loaded" })
}

// verify renames the property that QEMU's manual calls verify in places.
func verify(_ Dialect, l *line) {
	if strings.HasPrefix(l.get(typeKey), "tls-creds-") {
		l.rename("verify", verifyPeer.name)
	}
}

// rename gives a member another key unless there is one with that key.
func (l *line) rename(key, to string) {
	if _, ok := l.obj.Get(to); ok {
		return
	}
	for i := range l.obj {
		if l.obj[i].Key == key {
			l.obj[i].Key = to
		}
	}
}

func missingID(_ Dialect, l *line) {
	typ := l.get(typeKey)
	if _, ok := l.obj.Get("id"); ok || kindsByName[typ] == nil {
		return
	}
	id := "tls0"
	switch {
	case typ == "secret":
		id = "sec0"
	case strings.HasPrefix(typ, "authz-"):
		id = "auth0"
	}
	at := slices.IndexFunc(l.obj, func(m qjson.Member) bool { return m.Key == typeKey })
	l.obj = slices.Insert(l.obj, at+1, qjson.Member{Key: "id", Value: any(id)})
}

// joinNames puts a distinguished name together whose commas were not doubled:
// its attributes look like properties.
func joinNames(_ Dialect, l *line) {
	k := kindsByName[l.get(typeKey)]
	if l.json || k == nil {
		return
	}
	var joined qjson.Object
	for _, m := range l.obj {
		last := len(joined) - 1
		if _, known := k.property(m.Key); !known && last >= 0 && holdsName(joined[last].Key) {
			if oid, ok := dn.LookupName(strings.TrimSpace(m.Key)); ok && dn.ShortName(oid) != "" {
				joined[last].Value = joined[last].Value.(string) + "," + m.Key + "=" + m.Value.(string)
				continue
			}
		}
		joined = append(joined, m)
	}
	l.obj = joined
}

func holdsName(key string) bool {
	return key == "identity" || key == "match" || strings.HasSuffix(key, ".match")
}

// nearestKeys corrects the names of properties.
func nearestKeys(_ Dialect, l *line) {
	k := kindsByName[l.get(typeKey)]
	if k == nil {
		return
	}
	var names []string
	for _, p := range k.properties {
		names = append(names, p.name)
	}
	for _, m := range l.obj {
		if _, ok := k.property(m.Key); ok || m.Key == typeKey || m.Key == "id" {
			continue
		}
		if near := finding.Nearest(strings.ReplaceAll(m.Key, "_", "-"), names); near != "" {
			l.rename(m.Key, near)
		}
	}
}

// booleans are the words that QEMU takes.
var booleans = []string{"on", "yes", "true", "y", "off", "no", "false", "n"}

// switches are words that people write for "on" and "off".
var switches = map[string]bool{
	"on": true, "yes": true, "true": true, "y": true, "1": true, "t": true, "enable": true, "enabled": true,
	"off": false, "no": false, "false": false, "n": false, "0": false, "f": false, "disable": false, "disabled": false,
}

// values corrects the spelling of booleans and of words from a list.
func values(_ Dialect, l *line) {
	k := kindsByName[l.get(typeKey)]
	if k == nil {
		return
	}
	for i := range l.obj {
		m := &l.obj[i]
		p, _ := k.property(m.Key)
		word := ""
		switch v := m.Value.(type) {
		case string:
			word = strings.ToLower(strings.TrimSpace(v))
		case qjson.Number:
			word = string(v)
		default:
			continue
		}
		switch on, known := switches[word]; {
		case p.typ == boolean && known && l.json:
			m.Value = on
		case p.typ == boolean && known && !slices.Contains(booleans, m.Value.(string)):
			m.Value = map[bool]string{true: "on", false: "off"}[on]
		case p.values != nil && !slices.Contains(p.values, word):
			if near := finding.Nearest(word, p.values); near != "" {
				m.Value = near
			}
		case p.values != nil:
			m.Value = word
		}
	}
}

// listsAsJSON writes dotted lists as the emulator wants them.
func listsAsJSON(d Dialect, l *line) {
	if d != System || l.json || !slices.ContainsFunc(l.obj, func(m qjson.Member) bool { return strings.Contains(m.Key, ".") }) {
		return
	}
	obj, help, err := parseKeyval(l.String())
	if err != nil || help {
		return
	}
	if k := kindsByName[l.get(typeKey)]; k != nil {
		for i, m := range obj {
			word, isText := m.Value.(string)
			if p, _ := k.property(m.Key); isText && p.typ == boolean {
				obj[i].Value = switches[word]
			}
		}
	}
	l.json, l.obj = true, obj
}
