package priority

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"

	"virtls/internal/peertest"
)

// A hello is what a ClientHello says about priorities.
type hello struct {
	Suites, Groups, Signatures, Versions []uint16
	Tickets, StatusRequest               bool
	EncryptThenMAC, SessionHash          bool
	SCSV                                 bool
}

// hellos has the generation's gnutls-cli say hello with each string and system
// configuration. It has credentials of all kinds but SRP.
func hellos(t *testing.T, g peertest.Generation, cases []testCase) []*hello {
	t.Helper()
	var all []*hello
	for batch := range slices.Chunk(cases, 100) { // as many as surely end before peertest's limit
		all = append(all, helloBatch(t, g, batch)...)
	}
	return all
}

func helloBatch(t *testing.T, g peertest.Generation, cases []testCase) []*hello {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answers := make(chan *hello, len(cases)) // nil where no hello came
	go func() {
		defer close(answers)
		for range cases {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answers <- readHello(conn)
			conn.Close()
		}
	}()
	const script = `i=0
while IFS= read -r priority; do
	export GNUTLS_SYSTEM_PRIORITY_FILE="$1/$i.config"
	gnutls-cli --insecure --priority="$priority" --port "$2" \
		--pskusername user --pskkey 0123456789abcdef0123456789abcdef 127.0.0.1 </dev/null >/dev/null 2>&1
	i=$((i+1))
done`
	dir := t.TempDir()
	var in strings.Builder
	for i, c := range cases {
		in.WriteString(c.priority + "\n")
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%d.config", i)), c.config)
	}
	r := g.Run(t, peertest.Options{Stdin: strings.NewReader(in.String())}, "bash", "-c", script, "bash",
		dir, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	l.Close()
	var all []*hello
	for h := range answers {
		all = append(all, h)
	}
	if len(all) != len(cases) {
		t.Fatalf("%d of %d connections came\n%s", len(all), len(cases), r)
	}
	return all
}

// readHello reads a ClientHello (RFC 8446 section 4.1.2); nil if none comes.
func readHello(conn net.Conn) *hello {
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var message cryptobyte.String
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(conn, header); err != nil || header[0] != 22 {
			return nil
		}
		fragment := make([]byte, int(header[3])<<8|int(header[4]))
		if _, err := io.ReadFull(conn, fragment); err != nil {
			return nil
		}
		message = append(message, fragment...)
		var body cryptobyte.String
		if whole := message; whole.Skip(1) && whole.ReadUint24LengthPrefixed(&body) {
			return parseHello(body)
		}
	}
}

func parseHello(body cryptobyte.String) *hello {
	h := &hello{}
	var session, suites, methods, extensions cryptobyte.String
	if !body.Skip(34) || !body.ReadUint8LengthPrefixed(&session) || !body.ReadUint16LengthPrefixed(&suites) ||
		!body.ReadUint8LengthPrefixed(&methods) || !body.Empty() && !body.ReadUint16LengthPrefixed(&extensions) {
		return nil
	}
	h.Suites = numbers(suites)
	if i := slices.Index(h.Suites, 0x5600); i >= 0 {
		h.SCSV, h.Suites = true, slices.Delete(h.Suites, i, i+1)
	}
	for !extensions.Empty() {
		var id uint16
		var data, list cryptobyte.String
		if !extensions.ReadUint16(&id) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil
		}
		switch id {
		case 5:
			h.StatusRequest = true
		case 10:
			data.ReadUint16LengthPrefixed(&list)
			h.Groups = numbers(list)
		case 13:
			data.ReadUint16LengthPrefixed(&list)
			h.Signatures = numbers(list)
		case 22:
			h.EncryptThenMAC = true
		case 23:
			h.SessionHash = true
		case 35:
			h.Tickets = true
		case 43:
			data.ReadUint8LengthPrefixed(&list)
			h.Versions = numbers(list)
		}
	}
	return h
}

func numbers(s cryptobyte.String) []uint16 {
	var all []uint16
	for n := uint16(0); s.ReadUint16(&n); {
		all = append(all, n)
	}
	return all
}

// expectedHello is the hello that the list is expected to make gnutls-cli send.
func expectedHello(l *List) *hello {
	h := &hello{
		Tickets:        !l.Options.NoTickets && !l.Options.NoTicketsTLS12,
		StatusRequest:  !l.Options.NoStatusRequest,
		EncryptThenMAC: !l.Options.NoEncryptThenMAC,
		SessionHash:    !l.Options.NoSessionHash,
		SCSV:           l.Options.FallbackSCSV,
		Groups:         ids(l.NegotiatedGroups),
		Signatures:     slices.Compact(ids(l.NegotiatedSignatures)),
	}
	h.Versions = slices.DeleteFunc(ids(l.Versions), func(v uint16) bool { return v < tls10 || v > tls13 })
	for _, s := range l.Suites {
		if s.MinVersion <= slices.Max(h.Versions) {
			h.Suites = append(h.Suites, s.ID)
		}
	}
	if slices.Max(h.Versions) < tls12 {
		h.Signatures = nil
	}
	if !slices.Contains(h.Versions, tls13) {
		h.Versions = nil
	}
	return h
}

func ids(entries []Entry) []uint16 {
	var all []uint16
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

func TestHellosAgainstGnuTLS(t *testing.T) {
	t.Parallel()
	count := 60
	if full() {
		count = 1500
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		b := buildOf(t, g)
		gen := newGenerator(3)
		var cases []testCase
		var want []*hello
		for len(cases) < count {
			c := testCase{priority: gen.priority()}
			if gen.chance(30) {
				c.config, c.priority = gen.config()
			}
			if l := speakable(c, b); l != nil {
				cases, want = append(cases, c), append(want, expectedHello(l))
			}
		}
		wrong := 0
		for i, got := range hellos(t, g, cases) {
			if got != nil && !got.EncryptThenMAC {
				want[i].EncryptThenMAC = false // GnuTLS leaves it out also where it sees no CBC
			}
			if diff := cmp.Diff(want[i], got); diff != "" && wrong < 5 {
				wrong++
				t.Errorf("%s: %q, config:\n%s(-expected +gnutls-cli)\n%s", b, cases[i].priority, cases[i].config, diff)
			}
		}
	})
}

// speakable expands a case if gnutls-cli can say hello with it over TCP.
func speakable(c testCase, b Build) *List {
	sys, _ := ParseSystem([]byte(c.config), "config")
	s, err := Parse(c.priority)
	if err != nil {
		return nil
	}
	l, err := s.Expand(b, sys)
	if err != nil || l.Options.NoExtensions {
		return nil
	}
	for _, kx := range l.KeyExchanges {
		if strings.HasPrefix(kx.Name, "SRP") {
			return nil // gnutls-cli would ask for a password
		}
	}
	tls := slices.ContainsFunc(l.Versions, func(v Entry) bool { return tls10 <= v.ID && v.ID <= tls13 })
	if !tls || len(expectedHello(l).Suites) == 0 {
		return nil
	}
	return l
}
