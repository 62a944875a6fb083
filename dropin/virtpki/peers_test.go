package virtpki

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"virtls/dropin"
	"virtls/dropin/certtool"
	"virtls/internal/peertest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain makes the test binary answer to the programs' names, so that they
// run beside the real ones, in the same places.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	run := func(program func([]string, dropin.IO) int) func() {
		return func() { os.Exit(program(os.Args[1:], dropin.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})) }
	}
	testscript.Main(m, map[string]func(){"virt-pki-query-dn": run(QueryDN), "virt-pki-validate": run(Validate)})
}

// ours returns a directory with the test binary under the programs' names.
func ours(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"virt-pki-query-dn", "virt-pki-validate"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// orders are certificates: name, key, issuer (nothing for itself), template.
var orders = []struct{ name, key, issuer, template string }{
	{"ca", "ca", "", "cn = Example CA\nca\ncert_signing_key\ncrl_signing_key\n"},
	{"other-ca", "other", "", "cn = Other CA\nca\ncert_signing_key\n"},
	{"not-a-ca", "ca", "", "cn = Example CA\n"},
	{"old-ca", "ca", "", "cn = Example CA\nca\ncert_signing_key\nactivation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n"},
	{"server", "rsa", "ca", "country = GB\norganization = \"Name, Of \\\"Org\\\"\"\ncn = peer\ndns_name = peer\ntls_www_server\nsigning_key\nencryption_key\n"},
	{"full", "rsa", "ca", "cn = peer.example.com\ndns_name = peer.example.com\ntls_www_server\nsigning_key\nencryption_key\n"},
	{"client", "rsa", "ca", "organization = Example\ncn = client\ntls_www_client\nsigning_key\nencryption_key\n"},
	{"old", "rsa", "ca", "cn = peer\ndns_name = peer\nsigning_key\nencryption_key\nactivation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n"},
	{"client-only", "rsa", "ca", "cn = peer\ndns_name = peer\nsigning_key\nencryption_key\nadd_critical_extension = \"2.5.29.37 0x300a06082b06010505070302\"\n"},
	{"cn-only", "rsa", "ca", "cn = peer\ntls_www_server\nsigning_key\nencryption_key\n"},
	{"nobody", "rsa", "ca", "dns_name = peer\nsigning_key\nencryption_key\n"},
	{"unicode", "rsa", "ca", "organization = Jürgen+Söhne\nunit = \" #x \"\nunit = \"a<b>;\"\ncn = ☃\n"},
}

// kit makes a directory of certificates and keys, NAME.pem.
func kit(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".pem") }
	tool := func(args ...string) {
		t.Helper()
		var stderr strings.Builder
		if code := certtool.Run(args, dropin.IO{In: strings.NewReader(""), Out: io.Discard, Err: &stderr}); code != 0 {
			t.Fatalf("certtool %q: %s", args, stderr.String())
		}
	}
	for _, key := range []string{"ca-key", "other-key"} {
		tool("--generate-privkey", "--key-type=ecdsa", "--outfile="+file(key))
	}
	tool("--generate-privkey", "--key-type=rsa", "--bits=2048", "--outfile="+file("rsa-key"))
	for _, o := range orders {
		template := filepath.Join(dir, o.name+".info")
		write(t, template, o.template)
		args := []string{"--generate-self-signed"}
		if o.issuer != "" {
			args = []string{"--generate-certificate", "--load-ca-certificate=" + file(o.issuer), "--load-ca-privkey=" + file(o.issuer+"-key")}
		}
		tool(append(args, "--load-privkey="+file(o.key+"-key"), "--template="+template, "--outfile="+file(o.name))...)
	}
	tool("--certificate-info", "--infile="+file("server"), "--outder", "--outfile="+filepath.Join(dir, "server.der"))
	write(t, file("junk"), "junk\n")
	write(t, file("empty"), "")
	write(t, file("large"), strings.Repeat("x", 70000))
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// prelude are shell functions for set-ups: files of the kit in their places, with
// the owners and modes that the real program wants.
const prelude = `
put() { install -m "$3" "$kit/$1.pem" "$2"; }
begin() {
	cd /; hostname peer; hosts '127.0.0.1 peer'
	rm -rf /etc/pki/* /home/virtls/.pki /srv/pki
	chown 0:0 /etc/pki; chmod 755 /etc/pki
	mkdir -p -m 755 /etc/pki/CA /etc/pki/libvirt /etc/pki/libvirt/private
	put ca /etc/pki/CA/cacert.pem 644
	put server /etc/pki/libvirt/servercert.pem 644; put rsa-key /etc/pki/libvirt/private/serverkey.pem 600
	put client /etc/pki/libvirt/clientcert.pem 644; put rsa-key /etc/pki/libvirt/private/clientkey.pem 644
}
flat() {
	mkdir -p "$1"; chmod 700 "$1"
	put ca $1/cacert.pem 600
	put server $1/servercert.pem 600; put rsa-key $1/serverkey.pem 600
	put client $1/clientcert.pem 600; put rsa-key $1/clientkey.pem 600
}
ask() {
	at=$PWD n=0
	echo "$programs" | while read -r PROGRAM; do
		export PROGRAM
		run() { $PROGRAM "$@"; }
		(call) >$out/$1.$n.out 2>$out/$1.$n.err </dev/null
		echo $? >$out/$1.$n.code
		n=$((n+1))
	done
}
user() { setpriv --reuid=64200 --regid=64200 --clear-groups "$@"; }
hosts() { printf '127.0.0.1 localhost\n%s\n' "$1" >/etc/hosts; }
pki=/etc/pki cacert=/etc/pki/CA/cacert.pem certs=/etc/pki/libvirt keys=/etc/pki/libvirt/private
umask 022
`

