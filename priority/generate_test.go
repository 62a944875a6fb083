package priority

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A generator makes priority strings and configuration files, the same ones
// for the same seed.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 4))}
}

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

var (
	keywordNames = []string{"NORMAL", "NORMAL", "NORMAL", "PFS", "SECURE128", "SECURE", "SECURE192", "SECURE256", "SUITEB128", "SUITEB192", "LEGACY", "PERFORMANCE"}

	// oddities are elements that are wrong, or do nothing, or do something unexpected.
	oddities = []string{
		"", "NONE", "+NONE", "-NORMAL", "!NORMAL", "+@SYSTEM", "@SYSTEM", "AES-128-GCM", "%NONE", "%", "+", "%compat", " NORMAL", "NORMAL ",
		"+MAC-FOO", "-CIPHER-FOO", "!KX-FOO", "+VERS-FOO", "+GROUP-FOO", "+CURVE-FOO", "+SIGN-FOO", "+CTYPE-FOO", "+COMP-FOO", "+COMP-NULL", "-COMP-ALL",
		"+VERS-TLS-ALLIANCE", "-VERS-ALLY", "+GROUP-ALLEY", "+GOSTLY", "+SIGN-GOST-ALLEY", "-CTYPE-CLI-ALLEY", "+CTYPE-OPENPGP", "-CTYPE-OPENPGPFOO",
		"+CTYPE-CLI-OPENPGP", "+CTYPE-X.509", "+CTYPE-CLI-X.509", "+RSA-EXPORT", "+ARCFOUR-40", "+MD2", "+SHA3-256", "+MAC-NULL", "+MD5+SHA1",
		"+SIGN-GOSTR341094", "+CURVE-CryptoPro-B", "+CURVE-TC26-256-A", "+GROUP-ED25519", "+GROUP-MLKEM768", "-GROUP-X25519-MLKEM768",
		"+VERS-TLS1", "+SIGN-RSA", "+SIGN-ML-DSA", "+\u212aX-ALL", "-GOST", "-SIGN-GOST-ALL", "-MAC-GOST-ALL", "-KX-GOST-ALL", "-CIPHER-GOST-ALL",
	}
)

// element returns one element, nearly always one that some build knows.
func (g generator) element() string {
	switch {
	case g.chance(10):
		return "%" + pick(g, options).name
	case g.chance(8):
		return pick(g, []string{"", "+"}) + pick(g, keywordNames)
	case g.chance(3):
		return pick(g, oddities)
	}
	return pick(g, []string{"+", "+", "+", "-", "-", "!"}) + g.name()
}

// name returns what +, - and ! take, all classes alike, those that make a
// difference in TLS more often than the rest.
func (g generator) name() string {
	if g.chance(30) {
		return pick(g, []string{
			"VERS-ALL", "VERS-TLS-ALL", "VERS-DTLS-ALL", "GROUP-ALL", "GROUP-DH-ALL", "GROUP-EC-ALL", "GROUP-GOST-ALL", "CURVE-ALL",
			"SIGN-ALL", "SIGN-GOST-ALL", "MAC-ALL", "MAC-GOST-ALL", "CIPHER-ALL", "CIPHER-GOST-ALL", "KX-ALL", "KX-GOST-ALL", "GOST",
			"CTYPE-ALL", "CTYPE-CLI-ALL", "CTYPE-SRV-ALL", "CTYPE-CLI-RAWPK", "CTYPE-SRV-X509", "CTYPE-RAWPK", "CTYPE-X509",
		})
	}
	name := pick(g, g.oftenNames())
	if g.chance(10) {
		name = strings.ToLower(name)
	}
	return name
}

func (g generator) oftenNames() []string {
	var names []string
	for _, c := range []struct {
		prefix string
		table  []algorithm
	}{{"", macs}, {"", ciphers}, {"", keyExchanges}, {"VERS-", versions}, {"GROUP-", groups}, {"CURVE-", curves}, {"SIGN-", signatures}} {
		if !g.chance(100 / 4) {
			continue
		}
		for _, a := range c.table {
			names = append(names, c.prefix+a.name)
		}
	}
	if names == nil {
		return []string{"VERS-TLS1.2", "VERS-TLS1.3", "SHA1", "SHA256", "SHA384", "AEAD", "AES-128-GCM", "AES-128-CBC", "PSK", "ECDHE-PSK", "DHE-PSK", "RSA-PSK", "ANON-DH"}
	}
	return names
}

