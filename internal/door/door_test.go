package door_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/door"
	"github.com/kefu-go/kefu/internal/journal"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/internal/tokens"
	"github.com/kefu-go/kefu/kefutest"
)

const (
	appid   = "wx5eed2a76cc560001"
	other   = "wx5eed2a76cc560002"
	doorKey = "kf_door_0123456789abcdef0123456789abcdef"
	allKey  = "kf_all_0123456789abcdef0123456789abcdefg"
	sendKey = "kf_send_0123456789abcdef0123456789abcdef"
	elseKey = "kf_else_0123456789abcdef0123456789abcdef"
)

// A rig is a door before a real outbox, and the simulator as its WeChat, all in one
// synctest bubble.
type rig struct {
	t      *testing.T
	wechat *kefutest.WeChat
	store  *store.Store
	d      *dispatch.Dispatcher
	door   *door.Door
	logged *journal.Journal
	ids    map[string]string // of keys, by text
}

type shelf struct{ *store.Store }

func (shelf) Missing(err error) bool {
	return errors.Is(err, store.ErrNotFound)
}

func newRig(t *testing.T, change func(*gateway.Account)) *rig {
	r := &rig{t: t, logged: new(journal.Journal), ids: map[string]string{}}
	a := kefutest.DefaultAccount
	a.CallbackHandler = &callback.Handler{
		AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Log: slog.New(slog.DiscardHandler),
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) { return r.d.Receive(ctx, appid, e) },
	}
	r.wechat = kefutest.New(a)
	var err error
	if r.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "kefu.db"), store.Options{SecretKey: "0123456789abcdef0123456789abcdef", Gather: -1}); err != nil {
		t.Fatal(err)
	}
	given := gateway.Account{AppID: appid, Secret: a.Secret, Token: a.Token, AESKey: a.AESKey}
	if change != nil {
		change(&given)
	}
	for _, a := range []gateway.Account{given, {AppID: other, Secret: "s"}} {
		if err := r.store.PutAccount(t.Context(), time.Now(), a.WithDefaults()); err != nil {
			t.Fatal(err)
		}
	}
	for text, k := range map[string]gateway.Key{
		doorKey: {Role: gateway.Door, Paths: gateway.MessagePaths, Accounts: []string{appid}}, allKey: {Role: gateway.Door, Paths: gateway.AllPaths},
		sendKey: {Role: gateway.Send}, elseKey: {Role: gateway.Door, Paths: gateway.AllPaths, Accounts: []string{other}},
	} {
		k.Key = text
		kept, err := r.store.PutKey(t.Context(), time.Now(), k)
		if err != nil {
			t.Fatal(err)
		}
		r.ids[text] = kept.ID
	}
	log := slog.New(slog.NewTextHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	center := &tokens.Center{Store: r.store, BaseURL: kefu.DefaultBaseURL, HTTP: r.wechat.Client().HTTP, Now: time.Now, Log: log}
	r.d, err = dispatch.Start(t.Context(), dispatch.Config{
		Store: r.store, Heartbeat: 100 * time.Hour, HTTP: r.wechat.Client().HTTP, Log: log, Tokens: center.Source, BaseURL: kefu.DefaultBaseURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := r.store.Derive("door")
	if err != nil {
		t.Fatal(err)
	}
	r.door, err = door.New(door.Config{
		Engine: r.d, Store: shelf{r.store}, Tokens: center.Of, Compose: compose, Secret: secret, BaseURL: kefu.DefaultBaseURL, HTTP: r.wechat.Transport(), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) close() {
	r.t.Helper()
	r.door.Close()
	r.d.Stop()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
	r.wechat.Close()
	for _, secret := range []string{doorKey, allKey, sendKey, kefutest.DefaultAccount.Secret.Reveal(), "access_token=", "gt_"} {
		if strings.Contains(r.logged.String(), secret) {
			r.t.Errorf("the log has a secret: %s…", secret[:3])
		}
	}
}

// compose is what server.Compose does, but for what these tests don't need.
func compose(_ context.Context, account string, source gateway.Source, request json.RawMessage) (gateway.Submission, error) {
	var q gateway.Request
	if err := json.Unmarshal(request, &q); err != nil {
		return gateway.Submission{}, err
	}
	var m kefu.Message
	if err := m.UnmarshalJSON(q.Message); err != nil {
		return gateway.Submission{}, err
	}
	return gateway.Submission{
		Account: account, OpenID: m.To, MsgType: m.Body.MsgType(), Message: q.Message, Source: source,
		WhenClosed: q.WhenClosed, OnUnknown: q.OnUnknown, Priority: gateway.Normal,
	}, nil
}

// An answer is what a program sees; lost: it gave up before there was one.
type answer struct {
	ErrCode     int    `json:"errcode"`
	ErrMsg      string `json:"errmsg"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	lost        bool
	text        string
}

// call is one request of a program that waits for at most patience.
func (r *rig) call(method, target, body string, patience time.Duration) (a answer) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	req := httptest.NewRequest(method, "http://kefu.example"+target, strings.NewReader(body)).WithContext(ctx)
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, req)
	a.text = w.Body.String()
	if a.lost = ctx.Err() != nil; !a.lost {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			r.t.Errorf("%s %s: %q", method, target, a.text)
		}
	}
	return a
}

func (r *rig) token(secret string) string {
	r.t.Helper()
	a := r.call("GET", "/cgi-bin/token?grant_type=client_credential&appid="+appid+"&secret="+secret, "", time.Minute)
	if a.AccessToken == "" {
		r.t.Fatalf("no token: %s", a.text)
	}
	return a.AccessToken
}

func say(openid, text string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q},"of_the_future":{"a":[1]}}`, openid, text)
}

func (r *rig) send(token, openid, text string, patience time.Duration) answer {
	return r.call("POST", "/cgi-bin/message/custom/send?access_token="+token, say(openid, text), patience)
}

// fetches is how many real tokens were fetched.
func (r *rig) fetches() (n int) {
	for _, q := range r.wechat.Requests() {
		if strings.HasSuffix(q.Path, "token") {
			n++
		}
	}
	return n
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		for _, tt := range []struct {
			name, query string
			want        int
		}{
			{"a door key is the secret", "grant_type=client_credential&appid=" + appid + "&secret=" + doorKey, 0},
			{"no grant type", "appid=" + appid + "&secret=" + doorKey, 40002},
			{"no appid", "grant_type=client_credential&secret=" + doorKey, 41002},
			{"no secret", "grant_type=client_credential&appid=" + appid, 41004},
			{"a wrong secret", "grant_type=client_credential&appid=" + appid + "&secret=kf_wrong", 40125},
			{"the real AppSecret", "grant_type=client_credential&appid=" + appid + "&secret=" + kefutest.DefaultAccount.Secret.Reveal(), 40125},
			{"a key of another role", "grant_type=client_credential&appid=" + appid + "&secret=" + sendKey, 40125},
			{"a key for other accounts", "grant_type=client_credential&appid=" + appid + "&secret=" + elseKey, 40013},
			{"an unknown account", "grant_type=client_credential&appid=wxnobody&secret=" + allKey, 40013},
		} {
			if a := r.call("GET", "/cgi-bin/token?"+tt.query, "", time.Minute); a.ErrCode != tt.want || (a.AccessToken != "") != (tt.want == 0) {
				t.Errorf("%s: %s", tt.name, a.text)
			}
		}
		first := r.token(doorKey)
		stable := r.call("POST", "/cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"`+appid+`","secret":"`+doorKey+`","force_refresh":true}`, time.Minute)
		if stable.AccessToken != first || stable.ExpiresIn != 7200 {
			t.Errorf("force_refresh: %s", stable.text)
		}
		if n := r.fetches(); n != 0 {
			t.Errorf("%d real tokens fetched by asking for the gateway's", n)
		}
		r.wechat.UserSends("oA")
		if a := r.send(first, "oA", "one", time.Minute); a.ErrCode != 0 {
			t.Error(a.text)
		}
		time.Sleep(2*time.Hour - time.Nanosecond) // what it was said to live
		if a := r.send(first, "oA", "two", time.Minute); a.ErrCode != 0 {
			t.Errorf("before its end: %s", a.text)
		}
		time.Sleep(2*time.Hour + time.Nanosecond)
		if r.token(doorKey) == first {
			t.Error("the same token for ever")
		}
		if a := r.send(first, "oA", "three", time.Minute); a.ErrCode != 42001 {
			t.Errorf("two periods later: %s", a.text)
		}
		last := r.token(doorKey)
		for _, tt := range []struct {
			name, query string
			want        int
		}{
			{"none", "", 41001},
			{"rubbish", "access_token=rubbish", 40001},
			{"forged", "access_token=" + last[:len(last)-2] + "AA", 40001},
			{"of another key, twice named", "access_token=x&access_token=" + last, 40001},
		} {
			if a := r.call("POST", "/cgi-bin/message/custom/send?"+tt.query, say("oA", "no"), time.Minute); a.ErrCode != tt.want {
				t.Errorf("%s: %s", tt.name, a.text)
			}
		}
		if err := r.store.RevokeKey(t.Context(), time.Now(), r.ids[doorKey]); err != nil {
			t.Fatal(err)
		}
		if a := r.send(last, "oA", "four", time.Minute); a.ErrCode != 40001 {
			t.Errorf("of a revoked key: %s", a.text)
		}
		if a := r.call("GET", "/cgi-bin/token?grant_type=client_credential&appid="+appid+"&secret="+doorKey, "", time.Minute); a.ErrCode != 40125 {
			t.Errorf("a token for a revoked key: %s", a.text)
		}
	})
}

// Any number of processes ask for tokens at once and send: one real token is fetched.
func TestOneRealToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		var wg sync.WaitGroup
		for i := range 16 {
			openid := fmt.Sprintf("oFollower%d", i)
			r.wechat.UserSends(openid)
			wg.Go(func() {
				if a := r.send(r.token(doorKey), openid, "hello", time.Minute); a.ErrCode != 0 {
					t.Error(a.text)
				}
			})
		}
		wg.Wait()
		if n := r.fetches(); n != 1 {
			t.Errorf("%d real tokens fetched", n)
		}
		if n := len(r.wechat.Sent()); n != 16 {
			t.Errorf("%d messages arrived", n)
		}
	})
}

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		token := r.token(doorKey)
		r.wechat.UserSends("oA")
		body := say("oA", "<a href=\"https://example.com\">你好</a> & 再见")
		if a := r.call("POST", "/cgi-bin/message/custom/send?access_token="+token, body, time.Minute); a.text != `{"errcode":0,"errmsg":"ok"}` {
			t.Fatal(a.text)
		}
		got := r.wechat.Sent("oA")
		if len(got) != 1 || !strings.Contains(got[0].Raw, `"of_the_future":{"a":[1]}`) {
			t.Errorf("what WeChat does not know yet is lost: %+v", got)
		}
		page, err := r.store.Messages(t.Context(), store.Filter{}, "", 10)
		if err != nil || len(page.Items) != 1 || page.Items[0].Source != gateway.FromDoor {
			t.Errorf("%+v %v", page.Items, err)
		}
		for _, tt := range []struct {
			name, method, body string
			want               int
		}{
			{"not POST", "GET", say("oA", "x"), 43002},
			{"not JSON", "POST", `{"touser":`, 47001},
			{"not UTF-8", "POST", "{\"touser\":\"oA\",\"msgtype\":\"text\",\"text\":{\"content\":\"\xc4\xe3\"}}", 47001},
			{"too large", "POST", strings.Repeat(" ", 1<<20+1), 47001},
			{"no follower", "POST", say("", "x"), 40003},
			{"no msgtype", "POST", `{"touser":"oA"}`, 40008},
			{"a text that is too long", "POST", say("oA", strings.Repeat("x", 2049)), 45002},
			{"WeChat's own refusal", "POST", `{"touser":"oA","msgtype":"image","image":{"media_id":"nothing"}}`, 40007},
		} {
			if a := r.call(tt.method, "/cgi-bin/message/custom/send?access_token="+token, tt.body, time.Minute); a.ErrCode != tt.want {
				t.Errorf("%s: %s", tt.name, a.text)
			}
		}
		for _, tt := range []struct {
			body string
			want int
		}{
			{`{"touser":"oA","command":"Typing"}`, 0}, {`{"touser":"oA","command":"Typing"}`, 45081}, {`{"touser":"oA","command":"CancelTyping"}`, 0},
			{`{"touser":"oA","command":"Dancing"}`, 45072}, {`{}`, 40003}, {`[`, 47001},
		} {
			if a := r.call("POST", "/cgi-bin/message/custom/typing?access_token="+token, tt.body, time.Minute); a.ErrCode != tt.want {
				t.Errorf("typing %s: %s", tt.body, a.text)
			}
		}
	})
}

