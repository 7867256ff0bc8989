package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// A receiver is an endpoint of the business: it checks each webhook with the library of
// Standard Webhooks and notes what it got.
type receiver struct {
	t      testing.TB
	hook   gateway.Webhook
	verify *standardwebhooks.Webhook
	behave func(w http.ResponseWriter, r *http.Request)

	mu  sync.Mutex // guards what follows
	got map[string][]int64
	ids map[string]int
}

// receive makes an endpoint and registers it.
func receive(t testing.TB, p *process, settings string, behave func(http.ResponseWriter, *http.Request)) *receiver {
	t.Helper()
	r := &receiver{t: t, behave: behave, got: map[string][]int64{}, ids: map[string]int{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.CloseClientConnections)
	call(t, "POST", p.url()+"/v1/webhooks", `{"url":"`+server.URL+`/hook","types":["follower.message"],"concurrency":64`+settings+`}`, &r.hook)
	var err error
	if r.verify, err = standardwebhooks.NewWebhook(r.hook.Secret); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if err := r.verify.Verify(body, req.Header); err != nil {
		r.t.Errorf("the library of Standard Webhooks refuses it: %v", err)
	}
	var event gateway.WebhookBody
	var data struct{ Push struct{ MsgID int64 } }
	if err := json.Unmarshal(body, &event); err != nil {
		r.t.Error(err)
	}
	if err := json.Unmarshal(event.Data.Data, &data); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	id, openid := req.Header.Get("webhook-id"), event.Data.OpenID
	if r.ids[id]++; r.ids[id] == 1 {
		r.got[openid] = append(r.got[openid], data.Push.MsgID)
	}
	r.mu.Unlock()
	r.behave(w, req)
}

// count is how many different events came.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids)
}

