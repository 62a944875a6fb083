package ca

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/internal/parallel"
	"virtls/pki"
)

// BenchmarkFleet makes what a fleet of 1,000 hosts needs: for each a server's
// and a client's certificate with a P-256 key of its own, durable files and
// register included, as apply does it.
func BenchmarkFleet(b *testing.B) {
	const hosts, batch = 1000, 1000
	before := cpuTime(b)
	for b.Loop() {
		b.StopTimer()
		s, a := newCA(b, stateDir(b), Options{}, AuthoritySpec{})
		b.StartTimer()
		for first := 0; first < hosts*2; first += batch {
			must(b, benchBatch(b, s, a, first, batch))
		}
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}

func benchBatch(b *testing.B, s *State, a *Authority, first, n int) error {
	orders := make([]Order, n)
	staged := make([]*atomicfile.Staged, n)
	places := make([]*register.Placement, n)
	err := parallel.For(b.Context(), n, func(i int) error {
		host := fmt.Sprintf("kvm%d.example.com", (first+i)/2)
		uses, role := Server, "server"
		if i%2 == 1 {
			uses, role = Client, "client"
		}
		dir := hostDir(s.Dir(), host)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		key, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.ECDSA, Bits: 256})
		if err != nil {
			return err
		}
		data, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, role+"-key.pem")
		if staged[i], err = atomicfile.Stage(path, data, 0o600); err != nil {
			return err
		}
		spec, err := Leaf(cn(host), pki.GeneralNames{pki.DNSName(host)}, uses, key.Public())
		places[i] = &register.Placement{Key: staged[i].Temp(), KeyPaths: []string{path}, Paths: []string{filepath.Join(dir, role+"-cert.pem")}}
		orders[i] = Order{Spec: spec, How: register.Apply, Holder: "host:" + host, Slot: "qemu/" + role, Place: places[i]}
		return err
	})
	if err != nil {
		return err
	}
	if err := atomicfile.Sync(staged); err != nil {
		return err
	}
	if _, err := a.Issue(b.Context(), orders); err != nil {
		return err
	}
	return s.Place(b.Context(), places)
}

// BenchmarkIssue signs and registers 2,000 certificates without files.
func BenchmarkIssue(b *testing.B) {
	_, a := newCA(b, stateDir(b), Options{}, AuthoritySpec{})
	orders := make([]Order, 2000)
	for i := range orders {
		orders[i] = order(b, fmt.Sprintf("kvm%d.example.com", i))
	}
	for b.Loop() {
		_, err := a.Issue(b.Context(), orders)
		must(b, err)
	}
}

// BenchmarkRSA3072 makes a key and its certificate; what counts is the CPU's time.
func BenchmarkRSA3072(b *testing.B) {
	_, a := newCA(b, stateDir(b), Options{}, AuthoritySpec{Key: pki.KeySpec{Algorithm: pki.RSA, Bits: 3072}})
	before := cpuTime(b)
	for b.Loop() {
		key := newKey(b, "rsa3072")
		spec, err := Leaf(cn("kvm1"), pki.GeneralNames{pki.DNSName("kvm1")}, Server, key.Public())
		must(b, err)
		issueOne(b, a, Order{Spec: spec})
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkMemory reports the heap in use after 20,000 certificates in batches.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		s, a := newCA(b, stateDir(b), Options{}, AuthoritySpec{})
		o := order(b, "kvm1.example.com")
		for range 10 {
			orders := make([]Order, 2000)
			for i := range orders {
				orders[i] = o
			}
			_, err := a.Issue(b.Context(), orders)
			must(b, err)
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapInuse)/1e6, "MB-heap")
		b.ReportMetric(float64(m.Sys)/1e6, "MB-sys")
		must(b, s.Close())
	}
}
