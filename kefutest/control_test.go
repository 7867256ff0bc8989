package kefutest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// A remote speaks to the control plane as a script does.
type remote struct {
	t *testing.T
	w *WeChat
}

// call makes a request and decodes its answer into out, unless that is nil.
func (c remote) call(out any, method, path, body string) (status int) {
	c.t.Helper()
	req := httptest.NewRequest(method, "http://127.0.0.1:7700"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	c.w.Handler().ServeHTTP(rec, req)
	if out != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			c.t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	}
	return rec.Code
}

func newRemote(t *testing.T, accounts ...Account) remote {
	w := New(accounts...)
	t.Cleanup(w.Close)
	return remote{t, w}
}

type listOf[T any] struct {
	Items []T
	Next  *string
}

// Who may use the control plane: nobody whom a web page could have sent.
func TestControlPlaneIsGuarded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		key     string
		host    string
		headers []string
		method  string
		body    string
		want    int
	}{
		{name: "127.0.0.1", host: "127.0.0.1:7700", want: 200},
		{name: "127.0.0.1 without port", host: "127.0.0.1", want: 200},
		{name: "another loopback address", host: "127.8.8.8:7700", want: 200},
		{name: "localhost", host: "localhost:7700", want: 200},
		{name: "LOCALHOST", host: "LOCALHOST", want: 200},
		{name: "::1", host: "[::1]:7700", want: 200},
		{name: "::1 without port", host: "[::1]", want: 200},
		{name: "a name that is made to point here", host: "evil.example:7700", want: 403},
		{name: "a name that begins as one of ours", host: "localhost.evil.example", want: 403},
		{name: "an address as a name", host: "127.0.0.1.evil.example", want: 403},
		{name: "a name with ours as its port", host: "evil.example:127.0.0.1", want: 403},
		{name: "an address of the network", host: "192.168.1.2:7700", want: 403},
		{name: "any address", host: "0.0.0.0:7700", want: 403},
		{name: "no host", host: "", want: 403},

		{name: "its own page", host: "127.0.0.1:7700", headers: []string{"Origin", "http://127.0.0.1:7700"}, want: 200},
		{name: "a page of another origin", host: "127.0.0.1:7700", headers: []string{"Origin", "http://evil.example"}, want: 403},
		{name: "a page of another port", host: "127.0.0.1:7700", headers: []string{"Origin", "http://127.0.0.1:8080"}, want: 403},
		{name: "a sandboxed page", host: "127.0.0.1:7700", headers: []string{"Origin", "null"}, want: 403},
		{name: "a picture on a page of another site", host: "127.0.0.1:7700", headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "a picture on a page of another port", host: "127.0.0.1:7700", headers: []string{"Sec-Fetch-Site", "same-site"}, want: 403},
		{name: "a picture on its own page", host: "127.0.0.1:7700", headers: []string{"Sec-Fetch-Site", "same-origin"}, want: 200},
		{name: "typed into the browser", host: "127.0.0.1:7700", headers: []string{"Sec-Fetch-Site", "none"}, want: 200},

		{name: "JSON", host: "127.0.0.1", method: "POST", body: `{"advance":"1s"}`, headers: []string{"Content-Type", "application/json; charset=utf-8"}, want: 200},
		{name: "JSON as a form would send it", host: "127.0.0.1", method: "POST", body: `{"advance":"1s"}`, headers: []string{"Content-Type", "text/plain"}, want: 415},
		{name: "JSON without a type", host: "127.0.0.1", method: "POST", body: `{"advance":"1s"}`, want: 415},
		{name: "too much", host: "127.0.0.1", method: "POST", body: long(largestControl + 1), headers: []string{"Content-Type", "application/json"}, want: 413},

		{name: "no key", key: "k", host: "127.0.0.1", want: 401},
		{name: "wrong key", key: "k", host: "127.0.0.1", headers: []string{"Authorization", "Bearer x"}, want: 401},
		{name: "key", key: "k", host: "sim.example", headers: []string{"Authorization", "Bearer k"}, want: 200},
		{name: "key, from a page of another origin", key: "k", host: "sim.example", headers: []string{"Authorization", "Bearer k", "Origin", "http://evil.example"}, want: 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := Config{ControlKey: kefu.Secret(tt.key)}.New()
			defer w.Close()
			if tt.method == "" {
				tt.method = "GET"
			}
			req := httptest.NewRequest(tt.method, "http://127.0.0.1/_sim/clock", strings.NewReader(tt.body))
			req.Host = tt.host
			for pair := range slices.Chunk(tt.headers, 2) {
				req.Header.Set(pair[0], pair[1])
			}
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, req)
			if rec.Code != tt.want {
				t.Errorf("%d %s, want %d", rec.Code, rec.Body, tt.want)
			}
			if h := rec.Header().Get("Access-Control-Allow-Origin"); h != "" {
				t.Errorf("it lets other origins in: %s", h)
			}
		})
	}
}

