// Package desk is the team at the console: who they are, how they sign in, and what
// they do with conversations besides answering. The server speaks HTTP for it.
package desk

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// A Desk is safe for concurrent use. Store is required; set the fields before the
// first use.
type Desk struct {
	Store *store.Store
	Now   func() time.Time // of what is written down; default [time.Now]. Sessions, links and codes go by the real time
	Life  time.Duration    // of a session, from its beginning; default 12 h
	// LinkLife is how long a one-time link opens; default ten minutes.
	LinkLife time.Duration

	limits limits
	cache  sync.Map // hash of a session → cached

	mu       sync.Mutex                    // guards what follows
	present  map[place]map[string]presence // by tab
	news     []gateway.FeedEntry           // the latest presences, the oldest first
	dropped  int                           // how many went before news[0]
	changed  chan struct{}                 // closed when news grows
	lastSeen map[string]time.Time
}

const (
	cacheLife   = 5 * time.Second // a session that was ended opens no longer than this
	onlineFor   = time.Minute
	presenceFor = 45 * time.Second
	mostNews    = 512
)

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

func problem(code string) error { return &gateway.Problem{Code: code} }

func has(err error, code string) bool {
	var p *gateway.Problem
	return errors.As(err, &p) && p.Code == code
}

// newText is a text of 256 random bits, for sessions and links.
func newText() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// SignIn begins a session and returns its text, which is shown this once: by a
// one-time link, or by name and password and, where the agent has one, the code of a
// second factor. Whatever is wrong, the answer and the time it takes are the same.
// Problems: login-failed, code-required, login-limited, link-used. from is the
// caller's address, for the limit and the record; "": not known.
func (d *Desk) SignIn(ctx context.Context, in gateway.SignIn, from string) (text string, a gateway.Agent, err error) {
	now := time.Now()
	if in.Link != "" {
		return d.byLink(ctx, now, in.Link, from)
	}
	of := guesses(in.Name, from)
	if !d.limits.try(of) {
		return "", a, problem(gateway.LoginLimited)
	}
	proven, err := d.Store.AgentNamed(ctx, in.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		d.limits.unmade(of)
		return "", a, err
	}
	err = problem(gateway.LoginFailed)
	if verify(proven.Password, in.Password) && !proven.Disabled {
		if proven.Secret != "" && in.Code == "" {
			d.limits.unmade(of)
			return "", a, problem(gateway.CodeRequired)
		}
		text, a, err = d.begin(ctx, now, proven.ID, func(a *store.Agent) (c store.AgentChange, err error) {
			c.Audit = gateway.AuditEntry{Who: a.ID, What: "session.begin", Detail: at("by password", from)}
			if !stands(*a, proven) || a.Secret != "" && !takeCode(a, in.Code, now) {
				err = problem(gateway.LoginFailed)
			}
			return c, err
		})
	}
	switch {
	case err == nil:
		d.limits.succeeded(of)
		return text, a, nil
	case !has(err, gateway.LoginFailed) && !errors.Is(err, store.ErrNotFound):
		d.limits.unmade(of)
		return "", a, err
	}
	if err := d.refused(ctx, now, proven.ID, in.Name, from); err != nil {
		return "", a, err
	}
	return "", a, problem(gateway.LoginFailed)
}

// byLink looks before it writes: a stranger's link costs the store a look.
func (d *Desk) byLink(ctx context.Context, now time.Time, link, from string) (string, gateway.Agent, error) {
	of := links(from)
	if !d.limits.try(of) {
		return "", gateway.Agent{}, problem(gateway.LoginLimited)
	}
	hash := sha256.Sum256([]byte(link))
	var text string
	var a gateway.Agent
	id, err := d.Store.LinkAgent(ctx, now, hash)
	if err == nil {
		text, a, err = d.begin(ctx, now, id, func(a *store.Agent) (c store.AgentChange, err error) {
			if a.Disabled {
				err = store.ErrNotFound
			}
			return store.AgentChange{Link: &hash, Audit: gateway.AuditEntry{Who: a.ID, What: "session.begin", Detail: at("by link", from)}}, err
		})
	}
	if errors.Is(err, store.ErrNotFound) {
		return "", gateway.Agent{}, problem(gateway.LinkUsed)
	}
	d.limits.unmade(of)
	return text, a, err
}

// stands reports whether what was proven against an agent proves it still: it takes
// long to check a password, and somebody may have changed it meanwhile.
func stands(now, proven store.Agent) bool {
	return !now.Disabled && now.Password == proven.Password && now.Secret == proven.Secret
}

