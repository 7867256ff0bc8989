package server

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

const push = `<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oFollower]]></FromUserName><CreateTime>1763899200</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[hi]]></Content><MsgId>1</MsgId></xml>`

// query is what WeChat signs a push with.
func query(token string) string {
	at := strconv.FormatInt(start.Unix(), 10)
	q := url.Values{"timestamp": {at}, "nonce": {"n"}, "echostr": {"e"}, "signature": {callback.Signature(kefu.Secret(token), at, "n")}}
	return "?" + q.Encode()
}

func TestCallback(t *testing.T) {
	sealed, err := callback.NewCrypt("wxsafe", callToken, aesKey)
	if err != nil {
		t.Fatal(err)
	}
	encrypt, err := sealed.Encrypt([]byte(push))
	if err != nil {
		t.Fatal(err)
	}
	safe := query(callToken) + "&encrypt_type=aes&msg_signature=" + callback.Signature(callToken, strconv.FormatInt(start.Unix(), 10), "n", encrypt)
	for _, tt := range []struct {
		name, method, path, body string
		receive                  error
		status                   int
		answer                   string
		kept                     int
	}{
		{"the check of the address", "GET", "/callback/wxshop" + query(callToken), "", nil, 200, "e", 0},
		{"a push", "POST", "/callback/wxshop" + query(callToken), push, nil, 200, "success", 1},
		{"a push that can't be kept: WeChat shall post it again", "POST", "/callback/wxshop" + query(callToken), push, errors.New("disk full"), 500, "", 0},
		{"forged", "POST", "/callback/wxshop" + query("guess"), push, nil, 403, "", 0},
		{"for nobody", "POST", "/callback/wxnone" + query(callToken), push, nil, 404, "", 0},
		{"sealed", "POST", "/callback/wxsafe" + safe, `{"ToUserName":"gh_1","Encrypt":"` + encrypt + `"}`, nil, 200, "success", 1},
		{"in clear to a secure account", "POST", "/callback/wxsafe" + query(callToken), push, nil, 403, "", 0},
		{"sealed for another account", "POST", "/callback/wxsafe2" + safe, `{"ToUserName":"gh_1","Encrypt":"` + encrypt + `"}`, nil, 403, "", 0},
		{"too large", "POST", "/callback/wxshop" + query(callToken), push + strings.Repeat(" ", 256<<10), nil, 413, "", 0},
		{"no push", "POST", "/callback/wxshop" + query(callToken), "hello", nil, 400, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for _, appid := range []string{"wxsafe", "wxsafe2"} {
				w.accounts[appid] = gateway.Account{AppID: appid, Token: callToken, AESKey: aesKey}.WithDefaults()
			}
			w.receiveErr = tt.receive
			a := w.do("", tt.method, tt.path, tt.body, "Content-Type: text/xml")
			if a.StatusCode != tt.status || tt.answer != "" && string(a.body) != tt.answer || len(w.events) != tt.kept {
				t.Errorf("%d %s, %d kept", a.StatusCode, a.body, len(w.events))
			}
			if log := w.logged.String(); strings.Contains(log, callToken) || strings.Contains(log, "oFollower") && len("oFollower") > 10 {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// A changed token counts at once.
func TestCallbackAfterAChange(t *testing.T) {
	w := newWorld(t)
	w.do("", "POST", "/callback/wxshop"+query(callToken), push)
	w.do(adminKey, "PUT", "/v1/accounts/wxshop", `{"token":"newtoken"}`)
	if a := w.do("", "POST", "/callback/wxshop"+query(callToken), push); a.StatusCode != 403 {
		t.Errorf("the old token: %d", a.StatusCode)
	}
	if a := w.do("", "POST", "/callback/wxshop"+query("newtoken"), push); a.StatusCode != 200 {
		t.Errorf("the new token: %d %s", a.StatusCode, a.body)
	}
}

// The public listener knows nothing but callbacks.
func TestCallbacksAlone(t *testing.T) {
	w := newWorld(t)
	for _, rt := range append(routes(), route{method: "GET", path: "/"}, route{method: "GET", path: "/metrics"}, route{method: "GET", path: "/callback/../v1/keys"}) {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(rt.method, pathOf(rt, "msg_1"), nil)
		req.Header.Set("Authorization", "Bearer "+adminKey)
		w.Callbacks().ServeHTTP(rec, req)
		isCallback := strings.HasPrefix(rt.path, "/callback/{")
		if got := rec.Code == 404 || rec.Code >= 300 && rec.Code < 309; got == isCallback {
			t.Errorf("%s %s: %d", rt.method, rt.path, rec.Code)
		}
	}
	rec := httptest.NewRecorder()
	w.Callbacks().ServeHTTP(rec, httptest.NewRequest("POST", "/callback/wxshop"+query(callToken), strings.NewReader(push)))
	if rec.Code != 200 || len(w.events) != 1 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Whether messages are taken is for everybody; why not, and what an operator should know,
// for whoever has a key, of the accounts that it is for.
func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		key     string
		notes   int
		because string // when the store fails
	}{
		{"", 0, ""},
		{"kf_nobody_0123456789abcdef0123456789abcdef", 0, ""},
		{doorKey, 0, ""},
		{shopKey, 0, "disk full"},
		{otherKey, 1, "disk full"},
		{readKey, 1, "disk full"},
		{adminKey, 1, "disk full"},
	} {
		w := newWorld(t)
		for _, path := range []string{"/healthz", "/readyz"} {
			if h := read[gateway.Health](t, w.do(tt.key, "GET", path, "")); !h.Ready || len(h.Notes) != tt.notes {
				t.Errorf("%s as %s: %+v", path, tt.key, h)
			}
		}
		w.fullErr = errors.New("disk full")
		if a := w.do(tt.key, "GET", "/healthz", ""); a.StatusCode != 200 {
			t.Errorf("a full disk is no reason to restart: %d", a.StatusCode)
		}
		a := w.do(tt.key, "GET", "/readyz", "")
		if h := read[gateway.Health](t, a); a.StatusCode != 503 || h.Ready || h.Because != tt.because || len(h.Notes) != tt.notes || a.Header.Get("Retry-After") == "" {
			t.Errorf("as %s: %d %s", tt.key, a.StatusCode, a.body)
		}
		w.storeErr = errors.New("connection to db.internal refused") // keys can't be read either
		if a := w.do(tt.key, "GET", "/readyz", ""); a.StatusCode != 503 || strings.Contains(string(a.body), "db.internal") || strings.Contains(string(a.body), "looked up") != (tt.key != "") {
			t.Errorf("as %s: %d %s", tt.key, a.StatusCode, a.body)
		}
	}
}

func TestConversations(t *testing.T) {
	w := newWorld(t)
	w.add(gateway.Message{})
	if c := read[gateway.Conversation](t, w.do(readKey, "GET", "/v1/conversations/wxshop/oFollower", "")); c.OpenID != "oFollower" || c.Window == nil {
		t.Errorf("%+v", c)
	}
	if a := w.do(readKey, "GET", "/v1/conversations/wxshop/oNobody", ""); a.StatusCode != 404 {
		t.Errorf("%d", a.StatusCode)
	}
	if wi := read[gateway.Window](t, w.do(readKey, "GET", "/v1/conversations/wxshop/oNobody/window", "")); wi.State != gateway.WindowUnknown {
		t.Errorf("%+v", wi)
	}
	if a := w.do(readKey, "GET", "/v1/conversations/wxnone/oNobody/window", ""); a.StatusCode != 404 {
		t.Errorf("%d", a.StatusCode)
	}
	page := read[gateway.Page[gateway.TimelineEntry]](t, w.do(readKey, "GET", "/v1/conversations/wxshop/oFollower/timeline", ""))
	if len(page.Items) != 1 || page.Items[0].Message.Window == nil {
		t.Errorf("%+v", page)
	}
}

// What was said with followers of an account that was removed stays, and is shown with a
// window out of which nothing goes; it can be put in order, and not written to.
func TestConversationsOfARemovedAccount(t *testing.T) {
	w := newWorld(t)
	w.add(gateway.Message{})
	var closed []string
	w.Desk = office{closed: &closed}
	delete(w.accounts, shop)
	const removed = `"window":{"state":"closed","remaining":0,"closes_at":null,"opened_by":null,"because":"the account was removed from the gateway","cause":{"code":"removed"},"buckets":[]}`
	for _, tt := range []struct {
		key, call, body string
		status          int
		has             string
	}{
		{readKey, "GET /v1/conversations", "", 200, removed},
		{readKey, "GET /v1/conversations/wxshop/oFollower", "", 200, removed},
		{readKey, "GET /v1/conversations/wxshop/oFollower/timeline", "", 200, `"msg_1"`},
		{sendKey, "POST /v1/conversations/wxshop/oFollower/close", "", 200, removed},
		{sendKey, "POST /v1/conversations/wxshop/oFollower/typing", "", 404, `"unknown-account"`},
		{readKey, "GET /v1/conversations/wxshop/oFollower/window", "", 404, `"unknown-account"`},
		{readKey, "GET /v1/conversations/wxshop/oNobody", "", 404, `"unknown-account"`},
		{readKey, "GET /v1/conversations/wxnone/oFollower", "", 404, `"unknown-account"`},
		{otherKey, "GET /v1/conversations/wxshop/oFollower", "", 404, `"unknown-account"`},
	} {
		method, path, _ := strings.Cut(tt.call, " ")
		if a := w.do(tt.key, method, path, tt.body); a.StatusCode != tt.status || !strings.Contains(string(a.body), tt.has) {
			t.Errorf("%s: %d %s", tt.call, a.StatusCode, a.body)
		}
	}
	if len(closed) != 1 {
		t.Errorf("closed: %q", closed)
	}
}

// A window that can't be told is no answer without one.
func TestConversationsWithoutTheStore(t *testing.T) {
	w := newWorld(t)
	w.add(gateway.Message{})
	w.windowErr = errors.New("the database is gone")
	for _, path := range []string{"/v1/conversations", "/v1/conversations/wxshop/oFollower"} {
		if a := w.do(readKey, "GET", path, ""); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
}

func TestTyping(t *testing.T) {
	for _, tt := range []struct {
		body   string
		answer error
		status int
		code   string
		on     bool
	}{
		{"", nil, 204, "", true},
		{`{}`, nil, 204, "", true},
		{`{"on":false}`, nil, 204, "", false},
		{"", &kefu.Error{Op: "message/custom/typing", Code: 45015, Msg: "out of time"}, 409, "wechat-refused", true},
		{"", &kefu.Error{Op: "message/custom/typing", Code: 45081, Msg: "frequent"}, 409, "wechat-refused", true},
		{"", kefu.ErrNotDelivered, 502, "wechat-unreachable", true},
	} {
		w := newWorld(t)
		w.typingErr = tt.answer
		a := w.do(sendKey, "POST", "/v1/conversations/wxshop/oFollower/typing", tt.body)
		if a.StatusCode != tt.status || len(w.typing) != 1 || w.typing[0] != tt.on {
			t.Errorf("%q %v: %d %s %v", tt.body, tt.answer, a.StatusCode, a.body, w.typing)
		}
		if tt.code != "" && read[gateway.Problem](t, a).Code != tt.code {
			t.Errorf("%v: %s", tt.answer, a.body)
		}
	}
}

func TestListMessages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.add(gateway.Message{})
	}
	w.add(gateway.Message{State: gateway.Failed, Metadata: json.RawMessage(`{"order":17}`)})
	first := read[gateway.Page[gateway.Message]](t, w.do(readKey, "GET", "/v1/messages?limit=4", ""))
	second := read[gateway.Page[gateway.Message]](t, w.do(readKey, "GET", "/v1/messages?limit=4&cursor="+first.Next, ""))
	if len(first.Items) != 4 || len(second.Items) != 2 || second.Next != "" || first.Items[0].Window == nil {
		t.Errorf("%d and %d, next %q", len(first.Items), len(second.Items), second.Next)
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "state=done", "errcode=x", "since=yesterday", "until=1", "order=17", "cursor=x"} {
		if a := w.do(readKey, "GET", "/v1/messages?"+bad, ""); a.StatusCode != 422 {
			t.Errorf("%s: %d %s", bad, a.StatusCode, a.body)
		}
	}
	for _, good := range []string{"limit=1000", "state=failed", "errcode=45015", "since=2026-11-23T00:00:00Z&until=2026-11-24T00:00:00%2B08:00", "metadata.order=17", "openid=oFollower&account=wxshop&account=wxother"} {
		if a := w.do(readKey, "GET", "/v1/messages?"+good, ""); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", good, a.StatusCode, a.body)
		}
	}
	if a := w.do(readKey, "GET", "/v1/messages?state=expired", ""); string(a.body) != `{"items":[],"next":""}`+"\n" {
		t.Errorf("an empty list: %s", a.body)
	}
}

// Every state of errors that only the store knows is told by Explain.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	missing, cursor := errors.New("no row"), errors.New("not a cursor")
	w.Explain = func(err error) *gateway.Problem {
		switch err {
		case missing:
			return &gateway.Problem{Code: gateway.NotFound}
		case cursor:
			return &gateway.Problem{Code: gateway.InvalidRequest}
		}
		return nil
	}
	for err, status := range map[error]int{missing: 404, cursor: 422, errors.New("disk I/O error"): 503} {
		w.readErr = err
		if a := w.do(readKey, "GET", "/v1/messages/msg_1", ""); a.StatusCode != status {
			t.Errorf("%v: %d %s", err, a.StatusCode, a.body)
		}
	}
}

