package kefutest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// fields are what a push consists of, in order.
type (
	fields []field
	field  struct {
		name  string
		value any // string, int64, float64, fields or []fields (elements called item)
	}
)

func (f fields) appendXML(b []byte) []byte {
	for _, f := range f {
		b = append(append(append(b, '<'), f.name...), '>')
		switch v := f.value.(type) {
		case string:
			b = appendCDATA(b, v)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case float64:
			b = strconv.AppendFloat(b, v, 'f', 6, 64)
		case fields:
			b = v.appendXML(b)
		case []fields:
			for _, item := range v {
				b = fields{{"item", item}}.appendXML(b)
			}
		}
		b = append(append(append(b, "</"...), f.name...), '>')
	}
	return b
}

func (f fields) xml() []byte {
	b := []byte("<xml>")
	for _, one := range f {
		b = append(fields{one}.appendXML(append(b, '\n')), ""...)
	}
	return append(b, "\n</xml>"...)
}

// appendCDATA drops what XML can't hold, and splits the one text that CDATA can't.
func appendCDATA(b []byte, s string) []byte {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF' {
			return -1
		}
		return r
	}, s)
	s = strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>")
	return append(append(append(b, "<![CDATA["...), s...), "]]>"...)
}

// MarshalJSON implements [json.Marshaler].
func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, one := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, encode(one.name)...), ':'), encode(one.value)...)
	}
	return append(b, '}'), nil
}

// An outbound is a push on its way, with all of the account that it needs: the lock
// is not held meanwhile.
type outbound struct {
	Account
	openID  string
	json    json.RawMessage
	body    []byte
	encrypt string // "" in plain mode
	crypt   *callback.Crypt
	topic   string // MsgType, or Event
}

// compose makes the push of content and its line in the chat. The caller holds mu.
func (p *platform) compose(a *account, f *follower, now time.Time, content fields) (*Line, *outbound) {
	whole := append(fields{{"ToUserName", a.ID}, {"FromUserName", f.openID}, {"CreateTime", now.Unix()}}, content...)
	out := &outbound{Account: a.Account, openID: f.openID, json: encode(whole), crypt: a.crypt, topic: content[0].value.(string)}
	if out.topic == "event" {
		out.topic = content[1].value.(string)
	}
	form := func(f fields) []byte {
		if a.Format == "json" {
			return encode(f)
		}
		return f.xml()
	}
	out.body = form(whole)
	if a.Mode != callback.Plain {
		encrypt, err := a.crypt.Encrypt(out.body)
		if err != nil { // only a push above every limit
			encrypt = ""
		}
		out.encrypt = encrypt
		sealed := fields{{"ToUserName", a.ID}, {"Encrypt", encrypt}}
		if a.Mode == callback.Compat {
			sealed = append(whole, field{"Encrypt", encrypt})
		}
		out.body = form(sealed)
	}
	state := ""
	if a.Callback != "" || a.CallbackHandler != nil {
		state = "pushing"
	}
	return p.say(a, f, Line{At: now, Dir: In, Kind: out.topic, Message: out.json, State: state}), out
}

// push sends an event that no action of a follower caused, such as the end of a
// publication. It does not hold mu, and waits for the answer.
func (p *platform) push(a *account, openid string, content fields) []Delivery {
	p.mu.Lock()
	f := a.followers[openid]
	if f == nil {
		f = &follower{openID: openid}
	}
	line, out := p.compose(a, f, p.now(), content)
	p.mu.Unlock()
	return p.deliver(a, f, line, out)
}

// A Delivery is one try to push a callback.
type Delivery struct {
	At     time.Time       // by the simulator's clock
	Status int             // HTTP status; 0: no answer
	Took   time.Duration   // real time
	Reply  json.RawMessage // the passive answer, decrypted, as the JSON of a message; nil if there is none
}

// MarshalJSON implements [json.Marshaler].
func (d Delivery) MarshalJSON() ([]byte, error) {
	return encode(struct {
		At     stamp           `json:"at"`
		Status int             `json:"status"`
		Took   float64         `json:"took_ms"`
		Reply  json.RawMessage `json:"reply,omitempty"`
	}{stamp(d.At), d.Status, float64(d.Took.Microseconds()) / 1000, d.Reply}), nil
}