func TestControlPlaneErrors(t *testing.T) {
	c := newRemote(t)
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/_sim", "", 404},
		{"GET", "/_sim/nothing", "", 404},
		{"DELETE", "/_sim/clock", "", 405},
		{"GET", "/_sim/reset", "", 405},
		{"GET", "/_sim/clock?account=wxnobody", "", 404},
		{"GET", "/_sim/followers/oNobody", "", 404},
		{"GET", "/_sim/followers/", "", 404},
		{"POST", "/_sim/followers//text", "", 404},
		{"POST", "/_sim/followers/oUser1/dance", "", 404},
		{"POST", "/_sim/followers/not%20an%20openid/text", "", 400},
		{"POST", "/_sim/followers/oUser1/text", "{", 400},
		{"POST", "/_sim/followers/oUser1/text", "[]", 400},
		{"POST", "/_sim/clock", "", 400},
		{"POST", "/_sim/clock", `{"advance":"soon"}`, 400},
		{"POST", "/_sim/clock", `{"advance":"1s","set":"2026-01-01T00:00:00Z"}`, 400},
		{"POST", "/_sim/faults", `{"path":"/cgi-bin/token"}`, 400},
		{"DELETE", "/_sim/faults/7", "", 404},
		{"GET", "/_sim/messages/wait?count=many", "", 400},
		{"GET", "/_sim/messages/wait?timeout=ever", "", 400},
		{"PUT", "/_sim/state", `{"profile":"service_2031"}`, 400},
		{"PUT", "/_sim/state", "", 400},
		{"GET", "/_sim/media/nothing", "", 404},
	} {
		var problem struct {
			Status        int
			Title, Detail string
		}
		if got := c.call(&problem, tt.method, tt.path, tt.body); got != tt.want || problem.Status != tt.want || problem.Detail == "" {
			t.Errorf("%s %s %s: %d %+v, want %d", tt.method, tt.path, tt.body, got, problem, tt.want)
		}
	}
}

// A call without an openid is told so: the path alone looks like no call at all.
func TestNoOpenIDIsNamed(t *testing.T) {
	c := newRemote(t)
	var problem struct{ Detail string }
	for _, path := range []string{"/_sim/followers//text", "/_sim/followers/"} {
		if c.call(&problem, "POST", path, ""); !strings.Contains(problem.Detail, "no openid") {
			t.Errorf("%s: %s", path, problem.Detail)
		}
	}
}

// Ids are strings: a number of 64 bits would lose its last digits in JavaScript.
func TestIDsAreStrings(t *testing.T) {
	x := newWire(t)
	c := remote{t, x.w}
	const last = 1 << 60
	x.w.mu.Lock()
	x.w.lastID = last
	x.w.mu.Unlock()
	x.w.UserSends("oA")
	x.sendText("oA")
	x.w.Fail(ErrCode(-1))
	for _, path := range []string{"chat", "messages", "faults"} {
		var got listOf[struct{ ID string }]
		c.call(&got, "GET", "/_sim/"+path, "")
		if len(got.Items) == 0 || len(got.Items[0].ID) != len(fmt.Sprint(last)) {
			t.Errorf("%s: %+v", path, got.Items)
		}
		if path == "faults" {
			if status := c.call(nil, "DELETE", "/_sim/faults/"+got.Items[0].ID, ""); status != 200 {
				t.Errorf("deleting %s: %d", got.Items[0].ID, status)
			}
		}
	}
	before := x.w.Chat("oA")
	if err := x.w.SetState(string(x.w.State())); err != nil {
		t.Fatal(err)
	}
	if after := x.w.Chat("oA"); before[0].ID <= last || after[0].ID != before[0].ID {
		t.Errorf("the id %d is restored as %d", before[0].ID, after[0].ID)
	}
	if err := x.w.SetState(`{"messages":[{"id":7,"openid":"oA"},{"openid":"oA"}],"faults":[{"id":8,"errcode":-1}]}`); err != nil {
		t.Fatal(err)
	}
	if got := x.w.Chat("oA"); got[0].ID != 7 || got[1].ID != 0 {
		t.Errorf("numbers, and none, are read as %d and %d", got[0].ID, got[1].ID)
	}
	if err := x.w.SetState(`{"messages":[{"id":"seven","openid":"oA"}]}`); err == nil {
		t.Error("a word is an id")
	}
}