// What the ledger foresees is answered at once and costs WeChat nothing; a belief that
// is old is tried.
func TestForeseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		token := r.token(doorKey)
		sends := func() (n int) {
			for _, q := range r.wechat.Requests() {
				if strings.HasSuffix(q.Path, "/send") {
					n++
				}
			}
			return n
		}
		want := func(text string, code, posts int) {
			t.Helper()
			began, before := time.Now(), sends()
			a := r.send(token, "oA", text, time.Minute)
			if a.ErrCode != code || sends()-before != posts || time.Since(began) > time.Second {
				t.Errorf("%s: %s after %v and %d posts", text, a.text, time.Since(began), sends()-before)
			}
		}
		r.wechat.UserSends("oA")
		for i := range 5 {
			want(fmt.Sprint(i), 0, 1)
		}
		want("six", 45047, 0)
		time.Sleep(49 * time.Hour)
		token = r.token(doorKey)
		want("late", 45015, 0)
		r.wechat.UserSends("oA")
		want("again", 0, 1)
		want("of nobody known", 0, 1)
		if a := r.send(token, "oStranger", "hello", time.Minute); a.ErrCode == 0 {
			t.Errorf("a stranger: %s", a.text)
		}
		before := sends()
		if a := r.send(token, "oStranger", "hello again", time.Minute); a.ErrCode == 0 || sends() != before {
			t.Errorf("a fresh belief was tried: %s", a.text)
		}
		time.Sleep(61 * time.Second)
		if r.send(token, "oStranger", "hello once more", time.Minute); sends() != before+1 {
			t.Error("a stale belief was not tried")
		}
	})
}

