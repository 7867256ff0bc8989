package kefutest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
)

// everything registers ids for each kind of message.
const everything = `{
	"media": {"IMAGE":"image","VOICE":"voice","VIDEO":"video","THUMB":"thumb","NEWS":"news"},
	"articles": ["ARTICLE"], "mini_programs": ["wxmini"],
	"cards": ["CARD", {"card_id":"CODES","use_custom_code":true}],
	"kf_accounts": [{"kf_account":"a@b","nickname":"小微"}, {"kf_account":"new@b","nickname":"新","kf_wx":""}]
}`

// sendText is what sending a text to the openid answers.
func (x *wire) sendText(openid string) (errcode int) {
	x.t.Helper()
	return x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"`+openid+`","msgtype":"text","text":{"content":"x"}}`)
}

func long(n int) string { return strings.Repeat("x", n) }

// Every errcode of custom/send that the message itself can cause.
func TestSendRefusesMessages(t *testing.T) {
	msg := func(msgtype, body string) string {
		return `{"touser":"oUser1","msgtype":"` + msgtype + `","` + msgtype + `":` + body + `}`
	}
	article := func(title, description, url, picurl int) string {
		return msg("news", fmt.Sprintf(`{"articles":[{"title":%q,"description":%q,"url":%q,"picurl":%q}]}`, long(title), long(description), long(url), long(picurl)))
	}
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"text", msg("text", `{"content":"Hello 世界"}`), 0},
		{"empty body", "", 44002},
		{"blank body", " \n", 44002},
		{"not JSON", "touser=oUser1", 47001},
		{"trailing comma, as the article's card", `{"touser":"oUser1","msgtype":"wxcard","wxcard":{"card_id":"CARD",}}`, 47001},
		{"not an object", `[]`, 47001},
		{"not UTF-8", "{\"touser\":\"oUser1\",\"msgtype\":\"text\",\"text\":{\"content\":\"\xc4\xe3\"}}", 47001},
		{"no touser", `{"msgtype":"text","text":{"content":"x"}}`, 40003},
		{"touser is no openid", `{"touser":"not an openid","msgtype":"text","text":{"content":"x"}}`, 40003},
		{"touser is not WeChat's", `{"touser":"xUser1","msgtype":"text","text":{"content":"x"}}`, 40003},
		{"touser is a list", `{"touser":["oUser1"],"msgtype":"text","text":{"content":"x"}}`, 40003},
		{"no msgtype", `{"touser":"oUser1","text":{"content":"x"}}`, 40008},
		{"unknown msgtype", msg("shout", `{"content":"x"}`), 40008},
		{"link is for mini programs", msg("link", `{"title":"x"}`), 45050},

		{"text without body", `{"touser":"oUser1","msgtype":"text"}`, 44004},
		{"text without content", msg("text", `{}`), 44004},
		{"text empty", msg("text", `{"content":""}`), 44004},
		{"text of 2048 bytes", msg("text", `{"content":"`+long(2048)+`"}`), 0},
		{"text of 2049 bytes", msg("text", `{"content":"`+long(2049)+`"}`), 45002},
		{"bytes, not characters: 682 × 3", msg("text", `{"content":"`+strings.Repeat("客", 682)+`"}`), 0},
		{"bytes, not characters: 683 × 3", msg("text", `{"content":"`+strings.Repeat("客", 683)+`"}`), 45002},

		{"image", msg("image", `{"media_id":"IMAGE"}`), 0},
		{"image without media_id", msg("image", `{}`), 41006},
		{"image of unknown media_id", msg("image", `{"media_id":"X"}`), 40007},
		{"voice as image", msg("image", `{"media_id":"VOICE"}`), 40121},
		{"voice", msg("voice", `{"media_id":"VOICE"}`), 0},
		{"voice without media_id", msg("voice", `{"media_id":""}`), 41006},
		{"image as voice", msg("voice", `{"media_id":"IMAGE"}`), 40121},
		{"video", msg("video", `{"media_id":"VIDEO","thumb_media_id":"THUMB","title":"t","description":"d"}`), 0},
		{"video without thumb_media_id is served", msg("video", `{"media_id":"VIDEO"}`), 0},
		{"video without media_id", msg("video", `{"thumb_media_id":"THUMB"}`), 41006},
		{"video with unknown thumb", msg("video", `{"media_id":"VIDEO","thumb_media_id":"X"}`), 40007},
		{"video with a voice for thumb", msg("video", `{"media_id":"VIDEO","thumb_media_id":"VOICE"}`), 40121},
		{"music", msg("music", `{"title":"t","description":"d","musicurl":"https://example.com/a.mp3","hqmusicurl":"https://example.com/b.mp3","thumb_media_id":"THUMB"}`), 0},
		{"music without title is served", msg("music", `{"musicurl":"https://example.com/a.mp3","thumb_media_id":"THUMB"}`), 0},
		{"music without musicurl", msg("music", `{"thumb_media_id":"THUMB"}`), 40035},
		{"music without thumb", msg("music", `{"musicurl":"https://example.com/a.mp3"}`), 41006},
		{"music title of 513 bytes", msg("music", `{"title":"`+long(513)+`","musicurl":"u","thumb_media_id":"THUMB"}`), 45003},
		{"music description of 2049 bytes", msg("music", `{"description":"`+long(2049)+`","musicurl":"u","thumb_media_id":"THUMB"}`), 45004},

		{"news", article(5, 5, 5, 5), 0},
		{"news at its limits", article(512, 2048, 2048, 2048), 0},
		{"news title", article(513, 1, 1, 1), 45003},
		{"news description", article(1, 2049, 1, 1), 45004},
		{"news url", article(1, 1, 2049, 1), 45005},
		{"news picurl", article(1, 1, 1, 2049), 45006},
		{"news without articles", msg("news", `{}`), 44003},
		{"news with no article", msg("news", `{"articles":[]}`), 44003},
		{"news with two articles", msg("news", `{"articles":[{"title":"a"},{"title":"b"}]}`), 45008},

		{"mpnews", msg("mpnews", `{"media_id":"NEWS"}`), 0},
		{"mpnews without media_id", msg("mpnews", `{}`), 41006},
		{"mpnews of an image", msg("mpnews", `{"media_id":"IMAGE"}`), 40121},
		{"mpnewsarticle", msg("mpnewsarticle", `{"article_id":"ARTICLE"}`), 0},
		{"mpnewsarticle without article_id", msg("mpnewsarticle", `{}`), 40035},
		{"mpnewsarticle unknown", msg("mpnewsarticle", `{"article_id":"X"}`), 53600},
		{"msgmenu", msg("msgmenu", `{"head_content":"?","list":[{"id":"1","content":"a"}],"tail_content":"!"}`), 0},
		{"msgmenu id as a number", msg("msgmenu", `{"list":[{"id":1,"content":"a"}]}`), 0},
		{"msgmenu without list", msg("msgmenu", `{"head_content":"?"}`), 40035},
		{"msgmenu item without id", msg("msgmenu", `{"list":[{"id":"1","content":"a"},{"content":"b"}]}`), 40035},
		{"msgmenu item without content", msg("msgmenu", `{"list":[{"id":"1"}]}`), 40035},
		{"wxcard", msg("wxcard", `{"card_id":"CARD"}`), 0},
		{"wxcard without card_id", msg("wxcard", `{}`), 40035},
		{"wxcard unknown", msg("wxcard", `{"card_id":"X"}`), 40073},
		{"wxcard with custom codes", msg("wxcard", `{"card_id":"CODES"}`), 40158},
		{"miniprogrampage", msg("miniprogrampage", `{"title":"t","appid":"wxmini","pagepath":"p","thumb_media_id":"THUMB"}`), 0},
		{"miniprogrampage without title", msg("miniprogrampage", `{"appid":"wxmini","pagepath":"p","thumb_media_id":"THUMB"}`), 40035},
		{"miniprogrampage without appid", msg("miniprogrampage", `{"title":"t","pagepath":"p","thumb_media_id":"THUMB"}`), 40013},
		{"miniprogrampage not linked", msg("miniprogrampage", `{"title":"t","appid":"wxother","pagepath":"p","thumb_media_id":"THUMB"}`), 40013},
		{"miniprogrampage without pagepath", msg("miniprogrampage", `{"title":"t","appid":"wxmini","thumb_media_id":"THUMB"}`), 40035},
		{"miniprogrampage without thumb", msg("miniprogrampage", `{"title":"t","appid":"wxmini","pagepath":"p"}`), 41006},

		{"kf account", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@b"}}`, 0},
		{"kf account unknown", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"x@b"}}`, 65401},
		{"kf account not bound", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"new@b"}}`, 65402},
		{"customservice empty", `{"touser":"oUser1","msgtype":"text","text":{"content":"x"},"customservice":{}}`, 0},
		{"unknown members", `{"touser":"oUser1","msgtype":"text","text":{"content":"x","y":1},"aimsgcontext":{"is_ai_msg":1},"z":[]}`, 0},
		{"escapes", `{"touser":"oUser1","msgtype":"text","text":{"content":"\u4f60"}}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWire(t)
			if err := x.w.SetState(everything); err != nil {
				t.Fatal(err)
			}
			x.w.UserSends("oUser1")
			if got := x.post(nil, "/cgi-bin/message/custom/send", tt.body); got != tt.want {
				t.Fatalf("errcode %d, want %d", got, tt.want)
			}
			left, arrived := 5, 0
			if tt.want == 0 {
				left, arrived = 4, 1
			}
			if w := x.w.Window("oUser1"); w.Remaining != left {
				t.Errorf("%d left of the allowance, want %d: a refusal takes nothing", w.Remaining, left)
			}
			sent := x.w.Sent()
			if len(sent) != arrived {
				t.Fatalf("%d messages arrived, want %d", len(sent), arrived)
			}
			if arrived == 1 && sent[0].Raw != tt.body {
				t.Errorf("arrived as %s, want %s", sent[0].Raw, tt.body)
			}
		})
	}
}

// Every errcode of custom/send that the account's or the follower's state causes.
func TestSendRefusesByState(t *testing.T) {
	refusals := func(code int) string {
		return fmt.Sprintf(`{"refusals":{"/cgi-bin/message/custom/send":%d}}`, code)
	}
	follower := func(members string) string { return `{"followers":{"oUser1":{` + members + `}}}` }
	for _, tt := range []struct {
		name, state string
		want        int
	}{
		{"on the account's block list", follower(`"blocked_by":"account"`), 43019},
		{"blocked by the follower", follower(`"blocked_by":"follower"`), 43006},
		{"refused in the phone's settings", follower(`"refuses":true`), 48002},
		{"a minor", `{"followers":{"oUser1":{"minor":true,"buckets":[{"trigger":"user_message","max":5,"remaining":5,"closes_at":"2999-01-01T00:00:00Z"}]}}}`, 70000},
		{"a follower who never wrote", follower(``), 45015},
		{"not a follower", follower(`"following":false`), 45015},
		{"not a follower, if set so", `{"not_following":43004,"followers":{}}`, 43004},
		{"never seen", `{"followers":{}}`, 45015},
		{"allowance used up", `{"followers":{"oUser1":{"buckets":[{"trigger":"user_message","max":5,"remaining":0,"closes_at":"2999-01-01T00:00:00Z"}]}}}`, 45047},
		{"no limit", `{"followers":{"oUser1":{"buckets":[{"trigger":"payment","max":null,"closes_at":"2999-01-01T00:00:00Z"}]}}}`, 0},
		{"customer messages blocked", refusals(45087), 45087},
		{"punished", refusals(45094), 45094},
		{"not authorized", refusals(48001), 48001},
		{"forbidden", refusals(48004), 48004},
		{"limited", refusals(50002), 50002},
		{"token forbidden", refusals(50004), 50004},
		{"text not for this account type", `{"refusals":{"text":40200}}`, 40200},
		{"msgtypes of a mini program", `{"mini_program":true}`, 0},
		{"kf account unknown, if set so", `{"unknown_kf":61452}`, 0},
		{"daily quota", `{"daily_limits":{"/cgi-bin/message/custom/send":1},"calls":{"/cgi-bin/message/custom/send":{"day":"2026-01-01","count":1}},"clock":"2026-01-01T10:00:00+08:00","followers":{}}`, 45009},
		{"minute quota", `{"minute_limit":1}`, 0},
		{"shorter texts", `{"limits":{"text.content":0}}`, 45002},
		{"IP not listed, for business calls too", `{"allow_ips":["203.0.113.7"],"business_ip_code":45035}`, 45035},
		{"IP not listed, in the guide's words", `{"allow_ips":["203.0.113.7"],"business_ip_code":61004}`, 61004},
		{"IP not listed, which business calls are not asked", `{"allow_ips":["203.0.113.7"]}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWire(t)
			x.w.UserSends("oUser1")
			if err := x.w.SetState(tt.state); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(tt.state, "clock") {
				x.logIn()
			}
			if got := x.sendText("oUser1"); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMinuteQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t, Account{MinuteLimit: 2})
		for i, want := range []int{45015, 45015, 45011} {
			if code := x.sendText("oUser1"); code != want {
				t.Errorf("call %d: errcode %d, want %d", i+1, code, want)
			}
		}
		time.Sleep(time.Minute)
		if code := x.sendText("oUser1"); code != 45015 {
			t.Errorf("the next minute: errcode %d, want 45015", code)
		}
	})
}

