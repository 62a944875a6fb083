package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/finding"
	"virtls/internal/peertest"
)

// What is staged is neither packed nor installed if it is not what the fleet
// file asks for, whoever has changed it.
func TestDeliveryRefuses(t *testing.T) {
	const (
		host = "kvm1.example.com"
		cert = "etc/pki/qemu/server-cert.pem"
		key  = "etc/pki/qemu/server-key.pem"
	)
	replace := func(name, text string) func(*site) {
		return func(s *site) { must(s.t, os.WriteFile(s.host(host, name), []byte(text), 0o600)) }
	}
	linked := func(name, target string) func(*site) {
		return func(s *site) {
			must(s.t, os.RemoveAll(s.host(host, name)))
			must(s.t, os.Symlink(target, s.host(host, name)))
		}
	}
	tests := []struct {
		name   string
		change func(s *site)
		kind   *finding.Kind
	}{
		{"a changed CA bundle", replace("etc/pki/qemu/ca-cert.pem", "mine"), kindFileOutdated},
		{"a changed manifest", func(s *site) {
			text := string(read(s.t, s.host(host, manifestName)))
			replace(manifestName, strings.Replace(text, "/etc/pki/qemu/ca-cert.pem", "/etc/cron.d/ca-cert", 1))(s)
		}, kindFileOutdated},
		{"a changed setting", replace("activate/libvirtd.conf", "listen_tcp = 1"), kindFileOutdated},
		{"no key", func(s *site) { must(s.t, os.Remove(s.host(host, key))) }, kindFileMissing},
		{"no CRL", func(s *site) { must(s.t, os.Remove(s.host(host, "etc/pki/CA/cacrl.pem"))) }, kindFileMissing},
		{"no directory", func(s *site) { must(s.t, os.RemoveAll(s.host(host, "etc/pki/qemu"))) }, kindFileMissing},
		{"garbage for a certificate", replace(cert, "garbage"), kindNotThere},
		{"garbage for a key", replace(key, "garbage"), kindNotThere},
		{"another's key", func(s *site) { replace(key, string(read(s.t, s.host("kvm2.example.com", key))))(s) }, kindNotThere},
		{"another's key and certificate", func(s *site) {
			for _, name := range []string{cert, key} {
				replace(name, string(read(s.t, s.host("kvm2.example.com", name))))(s)
			}
		}, kindOutdated},
		{"a revoked certificate", func(s *site) { s.revoke(s.host(host, cert)) }, kindOutdated},
		{"a link to a key", func(s *site) { linked(key, s.path("ca/ca-key.pem"))(s) }, kindStagedForeign},
		{"a link to a key's copy", func(s *site) { linked(key, "client-key.pem")(s) }, kindStagedForeign},
		{"a directory that is a link", func(s *site) { linked("etc/pki/CA", s.host("kvm2.example.com", "etc/pki/CA"))(s) }, kindStagedForeign},
		{"a FIFO", func(s *site) {
			must(s.t, os.Remove(s.host(host, key)))
			must(s.t, unix.Mkfifo(s.host(host, key), 0o600))
		}, kindStagedUnreadable},
		{"a large file", replace(key, strings.Repeat("x", 2<<20)), kindStagedUnreadable},
		{"a key of another user", func(s *site) {
			peertest.NeedRoot(s.t, "giving files to another user")
			must(s.t, os.Chown(s.host(host, key), 4711, 0))
		}, kindStagedForeign},
		{"a directory of another user", func(s *site) {
			peertest.NeedRoot(s.t, "giving files to another user")
			must(s.t, os.Chown(s.host(host, "etc"), 4711, 0))
		}, kindStagedForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := staged(t, example(t))
			tt.change(s)
			target := filepath.Join(t.TempDir(), "bundle.tar")
			err := s.bundle(host, target)
			exit := finding.ExitWrong
			if tt.kind == kindStagedUnreadable {
				exit = finding.ExitUnable
			}
			checkFailure(t, err, tt.kind, exit)
			if _, err := os.Lstat(target); err == nil {
				t.Error("packed all the same")
			}
			if os.Getuid() == 0 {
				i := newInstallation(t)
				i.file("etc/os-release", "ID=debian\n")
				_, _, err = i.install(s, host)
				checkFailure(t, err, tt.kind, exit)
				check(t, "installed", shape(t, i.root)["etc/pki/"], "")
			}
		})
	}
}

// apply changes the rights of nothing that a link in the tree leads to.
func TestApplyLeavesLinkedFiles(t *testing.T) {
	s := staged(t, example(t))
	name := s.host("kvm1.example.com", "etc/pki/qemu/ca-cert.pem")
	elsewhere := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.Rename(name, elsewhere))
	must(t, os.Chmod(elsewhere, 0o600))
	must(t, os.Symlink(elsewhere, name))
	s.apply(Options{Prove: ProveNone})
	check(t, "mode", shape(t, filepath.Dir(elsewhere))["ca.pem"], "0600")
}
