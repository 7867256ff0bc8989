package kefutest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// other is a state in which every member is another than it is at first.
const other = `{"clock":"2030-01-01T00:00:00Z",
	"mode":"plain","format":"json","deliveries":2,"callback_timeout":"1s","profile":"legacy_48h","rules":{"menu":{"max":9,"seconds":9}},
	"limits":{"news.articles":2},"mixing":"single_bucket_latest_wins","msgmenu_tap":"user_message","scan_follow":"scan","not_following":43004,
	"escapes":"literal","unknown_kf":61452,"number_ids":true,"text_publish_ids":true,"menu":[{"type":"click","name":"M","key":"K"}],
	"mini_program":true,"mini_programs":["wxother"],"accept_any_id":true,"refusals":{"text":40200},"daily_limits":{"/cgi-bin/token":1},
	"minute_limit":1,"secret_frozen":true,"force_code":45009,"allow_ips":["192.0.2.1"],"ip_code":61004,"business_ip_code":45035,
	"media":{"OTHER":"image"},"pictures":[{"kind":"image","path":"/mmbiz/x"}],"news":[{"media_id":"N","articles":[{"title":"T"}]}],"articles":["OTHER"],
	"publications":[{"publish_id":"1","publish_status":0}],"media_life":"1h","news_withdrawn":true,"publish_takes":"1s","publish_ends":2,
	"cards":["OTHER"],"kf_accounts":[{"kf_account":"z@b","nickname":"Z"}],"followers":{"oZ":{}},
	"messages":[{"id":"7","openid":"oZ","dir":"in","kind":"text"}],"calls":{"/cgi-bin/token":{"count":9}},"resets":{"day":"2030-01","count":9},
	"faults":[{"path":"*","every":1,"errcode":-1}]}`

// A document restores everything in another simulator, whatever that has become: it
// goes on as the first would have.
func TestStateRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t, Account{Profile: "legacy_2021", Mixing: MaxOfBoth, Rules: Allowances{kefu.Payment: {Max: kefu.Unlimited, For: time.Hour}},
			Limits: map[string]int{"text.content": 100}, Refusals: map[string]int{"voice": 40200}, DailyLimits: map[string]int{"/cgi-bin/message/custom/send": 10},
			MiniPrograms: []string{"wxmini"}, AllowIPs: []string{"127.0.0.1"}})
		x.w.Advance(1000 * time.Hour)
		x.logIn()
		if err := x.w.SetState(everything); err != nil {
			t.Fatal(err)
		}
		x.w.UserSends("oA", "hello <&>")
		x.w.Does("oB", "image", Details{})
		x.w.Unfollows("oC")
		x.w.Pays("oD")
		x.sendText("oA")
		x.w.Fail(Fault{Probability: 0.5, Seed: 3, ErrCode: -1})
		for range 3 {
			x.sendText("oB")
		}
		before := x.w.State()

		y := newWire(t)
		first := stripClock(t, y.w.State())
		if err := y.w.SetState(other); err != nil {
			t.Fatal(err)
		}
		for name, is := range stripClock(t, y.w.State()) {
			if string(is) == string(first[name]) {
				t.Errorf("%s was not changed: %s", name, is)
			}
		}
		if err := y.w.SetState(string(before)); err != nil {
			t.Fatal(err)
		}
		after := y.w.State()
		// The faults have new numbers.
		strip := func(doc json.RawMessage) string {
			var m map[string]any
			if err := json.Unmarshal(doc, &m); err != nil {
				t.Fatal(err)
			}
			for _, f := range m["faults"].([]any) {
				delete(f.(map[string]any), "id")
			}
			return string(encode(m))
		}
		if strip(before) != strip(after) {
			t.Errorf("before\n%s\nafter\n%s", strip(before), strip(after))
		}
		y.logIn()
		for i := range 20 {
			if a, b := x.sendText("oB"), y.sendText("oB"); a != b {
				t.Fatalf("send %d: errcode %d, restored %d", i, a, b)
			}
		}
		if a, b := encode(x.w.Chat("oA")), encode(y.w.Chat("oA")); string(a) != string(b) {
			t.Errorf("chat\n%s\nrestored\n%s", a, b)
		}
		for _, secret := range []string{DefaultAccount.Secret.Reveal(), DefaultAccount.AESKey.Reveal(), x.token} {
			if strings.Contains(string(before), secret) {
				t.Error("a secret in the document")
			}
		}
	})
}

