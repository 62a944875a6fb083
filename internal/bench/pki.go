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
	hosts, large := 1000, 10000
	if b.quick {
		hosts, large = 100, 1000
	}
	ours, err := b.compare(hosts)
	if err != nil {
		return err
	}
	if err := b.rsa(); err != nil {
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

// compare makes P-256 fleets in rounds, in each of them with virtls, with
// certtool and with a script around certtool. Nothing is deleted meanwhile.
func (b *bench) compare(hosts int) (usage, error) {
	sample, rounds := 100, 5
	if b.quick {
		sample, rounds = 10, 3
	}
	t, err := newCerttool(filepath.Join(b.dir, "certtool-p256"), "--key-type=ecdsa")
	if err != nil {
		return usage{}, err
	}
	var ours, proved, alone, script series
	if err := b.inTurns(rounds, "p256", []side{
		{&ours, func(name string) (usage, error) { return b.fleet(name, hosts, "ec", "none") }},
		{&alone, func(name string) (usage, error) { return t.processes(name, sample) }},
		{&proved, func(name string) (usage, error) { return b.fleet(name, hosts, "ec", "each") }},
		{&script, func(name string) (usage, error) { return t.script(name, sample) }},
	}); err != nil {
		return usage{}, err
	}
	alone, script = alone.times(float64(hosts)/float64(sample)), script.times(float64(hosts)/float64(sample))
	cpu := ours.median().cpu
	row := func(name string, s series, bar string) []string {
		m := s.median()
		return []string{name, seconds(m.wall), seconds(m.cpu), s.spread(), mebibytes(m.memory), ratio(m.cpu, cpu), bar}
	}
	table(fmt.Sprintf("%d hosts, a server and a client certificate with a P-256 key each: medians of %d rounds; certtool's from %d hosts in each", hosts, rounds, sample), [][]string{
		{"", "wall", "CPU", "lowest-highest", "memory", "CPU ratio", "bar"},
		row("virtls apply --prove none: files and register on the disk", ours, "at most 3 s wall: "+verdict(ours.median().wall <= 3*time.Second)),
		row("virtls apply: also proved by handshakes", proved, ""),
		row("certtool: its processes alone, 4 for a host, nothing synced", alone, "at least 10 times: "+verdict(alone.median().cpu >= 10*cpu)),
		row("certtool: the script that makes the same files with their modes, synced", script, ""),
	})
	return ours.median(), nil
}

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.1f", float64(a)/float64(b)) }

// rsa compares keys and certificates per CPU-second, of all rounds together: how
// long the search for one key takes is chance, a tenth of the mean for 50 keys.
func (b *bench) rsa() error {
	hosts, rounds := 30, 5
	if b.quick {
		hosts, rounds = 4, 1
	}
	t, err := newCerttool(filepath.Join(b.dir, "certtool-rsa"), "--key-type=rsa", "--bits=3072")
	if err != nil {
		return err
	}
	var ours, theirs series
	if err := b.inTurns(rounds, "rsa", []side{
		{&ours, func(name string) (usage, error) { return b.fleet(name, hosts, "rsa3072", "none") }},
		{&theirs, func(name string) (usage, error) { return t.processes(name, hosts) }},
	}); err != nil {
		return err
	}
	keys := 2 * hosts * rounds
	row := func(name string, s series, bar string) []string {
		u := s.sum()
		return []string{name, seconds(u.wall), seconds(u.cpu), s.spread(), fmt.Sprintf("%.2f", float64(keys)/u.cpu.Seconds()), bar}
	}
	table(fmt.Sprintf("%d RSA-3072 keys with certificates, in %d rounds", keys, rounds), [][]string{
		{"", "wall", "CPU", "lowest-highest round", "keys per CPU-second", "bar"},
		row("virtls apply --prove none", ours, "no slower than certtool: "+verdict(ours.sum().cpu <= theirs.sum().cpu)),
		row("certtool, 2 processes each", theirs, ""),
	})
	return nil
}

// A side of a comparison is one thing that is measured in every round.
type side struct {
	to  *series
	run func(name string) (usage, error)
}

// inTurns runs the sides one after the other, so many times.
func (b *bench) inTurns(rounds int, name string, sides []side) error {
	for round := range rounds {
		for i, s := range sides {
			if err := b.settle(); err != nil {
				return err
			}
			u, err := s.run(fmt.Sprintf("%s-%d-%d", name, round, i))
			if err != nil {
				return err
			}
			*s.to = append(*s.to, u)
		}
	}
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