// A player gets the length of a medium, and the part of it that it asks for, under
// headers that let no browser take it for a page.
func TestMediaInParts(t *testing.T) {
	x := newWire(t)
	data := append(mp4File("isom"), make([]byte, 10_000)...)
	id := x.mediaID("/cgi-bin/media/upload?type=video", "a.mp4", data)
	f, _ := x.w.account.library.shown(id)
	for _, path := range []string{"/_sim/media/" + id, f.Path} {
		for _, tt := range []struct {
			method, part string
			status, size int
			want         []byte
		}{
			{"GET", "", 200, len(data), data},
			{"HEAD", "", 200, len(data), nil},
			{"GET", "bytes=4-7", 206, 4, []byte("ftyp")},
			{"GET", "bytes=-1", 206, 1, []byte{0}},
			{"GET", fmt.Sprintf("bytes=%d-", len(data)), 416, 0, nil},
		} {
			req := httptest.NewRequest(tt.method, "http://127.0.0.1"+path, nil)
			req.Header.Set("Range", tt.part)
			rec := httptest.NewRecorder()
			x.w.Handler().ServeHTTP(rec, req)
			h := rec.Header()
			if rec.Code != tt.status || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s %s: %d %v", tt.method, path, tt.part, rec.Code, h)
			}
			if tt.status == 416 {
				continue
			}
			if !bytes.Equal(rec.Body.Bytes(), tt.want) || h.Get("Content-Length") != fmt.Sprint(tt.size) || h.Get("Accept-Ranges") != "bytes" ||
				h.Get("Content-Type") != "video/mp4" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%s %s %s: %d bytes, %v", tt.method, path, tt.part, rec.Body.Len(), h)
			}
		}
	}
}

// Each action answers as the contract shows, without a body and with one.
func TestActionsByControlPlane(t *testing.T) {
	c := newRemote(t)
	for _, action := range Actions() {
		var got struct {
			Event      map[string]any
			Window     map[string]any
			Deliveries []any
		}
		if status := c.call(&got, "POST", "/_sim/followers/oUser1/"+action, ""); status != 200 || got.Window == nil || got.Deliveries == nil {
			t.Errorf("%s: %d %+v", action, status, got)
		}
		if pushed := got.Event != nil; pushed == (action == "pay" || action == "rights") {
			t.Errorf("%s: event %v", action, got.Event)
		}
		for name, value := range got.Event {
			if value == "" && name != "EventKey" {
				t.Errorf("%s: %s is empty", action, name)
			}
		}
	}
	for action, tt := range map[string]struct{ body, field, want string }{
		"text":             {`{"content":"价格 <&>","unknown":1}`, "Content", "价格 <&>"},
		"image":            {`{"media_id":"M1"}`, "MediaId", "M1"},
		"voice":            {`{"media_id":"M2"}`, "MediaId", "M2"},
		"video":            {`{"media_id":"M3"}`, "MediaId", "M3"},
		"location":         {`{"lat":1.5,"lon":"2.5","label":"L"}`, "Location_X", "1.5"},
		"link":             {`{"title":"T","description":"D","url":"https://example.com/x"}`, "Url", "https://example.com/x"},
		"click":            {`{"key":"K"}`, "EventKey", "K"},
		"view":             {`{"key":"https://example.com/v"}`, "EventKey", "https://example.com/v"},
		"scancode_push":    {`{"key":"K","result":"R"}`, "EventKey", "K"},
		"scancode_waitmsg": {`{"key":"K","result":"R"}`, "EventKey", "K"},
		"scan":             {`{"scene":42}`, "EventKey", "42"},
		"subscribe":        {`{"scene":"42"}`, "EventKey", "qrscene_42"},
		"menu-tap":         {`{"id":101,"content":"满意"}`, "bizmsgmenuid", "101"},
	} {
		var got struct{ Event parts }
		c.call(&got, "POST", "/_sim/followers/oUser1/"+action, tt.body)
		if got.Event.text(tt.field) != tt.want {
			t.Errorf("%s %s: %s = %s", action, tt.body, tt.field, got.Event[tt.field])
		}
	}
}

