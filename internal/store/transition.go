package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
)

// A Begin says that an attempt is about to leave.
type Begin struct {
	Seq               int64
	Attempt           int           // its number, from 1
	PossibleDuplicate bool          // an earlier attempt may have arrived; stays on the message
	Conversation      *Conversation // with the slot taken; nil: as it is
}

// Begin marks a queued message as sending. Only when it returns nil may the post
// leave: a message that was begun and not finished is found unknown after a crash.
// Errors: *ConflictError, ErrUnavailable, ErrFenced.
func (s *Store) Begin(ctx context.Context, now time.Time, b Begin) error {
	return s.write(ctx, now, func(t *tx) error {
		err := t.pass(now, passage{
			seq: b.Seq, from: gateway.Queued, to: gateway.Sending,
			attempts: b.Attempt, duplicate: b.PossibleDuplicate, keepOutcome: true,
		})
		if err != nil {
			return err
		}
		return t.saveConversation(b.Conversation)
	})
}

// A Finish says what came of an attempt.
type Finish struct {
	Seq               int64
	Attempt           gateway.Attempt
	State             gateway.State    // Sent, Failed, Unknown, Queued (a retry, or the next part) or Parked
	Outcome           *gateway.Outcome // nil for Sent
	RetryAt           time.Time        // of Queued, and of Unknown that is to be resent
	PossibleDuplicate bool             // stays on the message
	PartsSent         int              // of a long text; never less than before
	Conversation      *Conversation    // with the slot given back, say; nil: as it is
}

// Finish records the attempt of a message that is sending. Errors as for Begin;
// after ErrUnavailable call it again, with the same value, until it is kept.
func (s *Store) Finish(ctx context.Context, now time.Time, f Finish) error {
	if !slices.Contains(endings, f.State) {
		return fmt.Errorf("an attempt can't end as %q", f.State)
	}
	outcome, err := textOf(f.Outcome)
	if err != nil {
		return err
	}
	attempt, err := textOf(&f.Attempt)
	if err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		err := t.pass(now, passage{
			seq: f.Seq, from: gateway.Sending, to: f.State,
			attempts: f.Attempt.N, duplicate: f.PossibleDuplicate || f.Attempt.PossibleDuplicate,
			retryAt: f.RetryAt, outcome: outcome, errcode: errcodeOf(f.Outcome), attempt: attempt, partsSent: f.PartsSent,
		})
		if err != nil {
			return err
		}
		return t.saveConversation(f.Conversation)
	})
}

var endings = []gateway.State{gateway.Sent, gateway.Failed, gateway.Unknown, gateway.Queued, gateway.Parked}

// A Move takes a message from one state to another without an attempt: parked
// and let out, let in at its not_before (queued to queued), expired, canceled,
// failed before it left, resolved, resent (unknown to queued), its resend called
// off (unknown to unknown), begun and called back before it left (sending to
// queued; the attempt does not count).
type Move struct {
	Seq               int64
	From, To          gateway.State
	Outcome           *gateway.Outcome // why; nil keeps the one it has
	RetryAt           time.Time        // zero: none (any more)
	PossibleDuplicate bool             // stays on the message
	PartsSent         int              // of a long text; never less than before
	Conversation      *Conversation    // nil: as it is
}

