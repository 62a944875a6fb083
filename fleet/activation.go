package fleet

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"virtls/layout"
)

// activationDir holds, beside a holder's tree, what makes the tree's files live.
const activationDir = "activate"

// activation returns the files of a holder's activation directory by name:
// settings to add to the daemons' files, arguments for QEMU, URIs for clients
// and the commands that make the daemons read them.
func (f *File) activation(h *Holder) map[string]string {
	files := map[string]string{}
	if h.host != nil {
		f.activateHost(h, files)
	}
	if uris := f.uris(h); uris != "" {
		files["uris.txt"] = uris
		if line := f.prioritySetting(h, "tls_priority"); line != "" {
			where := "/etc/libvirt/libvirt.conf"
			if h.person() {
				where = "$HOME/.config/libvirt/libvirt.conf"
			}
			files["libvirt.conf"] = fmt.Sprintf("# %s: for libvirt's clients; add to %s.\n%s", h.Name, where, line)
		}
	}
	if args := f.qemuArguments(h); args != "" {
		files["qemu-args.txt"] = args
	}
	return files
}

func (f *File) activateHost(h *Holder, files map[string]string) {
	if use := h.use(layout.Libvirt); use != nil && slices.Contains(use.Roles, layout.Server) {
		// Which daemon owns the TLS socket decides which file is read.
		daemons := []string{"virtproxyd", "libvirtd"}
		if h.Platform.Modular {
			daemons = daemons[:1]
		} else if h.Platform.Name != "" {
			daemons = daemons[1:]
		}
		for _, d := range daemons {
			files[d+".conf"] = f.libvirtdConf(h, use, d)
		}
		files["commands.txt"] = daemonCommands(daemons)
	}
	if conf := f.qemuConf(h); conf != "" {
		files["qemu.conf"] = conf
	}
}

// use returns the host's use of a service, nil if it has none.
func (h *Holder) use(s layout.Service) *Use {
	for i := range h.host.Uses {
		if h.host.Uses[i].Service == s {
			return &h.host.Uses[i]
		}
	}
	return nil
}

// allowed lists the DNs that libvirt on the host admits, in the DER order that
// tls_allowed_dn_list is matched against.
func (f *File) allowed(h *Holder) []string {
	if h.host.Allow == nil {
		return f.admitted
	}
	var names []string
	for _, name := range h.host.Allow {
		subject := Subject{}
		if host := f.hosts[name]; host != nil {
			subject = host.Subject
		} else {
			subject = f.clients[name].Subject
		}
		names = append(names, subject.name(name).String())
	}
	return names
}

// index prepares what is looked up for every host, so that the work for a fleet
// does not grow with the square of its size.
func (f *File) index() {
	f.hosts, f.clients = map[string]*Host{}, map[string]*Client{}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		f.hosts[h.Name] = h
		if h.connects() {
			f.admitted = append(f.admitted, h.Subject.name(h.Name).String())
		}
	}
	for i := range f.Clients {
		c := &f.Clients[i]
		f.clients[c.Name] = c
		if slices.Contains(c.Uses, layout.Libvirt) {
			f.admitted = append(f.admitted, c.Subject.name(c.Name).String())
		}
	}
}

// connects tells whether the host is a libvirt client itself, as a source of
// migrations is.
func (h *Host) connects() bool {
	for _, u := range h.Uses {
		if u.Service == layout.Libvirt && slices.Contains(u.Roles, layout.Client) {
			return true
		}
	}
	return false
}

func (f *File) libvirtdConf(h *Holder, use *Use, daemon string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: add these settings to /etc/libvirt/%s.conf and restart %s.\n", h.Name, daemon, daemon)
	b.WriteString("# A socket unit owns the port; listen_tls counts only for a daemon started with --listen.\n")
	b.WriteString("listen_tls = 1\n")
	b.WriteString("# Who may connect. Names are in the order of the certificate, which is not the order certtool -i prints.\n")
	b.WriteString("# An empty list admits nobody.\n")
	b.WriteString("tls_allowed_dn_list = [")
	for i, name := range f.allowed(h) {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n  %s", confString(name))
	}
	b.WriteString("\n]\n")
	if use.Dir != "" {
		f.libvirtPaths(&b, h, use)
	}
	b.WriteString(f.prioritySetting(h, "tls_priority"))
	return b.String()
}