// outOfService is what the follower reads when the account did not answer, or
// answered wrongly.
const outOfService = "该公众号提供的服务出现故障，请稍后再试"

// deliver pushes until an answer comes, and shows the follower what it was.
func (p *platform) deliver(a *account, f *follower, line *Line, out *outbound) (made []Delivery) {
	if out.Callback == "" && out.CallbackHandler == nil {
		return nil
	}
	var body []byte
	answered := false
	for range out.Deliveries {
		if p.ctx.Err() != nil {
			break
		}
		began := time.Now()
		p.mu.Lock()
		d := Delivery{At: p.now()}
		p.mu.Unlock()
		d.Status, body = p.post(out)
		d.Took = time.Since(began)
		made = append(made, d)
		if answered = d.Status >= 200 && d.Status < 300; answered {
			break
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	line.State = "unanswered"
	if answered {
		line.State = "answered"
	}
	reply, err := passive{}, errNoAnswer
	if answered {
		reply, err = out.readReply(body)
	}
	if err == nil {
		err = a.library.checkReply(p.now(), reply)
	}
	switch {
	case err != nil:
		notice := encode(map[string]string{"text": outOfService, "because": err.Error()})
		p.say(a, f, Line{Dir: System, Kind: "out_of_service", Message: notice})
	case reply.MsgType == "transfer_customer_service":
		p.say(a, f, Line{Dir: System, Kind: reply.MsgType, Message: encode(map[string]string{"kf_account": reply.KfAccount})})
		made[len(made)-1].Reply = reply.json(f.openID)
	case reply.MsgType != "":
		made[len(made)-1].Reply = reply.json(f.openID)
		f.lastMessage = p.now()
		p.say(a, f, Line{Dir: Passive, Kind: reply.MsgType, Message: reply.json(f.openID)})
	default:
		p.tell(event{Type: "chat", Account: a.AppID, OpenID: f.openID})
	}
	return made
}

var errNoAnswer = errors.New("no answer to the callback")

// post pushes once. The status is 0 if no answer came in time.
func (p *platform) post(out *outbound) (status int, body []byte) {
	ctx, cancel := context.WithTimeout(p.ctx, time.Duration(out.CallbackTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, out.target(), bytes.NewReader(out.body))
	if err != nil {
		return 0, nil
	}
	req.URL.RawQuery = out.sign(req.URL.Query(), p.pushTime()).Encode()
	req.Header.Set("Content-Type", "text/xml")
	if out.Format == "json" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "Mozilla/4.0")
	return p.exchange(req, out.CallbackHandler)
}

// target is the URL of the callback; a handler in process needs none.
func (out *outbound) target() string { return cmp.Or(out.Callback, "http://callback.invalid/") }

// pushTime is what the timestamp of a push says.
func (p *platform) pushTime() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sharedClock {
		return p.now()
	}
	return time.Now()
}

// largestReply is the most bytes of an answer to a callback.
const largestReply = 256 << 10

// exchange sends a request to the handler, or to its URL, and reads the answer.
func (p *platform) exchange(req *http.Request, handler http.Handler) (status int, body []byte) {
	if handler == nil {
		res, err := p.posts.Do(req)
		if err != nil {
			return 0, nil
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, largestReply+1))
		if err != nil {
			return 0, nil
		}
		return res.StatusCode, body
	}
	req.RemoteAddr, req.Host, req.RequestURI = "127.0.0.1:1", req.URL.Host, req.URL.RequestURI()
	if req.Body == nil {
		req.Body = http.NoBody
	}
	rec := newRecorder()
	rec.most = largestReply + 1
	done := make(chan bool, 1)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0, nil
	}
	p.running.Go(func() {
		whole := false
		defer func() {
			if cut := recover(); cut != nil && cut != http.ErrAbortHandler {
				panic(cut)
			}
			done <- whole
		}()
		handler.ServeHTTP(rec, req)
		whole = true
	})
	p.mu.Unlock()
	select {
	case whole := <-done:
		if !whole {
			return 0, nil
		}
		rec.WriteHeader(http.StatusOK)
		return rec.status, rec.body.Bytes()
	case <-req.Context().Done():
		return 0, nil
	}
}