// Move performs moves in their order and in one commit, all or none. A message
// that was in no lane draws its Number when it is moved to queued or parked.
// Unknown to queued is its resend: that makes it Resent and a possible duplicate.
// Errors: *ConflictError for the first that is not in its From, ErrNotFound,
// ErrUnavailable, ErrFenced.
func (s *Store) Move(ctx context.Context, now time.Time, moves ...Move) error {
	passages := make([]passage, len(moves))
	for i, m := range moves {
		if !slices.Contains(mayMove[m.From], m.To) {
			return fmt.Errorf("a message can't be moved from %q to %q", m.From, m.To)
		}
		outcome, err := textOf(m.Outcome)
		if err != nil {
			return err
		}
		passages[i] = passage{
			seq: m.Seq, from: m.From, to: m.To,
			attempts: keepAttempts, retryAt: m.RetryAt,
			outcome: outcome, errcode: errcodeOf(m.Outcome), keepOutcome: m.Outcome == nil,
			resent:    m.From == gateway.Unknown && m.To == gateway.Queued,
			duplicate: m.PossibleDuplicate || m.From == gateway.Unknown && m.To == gateway.Queued,
			partsSent: m.PartsSent,
		}
		if m.From == gateway.Sending {
			passages[i].attempts = oneAttemptLess
		}
	}
	return s.write(ctx, now, func(t *tx) error {
		for i, p := range passages {
			if err := t.pass(now, p); err != nil {
				return err
			}
			if err := t.saveConversation(moves[i].Conversation); err != nil {
				return err
			}
		}
		return nil
	})
}

// mayMove is the contract's table of states without what Begin and Finish do.
var mayMove = map[gateway.State][]gateway.State{
	gateway.Queued:  {gateway.Queued, gateway.Parked, gateway.Expired, gateway.Canceled, gateway.Failed},
	gateway.Parked:  {gateway.Queued, gateway.Expired, gateway.Canceled},
	gateway.Sending: {gateway.Queued},
	gateway.Unknown: {gateway.Queued, gateway.Sent, gateway.Failed, gateway.Unknown},
}

// A passage is a line about a message that says where it has gone.
type passage struct {
	seq         int64
	from, to    gateway.State
	attempts    int // or one of the two below
	duplicate   bool
	resent      bool
	retryAt     time.Time
	outcome     any // JSON or nil
	errcode     int
	keepOutcome bool
	attempt     any // JSON or nil
	partsSent   int
}

const (
	keepAttempts   = -1
	oneAttemptLess = -2
)

// pass writes the line if the message is in p.from. What p does not say is taken
// over from the line before.
func (t *tx) pass(now time.Time, p passage) error {
	l, err := t.latest(p.seq)
	if err != nil {
		return err
	}
	if l.state != p.from {
		m, err := scanMessage(t.row(messageQuery+` WHERE m.seq = $1`, p.seq))
		if err != nil {
			return err
		}
		return &ConflictError{Message: m}
	}
	cursor := t.draw()
	l.state = p.to
	if l.number == 0 && (p.to == gateway.Queued || p.to == gateway.Parked) {
		l.number = cursor
	}
	switch p.attempts {
	case keepAttempts:
	case oneAttemptLess:
		l.attempts--
	default:
		l.attempts = p.attempts
	}
	l.duplicate, l.resent, l.partsSent = l.duplicate || p.duplicate, l.resent || p.resent, max(l.partsSent, p.partsSent)
	if !p.keepOutcome {
		l.errcode, l.outcome = p.errcode, p.outcome
	}
	return t.write(cursor, now, "message."+string(p.to), p.seq, l, p.retryAt, p.attempt)
}

// A line is what the feed's latest line about a message says and the next one may
// take over.
type line struct {
	account, openid string
	state           gateway.State
	number          int64
	attempts        int
	duplicate       bool
	resent          bool
	errcode         int
	outcome         any // JSON or nil
	partsSent       int
}

