package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// benchValidate judges a staged fleet, and has QEMU and libvirt load some of the
// same files, a process for each set as a script would.
func benchValidate(b *bench) error {
	hosts, sample := 1000, 50
	if b.quick {
		hosts, sample = 100, 5
	}
	var f strings.Builder
	f.WriteString("organization: Bench\ndefaults: {uses: {qemu: both, libvirt: both}}\nhosts:\n")
	for i := range hosts {
		fmt.Fprintf(&f, "  - {name: kvm%d.example.com, addresses: [10.%d.%d.%d]}\n", i, i>>16, i>>8&255, i&255)
	}
	file, state := filepath.Join(b.dir, "validate.yaml"), filepath.Join(b.dir, "validate")
	if err := os.WriteFile(file, []byte(f.String()), 0o600); err != nil {
		return err
	}
	if _, err := measure(exec.Command(b.virtls, "apply", "--no-passphrase", "--prove", "none", "--state", state, file)); err != nil {
		return err
	}
	ours, err := measure(exec.Command(b.virtls, "validate", state))
	if err != nil {
		return err
	}
	var theirs usage
	for i := range sample {
		dir := filepath.Join(state, "hosts", fmt.Sprintf("kvm%d.example.com", i), "etc/pki/qemu")
		// Clients, because QEMU's older servers make DH parameters when they load their files.
		u, err := measure(exec.Command("qemu-img", "info", "--object", "tls-creds-x509,id=t,endpoint=client,dir="+dir, "--image-opts", "driver=null-co"))
		if err != nil {
			return err
		}
		theirs = theirs.plus(u)
	}
	// A host has four sets of files.
	scale := 4 * float64(hosts) / float64(sample)
	theirs.cpu, theirs.wall = time.Duration(float64(theirs.cpu)*scale), time.Duration(float64(theirs.wall)*scale)
	table(fmt.Sprintf("%d staged hosts, 4 identities each, judged", hosts), [][]string{
		{"", "wall", "CPU", "memory", "versions", "bar"},
		{"virtls validate", seconds(ours.wall), seconds(ours.cpu), mebibytes(ours.memory), "all", "at most 5 s wall: " + verdict(ours.wall <= 5*time.Second)},
		{"qemu-img, a process each (from a sample)", seconds(theirs.wall), seconds(theirs.cpu), "", "its own", ""},
	})
	return nil
}