func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(a *gateway.Account) { a.Door = &gateway.DoorSettings{Mode: gateway.DoorQueued, Park: true} })
		defer r.close()
		r.wechat.UserSends("oA")
		time.Sleep(49 * time.Hour)
		token := r.token(doorKey)
		if a := r.send(token, "oA", "parked", time.Minute); a.ErrCode != 0 {
			t.Error(a.text)
		}
		if n := len(r.wechat.Sent()); n != 0 {
			t.Errorf("%d sent into a closed window", n)
		}
		r.wechat.UserSends("oA")
		time.Sleep(time.Second)
		if n := len(r.wechat.Sent()); n != 1 {
			t.Errorf("%d sent when it opened", n)
		}
		defer r.wechat.Fail(kefutest.Fault{Delay: kefutest.Duration(4 * time.Second), Next: 9})()
		began := time.Now()
		if a := r.send(token, "oA", "queued", time.Minute); a.ErrCode != 0 || time.Since(began) > time.Second {
			t.Errorf("%s after %v", a.text, time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

// A program that gives up after 3 s and tries three times more, against a WeChat that
// answers late or not at all: no follower sees a message twice, and the program learns
// the truth where there is one.
func TestNoFollowerSeesItTwice(t *testing.T) {
	second := kefutest.Duration(time.Second)
	for _, tt := range []struct {
		name    string
		fault   kefutest.Fault
		arrived int
		last    int // the errcode that the program ends with
	}{
		{"at once", kefutest.Fault{Delay: 1}, 1, 0},
		{"2 s", kefutest.Fault{Delay: 2 * second}, 1, 0},
		{"4 s", kefutest.Fault{Delay: 4 * second}, 1, 0},
		{"8 s: longer than the gateway waits", kefutest.Fault{Delay: 8 * second}, 1, -1},
		{"the answer is dropped", kefutest.Fault{Drop: kefutest.DropReply}, 1, -1},
		{"the answer is dropped after 2 s", kefutest.Fault{Drop: kefutest.DropReply, Delay: 2 * second}, 1, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.close()
				token := r.token(doorKey)
				r.wechat.UserSends("oA")
				tt.fault.Next = 100
				mend := r.wechat.Fail(tt.fault)
				var last answer
				for range 4 {
					last = r.send(token, "oA", "hello", 3*time.Second)
					if !last.lost && last.ErrCode != -1 {
						break
					}
				}
				if last.lost || last.ErrCode != tt.last {
					t.Errorf("the program ends with %+v", last)
				}
				time.Sleep(20 * time.Second)
				if n := len(r.wechat.Sent("oA")); n != tt.arrived {
					t.Errorf("the follower sees it %d times", n)
				}
				mend()
				time.Sleep(time.Minute) // it is forgotten: the same words are said anew
				if a := r.send(token, "oA", "hello", 3*time.Second); a.ErrCode != 0 || len(r.wechat.Sent("oA")) != tt.arrived+1 {
					t.Errorf("a minute later: %s, %d arrived", a.text, len(r.wechat.Sent("oA")))
				}
			})
		})
	}
}

