package page

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// with returns the assets with noVNC, or what stands for it here, or without.
func with(t *testing.T, novnc bool) *assets {
	t.Helper()
	tree := fstest.MapFS{}
	static, err := fs.Glob(files, "static/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(static, "novnc/README") {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		tree[name] = &fstest.MapFile{Data: data}
	}
	if novnc {
		tree["novnc/package.json"] = &fstest.MapFile{Data: []byte(`{"version": "1.2.3"}`)}
		tree["novnc/LICENSE.txt"] = &fstest.MapFile{Data: []byte("MPL")}
		tree["novnc/core/rfb.js"] = &fstest.MapFile{Data: []byte(strings.Repeat("export default class {}\n", 100))}
	}
	return load(tree)
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", "https://gateway.example.com"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func showing(list ...Machine) Options {
	return Options{Machines: func(*http.Request) ([]Machine, error) { return list, nil }}
}

func TestHeaders(t *testing.T) {
	a := with(t, true)
	h := newHandler(showing(Machine{Name: "web1"}), a)
	for _, path := range []string{"/", "/console/web1", "/static/" + a.version + "/page.css", "/static/" + a.version + "/none", "/none"} {
		t.Run(path, func(t *testing.T) {
			r := get(t, h, path)
			for name, want := range map[string]string{
				"Strict-Transport-Security":    "max-age=31536000",
				"X-Content-Type-Options":       "nosniff",
				"X-Frame-Options":              "DENY",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Opener-Policy":   "same-origin",
				"Cross-Origin-Embedder-Policy": "require-corp",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			policy := r.Header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("the policy %q lacks %s", policy, want)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
				t.Errorf("the policy is too wide: %q", policy)
			}
			if r.Header.Get("Permissions-Policy") == "" {
				t.Error("no Permissions-Policy")
			}
		})
	}
}

// No script or style stands in the pages, which the policy would forbid, and
// nothing comes from elsewhere.
func TestNothingInline(t *testing.T) {
	h := newHandler(showing(Machine{Name: "web1", Description: "A web server", State: "up"}), with(t, true))
	for _, path := range []string{"/", "/console/web1", "/none"} {
		html := body(t, get(t, h, path))
		for _, bad := range []string{"<style", "style=", "onclick", "javascript:", "http:", "https:", "<script>"} {
			if strings.Contains(html, bad) {
				t.Errorf("%s has %q:\n%s", path, bad, html)
			}
		}
	}
}

func TestHostileNames(t *testing.T) {
	const evil = `"><script src=//evil.example></script>`
	h := newHandler(Options{
		Machines: func(*http.Request) ([]Machine, error) {
			return []Machine{
				{Name: evil, Description: evil, State: evil},
				{Name: "javascript:alert(1)"},
				{Name: "a/b?c#d%e"},
				{Name: "../../etc"},
				{Name: ".."}, {Name: "."}, {Name: ""},
				{Name: "\u202egnp.exe", State: "up"},
			}, nil
		},
		Person: func(*http.Request) string { return evil },
	}, with(t, true))
	html := body(t, get(t, h, "/"))
	for _, bad := range []string{"<script src=//", `href="javascript:`, `href="..`, `console/"`, `console/.."`, `console/."`} {
		if strings.Contains(html, bad) {
			t.Errorf("the list has %q:\n%s", bad, html)
		}
	}
	for _, want := range []string{
		`href="console/%22%3E%3Cscript%20src=%2F%2Fevil.example%3E%3C%2Fscript%3E"`,
		`href="console/javascript:alert%281%29"`,
		`href="console/a%2Fb%3Fc%23d%25e"`,
		`href="console/..%2F..%2Fetc"`,
		"<bdi>\u202egnp.exe</bdi>",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the list lacks %s:\n%s", want, html)
		}
	}
	for _, path := range []string{"/console/%22%3E%3Cscript%20src=%2F%2Fevil.example%3E%3C%2Fscript%3E", "/console/..%2F..%2Fetc", "/console/a%2Fb%3Fc%23d%25e"} {
		r := get(t, h, path)
		if html := body(t, r); r.StatusCode != http.StatusOK || strings.Contains(html, "<script src=//") || !strings.Contains(html, "data-machine=") {
			t.Errorf("%s: %s\n%s", path, r.Status, html)
		}
	}
}