// A follower is made by their first action and then follows, unless it is unsubscribe.
func TestFollowersByControlPlane(t *testing.T) {
	c := newRemote(t)
	c.call(nil, "POST", "/_sim/followers/oA/text", "")
	c.call(nil, "POST", "/_sim/followers/oB/unsubscribe", "")
	c.w.Advance(time.Second)
	c.call(nil, "POST", "/_sim/followers/oC/pay", "")
	type line struct {
		OpenID    string
		Following bool
		Window    struct {
			State     string
			Remaining *int
			OpenedBy  string `json:"opened_by"`
		}
		Last struct {
			Kind string
			Dir  string
		}
	}
	var one line
	if status := c.call(&one, "GET", "/_sim/followers/oA", ""); status != 200 || !one.Following || one.Window.State != "open" || *one.Window.Remaining != 5 {
		t.Errorf("%d %+v", status, one)
	}
	var all listOf[line]
	c.call(&all, "GET", "/_sim/followers", "")
	if len(all.Items) != 3 || all.Items[0].OpenID != "oC" || all.Items[0].Last.Kind != "pay" || all.Items[1].Following || all.Next == nil {
		t.Errorf("%+v", all)
	}
}

func TestMessagesByControlPlane(t *testing.T) {
	x := newWire(t)
	c := remote{t, x.w}
	type message struct {
		Raw       string
		Message   parts
		At        time.Time
		OpenID    string
		KFAccount string `json:"kf_account"`
	}
	if err := x.w.SetState(everything); err != nil {
		t.Fatal(err)
	}
	x.w.UserSends("oA")
	x.w.UserSends("oB")
	raw := `{ "touser":"oA", "msgtype":"text", "text":{"content":"<你好> & \"x\""}, "customservice":{"kf_account":"a@b"} }`
	if code := x.post(nil, "/cgi-bin/message/custom/send", raw); code != 0 {
		t.Fatal(code)
	}
	x.sendText("oB")
	var got listOf[message]
	c.call(&got, "GET", "/_sim/messages?to=oA", "")
	if len(got.Items) != 1 || got.Items[0].Raw != raw || got.Items[0].KFAccount != "a@b" || got.Items[0].OpenID != "oA" || got.Items[0].Message.text("msgtype") != "text" || got.Items[0].At.IsZero() {
		t.Errorf("%+v", got)
	}
	if c.call(&got, "GET", "/_sim/messages", ""); len(got.Items) != 2 || got.Items[0].OpenID != "oA" {
		t.Errorf("%+v", got)
	}
	if c.call(&got, "GET", "/_sim/messages?to=oNobody", ""); got.Items == nil || len(got.Items) != 0 {
		t.Errorf("%+v", got)
	}

	var waited struct {
		Items    []message
		Complete *bool
	}
	began := time.Now()
	if status := c.call(&waited, "GET", "/_sim/messages/wait?to=oA&count=2&timeout=30ms", ""); status != 200 || len(waited.Items) != 1 || *waited.Complete || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%d %+v after %v", status, waited, time.Since(began))
	}
	go func() {
		time.Sleep(5 * time.Millisecond)
		req, _ := http.NewRequest("POST", x.w.URL+"/cgi-bin/message/custom/send?access_token="+x.token,
			strings.NewReader(`{"touser":"oA","msgtype":"text","text":{"content":"2"}}`))
		x.w.Transport().RoundTrip(req)
	}()
	if c.call(&waited, "GET", "/_sim/messages/wait?to=oA&count=2", ""); len(waited.Items) != 2 || !*waited.Complete {
		t.Errorf("%+v", waited)
	}

	var chat listOf[struct {
		Dir, Kind, State string
		KF               *struct{ Account, Nickname, Avatar string }
		Message          json.RawMessage
	}]
	c.call(&chat, "GET", "/_sim/chat?to=oA", "")
	if len(chat.Items) != 3 || chat.Items[0].Dir != "in" || chat.Items[1].Dir != "out" || chat.Items[1].KF.Nickname != "小微" || chat.Items[2].KF != nil || chat.Items[1].State != "delivered" {
		t.Errorf("%+v", chat)
	}
}

