package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"virtls/finding"
	"virtls/gateway"
	"virtls/gateway/machines"
)

type gatewayVNCCmd struct {
	Listen  string `help:"Where viewers come in; the port is 5900 if none is given." placeholder:"URL"`
	Connect string `help:"Where the VNC server is; the port is 5900 if none is given." placeholder:"URL"`
	gateway.VNCSettings
	gatewayFlags
}

func (*gatewayVNCCmd) Help() string {
	return `Lets viewers in by VeNCrypt, SASL, Plain or a password, and browsers by websockets with a page that lists their
machines; logs in at the VNC server behind, with TLS if there are --connect-tls-creds; and passes bytes both
ways. What it proves to the server (--connect-user, --connect-password-file) no viewer needs to know.

With --machines there are many machines on one listener: a viewer's DN or account says which it sees, a browser
chooses, and a token (virtls gateway token) opens one for whoever has it.

` + gatewayURLs + `

Examples:
  virtls gateway vnc --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --listen tls:// --listen-tls-creds tls0 --connect unix:///run/vm1/vnc.sock
  virtls gateway vnc --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --object tls-creds-x509,id=web,endpoint=server,dir=/etc/pki/web,verify-peer=off --object tls-creds-x509,id=back,dir=/etc/pki/qemu --listen tls:// --listen-tls-creds tls0 --websocket tls://:443 --websocket-tls-creds web --accounts /etc/virtls/accounts --machines /etc/virtls/machines --connect-tls-creds back`
}

func (c *gatewayVNCCmd) Run(a *app) error {
	d := defined(gateway.VNC, c.Listen, c.Connect)
	d.VNC = c.VNCSettings
	return c.run(a, d)
}

type gatewayTokenCmd struct {
	Machine  string `arg:"" help:"Name of the machine that it opens."`
	Machines string `help:"File or directory of the machines, as the gateway has it. A directory gets a file with the token's hash; for a file the lines to add are printed." required:"" placeholder:"PATH"`
	For      string `help:"How long it is good, such as 30m, 12h or 7d." default:"1h" placeholder:"TIME"`
	Once     bool   `help:"It may be used once."`
	URL      string `name:"url" help:"Where browsers find the gateway, such as https://gw.example.com." placeholder:"URL"`
}

func (*gatewayTokenCmd) Help() string {
	return `Makes a token, tells the gateway its hash, and prints the token, or the address of the console if --url says
where the gateway is. Whoever has it sees the machine, so pass it on as you would a password. In the address
it is behind a #, so that browsers send it to no log on the way.

Examples:
  virtls gateway token vm1 --machines /etc/virtls/machines --for 30m --once --url https://gw.example.com`
}

// tokenReport is a token for programs.
type tokenReport struct {
	finding.Report
	Machine string    `json:"machine"`
	Token   string    `json:"token"`
	URL     string    `json:"url,omitempty"`
	Expires time.Time `json:"expires"`
	Add     string    `json:"add,omitempty"` // to the file
}

func (c *gatewayTokenCmd) Run(a *app) error {
	good, err := parseSpan(c.For)
	if err != nil {
		return kindUsage.Found("--for", "").WithText("%v", err).Usage()
	}
	if good == 0 {
		return kindToken.Found("--for", c.For).WithText("the token would be no good").Usage()
	}
	base, err := url.Parse(c.URL)
	if err != nil || c.URL != "" && (base.Scheme != "https" && base.Scheme != "http" || base.Host == "") {
		return kindToken.Found("--url", c.URL).WithText("this is no address of a gateway").Usage()
	}
	if base.Scheme == "http" && !gateway.IsLoopback(base.Hostname()) {
		return kindToken.Found("--url", c.URL).WithText("the page and the token would go over the network in clear").WithFix("say https://, of the gateway or of the proxy before it").Usage()
	}
	list, err := machines.Load(c.Machines, nil)
	if err != nil {
		return err
	}
	if _, ok := list.Machine(c.Machine); !ok {
		var names []string
		for _, m := range list.All() {
			names = append(names, m.Name)
		}
		f := kindToken.Found(c.Machines, c.Machine).WithText("there is no machine of this name")
		if near := finding.Nearest(c.Machine, names); near != "" {
			f = f.WithFix("did you mean %s?", near)
		}
		return f.Wrong()
	}
	now := time.Now()
	token, text := machines.NewToken(c.Machine, now.Add(good), c.Once)
	r := tokenReport{Report: finding.NewReport(a.found), Machine: c.Machine, Token: text, Expires: token.Expires}
	if info, err := os.Stat(c.Machines); err == nil && !info.IsDir() {
		r.Add = token.YAML()
	} else if err := machines.AddToken(c.Machines, token, now); err != nil {
		return kindToken.Found(c.Machines, "").WithText("the token cannot be written there").Unable(err)
	}
	if c.URL != "" {
		r.URL = fmt.Sprintf("%s/console/%s#token=%s", strings.TrimSuffix(c.URL, "/"), url.PathEscape(c.Machine), text)
	}
	if a.json {
		return a.printJSON(r)
	}
	if r.Add != "" {
		fmt.Fprintf(a.stderr, "add to tokens: in %s:\n%s\n", c.Machines, r.Add)
	}
	if r.URL != "" {
		text = r.URL
	}
	a.printf("%s\n", text)
	return nil
}

var kindToken = finding.Define("gateway-token", finding.Error,
	"a token cannot be made", "name a machine of the gateway's, a time above zero and an address such as https://gw.example.com")