// What is still queued when the limit or the caller's patience ends never leaves.
func TestQueuedIsWithdrawn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		patience time.Duration
		lost     bool
		after    time.Duration
	}{
		{"at the limit", time.Minute, false, 2500 * time.Millisecond},
		{"the caller hangs up before", time.Second, true, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.close()
				token := r.token(doorKey)
				r.wechat.UserSends("oA")
				if err := r.d.Pause(t.Context(), appid, "for a test"); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				a := r.send(token, "oA", "hello", tt.patience)
				if a.lost != tt.lost || !a.lost && a.ErrCode != -1 || time.Since(began) != tt.after {
					t.Errorf("%+v after %v", a, time.Since(began))
				}
				synctest.Wait()
				if err := r.d.Resume(t.Context(), appid); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if n := len(r.wechat.Sent("oA")); n != 0 {
					t.Errorf("%d left all the same", n)
				}
				if a := r.send(token, "oA", "hello", time.Minute); a.ErrCode != 0 || len(r.wechat.Sent("oA")) != 1 {
					t.Errorf("the repeat: %s", a.text)
				}
			})
		})
	}
}

// Refused for certain: the same again is a new message at once. So is one that was
// answered in time.
func TestCertainIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		token := r.token(doorKey)
		r.wechat.UserSends("oA")
		r.wechat.Fail(kefutest.ErrCode(40003))
		if a := r.send(token, "oA", "hello", time.Minute); a.ErrCode != 40003 {
			t.Error(a.text)
		}
		for i := range 2 {
			if a := r.send(token, "oA", "hello", time.Minute); a.ErrCode != 0 || len(r.wechat.Sent("oA")) != i+1 {
				t.Errorf("%d: %s, %d arrived", i, a.text, len(r.wechat.Sent("oA")))
			}
		}
		// Another key's, and another body's, are other messages.
		r.wechat.Fail(kefutest.DropReply)
		r.send(token, "oA", "unsure", time.Minute)
		if a := r.send(token, "oA", "unsure ", time.Minute); a.ErrCode != 0 {
			t.Errorf("another body: %s", a.text)
		}
		if a := r.send(r.token(allKey), "oA", "unsure", time.Minute); a.ErrCode != 0 {
			t.Errorf("another key: %s", a.text)
		}
	})
}

func TestPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		for _, tt := range []struct {
			key, method, path string
			want              int // errcode
		}{
			{doorKey, "GET", "/cgi-bin/customservice/getkflist", 0},
			{doorKey, "GET", "/cgi-bin/menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media/../menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media/%2e%2e/menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media/..%2fmenu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media/..%5cmenu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media//../menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/media;x=/menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/MENU/delete", 48001},
			{doorKey, "GET", "/customservice/../cgi-bin/menu/delete", 48001},
			{doorKey, "GET", "/cgi-bin/mediation/x", 48001},
			{doorKey, "GET", "//cgi-bin//customservice//getkflist", 0},
			{allKey, "GET", "/cgi-bin/customservice/getkflist", 0},
			{allKey, "GET", "/cgi-bin/get_api_domain_ip", 0},
			{allKey, "POST", "/cgi-bin/clear_quota/v2", 48001},
			{allKey, "GET", "/cgi-bin/../_sim/state", 48001}, // a simulator's own affairs
			{allKey, "GET", "/sns/userinfo", 48001},
			{allKey, "POST", "/cgi-bin/media/../stable_token", 40002}, // the door's own
		} {
			a := r.call(tt.method, tt.path+"?access_token="+r.token(tt.key), "{}", time.Minute)
			if a.ErrCode != tt.want {
				t.Errorf("%s %s: %s", tt.method, tt.path, a.text)
			}
		}
		for _, q := range r.wechat.Requests() {
			if strings.Contains(strings.ToLower(q.Path), "menu") {
				t.Errorf("WeChat saw %s", q.Path)
			}
		}
	})
}

