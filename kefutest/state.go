package kefutest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A state is the state document: all of one account but its identity, its callback
// and its tokens. A member that is left out leaves what it is about as it is, so State
// leaves none out; one that is null makes that empty, or what it is by default.
type state struct {
	Clock   *stamp `json:"clock"` // of all accounts
	Account        // its settings
	libraryState
	Cards      []card                   `json:"cards"`
	KFAccounts []kfAccount              `json:"kf_accounts"`
	Followers  map[string]followerState `json:"followers"` // by openid
	Messages   []*Line                  `json:"messages"`  // of all chats, oldest first
	Calls      map[string]*usage        `json:"calls"`     // of today, by path
	Resets     *usage                   `json:"resets"`    // of these, this month
	Faults     []armedFault             `json:"faults"`
}

// A followerState is a follower in a state document.
type followerState struct {
	Following   bool    `json:"following"`  // default true
	BlockedBy   string  `json:"blocked_by"` // "account": sends answer 43019; "follower": 43006
	Refuses     bool    `json:"refuses"`    // the account's messages: 48002
	Minor       bool    `json:"minor"`      // 70000
	Buckets     buckets `json:"buckets"`
	Because     string  `json:"because"` // why there are none
	LastMessage stamp   `json:"last_message_at,omitzero"`
	TypingUntil stamp   `json:"typing_until,omitzero"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *followerState) UnmarshalJSON(b []byte) error {
	type plain followerState // without this method
	p := plain{Following: true, Because: neverSeen}
	err := json.Unmarshal(b, &p)
	*f = followerState(p)
	return err
}

// State returns all of the account as a JSON document for [WeChat.SetState]: its
// settings (the JSON members of [Account]), media, articles, cards, kf_accounts,
// followers, messages, faults and the clock. It has no secrets and no tokens.
func (w *WeChat) State() json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state(w.account)
}

// SetState replaces what the document names and leaves the rest:
//
//	wechat.SetState(`{"media": {"MEDIA_ID": "image"}, "kf_accounts": [{"kf_account": "a@b", "nickname": "小微"}]}`)
//
// What it names as null is empty, or what it is by default. A document from [WeChat.State] names
// and so restores all. On an error nothing is changed.
func (w *WeChat) SetState(document string) error {
	_, err := w.setState(w.account, []byte(document))
	return err
}

// state makes the document. The caller holds mu.
func (p *platform) state(a *account) json.RawMessage {
	now := stamp(p.now())
	s := state{
		Clock: &now, Account: a.Account, libraryState: a.library.get(), Cards: a.cards.get(), KFAccounts: a.kf.get(),
		Followers: map[string]followerState{}, Messages: a.chat, Calls: a.used, Resets: &a.resets,
	}
	for id, f := range a.followers {
		s.Followers[id] = followerState{
			f.Following, f.BlockedBy, f.Refuses, f.Minor, f.buckets, f.because, stamp(f.lastMessage), stamp(f.typingUntil),
		}
	}
	for _, f := range p.faults {
		if f.account == a {
			s.Faults = append(s.Faults, *f)
		}
	}
	fillIn(reflect.ValueOf(&s).Elem(), reflect.ValueOf(newState()), nil)
	return encode(s)
}

// setState puts the members of a document in force, all or none, and returns the
// names of those that it does not know.
func (p *platform) setState(a *account, document []byte) (ignored []string, err error) {
	var named map[string]json.RawMessage
	if err := json.Unmarshal(document, &named); err != nil {
		return nil, fmt.Errorf("the state is not a JSON object: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := state{Account: a.Account}
	known := map[string]bool{}
	forgetNamed(reflect.ValueOf(&s).Elem(), named, known)
	if err := json.Unmarshal(document, &s); err != nil {
		return nil, fmt.Errorf("the state has a member of another shape: %w", err)
	}
	fillIn(reflect.ValueOf(&s).Elem(), reflect.ValueOf(newState()), named)
	for id, f := range s.Followers {
		switch {
		case !openIDForm.MatchString(id):
			return nil, fmt.Errorf("followers: %q can't be an openid: 1 to 64 letters, digits, _ and -", id)
		case f.BlockedBy != "" && f.BlockedBy != "account" && f.BlockedBy != "follower":
			return nil, fmt.Errorf("followers: %s: blocked_by %q: there are account and follower", id, f.BlockedBy)
		}
	}
	if len(s.Followers) > mostFollowers {
		return nil, fmt.Errorf("followers: at most %d", mostFollowers)
	}
	if slices.Contains(s.Messages, nil) {
		return nil, errors.New("messages: null is no message")
	}
	before, wasArmed := a.Account, slices.Clone(p.faults)
	if err := a.configure(s.Account); err != nil {
		return nil, err
	}
	if named["faults"] != nil {
		p.disarm(func(f *armedFault) bool { return f.account == a })
		for _, f := range s.Faults {
			armed, err := p.arm(a, f.Fault)
			if err != nil {
				p.faults = wasArmed
				return nil, errors.Join(fmt.Errorf("faults: %w", err), a.configure(before))
			}
			armed.resume(f.Calls, f.Hits)
		}
	}
	if err := a.library.put(s.libraryState); err != nil {
		p.faults = wasArmed
		return nil, errors.Join(err, a.configure(before))
	}
	if s.Cards != nil {
		a.cards.put(s.Cards)
	}
	if s.KFAccounts != nil {
		a.kf.put(s.KFAccounts)
	}
	if s.Calls != nil {
		maps.DeleteFunc(s.Calls, func(_ string, u *usage) bool { return u == nil })
		a.used = s.Calls
	}
	if s.Resets != nil {
		a.resets = *s.Resets
	}
	if s.Followers != nil {
		a.followers = map[string]*follower{}
		for id, f := range s.Followers {
			a.followers[id] = &follower{
				openID: id, Following: f.Following, BlockedBy: f.BlockedBy, Refuses: f.Refuses, Minor: f.Minor,
				buckets: f.Buckets, because: f.Because, lastMessage: time.Time(f.LastMessage), typingUntil: time.Time(f.TypingUntil),
			}
		}
	}
	if s.Messages != nil || s.Followers != nil {
		p.rewrite(a, s.Messages)
	}
	if s.Clock != nil {
		p.jump(time.Time(*s.Clock).Sub(p.now()))
	}
	p.tell(event{Type: "state", Account: a.AppID})
	for name := range named {
		if !known[name] {
			ignored = append(ignored, name)
		}
	}
	slices.Sort(ignored)
	return ignored, nil
}

// rewrite gives the followers their lines: the new ones, or for nil the old. Lines
// without a follower go. The caller holds mu.
func (p *platform) rewrite(a *account, lines []*Line) {
	if lines == nil {
		lines = a.chat
	}
	for _, f := range a.followers {
		f.chat = nil
	}
	a.chat, a.chatBytes = nil, 0
	for _, l := range lines {
		if f := a.followers[l.OpenID]; f != nil {
			p.lastID = max(p.lastID, l.ID)
			p.keep(a, f, l)
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// newState is what null stands for. The clock has nothing for it, and goes on.
func newState() state {
	return state{
		Account: Account{
			Rules: Allowances{}, Limits: map[string]int{}, Menu: []Button{}, MiniPrograms: []string{},
			Refusals: map[string]int{}, DailyLimits: map[string]int{}, AllowIPs: []string{},
		},
		libraryState: newLibrary().get(), Cards: []card{}, KFAccounts: []kfAccount{}, Followers: map[string]followerState{},
		Messages: []*Line{}, Calls: map[string]*usage{}, Resets: &usage{}, Faults: []armedFault{},
	}
}

// fillIn makes the fields that are null as they are in from: all of them, or those that
// a document names.
func fillIn(v, from reflect.Value, named map[string]json.RawMessage) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			fillIn(v.Field(i), from.Field(i), named)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch v.Field(i).Kind() {
		case reflect.Map, reflect.Slice, reflect.Pointer:
			if name != "-" && v.Field(i).IsNil() && (named == nil || named[name] != nil) {
				v.Field(i).Set(from.Field(i))
			}
		}
	}
}

// forgetNamed sets the fields that a document names to zero, so that decoding
// replaces maps and lists instead of adding to them, and collects all known names.
func forgetNamed(v reflect.Value, named map[string]json.RawMessage, known map[string]bool) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			forgetNamed(v.Field(i), named, known)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		known[name] = true
		if named[name] != nil {
			v.Field(i).SetZero()
		}
	}
}

// resume brings a fault to where it was when it had seen so many calls.
func (f *armedFault) resume(calls, hits int) {
	const most = 1_000_000
	f.Calls, f.Hits = calls, hits
	if f.Probability > 0 {
		for range min(calls, most) {
			f.random.Float64()
		}
	}
}

// Reset makes everything as it was at the start: no followers, messages, media,
// requests or faults, the first settings, the real time. Access tokens go on living.
func (w *WeChat) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.accounts {
		w.reset(a)
	}
	for _, t := range w.tokens {
		t.expires, t.dies = t.expires.Add(-w.offset), t.dies.Add(-w.offset)
	}
	w.jump(-w.offset)
}

// reset is of one account. The caller holds mu.
func (p *platform) reset(a *account) {
	a.clear()
	if err := a.configure(a.initial); err != nil {
		panic(err) // it was possible at the start
	}
	p.disarm(func(f *armedFault) bool { return f.account == a })
	kept := slices.DeleteFunc(p.requestsInOrder(), func(r *Request) bool { return r.Account == a.AppID })
	p.requests, p.next = kept, len(kept)%mostRequests
	close(p.changed)
	p.changed = make(chan struct{})
	p.tell(event{Type: "state", Account: a.AppID})
}
