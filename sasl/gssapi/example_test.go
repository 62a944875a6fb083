package gssapi_test

import (
	"fmt"

	"virtls/sasl"
	"virtls/sasl/cyrus"
	"virtls/sasl/gssapi"
)

// A server that is set up by the configuration that QEMU reads. What is never
// used here, such as DIGEST-MD5, is left out.
func ExampleServer() {
	conf, err := cyrus.Parse("/etc/sasl2/qemu.conf", []byte("mech_list: gssapi scram-sha-256 digest-md5\nkeytab: /etc/sasl2/qemu.keytab\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	accounts := sasl.NewAccounts()
	server := &sasl.Server{
		Mechanisms: conf.Mechanisms(),
		GSSAPI:     &gssapi.Server{Keytab: conf.Value("keytab")},
		Accounts:   func() *sasl.Accounts { return accounts },
	}
	fmt.Println("without TLS:", server.Offer(sasl.Layer{}))
	fmt.Println("with TLS:", server.Offer(sasl.Layer{SSF: 256}))
	// Output:
	// without TLS: [GSSAPI]
	// with TLS: [GSSAPI SCRAM-SHA-256]
}
