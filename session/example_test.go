package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/session"
)

// keys writes a key for a user into a directory, as psktool does, and returns
// credentials for both ends. The server reads the file at every handshake.
func keys() (server, client creds.Credentials, remove func()) {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.psk"), []byte("rich:30313233343536373839616263646566\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	s, _, err := creds.LoadPSK(creds.PSKOptions{Dir: dir, Endpoint: creds.Server})
	if err != nil {
		log.Fatal(err)
	}
	c, _, err := creds.LoadPSK(creds.PSKOptions{Dir: dir, Username: "rich"})
	if err != nil {
		log.Fatal(err)
	}
	return s, c, func() { os.RemoveAll(dir) }
}

// The handshake loop of a transport of one's own: here two queues of bytes in
// memory.
func Example() {
	serverCreds, clientCreds, remove := keys()
	defer remove()
	toServer, toClient := make(chan []byte, 8), make(chan []byte, 8)

	// run makes the handshake and returns a session whose peer has been checked.
	run := func(o session.Options, in <-chan []byte, out chan<- []byte) (*session.Session, error) {
		s, err := session.New(o)
		if err != nil {
			return nil, err
		}
		send := func() {
			if b := s.Output(); len(b) > 0 {
				out <- append([]byte(nil), b...)
				s.Sent(len(b))
			}
		}
		for {
			status, err := s.Handshake()
			send() // after an error, the alert
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			switch status {
			case session.Sending: // done
			case session.Receiving:
				s.Feed(<-in)
			case session.Complete:
				err := s.CheckPeer()
				send()
				return s, err
			}
		}
	}

	done := make(chan error)
	go func() {
		s, err := run(session.Options{Credentials: serverCreds}, toServer, toClient)
		if err != nil {
			done <- err
			return
		}
		defer s.Close()
		buf := make([]byte, 100)
		n, err := s.Read(buf)
		for errors.Is(err, session.ErrWantInput) {
			s.Feed(<-toServer)
			n, err = s.Read(buf)
		}
		fmt.Printf("%s says %q\n", s.State().PeerName, buf[:n])
		done <- err
	}()

	c, err := run(session.Options{Credentials: clientCreds}, toClient, toServer)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("good morning")); err != nil {
		log.Fatal(err)
	}
	c.Bye()
	toServer <- c.Output()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.State().Version, c.State().Suite)
	// Output:
	// rich says "good morning"
	// TLS 1.3 TLS_AES_128_GCM_SHA256
}

// A server that knows its clients by name, and renews its credentials while it
// runs.
func ExampleOpen() {
	serverCreds, clientCreds, remove := keys()
	defer remove()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// A service loads with a function that reads its files; holder.Watch(ctx, ...)
	// or holder.Reload(ctx) then bring new ones in.
	holder, err := creds.NewHolder(ctx, func(context.Context) (creds.Credentials, []finding.Finding, error) { return serverCreds, nil, nil })
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				c, err := session.Open(ctx, nc, session.Options{Credentials: holder.Current(), Authorizer: authz.DNList{"rich"}})
				if err != nil {
					log.Print(err) // who was refused, and why
					return
				}
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()

	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	c, err := session.Open(ctx, nc, session.Options{Credentials: clientCreds})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "echo")
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c, buf); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf)
	// Output: echo
}