// write appends a line about a message.
func (t *tx) write(cursor int64, now time.Time, kind string, seq int64, l line, retryAt time.Time, attempt any) error {
	var retry, sent any
	if !retryAt.IsZero() {
		retry = ms(retryAt)
	}
	if l.partsSent > 0 {
		sent = l.partsSent
	}
	err := t.put(`INSERT INTO feed (cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, retry_at, data, attempt, parts_sent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		cursor, ms(now), l.account, l.openid, kind, seq, l.number, l.attempts, bit(l.duplicate), bit(l.resent), l.errcode, retry, l.outcome, attempt, sent)
	if err != nil {
		return err
	}
	if len(t.lines) >= mostLines {
		clear(t.lines)
	}
	if t.lines[seq] = l; l.state.Final() {
		delete(t.lines, seq)
	}
	return nil
}

// mostLines is how many lines are remembered, so that the next passage of their
// messages need not look them up. They are of this process alone, since nobody
// else may write while it holds the epoch, and forgotten whenever anything is
// undone.
const mostLines = 8192

// latest returns the latest line about a message.
func (t *tx) latest(seq int64) (line, error) {
	if l, ok := t.lines[seq]; ok {
		return l, nil
	}
	var l line
	var kind string
	var outcome sql.NullString
	var sent sql.NullInt64
	err := t.row(`SELECT account, openid, type, number, attempts, duplicate, resent, errcode, data, parts_sent FROM feed
		WHERE cursor = (SELECT max(cursor) FROM feed WHERE seq = $1)`, seq).
		Scan(&l.account, &l.openid, &kind, &l.number, &l.attempts, &l.duplicate, &l.resent, &l.errcode, &outcome, &sent)
	if errors.Is(err, sql.ErrNoRows) {
		return l, ErrNotFound
	}
	if outcome.Valid {
		l.outcome = outcome.String
	}
	l.state, l.partsSent = stateOf(kind), int(sent.Int64)
	return l, err
}

// A ConflictError says that a message is not in the state that a call named.
type ConflictError struct {
	Message Message // as it is
}

func (e *ConflictError) Error() string {
	return "the message is " + string(e.Message.State)
}

// Unwrap returns ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// Recover ends what an earlier process left in the middle: every message that was
// sending becomes unknown with the reason "crash", and its attempt is recorded as
// such. Where resendAt returns a time that is when the message is to be resent;
// it is asked only about those with on_unknown: resend that were not Resent. It
// returns the messages it changed. Call it once, after Open and before Unfinished.
func (s *Store) Recover(ctx context.Context, now time.Time, resendAt func(Message) time.Time) ([]Message, error) {
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	seqs, err := s.numbers(ctx, `SELECT seq FROM listing WHERE state = 'sending' AND state <> 'sent' ORDER BY seq`)
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	for _, seq := range seqs {
		if err := s.crashed(ctx, now, seq, resendAt); err != nil && !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("recover: %w", err)
		}
		failpoint.Here("recover.one")
	}
	if err := s.abandonFetches(ctx, now); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	changed := make([]Message, len(seqs))
	for i, seq := range seqs {
		if changed[i], err = s.Load(ctx, seq); err != nil {
			return nil, fmt.Errorf("recover: %w", err)
		}
	}
	return changed, nil
}

// crashed ends the attempt in the middle of which a process died.
func (s *Store) crashed(ctx context.Context, now time.Time, seq int64, resendAt func(Message) time.Time) error {
	m, err := s.Load(ctx, seq)
	if err != nil {
		return err
	}
	var began int64
	err = s.row(ctx, `SELECT at FROM feed WHERE cursor = (SELECT max(cursor) FROM feed WHERE seq = $1)`, seq).Scan(&began)
	if err != nil {
		return err
	}
	f := Finish{
		Seq: seq,
		Attempt: gateway.Attempt{
			N: m.Attempts, At: gateway.At(fromMS(began)), Outcome: string(gateway.Unknown), PossibleDuplicate: m.PossibleDuplicate,
			Part: m.nextPart(),
		},
		State:   gateway.Unknown,
		Outcome: &gateway.Outcome{Class: kefu.ErrUnknownOutcome, Reason: "crash", Advice: kefu.ErrUnknownOutcome.Advice("en")},
	}
	if m.OnUnknown == gateway.Resend && !m.Resent && resendAt != nil {
		f.RetryAt = resendAt(m)
	}
	return s.Finish(ctx, now, f)
}

// nextPart is the part of a long text that an attempt is about; 0 for other messages.
func (m Message) nextPart() int {
	if m.Parts == 0 {
		return 0
	}
	return m.PartsSent + 1
}

func parseAttempt(text string) (a gateway.Attempt, err error) {
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return a, fmt.Errorf("read attempt: %w", err)
	}
	return a, nil
}

func errcodeOf(o *gateway.Outcome) int {
	if o == nil {
		return 0
	}
	return o.ErrCode
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
