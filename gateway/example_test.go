package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"virtls/creds"
	"virtls/finding"
	"virtls/gateway"
	"virtls/session"
)

// TLS in front of a service on a UNIX socket, for whoever has a pre-shared key.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "keys.psk"), []byte("rich:30313233343536373839616263646566\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	service, err := net.Listen("unix", filepath.Join(dir, "service"))
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	go func() { // the service says one line
		if c, err := service.Accept(); err == nil {
			io.WriteString(c, "hello\n")
			c.Close()
		}
	}()

	keys, err := creds.NewHolder(ctx, func(context.Context) (creds.Credentials, []finding.Finding, error) {
		return creds.LoadPSK(creds.PSKOptions{Dir: dir, Endpoint: creds.Server})
	})
	if err != nil {
		log.Fatal(err)
	}
	listen, err := gateway.ParseAddress("tls://127.0.0.1:0", "")
	if err != nil {
		log.Fatal(err)
	}
	connect, err := gateway.ParseAddress("unix://"+service.Addr().String(), "")
	if err != nil {
		log.Fatal(err)
	}
	g, err := gateway.New(gateway.Options{
		Name: "console", Protocol: gateway.TLS,
		Listen:  gateway.Side{Address: listen, Credentials: keys},
		Connect: gateway.Side{Address: connect},
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := g.Listen(ctx); err != nil {
		log.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- g.Serve(ctx) }()

	// A client.
	key, _, err := creds.LoadPSK(creds.PSKOptions{Dir: dir, Username: "rich"})
	if err != nil {
		log.Fatal(err)
	}
	plain, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	conn, err := session.Open(ctx, plain, session.Options{Credentials: key})
	if err != nil {
		log.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(line)
	conn.Close()
	cancel()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output: hello
}
