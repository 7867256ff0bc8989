package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// eraseSlice is how many lines of a timeline one commit of an erasure takes.
const eraseSlice = 200

// scrubFor is how long an erasure waits for its bytes to go: what the follower does
// meanwhile waits with it, and WeChat posts it for 15 s.
const scrubFor = 10 * time.Second

// A trace is where a follower, $1 of the account $2, is named besides the timeline.
type trace struct{ change, table, row, where string }

// traces are all places that are not found through messages and the timeline; the
// first are lines of the feed.
var traces = []trace{
	{`DELETE FROM feed`, "feed", "cursor", about},
	{`DELETE FROM deliveries`, "deliveries", "cursor", `openid = $1 AND account = $2`},
	{`UPDATE audit SET target = ''`, "audit", "cursor", `target = $2 || '/' || $1`},
	{`DELETE FROM webhook_attempts`, "webhook_attempts", "id", `openid = $1 AND account = $2`},
}

// erase is a statement that erases a slice of a trace.
func (t trace) erase() string {
	return fmt.Sprintf(`%[1]s WHERE %[4]s AND %[3]s IN (SELECT %[3]s FROM %[2]s WHERE %[4]s ORDER BY %[3]s LIMIT %[5]d)`, t.change, t.table, t.row, t.where, eraseSlice)
}

// Erase deletes all that is kept of a follower: messages with their attempts and
// idempotency keys, what they did, what is known of their windows. It is done in
// slices; the last one notes the erasure, by the hash of the openid alone. When it
// returns nil no row, and with SQLite no byte of the files, has the openid or a text
// of the conversation. Nobody may write to the follower or hear of them meanwhile: the
// caller sees to that. What the team does meanwhile goes, too, and afterwards there is
// no conversation in which it could do anything. Erasing what is not there is no error.
// It returns how many messages and lines about the follower there were.
//
// A file that only they have sent goes, unless it was sent on: then it is what the
// gateway has of a message to somebody else, and goes after that one.
func (s *Store) Erase(ctx context.Context, now time.Time, account, openid string) (gateway.Erased, error) {
	gone := gateway.Erased{Hash: eraseHash(openid), At: gateway.At(now), Account: account}
	if err := s.settleWholly(ctx); err != nil { // said and listing are views
		return gone, fmt.Errorf("erase: %w", err)
	}
	for last := false; !last; {
		s.mu.Lock()
		viewed := s.viewed // what came later may be in no timeline yet
		s.mu.Unlock()
		said, err := s.numbers(ctx, `SELECT s.cursor FROM said s JOIN conversations c ON c.id = s.conversation
			WHERE c.openid = $1 AND c.account = $2 ORDER BY s.cursor LIMIT $3`, openid, account, eraseSlice)
		if err != nil {
			return gone, fmt.Errorf("erase: %w", err)
		}
		var messages, lines int
		err = s.write(ctx, now, func(t *tx) error {
			messages, lines = 0, 0
			last = len(said) == 0
			for _, cursor := range said {
				var seq int64
				if err := t.row(`SELECT coalesce(max(seq), 0) FROM messages WHERE seq = $1`, cursor).Scan(&seq); err != nil {
					return err
				}
				if seq != 0 {
					messages++
					if err := t.forget(seq); err != nil {
						return err
					}
					continue
				}
				lines++
				if err := t.unsay(pointOfTalk{cursor, account, openid}); err != nil {
					return err
				}
				if err := t.put(`DELETE FROM callbacks_seen WHERE cursor = $1`, cursor); err != nil { // keys of events have the openid
					return err
				}
				if err := t.put(`DELETE FROM feed WHERE cursor = $1`, cursor); err != nil {
					return err
				}
			}
			for i, trace := range traces {
				n, err := t.exec(trace.erase(), openid, account)
				if err != nil {
					return err
				}
				if last = last && n == 0; i == 0 {
					lines += int(n)
				}
			}
			if !last {
				return nil
			}
			late, err := t.exec(`DELETE FROM feed WHERE cursor > $1 AND cursor <= $2 AND openid = $3 AND account = $4 AND seq IS NULL`, viewed, t.cursor, openid, account)
			if err != nil {
				return err
			}
			lines += int(late)
			for _, q := range []string{
				`DELETE FROM said WHERE conversation = (SELECT id FROM conversations WHERE openid = $1 AND account = $2)`,
				`DELETE FROM desk WHERE openid = $1 AND account = $2`, `DELETE FROM conversations WHERE openid = $1 AND account = $2`,
			} {
				if err := t.put(q, openid, account); err != nil {
					return err
				}
			}
			hash, err := hex.DecodeString(gone.Hash)
			if err != nil {
				return err
			}
			return t.put(`INSERT INTO erasures (account, hash, at) VALUES ($1, $2, $3) ON CONFLICT (account, hash) DO UPDATE SET at = $3`, account, hash, ms(now))
		})
		if err != nil {
			return gone, fmt.Errorf("erase: %w", err)
		}
		gone.Messages, gone.Lines = gone.Messages+messages, gone.Lines+lines
	}
	for {
		if n, err := s.dropLoose(ctx, now, account); err != nil {
			return gone, fmt.Errorf("erase: %w", err)
		} else if n == 0 {
			break
		}
	}
	return gone, s.dialect.scrub(context.WithoutCancel(ctx), s.writer)
}

