package kefutest

import (
	"bytes"
	"cmp"
	"embed"
	"net/http"
	"path"
	"strings"
	"time"
)

// page is the phone page.
//
//go:embed page
var page embed.FS

// pagePolicy lets the page load its own script and style and nothing else; pictures
// and music may come from wherever a message says. WebAssembly and blobs are for voices
// in WeChat's format, which no browser plays: page/amr.js decodes them.
const pagePolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data: http: https:; " +
	"media-src 'self' blob: http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveFiles serves the phone page, and what WeChat gave a URL: pictures, videos and
// articles.
func (p *platform) serveFiles(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		name := cmp.Or(strings.TrimPrefix(path.Clean(r.URL.Path), "/"), "index.html")
		if file, err := page.ReadFile("page/" + name); err == nil {
			h := w.Header()
			h.Set("Content-Security-Policy", pagePolicy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file))
			return
		}
		p.mu.Lock()
		found, out := false, reply{}
		for _, a := range p.accounts {
			if out, found = a.library.visit(p.now(), "http://"+r.Host, r.URL.Path); found {
				break
			}
		}
		p.mu.Unlock()
		if found {
			show(w, r, out)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	w.Write(encode(map[string]string{
		"error": "nothing here; WeChat's API is under /cgi-bin/, /customservice/ and /card/, the control plane under /_sim/, the phone page at /",
	}))
}