// takeCode holds a code against the present step and its neighbours; each opens once.
func takeCode(a *store.Agent, code string, now time.Time) bool {
	step, ok := stepOf(a.Secret, code, now)
	if !ok || step <= a.TOTPUsed {
		return false
	}
	a.TOTPUsed = step
	return true
}

// refused puts on record that somebody was, the first time in a while and when it has
// become as often as there are tries: whoever goes on and on fills the record with no
// more than that.
func (d *Desk) refused(ctx context.Context, now time.Time, id, name, from string) error {
	often, tell := d.limits.refused(id, from)
	if !tell {
		return nil
	}
	e := gateway.AuditEntry{Who: id, What: "session.refused", Detail: at("", from)}
	if id != "" { // else it may be a password, typed into the wrong field
		e.Target = clip(name)
	}
	if often > 1 {
		e.Detail = at(strconv.Itoa(often)+" times", from)
	}
	return d.Store.AddAudit(ctx, now, e)
}

// at is how somebody came in, and from where, for the record.
func at(how, from string) string {
	if from == "" {
		return how
	}
	return strings.TrimSpace(how + " from " + from)
}

// clip keeps a name that a stranger chose small.
func clip(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "")
	}
	return name
}

// begin begins a session with a change of the agent, and returns its text.
func (d *Desk) begin(ctx context.Context, now time.Time, id string, change func(*store.Agent) (store.AgentChange, error)) (string, gateway.Agent, error) {
	life := d.Life
	if life <= 0 {
		life = 12 * time.Hour
	}
	text := newText()
	session := store.Session{Hash: sha256.Sum256([]byte(text)), Expires: now.Add(life)}
	a, err := d.Store.ChangeAgent(ctx, now, id, func(a *store.Agent) (store.AgentChange, error) {
		c, err := change(a)
		c.Begin = &session
		return c, err
	})
	if err != nil {
		return "", gateway.Agent{}, err
	}
	return text, a.Agent, nil
}

type cached struct {
	agent gateway.Agent
	until time.Time
}

// Agent returns whose session the text is, or the problem unauthorized.
func (d *Desk) Agent(ctx context.Context, text string) (gateway.Agent, error) {
	hash, real := sha256.Sum256([]byte(text)), time.Now()
	if c, ok := d.cache.Load(hash); ok && real.Before(c.(cached).until) {
		return c.(cached).agent, nil
	}
	a, err := d.Store.SessionAgent(ctx, real, hash)
	if errors.Is(err, store.ErrNotFound) {
		d.cache.Delete(hash)
		return gateway.Agent{}, problem(gateway.Unauthorized)
	} else if err != nil {
		return gateway.Agent{}, err
	}
	d.cache.Store(hash, cached{a.Agent, real.Add(cacheLife)})
	d.mu.Lock()
	if d.lastSeen == nil {
		d.lastSeen = map[string]time.Time{}
	}
	d.lastSeen[a.ID] = real
	d.mu.Unlock()
	return a.Agent, nil
}

// SignOut ends a session at once.
func (d *Desk) SignOut(ctx context.Context, text string) error {
	hash := sha256.Sum256([]byte(text))
	d.cache.Delete(hash)
	return d.Store.EndSession(ctx, d.now(), hash)
}

// forget makes every session be looked up anew.
func (d *Desk) forget() { d.cache.Clear() }