// A document replaces the members it names and leaves the rest.
func TestStateReplacesWhatItNames(t *testing.T) {
	x := newWire(t)
	set := func(doc string) {
		t.Helper()
		if err := x.w.SetState(doc); err != nil {
			t.Fatal(err)
		}
	}
	set(everything)
	x.w.UserSends("oA")
	set(`{"rules":{"user_message":{"max":1,"seconds":60}},"limits":{"text.content":1}}`)
	set(`{"rules":{"menu":{"max":null,"seconds":60}}}`)
	x.w.UserSends("oA")
	if w := x.w.Window("oA"); w.Remaining != 5 {
		t.Errorf("rules were merged, not replaced: %+v", w)
	}
	if code := x.sendText("oA"); code != 0 {
		t.Errorf("limits were not left, or one byte is too much: %d", code)
	}
	if w := x.w.Clicks("oA", "K").Window; w.Remaining != kefu.Unlimited {
		t.Errorf("%+v", w)
	}
	set(`{"limits":{"news.articles":1}}`)
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA","msgtype":"text","text":{"content":"two"}}`); code != 0 {
		t.Errorf("limits were merged, not replaced: %d", code)
	}
	set(`{"media":{"NEW":"image"}}`)
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA","msgtype":"image","image":{"media_id":"IMAGE"}}`); code != 40007 {
		t.Errorf("media were merged, not replaced: %d", code)
	}
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA","msgtype":"wxcard","wxcard":{"card_id":"CARD"}}`); code != 0 {
		t.Errorf("cards were not left: %d", code)
	}
	set(`{"profile":"legacy_48h"}`)
	set(`{"profile":null,"rules":null}`)
	if w := x.w.Scans("oNew", "42").Window; w.Remaining != 3 || w.OpenedBy != kefu.Scan {
		t.Errorf("null is the default: %+v", w)
	}
	set(`{"accept_any_id":true}`)
	for _, body := range []string{
		`"msgtype":"image","image":{"media_id":"ANY"}`, `"msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"ANY"}`,
		`"msgtype":"wxcard","wxcard":{"card_id":"ANY"}`, `"msgtype":"miniprogrampage","miniprogrampage":{"title":"t","appid":"any","pagepath":"p","thumb_media_id":"ANY"}`,
	} {
		if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA",`+body+`}`); code != 0 {
			t.Errorf("accept_any_id: %s: %d", body, code)
		}
	}
	set(`{"followers":{"oZ":{}}}`)
	if len(x.w.Chat("oA")) != 0 || x.w.Window("oZ").State != "closed" {
		t.Error("followers were merged, not replaced")
	}
	for name, is := range stripClock(t, json.RawMessage(other)) {
		fresh := New(Account{Menu: []Button{}})
		want := string(stripClock(t, fresh.State())[name])
		for _, doc := range []string{`{"followers":{"oZ":{}},"` + name + `":` + string(is) + `}`, `{"` + name + `":null}`} {
			if err := fresh.SetState(doc); err != nil {
				t.Fatalf("%s: %v", doc, err)
			}
		}
		if got := string(stripClock(t, fresh.State())[name]); got != want {
			t.Errorf("%s null: %s, want %s", name, got, want)
		}
		fresh.Close()
	}
	c := remote{t, x.w}
	var got struct {
		OK      bool
		Ignored []string
	}
	if status := c.call(&got, "PUT", "/_sim/state", `{"profile":"legacy_48h","colour":"red"}`); status != 200 || !got.OK || fmt.Sprint(got.Ignored) != "[colour]" {
		t.Errorf("%d %+v", status, got)
	}
	var doc map[string]any
	if c.call(&doc, "GET", "/_sim/state", ""); doc["profile"] != "legacy_48h" || doc["accept_any_id"] != true || doc["media"] == nil {
		t.Errorf("%v", doc)
	}
}

