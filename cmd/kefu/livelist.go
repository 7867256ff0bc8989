package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
)

// livelist.html shows the feed of the gateway that serves it, as far as the key in
// the fragment of its link may read it. It is one file, and loads nothing else.
//
//go:embed livelist.html
var liveList string

var inline = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

// listPolicy lets the page run its own script and style, by their hashes, and speak
// to its own gateway; nothing else.
var listPolicy = func() string {
	policy := "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	for _, m := range inline.FindAllStringSubmatch(liveList, -1) {
		sum := sha256.Sum256([]byte(m[2]))
		policy += "; " + m[1] + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return policy
}()

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
