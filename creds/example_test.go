package creds_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
)

// A program that runs for long keeps its credentials in a Holder, which follows
// the files. Here a reload is asked for; Watch makes one when a file changes.
func ExampleHolder() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "keys.psk")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	write("rich:30313233343536373839616263646566\n")
	holder, err := creds.NewHolder(ctx, func(context.Context) (creds.Credentials, []finding.Finding, error) {
		return creds.LoadPSK(creds.PSKOptions{Dir: dir, Username: "rich"})
	})
	if err != nil {
		log.Fatal(err)
	}
	before := holder.Current() // for one session, to its end

	write("someone:30313233343536373839616263646566\n")
	err = holder.Reload(ctx)
	fmt.Println(finding.Of(err).Code)
	fmt.Println("the old ones stay:", holder.Current() == before)
	// Output:
	// psk-user-unknown
	// the old ones stay: true
}

// What a release of QEMU says of a directory, before anybody starts it.
func ExampleConsumer_Judge() {
	qemu, err := creds.ConsumerFor(creds.QEMUServer, "7.2")
	if err != nil {
		log.Fatal(err)
	}
	files := layout.System(layout.QEMU, "/nonexistent").Files(layout.Server)
	judgement := qemu.Judge(files, creds.JudgeOptions{})
	fmt.Println(qemu, "accepts it:", judgement.Accepted)
	if p := judgement.Refused(); p != nil {
		fmt.Println(p.Text)
	}
	// Output:
	// QEMU 7.2 accepts it: false
	// Unable to access credentials /nonexistent/ca-cert.pem: No such file or directory
}
