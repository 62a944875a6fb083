package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

// gnutls-cli changes its key, and wants ours to change, on a line of its own.
func TestGnutlsClientRekeys(t *testing.T) {
	dir := newAuthority(t, "").dir(want{})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, engine := range engines {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			heard := make(chan string, 1)
			go func() {
				var all strings.Builder
				defer func() { heard <- all.String() }()
				nc, err := l.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, NoVerifyPeer: true}), Engine: engine})
				if err != nil {
					fmt.Fprint(&all, err)
					return
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprintf(&all, "%s\n", lines.Text())
					fmt.Fprintf(c, "heard %s\n", lines.Text())
				}
			}()
			stdin, keyboard := io.Pipe()
			client := g.Start(t, peertest.Options{Stdin: stdin}, peertest.Logged("heard one"), "gnutls-cli", "-d", "5", "--inline-commands", "--x509cafile", dir+"/ca-cert.pem",
				"-p", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "localhost")
			say := func(line string) {
				_, err := io.WriteString(keyboard, line+"\n")
				must(t, err)
			}
			say("one")
			client.Ready()
			say("^rekey^")
			say("two")
			client.Until(peertest.Logged("heard two"))
			must(t, keyboard.Close())
			if got := <-heard; got != "one\ntwo\n" {
				t.Errorf("%s: heard %q", engine, got)
			}
			if log := client.Wait().Stderr; !strings.Contains(log, "KEY_UPDATE") && !strings.Contains(log, "KEY UPDATE") {
				t.Errorf("%s: no key was updated:\n%.3000s", engine, log)
			}
		}
	})
}
