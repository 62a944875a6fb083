package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// benchPKI makes fleets with virtls, and the same keys and certificates with
// certtool, a process for each step as scripts do.
func benchPKI(b *bench) error {
	hosts, sample, rsa, large := 1000, 1000, 24, 10000
	if b.quick {
		hosts, sample, rsa, large = 100, 20, 4, 1000
	}
	ours, err := b.fleet("p256", hosts, "ec", "none")
	if err != nil {
		return err
	}
	proved, err := b.fleet("p256-proved", hosts, "ec", "each")
	if err != nil {
		return err
	}
	theirs, err := b.certtoolFleet("certtool-p256", sample, "--key-type=ecdsa")
	if err != nil {
		return err
	}
	scale := float64(hosts) / float64(sample)
	theirs.cpu, theirs.wall = time.Duration(float64(theirs.cpu)*scale), time.Duration(float64(theirs.wall)*scale)
	table(fmt.Sprintf("%d hosts, a server and a client certificate with a P-256 key each; files and register durable", hosts), [][]string{
		{"", "wall", "CPU", "memory", "CPU ratio", "bar"},
		{"virtls apply --prove none", seconds(ours.wall), seconds(ours.cpu), mebibytes(ours.memory), "1", "at most 3 s wall: " + verdict(ours.wall <= 3*time.Second)},
		{"virtls apply (with proof)", seconds(proved.wall), seconds(proved.cpu), mebibytes(proved.memory), ratio(proved.cpu, ours.cpu), ""},
		{"certtool, 2 processes each", seconds(theirs.wall), seconds(theirs.cpu), "", ratio(theirs.cpu, ours.cpu), "at least 10 times: " + verdict(theirs.cpu >= 10*ours.cpu)},
	})
	if err := b.rsa(rsa); err != nil {
		return err
	}
	many, err := b.fleet("large", large, "ec", "none")
	if err != nil {
		return err
	}
	table("memory as the fleet grows", [][]string{
		{"hosts", "memory", "wall", "bar"},
		{fmt.Sprint(hosts), mebibytes(ours.memory), seconds(ours.wall), ""},
		{fmt.Sprint(large), mebibytes(many.memory), seconds(many.wall), "below 300 MB: " + verdict(many.memory < 300e6)},
	})
	return nil
}

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.1f", float64(a)/float64(b)) }

// rsa compares keys and certificates per CPU-second.
func (b *bench) rsa(n int) error {
	ours, err := b.fleet("rsa", n, "rsa3072", "none")
	if err != nil {
		return err
	}
	theirs, err := b.certtoolFleet("certtool-rsa", n, "--key-type=rsa", "--bits=3072")
	if err != nil {
		return err
	}
	perSecond := func(u usage) string { return fmt.Sprintf("%.2f", float64(2*n)/u.cpu.Seconds()) }
	table(fmt.Sprintf("%d RSA-3072 keys with certificates", 2*n), [][]string{
		{"", "wall", "CPU", "per CPU-second", "bar"},
		{"virtls apply --prove none", seconds(ours.wall), seconds(ours.cpu), perSecond(ours), "no slower than certtool: " + verdict(ours.cpu <= theirs.cpu)},
		{"certtool, 2 processes each", seconds(theirs.wall), seconds(theirs.cpu), perSecond(theirs), ""},
	})
	return nil
}

// fleet applies a fleet file with so many hosts.
func (b *bench) fleet(name string, hosts int, key, prove string) (usage, error) {
	var f strings.Builder
	fmt.Fprintf(&f, "organization: Bench\ndefaults:\n  key: %s\n  uses: {qemu: [server, client]}\nhosts:\n", key)
	for i := range hosts {
		fmt.Fprintf(&f, "  - name: kvm%d.example.com\n    addresses: [10.%d.%d.%d]\n", i, i>>16, i>>8&255, i&255)
	}
	file := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(f.String()), 0o600); err != nil {
		return usage{}, err
	}
	return measure(exec.Command(b.virtls, "apply", "--no-passphrase", "--prove", prove, "--state", filepath.Join(b.dir, name), file))
}

// certtoolFleet makes the same with certtool: a key and a certificate for each
// role of each host.
func (b *bench) certtoolFleet(name string, hosts int, keyFlags ...string) (total usage, err error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return total, err
	}
	path := func(file string) string { return filepath.Join(dir, file) }
	step := func(args ...string) error {
		u, err := measure(exec.Command("certtool", args...))
		total = total.plus(u)
		return err
	}
	if err := os.WriteFile(path("ca.info"), []byte("cn = Bench CA\nca\ncert_signing_key\nexpiration_days = 3650\n"), 0o600); err != nil {
		return total, err
	}
	if err := step(append([]string{"--generate-privkey", "--outfile", path("ca-key.pem")}, keyFlags...)...); err != nil {
		return total, err
	}
	if err := step("--generate-self-signed", "--load-privkey", path("ca-key.pem"), "--template", path("ca.info"), "--outfile", path("ca-cert.pem")); err != nil {
		return total, err
	}
	for i := range hosts {
		for _, role := range []string{"server", "client"} {
			id := fmt.Sprintf("%s-%d", role, i)
			template := fmt.Sprintf("organization = Bench\ncn = kvm%d.example.com\ndns_name = kvm%d.example.com\ndns_name = kvm%d\nip_address = 10.0.%d.%d\ntls_www_%s\nsigning_key\n",
				i, i, i, i>>8&255, i&255, role)
			if err := os.WriteFile(path(id+".info"), []byte(template), 0o600); err != nil {
				return total, err
			}
			if err := step(append([]string{"--generate-privkey", "--outfile", path(id + "-key.pem")}, keyFlags...)...); err != nil {
				return total, err
			}
			if err := step("--generate-certificate", "--load-privkey", path(id+"-key.pem"), "--template", path(id+".info"),
				"--load-ca-certificate", path("ca-cert.pem"), "--load-ca-privkey", path("ca-key.pem"), "--outfile", path(id+"-cert.pem")); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}
