package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"virtls/finding"
)

// documents are command lines of every command, good ones and bad ones, to be
// run in this order in one directory.
var documents = []struct {
	args string
	exit int
}{
	{"apply --no-such-flag", 2},
	{"no-such-command", 2},
	{"apply nothing.yaml", 3},
	{"status", 3},
	{"ca show", 3},
	{"init --org Example --host kvm1.example.com --client admin", 3},
	{"init --org Example --host kvm1.example.com --client admin --no-passphrase", 0},
	{"init --org Example", 3},
	{"version", 0},
	{"completion bash", 0},
	{"completion tcsh", 2},
	{"plan", 0},
	{"plan --exit-code", 1},
	{"status", 1},
	{"apply --no-passphrase", 0},
	{"plan --exit-code", 0},
	{"status", 0},
	{"renew admin --no-passphrase", 0},
	{"renew nobody", 2},
	{"bundle kvm1.example.com", 0},
	{"bundle nobody", 2},
	{"issue --cn x --client --no-passphrase", 0},
	{"issue --cn x --client --no-passphrase", 3},
	{"issue --cn y", 2},
	{"issue --template bad.info --out bad --no-passphrase", 1},
	{"renew --file x-cert.pem --no-passphrase", 0},
	{"list", 0},
	{"list nobody", 0},
	{"list --expiring-within soon", 2},
	{"revoke x-cert.pem --no-passphrase", 0},
	{"revoke client:nobody", 1},
	{"revoke nonsense", 2},
	{"show x-cert.pem x-key.pem pki/ca/ca-crl.pem", 0},
	{"show fleet.yaml", 3},
	{"ca show", 0},
	{"ca crl --no-passphrase", 0},
	{"ca renew --no-passphrase", 0},
	{"ca renew --no-passphrase --name other", 3},
	{"ca export backup.tar", 0},
	{"ca import backup.tar --state restored", 0},
	{"ca import backup.tar --state restored", 3},
	{"ca request --org Example --state other --no-passphrase", 0},
	{"ca install pki/ca/ca-cert.pem --state other --no-passphrase", 1},
	{"validate pki", 0},
	{"validate --for libvirt-server --against 9.0 pki/hosts/kvm1.example.com", 0},
	{"validate --fix pki", 0},
	{"validate --prometheus pki", 2},
	{"validate --run", 2},
	{"validate --for nobody", 2},
	{"validate fleet.yaml", 3},
	{"validate restored", 1},
	{"explain", 2},
	{"explain The client certificate x has expired", 0},
	{"explain text-unknown", 0},
	{"explain it does not work", 1},
	{"explain --list", 0},
	{"probe", 2},
	{"probe tls://nowhere", 2},
	{"probe --prometheus tls://127.0.0.1:1", 2},
	{"probe --timeout 2s tls://127.0.0.1:1", 3},
	{"probe --timeout 2s qemu+tls://127.0.0.1:1/system?pkipath=/nonexistent", 3},
	{"certtool", 2},
	{"gateway tls", 2},
	{"gateway tls --listen nonsense --connect tcp://127.0.0.1:1", 2},
	{"gateway tls --listen unix:///nonexistent/s --connect tcp://127.0.0.1:1", 3},
	{"gateway libvirt", 2},
	{"gateway libvirt --listen tcp://127.0.0.1:0 --connect unix:///nonexistent/s", 2},
	{"gateway nbd --connect nonsense", 2},
	{"gateway vnc", 2},
	{"gateway vnc --listen tcp://127.0.0.1:0 --connect nonsense", 2},
	{"gateway vnc --listen unix:///nonexistent/s --connect tcp://127.0.0.1:1", 3},
	{"gateway token", 2},
	{"gateway token vm1 --machines machines.yaml", 0},
	{"gateway token vm2 --machines machines.yaml", 1},
	{"gateway token vm1 --machines nothing", 3},
	{"gateway run --config nothing.yaml", 3},
	{"gateway run --config fleet.yaml", 1},
	{"console", 2},
	{"console tls://127.0.0.1:1", 2},
	{"console tcp://127.0.0.1:1", 3},
	{"nbd serve", 2},
	{"nbd serve nothing.img", 3},
	{"nbd list nbd://127.0.0.1:1", 3},
	{"nbd info nbd://127.0.0.1:1", 3},
	{"nbd map nbd://127.0.0.1:1", 3},
	{"nbd copy nbd://127.0.0.1:1 out.img", 3},
	{"passwd add", 2},
	{"passwd remove", 2},
	{"passwd list nothing", 3},
	{"passwd import", 2},
	{"passwd import accounts nothing.db", 3},
}

var code = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Every document says its schema and lists findings of one form, however a
// command ends, and nothing else is printed.
func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"bad.info":      "CN = x\n",
		"machines.yaml": "machines: [{name: vm1, connect: 'unix:///run/vm1.sock'}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range documents {
		t.Run(d.args, func(t *testing.T) {
			cmd := program(dir, "virtls", append([]string{"--json"}, strings.Fields(d.args)...)...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if _, failed := err.(*exec.ExitError); err != nil && !failed {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != d.exit {
				t.Errorf("exit code %d, want %d", got, d.exit)
			}
			if stderr.Len() > 0 {
				t.Errorf("standard error: %s", stderr.String())
			}
			checkDocument(t, out, d)
		})
	}
}

func checkDocument(t *testing.T, out []byte, d struct {
	args string
	exit int
}) {
	t.Helper()
	var doc struct {
		Schema   *int
		Findings []struct {
			Code, Severity, Text *string
			Subject              *string
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if doc.Schema == nil || *doc.Schema != 1 {
		t.Errorf(`no "schema": 1 in %s`, out)
	}
	if doc.Findings == nil {
		t.Errorf("no list of findings in %s", out)
	}
	errors := 0
	for _, f := range doc.Findings {
		if f.Code == nil || !code.MatchString(*f.Code) || f.Subject == nil || f.Text == nil || *f.Text == "" {
			t.Errorf("a finding is incomplete in %s", out)
			continue
		}
		if f.Severity == nil || !slices.Contains([]string{"info", "warning", "error"}, *f.Severity) {
			t.Errorf("finding %s has no severity", *f.Code)
		} else if *f.Severity == "error" {
			errors++
		}
	}
	// plan --exit-code has nothing to complain of.
	if failed := d.exit != 0 && !strings.HasPrefix(d.args, "plan "); failed != (errors > 0) {
		t.Errorf("exit code %d with %d findings of severity error in %s", d.exit, errors, out)
	}
}

// No command is forgotten above.
func TestDocumentsOfAllCommands(t *testing.T) {
	leaves(model(t), "", func(path string, n *kong.Node) {
		tested := false
		for _, d := range documents {
			tested = tested || d.args == path || strings.HasPrefix(d.args, path+" ")
		}
		if !tested {
			t.Errorf("the document of virtls %s is not tested", path)
		}
	})
}

// The catalogue's codes are what programs may rely on.
func TestCodes(t *testing.T) {
	kinds := finding.Catalogue()
	if len(kinds) < 50 {
		t.Errorf("only %d kinds of findings", len(kinds))
	}
	for _, k := range kinds {
		if !code.MatchString(k.Code) || k.Cause == "" {
			t.Errorf("kind %+v is not fit for programs", k)
		}
	}
}