// FuzzSubmission throws bytes at the envelope: whatever passes has what the engine
// counts on.
func FuzzSubmission(f *testing.F) {
	for _, s := range []string{
		textTo("oFollower", "hi"), `{"message":{}}`, `{"message":null,"metadata":{}}`, `[]`, `{"account":"wxshop","not_before":"2026-11-23T12:00:00+08:00","message":{"touser":"o","msgtype":"new","new":[1]}}`,
		`{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{"title":1}]}}}`,
	} {
		f.Add([]byte(s), "k")
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, body []byte, key string) {
		if !json.Valid(body) || sound(body) != nil {
			return
		}
		c := &call{Request: httptest.NewRequest("POST", "/", nil), s: w.Server, key: gateway.Key{Accounts: []string{shop}}, lang: "zh"}
		sub, err := c.submission(body, []string{key})
		if err != nil {
			if p, fault := w.problem(err, "zh"); p.Status < 400 || p.Status >= 500 || fault != nil {
				t.Errorf("%q: %+v %v", body, p, fault)
			}
			return
		}
		if sub.Refused != nil {
			return
		}
		if sub.Account != shop || sub.OpenID == "" || sub.MsgType == "" || !json.Valid(sub.Message) || sub.WhenClosed == "" || sub.OnUnknown == "" || sub.Priority == "" || sub.Fingerprint == [32]byte{} {
			t.Errorf("%q: %+v", body, sub)
		}
		if _, err := kefu.ParseMessage(sub.Message); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	})
}
