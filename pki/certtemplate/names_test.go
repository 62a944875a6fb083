package certtemplate

import (
	"fmt"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/pki"
)

// hostNames are what a template may have in dns_name, plain and odd.
var hostNames = []string{
	"host", "host.example.com", "HOST", "*.example.com", "a_b", "with blank", "a..b", "-a-", "a@b",
	"ünï.example", "FAß.de", "Bücher.Example.COM", "東京.jp", "βόλος.com", "☃.net", "ü", "İ.x", "ﬀ.x", "ß", "ς",
	"*.ü.example", "a_b.ü.example", "a b.ü", "ü@x", "℀.x", "a≠ü", "ü\u00a0x", "＠ü", "tab\tx", "\x01x", "\x7f", "ü/ü",
	"a..ü", "ü.", ".ü", "ü..", "。ü", "ü。x", "-ü.x", "ü-.x", "-a.ü", "a-.ü", "a--ü.x", "ab--ü.x", "ab--c.ü", "xn--a.ü", "xn--tda.ü", "XN--TDA.ü", "xn--ü", "xn--.ü",
	"ü" + strings.Repeat("x", 58), "ü" + strings.Repeat("x", 59), strings.Repeat("x", 63) + ".ü", strings.Repeat("x", 64) + ".ü",
	strings.Repeat("abcdefghi.", 24) + "ü", strings.Repeat("abcdefghi.", 25) + "ü",
	"١.x", "א1.x", "אa.x", "1א.x", "a\u200db.x", "क्\u200dष.x", "a\u00b7b.x", "l\u00b7l.x", "\u0301a.x", "a\u0301.x", "\u1e9e.x", "\ufeffa.x", "a\u00adb.x", "\U0001f600.x", "\ue000.x", "ـ.x", "\u0378.x",
	"\xff", "a\xffb", "\xc3",
}

// hostNameDifferences are the names that a generation reads by older tables.
var hostNameDifferences = map[string]string{
	"a≠ü host":      "Unicode up to 15.0 does not allow ≠ in host names",
	"\u1e9e.x host": "Unicode up to 15.0 makes ss of the capital sharp s",
}

// TestHostNamesAgainstCerttool compares what becomes of names beyond ASCII.
func TestHostNamesAgainstCerttool(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		w := newWorld(t)
		var jobs []*job
		for _, name := range hostNames {
			jobs = append(jobs, w.job(t, name, action{"self", "ec", "UTC"}, []byte("dns_name = \""+name+"\"\n")))
		}
		runCerttool(t, g, jobs)
		for _, j := range jobs {
			t.Run(fmt.Sprintf("%+q", strings.TrimSuffix(j.name, "/self/ec")), func(t *testing.T) {
				name := strings.TrimSuffix(j.name, "/self/ec")
				reason := hostNameDifferences[name+" "+g.Name]
				ascii, why := toASCII(name)
				if j.code != "0" {
					if want := "set_subject_alt_name: " + why + "\n"; why == "" || !strings.HasSuffix(j.log, want) {
						t.Errorf("certtool says %q, we say %q and make %q", j.log, why, ascii)
					}
					return
				}
				c := parse(t, action{name: "self"}, readFile(t, j.dir, "out.pem")).(*pki.Certificate)
				if got := c.DNSNames()[0]; (got == ascii && why == "") != (reason == "") {
					t.Errorf("certtool makes %q, we make %q %q (known difference: %q)", got, ascii, why, reason)
				}
			})
		}
	})
}
