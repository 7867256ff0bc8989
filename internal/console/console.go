// Package console serves the agents' desk: one page and its script, made from web/
// by `go generate`. It owns no logic; all that the page does goes through the API.
package console

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"
)

//go:generate go -C ../../web/bundle run .

//go:embed index.html favicon.svg dist
var files embed.FS

// policy lets the page load what stands here and nothing else. WebAssembly is for
// the decoder of WeChat's voice format, which is loaded when one is played; blobs
// are pictures before they are uploaded and voices after they are decoded.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; " +
	"connect-src 'self'; font-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves /console and all below it: the page under every path that is not a
// file, so that its own addresses can be opened.
func Handler() http.Handler {
	dist, err := fs.Sub(files, "dist")
	if err != nil {
		panic(err) // embedded
	}
	scripts := http.StripPrefix("/console/dist/", http.FileServerFS(dist))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-cache") // names without hashes: asked about each time, answered 304 or from the binary
		switch {
		case strings.HasPrefix(r.URL.Path, "/console/dist/"):
			scripts.ServeHTTP(w, r)
		case r.URL.Path == "/console/favicon.svg":
			http.ServeFileFS(w, r, files, "favicon.svg")
		default:
			http.ServeFileFS(w, r, files, "index.html")
		}
	})
}
