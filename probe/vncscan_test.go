package probe

import (
	"testing"
	"time"

	"virtls/internal/peertest"
)

// A scan goes through VeNCrypt, and begins at once below a websocket.
func TestVNCScan(t *testing.T) {
	l := &lab{t: t, g: peertest.Host}
	files := server.write(t)
	o := Options{Scan: true, Timeout: 20 * time.Second, Credentials: client(t, peer.write(t), "")}
	for text, port := range map[string]int{"vnc://localhost:%d": l.vnc(screen{dir: files}), "wss://localhost:%d": l.vnc(screen{dir: files, websocket: true})} {
		r := Run(t.Context(), target(t, text, port), o)
		if r.Posture != Mutual || r.Scan == nil || r.Scan.Versions[0].Version != "TLS 1.3" || !r.Scan.Versions[0].Accepted || r.Stages[len(r.Stages)-1].Status != Passed {
			t.Errorf("%s: %s, %+v, %v", text, codesOf(r), r.Scan, r.Stages)
		}
	}
	r := Run(t.Context(), target(t, "vnc://localhost:%d", l.vnc(screen{})), o)
	if last := r.Stages[len(r.Stages)-1]; last.Name != StageScan || last.Status != Failed || last.Detail != "the server has no TLS" {
		t.Errorf("without TLS: %+v", last)
	}
}