// push posts a text of a follower as WeChat does, until it is taken, and returns how
// long the answer to the last try took.
func push(ctx context.Context, crypt *callback.Crypt, url, openid string, id int64) (time.Duration, error) {
	a := kefutest.DefaultAccount
	for {
		text := fmt.Sprintf(`<xml><ToUserName>gh_1</ToUserName><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime><MsgType>text</MsgType><Content>%d</Content><MsgId>%d</MsgId></xml>`,
			openid, time.Now().Unix(), id, id)
		encrypt, err := crypt.Encrypt([]byte(text))
		if err != nil {
			return 0, err
		}
		now := strconv.FormatInt(time.Now().Unix(), 10)
		q := fmt.Sprintf("?encrypt_type=aes&timestamp=%s&nonce=n&msg_signature=%s", now, callback.Signature(a.Token, now, "n", encrypt))
		req, err := http.NewRequestWithContext(ctx, "POST", url+"/callback/"+a.AppID+q, strings.NewReader("<xml><ToUserName>gh_1</ToUserName><Encrypt>"+encrypt+"</Encrypt></xml>"))
		if err != nil {
			return 0, err
		}
		began := time.Now()
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if took := time.Since(began); err == nil && res.StatusCode == http.StatusOK {
				return took, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Endpoints that answer at once, late, too late, never, with 500 and with garbage; the
// gateway is killed (-9) meanwhile. Callbacks are answered as if there were none; each
// endpoint that takes events gets all of them, in order per follower, signed; and each
// event has one answer, however often it was delivered.
//
// The delays are a tenth of 0, 4, 6 and 30 s with a time-out of 1.5 s; with KEFU_LONG=1
// they are those, with the default time-out.
func TestWebhooksUnderFire(t *testing.T) {
	followers, each, scale, timeout := 64, 6, 100*time.Millisecond, `,"timeout":1,"schedule":[0,1,2,3,3,3,3,3,3,3,3,3]`
	if os.Getenv("KEFU_LONG") != "" {
		followers, each, scale, timeout = 64, 30, time.Second, ""
	}
	wechat := kefutest.NewServer(kefutest.Account{})
	defer wechat.Close()
	if err := wechat.SetState(`{"rules":{"user_message":{"max":null,"seconds":172800}}}`); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, wechat.URL)
	p.args = []string{"--allow-private"}
	p.start()
	defer func() { p.kill() }()
	a := kefutest.DefaultAccount
	crypt, err := callback.NewCrypt(a.AppID, a.Token, a.AESKey)
	if err != nil {
		t.Fatal(err)
	}

	// load posts events and returns how long the answers took.
	var next int64
	load := func(each int, meanwhile func()) []time.Duration {
		var mu sync.Mutex
		var took []time.Duration
		var wg sync.WaitGroup
		first := next
		next += int64(each)
		for f := range followers {
			openid := fmt.Sprintf("oUser%d", f)
			wechat.UserSends(openid)
			wg.Go(func() {
				time.Sleep(time.Duration(rand.N(1000)) * time.Millisecond)
				for i := range each {
					d, err := push(t.Context(), crypt, p.url(), openid, int64(f)*100000+first+int64(i)+1)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					took = append(took, d)
					mu.Unlock()
					time.Sleep(time.Duration(900+rand.N(200)) * time.Millisecond)
				}
			})
		}
		meanwhile()
		wg.Wait()
		slices.Sort(took)
		return took
	}
	quiet := load(each, func() {})

	wait := func(d time.Duration) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
	}
	bot := receive(t, p, timeout, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"messages":[{"msgtype":"text","text":{"content":"answer to %s at %d"}}]}`, r.Header.Get("webhook-id"), time.Now().UnixNano())
	})
	late := receive(t, p, timeout, wait(4*scale))
	later := receive(t, p, timeout, wait(6*scale))
	garbage := receive(t, p, timeout, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"messages":[{"touser":"oSomebody`)
	})
	tooLate := receive(t, p, timeout, wait(30*scale))
	broken := receive(t, p, timeout, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	never := receive(t, p, timeout, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

	busy := load(each, func() {})
	load(each, func() { // and killed in between
		time.Sleep(time.Duration(each) * time.Second / 2)
		p.kill()
		p.start()
	})
	events := 2 * each * followers
	takers := map[string]*receiver{"at once": bot, "garbage": garbage, "late": late, "later": later}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		done := true
		for _, r := range takers {
			done = done && r.count() == events
		}
		if done || time.Now().After(end) {
			break
		}
	}
	for name, r := range takers {
		if n := r.count(); n != events {
			t.Errorf("%s: %d of %d events", name, n, events)
		}
		for openid, ids := range r.got {
			if !slices.IsSorted(ids) {
				t.Errorf("%s: %s had %v", name, openid, ids)
			}
		}
	}
	// Each event has one message, attributed to the endpoint.
	seen := map[string]bool{}
	var messages int
	for cursor := ""; ; {
		var page gateway.Page[gateway.Message]
		get(t, p.url()+"/v1/messages?limit=1000&cursor="+cursor, &page)
		for _, m := range page.Items {
			var meta struct {
				Webhook   string `json:"webhook"`
				WebhookID string `json:"webhook_id"`
			}
			if err := json.Unmarshal(m.Metadata, &meta); err != nil || meta.Webhook != bot.hook.ID || seen[meta.WebhookID] || m.Source != gateway.FromWebhook {
				t.Errorf("%s %s: %v", m.ID, m.Metadata, err)
			}
			seen[meta.WebhookID] = true
			messages++
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if messages != events {
		t.Errorf("%d messages, %d events", messages, events)
	}
	for name, r := range map[string]*receiver{"too late": tooLate, "500": broken, "never": never} {
		var page gateway.Page[gateway.WebhookAttempt]
		get(t, p.url()+"/v1/webhooks/"+r.hook.ID+"/attempts", &page)
		if len(page.Items) == 0 || slices.ContainsFunc(page.Items, func(a gateway.WebhookAttempt) bool { return a.Outcome == "delivered" || a.Error == "" }) {
			t.Errorf("%s: %d tries", name, len(page.Items))
		}
	}
	var tries gateway.Page[gateway.WebhookAttempt]
	get(t, p.url()+"/v1/webhooks/"+garbage.hook.ID+"/attempts", &tries)
	if tries.Items[0].Answer == nil || tries.Items[0].Answer.Refused != "the response is not a JSON object" {
		t.Errorf("%+v", tries.Items[0])
	}
	at := func(all []time.Duration, part float64) time.Duration { return all[int(float64(len(all)-1)*part)] }
	t.Logf("callbacks answered, without webhooks: p50 %v, p99 %v; with seven endpoints, four of them bad: p50 %v, p99 %v, slowest %v (%d)",
		at(quiet, 0.5), at(quiet, 0.99), at(busy, 0.5), at(busy, 0.99), at(busy, 1), len(busy))
	if at(busy, 0.99) > 4*time.Second { // WeChat gives up after 5 s; how fast it is, the figures tell
		t.Errorf("p99 %v", at(busy, 0.99))
	}
}

// A webhook URL that is private, that redirects, or whose name leads to a private
// address is never connected to.
func TestWebhooksGoNowhereElse(t *testing.T) {
	var touched sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		touched.Store(r.URL.Path, true)
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/private", http.StatusTemporaryRedirect)
		}
	}))
	defer server.Close()
	wechat := kefutest.NewServer()
	defer wechat.Close()
	strict, open := newProcess(t, wechat.URL), newProcess(t, wechat.URL)
	open.args = []string{"--allow-private"}
	for _, p := range []*process{strict, open} {
		p.start()
		defer p.kill()
	}
	post := func(p *process, url string) (status int, hook gateway.Webhook, body string) {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", p.url()+"/v1/webhooks", strings.NewReader(`{"url":"`+url+`"}`))
		req.Header.Set("Authorization", "Bearer "+apiKey)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		json.Unmarshal(b, &hook)
		return res.StatusCode, hook, string(b)
	}
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, url := range []string{server.URL, "http://[::1]" + port, "http://169.254.169.254/", "http://10.0.0.1/", "ftp://example.com/", "https://user:pass@example.com/", "https://example.com:25/", "nonsense"} {
		if status, _, body := post(strict, url); status != 422 {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	// A name is judged when it is dialled, by what it leads to then.
	if status, hook, body := post(strict, "http://localhost"+port+"/named"); status != 201 {
		t.Errorf("%d %s", status, body)
	} else {
		var a gateway.WebhookAttempt
		call(t, "POST", strict.url()+"/v1/webhooks/"+hook.ID+"/test", "", &a)
		if a.Outcome != "given-up" || !strings.Contains(a.Error, "not a public web address") {
			t.Errorf("%+v", a)
		}
	}
	if status, hook, body := post(open, server.URL+"/redirect"); status != 201 {
		t.Errorf("%d %s", status, body)
	} else {
		var a gateway.WebhookAttempt
		call(t, "POST", open.url()+"/v1/webhooks/"+hook.ID+"/test", "", &a)
		if a.Outcome != "given-up" || a.Status != 307 {
			t.Errorf("%+v", a)
		}
	}
	for _, path := range []string{"/named", "/private", "/", "/hook"} {
		if _, ok := touched.Load(path); ok {
			t.Errorf("%s was called", path)
		}
	}
}

// A name that leads to this machine is never connected to, whoever gives it: as a webhook,
// as the callback that pushes are handed on to, as media in a message, or as an article's
// picture that is to be shown. With --allow-private the same four are. (That a name which changes between a look-up and the
// dial gains nothing is seen in package egress, with a resolver of the test's.)
func TestPrivateNamesGetNoConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{{"strict", nil, false}, {"with --allow-private", []string{"--allow-private"}, true}} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			conns, paths := 0, map[string]bool{}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				paths[r.URL.Path] = true
				mu.Unlock()
				if r.URL.Path == "/media.jpg" || r.URL.Path == "/shown.jpg" {
					w.Header().Set("Content-Type", "image/jpeg")
					w.Write(photo())
				}
			}))
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					mu.Lock()
					conns++
					mu.Unlock()
				}
			}
			server.Start()
			defer server.Close()
			named := "http://localhost" + server.URL[strings.LastIndexByte(server.URL, ':'):]

			p := newProcess(t, "")
			s := startSim(t, "--callback", p.url()+"/callback/{appid}", "--mode", "secure")
			p.env, p.args = append(p.env, "KEFU_API_BASE="+s.URL), tt.args
			p.start()
			defer p.kill()
			var hook gateway.Webhook
			p.api2(t, "POST", "/v1/webhooks", object{"url": named + "/hook", "schedule": []int{0}}, &hook)
			p.api2(t, "PUT", "/v1/accounts/"+kefutest.DefaultAccount.AppID, object{"callback_forward": named + "/relay", "mode": "secure"}, nil)
			s.act("oUser1", "text", object{"content": "hi"})
			var m gateway.Message
			p.api2(t, "POST", "/v1/messages?wait=20s", object{"message": object{"touser": "oUser1", "msgtype": "image", "image": object{"media_id": named + "/media.jpg"}}}, &m)
			if got := m.State == gateway.Sent; got != tt.want {
				t.Errorf("%s %+v", m.State, m.Outcome)
			}
			p.api2(t, "POST", "/v1/messages?wait=20s", object{"message": object{"touser": "oUser1", "msgtype": "news", "news": object{"articles": []object{{"title": "a", "url": "https://example.com/", "picurl": named + "/shown.jpg"}}}}}, &m)
			if shown := picture(t, p, m.ID); (shown == string(photo())) != tt.want {
				t.Errorf("the picture: %.200q", shown)
			}
			var tries gateway.Page[gateway.WebhookAttempt]
			for end := time.Now().Add(20 * time.Second); len(tries.Items) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				get(t, p.url()+"/v1/webhooks/"+hook.ID+"/attempts", &tries)
			}
			if len(tries.Items) == 0 || (tries.Items[0].Outcome == "delivered") != tt.want {
				t.Errorf("%+v", tries.Items)
			}
			mu.Lock()
			defer mu.Unlock()
			if (conns > 0) != tt.want || tt.want && len(paths) != 4 {
				t.Errorf("%d connections, for %v", conns, paths)
			}
		})
	}
}

// picture is what the gateway answers of a message's first picture.
func picture(t *testing.T, p *process, id string) string {
	t.Helper()
	req, _ := http.NewRequest("GET", p.url()+"/v1/messages/"+id+"/pictures/1", nil)
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
