package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Assets is the part of *assets.Library that the server needs. Errors are as those of
// [Engine]; besides, a [*kefu.FileError] says what is wrong with a file.
type Assets interface {
	// Keep makes an asset of a file, or finds the one with the same bytes.
	Keep(ctx context.Context, account string, body io.Reader) (gateway.Asset, error)
	// Asset finds an asset of one of the accounts, none: of any. Problem: not-found.
	Asset(ctx context.Context, accounts []string, id string) (gateway.Asset, error)
	// List is a page of those of some accounts, none: of any; the latest first.
	List(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[gateway.Asset], error)
	// Notes says which of some accounts (none: of all) have little room left, in the
	// language.
	Notes(ctx context.Context, lang string, accounts []string) []string
	// Open returns the bytes; ctx is of all reads.
	Open(ctx context.Context, a gateway.Asset) (io.ReadSeeker, error)
	// Delete forgets an asset, unless messages that wait need it, of which it returns
	// some ids. Problem: not-found.
	Delete(ctx context.Context, account, id string) (needed []string, err error)
	// URL is the address at which WeChat serves the picture for good.
	URL(ctx context.Context, a gateway.Asset) (string, error)
	// Picture opens a picture that a message of the account, accepted then, names by URL; a
	// [*kefu.FileError] says why there is none to show. Problem: overloaded.
	Picture(ctx context.Context, account string, accepted time.Time, url string) (format string, body io.ReadSeeker, err error)
	// Check says why a message can't name its media so, or nil. Problem: not-found.
	Check(ctx context.Context, account string, r gateway.MediaRef) error
}

const (
	maxAsset    = 10 << 20                               // bytes of a file: what WeChat takes at most
	maxForm     = 64 << 10                               // bytes around a file in a form
	assetBuffer = 256 << 10                              // what a file on its way holds in memory
	assetTime   = 5 * time.Minute                        // for a file to come or go, however little stands still
	cacheAsset  = "private, max-age=31536000, immutable" // the id says what the bytes are
)

func (s *Server) postAsset(c *call) (int, any, error) {
	file, err := c.file()
	if err != nil {
		return 0, nil, err
	}
	account, err := c.theAccount(c.query().Get("account"))
	if err != nil {
		return 0, nil, err
	}
	if err := c.hold(assetBuffer); err != nil {
		return 0, nil, err
	}
	a, err := s.Assets.Keep(c.Context(), account.AppID, file)
	if err != nil {
		c.w.Header().Set("Connection", "close") // there may be more of it
		return 0, nil, err
	}
	return http.StatusCreated, a, nil
}

// file is the body: as it is, or the first file of a form.
func (c *call) file() (io.Reader, error) {
	kind, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	form := kind == "multipart/form-data"
	switch {
	case err != nil && c.Header.Get("Content-Type") != "", kind == "application/json", kind == "application/x-www-form-urlencoded":
		return nil, refuse(gateway.UnsupportedMedia).because("not-a-file")
	case c.ContentLength > maxAsset+maxForm, c.ContentLength > maxAsset && !form:
		return nil, refuse(gateway.TooLarge, maxAsset)
	}
	body := &fileBody{c: c, r: c.Body, left: maxAsset, ends: time.Now().Add(assetTime)}
	if !form {
		return body, nil
	}
	body.left += maxForm
	for parts := multipart.NewReader(body, params["boundary"]); ; {
		part, err := parts.NextPart()
		var r *refusal
		switch {
		case errors.As(err, &r):
			return nil, r
		case err != nil:
			return nil, invalid(gateway.InvalidRequest, wrong("body", "no-file"))
		case part.FileName() != "":
			return &fileBody{c: c, r: part, left: maxAsset, ends: body.ends}, nil
		}
	}
}

// fileBody is a file on its way in: of a limited size, and never still for long.
type fileBody struct {
	c    *call
	r    io.Reader
	left int64
	ends time.Time
}

// Read implements [io.Reader].
func (f *fileBody) Read(b []byte) (int, error) {
	f.c.deadline((*http.ResponseController).SetReadDeadline, min(readTime, time.Until(f.ends)))
	n, err := f.r.Read(b)
	var r *refusal
	switch f.left -= int64(n); {
	case f.left < 0:
		return 0, refuse(gateway.TooLarge, maxAsset)
	case err != nil && err != io.EOF && !errors.As(err, &r):
		err = refuse(gateway.InvalidRequest).because("broken-off")
	}
	return n, err
}

func (s *Server) listAssets(c *call) (int, any, error) {
	accounts, err := c.scope()
	limit, err2 := c.limit()
	if err := errors.Join(err, err2); err != nil {
		return 0, nil, err
	}
	page, err := s.Assets.List(c.Context(), accounts, c.query().Get("cursor"), limit)
	return http.StatusOK, full(page), err
}

