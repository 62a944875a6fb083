package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"virtls/sasl"
)

// Proxies are the proxies of HTTP before a gateway's page that are believed when
// they say who their client is.
type Proxies struct {
	Networks []netip.Prefix
	UNIX     bool // who comes by a UNIX socket is one
}

// unixProxies is the word for those of a UNIX socket.
const unixProxies = "unix"

// ParseProxies reads networks, addresses and the word unix.
func ParseProxies(texts []string) (p Proxies, err error) {
	for _, text := range texts {
		if text == unixProxies {
			p.UNIX = true
			continue
		}
		list, err := ParsePrefixes([]string{text})
		if err != nil {
			return p, err
		}
		p.Networks = append(p.Networks, list...)
	}
	return p, nil
}

// has tells whether an address is that of a proxy; that of a UNIX socket is the zero
// one.
func (p *Proxies) has(a netip.Addr) bool {
	if !a.IsValid() {
		return p.UNIX
	}
	return slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// client returns the client for whom proxies have sent a request, nil if it came by
// none or they do not say. Each proxy adds to X-Forwarded-For whom it sees, at the
// end: what is before the last one who is no proxy is what that one claims.
func (p *Proxies) client(from netip.Addr, h http.Header) *netip.Addr {
	if !p.has(from) {
		return nil
	}
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	var client *netip.Addr
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		a = a.Unmap().WithZone("")
		client = &a
		if !p.has(a) {
			break
		}
	}
	return client
}

// https tells whether proxies say that the browser's end has TLS.
func (p *Proxies) https(from netip.Addr, h http.Header) bool {
	return p.has(from) && h.Get("X-Forwarded-Proto") == "https"
}

// throttled is by what name failed logins of a client count, empty if that of the
// connection will do.
func (c *connection) throttled() string {
	a := c.forwarded.Load()
	if a == nil {
		return ""
	}
	return hostOf(*a)
}

// hostOf names who is behind an address, as [sasl.ClientOf] does.
func hostOf(a netip.Addr) string {
	return sasl.ClientOf(net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
}

// subject is how findings call the client.
func (c *connection) subject() string {
	if a := c.forwarded.Load(); a != nil {
		return "client " + a.String()
	}
	return "client " + c.peer
}