// eraseHash is by what an erasure is known.
func eraseHash(openid string) string {
	h := sha256.Sum256([]byte(openid))
	return hex.EncodeToString(h[:])
}

// Erasures lists those of the given accounts (none: all), the latest first, at most
// limit (1 to 1,000).
func (s *Store) Erasures(ctx context.Context, accounts []string, limit int) ([]gateway.Erased, error) {
	rows, err := s.rows(ctx, `SELECT account, hash, at FROM erasures ORDER BY at DESC, account, hash`)
	if err != nil {
		return nil, fmt.Errorf("list erasures: %w", err)
	}
	defer rows.Close()
	all := []gateway.Erased{}
	for len(all) < min(max(limit, 1), largestPage) && rows.Next() {
		var e gateway.Erased
		var hash []byte
		var at int64
		if err := rows.Scan(&e.Account, &hash, &at); err != nil {
			return nil, fmt.Errorf("list erasures: %w", err)
		}
		e.Hash, e.At = hex.EncodeToString(hash), gateway.At(fromMS(at))
		if len(accounts) == 0 || slices.Contains(accounts, e.Account) {
			all = append(all, e)
		}
	}
	return all, rows.Err()
}

// Export yields all that is kept of a follower, oldest first: first what is known of
// them, then each message as it is now with its attempts, and each thing that they
// did. [ErrNotFound] if there is nothing.
func (s *Store) Export(ctx context.Context, account, openid string) iter.Seq2[gateway.Exported, error] {
	return func(yield func(gateway.Exported, error) bool) {
		if err := s.export(ctx, account, openid, yield); err != nil {
			yield(gateway.Exported{}, err)
		}
	}
}

func (s *Store) export(ctx context.Context, account, openid string, yield func(gateway.Exported, error) bool) error {
	if err := s.settleWholly(ctx); err != nil { // nothing may be missing
		return err
	}
	c, p, err := scanConversation(s.row(ctx, conversationQuery+` WHERE c.openid = $1 AND c.account = $2`, openid, account))
	if err != nil {
		return err
	}
	them := gateway.Exported{
		Type: "conversation", Account: account, OpenID: openid, Ledger: c.Ledger,
		Remark: c.Desk.Remark, Tags: c.Desk.Tags, Assigned: c.Desk.Assigned,
	}
	if c.Handler != "" {
		them.Handling = &c.Handling
	}
	if !yield(them, nil) {
		return nil
	}
	others, err := s.numbers(ctx, `SELECT cursor FROM feed WHERE `+about+` ORDER BY cursor`, openid, account)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	for after := int64(0); ; {
		said, err := s.numbers(ctx, `SELECT cursor FROM said WHERE conversation = $1 AND cursor > $2 ORDER BY cursor LIMIT $3`, p.id, after, eraseSlice)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		for _, cursor := range said {
			after = cursor
			for len(others) > 0 && others[0] < cursor {
				if more, err := s.exportLine(ctx, others[0], yield); !more || err != nil {
					return err
				}
				others = others[1:]
			}
			if more, err := s.exportLine(ctx, cursor, yield); !more || err != nil {
				return err
			}
		}
		if len(said) < eraseSlice {
			break
		}
	}
	for _, cursor := range others {
		if more, err := s.exportLine(ctx, cursor, yield); !more || err != nil {
			return err
		}
	}
	return nil
}

// exportLine yields the message that was accepted in a line, or the line. A line
// that was pruned meanwhile is passed over.
func (s *Store) exportLine(ctx context.Context, cursor int64, yield func(gateway.Exported, error) bool) (more bool, err error) {
	m, err := s.Load(ctx, cursor)
	switch {
	case err == nil:
		attempts, err := s.Attempts(ctx, m.ID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		at := m.AcceptedAt
		return yield(gateway.Exported{Type: "message", At: &at, Message: &m.Message, Attempts: attempts}, nil), nil
	case !errors.Is(err, ErrNotFound):
		return false, err
	}
	e, _, err := scanEntry(s.row(ctx, feedQuery+` WHERE f.cursor = $1`, cursor))
	if errors.Is(err, ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return yield(gateway.Exported{Type: e.Type, At: &e.At, Data: json.RawMessage(e.Data)}, nil), nil
}
