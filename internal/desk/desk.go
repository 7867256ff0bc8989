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

	mu       sync.Mutex // guards what follows
	present  map[place]presence
	news     []gateway.FeedEntry // the latest presences, the oldest first
	dropped  int                 // how many went before news[0]
	changed  chan struct{}       // closed when news grows
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
		id, err := d.Store.TakeLink(ctx, now, sha256.Sum256([]byte(in.Link)))
		if errors.Is(err, store.ErrNotFound) {
			return "", a, problem(gateway.LinkUsed)
		} else if err != nil {
			return "", a, err
		}
		stored, err := d.Store.Agent(ctx, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && stored.Disabled {
			return "", a, problem(gateway.LinkUsed)
		} else if err != nil {
			return "", a, err
		}
		return d.begin(ctx, now, stored, at("by link", from))
	}
	if !d.limits.try(in.Name, from) {
		return "", a, problem(gateway.LoginLimited)
	}
	stored, err := d.Store.AgentNamed(ctx, in.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		d.limits.unmade(in.Name, from)
		return "", a, err
	}
	right := verify(stored.Password, in.Password) && !stored.Disabled
	if right && stored.Secret != "" {
		if in.Code == "" {
			d.limits.unmade(in.Name, from)
			return "", a, problem(gateway.CodeRequired)
		}
		if right, err = d.code(ctx, now, stored, in.Code); err != nil {
			d.limits.unmade(in.Name, from)
			return "", a, err
		}
	}
	if !right {
		name := ""
		if stored.ID != "" { // else it may be a password, typed into the wrong field
			name = clip(in.Name)
		}
		if err := d.Store.AddAudit(ctx, now, gateway.AuditEntry{Who: stored.ID, What: "session.refused", Target: name, Detail: at("", from)}); err != nil {
			return "", a, err
		}
		return "", a, problem(gateway.LoginFailed)
	}
	d.limits.succeeded(in.Name, from)
	return d.begin(ctx, now, stored, at("by password", from))
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

func (d *Desk) begin(ctx context.Context, now time.Time, a store.Agent, how string) (string, gateway.Agent, error) {
	life := d.Life
	if life <= 0 {
		life = 12 * time.Hour
	}
	text := newText()
	err := d.Store.BeginSession(ctx, now, sha256.Sum256([]byte(text)), a.ID, now.Add(life), gateway.AuditEntry{Who: a.ID, What: "session.begin", Detail: how})
	if err != nil {
		return "", gateway.Agent{}, err
	}
	return text, a.Agent, nil
}

// code holds a code against the present step and its neighbours; each opens once.
func (d *Desk) code(ctx context.Context, now time.Time, a store.Agent, code string) (bool, error) {
	step, ok := stepOf(a.Secret, code, now)
	if !ok {
		return false, nil
	}
	return d.Store.UseCode(ctx, now, a.ID, step)
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

// PutAgent changes what r names. A new role, password or disabling ends the agent's
// sessions. Problem: not-found.
func (d *Desk) PutAgent(ctx context.Context, id string, r gateway.AgentRequest, by string) (gateway.Agent, error) {
	a, err := d.Store.Agent(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return gateway.Agent{}, problem(gateway.NotFound)
	} else if err != nil {
		return gateway.Agent{}, err
	}
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
	if r.Password != "" {
		a.Password, news = hashed(r.Password), append(news, "password")
	}
	if r.Disabled != nil && *r.Disabled != a.Disabled {
		a.Disabled, news = *r.Disabled, append(news, map[bool]string{true: "disabled", false: "enabled"}[*r.Disabled])
	}
	err = d.Store.PutAgent(ctx, d.now(), a, len(news) > named, gateway.AuditEntry{Who: by, What: "agent.put", Target: id, Detail: strings.Join(news, ", ")})
	d.forget()
	return a.Agent, err
}

// DeleteAgent forgets an agent; their conversations are nobody's. Problem: not-found.
func (d *Desk) DeleteAgent(ctx context.Context, id, by string) error {
	err := d.Store.DeleteAgent(ctx, d.now(), id, gateway.AuditEntry{Who: by, What: "agent.delete", Target: id})
	d.forget()
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
// that it returns. Problems: login-failed if old is wrong, login-limited.
func (d *Desk) SetPassword(ctx context.Context, id string, c gateway.PasswordChange) (session string, err error) {
	if !d.limits.try(id, "") {
		return "", problem(gateway.LoginLimited)
	}
	a, err := d.Store.Agent(ctx, id)
	if err != nil {
		d.limits.unmade(id, "")
		return "", err
	}
	if a.Password != "" && !verify(a.Password, c.Old) {
		return "", problem(gateway.LoginFailed)
	}
	d.limits.succeeded(id, "")
	now := time.Now()
	a.Password = hashed(c.New)
	err = d.Store.PutAgent(ctx, now, a, true, gateway.AuditEntry{Who: id, What: "agent.password", Target: id})
	d.forget()
	if err != nil {
		return "", err
	}
	session, _, err = d.begin(ctx, now, a, "by new password")
	return session, err
}

// OfferTOTP makes the secret of a second factor; it is asked for once [Desk.SetTOTP]
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

// SetTOTP turns the second factor on, by a code of the secret that was offered, or
// off, by a code of the present one. Problem: login-failed.
func (d *Desk) SetTOTP(ctx context.Context, id, code string, on bool) error {
	now := time.Now()
	if !d.limits.try(id, "") {
		return problem(gateway.LoginLimited)
	}
	a, err := d.Store.Agent(ctx, id)
	if err != nil {
		d.limits.unmade(id, "")
		return err
	}
	what := "totp.off"
	if on {
		what = "totp.on"
		if a.Secret != "" {
			d.limits.unmade(id, "")
			return problem(gateway.Conflict)
		}
		if a.Secret = d.limits.offered(id); a.Secret == "" {
			return problem(gateway.LoginFailed)
		}
	}
	step, ok := stepOf(a.Secret, code, now)
	if !ok || !on && step <= a.TOTPUsed {
		return problem(gateway.LoginFailed)
	}
	d.limits.succeeded(id, "")
	a.TOTPUsed = step
	if !on {
		a.Secret = ""
	}
	err = d.Store.PutAgent(ctx, now, a, false, gateway.AuditEntry{Who: id, What: what, Target: id})
	d.forget()
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
