package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// installed lists what a manifest says of a host as `find -printf` does after
// the installation.
func installed(t *testing.T, s *site, holder, group string) (list []string) {
	t.Helper()
	_, m, err := readManifest(s.dir, holder)
	must(t, err)
	for _, e := range m.Entries {
		kind := "f"
		if e.Type == "directory" {
			kind = "d"
		}
		if e.Group == "@qemu" {
			e.Group = group
		}
		list = append(list, fmt.Sprintf("%s %s %s:%s %s", e.Path, kind, e.Owner, e.Group, strings.TrimPrefix(e.ModeText, "0")))
	}
	return list
}

// listing is the shell command that prints what installed wants.
const listing = `find /etc/pki -printf '%p %y %u:%g %m\n' | LC_ALL=C sort`

// parts splits what a script printed at lines of dashes.
func parts(t *testing.T, r peertest.Result) (list [][]string) {
	t.Helper()
	if r.Code != 0 {
		t.Fatal(r)
	}
	for text := range strings.SplitSeq(r.Stdout, "----\n") {
		list = append(list, strings.Split(strings.TrimSpace(text), "\n"))
	}
	return list
}

// A bundle carried to each generation's machine: its installer finds out who
// QEMU is, does nothing the second time, and libvirt takes what it laid out.
func TestPeerBundle(t *testing.T) {
	// Nothing is said of the hosts, so that all is found out where it is used.
	s := staged(t, parse(t, "organization: Example Org\nhosts: [{name: kvm1.example.com}, {name: kvm2.example.com}]"))
	path, _ := bundle(t, s, kvm1)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		o := peertest.Options{Dir: t.TempDir(), Hostname: kvm1, Hosts: s.names()}
		unpack := "set -e; umask 077; cd /root && tar -xpf " + path + "\n"
		got := parts(t, g.Run(t, o, "sh", "-c", unpack+"sh "+kvm1+"/install.sh; echo ----; sh "+kvm1+"/install.sh; echo ----; "+listing+"; echo ----; virt-pki-validate || echo exit $?"))
		if strings.HasPrefix(got[0][0], "0 changes.") || !strings.HasPrefix(got[1][0], "0 changes.") {
			t.Errorf("first %q, then %q", got[0], got[1])
		}
		check(t, "installed", got[2], installed(t, s, kvm1, "libvirt-qemu"))
		checkValidated(t, g, got[3])

		// Another group, from the environment and from qemu.conf; a root of its own.
		script := unpack + "d=$(mktemp -d); chmod 755 $d; cp -a /etc/os-release $d 2>/dev/null || :; mkdir -p $d/etc/libvirt; echo 'group = \"+0\"' >$d/etc/libvirt/qemu.conf\n" +
			"DESTDIR=$d sh " + kvm1 + "/install.sh; echo ----; DESTDIR=$d sh " + kvm1 + "/install.sh; echo ----; find $d/etc/pki -printf '/etc/pki/%P %y %u:%g %m\\n' | sed 's,/etc/pki/ ,/etc/pki ,' | LC_ALL=C sort"
		got = parts(t, g.Run(t, o, "sh", "-c", script))
		if !strings.HasPrefix(got[1][0], "0 changes.") {
			t.Errorf("below another root: first %q, then %q", got[0], got[1])
		}
		check(t, "installed below another root", got[2], installed(t, s, kvm1, "root"))

		port := peertest.FreePort(t)
		settings := filepath.Join(t.TempDir(), "libvirtd.conf")
		must(t, os.WriteFile(settings, fmt.Appendf([]byte(conf(t, s.host(kvm1))), "listen_addr = \"127.0.0.1\"\ntls_port = \"%d\"\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n", port), 0o644))
		server := g.Start(t, o, peertest.Listening(port), "sh", "-c", unpack+"sh "+kvm1+"/install.sh; exec libvirtd --listen --config "+settings).Ready()
		server.Port = port
		visit{opts: s.on(s.host(kvm2)), dir: s.host(kvm2)}.virsh(t, g, server)
	})
}

// checkValidated wants virt-pki-validate content, but for what it gets wrong:
// up to 10.4 it compares the authority's CN with the certificates' organization,
// later it wants the client's key to be readable by everybody.
func checkValidated(t *testing.T, g peertest.Generation, lines []string) {
	t.Helper()
	unhappy := regexp.MustCompile(`FAIL|WARN|not |cannot|rror`)
	var complaints []string
	for _, line := range lines {
		if line = strings.Join(strings.Fields(line), " "); unhappy.MatchString(line) {
			line, _, _ = strings.Cut(line, " (")
			complaints = append(complaints, line)
		}
	}
	want := []string{"CLIENT: Checking key access : FAIL"}
	if !g.Version(t, peertest.Libvirt).AtLeast("10.5") {
		want = []string{"The CA certificate and the client certificate do not match", "The CA certificate and the server certificate do not match"}
	}
	check(t, "virt-pki-validate's complaints", complaints, want)
	if len(lines) < 5 {
		t.Errorf("virt-pki-validate says %q", lines)
	}
}

// virtls apply --install on each generation's machine.
func TestPeerInstall(t *testing.T) {
	const text = "organization: Example Org\nhosts: [{name: kvm1.example.com}, {name: kvm2.example.com}]"
	s := staged(t, parse(t, text))
	fleet := filepath.Join(t.TempDir(), "fleet.yaml")
	must(t, os.WriteFile(fleet, []byte(text), 0o644))
	program := filepath.Join(t.TempDir(), "installer")
	must(t, os.WriteFile(program, read(t, os.Args[0]), 0o755))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		o := peertest.Options{Env: []string{noExitSleep, envScenario + "=install", envState + "=" + s.dir, envFleet + "=" + fleet, envHolder + "=" + kvm1}}
		got := parts(t, g.Run(t, o, "sh", "-c", "set -e; "+program+"; echo ----; "+program+"; echo ----; "+listing))
		want := installed(t, s, kvm1, "libvirt-qemu")
		// /etc/pki itself is there, as it should be.
		check(t, "changes", got[0][len(got[0])-1], fmt.Sprintf("%d changes", len(want)-1))
		check(t, "changes the second time", got[1], []string{"0 changes"})
		check(t, "installed", got[2], want)
	})
}