// Agents returns everybody, without what only they see.
func (d *Desk) Agents(ctx context.Context) ([]gateway.Agent, error) {
	all, err := d.Store.Agents(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	agents := make([]gateway.Agent, len(all))
	for i, a := range all {
		agents[i] = a.Agent
		agents[i].Settings = nil
		agents[i].Online = time.Since(d.lastSeen[a.ID]) < onlineFor
	}
	return agents, nil
}

// AddAgent makes an agent; by is who does. Problem: conflict if the name is taken.
func (d *Desk) AddAgent(ctx context.Context, r gateway.AgentRequest, by string) (gateway.Agent, error) {
	a := store.Agent{Agent: gateway.Agent{Name: r.Name, Display: r.Display, Role: r.Role, Accounts: r.Accounts}}
	if a.Display == "" {
		a.Display = a.Name
	}
	if a.Role == "" {
		a.Role = gateway.Answers
	}
	if r.Password != "" {
		a.Password = hashed(r.Password)
	}
	a, err := d.Store.AddAgent(ctx, d.now(), a, gateway.AuditEntry{Who: by, What: "agent.add", Detail: string(a.Role)})
	if errors.Is(err, store.ErrExists) {
		err = problem(gateway.Conflict)
	}
	return a.Agent, err
}

// PutAgent changes what r names. A new role, password or disabling, and a second factor
// that is taken off, end the agent's sessions. Conversations that they may no longer have
// are nobody's. Problem: not-found.
func (d *Desk) PutAgent(ctx context.Context, id string, r gateway.AgentRequest, by gateway.By) (gateway.Agent, error) {
	var password string
	if r.Password != "" {
		password = hashed(r.Password)
	}
	a, err := d.Store.ChangeAgent(ctx, d.now(), id, func(a *store.Agent) (store.AgentChange, error) {
		var news []string
		if r.Display != "" && r.Display != a.Display {
			a.Display, news = r.Display, append(news, "display")
		}
		named := len(news) // the rest ends sessions
		if r.Role != "" && r.Role != a.Role {
			a.Role, news = r.Role, append(news, "role "+string(r.Role))
		}
		if r.Accounts != nil && !slices.Equal(r.Accounts, a.Accounts) {
			a.Accounts, news = r.Accounts, append(news, "accounts "+cmp.Or(strings.Join(r.Accounts, " "), "all"))
		}
		if password != "" {
			a.Password, news = password, append(news, "password")
		}
		if r.TOTP != nil && !*r.TOTP && a.Secret != "" {
			a.Secret, news = "", append(news, "second factor off")
		}
		if r.Disabled != nil && *r.Disabled != a.Disabled {
			a.Disabled, news = *r.Disabled, append(news, map[bool]string{true: "disabled", false: "enabled"}[*r.Disabled])
		}
		return store.AgentChange{EndSessions: len(news) > named, Audit: gateway.AuditEntry{Who: by.ID, What: "agent.put", Target: id, Detail: strings.Join(news, ", ")}}, nil
	})
	d.forget()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return gateway.Agent{}, problem(gateway.NotFound)
	case err != nil:
		return gateway.Agent{}, err
	}
	return a.Agent, d.release(ctx, a.Agent, by)
}

// DeleteAgent forgets an agent; their conversations are nobody's. Problem: not-found.
func (d *Desk) DeleteAgent(ctx context.Context, id string, by gateway.By) error {
	// Who is disabled is given nothing more, and can be deleted again if the rest fails.
	a, err := d.Store.ChangeAgent(ctx, d.now(), id, func(a *store.Agent) (store.AgentChange, error) {
		a.Disabled = true
		return store.AgentChange{EndSessions: true}, nil
	})
	d.forget()
	if err == nil {
		err = d.release(ctx, a.Agent, by)
	}
	if err == nil {
		err = d.Store.DeleteAgent(ctx, d.now(), id, gateway.AuditEntry{Who: by.ID, What: "agent.delete", Target: id})
	}
	if errors.Is(err, store.ErrNotFound) {
		err = problem(gateway.NotFound)
	}
	return err
}

// Link makes a link that signs an agent in once, while it lives, without
// password or code. Problem: not-found.
func (d *Desk) Link(ctx context.Context, id, by string) (gateway.AgentLink, error) {
	if _, err := d.Store.Agent(ctx, id); errors.Is(err, store.ErrNotFound) {
		return gateway.AgentLink{}, problem(gateway.NotFound)
	} else if err != nil {
		return gateway.AgentLink{}, err
	}
	text, now := newText(), time.Now()
	ends := now.Add(cmp.Or(d.LinkLife, 10*time.Minute))
	err := d.Store.AddLink(ctx, now, sha256.Sum256([]byte(text)), id, ends, gateway.AuditEntry{Who: by, What: "agent.link", Target: id})
	return gateway.AgentLink{Link: text, ExpiresAt: gateway.At(ends)}, err
}

// SetPassword replaces the agent's own password, ends all sessions and begins the one
// that it returns. Problems: login-failed if old is wrong, or no longer right; login-limited.
func (d *Desk) SetPassword(ctx context.Context, id string, c gateway.PasswordChange) (session string, err error) {
	err = d.proving(ctx, id, c.Old, func(proven store.Agent) error {
		password := hashed(c.New)
		var err error
		session, _, err = d.begin(ctx, time.Now(), id, func(a *store.Agent) (store.AgentChange, error) {
			if !stands(*a, proven) {
				return store.AgentChange{}, problem(gateway.LoginFailed)
			}
			a.Password = password
			return store.AgentChange{EndSessions: true, Audit: gateway.AuditEntry{Who: id, What: "agent.password", Target: id}}, nil
		})
		return err
	})
	return session, err
}

