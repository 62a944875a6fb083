package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed static novnc
var files embed.FS

var embedded = sync.OnceValue(func() *assets { return load(files) })

// assets are the files that are served as they are, and the templates.
type assets struct {
	files   map[string]file // by path below /static/VERSION/
	version string          // a digest of all the files
	novnc   string          // noVNC's version, "" without it
	pages   *template.Template
}

type file struct {
	kind           string // media type
	tag            string // digest
	plain, gzipped []byte // gzipped is nil if it is not shorter
}

// kinds are the media types of the files by extension; other files are licences.
var kinds = map[string]string{
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

// load reads what lies in static and novnc, which cannot fail for files of the program.
func load(from fs.FS) *assets {
	a := &assets{files: map[string]file{}, pages: pages(from)}
	all := sha256.New()
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) == ".html" {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		f := newFile(name, data)
		a.files[strings.TrimPrefix(name, "static/")] = f
		all.Write([]byte(name + "\x00" + f.tag + "\x00"))
		return nil
	})
	if err != nil {
		panic(err)
	}
	a.version = hex.EncodeToString(all.Sum(nil)[:8])
	if f, ok := a.files["novnc/package.json"]; ok {
		var about struct{ Version string }
		if json.Unmarshal(f.plain, &about) == nil {
			a.novnc = about.Version
		}
	}
	return a
}

func newFile(name string, data []byte) file {
	kind, ok := kinds[path.Ext(name)]
	if !ok {
		kind = "text/plain; charset=utf-8"
	}
	sum := sha256.Sum256(data)
	f := file{kind: kind, tag: hex.EncodeToString(sum[:16]), plain: data}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data) // a buffer takes all
	_ = z.Close()
	if b.Len() < len(data) {
		f.gzipped = b.Bytes()
	}
	return f
}

// ServeHTTP serves a file by its path. Files of a version never change, so browsers
// keep them for a year without asking again.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body, tag := f.plain, f.tag
	if f.gzipped != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body, tag = f.gzipped, f.tag+"-gzip"
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads an Accept-Encoding field (RFC 9110, section 12.5.3).
func acceptsGzip(field string) bool {
	for coding := range strings.SplitSeq(field, ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q=")
		if !ok {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return err == nil && q > 0
	}
	return false
}