func TestClockByControlPlane(t *testing.T) {
	c := newRemote(t)
	var got struct {
		Now    time.Time
		Offset string
	}
	c.call(&got, "POST", "/_sim/clock", `{"advance":"48h"}`)
	if got.Offset != "48h0m0s" || time.Until(got.Now) < 47*time.Hour {
		t.Errorf("%+v", got)
	}
	c.call(&got, "POST", "/_sim/clock", `{"set":"2030-01-02T03:04:05Z"}`)
	if c.call(&got, "GET", "/_sim/clock", ""); got.Now.Truncate(time.Minute) != time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC) {
		t.Errorf("%+v", got)
	}
}

// A fault set over the control plane is the one set in Go.
func TestFaultsByControlPlane(t *testing.T) {
	x := newWire(t)
	c := remote{t, x.w}
	var armed struct {
		ID       string
		Path     string
		Next     int
		ErrCode  int
		Delay    string
		Drop, To string
	}
	if status := c.call(&armed, "POST", "/_sim/faults", `{"path":"/cgi-bin/message/custom/send","to":"oA","next":2,"errcode":45047,"delay":"1ms"}`); status != 200 || armed.ID == "" || armed.Delay != "1ms" {
		t.Errorf("%d %+v", status, armed)
	}
	for i, want := range []int{45047, 45047, 45015} {
		if got := x.sendText("oA"); got != want {
			t.Errorf("send %d: %d, want %d", i+1, got, want)
		}
	}
	x.w.Fail(Fault{Every: 2, Drop: DropReply})
	c.call(nil, "POST", "/_sim/faults", `{"path":"*","probability":0.5,"status":500}`)
	var all listOf[struct {
		ID    string
		Every int
		Drop  string
		Calls int
	}]
	if c.call(&all, "GET", "/_sim/faults", ""); len(all.Items) != 2 || all.Items[0].Every != 2 || all.Items[0].Drop != "after" {
		t.Errorf("%+v", all)
	}
	var deleted struct{ Deleted int }
	if c.call(&deleted, "DELETE", "/_sim/faults/"+all.Items[0].ID, ""); deleted.Deleted != 1 {
		t.Errorf("%+v", deleted)
	}
	if c.call(&deleted, "DELETE", "/_sim/faults", ""); deleted.Deleted != 1 {
		t.Errorf("%+v", deleted)
	}
	var requests listOf[struct {
		Path    string
		ErrCode int
		Fault   *struct{ To string }
		Status  int
	}]
	c.call(&requests, "GET", "/_sim/requests", "")
	if n := len(requests.Items); n != 4 || requests.Items[1].Fault.To != "oA" || requests.Items[1].ErrCode != 45047 || requests.Items[3].ErrCode != 45015 || requests.Items[3].Fault != nil {
		t.Errorf("%+v", requests)
	}
}

