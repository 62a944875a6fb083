package fleet

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// The tests named TestPeer have real programs use what was staged, where they
// look for it, activated by the text that lies beside it.

const (
	kvm1 = "kvm1.example.com"
	kvm2 = "kvm2.example.com"
	// A host with a certificate for each role, added to the README's.
	split = "split.example.com"
)

// full tells whether every combination is to be tested; otherwise a part that
// has each thing once.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// on returns how a program runs on a host, or for a client with a system tree:
// with that tree's etc/pki, and knowing the hosts of the fleet by name.
func (s *site) on(dir string) peertest.Options {
	mounts := map[string]string{}
	for _, tree := range []string{"etc/pki", "srv/tls"} { // where the files of testdata say
		if _, err := os.Stat(filepath.Join(dir, tree)); err == nil {
			mounts["/"+tree] = filepath.Join(dir, tree)
		}
	}
	return peertest.Options{Mounts: mounts, Hosts: s.names()}
}

// as returns how a program runs for a person: unprivileged, with the person's
// files at home.
func (s *site) as(name string) peertest.Options {
	return peertest.Options{Unprivileged: true, Home: s.client(name), Hosts: s.names()}
}

// names are the lines of /etc/hosts for the fleet, and for one that is in nobody's certificate.
func (s *site) names() []string {
	lines := []string{"127.0.0.1 other.example.com"}
	for _, h := range s.file.Hosts {
		for _, name := range append([]string{h.Name, ShortName(h.Name)}, h.Names...) {
			if name != "" && !strings.ContainsAny(name, "*:") {
				lines = append(lines, "127.0.0.1 "+name)
			}
		}
	}
	return lines
}

// objects returns the -object arguments of qemu-args.txt by id, as a shell
// with that home directory makes them of the text.
func objects(t *testing.T, dir, home string) map[string]string {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(string(read(t, filepath.Join(dir, activationDir, "qemu-args.txt")))) {
		if !strings.HasPrefix(line, "#") {
			text.WriteString(strings.TrimSpace(line) + " ")
		}
	}
	cmd := exec.Command("/bin/sh", "-c", `printf '%s\0' `+text.String())
	cmd.Env = []string{"HOME=" + home}
	out, err := cmd.Output()
	must(t, err)
	list := map[string]string{}
	words := strings.Split(string(out), "\x00")
	for i, word := range words[:len(words)-1] {
		if word != "-object" {
			continue
		}
		_, id, _ := strings.Cut(words[i+1], ",id=")
		id, _, _ = strings.Cut(id, ",")
		if list[id] != "" {
			t.Errorf("two objects have the id %s", id)
		}
		list[id] = words[i+1]
	}
	return list
}

// conf returns the settings of a host's daemon.
func conf(t *testing.T, dir string) string {
	t.Helper()
	return string(read(t, filepath.Join(dir, activationDir, "libvirtd.conf")))
}

// uri returns the URI that uris.txt has for a host, for libvirt's driver that
// needs no guests and a port of the test's.
func uri(t *testing.T, dir, host string, port int) string {
	t.Helper()
	for line := range strings.Lines(string(read(t, filepath.Join(dir, activationDir, "uris.txt")))) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "qemu://"+host+"/system"); ok {
			return fmt.Sprintf("test+tls://%s:%d/default%s", host, port, rest)
		}
	}
	t.Fatalf("uris.txt of %s does not have %s", dir, host)
	return ""
}

// wantResult checks how a program ended: well, or unwilling and saying why, in
// one of the texts that "|" separates.
func wantResult(t *testing.T, r peertest.Result, refused string) {
	t.Helper()
	switch {
	case refused == "" && r.Code != 0:
		t.Errorf("refused: %v", r)
	case refused != "" && r.Code == 0:
		t.Errorf("accepted: %v", r)
	case !slices.ContainsFunc(strings.Split(refused, "|"), func(text string) bool { return strings.Contains(r.Stderr+r.Stdout, text) }):
		t.Errorf("want %q: %v", refused, r)
	}
}

func portOf(p *peertest.Proc) string { return strconv.Itoa(p.Port) }

// imageFile makes a disk image.
func imageFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.raw")
	must(t, os.WriteFile(name, make([]byte, 3<<20), 0o600))
	return name
}

