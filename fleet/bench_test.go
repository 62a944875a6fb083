package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"virtls/ca"
)

// BenchmarkApply makes a fleet of 500 hosts with two P-256 certificates each.
func BenchmarkApply(b *testing.B) {
	var f strings.Builder
	f.WriteString("organization: Bench\ndefaults:\n  uses: {qemu: [server, client]}\nhosts:\n")
	for i := range 500 {
		fmt.Fprintf(&f, "  - name: kvm%d.example.com\n    addresses: [10.0.%d.%d]\n", i, i>>8, i&255)
	}
	file, err := Parse("fleet.yaml", []byte(f.String()))
	if err != nil {
		b.Fatal(err)
	}
	for _, prove := range []ProveLevel{ProveNone, ProveEach} {
		b.Run(string(prove), func(b *testing.B) {
			for b.Loop() {
				state, err := ca.OpenState(context.Background(), b.TempDir()+"/pki", ca.Options{Create: true})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Apply(context.Background(), file, state, Options{Prove: prove}); err != nil {
					b.Fatal(err)
				}
				state.Close()
			}
		})
	}
}
