package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// shopFile is an asset of shop from the start, a picture.
const shopFile = "\x89PNG picture"

var shopAsset = gateway.AssetID(sha256.Sum256([]byte(shopFile)))

// A depot keeps assets in memory: whatever begins as a PNG is a picture.
type depot struct {
	needed []string                     // messages that need what is deleted
	fetch  func(url string) error       // of a picture, which is its URL after a PNG's head
	files  map[string]map[string]string // account → id → bytes
	notes  []string
	err    error
}

func (d *depot) asset(account, id string) gateway.Asset {
	file := d.files[account][id]
	sum := sha256.Sum256([]byte(file))
	return gateway.Asset{
		ID: id, Account: account, Kinds: []kefu.MediaKind{kefu.MediaImage}, Bytes: int64(len(file)), SHA256: hex.EncodeToString(sum[:]),
		Format: "png", Width: 1, Height: 1, CreatedAt: gateway.At(start),
	}
}

func (d *depot) Keep(_ context.Context, account string, body io.Reader) (gateway.Asset, error) {
	b, err := io.ReadAll(body)
	if err != nil || d.err != nil {
		return gateway.Asset{}, errors.Join(err, d.err)
	}
	if !bytes.HasPrefix(b, []byte("\x89PNG")) {
		return gateway.Asset{}, &kefu.FileError{Kind: "media", Code: 40005, Reason: "it is a text; taken are png", Zh: "格式为文本"}
	}
	id := gateway.AssetID(sha256.Sum256(b))
	if d.files[account] == nil {
		d.files[account] = map[string]string{}
	}
	d.files[account][id] = string(b)
	return d.asset(account, id), nil
}

func (d *depot) Asset(_ context.Context, accounts []string, id string) (gateway.Asset, error) {
	if len(accounts) == 0 {
		accounts = []string{shop, other}
	}
	for _, account := range accounts {
		if _, ok := d.files[account][id]; ok {
			return d.asset(account, id), nil
		}
	}
	return gateway.Asset{}, fault(gateway.NotFound)
}

func (d *depot) Delete(_ context.Context, account, id string) ([]string, error) {
	if _, ok := d.files[account][id]; !ok {
		return nil, fault(gateway.NotFound)
	}
	if len(d.needed) == 0 {
		delete(d.files[account], id)
	}
	return d.needed, nil
}

func (d *depot) List(_ context.Context, accounts []string, cursor string, limit int) (page gateway.Page[gateway.Asset], err error) {
	for _, account := range []string{shop, other} {
		for id := range d.files[account] {
			if len(accounts) == 0 || slices.Contains(accounts, account) {
				page.Items = append(page.Items, d.asset(account, id))
			}
		}
	}
	return page, d.err
}

func (d *depot) Notes(context.Context, string, []string) []string { return d.notes }

func (d *depot) Open(_ context.Context, a gateway.Asset) (io.ReadSeeker, error) {
	return strings.NewReader(d.files[a.Account][a.ID]), nil
}

func (d *depot) URL(context.Context, gateway.Asset) (string, error) {
	return "http://mmbiz.test/0", d.err
}

func (d *depot) Picture(_ context.Context, account string, accepted time.Time, url string) (string, io.ReadSeeker, error) {
	if account != shop || !accepted.Equal(start) {
		return "", nil, errors.New("not the message's account or time")
	}
	if d.fetch != nil {
		if err := d.fetch(url); err != nil {
			return "", nil, err
		}
	}
	return "png", strings.NewReader("\x89PNG " + url), nil
}

func (d *depot) Check(ctx context.Context, account string, r gateway.MediaRef) error {
	switch a, err := d.Asset(ctx, []string{account}, r.ID); {
	case r.ID == "http://127.0.0.1/":
		return &kefu.FileError{Reason: "not a public web address", Zh: "不是公网地址"}
	case r.IsURL():
		return nil
	case err != nil:
		return err
	case r.Kind != a.Kinds[0]:
		return &kefu.FileError{Reason: "it is png; taken are amr, mp3", Zh: "格式为 png"}
	}
	return nil
}

