package kefutest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A followerLine is a follower in a list.
type followerLine struct {
	OpenID    string    `json:"openid"`
	Following bool      `json:"following"`
	BlockedBy string    `json:"blocked_by"`
	Refuses   bool      `json:"refuses"`
	Minor     bool      `json:"minor"`
	Typing    bool      `json:"typing"` // the account is
	Window    Window    `json:"window"`
	Last      *chatLine `json:"last"` // of the chat; null before the first
}

func (c *control) followerLine(f *follower, now time.Time) followerLine {
	line := followerLine{f.openID, f.Following, f.BlockedBy, f.Refuses, f.Minor, now.Before(f.typingUntil), f.window(now), nil}
	if len(f.chat) > 0 {
		last := c.chatLine(f.chat[len(f.chat)-1])
		line.Last = &last
	}
	return line
}

func (c *control) getFollower() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.account.followers[c.r.PathValue("openid")]
	if f == nil {
		return nil, &controlError{http.StatusNotFound, "this follower was never seen; their first action makes them"}
	}
	return c.followerLine(f, c.now()), nil
}

func (c *control) getFollowers() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	list := []followerLine{}
	for _, f := range c.account.followers {
		list = append(list, c.followerLine(f, now))
	}
	slices.SortFunc(list, func(a, b followerLine) int { // the latest first
		last := func(l followerLine) int64 {
			if l.Last == nil {
				return 0
			}
			return l.Last.ID
		}
		return cmp.Or(cmp.Compare(last(b), last(a)), cmp.Compare(a.OpenID, b.OpenID))
	})
	return items(list), nil
}

// A receivedLine is a message as /_sim/messages shows it.
type receivedLine struct {
	ID        int64           `json:"id,string"`
	Raw       string          `json:"raw"` // the request body, exactly as it came
	Message   json.RawMessage `json:"message"`
	At        stamp           `json:"at"`
	OpenID    string          `json:"openid"`
	KFAccount string          `json:"kf_account"`
}

func received(lines []Line) []receivedLine {
	out := []receivedLine{}
	for _, l := range lines {
		out = append(out, receivedLine{l.ID, l.Raw, l.Message, stamp(l.At), l.OpenID, l.KFAccount})
	}
	return out
}

// to is the followers that the query names; none for all.
func (c *control) to() []string { return c.r.URL.Query()["to"] }

func (c *control) getMessages() (any, error) {
	c.mu.Lock()
	lines := c.account.sent(c.to())
	c.mu.Unlock()
	return items(received(lines)), nil
}

const longestWait = 10 * time.Minute

func (c *control) waitMessages() (any, error) {
	q := c.r.URL.Query()
	n, timeout := 1, 10*time.Second
	if s := q.Get("count"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 0 {
			return nil, badRequest(fmt.Errorf("count %q: a number of messages", s))
		}
	}
	if s := q.Get("timeout"); s != "" {
		var err error
		if timeout, err = time.ParseDuration(s); err != nil || timeout < 0 || timeout > longestWait {
			return nil, badRequest(fmt.Errorf("timeout %q: a duration such as 10s, up to %v", s, longestWait))
		}
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), timeout)
	defer cancel()
	lines, err := c.waitSent(ctx, c.account, n, c.to())
	return struct {
		Items    []receivedLine `json:"items"`
		Complete bool           `json:"complete"`
	}{received(lines), err == nil}, nil
}

// A chatLine is a line of a chat as the phone page shows it.
type chatLine struct {
	ID      int64           `json:"id,string"`
	Dir     Direction       `json:"dir"`
	At      stamp           `json:"at"`
	Kind    string          `json:"kind"`
	Message json.RawMessage `json:"message"`
	KF      *kfFace         `json:"kf"` // who signed it; null if nobody
	State   string          `json:"state"`
	Preview *preview        `json:"preview,omitempty"`
}

type kfFace struct {
	Account  string `json:"account"`
	Nickname string `json:"nickname"`
	Avatar   string `json:"avatar"` // path of a picture, or ""
}

// A preview is what a phone draws of an article or a card that a message names.
type preview struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Picture     string `json:"picture"` // path
	URL         string `json:"url"`     // path
}

func (c *control) chatLine(l *Line) chatLine {
	out := chatLine{ID: l.ID, Dir: l.Dir, At: stamp(l.At), Kind: l.Kind, Message: l.Message, State: l.State}
	if l.KFAccount != "" {
		out.KF = &kfFace{l.KFAccount, l.Nickname, l.Avatar}
	}
	body := partsOf(partsOf(l.Message)[l.Kind])
	switch l.Kind {
	case "mpnews", "mpnewsarticle":
		if title, digest, cover, url, found := c.account.library.articleCard(cmp.Or(body.text("media_id"), body.text("article_id"))); found {
			out.Preview = &preview{title, digest, cover, url}
		}
	case "wxcard":
		if found, code := c.account.cards.find(body.text("card_id")); code == 0 {
			out.Preview = &preview{Title: found.Title}
		}
	}
	return out
}

func (c *control) getChat() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.account.chat
	if to := c.r.URL.Query().Get("to"); to != "" {
		lines = nil
		if f := c.account.followers[to]; f != nil {
			lines = f.chat
		}
	}
	list := []chatLine{}
	for _, l := range lines {
		list = append(list, c.chatLine(l))
	}
	return items(list), nil
}