// The quota's day ends at midnight in Beijing.
func TestDailyQuota(t *testing.T) {
	x := newWire(t, Account{DailyLimits: map[string]int{"/cgi-bin/message/custom/send": 1}})
	if err := x.w.SetState(`{"clock":"2026-01-01T23:59:00+08:00"}`); err != nil {
		t.Fatal(err)
	}
	x.logIn()
	for i, want := range []int{45015, 45009} {
		if code := x.sendText("oUser1"); code != want {
			t.Errorf("call %d: errcode %d, want %d", i+1, code, want)
		}
	}
	x.w.Advance(2 * time.Minute)
	if code := x.sendText("oUser1"); code != 45015 {
		t.Errorf("after midnight: errcode %d, want 45015", code)
	}
	if code := x.post(nil, "/cgi-bin/clear_quota", `{"appid":"`+appid+`"}`); code != 0 {
		t.Fatalf("clear_quota: errcode %d", code)
	}
	if code := x.sendText("oUser1"); code != 45015 {
		t.Errorf("after clear_quota: errcode %d, want 45015", code)
	}
}

func TestMiniProgramAccount(t *testing.T) {
	x := newWire(t, Account{MiniProgram: true})
	x.w.UserSends("oUser1")
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"link","link":{"title":"x"}}`); code != 0 {
		t.Errorf("link: errcode %d", code)
	}
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"news","news":{"articles":[{"title":"x"}]}}`); code != 45050 {
		t.Errorf("news: errcode %d, want 45050", code)
	}
}

