package probe

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

// Kerberos without TLS: SASL encrypts what follows the login.
func TestVNCKerberos(t *testing.T) {
	kdc := peertest.StartKDC(t, "EXAMPLE.COM")
	kdc.User("fred", vncPassword)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte("mech_list: gssapi\nkeytab: "+kdc.Keytab("vnc/peer", "vnc/localhost")+"\n"), 0o600))
	cache := kdc.Login("fred", vncPassword)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		l := &lab{t: t, g: g}
		port := l.vnc(screen{options: ",sasl=on", environment: append(kdc.Env(""), "SASL_CONF_PATH="+dir)})
		// Cyrus SASL has a key for the machine's own name.
		o := Options{Timeout: 20 * time.Second, Screenshot: true, Hostname: "peer"}
		r := Run(t.Context(), target(t, "vnc://localhost:%d", port), o)
		if codesOf(r) != "" || r.Posture != Plain || r.VNC.LoggedIn || !slices.Equal(r.VNC.Mechanisms, []string{"GSSAPI"}) {
			t.Errorf("without a ticket: %+v, %+v", r, r.VNC)
		}
		o.Kerberos = func(host string) sasl.Mechanism {
			return &gssapi.Client{Host: host, Config: kdc.Conf, Cache: cache}
		}
		if r := Run(t.Context(), target(t, "vnc://localhost:%d", port), Options{Kerberos: o.Kerberos}); codesOf(r) != "vnc-closed" || !strings.Contains(r.Candidates[0].Cause, "vnc/localhost") {
			t.Errorf("another name: %+v", r)
		}
		r = Run(t.Context(), target(t, "vnc://localhost:%d", port), o)
		if codesOf(r) != "" || r.Posture != Mutual || !strings.HasPrefix(r.VNC.User, "fred") || r.VNC.SSF != 256 || r.Picture == nil || r.VNC.Posture != VNCLogin {
			t.Errorf("%+v, %+v", r, r.VNC)
		}
		var metrics bytes.Buffer
		must(t, Prometheus(&metrics, []*Result{r}))
		if !strings.Contains(metrics.String(), `posture="SASL only"} 1`) {
			t.Error(metrics.String())
		}
	})
}
