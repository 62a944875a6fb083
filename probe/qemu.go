package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"virtls/layout"
)

// A qemu is a QEMU of this machine that serves VNC where the probe has been.
type qemu struct {
	guest string // its name, empty if it has none
	dir   string // with the credentials of its VNC server
	root  string // what the process has as its root
}

// maxCommandLine bounds what is read of a process's arguments.
const maxCommandLine = 1 << 20

// qemu finds the QEMU that serves VNC with TLS at an address of this machine, or
// on a UNIX socket, by the arguments of the processes, which everybody may read.
func (l *Local) qemu(at netip.AddrPort, socket string) (qemu, bool) {
	if l.Proc == "" {
		return qemu{}, false
	}
	list, err := os.ReadDir(l.Proc)
	if err != nil {
		return qemu{}, false
	}
	for _, entry := range list {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		process := filepath.Join(l.Proc, entry.Name())
		data, err := readAtMost(filepath.Join(process, "cmdline"), maxCommandLine)
		if err != nil || !l.sameNetwork(process) {
			continue
		}
		args := strings.Split(string(data), "\x00")
		if q, ok := qemuOf(args, at, socket); ok {
			q.root = filepath.Join(process, "root")
			return q, true
		}
	}
	return qemu{}, false
}

func readAtMost(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// sameNetwork tells whether a process has this one's network. Of other users'
// processes that cannot be seen, and it is assumed.
func (l *Local) sameNetwork(process string) bool {
	theirs, err := os.Readlink(filepath.Join(process, "ns/net"))
	ours, err2 := os.Readlink(filepath.Join(l.Proc, "self/ns/net"))
	return err != nil || err2 != nil || theirs == ours
}

// qemuOf reads the arguments of a process, and tells whether it is a QEMU that
// serves VNC there with credentials.
func qemuOf(args []string, at netip.AddrPort, socket string) (q qemu, ok bool) {
	if program := filepath.Base(args[0]); !strings.Contains(program, "qemu") && !strings.Contains(program, "kvm") {
		return q, false
	}
	objects := map[string]string{} // directories of credentials, by their ids
	creds := ""
	for i, arg := range args[:len(args)-1] {
		switch value := args[i+1]; strings.TrimPrefix(arg, "-") {
		case "-object", "object":
			if o := objectOf(value); strings.HasPrefix(o["qom-type"], "tls-creds-") {
				objects[o["id"]] = o["dir"]
			}
		case "-vnc", "vnc":
			if o := options(value); serves(o, at, socket) {
				creds = o["tls-creds"]
			}
		case "-name", "name":
			if o := options(value); o["guest"] != "" {
				q.guest = o["guest"]
			} else {
				q.guest = o[""]
			}
		}
	}
	q.dir = objects[creds]
	return q, q.dir != ""
}

// objectOf reads a value of -object: JSON or QEMU's options.
func objectOf(text string) map[string]string {
	if !strings.HasPrefix(text, "{") {
		o := options(text)
		o["qom-type"] = o[""]
		return o
	}
	var members map[string]any
	if json.Unmarshal([]byte(text), &members) != nil {
		return nil
	}
	o := map[string]string{}
	for name, value := range members {
		if s, ok := value.(string); ok {
			o[name] = s
		}
	}
	return o
}

// options reads QEMU's options: FIRST,name=value,..., where two commas stand for
// one. The first, if it has no name, is under the empty one.
func options(text string) map[string]string {
	o := map[string]string{}
	const comma = "\x00"
	for i, part := range strings.Split(strings.ReplaceAll(text, ",,", comma), ",") {
		name, value, has := strings.Cut(part, "=")
		switch {
		case has:
		case i == 0:
			name, value = "", part
		default: // a switch: "websocket" is "websocket=on"
			value = "on"
		}
		o[name] = strings.ReplaceAll(value, comma, ",")
	}
	return o
}

// serves tells whether the options of a -vnc are of a server at the address, or
// of its websockets, or at the socket.
func serves(o map[string]string, at netip.AddrPort, socket string) bool {
	if path, ok := strings.CutPrefix(o[""], "unix:"); ok || socket != "" {
		return ok && path == socket
	}
	i := strings.LastIndexByte(o[""], ':')
	if i < 0 {
		return false
	}
	host, display := strings.Trim(o[""][:i], "[]"), o[""][i+1:]
	n, err := strconv.Atoi(display)
	if err != nil || !reaches(host, at.Addr()) {
		return false
	}
	web := o["websocket"]
	switch w, err := strconv.Atoi(web[strings.LastIndexByte(web, ':')+1:]); {
	case int(at.Port()) == vncPort+n:
		return true
	case web == "" || web == "off":
		return false
	case err == nil:
		return int(at.Port()) == w
	}
	return int(at.Port()) == websocketPort+n
}

// websocketPort is the one of QEMU's display 0.
const websocketPort = 5700

// reaches tells whether what listens on a host is reached at an address. Names
// are not looked up.
func reaches(host string, at netip.Addr) bool {
	a, err := netip.ParseAddr(host)
	return err != nil || a.IsUnspecified() || a.Unmap() == at
}

// expectQEMU compares the certificate that a QEMU of this machine shows with its
// files.
func (p *prober) expectQEMU() {
	l := p.local()
	if l == nil {
		return
	}
	at, _ := netip.ParseAddrPort(p.r.Address)
	q, ok := l.qemu(at, p.t.socket())
	if !ok {
		return
	}
	views := []layout.View{layout.Root(q.root), l.View}
	p.compareFiles(views, layout.System(layout.QEMU, q.dir).Files(layout.Server).Pairs, q.guest)
}

// displayReload has a guest's VNC server load its files. The guest is the one of
// this name, if it is known.
func displayReload(guest string) string {
	name := "GUEST"
	if guest != "" {
		name = layout.ShellQuote(guest)
	}
	const qmp = `{"execute":"display-reload","arguments":{"type":"vnc","tls-certs":true}}`
	return fmt.Sprintf("virsh domdisplay-reload %s, before libvirt 10.2 virsh qemu-monitor-command %s '%s'; of a QEMU without libvirt that command by QMP", name, name, qmp)
}
