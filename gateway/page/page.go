// Package page is the browser's side of a VNC gateway: a list of the machines
// that a person may see, and a console of each with noVNC.
//
// It serves
//
//	/                  the list
//	/console/NAME      the console of a machine
//	/static/VERSION/   scripts, styles and noVNC, each version at a place of its own
//
// and expects from its gateway, below the same origin, the websocket
//
//	/websocket/NAME
//
// on which the gateway speaks RFB in binary messages. If the console was opened as
// /console/NAME#token=TOKEN the page shows the token: what follows the # is sent to
// nobody, and the script takes it out of the address at once and keeps it in memory
// alone. With it the websocket has the subprotocols "binary", for the gateway to
// choose, and TokenProtocol with the token, and a GET has "Authorization: Bearer
// TOKEN"; so no address that a log could have holds it. The gateway judges token,
// person and Origin.
//
// Browsers tell a script neither status nor text of a websocket that was refused.
// A gateway that wants them shown either lets the websocket open and closes it with
// a reason, or answers a GET of the same address that asks for no upgrade with the
// status that it would refuse the websocket with, and a line of text; such a GET
// must use up no token. After 401 and 403 the page asks for another token, after 404
// it gives up, and otherwise it tries again.
//
// noVNC is no part of the sources: scripts/novnc puts it below novnc, from where it
// is taken into the binary. A binary without it says so in the place of a console.
package page

import (
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
)

// TokenProtocol begins the subprotocol that is no such, but holds a token, in
// base64 for URLs without padding (RFC 4648, section 5).
const TokenProtocol = "virtls.token."

// A Machine is one that a person may see.
type Machine struct {
	// Name stands in the addresses of console and websocket. Machines named
	// "", "." and "..", which no address can hold, are not shown.
	Name string
	// Description is a line of text for people, or empty.
	Description string
	// State is a word on how the machine is, shown as it stands, or empty.
	// "up" and "down" have a colour.
	State string
}

// Options are what a gateway tells about itself.
type Options struct {
	// Machines returns the machines that the sender of a request may see, in the
	// order in which they are shown. The list is a matter of taste, not of safety: the
	// gateway judges again who opens a websocket. An error is shown to nobody and makes
	// the answer status 500; the gateway logs it.
	Machines func(*http.Request) ([]Machine, error)
	// Person returns what the gateway takes the sender of a request for, to be shown to
	// them, or "". May be nil.
	Person func(*http.Request) string
}

type handler struct {
	Options
	assets *assets
}

// New returns the handler of the page, to be served at the root of an https origin.
// It may be used concurrently, as may the functions of the options.
func New(o Options) http.Handler {
	return newHandler(o, embedded())
}

// NoVNC returns the version of noVNC in this binary, "" if there is none.
func NoVNC() string { return embedded().novnc }

func newHandler(o Options, a *assets) http.Handler {
	h := &handler{o, a}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list)
	mux.HandleFunc("GET /console/{name}", h.console)
	mux.Handle("GET /static/"+a.version+"/", http.StripPrefix("/static/"+a.version+"/", a))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.message(w, r, http.StatusNotFound, "Nothing is here", "This gateway has a list of machines, and a console of each.")
	})
	return secured(mux)
}

// A view is what the templates show.
type view struct {
	Root    string // what leads from the page to /
	Static  string // what leads to the directory of the assets
	NoVNC   string // its version
	Person  string
	Title   string
	Text    string
	Machine string
	List    []entry
}

type entry struct {
	Machine
	Console string // its address, relative to the list
}

func (h *handler) view(r *http.Request, root, title string) view {
	v := view{Root: root, Static: root + "static/" + h.assets.version + "/", NoVNC: h.assets.novnc, Title: title}
	if h.Person != nil {
		v.Person = h.Person(r)
	}
	return v
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	machines, err := h.Machines(r)
	if err != nil {
		h.message(w, r, http.StatusInternalServerError, "The list of machines cannot be read", "The gateway's log says why. A console that you have the address of may work all the same.")
		return
	}
	v := h.view(r, "./", "Machines")
	for _, m := range machines {
		switch m.Name {
		case "", ".", "..":
		default:
			v.List = append(v.List, entry{m, "console/" + url.PathEscape(m.Name)})
		}
	}
	h.show(w, http.StatusOK, "list.html", v)
}

func (h *handler) console(w http.ResponseWriter, r *http.Request) {
	if h.assets.novnc == "" {
		h.message(w, r, http.StatusServiceUnavailable, "No console in this browser",
			"This virtls was built without noVNC. To add it, run “make novnc” and “make” in the sources of virtls, on a machine with npm, and start the gateway anew. Other VNC viewers can connect as it is.")
		return
	}
	v := h.view(r, "../", r.PathValue("name"))
	v.Machine = r.PathValue("name")
	h.show(w, http.StatusOK, "console.html", v)
}

// message shows a page of one message.
func (h *handler) message(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	v := h.view(r, "/", title)
	v.Text = text
	h.show(w, status, "message.html", v)
}

func (h *handler) show(w http.ResponseWriter, status int, name string, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// What fails here is the connection, of which the server knows.
	_ = h.assets.pages.ExecuteTemplate(w, name, v)
}

// pages parses the templates, which are part of the program.
func pages(files fs.FS) *template.Template {
	return template.Must(template.ParseFS(files, "static/*.html"))
}