// libvirtPaths writes the settings that point libvirt at another directory.
// crl_file is ignored unless the others are set too (libvirt 9.0 to 12.8).
func (f *File) libvirtPaths(b *strings.Builder, h *Holder, use *Use) {
	loc := layout.System(layout.Libvirt, use.Dir)
	var certs, keys []string
	for _, id := range h.Identities {
		for _, p := range id.Places {
			if p.Location.Service == layout.Libvirt && p.Role == layout.Server {
				certs = append(certs, confString(p.Cert.Path))
				keys = append(keys, confString(p.Key.Path))
			}
		}
	}
	b.WriteString("# Reloading with virt-admin server-update-tls ignores these paths (libvirt 12.8): restart the daemon after a renewal.\n")
	fmt.Fprintf(b, "ca_file = %s\n", confString(loc.CA()))
	fmt.Fprintf(b, "crl_file = %s\n", confString(loc.CRL()))
	if len(certs) == 1 {
		fmt.Fprintf(b, "cert_file = %s\nkey_file = %s\n", certs[0], keys[0])
		return
	}
	fmt.Fprintf(b, "cert_files = [ %s ]\nkey_files = [ %s ]\n", strings.Join(certs, ", "), strings.Join(keys, ", "))
}

// confString quotes a value for libvirt's configuration files, whose strings
// know no escapes: the quote that the value does not hold is taken.
func confString(s string) string {
	switch {
	case !strings.Contains(s, `"`):
		return `"` + s + `"`
	case !strings.Contains(s, "'"):
		return "'" + s + "'"
	}
	return `"""` + s + `"""`
}

func daemonCommands(daemons []string) string {
	var b strings.Builder
	b.WriteString("# Commands for the host, as root. They may be run again.\n")
	for _, d := range daemons {
		if d == "virtproxyd" {
			b.WriteString("\n# Modular daemons: virtproxyd owns the TLS port.\n" +
				"systemctl enable --now virtproxyd-tls.socket\n" +
				"systemctl try-restart virtproxyd.service\n" +
				"# After a renewal, without disturbing connections:\n" +
				"virt-admin -c virtproxyd:///system server-update-tls virtproxyd\n")
			continue
		}
		b.WriteString("\n# Monolithic daemon: libvirtd owns the TLS port.\n" +
			"systemctl stop libvirtd.service\n" +
			"systemctl enable --now libvirtd-tls.socket\n" +
			"systemctl start libvirtd.service\n" +
			"# After a renewal, without disturbing connections:\n" +
			"virt-admin -c libvirtd:///system server-update-tls libvirtd\n")
	}
	return b.String()
}

