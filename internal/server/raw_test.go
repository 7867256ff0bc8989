package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// A wire answers raw calls and keeps what came.
type wire struct {
	answer, kind string
	err          error
	asked        []string // "appid all simulated METHOD path?query type body"
	recorded     []gateway.AuditEntry
}

func (f *wire) way(appid, path string, all, simulated bool) http.RoundTripper {
	if !strings.HasPrefix(path, "/cgi-bin/") || !all && strings.Contains(path, "menu") {
		return nil
	}
	return tripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		where := "wechat"
		if simulated {
			where = "simulator"
		}
		f.asked = append(f.asked, strings.Join([]string{appid, where, r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), string(body)}, " "))
		if f.err != nil {
			return nil, f.err
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {f.kind}}, Body: io.NopCloser(strings.NewReader(f.answer))}, nil
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type recording struct {
	signedIn
	f *wire
}

func (r recording) Record(_ context.Context, e gateway.AuditEntry) error {
	r.f.recorded = append(r.f.recorded, e)
	return nil
}

func TestRawCall(t *testing.T) {
	asset := gateway.AssetID(sha256.Sum256([]byte(shopFile)))
	const path = "/v1/accounts/" + shop + "/wechat"
	for _, tt := range []struct {
		name         string
		key, body    string
		answer, kind string
		err          error
		status       int
		says         string // in our answer
		asked        string // of WeChat, "": nothing
		recorded     bool
	}{
		{name: "a call without a body", body: `{"method":"GET","path":"/cgi-bin/menu/get","query":{"a":"1 2"}}`, answer: `{"errcode":46003,"errmsg":"no"}`, kind: "application/json",
			status: 200, says: `"meaning":"menu does not exist"`, asked: shop + " wechat GET /cgi-bin/menu/get?a=1+2  ", recorded: true},
		{name: "one with a body", body: `{"path":"/cgi-bin/menu/create","body":{"n":12345678901234567890}}`, answer: `{"errcode":0}`, kind: "application/json",
			status: 200, says: `"errcode":0`, asked: shop + ` wechat POST /cgi-bin/menu/create? application/json {"n":12345678901234567890}`, recorded: true},
		{name: "to the simulator", body: `{"target":"simulator","path":"/cgi-bin/menu/create","body":{}}`, answer: `{}`, status: 200, asked: shop + " simulator POST"},
		{name: "a file", body: `{"path":"/cgi-bin/media/upload","query":{"type":"image"},"asset":"` + asset + `"}`, answer: `{"media_id":"M"}`,
			status: 200, says: `"media_id":"M"`, asked: shop + " wechat POST /cgi-bin/media/upload?type=image multipart/form-data; boundary=", recorded: true},
		{name: "a file that there is not", body: `{"path":"/cgi-bin/media/upload","asset":"asset:none"}`, status: 404},
		{name: "a file and a body", body: `{"path":"/cgi-bin/media/upload","asset":"` + asset + `","body":{}}`, status: 422, says: "body"},
		{name: "an answer that is no JSON", body: `{"path":"/cgi-bin/media/get"}`, answer: "\x89PNG", kind: "image/png", status: 200, says: `"data":"iVBORw=="`, asked: shop, recorded: true},
		{name: "an answer of 1 MiB", body: `{"path":"/cgi-bin/media/get"}`, answer: strings.Repeat("x", maxRaw), status: 200, says: `"data":"`, asked: shop, recorded: true},
		{name: "a longer one", body: `{"path":"/cgi-bin/media/get"}`, answer: strings.Repeat("x", maxRaw+1), status: 200, says: `"cut":true`, asked: shop, recorded: true},
		{name: "nobody answers", body: `{"path":"/cgi-bin/media/get"}`, err: errors.New("dial api?access_token=CANARY"), status: 502, asked: shop, recorded: true},
		{name: "no token", body: `{"path":"/cgi-bin/media/get"}`, err: fault(gateway.NoToken), status: 409, asked: shop, recorded: true},
		{name: "a path that may not be called", body: `{"path":"/sns/userinfo"}`, status: 422, says: "path"},
		{name: "a lead, beyond messages", key: "session lead", body: `{"path":"/cgi-bin/menu/get"}`, status: 422, says: "path"},
		{name: "a lead, within", key: "session lead", body: `{"path":"/cgi-bin/media/get"}`, answer: `{}`, status: 200, asked: shop, recorded: true},
		{name: "an agent", key: "session agent", body: `{"path":"/cgi-bin/media/get"}`, status: 403},
		{name: "a token of the caller's", body: `{"path":"/cgi-bin/media/get","query":{"Access_Token":"T"}}`, status: 422, says: "query"},
		{name: "another method", body: `{"method":"DELETE","path":"/cgi-bin/media/get"}`, status: 422, says: "method"},
		{name: "another target", body: `{"target":"http://evil.example","path":"/cgi-bin/media/get"}`, status: 422, says: "target"},
		{name: "a query of 1,025 bytes", body: `{"path":"/cgi-bin/media/get","query":{"a":"` + strings.Repeat("x", 1024) + `"}}`, status: 422, says: "query"},
		{name: "a key of another account", key: otherKey, body: `{"path":"/cgi-bin/media/get"}`, status: 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			f := &wire{answer: tt.answer, kind: tt.kind, err: tt.err}
			w.Raw, w.Desk = f.way, recording{f: f}
			key, cookie := def(tt.key, adminKey), []string(nil)
			if role, ok := strings.CutPrefix(key, "session "); ok {
				w.Desk, key, cookie = recording{signedIn{role: gateway.Role(role)}, f}, "", []string{"Cookie: " + sessionCookie + "=text"}
			}
			a := w.do(key, "POST", path, tt.body, cookie...)
			if a.StatusCode != tt.status || !strings.Contains(string(a.body), tt.says) {
				t.Errorf("%d %.300s, want %d and %s", a.StatusCode, a.body, tt.status, tt.says)
			}
			if asked := strings.Join(f.asked, "\n"); !strings.HasPrefix(asked, tt.asked) || (asked == "") != (tt.asked == "") {
				t.Errorf("asked %.300q, want %q", asked, tt.asked)
			}
			if (len(f.recorded) == 1) != tt.recorded {
				t.Errorf("on record: %v", f.recorded)
			}
			if strings.Contains(w.logged.String(), "CANARY") || strings.Contains(string(a.body), "CANARY") {
				t.Error("a token got out")
			}
			if tt.name == "a file" && !strings.Contains(f.asked[0], `name="media"; filename="file.png"`) {
				t.Errorf("the form: %.400q", f.asked[0])
			}
		})
	}
}