// copied returns a copy of a staged tree, to be changed.
func (s *site) copied(dir string) string {
	s.t.Helper()
	to := filepath.Join(s.t.TempDir(), filepath.Base(dir))
	must(s.t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// put replaces files of a tree: pairs of where to and where from.
func put(t testing.TB, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		must(t, os.WriteFile(files[i], read(t, files[i+1]), 0o600))
	}
}

// A cast is a fleet with everybody that it takes to see who is refused. The
// README's hosts and clients have current certificates; beside them are trees
// that differ in one thing each.
type cast struct {
	*site
	foreign *site             // the same fleet of another authority
	trees   map[string]string // directories by what is wrong with them
}

// newCast makes a fleet of two years' standing.
func newCast(t *testing.T) *cast {
	t.Helper()
	text := strings.Replace(string(read(t, exampleFile)), "\nclients:\n",
		"\n  - name: "+split+"\n    uses: {libvirt: [server, client], qemu: [server, client]}\n\nclients:\n", 1)
	file := parse(t, text)
	c := &cast{site: newSite(t, file), foreign: staged(t, file), trees: map[string]string{}}
	c.now = time.Now().AddDate(-2, 0, 0)
	c.apply(Options{})
	c.trees["expired host"] = c.copied(c.host(kvm1))
	c.trees["expired client"] = c.copied(c.host(kvm2))
	c.now = time.Time{}
	c.apply(Options{})
	for _, cert := range []string{"qemu/client-cert.pem", "libvirt/clientcert.pem"} {
		c.trees["revoked client"] = c.copied(c.host(kvm2))
		c.revoke("hosts/" + kvm2 + "/etc/pki/" + cert)
	}
	c.apply(Options{})
	c.trees["swapped roles"] = c.swapped()
	// A client of the fleet that does not trust it, so that it is the server who refuses.
	c.trees["foreign client"] = c.copied(c.foreign.host(kvm2))
	put(t, c.trees["foreign client"]+"/etc/pki/qemu/ca-cert.pem", c.host(kvm2, "etc/pki/qemu/ca-cert.pem"))
	put(t, c.trees["foreign client"]+"/etc/pki/CA/cacert.pem", c.host(kvm2, "etc/pki/CA/cacert.pem"))
	return c
}

// swapped returns a tree of the host with separate roles, in which each
// certificate lies in the other's place.
func (s *site) swapped() string {
	s.t.Helper()
	dir, from := s.copied(s.host(split)), s.host(split)
	for _, name := range []string{"qemu/%s-cert.pem", "qemu/%s-key.pem", "libvirt/%scert.pem", "libvirt/private/%skey.pem"} {
		server, client := "/etc/pki/"+fmt.Sprintf(name, "server"), "/etc/pki/"+fmt.Sprintf(name, "client")
		put(s.t, dir+server, from+client, dir+client, from+server)
	}
	return dir
}

// A visit is a client's attempt to use a server.
type visit struct {
	name    string
	opts    peertest.Options
	dir     string // the client's tree
	home    string // of the person, if it is one
	host    string // that the client connects to; kvm1 if empty
	extra   string // appended to the client's object, or parameters of its URI
	refused string // what the client then says
	because string // what the server then says
}

// nbd visits QEMU's server on kvm1.
func (v visit) nbd(t *testing.T, g peertest.Generation, server *peertest.Proc) {
	t.Helper()
	object := objects(t, v.dir, v.home)["tls-client"] + v.extra
	r := g.Run(t, v.opts, "qemu-img", "info", "--object", object, "--image-opts",
		fmt.Sprintf("driver=nbd,host=%s,port=%d,tls-creds=tls-client", cmp.Or(v.host, kvm1), server.Port))
	wantResult(t, r, v.refused)
}

// visitAll has all clients visit a server at once, and sees afterwards whether
// the server gave its reasons.
func visitAll(t *testing.T, g peertest.Generation, server *peertest.Proc, visits []visit, how func(visit, *testing.T, peertest.Generation, *peertest.Proc)) {
	t.Helper()
	t.Run("clients", func(t *testing.T) {
		for _, v := range visits {
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				how(v, t, g, server)
			})
		}
	})
	for _, v := range visits {
		if v.because != "" {
			server.Until(peertest.Logged(v.because))
		}
	}
}

// nbdServer starts QEMU's server with a host's tree.
func nbdServer(t *testing.T, g peertest.Generation, c *site, dir, object string) *peertest.Proc {
	t.Helper()
	text := objects(t, dir, "")[object]
	if text == "" {
		t.Fatalf("qemu-args.txt of %s has no object %s", dir, object)
	}
	return g.QemuNBD(t, c.on(dir), "--object", text, "--tls-creds="+object, "--read-only", "--format=raw", imageFile(t))
}

