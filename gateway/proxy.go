package gateway

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"virtls/session"
)

// PROXY protocol version 2 (HAProxy's doc/proxy-protocol.txt, section 2.2).
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyCommand   = 0x21 // version 2, PROXY
	proxyLocal     = 0x20 // version 2, LOCAL: nobody to speak of
	proxyTCP4      = 0x11
	proxyTCP6      = 0x21

	tlvSSL        = 0x20
	tlvSSLVersion = 0x21 // inside tlvSSL
	tlvSSLCN      = 0x22
	tlvSSLCipher  = 0x23
	tlvDN         = 0xE0 // of our own, from the range for that: the DN as access lists have it

	clientSSL  = 0x01 // the client came over TLS
	clientCert = 0x02 // and showed a certificate in this connection
)

// maxTLV is what a length field can say less what else is in the header.
const maxTLV = 0xffff - 512

// proxyHeader says who a client is. A client over a UNIX socket has no address,
// so that the header says LOCAL: what it would say of TLS is left out with it.
func proxyHeader(src, dst netip.AddrPort, st *session.State) []byte {
	h := []byte(proxySignature)
	if !src.IsValid() || !dst.IsValid() {
		return append(h, proxyLocal, 0, 0, 0)
	}
	s, d := src.Addr().Unmap(), dst.Addr().Unmap()
	family := byte(proxyTCP4)
	if !s.Is4() || !d.Is4() {
		family = proxyTCP6
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	body := append(s.AsSlice(), d.AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, src.Port())
	body = binary.BigEndian.AppendUint16(body, dst.Port())
	if st != nil {
		body = appendSession(body, st)
	}
	h = append(h, proxyCommand, family)
	return append(binary.BigEndian.AppendUint16(h, uint16(len(body))), body...)
}

// appendSession says what was agreed, and by what name the client is known if it
// has proved it.
func appendSession(b []byte, st *session.State) []byte {
	flags, verify := byte(clientSSL), uint32(1)
	if len(st.PeerChain) > 0 {
		flags |= clientCert
	}
	if st.Authenticated {
		verify = 0
	}
	ssl := binary.BigEndian.AppendUint32([]byte{flags}, verify)
	ssl = appendTLV(ssl, tlvSSLVersion, strings.Replace(st.Version, "TLS ", "TLSv", 1))
	ssl = appendTLV(ssl, tlvSSLCipher, st.Suite)
	if st.Authenticated && len(st.PeerChain) > 0 {
		ssl = appendTLV(ssl, tlvSSLCN, st.PeerChain[0].Subject.CommonName())
	}
	b = appendTLV(b, tlvSSL, string(ssl))
	if st.Authenticated {
		b = appendTLV(b, tlvDN, st.PeerName)
	}
	return b
}

// appendTLV leaves out what is empty or too long: a name of tens of kilobytes
// is no name.
func appendTLV(b []byte, typ byte, value string) []byte {
	if value == "" || len(b)+len(value) > maxTLV {
		return b
	}
	return append(binary.BigEndian.AppendUint16(append(b, typ), uint16(len(value))), value...)
}

// sendProxy tells the service who the client is.
func sendProxy(ctx context.Context, client side, service net.Conn) error {
	var st *session.State
	if client.tls != nil {
		s := client.tls.State()
		st = &s
	}
	stop := context.AfterFunc(ctx, func() { service.Close() })
	defer stop()
	_, err := service.Write(proxyHeader(addrPort(client.RemoteAddr()), addrPort(client.LocalAddr()), st))
	return err
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}
