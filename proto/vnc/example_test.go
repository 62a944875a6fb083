package vnc_test

import (
	"context"
	"fmt"
	"image/png"
	"log"
	"net"
	"os"
	"time"

	"virtls/creds"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/session"
)

// The screen of a guest whose QEMU has -vnc 0.0.0.0:0,tls-creds=tls0 is looked at,
// with a certificate that QEMU accepts, and kept as a picture.
func ExampleNewScreen() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	files, _, err := creds.LoadX509(creds.X509Options{Dir: "/etc/pki/qemu"}) // ca-cert.pem, client-cert.pem, client-key.pem
	if err != nil {
		log.Fatal(err)
	}
	plain, err := net.Dial("tcp", "kvm1.example.com:5900")
	if err != nil {
		log.Fatal(err)
	}
	conn, err := vnc.Dial(ctx, plain, vnc.Options{
		X509: func() session.Options {
			return session.Options{Credentials: files, Hostname: "kvm1.example.com"}
		},
	})
	if err != nil {
		log.Fatal(err) // a finding: who refused whom, why, and what helps
	}
	defer conn.Close()
	screen, err := vnc.NewScreen(ctx, conn, true)
	if err != nil {
		log.Fatal(err)
	}
	picture, err := screen.Picture(ctx)
	if err != nil {
		log.Fatal(err)
	}
	out, err := os.Create("kvm1.png")
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	if err := png.Encode(out, picture); err != nil {
		log.Fatal(err)
	}
}

// A server lets a user in by SASL, and the client finds out that the server
// knows the password, too. Without TLS that is for UNIX sockets alone.
func ExampleAccept() {
	ctx := context.Background()
	accounts := sasl.NewAccounts()
	if err := accounts.Set("alice", []byte("correct horse")); err != nil {
		log.Fatal(err)
	}
	atServer, atClient := net.Pipe()
	here := sasl.Layer{Local: true} // as of a UNIX socket

	done := make(chan error)
	go func() {
		conn, err := vnc.Accept(ctx, atServer, vnc.ServerOptions{
			SASL:  &sasl.Server{Accounts: func() *sasl.Accounts { return accounts }},
			Below: here,
		})
		if err == nil {
			fmt.Printf("%s is let in by %s\n", conn.User, conn.Mechanism)
			err = conn.Close()
		}
		done <- err
	}()

	conn, err := vnc.Dial(ctx, atClient, vnc.Options{
		Login: &sasl.Login{User: "alice", Password: []byte("correct horse")},
		Below: here,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.Security)
	// Output:
	// alice is let in by SCRAM-SHA-512
	// SASL
}
