package vnc

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"virtls/finding"
)

func findingOf(err error) finding.Finding { return finding.Of(err) }

// wantAnswer sends what a client says and compares all that comes back until
// the other end closes. "CHALLENGE" stands for any 16 octets.
func wantAnswer(t testing.TB, c net.Conn, says, want string) {
	t.Helper()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := io.WriteString(c, says)
	must(t, err)
	got, err := io.ReadAll(c) // a reset after the answer is as good as an end
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the other end does not close the connection after %q", got)
	}
	if before, after, ok := strings.Cut(want, "CHALLENGE"); ok {
		if len(got) < len(before)+challengeSize {
			t.Fatalf("got %q; want %q", got, want)
		}
		want = before + string(got[len(before):len(before)+challengeSize]) + after
	}
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
