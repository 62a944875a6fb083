package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"virtls/creds"
	"virtls/gateway/page"
	"virtls/internal/peertest"
)

// A person is a test's view of a gateway: a browser, and a guest behind it.
type person struct {
	*chrome
	*running
	at    string // the gateway's address
	alice string // the same, with alice's login
	shown string // on the third line of the guest's screen
	kept  *tab   // from one part of the test to the next
	guest *peertest.Proc
	boot  func() *peertest.Proc
}

// Everything that a person does with the page, in a real browser, through a gateway,
// with a guest of a QEMU that wants a certificate of the gateway.
func TestConsole(t *testing.T) {
	if page.NoVNC() == "" {
		peertest.Missing(t, "noVNC is not in this build", "make novnc")
	}
	dir, port := shared().ca.dir(t, "localhost", "ec"), peertest.FreePort(t)
	p := &person{boot: func() *peertest.Proc { return showingGuest(t, dir, port) }}
	p.guest = p.boot()
	o := Options{Protocol: VNC, Connect: Side{Credentials: holder(t, dir, creds.Client)}, VNC: Screens{
		Web:      Side{address(t, "tls://127.0.0.1:0"), webHolder(t, dir)},
		Accounts: accountsOf(t, map[string]string{"alice": passwordOfAlice, "bob": passwordOfAlice}),
	}}
	text := "machines:\n"
	machine := func(name, description, user string) {
		text += fmt.Sprintf("- {name: %s, description: %q, connect: 'tls://localhost:%d', users: [%s]}\n", name, description, port, user)
	}
	machine("web1", "Web server in the first rack", "alice")
	machine("web2", "Web server in the second rack", "alice")
	for i := range 40 {
		machine(fmt.Sprintf("host%02d", i), hostile(i), "bob")
	}
	o.VNC.Machines = storeOf(t, &o, text)
	p.running = runVNC(t, o)
	p.at = strings.Replace(p.web(""), "127.0.0.1", "localhost", 1)
	p.alice = strings.Replace(p.at, "//", "//alice:"+passwordOfAlice+"@", 1)
	p.chrome = chromium(t, shared().ca)

	t.Run("keyboard alone", p.keyboardAlone)
	t.Run("keys and text", p.keysAndText)
	t.Run("phone", p.phone)
	t.Run("clipboard", p.clipboard)
	t.Run("many machines", p.manyMachines)
	p.quiet(t)
	t.Run("another origin", p.anotherOrigin)
	t.Run("password", func(t *testing.T) { p.password(t, o.Connect.Credentials, port) })
	t.Run("refusals", p.refusals)
	t.Run("no login", p.noLogin)
	t.Run("reconnection", p.reconnection)
	p.quiet(t, "WebSocket", "Failed to load resource", "Connection closed (code:")
}

// shows waits until the guest has shown what was typed anew.
func (p *person) shows(tab *tab, typed string) {
	tab.t.Helper()
	p.shown += typed
	tab.reads(p.shown)
}

func (p *person) keyboardAlone(t *testing.T) {
	tab := p.keep(t, chromedp.Navigate(p.alice))
	tab.shot("list")
	tab.do(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](tab, "document.activeElement.querySelector('.name').innerText"); got != "web1" {
		t.Fatalf("the first Tab leads to %q", got)
	}
	tab.do(chromedp.KeyEvent(kb.Enter))
	tab.state("connected")
	if got := tab.focus(); got != "canvas" {
		t.Errorf("a new console has the focus on %s, want the screen", got)
	}
	p.shows(tab, prompt)
	tab.do(chromedp.KeyEvent("virtls"))
	p.shows(tab, "virtls")
	tab.shot("console")

	// Out of the screen, and back.
	tab.do(chord())
	if got := tab.focus(); got != "fit" {
		t.Errorf("Ctrl-Alt-Shift leads to %s, want the first button", got)
	}
	var order []string
	for tab.focus() != "canvas" && len(order) < 20 {
		order = append(order, tab.focus())
		tab.do(chromedp.KeyEvent(kb.Tab))
	}
	if got := strings.Join(order, " "); got != "fit full keys clipboard ctrl-alt-del disconnect" {
		t.Errorf("Tab leads through %s", got)
	}
	tab.do(chromedp.KeyEvent(kb.Tab))
	if got := tab.focus(); got != "canvas" {
		t.Errorf("Tab leaves the screen for %s; it belongs to the machine", got)
	}
	// No key of the three stays down in the machine.
	tab.do(chromedp.KeyEvent("x"))
	p.shows(tab, "?x") // Tab has a sign of its own

	// Ctrl-Alt-Del, and the guest begins anew.
	tab.do(chord())
	for tab.focus() != "ctrl-alt-del" {
		tab.do(chromedp.KeyEvent(kb.Tab))
	}
	tab.do(chromedp.KeyEvent(kb.Enter))
	p.shown = ""
	p.shows(tab, prompt)
}

