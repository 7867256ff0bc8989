package server

import (
	"encoding/json"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Every method of the client, against the server whose words it speaks.
func TestClient(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	c := &gateway.Client{BaseURL: server.URL + "/", Key: adminKey, Source: gateway.FromCLI}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := gateway.Request{Account: shop, Message: json.RawMessage(`{"touser":"o/1","msgtype":"text","text":{"content":"<&> 你好"}}`), Metadata: json.RawMessage(`{"order":17}`)}

	m, err := c.Send(ctx, r, gateway.SendOptions{IdempotencyKey: "k"})
	must(err)
	again, err := c.Send(ctx, r, gateway.SendOptions{IdempotencyKey: "k", Wait: time.Millisecond})
	must(err)
	if m.ID != again.ID || string(m.Message) != string(r.Message) || m.Source != gateway.FromCLI || m.Window == nil || !m.AcceptedAt.Equal(start) {
		t.Errorf("sent %+v, again %+v", m, again)
	}
	results, err := c.Batch(ctx, []gateway.Request{r, {}})
	must(err)
	if len(results) != 2 || results[0].Message == nil || results[1].Problem == nil {
		t.Errorf("batch %+v", results)
	}
	shown, err := c.Message(ctx, m.ID)
	must(err)
	page, err := c.Messages(ctx, gateway.MessageFilter{Accounts: []string{shop}, OpenID: "o/1", State: gateway.Queued, ErrCode: 45015, From: start, To: start.Add(time.Hour), Metadata: map[string]string{"order": "17"}}, "", 1)
	must(err)
	if shown.ID != m.ID || len(page.Items) != 1 || page.Next == "" {
		t.Errorf("shown %+v, listed %+v", shown, page)
	}
	attempts, err := c.Attempts(ctx, m.ID)
	must(err)
	canceled, err := c.Cancel(ctx, m.ID)
	must(err)
	retried, err := c.Retry(ctx, m.ID, gateway.SendOptions{})
	must(err)
	if len(attempts) != 1 || canceled.State != gateway.Canceled || retried.RetryOf != m.ID {
		t.Errorf("%+v, %+v, %+v", attempts, canceled, retried)
	}
	unknown := w.add(gateway.Message{State: gateway.Unknown})
	resolved, err := c.Resolve(ctx, unknown.ID, gateway.Sent)
	must(err)
	if resolved.State != gateway.Sent {
		t.Errorf("resolved %+v", resolved)
	}
	at := gateway.At(start.Add(-time.Minute))
	triggered, err := c.Trigger(ctx, gateway.TriggerRequest{Account: shop, OpenID: "o/1", Trigger: kefu.Payment, At: &at})
	must(err)
	window, err := c.Window(ctx, shop, "o/1")
	must(err)
	if !triggered.Opened || window.State != gateway.WindowOpen || !window.Buckets[0].OpenedAt.Equal(at.Time) {
		t.Errorf("%+v, %+v", triggered, window)
	}
	must(c.Typing(ctx, shop, "o/1", false))
	if w.typing[0] {
		t.Error("typing began instead of ending")
	}
	conversations, err := c.Conversations(ctx, []string{shop}, "", 10)
	must(err)
	conversation, err := c.Conversation(ctx, shop, "oFollower")
	must(err)
	timeline, err := c.Timeline(ctx, shop, "oFollower", "", 10)
	must(err)
	if len(conversations.Items) != 1 || conversation.OpenID != "oFollower" || len(timeline.Items) == 0 || timeline.Items[0].Message == nil {
		t.Errorf("%+v, %+v, %+v", conversations, conversation, timeline)
	}

	added, err := c.AddAccount(ctx, gateway.Account{AppID: "wxnew", Secret: secret, Token: "t", AESKey: aesKey})
	must(err)
	if kept := w.accounts["wxnew"]; kept.Secret != secret || kept.Token != "t" || kept.AESKey != aesKey || added.Secret != "" {
		t.Errorf("the secrets did not arrive: %+v, %+v", kept, added)
	}
	first, err := c.PutAccount(ctx, gateway.Account{AppID: "wxnew", Name: "newer"}) // whatever there is
	must(err)
	second := first
	second.Name = "new"
	_, err = c.PutAccount(ctx, second)
	must(err)
	var p *gateway.Problem
	if _, err = c.PutAccount(ctx, first); !errors.As(err, &p) || p.Code != gateway.PreconditionFailed {
		t.Errorf("an account that was changed meanwhile is overwritten: %v", err)
	}
	one, err := c.Account(ctx, "wxnew")
	must(err)
	all, err := c.Accounts(ctx)
	must(err)
	check, err := c.CheckAccount(ctx, "wxnew")
	must(err)
	if one.Name != "new" || len(all) != 3 || !check.OK {
		t.Errorf("%+v, %d, %+v", one, len(all), check)
	}
	must(c.DeleteAccount(ctx, "wxnew"))

	files, err := c.Assets(ctx, []string{shop}, "", 5)
	must(err)
	if _, err := c.Assets(ctx, []string{"wxnone"}, "", 0); len(files.Items) != 1 || !errors.As(err, &p) || p.Code != gateway.UnknownAccount {
		t.Errorf("%+v, and of no account: %v", files, err)
	}

	key, err := c.AddKey(ctx, gateway.KeyRequest{Name: "bot", Role: gateway.Read})
	must(err)
	keys, err := c.Keys(ctx)
	must(err)
	must(c.RevokeKey(ctx, key.ID))
	if key.Key == "" || len(keys) != 8 {
		t.Errorf("%+v, %d", key, len(keys))
	}

	w.mu.Lock()
	w.fullErr = errors.New("disk full")
	w.mu.Unlock()
	health, err := c.Ready(ctx)
	must(err)
	if health.Ready || health.Because != "disk full" {
		t.Errorf("%+v", health)
	}
}

func TestClientErrors(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	c := &gateway.Client{BaseURL: server.URL, Key: sendKey, Language: "zh"}
	sent := w.add(gateway.Message{State: gateway.Sent})
	_, err := c.Cancel(t.Context(), sent.ID)
	var p *gateway.Problem
	if !errors.As(err, &p) || p.Code != gateway.NotCancelable || p.Message.State != gateway.Sent || p.Title != titles[gateway.NotCancelable].zh {
		t.Errorf("%v", err)
	}
	_, err = c.Send(t.Context(), gateway.Request{Account: shop, Message: json.RawMessage(`{"touser":"o"}`)}, gateway.SendOptions{})
	if !errors.As(err, &p) || p.Code != gateway.InvalidMessage || !strings.Contains(err.Error(), "message.msgtype") {
		t.Errorf("%v", err)
	}
	if _, err := c.Send(t.Context(), gateway.Request{Message: json.RawMessage(`{`)}, gateway.SendOptions{}); err == nil || errors.As(err, &p) && p.Code == "" {
		t.Errorf("no JSON: %v", err)
	}
	server.Close()
	_, err = c.Message(t.Context(), "msg_1")
	if err == nil || errors.As(err, new(*gateway.Problem)) || !strings.Contains(err.Error(), "kefu serve") || strings.Contains(err.Error(), sendKey) {
		t.Errorf("nobody there: %v", err)
	}
}

// The feed through the client: no gap and no double over broken connections, and an
// end that says why.
func TestClientEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		conns := make(chan net.Conn, 100)
		c := &gateway.Client{BaseURL: "http://kefu", Key: readKey, HTTP: clientOver(func() net.Conn {
			conn := dial()
			conns <- conn
			return conn
		})}
		w.say(shop, "message.sent") // before: not for this reader
		go func() {
			for n := range 50 {
				time.Sleep(100 * time.Millisecond)
				w.say(shop, "message.sent")
				if n%10 == 5 {
					(<-conns).Close()
				}
			}
			time.Sleep(time.Minute)
			(*shelf)(w).RevokeKey(t.Context(), start, "key_read")
		}()
		want, ended := 2, error(nil)
		for e, err := range c.Events(t.Context(), gateway.EventOptions{Types: []string{"message.sent"}}) {
			if err != nil {
				ended = err
				break
			}
			if e.Cursor != strconv.Itoa(want) || e.Type != "message.sent" || e.Account != shop || string(e.Data) != `{"n":`+e.Cursor+`}` {
				t.Fatalf("%+v, want %d", e, want)
			}
			want++
		}
		var p *gateway.Problem
		if want != 52 || !errors.As(ended, &p) || p.Code != gateway.Unauthorized {
			t.Errorf("ended before %d with %v", want, ended)
		}
	})
}