// A setup is a state of the machine and what is then called, as a shell
// understands it. "run" stands for the program.
type setup struct{ name, prepare, call string }

var setups = []setup{
	{"good", "", "run"},
	{"nothing", "rm -r $pki/*", "run"},
	{"no PKI directory is seen", "chmod 0 $pki", "user run"},
	{"no CA directory", "rm -r $pki/CA", "run"},
	{"no CA", "rm $cacert", "run"},
	{"no server's key", "rm $keys/serverkey.pem", "run"},
	{"no server's certificate", "rm $certs/servercert.pem", "run"},
	{"no client's key", "rm $keys/clientkey.pem", "run client"},
	{"no client's certificate", "rm $certs/clientcert.pem", "run client"},
	{"no key directory", "rm -r $keys", "run"},
	{"no certificate directory", "rm -r $certs", "run server"},
	{"all private", "chmod 700 $pki $pki/CA $certs $keys; chmod 600 $cacert $certs/*.pem $keys/*.pem", "run"},
	{"all public", "chmod 777 $pki $pki/CA $certs $keys; chmod 666 $cacert $certs/*.pem $keys/*.pem", "run"},
	{"all of another owner", "chown -R 1:0 $pki", "run"},
	{"all of another group", "chown -R 0:1 $pki", "run"},
	{"the wiki's", "chgrp 107 $certs $keys $certs/servercert.pem $keys/serverkey.pem; chmod 750 $keys; chmod 440 $certs/servercert.pem $keys/serverkey.pem; chmod 400 $certs/clientcert.pem $keys/clientkey.pem; chmod 444 $cacert", "run"},
	{"keys for all to read", "chmod 644 $keys/*.pem", "run"},
	{"keys for their owner alone", "chmod 400 $keys/*.pem", "run"},
	{"special bits", "chmod 4644 $certs/servercert.pem; chmod 2755 $certs; chmod 1755 $pki", "run"},
	{"links", "mv $cacert $pki/real.pem; ln -s ../real.pem $cacert; mv $keys $pki/keys; ln -s ../keys $keys", "run"},
	{"links to nothing", "ln -sf nowhere $cacert; ln -sf nowhere $keys/serverkey.pem", "run"},
	{"a directory for a CA", "rm $cacert; mkdir -m 644 $cacert", "run"},
	{"a directory for a certificate", "rm $certs/servercert.pem; mkdir -m 644 $certs/servercert.pem", "run server"},
	{"expired", "put old $certs/servercert.pem 644", "run server"},
	{"a client's certificate", "put client-only $certs/servercert.pem 644", "run server"},
	{"a CA's certificate", "put ca $certs/servercert.pem 644", "run server"},
	{"another key", "put other-key $keys/serverkey.pem 600", "run server"},
	{"another key of the client", "put other-key $keys/clientkey.pem 644", "run client"},
	{"another CA", "put other-ca $cacert 644", "run"},
	{"an expired CA", "put old-ca $cacert 644", "run"},
	{"an expired CA beside a good one", "cat $kit/old-ca.pem >>$cacert", "run server"},
	{"a CA that is none", "put not-a-ca $cacert 644", "run"},
	{"junk as CA", "put junk $cacert 644", "run"},
	{"an empty CA", "put empty $cacert 644", "run"},
	{"a large CA", "cat $kit/large.pem >>$cacert", "run"},
	{"junk as certificate", "put junk $certs/servercert.pem 644", "run server"},
	{"a large certificate", "cat $kit/large.pem >>$certs/servercert.pem", "run server"},
	{"junk as key", "put junk $keys/serverkey.pem 600", "run server"},
	{"junk as list", "put junk $pki/CA/cacrl.pem 644", "run server"},
	{"the name is the full one", "hosts '127.0.0.1 peer.example.com peer'; put full $certs/servercert.pem 644", "run server"},
	{"the name is not the full one", "hosts '127.0.0.1 peer.example.com peer'", "run server"},
	{"the name leads to localhost", "hosts '127.0.0.1 localhost peer'", "run server"},
	{"the name leads nowhere", "hosts ''", "run server"},
	{"another name", "hosts '127.0.0.1 kvm9'; hostname kvm9", "run server"},
	{"a name with dots", "hosts '127.0.0.1 peer kvm9.example.com'; hostname kvm9.example.com", "run server"},
	{"the machine is localhost", "hostname localhost", "run server"},
	{"a name in the CN only", "put cn-only $certs/servercert.pem 644", "run server"},
	{"no subject", "put nobody $certs/servercert.pem 644", "run server"},
	{"an ordinary user", "", "user run"},
	{"an ordinary user who sees nothing", "chmod 700 $keys; chmod 600 $certs/servercert.pem $cacert", "user run"},
	{"an indexed identity", "mv $certs/servercert.pem $certs/servercert0.pem; mv $keys/serverkey.pem $keys/serverkey0.pem", "run server"},
	{"a broken indexed identity", "put old $certs/servercert0.pem 644; put rsa-key $keys/serverkey0.pem 600", "run server"},
	{"half an indexed identity", "put server $certs/servercert0.pem 644", "run server"},
	{"a user's", "flat /home/virtls/.pki/libvirt", "run -u"},
	{"a user's, none", "", "run --user"},
	{"a user's, of root", "flat /home/virtls/.pki/libvirt; chmod 755 /home /home/virtls; chmod -R a+rX /home/virtls/.pki", "user run -u"},
	{"a user's own", "flat /home/virtls/.pki/libvirt; chown -R 64200:64200 /home/virtls/.pki; chmod 755 /home/virtls", "user run -u"},
	{"a user's, public", "flat /home/virtls/.pki/libvirt; chmod 755 /home/virtls/.pki/libvirt; chmod 644 /home/virtls/.pki/libvirt/*", "run -u"},
	{"a user's, of another group", "flat /home/virtls/.pki/libvirt; chgrp -R 1 /home/virtls/.pki", "run -u"},
	{"a user's, read-only", "flat /home/virtls/.pki/libvirt; chmod 500 /home/virtls/.pki/libvirt; chmod 400 /home/virtls/.pki/libvirt/*", "run -u"},
	{"without HOME", "flat /home/virtls/.pki/libvirt", "env -u HOME $PROGRAM -u trust"},
	{"with an empty HOME", "", "env HOME= $PROGRAM -u"},
	{"a path", "flat /srv/pki", "run -p /srv/pki"},
	{"a path with a slash", "flat /srv/pki; chmod 644 /srv/pki/*", "run --path=/srv/pki/"},
	{"a relative path", "flat /srv/pki; cd /srv; rm pki/servercert.pem", "run -p pki"},
	{"a path to nothing", "", "run -p /nonexistent"},
	{"an empty path", "", "run -p ''"},
	{"trust", "", "run trust"},
	{"server", "", "run server"},
	{"client", "", "run client"},
	{"CLIENT", "", "run CLIENT"},
	{"Trust", "rm $cacert", "run Trust"},
	{"an unknown word", "", "run foo"},
	{"two words", "", "run server client"},
	{"three words", "", "run server client trust"},
	{"an empty word", "", "run ''"},
	{"a word before an option", "", "run trust -s"},
	{"help", "", "run --help"},
	{"version", "", "run -v"},
	{"an unknown option", "", "run --foo"},
	{"an undocumented option", "", "run -q"},
	{"no argument", "", "run -p"},
	{"two places", "", "run -s -u"},
	{"two places, and help", "", "run -u -p /x -h"},
	{"the same place twice", "", "run -s -s trust"},
	{"another place twice", "flat /srv/pki", "run -p /nonexistent -p /srv/pki trust"},
	{"the first letters of an option", "", "run --sys trust"},
}