// Times are UTC with milliseconds, whatever the document had.
func TestStateTimes(t *testing.T) {
	const at = `"2030-01-01T08:00:00.1239+08:00"`
	w := New()
	defer w.Close()
	if err := w.SetState(`{"clock":` + at + `,"media":{"M":{"kind":"image","data":"AA==","created":` + at + `}},"pictures":[{"kind":"image","path":"/p","data":"AA==","created":` + at + `}],
		"news":[{"media_id":"N","created":` + at + `,"gone_at":` + at + `}],"articles":[{"article_id":"A","from":` + at + `,"news_item":[{"title":"T"}]}],
		"publications":[{"publish_id":"1","done":` + at + `,"article":"A"}],
		"followers":{"oA":{"last_message_at":` + at + `,"typing_until":` + at + `,"buckets":[{"trigger":"follow","max":3,"opened_at":` + at + `,"closes_at":` + at + `}]}},
		"messages":[{"id":"1","at":` + at + `,"openid":"oA","dir":"in","kind":"text"}]}`); err != nil {
		t.Fatal(err)
	}
	doc := string(w.State())
	if n := strings.Count(doc, `"2030-01-01T00:00:00.`); n != 12 || strings.Count(doc, `"2030-01-01T00:00:00.123Z"`) < 11 || strings.Contains(doc, "+08:00") {
		t.Errorf("%d times:\n%s", n, doc)
	}
}

// An impossible document changes nothing, and says what is wrong.
func TestImpossibleStates(t *testing.T) {
	w := New()
	defer w.Close()
	w.UserSends("oA")
	w.Fail(Fault{Every: 2, ErrCode: -1})
	before := string(encode(stripClock(t, w.State())))
	for doc, want := range map[string]string{
		``:                         "not a JSON object",
		`[]`:                       "not a JSON object",
		`{"rules":5}`:              "another shape",
		`{"profile":"x"}`:          "service_current",
		`{"mode":"safe"}`:          "plain, compat, secure",
		`{"mixing":"x"}`:           "side_by_side",
		`{"escapes":"x"}`:          "accept",
		`{"ip_code":1}`:            "40164",
		`{"msgmenu_tap":"scan"}`:   "menu",
		`{"scan_follow":"menu"}`:   "follow",
		`{"format":"yaml"}`:        "xml",
		`{"deliveries":99}`:        "1 to 10",
		`{"allow_ips":["house"]}`:  "allow_ips",
		`{"refusals":{"text":7}}`:  "no errcode 7",
		`{"limits":{"text.x":7}}`:  "text.x",
		`{"force_code":7}`:         "no errcode 7",
		`{"not_following":40001}`:  "43004",
		`{"unknown_kf":40001}`:     "61452",
		`{"business_ip_code":1}`:   "45035",
		`{"callback_timeout":"x"}`: "another shape",
		`{"rules":{"dance":{"max":1,"seconds":1}}}`:                                   "user_message",
		`{"rules":{"menu":{"max":-2,"seconds":1}}}`:                                   "-1 for no limit or more",
		`{"followers":{"a b":{}}}`:                                                    "openid",
		`{"followers":{"oB":{"blocked_by":"me"}}}`:                                    "account and follower",
		`{"messages":[null]}`:                                                         "null",
		`{"profile":"legacy_48h","faults":[{"path":"/cgi-bin/token"}]}`:               "what goes wrong",
		`{"profile":"legacy_48h","faults":[],"media":{"X":"film"}}`:                   "kind",
		`{"clock":"2030-01-01T00:00:00Z","followers":{"oB":{}},"media":{"X":"film"}}`: "kind",
	} {
		err := w.SetState(doc)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to name %q", doc, err, want)
		}
		if after := string(encode(stripClock(t, w.State()))); after != before {
			t.Fatalf("%s changed\n%s\nto\n%s", doc, before, after)
		}
	}
}