// priority returns a string.
func (g generator) priority() string {
	if g.chance(20) {
		return g.fromNothing()
	}
	var elements []string
	switch {
	case g.chance(3):
	case g.chance(4):
		elements = append(elements, "+"+pick(g, keywordNames))
	default:
		elements = append(elements, pick(g, keywordNames))
	}
	for range g.IntN(9) {
		elements = append(elements, g.element())
	}
	return g.join(elements)
}

// fromNothing returns a string that begins with NONE and names all it wants.
func (g generator) fromNothing() string {
	elements := []string{"NONE"}
	class := func(all string, prefix string, table []algorithm) {
		if g.chance(30) {
			elements = append(elements, "+"+all)
			return
		}
		for range 1 + g.IntN(4) {
			elements = append(elements, "+"+prefix+pick(g, table).name)
		}
	}
	class("VERS-TLS-ALL", "VERS-", versions)
	class("CIPHER-ALL", "", ciphers[:20])
	class("MAC-ALL", "", macs[:8])
	class("KX-ALL", "", keyExchanges[:9])
	class("GROUP-ALL", "GROUP-", groups[:19])
	class("SIGN-ALL", "SIGN-", signatures[:22])
	g.Shuffle(len(elements)-1, func(i, j int) { elements[i+1], elements[j+1] = elements[j+1], elements[i+1] })
	for range g.IntN(3) {
		elements = append(elements, g.element())
	}
	return g.join(elements)
}

func (g generator) join(elements []string) string {
	s := strings.Join(elements, ":")
	if g.chance(3) {
		s = strings.Replace(s, ":", ":  ", 1)
	}
	if g.chance(2) {
		s = " " + s
	}
	return s
}

// config returns a system's configuration file and a string that may use it.
func (g generator) config() (file, priority string) {
	var b strings.Builder
	allow := g.chance(50)
	if allow {
		b.WriteString("[global]\noverride-mode = allowlist\n")
	}
	if g.chance(60) {
		fmt.Fprintf(&b, "[priorities]\nSYSTEM = %s\nQEMU=%s ; comment\n", g.priority(), g.priority())
	}
	b.WriteString("[overrides]\n")
	lines := g.IntN(6)
	if allow {
		lines = 10 + g.IntN(30)
	}
	for range lines {
		mode := allow != g.chance(5)
		key := func(allowed, blocked string) string { return map[bool]string{true: allowed, false: blocked}[mode] }
		switch g.IntN(10) {
		case 0:
			fmt.Fprintf(&b, "%s = %s\n", key("secure-hash", "insecure-hash"), pick(g, hashes[:5]).name)
		case 1:
			fmt.Fprintf(&b, "%s = %s\n", key("secure-sig", "insecure-sig"), pick(g, signatures[:25]).name)
		case 2:
			fmt.Fprintf(&b, "%s = %s\n", key("secure-sig-for-cert", "insecure-sig-for-cert"), pick(g, signatures).name)
		case 3:
			fmt.Fprintf(&b, "%s = %s\n", key("enabled-version", "disabled-version"), pick(g, versions).name)
		case 4:
			fmt.Fprintf(&b, "%s = %s\n", key("enabled-curve", "disabled-curve"), pick(g, curves).name)
		case 5:
			fmt.Fprintf(&b, "%s = %s\n", key("tls-enabled-cipher", "tls-disabled-cipher"), pick(g, ciphers[:20]).name)
		case 6:
			fmt.Fprintf(&b, "%s = %s\n", key("tls-enabled-mac", "tls-disabled-mac"), pick(g, macs[:9]).name)
		case 7:
			fmt.Fprintf(&b, "%s = %s%s\n", key("tls-enabled-group", "tls-disabled-group"), pick(g, []string{"", "GROUP-"}), pick(g, groups).name)
		case 8:
			fmt.Fprintf(&b, "%s = %s\n", key("tls-enabled-kx", "tls-disabled-kx"), pick(g, keyExchanges).name)
		case 9:
			b.WriteString(pick(g, []string{
				"tls-session-hash = require\n", "min-verification-profile = very weak\n", "unknown = 1\n", "# comment\n", "[GLOBAL]\n[Overrides]\n",
				"tls-disabled-cipher = NONSENSE\n", "   AES-256-GCM\n", "no value\n", "[overrides\n", "[other]\nx=y\n[overrides]\n",
			}))
		}
	}
	priority = pick(g, []string{"@SYSTEM", "@QEMU,SYSTEM", "@NOBODY,SYSTEM", "@QEMU", "NORMAL", g.priority()})
	for range g.IntN(3) {
		priority += ":" + g.element()
	}
	return b.String(), priority
}
