package kefutest

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// A Line is one line of a follower's chat with the account, as the phone shows it.
type Line struct {
	ID      int64           `json:"id,string"`
	At      time.Time       `json:"at"` // by the simulator's clock
	OpenID  string          `json:"openid"`
	Dir     Direction       `json:"dir"`
	Kind    string          `json:"kind"`    // msgtype; of In also an event's name; of System what it is about
	Message json.RawMessage `json:"message"` // WeChat's own JSON: of In the push, of Out what was posted, of Passive as if it had been
	State   string          `json:"state"`   // of In: "pushing", then "answered", "unanswered" or "" without a callback; of Out "delivered"

	// KFAccount signed it; Nickname and the path of Avatar are what the phone shows.
	KFAccount string `json:"kf_account,omitempty"`
	Nickname  string `json:"nickname,omitempty"`
	Avatar    string `json:"avatar,omitempty"`

	// Raw is the request body of Out, exactly as it came.
	Raw string `json:"raw,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (l Line) MarshalJSON() ([]byte, error) {
	type plain Line // without this method
	return encode(struct {
		plain
		At stamp `json:"at"`
	}{plain(l), stamp(l.At)}), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. The id may be a number, too.
func (l *Line) UnmarshalJSON(b []byte) error {
	type plain Line // without this method
	in := struct {
		*plain
		ID serial `json:"id"`
	}{plain: (*plain)(l)}
	err := json.Unmarshal(b, &in)
	l.ID = int64(in.ID)
	return err
}

// A serial is a number that is a string in JSON, since JavaScript's numbers lose
// digits above 53 bits. It reads both.
type serial int64

// MarshalJSON implements [json.Marshaler].
func (n serial) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(n), 10)), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *serial) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	*n = serial(v)
	return err
}

// A Direction says who speaks to whom in a [Line].
type Direction string

const (
	In      Direction = "in"      // the follower
	Out     Direction = "out"     // the account, by a customer-service message
	Passive Direction = "passive" // the account, in its answer to a callback
	System  Direction = "system"  // WeChat, on the follower's phone
)

const (
	mostLines     = 100_000
	mostLineBytes = 256 << 20
)

// say adds a line to the follower's chat. The oldest of all go when there are too
// many. The caller holds mu.
func (p *platform) say(a *account, f *follower, l Line) *Line {
	l.ID, l.OpenID = p.nextID(), f.openID
	if l.At.IsZero() {
		l.At = p.now()
	}
	p.keep(a, f, &l)
	close(p.changed)
	p.changed = make(chan struct{})
	p.tell(event{Type: "chat", Account: a.AppID, OpenID: f.openID})
	return &l
}

func (p *platform) keep(a *account, f *follower, l *Line) {
	a.chat, f.chat = append(a.chat, l), append(f.chat, l)
	a.chatBytes += l.size()
	for len(a.chat) > mostLines || a.chatBytes > mostLineBytes && len(a.chat) > 1 {
		oldest := a.chat[0]
		a.chatBytes -= oldest.size()
		a.chat[0] = nil
		a.chat = a.chat[1:]
		if f := a.followers[oldest.OpenID]; f != nil && len(f.chat) > 0 && f.chat[0] == oldest {
			f.chat = f.chat[1:]
		}
	}
}

func (l *Line) size() int { return len(l.Message) + len(l.Raw) + 256 }

// A Sent is a customer-service message that reached a follower.
type Sent struct {
	At        time.Time // by the simulator's clock
	OpenID    string
	KFAccount string // who signed it, if anybody
	Message   kefu.Message
	Raw       string // the request body, exactly as it came
}

// Sent returns the customer-service messages that followers received from the
// account, oldest first: of the named followers, or of all.
func (w *WeChat) Sent(openids ...string) []Sent {
	w.mu.Lock()
	lines := w.account.sent(openids)
	w.mu.Unlock()
	return parseSent(lines)
}

// WaitSent waits until there are n messages for [WeChat.Sent] to return, and returns
// all that there are; with an error if ctx or the WeChat ends before.
func (w *WeChat) WaitSent(ctx context.Context, n int, openids ...string) ([]Sent, error) {
	lines, err := w.waitSent(ctx, w.account, n, openids)
	return parseSent(lines), err
}

func parseSent(lines []Line) []Sent {
	var out []Sent
	for _, l := range lines {
		s := Sent{At: l.At, OpenID: l.OpenID, KFAccount: l.KFAccount, Raw: l.Raw}
		_ = json.Unmarshal([]byte(l.Raw), &s.Message) // it was accepted as JSON
		out = append(out, s)
	}
	return out
}

// sent returns copies of the lines that are Out. The platform is locked.
func (a *account) sent(openids []string) (out []Line) {
	lines := a.chat
	if len(openids) == 1 {
		lines = nil
		if f := a.followers[openids[0]]; f != nil {
			lines = f.chat
		}
	}
	for _, l := range lines {
		if l.Dir == Out && (len(openids) < 2 || slices.Contains(openids, l.OpenID)) {
			out = append(out, *l)
		}
	}
	return out
}

func (p *platform) waitSent(ctx context.Context, a *account, n int, openids []string) ([]Line, error) {
	for {
		p.mu.Lock()
		lines, changed := a.sent(openids), p.changed
		p.mu.Unlock()
		if len(lines) >= n {
			return lines, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return lines, ctx.Err()
		case <-p.ctx.Done():
			return lines, p.ctx.Err()
		}
	}
}

// Chat returns the follower's chat, both directions, oldest first.
func (w *WeChat) Chat(openid string) []Line {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.account.followers[openid]
	if f == nil {
		return nil
	}
	return copyLines(f.chat)
}

func copyLines(lines []*Line) []Line {
	out := make([]Line, len(lines))
	for i, l := range lines {
		out[i] = *l
	}
	return out
}
