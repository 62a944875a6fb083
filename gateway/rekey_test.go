package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

// A peer changes its keys in mid-stream and wants the same of the gateway.
func TestKeyUpdate(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for name, h := range map[string]*creds.Holder{"crypto_tls": holder(t, dir, creds.Server), "our engine": native(t, dir, creds.Server)} {
			t.Run(name, func(t *testing.T) {
				heard := make(chan string, 1)
				gw := run(t, Options{
					Listen: Side{address(t, "tls://127.0.0.1:0"), h},
					Connect: Side{Address: address(t, serve(t, "unix", func(c net.Conn) {
						c.SetDeadline(time.Now().Add(20 * time.Second))
						var all strings.Builder
						buf := make([]byte, 4096)
						for !strings.Contains(all.String(), "last\n") {
							n, err := c.Read(buf)
							if err != nil {
								break
							}
							all.Write(buf[:n])
							fmt.Fprintf(c, "heard %d\n", all.Len())
						}
						heard <- all.String()
						io.Copy(io.Discard, c)
					}))},
				})
				lines, stdin := io.Pipe()
				defer stdin.Close()
				client := g.Start(t, peertest.Options{Stdin: lines}, peertest.Logged("heard 6"), "openssl", "s_client", "-connect", gw.Addr().String(),
					"-CAfile", dir+"/ca-cert.pem", "-cert", dir+"/client-cert.pem", "-key", dir+"/client-key.pem", "-tls1_3")
				say := func(text string) {
					_, err := io.WriteString(stdin, text)
					must(t, err)
				}
				say("first\n")
				client.Ready()
				say("K\n")
				client.Until(peertest.Logged("KEYUPDATE"))
				say("last\n")
				client.Until(peertest.Logged("heard 11"))
				if got := <-heard; got != "first\nlast\n" {
					t.Errorf("the service heard %q", got)
				}
				must(t, stdin.Close())
			})
		}
	})
}
