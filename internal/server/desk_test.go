package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

const cookie = "Cookie: " + sessionCookie + "=text"

// An office is a desk at which somebody is signed in: it notes what it is asked for.
type office struct {
	Desk
	me      gateway.Agent
	all     []gateway.Agent
	there   []gateway.FeedEntry
	news    chan struct{}
	present *[]string
	put     *[]gateway.AgentRequest
	closed  *[]string
}

func (o office) Agent(context.Context, string) (gateway.Agent, error) { return o.me, nil }
func (o office) Agents(context.Context) ([]gateway.Agent, error)      { return slices.Clone(o.all), nil }
func (o office) Record(context.Context, gateway.AuditEntry) error     { return nil }
func (o office) Present(account, openid, agent, tab, state string) {
	*o.present = append(*o.present, strings.Join([]string{account, openid, agent, tab, state}, " "))
}

func (o office) Close(_ context.Context, account, openid string, _ gateway.By) error {
	*o.closed = append(*o.closed, account+" "+openid)
	return nil
}

func (o office) Unknown(context.Context, string, string) (map[[2]string]int, error) { return nil, nil }
func (o office) Notes(context.Context, string, string) ([]gateway.Note, error)      { return nil, nil }

func (o office) PutAgent(_ context.Context, _ string, r gateway.AgentRequest, _ gateway.By) (gateway.Agent, error) {
	*o.put = append(*o.put, r)
	return gateway.Agent{Role: gateway.Answers}, nil
}

func (o office) Presences(n int) ([]gateway.FeedEntry, int, <-chan struct{}) {
	switch n {
	case -1:
		return o.there, 7, o.news
	case 7:
		return slices.Clone(o.there[:1]), 8, nil
	}
	return nil, n, nil
}

// What one signs in with is for admins and oneself; whoever is for some accounts learns of
// no others, and sees of each colleague which of those they are for.
func TestWhoSeesWhatOfTheTeam(t *testing.T) {
	team := []gateway.Agent{
		{ID: "agent_1", Name: "me", Display: "Me", Role: gateway.Answers, TOTP: true},
		{ID: "agent_2", Name: "all", Display: "All", Role: gateway.Answers, TOTP: true},
		{ID: "agent_3", Name: "both", Display: "Both", Role: gateway.Answers, Accounts: []string{shop, other}},
		{ID: "agent_4", Name: "other", Display: "Other", Role: gateway.Answers, Accounts: []string{other}, TOTP: true},
	}
	whole := []string{"Me me 2FA", "All", "Both wxshop wxother", "Other wxother"}
	admin := []string{"Me me 2FA", "All all 2FA", "Both both wxshop wxother", "Other other 2FA wxother"}
	part := []string{"Me me 2FA wxshop", "All wxshop", "Both wxshop"} // conversations of wxshop can't be given to Other
	for _, tt := range []struct {
		role     gateway.Role
		accounts []string
		session  []string // agents of GET /v1/session
		list     []string // GET /v1/agents; nil: 403
	}{
		{gateway.Views, nil, whole, nil},
		{gateway.Answers, nil, whole, nil},
		{gateway.Leads, nil, whole, whole},
		{gateway.Admin, nil, admin, admin},
		{gateway.Answers, []string{shop}, part, nil},
		{gateway.Leads, []string{shop}, part, part},
		{gateway.Admin, []string{shop}, []string{"Me me 2FA wxshop", "All all 2FA wxshop", "Both both wxshop"}, []string{"Me me 2FA wxshop", "All all 2FA wxshop", "Both both wxshop"}},
	} {
		t.Run(fmt.Sprint(tt.role, tt.accounts), func(t *testing.T) {
			w := newWorld(t)
			me := team[0]
			me.Role, me.Accounts = tt.role, tt.accounts
			w.Desk = office{me: me, all: append([]gateway.Agent{me}, team[1:]...)}
			says := func(all []gateway.Agent) (lines []string) {
				for _, a := range all {
					words := []string{a.Display}
					if a.Name != "" {
						words = append(words, a.Name)
					}
					if a.TOTP {
						words = append(words, "2FA")
					}
					lines = append(lines, strings.Join(append(words, a.Accounts...), " "))
				}
				return lines
			}
			s := read[gateway.Session](t, w.do("", "GET", "/v1/session", "", cookie))
			if got := says(s.Agents); !slices.Equal(got, tt.session) {
				t.Errorf("GET /v1/session shows %q, want %q", got, tt.session)
			}
			a := w.do("", "GET", "/v1/agents", "", cookie)
			if tt.list == nil {
				if a.StatusCode != 403 {
					t.Errorf("GET /v1/agents: %d", a.StatusCode)
				}
			} else if got := says(read[gateway.Page[gateway.Agent]](t, a).Items); !slices.Equal(got, tt.list) {
				t.Errorf("GET /v1/agents shows %q, want %q", got, tt.list)
			}
		})
	}
}