// qemu-nbd on kvm1 and qemu-img on kvm2 and everywhere else.
func TestPeerQemuX509(t *testing.T) {
	c := newCast(t)
	server, client := c.host(kvm1), c.host(kvm2)
	visits := []visit{
		{name: "host", opts: c.on(client), dir: client},
		{name: "the server itself", opts: c.on(server), dir: server},
		{name: "short name", opts: c.on(client), dir: client, host: "kvm1"},
		{name: "migration network", opts: c.on(client), dir: client, host: "kvm1-migration.example.com"},
		{name: "program", opts: c.on(c.client("backup")), dir: c.client("backup")},
		{name: "person", opts: c.as("admin"), dir: c.client("admin"), home: "/home/virtls"},
		{name: "wrong name", opts: c.on(client), dir: client, host: "other.example.com", refused: "Certificate does not match the hostname other.example.com"},
		{name: "foreign authority", opts: c.on(c.foreign.host(kvm2)), dir: c.foreign.host(kvm2), refused: "certificate hasn't got a known issuer"},
		{name: "foreign client", opts: c.on(c.trees["foreign client"]), dir: c.trees["foreign client"], extra: ",sanity-check=off", refused: "Could not open", because: "The certificate hasn't got a known issuer"},
		{name: "foreign client's own check", opts: c.on(c.trees["foreign client"]), dir: c.trees["foreign client"], refused: "/etc/pki/qemu/client-cert.pem failed validation against|has no issuer in CA chain"},
		{name: "revoked", opts: c.on(c.trees["revoked client"]), dir: c.trees["revoked client"], refused: "Could not open", because: "The certificate has been revoked"},
		{name: "expired", opts: c.on(c.trees["expired client"]), dir: c.trees["expired client"], extra: ",sanity-check=off", refused: "Could not open", because: "The certificate is not trusted"},
		{name: "expired client's own check", opts: c.on(c.trees["expired client"]), dir: c.trees["expired client"], refused: "The client certificate /etc/pki/qemu/client-cert.pem has expired"},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		nbd := nbdServer(t, g, c.site, server, "tls-server").Ready()
		visitAll(t, g, nbd, visits, visit.nbd)
		t.Run("expired server", func(t *testing.T) {
			r := nbdServer(t, g, c.site, c.trees["expired host"], "tls-server").Refused()
			wantResult(t, r, "The server certificate /etc/pki/qemu/server-cert.pem has expired")
		})
	})
}

// Pre-shared keys: users are let in by their own key, and by no other.
func TestPeerQemuPSK(t *testing.T) {
	file, err := Load("testdata/psk.yaml")
	must(t, err)
	odd := staged(t, file)
	s, other := staged(t, example(t)), staged(t, example(t))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		visit := func(opts peertest.Options, port int, object, id, refused string) {
			t.Helper()
			if object == "" {
				t.Fatal("no such object")
			}
			r := g.Run(t, opts, "qemu-img", "info", "--object", object, "--image-opts", fmt.Sprintf("driver=nbd,host=localhost,port=%d,tls-creds=%s", port, id))
			wantResult(t, r, refused)
		}
		const id = "psk-" + kvm1
		nbd := nbdServer(t, g, s, s.host(kvm1), "psk-server").Ready()
		for _, dir := range []string{s.host(kvm2), s.client("backup")} {
			visit(s.on(dir), nbd.Port, objects(t, dir, "")[id], id, "")
		}
		dir := other.host(kvm2)
		visit(s.on(dir), nbd.Port, objects(t, dir, "")[id], id, "Could not open")
		visit(s.on(dir), nbd.Port, strings.Replace(objects(t, dir, "")[id], "username=rich", "username=poor", 1), id, "Username poor not found")

		// Names that need care, several users of one server, and a person's keys.
		nbd = nbdServer(t, g, odd, odd.host(kvm1), "psk-server").Ready()
		eve := objects(t, odd.client("eve"), "/home/virtls")
		visit(odd.as("eve"), nbd.Port, eve[id], id, "")
		visit(odd.as("eve"), nbd.Port, eve[id+"-2"], id+"-2", "")
		if full() {
			visit(odd.on(odd.host(kvm2)), nbd.Port, objects(t, odd.host(kvm2), "")[id], id, "")
			nbdServer(t, g, odd, odd.host(kvm2), "psk-server").Ready()
		}
	})
}