func TestAssets(t *testing.T) {
	w := newWorld(t)
	a := w.do(sendKey, "POST", "/v1/assets?account="+shop, "\x89PNG new", "Content-Type: image/png")
	kept := read[gateway.Asset](t, a)
	if a.StatusCode != 201 || kept.Bytes != 8 || kept.Account != shop {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if again := w.do(sendKey, "POST", "/v1/assets?account="+shop, "\x89PNG new", "Content-Type: "); read[gateway.Asset](t, again).ID != kept.ID {
		t.Errorf("the same bytes: %s", again.body)
	}
	got := w.do(readKey, "GET", "/v1/assets/"+kept.ID, "")
	if string(got.body) != "\x89PNG new" {
		t.Errorf("the bytes: %q", got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": `attachment; filename="` + kept.SHA256[:16] + `.png"`, "ETag": `"` + kept.SHA256 + `"`,
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	for _, headers := range [][]string{{"Accept: application/json"}, nil} {
		path := "/v1/assets/" + kept.ID
		if headers == nil {
			path += "?meta=1"
		}
		if m := read[gateway.Asset](t, w.do(readKey, "GET", path, "", headers...)); m.SHA256 != kept.SHA256 {
			t.Errorf("%s %v: %+v", path, headers, m)
		}
	}
	if m := read[gateway.Asset](t, w.do(sendKey, "GET", "/v1/assets/"+kept.ID+"?as=url", "")); m.URL != "http://mmbiz.test/0" {
		t.Errorf("its URL: %+v", m)
	}
	if a := w.do(readKey, "GET", "/v1/assets/"+kept.ID+"?as=url", ""); a.StatusCode != 403 {
		t.Errorf("a key that may only read uploads: %d", a.StatusCode)
	}
	for _, bad := range []string{"?as=file", "?meta=yes", "?size=1"} {
		if a := w.do(readKey, "GET", "/v1/assets/"+kept.ID+bad, ""); a.StatusCode != 422 {
			t.Errorf("%s: %d", bad, a.StatusCode)
		}
	}
	for _, id := range []string{"asset:1", strings.Repeat("0", 64), "..", kept.ID + "0"} {
		if a := w.do(adminKey, "GET", "/v1/assets/"+id, ""); a.StatusCode != 404 && a.StatusCode != 307 {
			t.Errorf("%s: %d", id, a.StatusCode)
		}
	}
	if a := w.do(otherKey, "GET", "/v1/assets/"+kept.ID, ""); a.StatusCode != 404 {
		t.Errorf("to another account's key: %d", a.StatusCode)
	}
	if a := w.do(adminKey, "GET", "/v1/assets/"+kept.ID+"?account="+other, ""); a.StatusCode != 404 {
		t.Errorf("of another account: %d", a.StatusCode)
	}
	if a := w.do(adminKey, "POST", "/v1/assets", "\x89PNG", "Content-Type: image/png"); a.StatusCode != 422 {
		t.Errorf("without an account: %d", a.StatusCode)
	}
}

func TestAssetForm(t *testing.T) {
	form := func(write func(*multipart.Writer)) (string, string) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		write(m)
		m.Close()
		return b.String(), "Content-Type: " + m.FormDataContentType()
	}
	w := newWorld(t)
	body, contentType := form(func(m *multipart.Writer) {
		m.WriteField("note", "hi")
		f, _ := m.CreateFormFile("media", "a.png")
		f.Write([]byte("\x89PNG form"))
	})
	if a := w.do(shopKey, "POST", "/v1/assets", body, contentType); a.StatusCode != 201 || read[gateway.Asset](t, a).Bytes != 9 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	body, contentType = form(func(m *multipart.Writer) { m.WriteField("media", "\x89PNG") })
	if a := w.do(shopKey, "POST", "/v1/assets", body, contentType); a.StatusCode != 422 {
		t.Errorf("without a file: %d %s", a.StatusCode, a.body)
	}
	if a := w.do(shopKey, "POST", "/v1/assets", "--x\r\n", "Content-Type: multipart/form-data; boundary=x"); a.StatusCode != 422 {
		t.Errorf("broken: %d %s", a.StatusCode, a.body)
	}
}

func TestAssetRefusals(t *testing.T) {
	large := "\x89PNG" + strings.Repeat("a", maxAsset-4)
	for _, tt := range []struct {
		name, body, contentType string
		err                     error
		status                  int
		code                    string
	}{
		{"the largest", large, "image/png", nil, 201, ""},
		{"a byte more", large + "a", "image/png", nil, 413, gateway.TooLarge},
		{"JSON", `{}`, "application/json", nil, 415, gateway.UnsupportedMedia},
		{"a broken type", "\x89PNG", "a/b/c", nil, 415, gateway.UnsupportedMedia},
		{"unfit", "hello", "image/png", nil, 422, gateway.InvalidAsset},
		{"no room", "\x89PNG", "", fault(gateway.StorageFull), 507, gateway.StorageFull},
		{"a store that fails", "\x89PNG", "", errors.New("disk full"), 503, gateway.Overloaded},
	} {
		w := newWorld(t)
		w.Assets.(*depot).err = tt.err
		a := w.do(shopKey, "POST", "/v1/assets", tt.body, "Content-Type: "+tt.contentType)
		if a.StatusCode != tt.status || tt.code != "" && read[gateway.Problem](t, a).Code != tt.code {
			t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
		}
		if w.held.Load() != 0 {
			t.Errorf("%s: %d bytes are still counted", tt.name, w.held.Load())
		}
	}
	w := newWorld(t)
	unfit := read[gateway.Problem](t, w.do(shopKey, "POST", "/v1/assets", "hello", "Content-Type: ", "Accept-Language: zh"))
	if unfit.ErrCode != 40005 || !strings.Contains(unfit.Detail, "格式为文本") {
		t.Errorf("%+v", unfit)
	}
	for _, tt := range []struct {
		name   string
		body   io.Reader
		status int
		code   string
	}{
		{"more than it may, unannounced", io.MultiReader(strings.NewReader(large), strings.NewReader("a")), 413, gateway.TooLarge},
		{"broken off", io.MultiReader(strings.NewReader("\x89PNG"), iotest.ErrReader(io.ErrUnexpectedEOF)), 422, gateway.InvalidRequest},
	} {
		r := httptest.NewRequest("POST", "/v1/assets", tt.body)
		r.ContentLength = -1
		r.Header.Set("Authorization", "Bearer "+shopKey)
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, r)
		if rec.Code != tt.status || read[gateway.Problem](t, answer{rec.Result(), rec.Body.Bytes()}).Code != tt.code {
			t.Errorf("%s: %d %s", tt.name, rec.Code, rec.Body)
		}
	}
	if n := len(w.Assets.(*depot).files[shop]); n != 1 {
		t.Errorf("%d assets, want the one of the beginning", n)
	}
}

// Assets are listed to those who may delete them, and health says when there is little
// room for more.
func TestListAssets(t *testing.T) {
	w := newWorld(t)
	id := gateway.AssetID(sha256.Sum256([]byte(shopFile)))
	for _, row := range []struct {
		key, query    string
		status, items int
	}{{readKey, "", 403, 0}, {sendKey, "?limit=0", 422, 0}, {sendKey, "?account=" + shop, 200, 1}, {adminKey, "", 200, 1}, {otherKey, "", 200, 0}, {otherKey, "?account=" + shop, 404, 0}} {
		a := w.do(row.key, "GET", "/v1/assets"+row.query, "")
		if a.StatusCode != row.status {
			t.Errorf("%s: %d %s, want %d", row.query, a.StatusCode, a.body, row.status)
		} else if page := read[gateway.Page[gateway.Asset]](t, a); len(page.Items) != row.items || row.items > 0 && page.Items[0].ID != id {
			t.Errorf("%s: %s, want %d", row.query, a.body, row.items)
		}
	}
	w.Assets.(*depot).notes = []string{"little room"}
	if h := read[gateway.Health](t, w.do(readKey, "GET", "/healthz", "")); !slices.Contains(h.Notes, "little room") {
		t.Errorf("health: %+v", h)
	}
}

// An asset is forgotten by whoever may, but not from under a message that waits for it.
func TestDeleteAsset(t *testing.T) {
	w := newWorld(t)
	id := gateway.AssetID(sha256.Sum256([]byte(shopFile)))
	d := w.Assets.(*depot)
	d.needed = []string{"m1", "m2"}
	a := w.do(sendKey, "DELETE", "/v1/assets/"+id+"?account="+shop, "", "Accept-Language: zh")
	if p := read[gateway.Problem](t, a); a.StatusCode != 409 || p.Code != gateway.AssetNeeded || !strings.Contains(p.Detail, "m1, m2") || !strings.Contains(p.Detail, "取消") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	d.needed = nil
	for _, row := range []struct {
		key, query string
		status     int
	}{{readKey, "", 403}, {otherKey, "?account=" + shop, 404}, {adminKey, "", 422}, {sendKey, "?account=" + shop, 204}, {sendKey, "?account=" + shop, 404}} {
		if a := w.do(row.key, "DELETE", "/v1/assets/"+id+row.query, ""); a.StatusCode != row.status {
			t.Errorf("%s: %d %s, want %d", row.query, a.StatusCode, a.body, row.status)
		}
	}
	if len(d.files[shop]) != 0 {
		t.Error("it is still there")
	}
}
