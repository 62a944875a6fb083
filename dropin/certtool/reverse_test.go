package certtool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// TestTheirFiles has the real programs make the fixtures, and compares what we
// say of those files and make of them with what the makers do.
func TestTheirFiles(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := theirFixtures(t, g)
		var given []step
		for _, s := range slices.Concat(readingSteps, encryptedSteps, verifyingSteps, fixedSteps) {
			if strings.HasPrefix(s.name, "key info, encrypted") && lessToOpen(g) {
				continue
			}
			// Before 3.8.13 every other EC private key has an octet too many
			// (RFC 5915, 3), which we do not copy.
			longKeys := strings.HasPrefix(s.name, "key info, EC") && g != peertest.Forky
			if !longKeys {
				given = append(given, s)
			}
		}
		real := theirs(t, g, given, dir)
		mine := ours(t, given, dir)
		for i, s := range given {
			t.Run(s.name, func(t *testing.T) { s.compare(t, g, real[i], mine[i], false) })
		}
	})
}

// lessToOpen tells whether files of this generation that need a password are
// left to the full run. Deriving the key of each thing in them takes seconds
// with the race detector. A key and a certificate in a PKCS #12 file remain of
// each generation, and package pki reads the encrypted keys.
func lessToOpen(g peertest.Generation) bool { return g != peertest.Forky && !full() }

// theirFixtures makes the fixtures with a generation's certtool, but for the
// ML-DSA key.
func theirFixtures(t *testing.T, g peertest.Generation) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range fixtureFiles {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	var script strings.Builder
	script.WriteString("set -e; cd " + dir + "\n")
	for _, line := range fixtureCommands {
		if lessToOpen(g) && strings.HasPrefix(line, "--to-p12") {
			line = strings.Replace(line, "--load-ca-certificate ca.pem --load-crl crl.pem", "", 1)
		}
		if !strings.Contains(line, "mldsa") {
			script.WriteString("certtool " + line + " 2>>log\n")
		}
	}
	for name, parts := range concatenated {
		script.WriteString("cat " + strings.Join(parts, " ") + " >" + name + "\n")
	}
	if r := g.Run(t, peertest.Options{}, "sh", "-c", script.String()); r.Code != 0 {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s", r, log)
	}
	must(t, os.Remove(filepath.Join(dir, "log")))
	return dir
}
