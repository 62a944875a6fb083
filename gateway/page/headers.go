package page

import "net/http"

// headers are those of every answer. The page needs nothing but its own files and
// websocket, so nothing else is allowed; a script that got into it could neither
// run nor send anything elsewhere.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; " +
		// noVNC makes pictures and mouse pointers from what it receives.
		"img-src 'self' data:; " +
		// Which is https and wss of the same host and port.
		"connect-src 'self'; manifest-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'",
	"Strict-Transport-Security":    "max-age=31536000",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy": "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), " +
		"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
	"X-Robots-Tag": "noindex",
}

// secured adds the headers to the answers of a handler.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}