// proving has do act on a session's agent, who has proven that they know the password,
// if there is one, and counts what fails: a session that somebody has left open is
// worth no more guesses than a sign-in.
func (d *Desk) proving(ctx context.Context, id, password string, do func(proven store.Agent) error) error {
	return d.counting(id, func() error {
		a, err := d.Store.Agent(ctx, id)
		if err != nil {
			return err
		}
		if a.Password != "" && !verify(a.Password, password) {
			return problem(gateway.LoginFailed)
		}
		return do(a)
	})
}

// counting has do try something with a session, and counts it if login-failed comes of it.
func (d *Desk) counting(id string, do func() error) error {
	of := own(id)
	if !d.limits.try(of) {
		return problem(gateway.LoginLimited)
	}
	err := do()
	switch {
	case err == nil:
		d.limits.succeeded(of)
		d.forget()
	case !has(err, gateway.LoginFailed):
		d.limits.unmade(of)
	}
	return err
}

// OfferTOTP makes the secret of a second factor; it is asked for once [Desk.TurnOnTOTP]
// has seen a code of it. Nothing is kept before. Problem: conflict if there is a second
// factor; it is turned off first, by a code of it.
func (d *Desk) OfferTOTP(ctx context.Context, id string) (gateway.TOTPOffer, error) {
	a, err := d.Store.Agent(ctx, id)
	if err != nil {
		return gateway.TOTPOffer{}, err
	}
	if a.Secret != "" {
		return gateway.TOTPOffer{}, problem(gateway.Conflict) // a session alone does not replace it
	}
	var b [20]byte
	rand.Read(b[:])
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
	d.limits.offer(id, kefu.Secret(secret))
	uri := url.URL{Scheme: "otpauth", Host: "totp", Path: "/Kefu:" + a.Name, RawQuery: url.Values{"secret": {secret}, "issuer": {"Kefu"}}.Encode()}
	return gateway.TOTPOffer{Secret: secret, URI: uri.String()}, nil
}

// TurnOnTOTP turns the second factor on, by the password and by a code of the secret
// that was offered: a session alone would lock out whoever has left it open. Problems:
// login-failed, login-limited, conflict if there is one.
func (d *Desk) TurnOnTOTP(ctx context.Context, id string, c gateway.TOTPStart) error {
	return d.proving(ctx, id, c.Password, func(proven store.Agent) error {
		if proven.Secret != "" {
			return problem(gateway.Conflict)
		}
		secret := d.limits.offered(id)
		return d.changeTOTP(ctx, id, "totp.on", func(a *store.Agent, now time.Time) bool {
			if !stands(*a, proven) {
				return false
			}
			a.Secret, a.TOTPUsed = secret, 0 // what was used was of another secret
			return takeCode(a, c.Code, now)
		})
	})
}

// TurnOffTOTP turns the second factor off, by a code of it. Problems: login-failed,
// login-limited.
func (d *Desk) TurnOffTOTP(ctx context.Context, id, code string) error {
	return d.counting(id, func() error {
		return d.changeTOTP(ctx, id, "totp.off", func(a *store.Agent, now time.Time) bool {
			right := takeCode(a, code, now)
			a.Secret = ""
			return right
		})
	})
}

func (d *Desk) changeTOTP(ctx context.Context, id, what string, change func(*store.Agent, time.Time) bool) error {
	now := time.Now()
	_, err := d.Store.ChangeAgent(ctx, now, id, func(a *store.Agent) (store.AgentChange, error) {
		if !change(a, now) {
			return store.AgentChange{}, problem(gateway.LoginFailed)
		}
		return store.AgentChange{Audit: gateway.AuditEntry{Who: id, What: what, Target: id}}, nil
	})
	return err
}

// SetSettings keeps the agent's settings of the page.
func (d *Desk) SetSettings(ctx context.Context, id string, settings json.RawMessage) error {
	d.forget()
	return d.Store.SetSettings(ctx, d.now(), id, settings)
}

// Record puts on record that somebody did something.
func (d *Desk) Record(ctx context.Context, e gateway.AuditEntry) error {
	return d.Store.AddAudit(ctx, d.now(), e)
}

// Audit lists who did what.
func (d *Desk) Audit(ctx context.Context, cursor string, limit int) (gateway.Page[gateway.AuditEntry], error) {
	return d.Store.Audit(ctx, cursor, limit)
}