func TestEscapes(t *testing.T) {
	const body = `{"touser":"oUser1","msgtype":"text","text":{"content":"\u4f60\n\u0001\\u0041"}}`
	for _, tt := range []struct {
		escapes Escapes
		want    int
		shown   string // the content in the chat
	}{
		{"", 0, "你\n\x01\\u0041"},
		{AcceptEscapes, 0, "你\n\x01\\u0041"},
		{ShowEscapes, 0, `\u4f60` + "\n\x01\\u0041"},
		{RefuseEscapes, 47002, ""},
		{RefuseCharset, 40033, ""},
	} {
		t.Run(string(tt.escapes), func(t *testing.T) {
			x := newWire(t, Account{Escapes: tt.escapes})
			x.w.UserSends("oUser1")
			if code := x.post(nil, "/cgi-bin/message/custom/send", body); code != tt.want {
				t.Fatalf("errcode %d, want %d", code, tt.want)
			}
			if tt.want != 0 {
				return
			}
			chat := x.w.Chat("oUser1")
			if got := partsOf(partsOf(chat[len(chat)-1].Message)["text"]).text("content"); got != tt.shown {
				t.Errorf("shown as %q, want %q", got, tt.shown)
			}
		})
	}
	x := newWire(t, Account{Escapes: RefuseEscapes})
	x.w.UserSends("oUser1")
	if code := x.post(nil, "/cgi-bin/message/custom/send", `{"touser":"oUser1","msgtype":"text","text":{"content":"\u0001\\u0041"}}`); code != 0 {
		t.Errorf("control characters have no other form: errcode %d", code)
	}
}

