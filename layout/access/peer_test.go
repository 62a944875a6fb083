package access

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// The real virt-pki-validate finds nothing to say about owners and modes when
// the profile Strict finds nothing, and something about each file it finds.
func TestStrictAsVirtPKIValidate(t *testing.T) {
	const all = `
/etc/pki/ root:root 750
/etc/pki/CA/ root:root 700
/etc/pki/CA/cacert.pem root:root 600
/etc/pki/libvirt/ root:sys 750
/etc/pki/libvirt/servercert.pem root:root 600
/etc/pki/libvirt/clientcert.pem root:root 664
/etc/pki/libvirt/private/ bin:root 700
/etc/pki/libvirt/private/serverkey.pem root:root 644
/etc/pki/libvirt/private/clientkey.pem root:root 600
`
	h := build(t, all)
	findings := 0
	judge := func() (fixes []string) {
		for _, files := range []layout.Files{libvirtFiles, clientFiles} {
			for _, f := range h.Check(Check{Files: files, Who: RootUser, Profile: Strict}) {
				if f.By == "profile strict" {
					fixes = append(fixes, f.Fix)
				}
			}
		}
		return fixes
	}
	fixes := judge()
	findings = len(fixes)
	g := peertest.Forky
	g.Need(t)
	failed := func() int {
		r := g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": filepath.Join(string(h.Root), "etc/pki")}}, "virt-pki-validate")
		n := 0
		for line := range strings.Lines(r.Stdout) {
			if strings.Contains(line, "access") && strings.Contains(line, "FAIL") {
				n++
			}
		}
		return n
	}
	if findings == 0 || failed() == 0 {
		t.Fatalf("%d findings, %d failures of the real tool; want some of both", findings, failed())
	}
	for _, fix := range fixes {
		if out, err := exec.Command("sh", "-c", fix).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", fix, err, out)
		}
	}
	check(t, "findings and failures after the fixes", []int{len(judge()), failed()}, []int{0, 0})
}
