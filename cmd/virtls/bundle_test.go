package main

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/pki"
)

// A run that was killed between the key and the certificate leaves a pair that
// is none. bundle finishes its work before it packs anything.
func TestBundleAfterAKill(t *testing.T) {
	dir := fleetDir(t, 1)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := execute(dir, "virtls", "apply", "--no-passphrase")
	must(err)
	libvirt := filepath.Join(dir, "pki/hosts/kvm1.example.com/etc/pki/libvirt")
	certPath, keyPath := filepath.Join(libvirt, "servercert.pem"), filepath.Join(libvirt, "private/serverkey.pem")
	old, err := readCertificate(certPath)
	must(err)

	state, err := ca.OpenState(t.Context(), filepath.Join(dir, "pki"), ca.Options{})
	must(err)
	authority, err := state.Authority(t.Context(), ca.DefaultName)
	must(err)
	must(authority.Unlock(nil))
	key, err := pki.GenerateSigner(pki.KeySpecOf(old.PublicKey.Key))
	must(err)
	spec, err := ca.RenewalSpec(old, key.Public())
	must(err)
	pem, err := pki.EncodePrivateKeyPEM(key.(pki.PrivateKey), pki.MLDSABoth)
	must(err)
	staged, err := atomicfile.Stage(keyPath, pem, 0o600)
	must(err)
	issued, err := authority.Issue(t.Context(), []ca.Order{{Spec: spec, How: register.Renew, Holder: "host:kvm1.example.com", Slot: "libvirt/server",
		Place: &register.Placement{Key: staged.Temp(), KeyPaths: []string{keyPath}, Paths: []string{certPath}}}})
	must(err)
	must(staged.Commit()) // the key is in its place, its certificate is not
	must(state.Close())

	_, stderr, err := execute(dir, "virtls", "bundle", "kvm1.example.com")
	must(err)
	if want := "an earlier run was interrupted, and its work has now been finished"; !strings.Contains(stderr, want) {
		t.Errorf("stderr is %q, want %q in it", stderr, want)
	}
	_, _, err = execute(dir, "tar", "-xf", "kvm1.example.com.tar", "--strip-components=1")
	must(err)
	packed := filepath.Join(dir, "etc/pki/libvirt")
	_, err = tls.LoadX509KeyPair(filepath.Join(packed, "servercert.pem"), filepath.Join(packed, "private/serverkey.pem"))
	must(err)
	cert, err := readCertificate(filepath.Join(packed, "servercert.pem"))
	must(err)
	if !pki.SameCertificate(cert, issued[0].Certificate) {
		t.Errorf("packed is %s, want %s", cert, issued[0].Certificate)
	}
}
