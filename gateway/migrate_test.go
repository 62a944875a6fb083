package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

// contents are octets for the guest's memory that do not compress, so that a
// migration has something to carry.
func contents(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	file := filepath.Join(t.TempDir(), "contents")
	must(t, os.WriteFile(file, b, 0o644))
	return file
}

// migrated waits until a migration has ended, and returns how.
func (q *guest) migrated() (status, reason string) {
	q.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var m struct {
			Status string
			Reason string `json:"error-desc"`
		}
		must(q.t, json.Unmarshal(q.do("query-migrate", nil), &m))
		switch m.Status {
		case "completed", "failed", "cancelled":
			return m.Status, m.Reason
		}
		if time.Now().After(end) {
			q.t.Fatalf("the migration is still %q", m.Status)
		}
	}
}

// A live guest moves through a gateway, main channel and four multifd channels,
// and runs on.
func TestQemuMigration(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	rom, ram := firmware(t), contents(t, 20<<20)
	capabilities := map[string]any{"capabilities": []any{map[string]any{"capability": "multifd", "state": true}}}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct {
			name                string
			source, destination bool // have TLS
			records             int  // that the gateway sends with one key
		}{
			{"TLS at both ends", true, true, 0},
			{"TLS source and plain destination", true, false, 0},
			{"plain source and TLS destination", false, true, 0},
			// GnuTLS takes 8 new keys in a second.
			{"TLS destination and new keys", false, true, 150},
		} {
			t.Run(tt.name, func(t *testing.T) {
				parameters := func(q *guest, tls bool) {
					p := map[string]any{"multifd-channels": 4, "max-bandwidth": 10 << 30}
					if tls {
						p["tls-creds"] = "tls0"
					}
					q.do("migrate-set-capabilities", capabilities)
					q.do("migrate-set-parameters", p)
				}
				load := []string{"-device", "loader,addr=0x200000,force-raw=on,file=" + ram}
				destination := boot(t, g, rom, append(append(qemuCreds(dir, creds.Server), load...), "-incoming", "defer")...)
				parameters(destination, tt.destination)
				port := peertest.FreePort(t)
				destination.do("migrate-incoming", map[string]any{"uri": fmt.Sprintf("tcp:127.0.0.1:%d", port)})

				o := Options{
					Listen:  Side{Address: address(t, "tcp://127.0.0.1:0")},
					Connect: Side{Address: address(t, fmt.Sprintf("tcp://localhost:%d", port))},
				}
				if tt.source {
					o.Listen.Credentials = holder(t, dir, creds.Server)
				}
				if tt.destination {
					o.Connect.Credentials = holder(t, dir, creds.Client)
				}
				var keys *tap
				if tt.records > 0 {
					keys = tapped(t, fmt.Sprintf("127.0.0.1:%d", port))
					o.Connect = Side{address(t, "tcp://localhost:"+keys.port), native(t, dir, creds.Client)}
					o.recordsPerKey = tt.records
				}
				gw := run(t, o)

				source := boot(t, g, rom, append(qemuCreds(dir, creds.Client), load...)...)
				source.runs()
				parameters(source, tt.source)
				source.do("migrate", map[string]any{"uri": fmt.Sprintf("tcp:localhost:%d", gw.Addr().(*net.TCPAddr).Port)})
				if status, reason := source.migrated(); status != "completed" {
					t.Fatalf("the migration has %s: %s\n%s", status, reason, destination.Stderr())
				}
				counted := source.count()
				if status, _ := destination.migrated(); status != "completed" {
					t.Errorf("the destination says %q", status)
				}
				if now := destination.count(); now < counted {
					t.Errorf("the guest had counted to %d, and now to %d", counted, now)
				}
				destination.runs()
				if n := gw.serial.Load(); n != 5 {
					t.Errorf("%d connections, want the main channel and four of multifd", n)
				}
				if keys != nil {
					if longest, updates := keys.seen(); updates == 0 || longest > tt.records+handshakeRecords {
						t.Errorf("%d keys were new, and one was used for %d records", updates, longest)
					}
				}
				for n := range 5 {
					gw.log.await(t, "msg=closed", fmt.Sprintf("connection=%d ", n+1))
				}
			})
		}
	})
}