// keep opens a tab for more than one part of the test.
func (p *person) keep(t *testing.T, actions ...action) *tab {
	t.Helper()
	p.kept = p.tab(p.chrome.t, actions...)
	p.kept.t = t
	return p.kept
}

// chord presses Control, Alt and Shift together.
func chord() action {
	key := func(kind input.DispatchKeyEventType, key, code string, m chromedp.Modifier) action {
		return command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: key, Code: code, Modifiers: int64(m)})
	}
	const (
		down, up = input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp
		c, a, s  = chromedp.ModifierCtrl, chromedp.ModifierAlt, chromedp.ModifierShift
	)
	return chromedp.Steps(
		key(down, "Control", "ControlLeft", c), key(down, "Alt", "AltLeft", c|a), key(down, "Shift", "ShiftLeft", c|a|s),
		key(up, "Shift", "ShiftLeft", c|a), key(up, "Alt", "AltLeft", c), key(up, "Control", "ControlLeft", 0),
	)
}

// Keys that are held by a button, and text that the page types.
func (p *person) keysAndText(t *testing.T) {
	tab := p.kept
	tab.t = t
	tab.do(dark())
	tab.click("#keys")
	tab.shot("keys-dark")
	tab.click("#held button")
	tab.press("#screen canvas", "virtls")
	p.shows(tab, "??????") // signs for control characters
	tab.click("#held button")
	tab.press("#held button", kb.Escape)
	if tab.focus() != "keys" || !eval[bool](tab, "document.getElementById('keys-panel').hidden") {
		t.Errorf("Escape does not close the panel; the focus is on %s", tab.focus())
	}

	shift := func(kind input.DispatchKeyEventType, m chromedp.Modifier) action {
		return command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "Shift", Code: "ShiftLeft", Modifiers: int64(m)})
	}
	tab.do(chromedp.Focus(chromedp.CSS("#screen canvas")), shift(input.DispatchKeyEventTypeRawKeyDown, chromedp.ModifierShift),
		chromedp.KeyEvent("VIRTLS", chromedp.KeyModifiers(chromedp.ModifierShift)), shift(input.DispatchKeyEventTypeKeyUp, 0))
	p.shows(tab, "VIRTLS")
	tab.click("#clipboard")
	tab.fill("#clipboard-text", "(VIRTLS) > virtls")
	tab.click("#clipboard-type")
	p.shows(tab, "(VIRTLS) > virtls")
	tab.until("document.getElementById('clipboard-note').innerText === 'Typed.'")
	tab.shot("clipboard-dark")
	tab.fullScreen(t)

	tab.do(chromedp.Focus(chromedp.CSS("#screen canvas")), chord(), chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)), chromedp.KeyEvent(kb.Enter))
	tab.until("document.querySelector('#machines') !== null")
}

func (p *person) phone(t *testing.T) {
	tab := p.tab(t, phone(), chromedp.Navigate(p.at))
	tab.shot("list-phone")
	tab.do(chromedp.Tap(chromedp.CSS("#machines a")))
	tab.until("document.getElementById('state') !== null")
	tab.state("connected")
	if wide := eval[int](tab, "document.documentElement.scrollWidth"); wide > 390 {
		t.Errorf("the page is %d pixels wide on a phone of 390", wide)
	}
	if eval[bool](tab, "[...document.querySelectorAll('.tools button')].some(button => button.getBoundingClientRect().right > innerWidth)") {
		t.Error("some buttons are out of sight on a phone held upright")
	}
	tab.do(chromedp.Tap(chromedp.CSS("#keyboard")))
	if got := tab.focus(); got != "typing" {
		t.Fatalf("the button for the phone's keyboard gives the focus to %s", got)
	}
	// A phone's keyboard guesses words, and changes its mind.
	compose := func(text string) action {
		n := int64(len(text))
		return command(input.ImeSetComposition, input.ImeSetCompositionParams{Text: text, SelectionStart: n, SelectionEnd: n})
	}
	tab.do(compose("vi"), compose("virt"), command(input.InsertText, input.InsertTextParams{Text: "virtls"}))
	p.shows(tab, "virtls")
	tab.shot("console-phone")
	tab.do(chromedp.Tap(chromedp.CSS("#fit")))
	tab.until("!document.getElementById('move').hidden")
	tab.shot("console-phone-unfit")
	tab.do(chromedp.Tap(chromedp.CSS("#keys")))
	tab.shot("keys-phone")
}