func TestAccountsByControlPlane(t *testing.T) {
	c := newRemote(t, Account{}, Account{AppID: "wxother", Secret: "00000000000000000000000000000001", Profile: "legacy_48h"})
	c.call(nil, "POST", "/_sim/followers/oA/text?account=wxother", "")
	if c.call(nil, "GET", "/_sim/followers/oA", "") != 404 || c.call(nil, "GET", "/_sim/followers/oA?account=wxother", "") != 200 {
		t.Error("accounts share followers")
	}
	var all listOf[struct{ AppID, Name, Profile, Mode string }]
	if c.call(&all, "GET", "/_sim/accounts", ""); len(all.Items) != 2 || all.Items[0].AppID != appid || all.Items[0].Mode != "secure" || all.Items[1].Profile != "legacy_48h" || all.Items[1].Mode != "plain" {
		t.Errorf("%+v", all)
	}
	c.call(nil, "POST", "/_sim/reset?account="+appid, "")
	if c.call(nil, "GET", "/_sim/followers/oA?account=wxother", "") != 200 {
		t.Error("a reset of one account reset another")
	}
	c.call(nil, "POST", "/_sim/reset", "")
	if c.call(nil, "GET", "/_sim/followers/oA?account=wxother", "") != 404 {
		t.Error("a reset left a follower")
	}
}

// The outcome of a callback, as the contract shows it.
func TestDeliveriesByControlPlane(t *testing.T) {
	tries := 0
	c := newRemote(t, in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) {
		if tries++; tries == 1 {
			return nil, errors.New("not now")
		}
		return callback.Text{Content: "hi"}, nil
	}))
	var got struct {
		Deliveries []struct {
			At     time.Time
			Status int
			TookMS *float64 `json:"took_ms"`
			Reply  *struct {
				MsgType string
				Text    struct{ Content string }
			}
		}
	}
	c.call(&got, "POST", "/_sim/followers/oUser1/text", "")
	if d := got.Deliveries; len(d) != 2 || d[0].Status != 500 || d[0].Reply != nil || d[1].Status != 200 || d[1].Reply.Text.Content != "hi" || d[0].At.IsZero() || d[0].TookMS == nil {
		t.Errorf("%+v", d)
	}
}

// The phone draws an article or a card by what the simulator knows of it.
func TestPreviews(t *testing.T) {
	x := newWire(t)
	c := remote{t, x.w}
	x.w.UserSends("oA")
	if err := x.w.SetState(`{"cards":[{"card_id":"CARD","title":"八折"}],"news":[{"media_id":"NEWS","articles":[{"title":"标题","digest":"摘要","content":"x","url":"/s/x"}]}]}`); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`"msgtype":"wxcard","wxcard":{"card_id":"CARD"}`, `"msgtype":"mpnews","mpnews":{"media_id":"NEWS"}`} {
		if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA",`+body+`}`); code != 0 {
			t.Fatalf("%s: %d", body, code)
		}
	}
	var chat listOf[struct{ Preview preview }]
	c.call(&chat, "GET", "/_sim/chat?to=oA", "")
	if got := chat.Items[1].Preview; got != (preview{Title: "八折"}) {
		t.Errorf("%+v", got)
	}
	if got := chat.Items[2].Preview; got != (preview{"标题", "摘要", "", "/s/x"}) {
		t.Errorf("%+v", got)
	}
}

// A reader of events who does not keep up is cut off, and holds nobody up.
func TestSlowReaderOfEvents(t *testing.T) {
	w := New()
	defer w.Close()
	slow := &watcher{make(chan event, 1)}
	w.mu.Lock()
	w.watchers[slow] = true
	w.mu.Unlock()
	w.UserSends("oA", "1", "2", "3")
	<-slow.events
	if _, open := <-slow.events; open {
		t.Error("it goes on")
	}
	if status := (remote{t, w}).call(nil, "GET", "/_sim/accounts", ""); status != 200 {
		t.Error(status)
	}
	rec := struct{ http.ResponseWriter }{httptest.NewRecorder()} // can't flush
	w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/_sim/events", nil))
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.watchers) != 0 {
		t.Error("a reader is left")
	}
}

func TestVerifyByControlPlane(t *testing.T) {
	c := newRemote(t, in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) { return nil, nil }))
	var got struct{ OK bool }
	if status := c.call(&got, "POST", "/_sim/verify", ""); status != 200 || !got.OK {
		t.Errorf("%d %+v", status, got)
	}
}

