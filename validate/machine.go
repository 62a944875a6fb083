package validate

import (
	"net"
	"os"
	"strings"
)

// virtualLinks begin the names of interfaces at which no other host is.
var virtualLinks = []string{"lo", "virbr", "vnet", "veth", "docker", "br-", "cni", "flannel", "lxc", "lxd", "tap", "tun", "podman"}

// machineNames returns the names and addresses by which peers can reach this
// machine.
func machineNames() []string {
	var names []string
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		names = append(names, name)
	}
	links, err := net.Interfaces()
	if err != nil {
		return names
	}
	for _, link := range links {
		virtual := false
		for _, prefix := range virtualLinks {
			virtual = virtual || strings.HasPrefix(link.Name, prefix)
		}
		if virtual || link.Flags&net.FlagUp == 0 || link.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, _ := link.Addrs()
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				names = append(names, ip.IP.String())
			}
		}
	}
	return names
}
