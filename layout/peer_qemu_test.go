package layout

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"virtls/finding"
	"virtls/internal/peertest"
)

// hostOf makes the host of a service's case, and options that mount it.
func hostOf(t *testing.T, conf string, files []string) (Root, peertest.Options) {
	t.Helper()
	all := touch(files...)
	all[QEMUConfFile] = conf + "\nsecurity_driver = 'none'\nstdio_handler = 'file'\n"
	all["/etc/pki/"], all["/srv/"] = "", ""
	root := tree(t, all)
	at := func(name string) string { return filepath.Join(string(root), name) }
	return root, peertest.Options{Mounts: map[string]string{"/etc/libvirt": at("etc/libvirt"), "/etc/pki": at("etc/pki"), "/srv": at("srv")}}
}

// The QEMU driver of a real libvirtd does not start for what Services refuses.
func TestServicesRefusedAsLibvirtd(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, c := range serviceCases {
			root, options := hostOf(t, c.conf, c.files)
			_, found := Lookup{View: root, Libvirt: libvirtOf(t, g)}.Services()
			if len(found.Refused) == 0 {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				text := found.Findings[slices.IndexFunc(found.Findings, func(f finding.Finding) bool { return f.Code == found.Refused[0] })].Text
				text = text[strings.LastIndex(text, ": ")+1:]
				r := g.Run(t, options, "timeout", "20", "libvirtd")
				if !strings.Contains(r.Stderr, text) || r.Code == 124 {
					t.Errorf("libvirtd does not say %q\n%v", text, r)
				}
			})
		}
	})
}

const domain = `<domain type='qemu'><name>a</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x'><host name='h' port='1'/></source><target dev='vda' bus='virtio'/></disk>
<serial type='tcp'><source mode='bind' host='127.0.0.1' service='1'/><protocol type='raw'/></serial>
<serial type='tcp'><source mode='connect' host='127.0.0.1' service='1'/><protocol type='raw'/></serial>
<graphics type='vnc' port='5901'/>
</devices></domain>`

// What real libvirt says to QEMU is what Services says.
func TestServicesAsLibvirtd(t *testing.T) {
	if !full() {
		t.Skip("libvirt takes 15 s for each case: VIRTLS_INTEROP=full runs them")
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, c := range serviceCases {
			if c.refused != "" || strings.Contains(c.conf, "secret") {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				root, options := hostOf(t, c.conf, c.files)
				_, found := Lookup{View: root, Libvirt: libvirtOf(t, g)}.Services()
				if len(found.Refused) > 0 {
					return // by this release only; the other test has it
				}
				options.Stdin = strings.NewReader(domain)
				// Not Run: libvirt looks at this machine's processor for longer than Run waits.
				out, err := g.Command(t, options, "sh", "-c", "libvirtd -d -p /run/pid; virsh -c qemu:///system domxml-to-native qemu-argv /dev/stdin").Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				got := objects(t, string(out))
				var want []string
				for _, u := range found.Uses {
					if u.Service == LibvirtVNC || u.Service == LibvirtChardev || u.Service == LibvirtNBD {
						if !u.Off {
							want = append(want, said(u))
						}
					}
				}
				slices.Sort(want)
				check(t, "what is said", got, want)
			})
		}
	})
}

var objectOption = regexp.MustCompile(`-object '(\{"qom-type":"tls-creds-x509".*?\})'`)

// objects shows the credential objects of a command line as said does.
func objects(t *testing.T, args string) (list []string) {
	t.Helper()
	services := map[string]Service{"vnc-tls-creds0": LibvirtVNC, "objcharserial0_tls0": LibvirtChardev, "objcharserial1_tls0": LibvirtChardev, "objlibvirt-1-storage_tls0": LibvirtNBD}
	for _, m := range objectOption.FindAllStringSubmatch(args, -1) {
		var o struct {
			ID, Dir, Endpoint, Priority string
			Verify                      bool `json:"verify-peer"`
		}
		if err := json.Unmarshal([]byte(m[1]), &o); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %s %s verify=%t secret= priority=%s", services[o.ID], o.Endpoint, o.Dir, o.Verify, o.Priority))
	}
	slices.Sort(list)
	return list
}
