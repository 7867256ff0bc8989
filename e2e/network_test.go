package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
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
	upload bool          // closed in the middle of a long request
	reset  bool          // RST after the request went through
	cut    bool          // the request goes through, the answer does not come
	half   bool          // nothing goes through, and nobody says so
}

// piece is how much of requests goes through until something can happen to an upload:
// all that is sent and asked on one connection is less.
const piece = 64 << 10

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

// A moment is one at which something can happen to a connection.
type moment int

const (
	onConnect moment = iota
	onUpload
	onAnswer
)

func (s *spoil) at() moment {
	switch {
	case s.refuse:
		return onConnect
	case s.upload:
		return onUpload
	}
	return onAnswer
}

// strikes returns what happens now.
func (w *badWire) strikes(at moment) spoil {
	s := w.spoilt.Load()
	if s == nil || s.at() != at || w.passed.Add(1)%s.every != 0 {
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
	if w.strikes(onConnect).refuse {
		return
	}
	there, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer there.Close()
	there.SetDeadline(end)
	go func() {
		for {
			if _, err := io.CopyN(there, c, piece); err != nil {
				there.(*net.TCPConn).CloseWrite()
				return
			}
			if w.strikes(onUpload).upload {
				there.Close()
				return
			}
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := there.Read(buf)
		if err != nil {
			return
		}
		switch s := w.strikes(onAnswer); {
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

// noise is a picture of over 64 KiB, another for each seed.
func noise(t *testing.T, seed uint64) []byte {
	t.Helper()
	r, img := rand.New(rand.NewPCG(seed, 8)), image.NewNRGBA(image.Rect(0, 0, 200, 200))
	for i := range img.Pix {
		img.Pix[i] = byte(r.Uint32())
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// keep makes an asset of a file.
func keep(t *testing.T, p *process, file []byte) (a gateway.Asset) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.url()+"/v1/assets", bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%s %v", res.Status, err)
	}
	return a
}

// Reliability, row 4: whatever the network does to sends, uploads and tokens, what the
// gateway says in the end agrees with what the followers have: nothing that is "sent" is
// missing, nothing that is "failed" has arrived, nobody has anything twice, each
// follower's messages are in order, no picture is another's, none is uploaded again
// without need, and no window has more left than WeChat says.
func TestBadNetwork(t *testing.T) {
	for _, s := range []spoil{
		{name: "latency and jitter", every: 1, delay: 100 * time.Millisecond},
		{name: "refused", every: 2, refuse: true},
		{name: "cut in an upload", every: 5, upload: true},
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
			const followers, each, picture = 8, 5, 3
			pictures := map[string][]byte{} // by text
			for f := range followers {
				openid := fmt.Sprintf("oUser%d", f)
				wechat.UserSends(openid)
				put(t, p.url()+"/v1/triggers", fmt.Sprintf(`{"openid":%q,"trigger":"user_message"}`, openid))
			}
			for i := range each {
				for f := range followers {
					text := fmt.Sprintf("%d/%d", f, i)
					message := fmt.Appendf(nil, `{"touser":"oUser%d","msgtype":"text","text":{"content":%q}}`, f, text)
					if i == picture {
						pictures[text] = noise(t, uint64(f))
						message = fmt.Appendf(nil, `{"touser":"oUser%d","msgtype":"image","image":{"media_id":%q}}`, f, keep(t, p, pictures[text]).ID)
					}
					status, m, problem := send(t, p, message, "")
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
				text := fmt.Sprintf("%s/%d", strings.TrimPrefix(sent.OpenID, "oUser"), picture)
				switch b := sent.Message.Body.(type) {
				case kefu.Text:
					text = b.Content
				case kefu.Image:
					if !bytes.Equal(download(t, wechat, b.MediaID), pictures[text]) {
						t.Errorf("%s has another's picture", text)
					}
				}
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
			uploaded := int64(0)
			for _, q := range wechat.Requests() {
				if strings.HasSuffix(q.Path, "/media/upload") && q.Status == http.StatusOK && q.ErrCode == 0 {
					uploaded++
				}
			}
			if uploaded < followers || uploaded > followers+w.struck.Load() {
				t.Errorf("%d uploads of %d pictures", uploaded, followers)
			}
			if w.struck.Load() == 0 {
				t.Error("the network was never bad")
			}
			t.Logf("struck %d times: %v; %d uploads of %d pictures", w.struck.Load(), states, uploaded, followers)
		})
	}
}

// download is a file that WeChat has.
func download(t *testing.T, wechat *kefutest.WeChat, id kefu.MediaID) []byte {
	t.Helper()
	d, err := wechat.Client().Download(t.Context(), kefu.TemporaryID(id))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	b, err := io.ReadAll(d.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
