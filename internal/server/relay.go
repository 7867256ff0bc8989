package server

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
)

// The relay hands WeChat's pushes on to the callback that a business has already, once
// they are kept: the very request, so that it is signed and encrypted with the account's
// own token and key. What comes back goes to WeChat as the passive answer.
const (
	relayWait    = 4 * time.Second        // for an answer that can still go to WeChat
	relayMargin  = 300 * time.Millisecond // of WeChat's 5 s, to give the answer back
	relayTries   = 3                      // as WeChat has
	relayTimeout = 5 * time.Second        // of a try that nobody waits for
	relayPause   = time.Second            // between two of those
	maxPush      = 256 << 10
	maxPassive   = 64 << 10 // of an answer
	mostRelayed  = 512      // tries under way
)

// A relayed push is one whose request is handed on.
type relayed struct {
	account gateway.Account
	event   callback.Event // nil: it was not kept
	answers bool           // what the business says goes back
	query   string
	kind    string // its media type
	body    []byte
}

type relayedKey struct{}

// relay takes a push as the account's handler does, and hands it on. The push is kept
// before anything leaves, whatever becomes of that.
func (s *Server) relay(c *call, a gateway.Account) {
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxPush+1))
	if err != nil {
		http.Error(c.w, "the body is larger than a callback may be, or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	p := &relayed{account: a, query: c.URL.RawQuery, kind: c.Header.Get("Content-Type"), body: body}
	r := c.Request.WithContext(context.WithValue(c.Context(), relayedKey{}, p))
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept := held{header: http.Header{}, status: http.StatusOK}
	s.receiver(a).ServeHTTP(&kept, r)
	answer := kept.body.Bytes()
	kind := kept.header.Get("Content-Type")
	if kept.status == http.StatusOK && p.event != nil {
		// What the gateway itself answers, a hand-over to WeChat's desk, stands.
		p.answers = string(answer) == "success" && (a.Passive == nil || *a.Passive)
		if passive, passiveKind := s.handOn(c.Context(), p, began); passive != nil {
			answer, kind = passive, passiveKind
		}
	}
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(kept.status)
	c.w.Write(answer)
}

// A held answer waits until it is known what goes out.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header         { return h.header }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }

// handOn begins to hand a push on and returns the answer to pass back, or nil. It waits
// no longer than WeChat does; the tries go on without it.
func (s *Server) handOn(ctx context.Context, p *relayed, began time.Time) (answer []byte, kind string) {
	if s.relaying.Add(1) > mostRelayed {
		s.relaying.Add(-1)
		s.Log.WarnContext(ctx, "a callback was kept and not handed on: too many are under way", "account", p.account.AppID)
		return nil, ""
	}
	type outcome struct {
		answer []byte
		kind   string
	}
	wait := min(relayWait, callbackTime-relayMargin-time.Since(began))
	first := make(chan outcome, 1)
	go func() { // ends with the server at the latest
		defer s.relaying.Add(-1)
		for n := range relayTries {
			if n > 0 {
				select {
				case <-time.After(relayPause):
				case <-s.closing.Done():
					return
				}
			}
			answer, kind, err := s.try(p)
			if n == 0 {
				first <- outcome{answer, kind}
			}
			if err == nil {
				return
			}
			s.Log.Warn("a callback could not be handed on", "account", p.account.AppID, "try", n+1, "err", egress.WithoutURL(err))
		}
	}()
	select {
	case o := <-first:
		if !p.answers || o.answer == nil {
			return nil, ""
		}
		message, err := passive(p, o.answer)
		if err != nil || message == nil {
			if err != nil {
				s.Log.WarnContext(ctx, "the answer of the callback that pushes are handed on to is not one for WeChat", "account", p.account.AppID, "err", err)
			}
			return nil, ""
		}
		if err := s.Engine.Answered(ctx, p.account.AppID, p.event, message); err != nil {
			s.Log.ErrorContext(ctx, "a passive answer is not on record", "account", p.account.AppID, "err", err)
		}
		return o.answer, o.kind
	case <-time.After(wait):
	case <-ctx.Done():
	}
	return nil, ""
}

// try posts a push once. An error means that it was perhaps not received.
func (s *Server) try(p *relayed) (answer []byte, kind string, err error) {
	ctx, cancel := context.WithTimeout(s.closing, relayTimeout)
	defer cancel()
	u, err := url.Parse(p.account.CallbackForward)
	if err != nil {
		return nil, "", errors.New("callback_forward is not an address")
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += p.query
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(p.body))
	if err != nil {
		return nil, "", egress.WithoutURL(err)
	}
	req.Header.Set("Content-Type", p.kind)
	req.Header.Set("User-Agent", "Mozilla/4.0") // as WeChat's
	res, err := s.Forward.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxPassive+1))
	switch {
	case err != nil:
		return nil, "", err
	case res.StatusCode/100 != 2:
		return nil, "", fmt.Errorf("HTTP %d", res.StatusCode)
	case len(answer) > maxPassive:
		return nil, "", nil
	}
	return answer, res.Header.Get("Content-Type"), nil
}

