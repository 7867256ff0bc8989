package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// An Agent is a person at the console with what proves who they are.
type Agent struct {
	gateway.Agent
	Password string      // as an argon2id string; "": none
	Secret   kefu.Secret // of the second factor; "": none
	TOTPUsed int64       // the step of the last code that was taken
}

// ErrExists: there is one of this name already.
var ErrExists = errors.New("the name is taken")

const agentQuery = `SELECT id, name, display, role, accounts, password, totp, totp_used, settings, disabled FROM agents`

func (s *Store) scanAgent(row scanner) (a Agent, err error) {
	var accounts, settings string
	var password sql.NullString
	var secret []byte
	err = row.Scan(&a.ID, &a.Name, &a.Display, &a.Role, &accounts, &password, &secret, &a.TOTPUsed, &settings, &a.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return a, ErrNotFound
	} else if err != nil {
		return a, fmt.Errorf("read agent: %w", err)
	}
	a.Password, a.Settings = password.String, json.RawMessage(settings)
	if err := json.Unmarshal([]byte(accounts), &a.Accounts); err != nil {
		return a, fmt.Errorf("read agent: %w", err)
	}
	a.Secret, err = s.seals.open(secret, a.ID+" totp")
	a.TOTP = a.Secret != ""
	return a, err
}

// Agent returns the agent with this id, or ErrNotFound.
func (s *Store) Agent(ctx context.Context, id string) (Agent, error) {
	return s.scanAgent(s.row(ctx, agentQuery+` WHERE id = $1`, id))
}

// AgentNamed returns the agent with this name, or ErrNotFound.
func (s *Store) AgentNamed(ctx context.Context, name string) (Agent, error) {
	return s.scanAgent(s.row(ctx, agentQuery+` WHERE name = $1`, name))
}

// Agents returns all, by name.
func (s *Store) Agents(ctx context.Context) ([]Agent, error) {
	rows, err := s.rows(ctx, agentQuery+` ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	defer rows.Close()
	all := []Agent{}
	for rows.Next() {
		a, err := s.scanAgent(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, rows.Err()
}

// AddAgent keeps a new agent, making an ID if there is none; ErrExists if the name
// is taken.
func (s *Store) AddAgent(ctx context.Context, now time.Time, a Agent, audit gateway.AuditEntry) (Agent, error) {
	if a.ID == "" {
		a.ID = "agent_" + rand.Text()
	}
	accounts, err := encode(a.Accounts)
	if err != nil {
		return a, err
	}
	if a.Settings == nil {
		a.Settings = json.RawMessage("{}")
	}
	err = s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`INSERT INTO agents (id, name, display, role, accounts, password, settings, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (name) DO NOTHING`, a.ID, a.Name, a.Display, string(a.Role), string(accounts), orNull(a.Password), string(a.Settings), ms(now))
		if err == nil && n == 0 {
			err = ErrExists
		}
		if err != nil {
			return err
		}
		audit.Target = a.ID
		return t.audit(now, audit)
	})
	return a, err
}

// An AgentChange is what goes with the change of an agent, in the same commit.
type AgentChange struct {
	EndSessions bool      // all that there are
	Link        *[32]byte // is used up; [ErrNotFound] if it has been, or is too old
	Begin       *Session  // begins, and does not end with the others
	Audit       gateway.AuditEntry
}

// A Session is kept under the SHA-256 of its text.
type Session struct {
	Hash    [32]byte
	Expires time.Time
}

// ChangeAgent has change decide by the agent as they are in the commit, and keeps what
// it leaves, all but id, name and settings: no change by somebody else comes between, so
// none is lost, and what was proven against an older state opens nothing. change may be
// run twice, and every other write waits for it: what takes long, such as a password's
// hash, is done before. Its error leaves all as it was; ErrNotFound if there is no agent.
func (s *Store) ChangeAgent(ctx context.Context, now time.Time, id string, change func(*Agent) (AgentChange, error)) (Agent, error) {
	var a Agent
	err := s.write(ctx, now, func(t *tx) (err error) {
		if a, err = s.scanAgent(t.row(agentQuery+` WHERE id = $1`, id)); err != nil {
			return err
		}
		c, err := change(&a)
		if err != nil {
			return err
		}
		a.TOTP = a.Secret != ""
		return s.changeAgent(t, now, id, a, c)
	})
	if err != nil {
		return Agent{}, err
	}
	return a, nil
}

func (s *Store) changeAgent(t *tx, now time.Time, id string, a Agent, c AgentChange) error {
	if c.Link != nil {
		n, err := t.exec(`DELETE FROM links WHERE hash = $1 AND agent = $2 AND expires_at > $3`, c.Link[:], id, ms(now))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
	}
	accounts, err := encode(a.Accounts)
	if err == nil {
		_, err = t.exec(`UPDATE agents SET display = $1, role = $2, accounts = $3, password = $4, totp = $5, totp_used = $6, disabled = $7 WHERE id = $8`,
			a.Display, string(a.Role), string(accounts), orNull(a.Password), s.sealed(id, "totp", a.Secret), a.TOTPUsed, bit(a.Disabled), id)
	}
	if err == nil && c.EndSessions {
		_, err = t.exec(`DELETE FROM sessions WHERE agent = $1`, id)
	}
	if err == nil && c.Begin != nil {
		if _, err = t.exec(`DELETE FROM sessions WHERE expires_at <= $1`, ms(now)); err == nil {
			_, err = t.exec(`INSERT INTO sessions (hash, agent, created_at, expires_at) VALUES ($1, $2, $3, $4)`, c.Begin.Hash[:], id, ms(now), ms(c.Begin.Expires))
		}
	}
	if err != nil {
		return err
	}
	return t.audit(now, c.Audit)
}

// DeleteAgent forgets an agent, their sessions and links; what they had was released
// before. ErrNotFound if there is none.
func (s *Store) DeleteAgent(ctx context.Context, now time.Time, id string, audit gateway.AuditEntry) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`DELETE FROM agents WHERE id = $1`, id)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		for _, q := range []string{
			`DELETE FROM sessions WHERE agent = $1`, `DELETE FROM links WHERE agent = $1`, `DELETE FROM quick_replies WHERE owner = $1`,
		} {
			if err == nil {
				_, err = t.exec(q, id)
			}
		}
		if err != nil {
			return err
		}
		return t.audit(now, audit)
	})
}

// SetSettings keeps an agent's settings of the page, a JSON object.
func (s *Store) SetSettings(ctx context.Context, now time.Time, agent string, settings json.RawMessage) error {
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`UPDATE agents SET settings = $1 WHERE id = $2`, string(settings), agent)
		return err
	})
}

// orNull is text as a column has it, NULL for "".
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// SessionAgent returns the agent of a session that has not ended, or ErrNotFound.
func (s *Store) SessionAgent(ctx context.Context, now time.Time, hash [32]byte) (Agent, error) {
	return s.scanAgent(s.row(ctx, agentQuery+` WHERE disabled = 0 AND id = (SELECT agent FROM sessions WHERE hash = $1 AND expires_at > $2)`, hash[:], ms(now)))
}

// EndSession ends a session; one that is not there is no error, and no write.
func (s *Store) EndSession(ctx context.Context, now time.Time, hash [32]byte) error {
	var agent string
	err := s.row(ctx, `SELECT agent FROM sessions WHERE hash = $1`, hash[:]).Scan(&agent)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read session: %w", err)
	}
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE hash = $1`, hash[:])
		return err
	})
}

