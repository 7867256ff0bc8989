package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// A badWire is a TCP proxy that is as bad as networks are.
type badWire struct {
	net.Listener
	to     string
	spoilt atomic.Pointer[spoil]
	passed atomic.Int64
	struck atomic.Int64
	open   sync.WaitGroup
}

// A spoil is what happens to an answer, one in every so many, or to a connection.
type spoil struct {
	name   string
	every  int64
	delay  time.Duration // before each answer, and a random part of it more
	refuse bool          // closed before anything is read
	reset  bool          // RST after the request went through
	cut    bool          // the request goes through, the answer does not come
	half   bool          // nothing goes through, and nobody says so
}

func newBadWire(t *testing.T, to string) *badWire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &badWire{Listener: l, to: strings.TrimPrefix(to, "http://")}
	w.open.Go(w.accept)
	t.Cleanup(func() { l.Close(); w.open.Wait() })
	return w
}

func (w *badWire) url() string { return "http://" + w.Addr().String() }

func (w *badWire) accept() {
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		w.open.Go(func() { w.carry(c) })
	}
}

// strikes returns what happens now.
func (w *badWire) strikes(refuse bool) spoil {
	s := w.spoilt.Load()
	if s == nil || s.refuse != refuse || w.passed.Add(1)%s.every != 0 {
		return spoil{}
	}
	w.struck.Add(1)
	return *s
}

// carry carries one connection, for at most 20 s.
func (w *badWire) carry(c net.Conn) {
	defer c.Close()
	end := time.Now().Add(20 * time.Second)
	c.SetDeadline(end)
	if w.strikes(true).refuse {
		return
	}
	there, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer there.Close()
	there.SetDeadline(end)
	go func() {
		io.Copy(there, c)
		there.(*net.TCPConn).CloseWrite()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := there.Read(buf)
		if err != nil {
			return
		}
		switch s := w.strikes(false); {
		case s.cut:
			return
		case s.half:
			time.Sleep(8 * time.Second) // longer than anybody waits
			return
		case s.reset:
			c.(*net.TCPConn).SetLinger(0)
			return
		case s.delay > 0:
			time.Sleep(s.delay + rand.N(s.delay))
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Reliability, row 4: whatever the network does to sends and tokens, what the gateway
// says in the end agrees with what the followers have: nothing that is "sent" is
// missing, nothing that is "failed" has arrived, nobody has anything twice, each
// follower's messages are in order, and no window has more left than WeChat says.
func TestBadNetwork(t *testing.T) {
	for _, s := range []spoil{
		{name: "latency and jitter", every: 1, delay: 100 * time.Millisecond},
		{name: "refused", every: 2, refuse: true},
		{name: "reset", every: 3, reset: true},
		{name: "answer dropped", every: 3, cut: true},
		{name: "half-open", every: 7, half: true},
		{name: "too late", every: 7, delay: 6 * time.Second},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wechat := kefutest.NewServer()
			defer wechat.Close()
			if err := wechat.SetState(sureAs); err != nil {
				t.Fatal(err)
			}
			w := newBadWire(t, wechat.URL)
			w.spoilt.Store(&s)
			p := newProcess(t, w.url())
			p.start()
			defer p.kill()
			put(t, p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, `{"rules":{"user_message":{"max":100,"seconds":172800}}}`)
			if err := wechat.SetState(`{"rules":{"user_message":{"max":100,"seconds":172800}}}`); err != nil {
				t.Fatal(err)
			}
			ids := map[string]string{} // by text
			const followers, each = 8, 5
			for f := range followers {
				openid := fmt.Sprintf("oUser%d", f)
				wechat.UserSends(openid)
				put(t, p.url()+"/v1/triggers", fmt.Sprintf(`{"openid":%q,"trigger":"user_message"}`, openid))
			}
			for i := range each {
				for f := range followers {
					text := fmt.Sprintf("%d/%d", f, i)
					status, m, problem := send(t, p, fmt.Appendf(nil, `{"touser":"oUser%d","msgtype":"text","text":{"content":%q}}`, f, text), "")
					if status != http.StatusAccepted {
						t.Fatalf("%d %+v", status, problem)
					}
					ids[text] = m.ID
				}
				if i == 2 { // every connection anew, and the token again
					wechat.Fail(kefutest.ErrCode(40001))
				}
			}
			var all map[string]gateway.Message
			for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				var page gateway.Page[gateway.Message]
				get(t, p.url()+"/v1/messages?limit=1000", &page)
				all = map[string]gateway.Message{}
				waiting := 0
				for _, m := range page.Items {
					all[m.ID] = m
					if !m.State.Final() && m.State != gateway.Unknown {
						waiting++
					}
				}
				if waiting == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%d messages wait: %s", waiting, p.errs.String())
				}
			}
			times, last, unknown := map[string]int{}, map[string]string{}, map[string]int{}
			for _, sent := range wechat.Sent() {
				text := sent.Message.Body.(kefu.Text).Content
				if times[text]++; text < last[sent.OpenID] {
					t.Errorf("%s came after %s", text, last[sent.OpenID])
				}
				last[sent.OpenID] = text
			}
			states := map[gateway.State]int{}
			for text, id := range ids {
				m := all[id]
				states[m.State]++
				switch n := times[text]; {
				case m.State == gateway.Sent && n != 1, m.State == gateway.Unknown && n > 1, m.State == gateway.Failed && n != 0:
					t.Errorf("%s is %s, and arrived %d times (%+v)", text, m.State, n, m.Outcome)
				case m.State == gateway.Unknown:
					unknown[m.OpenID]++
				case m.State != gateway.Sent:
					t.Errorf("%s ended as %s (%+v)", text, m.State, m.Outcome)
				}
			}
			for f := range followers {
				openid := fmt.Sprintf("oUser%d", f)
				var c gateway.Window
				get(t, p.url()+"/v1/conversations/"+kefutest.DefaultAccount.AppID+"/"+openid+"/window", &c)
				theirs := wechat.Window(openid).Remaining
				if c.Remaining == nil || *c.Remaining > theirs || theirs-*c.Remaining > unknown[openid] {
					t.Errorf("%s: %+v; WeChat has %d left, %d unknown", openid, c, theirs, unknown[openid])
				}
			}
			if w.struck.Load() == 0 {
				t.Error("the network was never bad")
			}
			t.Logf("struck %d times: %v", w.struck.Load(), states)
		})
	}
}