// What the gateway knows of its insides stays there.
func TestUnreadableList(t *testing.T) {
	h := newHandler(Options{Machines: func(*http.Request) ([]Machine, error) { return nil, errors.New("open /etc/secret") }}, with(t, true))
	r := get(t, h, "/")
	if html := body(t, r); r.StatusCode != http.StatusInternalServerError || strings.Contains(html, "secret") {
		t.Errorf("%s\n%s", r.Status, html)
	}
}

func TestEmptyList(t *testing.T) {
	r := get(t, newHandler(showing(), with(t, true)), "/")
	if html := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(html, "No machine is open to you here") {
		t.Errorf("%s\n%s", r.Status, html)
	}
}

func TestWithoutNoVNC(t *testing.T) {
	h := newHandler(showing(Machine{Name: "web1"}), with(t, false))
	if html := body(t, get(t, h, "/")); !strings.Contains(html, "make novnc") || !strings.Contains(html, "web1") {
		t.Errorf("the list does not say how to add noVNC:\n%s", html)
	}
	r := get(t, h, "/console/web1")
	if html := body(t, r); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(html, "make novnc") || strings.Contains(html, "console.js") {
		t.Errorf("%s: the console does not say how to add noVNC:\n%s", r.Status, html)
	}
}

func TestNoVNCIsNamed(t *testing.T) {
	a := with(t, true)
	h := newHandler(showing(), a)
	if html := body(t, get(t, h, "/")); !strings.Contains(html, "noVNC 1.2.3</a> (MPL-2.0)") {
		t.Errorf("the page does not name noVNC and its licence:\n%s", html)
	}
	r := get(t, h, "/static/"+a.version+"/novnc/LICENSE.txt")
	if kind := r.Header.Get("Content-Type"); body(t, r) != "MPL" || kind != "text/plain; charset=utf-8" {
		t.Errorf("the licence is %s, %s", r.Status, kind)
	}
}

func TestFiles(t *testing.T) {
	a := with(t, true)
	h := newHandler(showing(), a)
	path := "/static/" + a.version + "/novnc/core/rfb.js"
	plain := get(t, h, path)
	want := body(t, plain)
	if plain.StatusCode != http.StatusOK || plain.Header.Get("Content-Type") != "text/javascript; charset=utf-8" ||
		plain.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("%s %v", plain.Status, plain.Header)
	}

	packed := get(t, h, path, "Accept-Encoding", "br, gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" || packed.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Errorf("gzip: %s %v", packed.Status, packed.Header)
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != want {
		t.Errorf("gzip: %d octets, %v", len(got), err)
	}

	for _, tt := range []struct {
		name   string
		header []string
		status int
	}{
		{"unchanged", []string{"If-None-Match", plain.Header.Get("ETag")}, http.StatusNotModified},
		{"unchanged gzip", []string{"If-None-Match", packed.Header.Get("ETag"), "Accept-Encoding", "gzip"}, http.StatusNotModified},
		{"changed", []string{"If-None-Match", `"other"`}, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := get(t, h, path, tt.header...); r.StatusCode != tt.status {
				t.Errorf("%s, want %d", r.Status, tt.status)
			}
		})
	}

	for name, path := range map[string]string{
		"another version": "/static/0000/page.css",
		"a directory":     "/static/" + a.version + "/novnc/",
		"out of it":       "/static/" + a.version + "/%2e%2e/page.go",
		"a template":      "/static/" + a.version + "/list.html",
	} {
		t.Run(name, func(t *testing.T) {
			if r := get(t, h, path); r.StatusCode == http.StatusOK {
				t.Errorf("%s: %s", path, r.Status)
			}
		})
	}
}

func TestAcceptsGzip(t *testing.T) {
	for field, want := range map[string]bool{
		"": false, "br": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "gzip;q=x": false, "x-gzip": false,
	} {
		if got := acceptsGzip(field); got != want {
			t.Errorf("%q: %t, want %t", field, got, want)
		}
	}
}

func TestMethods(t *testing.T) {
	h := newHandler(showing(), with(t, true))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "https://gateway.example.com/", strings.NewReader("x")))
	if w.Code == http.StatusOK {
		t.Error("a POST was answered as a GET")
	}
}