func stripClock(t *testing.T, doc json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "clock")
	return m
}

func TestReset(t *testing.T) {
	x := newWire(t, Account{Profile: "legacy_2021"})
	x.w.UserSends("oA")
	x.sendText("oA")
	x.w.SetState(everything)
	x.w.SetState(`{"profile":"legacy_48h"}`)
	x.w.Fail(Fault{ErrCode: -1, Every: 1})
	x.w.Advance(time.Hour)
	x.w.Reset()
	if len(x.w.Sent()) != 0 || len(x.w.Requests()) != 0 || len(x.w.Chat("oA")) != 0 {
		t.Error("something is left")
	}
	if off := time.Since(x.w.Now()).Abs(); off > time.Minute {
		t.Errorf("the clock is off by %v", off)
	}
	x.w.UserSends("oA")
	x.w.Clicks("oA", "K")
	if code := x.sendText("oA"); code != 0 {
		t.Errorf("the token, or a fault: %d", code)
	}
	if n := x.w.Window("oA").Remaining; n != 22 {
		t.Errorf("%d left, want 20 + 3 - 1: the first profile", n)
	}
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oA","msgtype":"image","image":{"media_id":"IMAGE"}}`); code != 40007 {
		t.Errorf("media are left: %d", code)
	}
}

func TestConfigCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		config Config
		want   string // "": possible
	}{
		"zero":               {Config{}, ""},
		"default":            {Config{Accounts: []Account{DefaultAccount}}, ""},
		"own account":        {Config{Accounts: []Account{{AppID: "wx1", Secret: "s"}}}, ""},
		"no secret":          {Config{Accounts: []Account{{AppID: "wx1"}}}, "Secret"},
		"no appid":           {Config{Accounts: []Account{{}, {Secret: "s"}}}, "AppID"},
		"twice":              {Config{Accounts: []Account{{}, DefaultAccount}}, "two accounts"},
		"bad key":            {Config{Accounts: []Account{{Token: "t", AESKey: "short"}}}, "43"},
		"secure without key": {Config{Accounts: []Account{{AppID: "wx1", Secret: "s", Token: "t", Mode: callback.Secure}}}, "EncodingAESKey"},
		"callback unsigned":  {Config{Accounts: []Account{{AppID: "wx1", Secret: "s", Callback: "http://127.0.0.1/"}}}, "Token"},
		"callback no URL":    {Config{Accounts: []Account{{Callback: "127.0.0.1"}}}, "URL"},
		"no such mode":       {Config{Accounts: []Account{{Mode: "x"}}}, `no mode "x": there are plain, compat, secure`},
		"no such code":       {Config{Accounts: []Account{{NotFollowing: 7}}}, "no not_following 7: there are 45015, 43004"},
		"no such address":    {Config{Accounts: []Account{{AllowIPs: []string{"x"}}}}, `allow_ips: "x" is neither`},
		"two things at once": {Config{Accounts: []Account{{AppID: "wx1", Profile: "x", Mode: "y"}}}, "Secret is missing"},
		"no such profile":    {Config{Accounts: []Account{{Profile: "x"}}}, "legacy_48h"},
	} {
		err := tt.config.Check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "short") {
			t.Errorf("%s: the key is in %v", name, err)
		}
		if err != nil && (strings.Count(err.Error(), "kefutest: ") != 1 || strings.Contains(err.Error(), "kefu: ") || strings.Contains(err.Error(), "callback: ") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: not one sentence of one package: %v", name, err)
		}
	}
}