// More than 8 articles under the article's rules: no answer, nothing delivered.
func TestSilenceAboveEightArticles(t *testing.T) {
	articles := func(n int) string {
		return `{"touser":"oUser1","msgtype":"news","news":{"articles":[` + strings.TrimSuffix(strings.Repeat(`{"title":"x"},`, n), ",") + `]}}`
	}
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t, Account{Profile: "legacy_48h"})
		x.w.UserSends("oUser1")
		if code := x.post(nil, "/cgi-bin/message/custom/send", articles(8)); code != 0 {
			t.Fatalf("8 articles: errcode %d", code)
		}
		client := x.w.Client()
		client.HTTP = &http.Client{Transport: x.w.Transport(), Timeout: 5 * time.Minute}
		began := time.Now()
		_, err := client.SendJSON(t.Context(), []byte(articles(9)))
		if !errors.Is(err, kefu.ErrUnknownOutcome) || time.Since(began) != time.Minute {
			t.Errorf("9 articles: %v after %v, want an unknown outcome after 1m", err, time.Since(began))
		}
		client = x.w.Client()
		began = time.Now()
		if _, err := client.SendJSON(t.Context(), []byte(articles(9))); !errors.Is(err, kefu.ErrUnknownOutcome) || time.Since(began) != 10*time.Second {
			t.Errorf("a caller who gives up earlier: %v after %v", err, time.Since(began))
		}
		if n := len(x.w.Sent()); n != 1 {
			t.Errorf("%d messages arrived, want 1", n)
		}
		if w := x.w.Window("oUser1"); w.Remaining != 19 {
			t.Errorf("%d left, want 19", w.Remaining)
		}
	})
}