func TestClientEventsOfNobody(t *testing.T) {
	server := httptest.NewServer(newWorld(t).Handler())
	server.Close()
	n := 0
	for _, err := range (&gateway.Client{BaseURL: server.URL, Key: readKey}).Events(t.Context(), gateway.EventOptions{}) {
		if n++; err == nil || n > 1 {
			t.Errorf("%d: %v", n, err)
		}
	}
	if n != 1 {
		t.Error("no error")
	}
}

// What is missing is said, and the reader goes on from there.
func TestClientEventsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		for range 5 {
			w.say(shop, "message.sent")
		}
		w.gone = 3
		time.AfterFunc(time.Second, func() { w.say(shop, "message.failed") })
		var got []string
		for e, err := range (&gateway.Client{BaseURL: "http://kefu", Key: readKey, HTTP: clientOver(dial)}).Events(t.Context(), gateway.EventOptions{Cursor: "1"}) {
			if got = append(got, e.Type+" "+e.Cursor); err != nil || len(got) == 2 {
				break
			}
		}
		if want := []string{"reset 5", "message.failed 6"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// A connection that is silent, without a sign of life, is dead.
func TestClientEventsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Heartbeat = time.Hour
		dial, end := w.listen()
		defer end()
		var dialed []time.Time
		c := &gateway.Client{BaseURL: "http://kefu", Key: readKey, HTTP: clientOver(func() net.Conn {
			dialed = append(dialed, time.Now())
			return dial()
		})}
		time.AfterFunc(time.Minute, func() { w.say(shop, "message.sent") })
		for e, err := range c.Events(t.Context(), gateway.EventOptions{}) {
			if err != nil || e.Cursor != "1" {
				t.Errorf("%+v, %v", e, err)
			}
			break
		}
		if len(dialed) != 2 || dialed[1].Sub(dialed[0]) < 45*time.Second {
			t.Errorf("%v", dialed)
		}
	})
}
