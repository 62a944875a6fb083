package sasl_test

import (
	"fmt"
	"log"

	"virtls/sasl"
)

// Both ends of a login by SCRAM. A protocol carries the messages; here they are
// handed over.
func Example() {
	accounts := sasl.NewAccounts()
	if err := accounts.Set("alice", []byte("correct horse")); err != nil {
		log.Fatal(err)
	}
	server := &sasl.Server{Accounts: func() *sasl.Accounts { return accounts }}
	layer := sasl.Layer{SSF: 128} // TLS with certificates and a cipher of 128 bits is below

	client, err := sasl.NewClient(server.Offer(layer), layer, sasl.ClientOptions{
		Login: &sasl.Login{User: "alice", Password: []byte("correct horse")},
	})
	if err != nil {
		log.Fatal(err)
	}
	exchange, err := server.Start(client.Mechanism, layer)
	if err != nil {
		log.Fatal(err)
	}
	for in, done := []byte(nil), false; !done; {
		out, err := client.Step(in)
		if err != nil {
			log.Fatal(err)
		}
		if in, done, err = exchange.Step(out); err != nil {
			log.Fatal(err) // the login has failed
		}
		if done && in != nil { // the server's proof
			if _, err := client.Step(in); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := exchange.Admit(); err != nil { // by the access list, if there is one
		log.Fatal(err)
	}
	if err := client.Finish(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(exchange.User, exchange.Mechanism)
	// Output: alice SCRAM-SHA-512
}
