package gateway

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"

	"virtls/internal/peertest"
)

// browserPatience is how long a test waits for a browser on a busy machine.
const browserPatience = time.Minute

// A chrome is Debian's Chromium, which trusts one more authority.
type chrome struct {
	t       *testing.T
	ctx     context.Context
	mu      sync.Mutex
	trouble []string // what its console complained of
}

var devTools = regexp.MustCompile(`DevTools listening on (ws://\S+)`)

// chromium starts a browser.
func chromium(t *testing.T, ca *authority) *chrome {
	t.Helper()
	peertest.NeedProgram(t, "chromium", "chromium")
	peertest.NeedProgram(t, "certutil", "libnss3-tools")
	home := t.TempDir()
	trusted := filepath.Join(ca.dir(t, "", ""), "ca-cert.pem")
	db := filepath.Join(home, ".local/share/pki/nssdb")
	must(t, os.MkdirAll(db, 0o700))
	for _, args := range [][]string{
		{"-N", "-d", "sql:" + db, "--empty-password"},
		{"-A", "-d", "sql:" + db, "-n", "test", "-t", "C,,", "-i", trusted},
	} {
		if out, err := exec.Command("certutil", args...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %s: %v\n%s", args, err, out)
		}
	}
	p := peertest.Host.Start(t, peertest.Options{Home: home}, peertest.Logged("DevTools listening on"), "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--in-process-gpu", "--renderer-process-limit=1", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=/home/virtls/chromium",
		"--remote-debugging-port=0", "--window-size=1180,760", "--hide-scrollbars", "--force-color-profile=srgb").Ready()
	url := devTools.FindStringSubmatch(p.Stderr())
	if url == nil {
		t.Fatalf("Chromium does not say where its DevTools are:\n%s", p.Stderr())
	}
	ctx, cancel := remote.NewAllocator(t.Context(), url[1], remote.NoModifyURL)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	must(t, chromedp.Do(ctx))
	return &chrome{t: t, ctx: ctx}
}

// quiet fails the test if a console has complained, of the policy for example, save
// of what the test expects.
func (b *chrome) quiet(t *testing.T, expected ...string) {
	t.Helper()
	for _, line := range b.complaints() {
		if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(line, text) }) {
			t.Errorf("the browser's console says: %s", line)
		}
	}
}

// A tab is a page in a browser. What goes wrong in its methods ends the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	b   *chrome
}

// An action is something that a tab can be asked to do.
type action = chromedp.Action[chromedp.Void]

// command makes an action of a command of the DevTools protocol.
func command[P any](c cdp.Command[P, cdp.Empty], params P) action {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, params)
		return chromedp.Void{}, err
	}
}

// tab opens one that is there until the test ends.
func (b *chrome) tab(t *testing.T, actions ...action) *tab {
	t.Helper()
	return b.open(t, actions)
}

// stranger opens one that shares nothing with others, logins for example.
func (b *chrome) stranger(t *testing.T, actions ...action) *tab {
	t.Helper()
	return b.open(t, actions, chromedp.WithNewBrowserContext())
}

func (b *chrome) open(t *testing.T, actions []action, o ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, o...)
	t.Cleanup(cancel)
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "debug" || strings.Contains(m.Text, "willReadFrequently") {
				continue // advice
			}
			b.mu.Lock()
			b.trouble = append(b.trouble, fmt.Sprintf("%s (%s)", m, m.URL))
			b.mu.Unlock()
		}
	}()
	page := &tab{t, ctx, b}
	page.do(actions...)
	return page
}

// complaints returns what the consoles have said since it was last asked.
func (b *chrome) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.trouble
	b.trouble = nil
	return list
}

func (p *tab) do(actions ...action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.shot("failed-" + p.t.Name())
		p.t.Fatalf("%v\nthe page says: %s\n%s", err, p.text("body"), strings.Join(p.b.complaints(), "\n"))
	}
}

// text returns an element's text as it is shown.
func (p *tab) text(selector string) string {
	return eval[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression of the page is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	for end := time.Now().Add(browserPatience); !eval[bool](p, expression); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			p.shot("failed-" + p.t.Name())
			p.t.Fatalf("it was never true that %s; the page says: %s", expression, p.text("body"))
		}
	}
}

// state waits until the page says that its connection is in a state, and returns the text of that.
func (p *tab) state(want string) string {
	p.t.Helper()
	p.until(fmt.Sprintf("document.getElementById('state')?.dataset.state === %q", want))
	return p.text("#state")
}

// focus returns the id, or else the name, of the element that has the focus.
func (p *tab) focus() string {
	p.t.Helper()
	return eval[string](p, "document.activeElement.id || document.activeElement.localName")
}

// click clicks on an element, fill puts a text into one, press gives one the focus and types.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.SetValue(chromedp.CSS(selector), text))
}

func (p *tab) press(selector, keys string) {
	p.t.Helper()
	p.do(chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent(keys))
}

// screenText returns what is typed on the guest's screen, once it has greeted: the third
// line, with ? for what is not in the greeting.
const screenText = `(greeting => {
	const canvas = document.querySelector('#screen canvas');
	if (canvas?.width !== 720 || canvas.height !== 400) return '';
	const copy = new OffscreenCanvas(720, 48).getContext('2d', { willReadFrequently: true });
	copy.drawImage(canvas, 0, 0);
	const glyphs = line => Array.from({ length: 80 }, (_, column) => copy.getImageData(column * 9, line * 16, 9, 16).data.join());
	const font = new Map(glyphs(0).map((glyph, column) => [glyph, greeting[column] ?? ' ']));
	if (font.size !== new Set(greeting + ' ').size) return '';
	return glyphs(2).map(glyph => font.get(glyph) ?? '?').join('').trimEnd();
})(%q)`

// reads waits until the third line of the guest's screen is a text.
func (p *tab) reads(text string) {
	p.t.Helper()
	got, script := "", fmt.Sprintf(screenText, greeting)
	for end := time.Now().Add(browserPatience); got != strings.TrimRight(text, " "); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			p.shot("failed-" + p.t.Name())
			p.t.Fatalf("the screen shows %q, never %q; state %q", got, text, p.text("#state"))
		}
		got = eval[string](p, script)
	}
}

// shot keeps a picture of the page as an artefact of the test (go test -artifacts).
func (p *tab) shot(name string) {
	p.t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Errorf("screenshot %s: %v", name, err)
		return
	}
	must(p.t, os.WriteFile(filepath.Join(p.b.t.ArtifactDir(), strings.ReplaceAll(name, "/", "-")+".png"), png, 0o644))
}

// dark has the page believe that the person likes it dark.
func dark() action {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
}

// phone has the page believe that it is on a phone.
func phone() action {
	return chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
}
