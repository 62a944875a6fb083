package validate

import (
	"fmt"
	"testing"

	"virtls/layout"
)

// BenchmarkDir judges staged hosts with 4 identities each. The figure that
// counts is that of `make bench`.
func BenchmarkDir(b *testing.B) {
	const hosts = 100
	c := newCast(b)
	f := layer{}
	for i := range hosts {
		for _, r := range []layout.Role{layout.Server, layout.Client} {
			own := leaf(b, c.root, r, keyed(newKey("ec")))
			for _, l := range []layout.Location{qemuAt, libvirtAt} {
				for file, data := range (layer{}).put(b, l, bundle(c.root), r, own) {
					f[fmt.Sprintf("/hosts/kvm%d.example.com%s", i, file)] = data
				}
			}
		}
	}
	root := f.write(b)
	b.ResetTimer()
	for b.Loop() {
		r, err := Dir(b.Context(), root, Options{})
		if err != nil || r.Hosts != hosts || !r.Accepted() {
			b.Fatal(err, r)
		}
	}
	b.ReportMetric(float64(hosts*b.N)/b.Elapsed().Seconds(), "hosts/s")
}