// An outcome is what a program prints and its exit code.
type outcome struct {
	Out, Err string
	Code     string
}

// noise is what libvirt's programs log.
var noise = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d [^ ]+: \d+: (info|warning) : .*\n`)

// ask runs programs in each set-up, in one namespace, and returns their
// outcomes by program. A program may have an argument behind it.
func ask(t *testing.T, g peertest.Generation, kit string, programs ...string) map[string][]outcome {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	const batch = 15 // a program of the generation must end within half a minute, whatever else the machine does
	for first := 0; first < len(setups); first += batch {
		var script strings.Builder
		fmt.Fprintf(&script, "kit=%s out=%s programs='%s'\n%s", kit, dir, strings.Join(programs, "\n"), prelude)
		for i, s := range setups[first:min(len(setups), first+batch)] {
			call := strings.Replace(s.call, "user run", "user $PROGRAM", 1)
			fmt.Fprintf(&script, "begin\n%s\ncall() { %s; }\nask %d\n", s.prepare, call, first+i)
		}
		file := filepath.Join(dir, fmt.Sprintf("script%d", first))
		write(t, file, script.String())
		if r := g.Run(t, peertest.Options{Dir: "/"}, "sh", file); r.Code != 0 || r.Stderr != "" {
			t.Fatal(r)
		}
	}
	read := func(i, j int, what string) string {
		data, err := os.ReadFile(fmt.Sprintf("%s/%d.%d.%s", dir, i, j, what))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	out := map[string][]outcome{}
	for j, p := range programs {
		for i := range setups {
			name, _, _ := strings.Cut(p, " ")
			stderr := strings.ReplaceAll(noise.ReplaceAllString(read(i, j, "err"), ""), name, filepath.Base(name))
			out[p] = append(out[p], outcome{read(i, j, "out"), stderr, strings.TrimSpace(read(i, j, "code"))})
		}
	}
	return out
}

const real = "virt-pki-validate"

// With --compat-bugs there is no difference from libvirt 12.8 in any set-up.
// Without it there are those that the golden files have: each line of only one
// of the two. What differs between 11.3 and 12.8 themselves is not shown.
func TestValidate(t *testing.T) {
	files, ours := kit(t), ours(t)+"/"+real
	for _, g := range []peertest.Generation{peertest.Trixie, peertest.Forky} {
		t.Run(g.Name, func(t *testing.T) {
			g.Need(t)
			t.Parallel()
			compat := ours + " --compat-bugs"
			programs := []string{real, ours}
			if g == peertest.Forky {
				programs = append(programs, compat)
			}
			said := ask(t, g, files, programs...)
			var b strings.Builder
			for i, s := range setups {
				theirs, mine := said[real][i], said[ours][i]
				if said[compat] != nil && theirs != said[compat][i].without(compatUsage) {
					t.Errorf("%s: %s", s.name, cmp.Diff(theirs, said[compat][i]))
				}
				if text := differences(theirs.newer(), mine.without(compatUsage)); text != "" {
					fmt.Fprintf(&b, "# %s\n%s", s.name, text)
				}
			}
			golden(t, "testdata/differences-"+g.Name+".golden", b.String())
		})
	}
}

func (o outcome) without(line string) outcome {
	return outcome{strings.ReplaceAll(o.Out, line, ""), strings.ReplaceAll(o.Err, line, ""), o.Code}
}

// newer makes what 11.3 says what 12.8 would say, without its empty lines.
func (o outcome) newer() outcome {
	o.Out = newer.Replace(oldOwner.ReplaceAllString(o.Out, "chown $1:$2"))
	return o
}

var (
	oldOwner = regexp.MustCompile(`chown (\w+)\.(\w+)`)
	newer    = strings.NewReplacer("Unable to import CA certificate list", "Unable to import certificate list", "PASS\n\n", "PASS\n")
)

// differences lists the lines that only one of two outcomes has.
func differences(theirs, ours outcome) string {
	lines := func(o outcome) []string {
		return strings.Split(o.Out+o.Err+"exit code "+o.Code, "\n")
	}
	a, b := lines(theirs), lines(ours)
	var out strings.Builder
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(a) > 0 && len(b) > 0 && a[0] == b[0]:
			a, b = a[1:], b[1:]
		case len(a) > 0 && !slices.Contains(b, a[0]):
			out.WriteString("- " + strings.TrimSpace(a[0]) + "\n")
			a = a[1:]
		default:
			out.WriteString("+ " + strings.TrimSpace(b[0]) + "\n")
			b = b[1:]
		}
	}
	return out.String()
}

// golden compares text with a file, or rewrites that.
func golden(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		write(t, name, text)
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Error(diff)
	}
}

// compatUsage is the line of the usage that the real one lacks.
const compatUsage = "           --compat-bugs  do what libvirt's own program does, faults included\n"
