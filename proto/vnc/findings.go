package vnc

import "virtls/finding"

var (
	kindNotVNC = finding.Define("vnc-not-rfb", finding.Error,
		"what answers does not speak RFB, or a version that nobody has", "check the port: VNC's is 5900 and the display's number; a server that wants TLS at once is behind a websocket or no VNC server")
	kindNoSecurity = finding.Define("vnc-no-security", finding.Error,
		"the two ends have no way in common to secure and authenticate the connection", "give the client what the server asks for (credentials, a password, a login), or set the server up otherwise")
	kindRefused = finding.Define("vnc-refused", finding.Error,
		"the server refuses the client", "the text has the server's reason; QEMU's is the same for a wrong, an expired and a missing password")
	kindClosed = finding.Define("vnc-closed", finding.Error,
		"the other end closed the connection before the login was complete", "after a TLS handshake this is how QEMU refuses a client's certificate or name, and how it refuses a failed SASL login: look there")
	kindProtocol = finding.Define("vnc-protocol", finding.Error,
		"the other end broke the RFB protocol", "the text says what came and what was due")
	kindLate = finding.Define("vnc-late", finding.Error,
		"the other end did not say in time what was due", "a server that hangs, another protocol that waits for its client, or a network that loses packets")
	kindDenied = finding.Define("vnc-denied", finding.Error,
		"a client could not log in", "the text says what was wrong")
)