// newPoster makes the client that posts callbacks: no proxy, no redirect followed.
func newPoster() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// sign adds WeChat's parameters to the query of the callback.
func (out *outbound) sign(q url.Values, now time.Time) url.Values {
	timestamp, nonce := strconv.FormatInt(now.Unix(), 10), newNonce()
	q.Set("signature", callback.Signature(out.Token, timestamp, nonce))
	q.Set("timestamp", timestamp)
	q.Set("nonce", nonce)
	q.Set("openid", out.openID)
	if out.encrypt != "" {
		q.Set("encrypt_type", "aes")
		q.Set("msg_signature", callback.Signature(out.Token, timestamp, nonce, out.encrypt))
	}
	return q
}

func newNonce() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(1_000_000_000))
	return strconv.FormatInt(n.Int64()+1_000_000_000, 10)
}

// A passive is the account's answer to a callback, shown to the follower.
type passive struct {
	ToUserName   string
	FromUserName string
	MsgType      string
	Content      string
	Image        struct{ MediaId string }
	Voice        struct{ MediaId string }
	Video        struct{ MediaId, Title, Description string }
	Music        struct{ Title, Description, MusicUrl, HQMusicUrl, ThumbMediaId string }
	Articles     []passiveArticle           `xml:"Articles>item"`
	KfAccount    string                     `xml:"TransInfo>KfAccount" json:"-"`
	TransInfo    struct{ KfAccount string } `xml:"-"`

	Encrypt      string
	MsgSignature string
	TimeStamp    json.Number
	Nonce        string
}

type passiveArticle struct{ Title, Description, PicUrl, Url string }

// readReply reads an answer to a push. An empty one and "success" say nothing. The
// error is why WeChat tells the follower that the account is out of service.
func (out *outbound) readReply(body []byte) (r passive, err error) {
	switch s := strings.TrimSpace(string(body)); {
	case len(body) > largestReply:
		return r, errors.New("the answer has more than 256 KiB")
	case s == "" || s == "success":
		return r, nil
	}
	if r, err = out.parseReply(body); err != nil {
		return r, err
	}
	switch {
	case r.Encrypt != "" && out.crypt == nil:
		return r, errors.New("the answer is encrypted, and the account has no EncodingAESKey")
	case r.Encrypt != "":
		if callback.Signature(out.Token, r.TimeStamp.String(), r.Nonce, r.Encrypt) != r.MsgSignature {
			return r, errors.New("the MsgSignature of the answer is wrong")
		}
		plain, err := out.crypt.Decrypt(r.Encrypt)
		if err != nil {
			return r, err
		}
		if s := strings.TrimSpace(string(plain)); s == "" || s == "success" { // needs no encryption, and may have it
			return passive{}, nil
		}
		if r, err = out.parseReply(plain); err != nil {
			return r, err
		}
	case out.Mode == callback.Secure:
		return r, errors.New("the answer is not encrypted, and the account is in secure mode")
	}
	return r, r.check(out)
}

func (out *outbound) parseReply(body []byte) (r passive, err error) {
	if out.Format == "json" {
		if err := json.Unmarshal(body, &r); err != nil {
			return r, errors.New("the answer is not JSON, the account's data format")
		}
		r.KfAccount = r.TransInfo.KfAccount
		return r, nil
	}
	if err := xml.Unmarshal(body, &r); err != nil {
		return r, errors.New("the answer is neither empty, nor success, nor XML")
	}
	return r, nil
}

// mostPassiveArticles: one in the answer to a message, eight to an event; the rest
// is not shown. Source: the page of passive replies.
const mostPassiveArticles = 8