// The events name every change, as it happens.
func TestEvents(t *testing.T) {
	w := NewServer()
	defer w.Close()
	res, err := http.Get(w.URL + "/_sim/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatal(got)
	}
	lines := bufio.NewScanner(res.Body)
	next := func() (e event) {
		for lines.Scan() {
			if data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); found {
				if err := json.Unmarshal(data, &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatal("the stream ended")
		return e
	}
	w.UserSends("oA")
	if e := next(); e != (event{"chat", appid, "oA"}) {
		t.Errorf("%+v", e)
	}
	w.Advance(time.Hour)
	if e := next(); e.Type != "clock" {
		t.Errorf("%+v", e)
	}
	mend := w.Fail(ErrCode(-1))
	if e := next(); e.Type != "fault" {
		t.Errorf("%+v", e)
	}
	mend()
	next()
	w.Client().Typing(t.Context(), "oA")
	for _, want := range []string{"request", "request"} {
		if e := next(); e.Type != want && e.Type != "follower" {
			t.Errorf("%+v, want %s", e, want)
		}
	}
}

// Close ends streams and waits, and returns when all is over.
func TestCloseEndsEverything(t *testing.T) {
	w := NewServer(Account{Profile: "legacy_48h"})
	w.UserSends("oA")
	var waits sync.WaitGroup
	waits.Go(func() {
		if res, err := http.Get(w.URL + "/_sim/events"); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
	waits.Go(func() {
		if res, err := http.Get(w.URL + "/_sim/messages/wait?count=1000&timeout=5m"); err == nil {
			res.Body.Close()
		}
	})
	waits.Go(func() {
		if _, err := w.WaitSent(context.Background(), 1000); err == nil {
			t.Error("WaitSent returned without an error")
		}
	})
	client := w.Client()
	waits.Go(func() {
		client.SendJSON(context.Background(), []byte(`{"touser":"oA","msgtype":"news","news":{"articles":[{"title":"1"},{"title":"2"},{"title":"3"},{"title":"4"},{"title":"5"},{"title":"6"},{"title":"7"},{"title":"8"},{"title":"9"}]}}`))
	})
	w.mu.Lock()
	w.at(w.now().Add(time.Hour), func() { t.Error("an event of later happened") })
	w.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	w.Close()
	w.Close()
	waits.Wait()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := w.Does("oA", "text", Details{}); err == nil {
		t.Error("a follower acts in a closed WeChat")
	}
}

// The phone page loads nothing but itself.
func TestPage(t *testing.T) {
	w := New()
	defer w.Close()
	for path, want := range map[string]int{"/": 200, "/page.js": 200, "/page.css": 200, "/nothing": 404, "/page/page.js": 404, "/../page.go": 404, "/mmbiz_jpg/x/0": 404} {
		req := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
		req.URL.Path = path
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
		csp := rec.Header().Get("Content-Security-Policy")
		if want == 200 && (!strings.Contains(csp, "default-src 'none'") || strings.Contains(strings.Replace(csp, "'wasm-unsafe-eval'", "", 1), "unsafe")) { // the decoder of voices
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest("POST", "/", nil))
	if rec.Code != 404 {
		t.Errorf("POST /: %d", rec.Code)
	}
}

// A follower's own file is what a message of theirs carries.
func TestFollowersFiles(t *testing.T) {
	c := newRemote(t)
	for _, tt := range []struct {
		kind   string
		data   []byte
		status int
		says   string
	}{
		{"image", jpgFile(), 200, ""},
		{"image", amrFile(50), 422, "40005"},
		{"voice", amrFile(50), 200, ""},
		{"voice", amrFile(61 * 50), 422, "45007"},
		{"voice", mp3File(20), 200, ""},
		{"video", mp4File("isom"), 200, ""},
		{"video", nil, 422, "44001"},
		{"thumb", jpgFile(), 400, "image, voice or video"},
		{"", jpgFile(), 400, "image, voice or video"},
		{"image", make([]byte, largestUpload+1), 413, "bytes"},
	} {
		t.Run(fmt.Sprintf("%s of %d bytes", tt.kind, len(tt.data)), func(t *testing.T) {
			req := httptest.NewRequest("POST", "http://127.0.0.1:7700/_sim/media?type="+tt.kind, bytes.NewReader(tt.data))
			req.Header.Set("Content-Type", "application/octet-stream")
			rec := httptest.NewRecorder()
			c.w.Handler().ServeHTTP(rec, req)
			var got struct {
				MediaID string `json:"media_id"`
				Detail  string
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != tt.status || !strings.Contains(got.Detail, tt.says) {
				t.Fatalf("%d %s, want %d and %q", rec.Code, rec.Body, tt.status, tt.says)
			}
			if tt.status != 200 {
				return
			}
			a, err := c.w.Does("oUser1", tt.kind, Details{MediaID: got.MediaID})
			if err != nil || !strings.Contains(string(a.Event), got.MediaID) {
				t.Errorf("%s %v", a.Event, err)
			}
			rec = httptest.NewRecorder()
			c.w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1:7700/_sim/media/"+got.MediaID, nil))
			if !bytes.Equal(rec.Body.Bytes(), tt.data) {
				t.Errorf("%d bytes come back, want %d", rec.Body.Len(), len(tt.data))
			}
		})
	}
}

// A request that is made again has the same effect again, and dies with no token of
// the program's.
func TestReplay(t *testing.T) {
	c := newRemote(t, Account{}, Account{AppID: "wxother", Secret: DefaultAccount.Secret})
	c.w.UserSends("oUser1")
	client := c.w.Client()
	send := func(text string) {
		t.Helper()
		if _, err := client.Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: text}}); err != nil {
			t.Fatal(err)
		}
	}
	send("第一次")
	if _, err := client.Upload(t.Context(), kefu.MediaImage, "a.png", bytes.NewReader(pngFile())); err != nil {
		t.Fatal(err)
	}
	id := func(path string) (last string) {
		for _, r := range c.w.Requests() {
			if r.Path == path {
				last = fmt.Sprint(r.ID)
			}
		}
		return last
	}
	sent := id("/cgi-bin/message/custom/send")
	type answer struct {
		ID, Body, Query, Answer, Detail string
		ErrCode, Status                 int
	}
	for _, tt := range []struct {
		name, path, body string
		status, errcode  int
		says             string
	}{
		{"as it was", sent, "", 200, 0, "第一次"},
		{"changed", sent, `{"body":"{\"touser\":\"oUser1\",\"msgtype\":\"text\",\"text\":{\"content\":\"第二次\"}}"}`, 200, 0, "第二次"},
		{"refused", sent, `{"body":"{\"touser\":\"oUser1\",\"msgtype\":\"text\"}"}`, 200, 44004, "44004"},
		{"a file", id("/cgi-bin/media/upload"), "", 409, 0, "not kept whole"},
		{"a token", id("/cgi-bin/stable_token"), "", 409, 0, "not repeated"},
		{"no such", "999999", "", 404, 0, "no request"},
		{"no number", "x", "", 400, 0, "no id"},
		{"of another account", sent + "?", "", 404, 0, "no request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := "/_sim/requests/" + tt.path + "/replay"
			if at, _, other := strings.Cut(tt.path, "?"); other {
				path = "/_sim/requests/" + at + "/replay?account=wxother"
			}
			var got answer
			if status := c.call(&got, "POST", path, tt.body); status != tt.status || !strings.Contains(got.Body+got.Answer+got.Detail, tt.says) {
				t.Fatalf("%d %+v, want %d and %q", status, got, tt.status, tt.says)
			}
			if tt.status == 200 && (got.ErrCode != tt.errcode || got.ID == tt.path || !strings.Contains(got.Query, "[secret]")) {
				t.Errorf("%+v, want errcode %d, a new id and no token", got, tt.errcode)
			}
		})
	}
	send("最后") // under the token from before
	tokens := 0
	for _, r := range c.w.Requests() {
		if r.Path == "/cgi-bin/stable_token" {
			tokens++
		}
	}
	if tokens != 1 {
		t.Errorf("the program had to fetch %d tokens, want 1", tokens)
	}
	var texts []string
	for _, m := range c.w.Sent("oUser1") {
		texts = append(texts, m.Message.Body.(kefu.Text).Content)
	}
	if want := []string{"第一次", "第一次", "第二次", "最后"}; !slices.Equal(texts, want) {
		t.Errorf("the follower got %q, want %q", texts, want)
	}
}
