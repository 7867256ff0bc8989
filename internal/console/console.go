// Package console serves the agents' desk: one page and its script, made from web/
// by `go generate`. It owns no logic; all that the page does goes through the API.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:generate go -C ../../web/bundle run .

//go:embed index.html favicon.svg dist
var files embed.FS

// policy lets the page load what stands here and nothing else. WebAssembly is for
// the decoder of WeChat's voice format, which is loaded when one is played; blobs
// are pictures before they are uploaded and voices after they are decoded.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; " +
	"connect-src 'self'; font-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// A file as it is sent: with a tag, by which a browser that has it is answered 304, and
// compressed for whoever takes that.
type file struct {
	kind, tag    string
	plain, small []byte // small: by gzip; nil where that gains little
}

func read(name string) (f file, ok bool) {
	var err error
	if f.plain, err = files.ReadFile(name); err != nil {
		return f, false
	}
	sum := sha256.Sum256(f.plain)
	f.kind, f.tag = mime.TypeByExtension(path.Ext(name)), hex.EncodeToString(sum[:8])
	if len(f.plain) < 1400 { // one packet in any case
		return f, true
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is one
	}
	z.Write(f.plain) // a Buffer takes all
	z.Close()
	f.small = b.Bytes()
	return f, true
}

// Handler serves /console and all below it: the page under every path that is not a
// file, so that its own addresses can be opened. A file is read and compressed when
// it is first asked for.
func Handler() http.Handler {
	var known sync.Map // of file, by name
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-cache") // names without hashes: asked about each time
		name := "index.html"
		if rest, ok := strings.CutPrefix(r.URL.Path, "/console/"); ok && (strings.HasPrefix(rest, "dist/") || rest == "favicon.svg") {
			name = rest
		}
		f, ok := known.Load(name)
		if !ok {
			if f, ok = read(name); !ok {
				http.NotFound(w, r)
				return
			}
			known.Store(name, f)
		}
		f.(file).serve(w, r)
	})
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h, content, tag := w.Header(), f.plain, f.tag
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	if f.small != nil && takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		content, tag = f.small, tag+"-gzip"
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// takesGzip reports whether gzip is among the codings, and not refused by q=0.
func takesGzip(codings string) bool {
	for coding := range strings.SplitSeq(codings, ",") {
		name, quality, _ := strings.Cut(coding, ";")
		if strings.TrimSpace(name) == "gzip" {
			q := strings.TrimRight(strings.ReplaceAll(quality, " ", ""), "0")
			return q != "q=" && q != "q=0." && q != "q=."
		}
	}
	return false
}