func (r *passive) check(out *outbound) error {
	if r.ToUserName != out.openID || r.FromUserName != out.ID {
		return errors.New("ToUserName and FromUserName of the answer are not those of the push, swapped")
	}
	need := map[string]string{
		"text": r.Content, "image": r.Image.MediaId, "voice": r.Voice.MediaId, "video": r.Video.MediaId,
		"music": r.Music.ThumbMediaId, "transfer_customer_service": "nothing", "news": "",
	}
	if len(r.Articles) > 0 {
		need["news"] = r.Articles[0].Title
	}
	if need[r.MsgType] == "" {
		return errors.New("the answer has no MsgType that WeChat knows, or nothing in it")
	}
	most := mostPassiveArticles
	if out.topic == strings.ToLower(out.topic) && !isEvent(out.json) {
		most = 1
	}
	r.Articles = r.Articles[:min(len(r.Articles), most)]
	return nil
}

func isEvent(push json.RawMessage) bool { return text(partsOf(push)["MsgType"]) == "event" }

// checkReply looks up the media that an answer names.
func (l *library) checkReply(now time.Time, r passive) error {
	id, kind := "", kefu.MediaImage
	switch r.MsgType {
	case "image":
		id = r.Image.MediaId
	case "voice":
		id, kind = r.Voice.MediaId, kefu.MediaVoice
	case "video":
		id, kind = r.Video.MediaId, kefu.MediaVideo
	case "music":
		id, kind = r.Music.ThumbMediaId, kefu.MediaThumb
	default:
		return nil
	}
	if code := l.checkMedia(now, id, kind); code != 0 {
		return errors.New("the answer's media id: " + errmsg(code))
	}
	return nil
}

// json is the answer as the customer-service message that would look the same.
func (r *passive) json(openid string) json.RawMessage {
	type object = map[string]any
	var body any
	switch r.MsgType {
	case "text":
		body = object{"content": r.Content}
	case "image":
		body = object{"media_id": r.Image.MediaId}
	case "voice":
		body = object{"media_id": r.Voice.MediaId}
	case "video":
		body = object{"media_id": r.Video.MediaId, "title": r.Video.Title, "description": r.Video.Description}
	case "music":
		m := r.Music
		body = object{
			"title": m.Title, "description": m.Description, "musicurl": m.MusicUrl, "hqmusicurl": m.HQMusicUrl,
			"thumb_media_id": m.ThumbMediaId,
		}
	case "news":
		var articles []object
		for _, a := range r.Articles {
			articles = append(articles, object{"title": a.Title, "description": a.Description, "url": a.Url, "picurl": a.PicUrl})
		}
		body = object{"articles": articles}
	default:
		body = object{"kf_account": r.KfAccount}
	}
	return encode(object{"touser": openid, "msgtype": r.MsgType, r.MsgType: body})
}

// A Verification is what came of the callback's URL check.
type Verification struct {
	OK     bool   `json:"ok"`
	Status int    `json:"status"` // HTTP status; 0: no answer
	Answer string `json:"answer"` // its first 200 bytes
	Reason string `json:"reason,omitempty"`
}

// Verify makes the URL check that WeChat makes when a callback is entered in its
// console: a signed GET, to which the answer must be its echostr and nothing else.
func (w *WeChat) Verify() Verification { return w.verify(w.account) }

func (p *platform) verify(a *account) Verification {
	p.mu.Lock()
	out := &outbound{Account: a.Account}
	p.mu.Unlock()
	if out.Callback == "" && out.CallbackHandler == nil {
		return Verification{Reason: "the account has no callback"}
	}
	ctx, cancel := context.WithTimeout(p.ctx, time.Duration(out.CallbackTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, out.target(), nil)
	if err != nil {
		return Verification{Reason: "the callback is not a URL"}
	}
	echo := newNonce() + newNonce()
	q := out.sign(req.URL.Query(), p.pushTime())
	q.Del("openid")
	q.Set("echostr", echo)
	req.URL.RawQuery = q.Encode()
	status, body := p.exchange(req, out.CallbackHandler)
	v := Verification{Status: status, Answer: string(body[:min(len(body), 200)])}
	switch {
	case status == 0:
		v.Reason = "no answer"
	case status != http.StatusOK:
		v.Reason = "the answer's status is not 200"
	case string(body) != echo:
		v.Reason = "the answer is not the echostr"
	default:
		v.OK = true
	}
	return v
}