// WeChat's answers, to the byte.
func TestAnswersToTheByte(t *testing.T) {
	x := newWire(t)
	x.w.UserSends("oUser1")
	res, answer := x.do(http.MethodPost, "/cgi-bin/message/custom/send", "application/json", []byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`))
	if string(answer) != `{"errcode":0,"errmsg":"ok"}` || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json; encoding=utf-8" {
		t.Errorf("%d %s %q", res.StatusCode, res.Header, answer)
	}
	res, answer = x.do(http.MethodPost, "/cgi-bin/message/custom/send", "application/json", []byte(`{"touser":"oNobody","msgtype":"text","text":{"content":"x"}}`))
	want := regexp.MustCompile(`^\{"errcode":45015,"errmsg":"response out of time limit or subscription is canceled rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"\}$`)
	if !want.Match(answer) || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json; encoding=utf-8" {
		t.Errorf("%d %s %q", res.StatusCode, res.Header, answer)
	}
	if res, answer = x.do(http.MethodPost, "/cgi-bin/message/custom/send", "", make([]byte, 1<<20+1)); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("above 1 MiB: %d %q", res.StatusCode, answer)
	}
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/cgi-bin/message/custom/send", 43002},
		{http.MethodPut, "/cgi-bin/message/custom/send", 43002},
		{http.MethodPost, "/cgi-bin/getcallbackip", 43001},
		{http.MethodPost, "/cgi-bin/no/such/call", 40066},
	} {
		if _, answer := x.do(tt.method, tt.path, "", nil); x.read(nil, answer) != tt.want {
			t.Errorf("%s %s: %s, want %d", tt.method, tt.path, answer, tt.want)
		}
	}
}

// Whatever is posted gets an errcode, and takes from the allowance exactly if that
// is 0.
func FuzzSend(f *testing.F) {
	files, _ := filepath.Glob("../testdata/samples/send_*.json")
	for _, file := range files {
		sample, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sample)
	}
	f.Add([]byte(`{"touser":"oABCD1234567890abcdefghijklm","msgtype":"news","news":{"articles":[[],{"title":[]},null]}}`))
	w := New(Account{AcceptAnyID: true, Escapes: ShowEscapes})
	defer w.Close()
	const openid = "oABCD1234567890abcdefghijklm"
	token := w.tokens.issue(w.account, w.Now()).value
	f.Fuzz(func(t *testing.T, body []byte) {
		w.UserSends(openid)
		x := &wire{t: t, w: w, token: token}
		code := x.post(nil, "/cgi-bin/message/custom/send", string(body))
		want := 5
		if code == 0 {
			want = 4
		}
		if left := w.Window(openid).Remaining; left != want {
			t.Errorf("errcode %d and %d left for %q", code, left, body)
		}
		if code == 0 && !json.Valid(w.Chat(openid)[len(w.Chat(openid))-1].Message) {
			t.Errorf("shown as something that is not JSON: %q", body)
		}
	})
}

// Every errcode has a text on the wire.
func TestErrmsgTable(t *testing.T) {
	for code, text := range errmsgs() {
		if strings.TrimSpace(text) != text || text == "" {
			t.Errorf("%d %q", code, text)
		}
	}
	for _, x := range kefu.Codes() {
		if x.Code != 0 && errmsg(x.Code) == "" {
			t.Errorf("%d has no text", x.Code)
		}
	}
}

// Every sample of a message arrives exactly as it was posted.
func TestSamplesArriveAsPosted(t *testing.T) {
	files, _ := filepath.Glob("../testdata/samples/send_*.json")
	if len(files) < 15 {
		t.Fatalf("%d samples", len(files))
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		x := newWire(t, Account{AcceptAnyID: true})
		if err := x.w.SetState(`{"kf_accounts":[{"kf_account":"test1@kftest","nickname":"1"}]}`); err != nil {
			t.Fatal(err)
		}
		x.w.UserSends("oABCD1234567890abcdefghijklm")
		want := 0
		switch filepath.Base(file) {
		case "send_news_two_articles_expect_45008.json":
			want = 45008
		case "send_link_miniprogram_only.json":
			want = 45050
		}
		if got := x.post(nil, "/cgi-bin/message/custom/send", string(body)); got != want {
			t.Errorf("%s: errcode %d, want %d", file, got, want)
		}
		if sent := x.w.Sent(); want == 0 && (len(sent) != 1 || sent[0].Raw != string(body)) {
			t.Errorf("%s: arrived as %v", file, sent)
		}
	}
}

func TestTypingRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newWire(t)
		typing := func(command string, want int) {
			t.Helper()
			if code := x.post(nil, "/cgi-bin/message/custom/typing", `{"touser":"oUser1","command":"`+command+`"}`); code != want {
				t.Errorf("%s: errcode %d, want %d", command, code, want)
			}
		}
		typing("Typing", 45015)
		x.w.Does("oUser1", "view", Details{})
		typing("Typing", 45080) // an event is no message
		x.w.UserSends("oUser1")
		typing("Sing", 45072)
		typing("typing", 45072)
		typing("Typing", 0)
		typing("Typing", 45081)
		time.Sleep(15*time.Second - 1)
		typing("Typing", 45081)
		time.Sleep(time.Nanosecond)
		typing("Typing", 0)
		typing("CancelTyping", 0)
		typing("CancelTyping", 0)
		typing("Typing", 0)
		if code := x.sendText("oUser1"); code != 0 { // ends the state, and counts as a message
			t.Fatalf("errcode %d", code)
		}
		typing("Typing", 0)
		time.Sleep(30*time.Second - 1)
		typing("Typing", 0)
		time.Sleep(time.Nanosecond)
		typing("CancelTyping", 0)
		typing("Typing", 45080)
		if w := x.w.Window("oUser1"); w.Remaining != 4 {
			t.Errorf("typing took from the allowance: %d left, want 4", w.Remaining)
		}
		if code := x.post(nil, "/cgi-bin/message/custom/typing", ""); code != 44002 {
			t.Errorf("empty body: %d", code)
		}
		if code := x.post(nil, "/cgi-bin/message/custom/typing", `{"command":"Typing"}`); code != 40003 {
			t.Errorf("no touser: %d", code)
		}
		x.w.SetState(`{"refusals":{"/cgi-bin/message/custom/typing":40200}}`)
		typing("Typing", 40200)
	})
}