// qemuConf writes the qemu.conf settings of the services whose directories the
// host has.
func (f *File) qemuConf(h *Holder) string {
	var lines []string
	for _, use := range h.host.Uses {
		if use.Service == layout.Libvirt {
			continue
		}
		loc := layout.System(use.Service, use.Dir)
		lines = append(lines, fmt.Sprintf("%s = %s", use.Service.ConfKey(), confString(loc.Dir)))
		if use.Service == layout.QEMU {
			lines = append(lines, "default_tls_x509_verify = 1")
		}
		if on := use.Service.Enable(); on != "" {
			lines = append(lines, on+" = 1")
		}
		if use.Service == layout.LibvirtVNC {
			// libvirt's built-in default lets every client in (qemu.conf, 12.8).
			lines = append(lines, "vnc_tls_x509_verify = 1")
		}
		if h.Platform.AppArmor && !underAppArmor(loc.Dir) {
			lines = append(lines, fmt.Sprintf("# AppArmor keeps guests from reading %s: add \"  %s/** r,\" to /etc/apparmor.d/abstractions/libvirt-qemu.d/virtls (libvirt before 9.6: /etc/apparmor.d/local/abstractions/libvirt-qemu)", loc.Dir, loc.Dir))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	conf := fmt.Sprintf("# %s: add these settings to /etc/libvirt/qemu.conf and restart libvirtd or virtqemud.\n%s\n", h.Name, strings.Join(lines, "\n"))
	if v := h.Platform.Libvirt; v == "" || v.AtLeast("11.6") { // older ones know no such setting
		conf += f.prioritySetting(h, "default_tls_priority")
	}
	return conf
}

// underAppArmor tells whether libvirt's AppArmor profile lets guests read a
// directory (libvirt 9.0, 11.3 and 12.8).
func underAppArmor(dir string) bool {
	for _, ok := range []string{"/etc/pki/CA", "/etc/pki/libvirt", "/etc/pki/libvirt-spice", "/etc/pki/libvirt-vnc", "/etc/pki/qemu"} {
		if dir == ok || strings.HasPrefix(dir, ok+"/") {
			return true
		}
	}
	return false
}

// uris lists what a client types to reach each host.
func (f *File) uris(h *Holder) string {
	if h.client == nil && (h.use(layout.Libvirt) == nil || !h.host.connects()) {
		return ""
	}
	if h.client != nil && !slices.Contains(h.client.Uses, layout.Libvirt) {
		return ""
	}
	query := ""
	if h.host != nil && h.use(layout.Libvirt).Dir != "" {
		query = "?pkipath=" + h.use(layout.Libvirt).Dir
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# libvirt URIs for %s. A URI with a host and no transport means TLS.\n", h.Name)
	for i := range f.Hosts {
		host := &f.Hosts[i]
		if host.Name == h.Name && h.host != nil || !host.serves(layout.Libvirt) {
			continue
		}
		name := host.Name
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
		fmt.Fprintf(&b, "qemu://%s/system%s\n", name, query)
	}
	return b.String()
}

func (h *Host) serves(s layout.Service) bool {
	for _, u := range h.Uses {
		if u.Service == s && slices.Contains(u.Roles, layout.Server) {
			return true
		}
	}
	return false
}

// qemuArguments writes the -object arguments of the holder's credentials and
// an example of each service that takes them.
func (f *File) qemuArguments(h *Holder) string {
	var b strings.Builder
	for _, loc := range h.Locations {
		if loc.Service != layout.QEMU {
			continue
		}
		for _, r := range []layout.Role{layout.Server, layout.Client} {
			if h.hasPlace(loc, r) {
				f.object(&b, h, loc, r)
			}
		}
	}
	f.pskArguments(&b, h)
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("# QEMU arguments for %s. qemu-nbd, qemu-img, qemu-io and qemu-storage-daemon take --object with the same text.\n%s", h.Name, b.String())
}

func (h *Holder) hasPlace(loc layout.Location, r layout.Role) bool {
	for _, id := range h.Identities {
		for _, p := range id.Places {
			if p.Location == loc && p.Role == r {
				return true
			}
		}
	}
	return false
}

func (f *File) object(b *strings.Builder, h *Holder, loc layout.Location, r layout.Role) {
	dir := loc.Dir
	if h.person() {
		dir = "$HOME/" + dir
	}
	priority, why, needed := f.pqcOff(h)
	if needed {
		priority = ",priority=" + commas(priority)
	} else if priority != "" {
		fmt.Fprintf(b, "\n# %s: append ,priority=%s\n", why, priority)
		priority = ""
	}
	fmt.Fprintf(b, "\n-object tls-creds-x509,id=tls-%s,dir=%s,endpoint=%s,verify-peer=on%s\n", r, commas(dir), r, priority)
	if r == layout.Server {
		b.WriteString("-vnc 0.0.0.0:0,tls-creds=tls-server\n" +
			"-chardev socket,id=char0,host=0.0.0.0,port=9000,server=on,wait=off,tls-creds=tls-server\n" +
			"# qemu-nbd --tls-creds tls-server ...\n")
		return
	}
	b.WriteString("-chardev socket,id=char1,host=HOST,port=9000,tls-creds=tls-client\n" +
		"-blockdev driver=nbd,node-name=disk0,server.type=inet,server.host=HOST,server.port=10809,tls-creds=tls-client\n" +
		"# QMP migrate-set-parameters: tls-creds=tls-client tls-hostname=HOST; on the destination tls-creds=tls-server\n")
}

// commas doubles the commas of a value, as QEMU's option syntax wants.
func commas(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// pskPriority keeps GnuTLS from choosing ChaCha20-Poly1305 for a pre-shared
// key, which makes transfers about four times slower on processors with AES
// instructions; GnuTLS 3.7.9 to 3.8.13 accept it.
const pskPriority = "NORMAL:-CHACHA20-POLY1305"

// pskArguments writes the objects for the holder's pre-shared keys.
func (f *File) pskArguments(b *strings.Builder, h *Holder) {
	loc := h.pskLocation()
	home := ""
	if h.person() {
		home = "$HOME/"
	}
	if slices.ContainsFunc(f.PSK, func(u PSKUser) bool { return slices.Contains(u.Servers, h.Name) }) {
		fmt.Fprintf(b, "\n# Pre-shared keys, as server:\n-object tls-creds-psk,id=psk-server,dir=%s,endpoint=server\n", commas(layout.PSKServer(loc)))
	}
	ids := map[string]int{}
	for _, u := range f.PSK {
		for _, server := range h.pskServers(&u) {
			id := "psk-" + objectID(server)
			if ids[id]++; ids[id] > 1 {
				id += fmt.Sprintf("-%d", ids[id])
			}
			fmt.Fprintf(b, "\n# Pre-shared key of %s towards %s:\n-object tls-creds-psk,id=%s,dir=%s,username=%s,endpoint=client,priority=%s\n",
				u.User, server, id, home+commas(layout.PSKClient(loc, server)), layout.ShellQuote(commas(u.User)), pskPriority)
		}
	}
}

// pskLocation is where the holder's pre-shared keys go: QEMU's place, whatever else it uses.
func (h *Holder) pskLocation() layout.Location {
	if h.host != nil {
		if use := h.use(layout.QEMU); use != nil {
			return layout.System(layout.QEMU, use.Dir)
		}
		return layout.System(layout.QEMU, "")
	}
	if h.client.System {
		return layout.System(layout.QEMU, "")
	}
	return layout.Home(layout.QEMU, "")
}

// objectID makes a QEMU object id of a host name: letters, digits, "-", "." and "_".
func objectID(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '@' {
			return '-'
		}
		return r
	}, path.Base(name))
}
