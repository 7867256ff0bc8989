package desk

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// Presence lives in memory alone: what one does with a conversation, said again
// every 20 s, gone 45 s after the last time. Each tab says it for itself; the others are
// told the most of what an agent does in any.

type place struct{ account, openid, agent string }

type presence struct {
	state string
	until time.Time
}

// mostTabs is of one agent at one conversation; of more, those that said something last
// count.
const mostTabs = 16

// strength orders states; one that is not here is gone.
var strength = map[string]int{"viewing": 1, "replying": 2}

// Present notes what an agent does with a conversation in one of their tabs, and tells
// the others what they do in all.
func (d *Desk) Present(account, openid, agent, tab, state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.present == nil {
		d.present = map[place]map[string]presence{}
	}
	d.expire()
	at := place{account, openid, agent}
	tabs := d.present[at]
	if tabs == nil {
		tabs = map[string]presence{}
	}
	delete(tabs, tab)
	if strength[state] > 0 {
		if len(tabs) >= mostTabs {
			delete(tabs, oldest(tabs))
		}
		tabs[tab] = presence{state, time.Now().Add(presenceFor)}
	}
	if d.present[at] = tabs; len(tabs) == 0 {
		delete(d.present, at)
	}
	d.news = append(d.news, at.entry(tabs))
	if drop := len(d.news) - mostNews; drop > 0 {
		d.news = append([]gateway.FeedEntry(nil), d.news[drop:]...)
		d.dropped += drop
	}
	if d.changed != nil {
		close(d.changed)
	}
	d.changed = make(chan struct{})
}

// expire forgets tabs that have said nothing for long.
func (d *Desk) expire() {
	now := time.Now()
	for at, tabs := range d.present {
		for tab, p := range tabs {
			if !now.Before(p.until) {
				delete(tabs, tab)
			}
		}
		if len(tabs) == 0 {
			delete(d.present, at)
		}
	}
}

func oldest(tabs map[string]presence) string {
	return slices.MinFunc(slices.Collect(maps.Keys(tabs)), func(a, b string) int { return tabs[a].until.Compare(tabs[b].until) })
}

// entry is what the others are told of an agent's tabs.
func (at place) entry(tabs map[string]presence) gateway.FeedEntry {
	state := "gone"
	for _, p := range tabs {
		if strength[p.state] > strength[state] {
			state = p.state
		}
	}
	data, err := json.Marshal(struct {
		Account string `json:"account"`
		OpenID  string `json:"openid"`
		Agent   string `json:"agent"`
		State   string `json:"state"`
	}{at.account, at.openid, at.agent, state})
	if err != nil {
		panic(err) // plain texts
	}
	return gateway.FeedEntry{Account: at.account, OpenID: at.openid, Type: "presence", Data: data}
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
		return d.here(), next, d.changed
	}
	if at := max(n-d.dropped, 0); at < len(d.news) {
		news = append(news, d.news[at:]...)
	}
	return news, next, d.changed
}

func (d *Desk) here() []gateway.FeedEntry {
	d.expire()
	var all []gateway.FeedEntry
	for at, tabs := range d.present {
		all = append(all, at.entry(tabs))
	}
	slices.SortFunc(all, func(a, b gateway.FeedEntry) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.OpenID, b.OpenID), cmp.Compare(string(a.Data), string(b.Data)))
	})
	return all
}
