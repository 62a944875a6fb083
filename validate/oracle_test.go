package validate

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// A consumer is a program that loads credentials, in one role.
type consumer struct {
	name    string
	service layout.Service
	role    layout.Role
	program peertest.Program
	ask     string                             // shell commands that load $1, the names of a set-up's directory
	judge   func(output string) (string, bool) // what it says, and whether it has loaded everything
}

var consumers = []consumer{
	{"qemu-server", layout.QEMU, layout.Server, peertest.QEMU, askQEMU("server", `qemu-nbd`, `--tls-creds=tls0 --socket=/run/nbd /nonexistent`), judgeQEMU},
	{"qemu-client", layout.QEMU, layout.Client, peertest.QEMU, askQEMU("client", `qemu-img info`, `--image-opts driver=null-co`), judgeQEMU},
	{"libvirt-server", layout.Libvirt, layout.Server, peertest.Libvirt, askLibvirtd, judgeLibvirtd},
	{"libvirt-client", layout.Libvirt, layout.Client, peertest.Libvirt, askVirsh, judgeVirsh},
}

// askQEMU has a program make a credential object and then fail for another
// reason, or succeed in what needs no credentials.
func askQEMU(endpoint, program, arguments string) string {
	return `ask() {
	password=; secret="secret,id=unused,data=unused"
	[ -z "$2" ] || { secret="secret,id=secret0,data=$2"; password=,passwordid=secret0; }
	` + program + ` --object "$secret" --object tls-creds-x509,id=tls0,endpoint=` + endpoint + `,dir=$1$password ` + arguments + ` 2>&1
}
`
}

func judgeQEMU(output string) (string, bool) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, ": warning: ") || strings.HasPrefix(line, "qemu-nbd: Failed to blk_new_open") {
			continue
		}
		for _, program := range []string{"qemu-nbd: ", "qemu-img: "} {
			if text, ok := strings.CutPrefix(line, program); ok {
				return text, false
			}
		}
	}
	return "", strings.Contains(output, "Failed to blk_new_open '/nonexistent'") || strings.Contains(output, "image: null-co://")
}

// use puts the set-up's tree where libvirt looks.
const use = `use() {
	rm -rf /etc/pki/CA /etc/pki/libvirt
	ln -s "$1/etc/pki/CA" "$1/etc/pki/libvirt" /etc/pki
}
`

// askLibvirtd has each daemon listen on an address of its own: what the last one
// has started may keep its address for a moment.
const askLibvirtd = use + `
n=0
mkdir -p /run/libvirt
ask() {
	use "$1"
	: >/run/log
	n=$((n + 1))
	cat >/run/libvirtd.conf <<end
listen_addr = "127.0.$((n / 250)).$((n % 250 + 2))"
tls_port = "$port"
unix_sock_dir = "/run/libvirt"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/run/log"
end
	if libvirtd --daemon --listen --config /run/libvirtd.conf --pid-file /run/pid 2>/dev/null; then
		echo started
		pid=$(cat /run/pid)
		kill -KILL "$pid"
		while kill -0 "$pid" 2>/dev/null; do sleep 0.001; done
		rm -f /run/pid
	else
		cat /run/log
	fi
}
`

func judgeLibvirtd(output string) (string, bool) {
	if output == "started\n" {
		return "", true
	}
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(line, ": error : "); ok {
			_, text, _ = strings.Cut(text, " : ")
			return strings.TrimSpace(text), false
		}
	}
	return output, false
}

// askVirsh connects to a port where nobody listens: virsh loads its credentials first.
const askVirsh = use + `ask() { use "$1"; virsh -c test+tls://localhost:1/default uri 2>&1; }
`

func judgeVirsh(output string) (string, bool) {
	_, text, _ := strings.Cut(output, "error: failed to connect to the hypervisor\nerror: ")
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "unable to connect to server at 'localhost:1': Connection refused") {
		return "", true
	}
	return text, false
}

// place returns where the set-up with that number is: the files' root, seen
// from the test and from the program, and the location in it.
func (c consumer) place(n int) (root string, l layout.Location) {
	root = filepath.Join("/srv", c.name, strconv.Itoa(n))
	if c.service == layout.QEMU {
		return "/", layout.System(c.service, root)
	}
	return root, layout.System(c.service, "")
}

// A verdict is what a program says of a set-up.
type verdict struct {
	accepted bool
	text     string // why not, in the program's words
}

// writeSetups writes every set-up for every consumer below a new directory.
func writeSetups(t *testing.T) (base string) {
	t.Helper()
	base = t.TempDir()
	for _, c := range consumers {
		for i, s := range setups(t, c.role) {
			root, l := c.place(i)
			s.write(t, filepath.Join(base, root), l, c.role)
		}
	}
	return base
}

// verdicts has a generation's program load the set-ups with those numbers below base.
func (c consumer) verdicts(t *testing.T, g peertest.Generation, base string, numbers []int) map[int]verdict {
	t.Helper()
	list := setups(t, c.role)
	var script strings.Builder
	fmt.Fprintf(&script, "port=%d\n%s", peertest.FreePort(t), c.ask)
	for _, i := range numbers {
		root, l := c.place(i)
		where := root
		if c.service == layout.QEMU {
			where = l.Dir
		}
		fmt.Fprintf(&script, "echo '@@@'; ask %s %s\n", where, list[i].password)
	}
	cmd := g.Command(t, peertest.Options{Mounts: map[string]string{"/srv": filepath.Join(base, "srv")}}, "sh", "-c", script.String())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	answers := strings.Split(string(out), "@@@\n")[1:]
	if len(answers) != len(numbers) {
		t.Fatalf("%d answers to %d questions: %s", len(answers), len(numbers), stderr.String())
	}
	verdicts := map[int]verdict{}
	for n, answer := range answers {
		text, accepted := c.judge(answer)
		verdicts[numbers[n]] = verdict{accepted, text}
	}
	return verdicts
}