// passive reads an answer: what it says, or nil for one that says nothing. An error says
// why WeChat must not get it: it would show the follower that the account is out of
// order.
func passive(p *relayed, answer []byte) (json.RawMessage, error) {
	text := bytes.TrimSpace(answer)
	if len(text) == 0 || string(text) == "success" {
		return nil, nil
	}
	said, err := parsePassive(text)
	if err != nil {
		return nil, err
	}
	if p.account.Mode != callback.Plain {
		if said.Encrypt == "" {
			return nil, errors.New("it is not encrypted")
		}
		crypt, err := callback.NewCrypt(p.account.AppID, p.account.Token, p.account.AESKey)
		if err != nil {
			return nil, err
		}
		plain, err := crypt.Decrypt(said.Encrypt)
		if err != nil {
			return nil, errors.New("it is not encrypted with the account's key")
		}
		if plain = bytes.TrimSpace(plain); len(plain) == 0 || string(plain) == "success" {
			return nil, nil
		}
		if said, err = parsePassive(plain); err != nil {
			return nil, err
		}
	}
	switch {
	case said.MsgType == "":
		return nil, errors.New("it has no MsgType")
	case said.ToUserName != p.event.Head().FromUserName:
		return nil, errors.New("it is for another follower")
	}
	return json.Marshal(struct {
		MsgType string `json:"msgtype"`
		Content string `json:"content,omitempty"`
		MediaID string `json:"media_id,omitempty"`
		Title   string `json:"title,omitempty"`
		URL     string `json:"url,omitempty"`
	}{said.MsgType, said.Content, strings.Join([]string{said.Image.MediaID, said.Voice.MediaID, said.Video.MediaID}, ""), said.first().Title, said.first().URL})
}

// A passiveAnswer is what the gateway looks at in one.
type passiveAnswer struct {
	Encrypt    string
	ToUserName string
	MsgType    string
	Content    string
	Image      struct {
		MediaID string `xml:"MediaId" json:"MediaId"`
	}
	Voice struct {
		MediaID string `xml:"MediaId" json:"MediaId"`
	}
	Video struct {
		MediaID string `xml:"MediaId" json:"MediaId"`
		Title   string
	}
	Articles struct {
		Item []passiveArticle `xml:"item" json:"-"`
	} `json:"-"`
}

type passiveArticle struct {
	Title string
	URL   string `xml:"Url"`
}

func (a *passiveAnswer) first() passiveArticle {
	if len(a.Articles.Item) > 0 {
		return a.Articles.Item[0]
	}
	return passiveArticle{Title: a.Video.Title}
}

func parsePassive(text []byte) (a passiveAnswer, err error) {
	if text[0] == '{' {
		if err = json.Unmarshal(text, &a); err != nil {
			err = errors.New("it is neither XML nor JSON")
		}
		return a, err
	}
	if err = xml.Unmarshal(text, &a); err != nil {
		err = errors.New("it is neither XML nor JSON")
	}
	return a, err
}
