package desk

import (
	"encoding/json"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// Presence lives in memory alone: what one does with a conversation, said again
// every 20 s, gone 45 s after the last time.

type place struct{ account, openid, agent string }

type presence struct {
	state string
	until time.Time
}

// Present notes what an agent does with a conversation and tells the others; the
// same again is no news to them.
func (d *Desk) Present(account, openid, agent, state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.present == nil {
		d.present = map[place]presence{}
	}
	for k, p := range d.present {
		if now.After(p.until) {
			delete(d.present, k)
		}
	}
	at := place{account, openid, agent}
	if state == "gone" {
		delete(d.present, at)
	} else {
		d.present[at] = presence{state, now.Add(presenceFor)}
	}
	data, err := json.Marshal(struct {
		Account string `json:"account"`
		OpenID  string `json:"openid"`
		Agent   string `json:"agent"`
		State   string `json:"state"`
	}{account, openid, agent, state})
	if err != nil {
		panic(err) // plain texts
	}
	d.news = append(d.news, gateway.FeedEntry{Account: account, OpenID: openid, Type: "presence", Data: data})
	if drop := len(d.news) - mostNews; drop > 0 {
		d.news = append([]gateway.FeedEntry(nil), d.news[drop:]...)
		d.dropped += drop
	}
	if d.changed != nil {
		close(d.changed)
	}
	d.changed = make(chan struct{})
}

// Presences returns what was told after the first n, how many there are then, and a
// channel that is closed when there are more. A reader begins with n = -1, which
// gets those who are there now.
func (d *Desk) Presences(n int) (news []gateway.FeedEntry, next int, more <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	next = d.dropped + len(d.news)
	if n < 0 {
		n = d.dropped // the latest are few, and what is old there is taken back later there
	}
	if at := max(n-d.dropped, 0); at < len(d.news) {
		news = append(news, d.news[at:]...)
	}
	return news, next, d.changed
}
