package main

import (
	_ "embed"
	"io"
	"net/http"

	"github.com/kefu-go/kefu/internal/server"
)

// livelist.html shows the feed of the gateway that serves it, as far as the key in
// the fragment of its link may read it. It is one file, and loads nothing else.
//
//go:embed livelist.html
var liveList string

// listPolicy lets the page run its own script and style, and speak to its own gateway;
// nothing else.
var listPolicy = server.InlinePolicy(liveList, "connect-src 'self'; ")

// withLiveList serves the page at / and leaves all else to h.
func withLiveList(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", listPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, liveList) // a reader that has gone
	})
}
