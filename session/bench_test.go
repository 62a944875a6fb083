package session

import (
	"testing"
	"virtls/internal/peertest"
)

// A handshake with certificates at both ends, in memory.
func BenchmarkHandshake(b *testing.B) {
	for _, engine := range engines {
		server, client := x509Pair(b, engine)
		b.Run(string(engine), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a, c := peertest.Pair(b)
				both(b, a, c, server, client)
				a.Close()
				c.Close()
			}
		})
	}
}