// A second factor can be taken off, by somebody else; it is turned on by its owner alone.
func TestTakingOffASecondFactor(t *testing.T) {
	for _, tt := range []struct {
		name, call, body string
		status           int
		location         string
	}{
		{"somebody else's", "PUT /v1/agents/agent_2", `{"totp":false}`, 200, ""},
		{"on", "PUT /v1/agents/agent_2", `{"totp":true}`, 422, "totp"},
		{"one's own, by a session alone", "PUT /v1/agents/agent_1", `{"totp":false}`, 422, "totp"},
		{"of somebody new", "POST /v1/agents", `{"name":"new","totp":false}`, 422, "totp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var put []gateway.AgentRequest
			w.Desk = office{me: gateway.Agent{ID: "agent_1", Role: gateway.Admin}, put: &put}
			method, path, _ := strings.Cut(tt.call, " ")
			a := w.do("", method, path, tt.body, cookie)
			if a.StatusCode != tt.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if tt.status == 200 {
				if len(put) != 1 || put[0].TOTP == nil || *put[0].TOTP {
					t.Errorf("asked for %+v", put)
				}
			} else if p := read[gateway.Problem](t, a); len(put) > 0 || len(p.Errors) != 1 || p.Errors[0].Location != tt.location {
				t.Errorf("%+v, asked for %+v", p, put)
			}
		})
	}
}

func TestPresenceNamesATab(t *testing.T) {
	w := newWorld(t)
	w.add(gateway.Message{})
	var present []string
	w.Desk = office{me: gateway.Agent{ID: "agent_1", Role: gateway.Answers}, present: &present}
	for _, tt := range []struct {
		body   string
		status int
		noted  string
	}{
		{`{"state":"viewing"}`, 204, "wxshop oFollower agent_1  viewing"},
		{`{"state":"replying","tab":"aZ0-_"}`, 204, "wxshop oFollower agent_1 aZ0-_ replying"},
		{`{"state":"gone","tab":"` + strings.Repeat("x", 32) + `"}`, 204, "wxshop oFollower agent_1 " + strings.Repeat("x", 32) + " gone"},
		{`{"state":"gone","tab":"` + strings.Repeat("x", 33) + `"}`, 422, ""},
		{`{"state":"viewing","tab":"a b"}`, 422, ""},
		{`{"state":"viewing","tab":"页"}`, 422, ""},
		{`{"state":"away"}`, 422, ""},
		{`{"tab":"a"}`, 422, ""},
	} {
		present = nil
		a := w.do("", "POST", "/v1/conversations/wxshop/oFollower/presence", tt.body, cookie)
		if a.StatusCode != tt.status || strings.Join(present, "\n") != tt.noted {
			t.Errorf("%s: %d %s, noted %q", tt.body, a.StatusCode, a.body, present)
		}
	}
}

// Whoever opens the feed, or opens it again, is told at once who is there, of their own
// accounts; afterwards what is new. None of it has an id: it is not of the feed.
func TestStreamBeginsWithWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		is := func(account, state string) gateway.FeedEntry {
			return gateway.FeedEntry{Account: account, Type: "presence", Data: json.RawMessage(`{"account":"` + account + `","state":"` + state + `"}`)}
		}
		o := office{me: gateway.Agent{ID: "agent_1", Role: gateway.Answers, Accounts: []string{shop}}, news: make(chan struct{}),
			there: []gateway.FeedEntry{is(shop, "viewing"), is(other, "viewing"), is(shop, "replying")}}
		w.Desk = o
		lines, res := w.stream(t, clientOver(dial), "", "Authorization: ", cookie)
		time.AfterFunc(time.Second, func() { close(o.news) })
		for i, want := range []string{
			": kefu\nid: 0\n",
			"event: presence\ndata: {\"account\":\"wxshop\",\"state\":\"viewing\"}\n",
			"event: presence\ndata: {\"account\":\"wxshop\",\"state\":\"replying\"}\n",
			"event: presence\ndata: {\"account\":\"wxshop\",\"state\":\"viewing\"}\n",
		} {
			began := time.Now()
			if got := next(t, lines); got != want {
				t.Errorf("%d: %q, want %q", i, got, want)
			}
			if late := time.Since(began) > 0; late != (i == 3) {
				t.Errorf("%d: after %v", i, time.Since(began))
			}
		}
		res.Body.Close()
	})
}
