package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/layout"
)

const vncDomain = `<domain type='qemu'><name>vm 1</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>
<graphics type='vnc' port='%d' listen='127.0.0.1'/></devices></domain>`

// A guest of a real libvirtd whose files were renewed: what the finding says is
// to be done is done, and the probe is content.
func TestVNCReloadByLibvirt(t *testing.T) {
	if !full() {
		t.Skip("libvirt takes 15 s to look at the processor: VIRTLS_INTEROP=full runs it; TestVNCReload does the same without libvirt")
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		root := peertest.SocketDir(t)
		must(t, os.Mkdir(filepath.Join(root, "s"), 0o700))
		put := func(name, text string) string {
			t.Helper()
			path := filepath.Join(root, name)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(text), 0o600))
			return path
		}
		put("etc/libvirt/qemu.conf", `vnc_tls = 1
vnc_tls_x509_verify = 1
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
user = "root"
group = "root"
`)
		r := &reloading{t: t, dir: filepath.Join(root, "etc/pki/libvirt-vnc"), port: peertest.FreePort(t)}
		must(t, os.MkdirAll(filepath.Dir(r.dir), 0o755))
		must(t, os.Rename(withDH(t, server.write(t)), r.dir))
		mounts := map[string]string{"/etc/libvirt": filepath.Join(root, "etc/libvirt"), "/etc/pki": filepath.Join(root, "etc/pki")}
		d := g.Start(t, peertest.Options{Mounts: mounts}, peertest.ListeningUnix(root+"/s/libvirt-sock"), "libvirtd", "--config",
			put("libvirtd.conf", fmt.Sprintf("unix_sock_dir = %q\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n", root+"/s"))).Ready()
		virsh := func(command string) peertest.Result {
			t.Helper()
			return g.Run(t, peertest.Options{}, "sh", "-c", strings.Replace(command, "virsh", "virsh -c 'qemu+unix:///system?socket="+root+"/s/libvirt-sock'", 1))
		}
		for end := time.Now().Add(2 * time.Minute); ; { // libvirt looks at the processor
			if got := virsh("virsh create " + put("vm.xml", fmt.Sprintf(vncDomain, r.port))); got.Code == 0 {
				break
			} else if time.Now().After(end) {
				t.Fatal(got, d.Stderr())
			}
		}
		r.options = Options{Timeout: 20 * time.Second, Credentials: client(t, peer.write(t), ""), Local: &Local{View: layout.Root("/"), Proc: "/proc"}}
		result := Run(t.Context(), target(t, "vnc://localhost:%d", r.port), r.options)
		if codesOf(result) != "" || result.Posture != Mutual || result.VNC.Name != "QEMU (vm 1)" {
			t.Fatalf("%s: %+v, %+v", codesOf(result), result, result.VNC)
		}
		r.renew()
		result = Run(t.Context(), target(t, "vnc://localhost:%d", r.port), r.options)
		if codesOf(result) != "probe-stale" {
			t.Fatalf("after the renewal: %s", codesOf(result))
		}
		commands := regexp.MustCompile(`^(virsh domdisplay-reload .*), before libvirt 10.2 (virsh .*); of a QEMU`).FindStringSubmatch(result.Findings[0].Fix)
		if commands == nil {
			t.Fatal(result.Findings[0].Fix)
		}
		command := commands[1]
		if !g.Version(t, peertest.Libvirt).AtLeast("10.2") {
			command = commands[2]
		}
		if got := virsh(command); got.Code != 0 {
			t.Fatal(got)
		}
		if result = Run(t.Context(), target(t, "vnc://localhost:%d", r.port), r.options); codesOf(result) != "" {
			t.Errorf("after %s: %s", command, codesOf(result))
		}
	})
}