// A dead token is healed, once, for what can go again.
func TestDeadTokenIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		token := r.token(doorKey)
		path := "/cgi-bin/customservice/getkflist?access_token=" + token
		r.call("GET", path, "", time.Minute)
		r.wechat.ExpireTokens()
		before := len(r.wechat.Requests())
		if a := r.call("GET", path, "", time.Minute); a.ErrCode != 0 || !strings.Contains(a.text, "kf_list") {
			t.Errorf("%s", a.text)
		}
		if n := len(r.wechat.Requests()) - before; n != 3 { // refused, fetched, answered
			t.Errorf("%d requests", n)
		}
	})
}

// Media go both ways as streams, and the token in neither.
func TestMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		token := r.token(doorKey)
		picture := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"), bytes.Repeat([]byte("p"), 200<<10)...)
		body := "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n" + string(picture) + "\r\n--b--\r\n"
		req := httptest.NewRequest("POST", "http://kefu.example/cgi-bin/media/upload?type=image&access_token="+token, io.MultiReader(strings.NewReader(body)))
		req.ContentLength = int64(len(body))
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		w := httptest.NewRecorder()
		r.door.ServeHTTP(w, req)
		var up struct {
			MediaID string `json:"media_id"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &up); err != nil || up.MediaID == "" {
			t.Fatalf("%s", w.Body)
		}
		w = httptest.NewRecorder()
		r.door.ServeHTTP(w, httptest.NewRequest("GET", "http://kefu.example/cgi-bin/media/get?media_id="+up.MediaID+"&access_token="+token, nil))
		if !bytes.Equal(w.Body.Bytes(), picture) || !strings.Contains(w.Header().Get("Content-Disposition"), "filename") {
			t.Errorf("%d bytes came back of %d, %v", w.Body.Len(), len(picture), w.Header())
		}
		if w = httptest.NewRecorder(); true {
			req := httptest.NewRequest("POST", "http://kefu.example/cgi-bin/media/upload?type=image&access_token="+token, http.NoBody)
			req.ContentLength = 33 << 20
			r.door.ServeHTTP(w, req)
			if !strings.Contains(w.Body.String(), "47001") {
				t.Errorf("33 MiB: %s", w.Body)
			}
		}
	})
}