func (s *Server) getAsset(c *call) (int, any, error) {
	accounts, err := c.scope()
	if err != nil {
		return 0, nil, err
	}
	a, err := s.Assets.Asset(c.Context(), accounts, c.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	q := c.query()
	bad := append(oneOf("query.as", q.Get("as"), "url", ""), oneOf("query.meta", q.Get("meta"), "1", "")...)
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	switch {
	case q.Get("as") == "url":
		if !slices.Contains(senders, c.key.Role) { // it may cost an upload
			return 0, nil, refuse(gateway.Forbidden, c.key.Role, "GET /v1/assets/{id}?as=url", gateway.Send)
		}
		if a.URL, err = s.Assets.URL(c.Context(), a); err != nil {
			return 0, nil, err
		}
		return http.StatusOK, a, nil
	case q.Get("meta") == "1", strings.HasPrefix(c.Header.Get("Accept"), "application/json"):
		return http.StatusOK, a, nil
	}
	bytes, err := s.Assets.Open(c.Context(), a)
	if err != nil {
		return 0, nil, err
	}
	h := c.w.Header()
	harmless(h, a.Format)
	h.Set("Content-Disposition", `attachment; filename="`+a.SHA256[:16]+assetSuffix(a.Format)+`"`)
	h.Set("Cache-Control", cacheAsset)
	h.Set("ETag", `"`+a.SHA256+`"`)
	http.ServeContent(unhurriedly(c.w), c.Request, "", time.Time{}, bytes)
	return 0, nil, nil
}

// harmless has a browser take bytes that others chose for what they are and run nothing.
func harmless(h http.Header, format string) {
	h.Set("Content-Type", assetType(format))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (s *Server) deleteAsset(c *call) (int, any, error) {
	account, err := c.theAccount(c.query().Get("account"))
	if err != nil {
		return 0, nil, err
	}
	needed, err := s.Assets.Delete(c.Context(), account.AppID, c.PathValue("id"))
	if err == nil && len(needed) > 0 {
		err = refuse(gateway.AssetNeeded, strings.Join(needed, ", "))
	}
	return http.StatusNoContent, nil, err
}

// unhurried gives the client time for each piece of an answer.
type unhurried struct {
	http.ResponseWriter
	ends time.Time
}

func unhurriedly(w http.ResponseWriter) *unhurried {
	return &unhurried{w, time.Now().Add(assetTime)}
}

// Write implements [io.Writer].
func (u *unhurried) Write(b []byte) (int, error) {
	_ = http.NewResponseController(u.ResponseWriter).SetWriteDeadline(time.Now().Add(min(writeTime, time.Until(u.ends))))
	return u.ResponseWriter.Write(b)
}

// assetTypes are those that can run nothing, whatever the bytes hold.
var assetTypes = map[string]string{
	"jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp", "amr": "audio/amr", "mp3": "audio/mpeg", "mp4": "video/mp4",
}

func assetType(format string) string {
	if t, ok := assetTypes[format]; ok {
		return t
	}
	return "application/octet-stream"
}

// assetAnswers are the media types of an asset's bytes.
func assetAnswers() map[string]any {
	all := map[string]any{assetType(""): ""}
	for _, t := range assetTypes {
		all[t] = ""
	}
	return all
}

func assetSuffix(format string) string {
	if _, ok := assetTypes[format]; ok {
		return "." + format
	}
	return ""
}

// media says what is wrong with the media that a message names, assets and URLs.
func (c *call) media(sub *gateway.Submission) error {
	switch sub.MsgType {
	case "image", "voice", "video", "music", "mpnews", "miniprogrampage":
	default:
		return nil
	}
	var m kefu.Message
	if err := m.UnmarshalJSON(sub.Message); err != nil {
		return err
	}
	var bad, later []field
	for _, r := range gateway.MediaRefs(m.Body) {
		if !r.IsAsset() && !r.IsURL() {
			continue
		}
		location := "message." + sub.MsgType + "." + r.Member
		if c.s.Assets == nil {
			later = append(later, wrong(location, "later-media"))
			continue
		}
		var unfit *kefu.FileError
		switch err := c.s.Assets.Check(c.Context(), sub.Account, r); {
		case err == nil:
		case errors.As(err, &unfit):
			bad = append(bad, field{location: location, said: &text{unfit.Reason, unfit.Zh}, source: unfit.Source})
		case c.s.has(err, gateway.NotFound):
			bad = append(bad, wrong(location, "no-asset"))
		default:
			return err
		}
	}
	if err := invalid(gateway.NotYetSupported, later...); err != nil {
		return err
	}
	return invalid(gateway.InvalidMessage, bad...)
}
