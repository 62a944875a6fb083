package nbd_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"virtls/creds"
	"virtls/proto/nbd"
	"virtls/session"
)

// A disk is served to whoever has a pre-shared key, and written to and read.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// psktool -u rich -p keys.psk makes such a file.
	if err := os.WriteFile(filepath.Join(dir, "keys.psk"), []byte("rich:30313233343536373839616263646566\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk.raw"), make([]byte, 1<<20), 0o600); err != nil {
		log.Fatal(err)
	}

	// The server.
	keys, _, err := creds.LoadPSK(creds.PSKOptions{Dir: dir, Endpoint: creds.Server})
	if err != nil {
		log.Fatal(err)
	}
	disk, err := nbd.OpenFile(filepath.Join(dir, "disk.raw"), nbd.FileOptions{Write: true})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		log.Fatal(err)
	}
	server := &nbd.Server{
		Exports: []nbd.Export{{Name: "disk", Device: disk}},
		Secure:  nbd.Session(func() session.Options { return session.Options{Credentials: keys} }),
		Log: func(e nbd.Event) {
			if e.Kind == nbd.Opened {
				fmt.Printf("%s uses %s\n", e.Peer.Name, e.Export)
			}
		},
	}
	done := make(chan error)
	go func() { done <- server.Serve(ctx, listener) }()

	// The client.
	key, _, err := creds.LoadPSK(creds.PSKOptions{Dir: dir, Username: "rich"})
	if err != nil {
		log.Fatal(err)
	}
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	client, err := nbd.NewClient(ctx, conn, nbd.Options{
		Export: "disk",
		Secure: nbd.Session(func() session.Options { return session.Options{Credentials: key} }),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.WriteAt([]byte("boot"), 512); err != nil {
		log.Fatal(err)
	}
	text := make([]byte, 4)
	if _, err := client.ReadAt(text, 512); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s at 512 of %d octets\n", text, client.Size())
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	cancel() // which ends the server
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output:
	// rich uses disk
	// boot at 512 of 1048576 octets
}