// QEMU is one clipboard for all who look at a machine, so two consoles of one machine
// show both ways.
func (p *person) clipboard(t *testing.T) {
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted, Origin: p.at,
		})
		must(t, err)
	}
	open := func() *tab {
		tab := p.keep(t, command(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}), chromedp.Navigate(p.at+"/console/web1"))
		tab.state("connected")
		tab.click("#clipboard")
		return tab
	}
	a, b := open(), open()
	copied := func(from, to *tab, text string) {
		t.Helper()
		from.fill("#clipboard-text", text)
		from.click("#clipboard-send")
		to.until("document.getElementById('clipboard-text').value === '" + text + "'")
	}
	copied(a, b, "grüße 日本 ✓")
	copied(b, a, "and back")

	// Shared, it needs no button.
	b.click("#clipboard-share")
	copied(a, b, "into the clipboard")
	b.until("navigator.clipboard.readText().then(text => text === 'into the clipboard')")
	b.do(chromedp.Evaluate[chromedp.Void]("navigator.clipboard.writeText('out of the clipboard')"))
	b.press("#screen canvas", "x")
	p.shows(b, "x")
	a.until("document.getElementById('clipboard-text').value === 'out of the clipboard'")
}

func (tab *tab) fullScreen(t *testing.T) {
	tab.click("#full")
	tab.until("document.getElementById('full').ariaPressed === 'true' && document.activeElement.localName === 'canvas'")
	tab.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 400, 550))
	if bottom := eval[float64](tab, "document.getElementById('bar').getBoundingClientRect().bottom"); bottom > 10 {
		t.Errorf("the buttons take %v pixels of the full screen", bottom)
	}
	tab.shot("full-screen")
	tab.do(chord())
	if top := eval[float64](tab, "document.getElementById('bar').getBoundingClientRect().top"); top != 0 {
		t.Errorf("the buttons do not come for the focus: %v", top)
	}
	tab.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	tab.until("document.fullscreenElement === null")
}

// The gateway may ask for a password of viewers.
func (p *person) password(t *testing.T, with *creds.Holder, port int) {
	gw := runVNC(t, Options{
		Connect: Side{address(t, fmt.Sprintf("tls://localhost:%d", port)), with}, Name: "old1", Hostname: "localhost",
		VNC: Screens{Web: p.o.VNC.Web, PasswordFile: secretFile(t, passwordOfView)},
	})
	tab := p.tab(t, chromedp.Navigate(strings.Replace(gw.web("/console/old1"), "127.0.0.1", "localhost", 1)))
	for _, tt := range []struct{ password, state, text string }{
		{passwordWrong, "ended", "No connection. Authentication failed."},
		{passwordOfView, "connected", "Connected"},
	} {
		tab.until("document.getElementById('state').innerText === 'A login is needed'")
		if got := tab.focus(); got != "ask-password" {
			t.Errorf("the focus is on %s, want the password", got)
		}
		tab.shot("login")
		tab.do(chromedp.KeyEvent(tt.password + kb.Enter))
		if got := tab.state(tt.state); got != tt.text {
			t.Errorf("after the password %s the state is %q", tt.password, got)
		}
		if tt.state == "ended" {
			tab.do(chromedp.KeyEvent(kb.Enter))
		}
	}
	p.quiet(t, "Failed when connecting: Security negotiation failed")
}

// hostile describes a machine.
func hostile(i int) string {
	if i != 7 {
		return "Web server"
	}
	return "Router \u202eof the \u2066first floor, with <a> long & \"hostile\" description" + strings.Repeat("x", 200)
}

func (p *person) manyMachines(t *testing.T) {
	tab := p.stranger(t, dark(), chromedp.Navigate(strings.Replace(p.alice, "alice", "bob", 1)))
	tab.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("FLOOR rout"))
	if got := tab.text("#found"); got != "1 of 40 machines" {
		t.Errorf("the search says %q", got)
	}
	tab.shot("search-dark")
	tab.do(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](tab, "document.activeElement.querySelector('.name').innerText"); got != "host07" {
		t.Errorf("the search is followed by %q", got)
	}
}
