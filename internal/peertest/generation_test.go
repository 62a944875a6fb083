package peertest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// An outcome is how a test would have ended.
type outcome struct {
	failed, skipped bool
	text            string
}

// A recorder stands in for a test that is to fail or be skipped.
type recorder struct {
	testing.TB
	outcome
}

func (r *recorder) Fatal(args ...any) {
	r.failed, r.text = true, fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

func (r *recorder) Skip(args ...any) {
	r.skipped, r.text = true, fmt.Sprint(args...)
	runtime.Goexit()
}

// try tells how f ends a test.
func try(t *testing.T, f func(tb testing.TB)) outcome {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.outcome
}

func TestMissing(t *testing.T) {
	tests := []struct {
		name       string
		require    string
		generation Generation
		use        func(testing.TB, Generation)
		want       outcome
		reported   bool
	}{
		{name: "root", generation: Trixie, use: needed, want: outcome{skipped: true}, reported: true},
		{name: "root required", require: "1", generation: Trixie, use: needed, want: outcome{failed: true}},
		{name: "optional root", generation: Forky, use: needed, want: outcome{skipped: true}, reported: true},
		{name: "optional root, peers required", require: "1", generation: Forky, use: needed, want: outcome{skipped: true}, reported: true},
		{name: "program", generation: Host, use: noSuchProgram, want: outcome{skipped: true}, reported: true},
		{name: "program required", require: "1", generation: Host, use: noSuchProgram, want: outcome{failed: true}},
		{name: "node", require: "1", generation: Host, use: func(t testing.TB, _ Generation) { Node(t) }, want: outcome{skipped: true}, reported: true},
		{name: "nothing", require: "1", generation: Host, use: needed, want: outcome{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := t.TempDir() + "/report"
			t.Setenv("VIRTLS_CACHE", t.TempDir())
			t.Setenv("VIRTLS_REQUIRE_PEERS", tt.require)
			t.Setenv("VIRTLS_PEER_REPORT", file)
			reported.Clear()
			got := try(t, func(tb testing.TB) {
				tt.use(tb, tt.generation)
			})
			if got.failed != tt.want.failed || got.skipped != tt.want.skipped {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got.text != "" && !strings.Contains(got.text, "; to have it, run scripts/peers ") {
				t.Errorf("%q does not say how to get it", got.text)
			}
			if tt.reported {
				try(t, func(tb testing.TB) { tt.use(tb, tt.generation) })
				if got, want := readFile(t, file), got.text+"\n"; got != want {
					t.Errorf("the report has %q, want %q", got, want)
				}
			} else if _, err := os.Stat(file); err == nil {
				t.Errorf("the report has %q", readFile(t, file))
			}
		})
	}
}

func needed(t testing.TB, g Generation)        { g.Need(t) }
func noSuchProgram(t testing.TB, g Generation) { g.Run(t, Options{}, "no-such-program") }

func TestVersion(t *testing.T) {
	oldest := map[Generation]map[Program]string{
		Host:   {QEMU: "7.2", Libvirt: "9.0", GnuTLS: "3.7.9", OpenSSL: "3.0", Nbdkit: "1.32"},
		Trixie: {QEMU: "10.0", Libvirt: "11.3", GnuTLS: "3.8.9", OpenSSL: "3.5", Nbdkit: "1.42"},
		Forky:  {QEMU: "11.1", Libvirt: "12.8", GnuTLS: "3.8.13", OpenSSL: "3.6", Nbdkit: "1.48"},
	}
	Each(t, func(t *testing.T, g Generation) {
		for program, want := range oldest[g] {
			v := g.Version(t, program)
			t.Logf("%s %s (package %s)", program.name, v.Upstream, v.Package)
			if !v.AtLeast(want) || !strings.Contains(v.Package, v.Upstream[:strings.LastIndex(v.Upstream, ".")]) {
				t.Errorf("%s is %+v, want at least %s", program.name, v, want)
			}
		}
	})
}

func TestAtLeast(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		ok         bool
	}{
		{"10.0.13", "10.0", true},
		{"10.0.13", "10.0.13", true},
		{"10.0.13", "10.0.14", false},
		{"9.0.0", "11.3", false},
		{"11.1.2", "7.2", true},
		{"10.2", "10.10", false},
	} {
		if got := (Version{Upstream: tt.have}).AtLeast(tt.want); got != tt.ok {
			t.Errorf("%s at least %s: %t, want %t", tt.have, tt.want, got, tt.ok)
		}
	}
}