// AddLink keeps a one-time link under the SHA-256 of its text.
func (s *Store) AddLink(ctx context.Context, now time.Time, hash [32]byte, agent string, expires time.Time, audit gateway.AuditEntry) error {
	return s.write(ctx, now, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM links WHERE expires_at <= $1`, ms(now)); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO links (hash, agent, expires_at) VALUES ($1, $2, $3)`, hash[:], agent, ms(expires)); err != nil {
			return err
		}
		return t.audit(now, audit)
	})
}

// LinkAgent returns whom a link that was not used yet lets in, or ErrNotFound; using it
// is a change of the agent's.
func (s *Store) LinkAgent(ctx context.Context, now time.Time, hash [32]byte) (id string, err error) {
	err = s.row(ctx, `SELECT agent FROM links WHERE hash = $1 AND expires_at > $2`, hash[:], ms(now)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	} else if err != nil {
		err = fmt.Errorf("read link: %w", err)
	}
	return id, err
}

// audit appends to the record of who did what.
func (t *tx) audit(now time.Time, e gateway.AuditEntry) error {
	if e.What == "" {
		return nil
	}
	_, err := t.exec(`INSERT INTO audit (cursor, at, who, what, target, detail) VALUES ($1, $2, $3, $4, $5, $6)`, t.draw(), ms(now), e.Who, e.What, e.Target, e.Detail)
	return err
}

// AddAudit appends an entry that stands for itself.
func (s *Store) AddAudit(ctx context.Context, now time.Time, e gateway.AuditEntry) error {
	return s.write(ctx, now, func(t *tx) error { return t.audit(now, e) })
}

// Audit lists who did what, the latest first, at most limit (1 to 1,000).
func (s *Store) Audit(ctx context.Context, cursor string, limit int) (gateway.Page[gateway.AuditEntry], error) {
	page := gateway.Page[gateway.AuditEntry]{Items: []gateway.AuditEntry{}}
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	rows, err := s.rows(ctx, `SELECT cursor, at, who, what, target, detail FROM audit WHERE cursor < $1 ORDER BY cursor DESC LIMIT $2`, below, limit+1)
	if err != nil {
		return page, fmt.Errorf("read audit: %w", err)
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		var e gateway.AuditEntry
		var n, at int64
		if err := rows.Scan(&n, &at, &e.Who, &e.What, &e.Target, &e.Detail); err != nil {
			return page, fmt.Errorf("read audit: %w", err)
		}
		if len(page.Items) == limit {
			page.Next = formatCursor(last)
			break
		}
		e.At, last = gateway.At(fromMS(at)), n
		page.Items = append(page.Items, e)
	}
	return page, rows.Err()
}
