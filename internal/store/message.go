package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A Message is a kept message: what the API shows of it (but for its window), and
// what only the gateway needs.
type Message struct {
	gateway.Message
	// Seq names the message inside the gateway; it grows in order of acceptance.
	Seq int64
	// Number is its place in the lane: drawn in the accepting commit, or for
	// not_before in the commit that lets it in. 0: it is in no lane yet.
	Number int64
	// Resent: it has had the one resend that on_unknown: resend grants.
	Resent bool
	// Cuts are the bytes of its content that each part of a long text has; nil for
	// every other message. Parts is their number.
	Cuts [][2]int
}

// A Draft is a message that is to be kept.
type Draft struct {
	// Message has its content. State is Queued (also for one with a not_before
	// after now, which is in no lane yet) or Parked, with an Outcome that says
	// why. ID and AcceptedAt are set by Enqueue, an ID that is there is kept.
	gateway.Message

	// Cuts are the parts of a long text; they set Parts.
	Cuts [][2]int

	// RetryOnce, with RetryOf and without a key: the draft joins the message that an
	// earlier one with this RetryOf made, also when that is final.
	RetryOnce bool

	// IdempotencyKey, if not "", makes a second draft with the same key and
	// fingerprint answer with the message of the first.
	IdempotencyKey string
	Fingerprint    [32]byte // SHA-256 of the request
}

// Kept is what became of a draft.
type Kept struct {
	Message  Message // as it is now, if Err is nil
	Replayed bool    // an earlier draft with the same key made the message
	Err      error   // ErrIdempotencyMismatch, ErrUnavailable, or why this row was refused
}

// Enqueue keeps messages and returns a Kept for each, in order, once they are on
// disk. Each stands for itself: one that is refused harms no other. The same
// idempotency key twice, within the call or from two callers at once, makes one
// message. A draft with RetryOf and without a key joins the message that an
// earlier one with this RetryOf made, while that is not final.
func (s *Store) Enqueue(ctx context.Context, now time.Time, drafts ...Draft) []Kept {
	kept := make([]Kept, len(drafts))
	if err := ctx.Err(); err != nil {
		for i := range kept {
			kept[i].Err = err
		}
		return kept
	}
	rows := make([]enqueue, len(drafts))
	ops := make([]*op, 0, len(drafts))
	for i := range drafts {
		rows[i] = enqueue{now: now, draft: &drafts[i], kept: &kept[i]}
		if kept[i].Err = rows[i].prepare(&s.ids); kept[i].Err == nil {
			rows[i].op = op{now: now, run: rows[i].run}
			ops = append(ops, &rows[i].op)
		}
	}
	s.submit(true, ops...)
	for i := range rows {
		if rows[i].op.err != nil {
			kept[i] = Kept{Err: rows[i].op.err}
		}
	}
	return kept
}

// enqueue is one draft on its way into the log.
type enqueue struct {
	op       op
	now      time.Time
	draft    *Draft
	kept     *Kept
	id       [16]byte
	retryOf  any
	outcome  any
	warnings any
	author   any
	cuts     any
}

func (e *enqueue) prepare(ids *ids) (err error) {
	d := &e.draft.Message
	if len(d.OpenID) > longestOpenID {
		return errOpenID
	}
	if d.State != gateway.Queued && d.State != gateway.Parked {
		return fmt.Errorf("a message can't begin as %q", d.State)
	}
	if e.scheduled() && d.State != gateway.Queued {
		return errors.New("a message whose not_before has not come can't be parked")
	}
	if d.ID == "" {
		e.id = ids.next(e.now)
	} else if e.id, err = parseID(d.ID); err != nil {
		return err
	}
	if e.retryOf, err = retried(e.draft); err != nil {
		return err
	}
	if e.outcome, err = textOf(d.Outcome); err != nil {
		return err
	}
	if e.author, err = textOf(d.By); err != nil {
		return err
	}
	if len(e.draft.Cuts) > 0 {
		if e.cuts, err = textOf(&e.draft.Cuts); err != nil {
			return err
		}
	}
	if len(d.Warnings) > 0 {
		e.warnings, err = textOf(&d.Warnings)
	}
	return err
}

// longestOpenID is the most bytes of an openid: far more than WeChat's have, and
// little enough for every database's index.
const longestOpenID = 255

var errOpenID = fmt.Errorf("an openid has at most %d bytes", longestOpenID)

func (e *enqueue) scheduled() bool {
	return e.draft.NotBefore != nil && e.draft.NotBefore.After(e.now)
}

// run keeps the draft, or finds the message that it joins.
func (e *enqueue) run(t *tx) error {
	d, key := &e.draft.Message, e.draft.IdempotencyKey
	switch seq, err := joined(func(q string, args ...any) scanner { return t.row(q, args...) }, e.now, e.draft, e.retryOf); {
	case err == nil:
		return e.join(t, seq)
	case !errors.Is(err, ErrNotFound):
		return err
	}

	seq := t.draw()
	if err := t.put(`INSERT INTO messages (seq, id, account, openid, msgtype, body, accepted_at, not_before, expires_at,
			when_closed, on_unknown, priority, source, retry_of, metadata, warnings, parts, cuts, author)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		seq, e.id[:], d.Account, d.OpenID, d.MsgType, string(d.Message), ms(e.now), msOf(d.NotBefore), ms(d.ExpiresAt.Time),
		string(d.WhenClosed), string(d.OnUnknown), string(d.Priority), string(d.Source), e.retryOf, nullable(d.Metadata), e.warnings,
		len(e.draft.Cuts), e.cuts, e.author,
	); err != nil {
		return err
	}
	number := seq
	if e.scheduled() {
		number = 0
	}
	l := line{account: d.Account, openid: d.OpenID, state: gateway.Queued, number: number, duplicate: d.PossibleDuplicate}
	if err := t.write(seq, e.now, "message.accepted", seq, l, time.Time{}, nil); err != nil {
		return err
	}
	if d.State == gateway.Parked {
		l.state, l.errcode, l.outcome = gateway.Parked, errcodeOf(d.Outcome), e.outcome
		if err := t.write(t.draw(), e.now, "message.parked", seq, l, time.Time{}, nil); err != nil {
			return err
		}
	}
	if key != "" {
		if err := t.put(`DELETE FROM idempotency WHERE account = $1 AND key = $2`, d.Account, key); err != nil {
			return err
		}
		if err := t.put(`INSERT INTO idempotency (seq, account, key, fingerprint, at) VALUES ($1, $2, $3, $4, $5)`,
			seq, d.Account, key, e.draft.Fingerprint[:], ms(e.now)); err != nil {
			return err
		}
	}
	*e.kept = Kept{Message: Message{Message: *d, Seq: seq, Number: number, Cuts: e.draft.Cuts}}
	m := &e.kept.Message
	m.ID, m.AcceptedAt, m.Attempts, m.Parts = formatID(e.id), gateway.At(e.now), 0, len(m.Cuts)
	if d.State == gateway.Queued {
		m.Outcome = nil
	}
	return nil
}

func (e *enqueue) join(t *tx, seq int64) error {
	m, err := scanMessage(t.row(messageQuery+` WHERE m.seq = $1`, seq))
	if err == nil {
		*e.kept = Kept{Message: m, Replayed: true}
	}
	return err
}

// messageQuery reads messages, m, with their latest line, f.
const messageQuery = `SELECT m.seq, m.id, m.account, m.openid, m.msgtype, m.body, m.priority, m.accepted_at, m.not_before, m.expires_at,
		m.when_closed, m.on_unknown, m.source, m.retry_of, m.metadata, m.warnings, m.parts, m.cuts, m.author,
		f.type, f.number, f.attempts, f.duplicate, f.resent, f.retry_at, f.data, f.parts_sent
	FROM messages m JOIN feed f ON f.cursor = (SELECT max(cursor) FROM feed WHERE seq = m.seq)`

func scanMessage(row scanner) (Message, error) {
	var (
		m                                   Message
		id, retryOf                         []byte
		body, kind                          string
		metadata, warnings, author, outcome sql.NullString
		cuts                                sql.NullString
		accepted, expires                   int64
		notBefore, retryAt, sent            sql.NullInt64
	)
	err := row.Scan(&m.Seq, &id, &m.Account, &m.OpenID, &m.MsgType, &body, &m.Priority, &accepted, &notBefore, &expires,
		&m.WhenClosed, &m.OnUnknown, &m.Source, &retryOf, &metadata, &warnings, &m.Parts, &cuts, &author,
		&kind, &m.Number, &m.Attempts, &m.PossibleDuplicate, &m.Resent, &retryAt, &outcome, &sent)
	if errors.Is(err, sql.ErrNoRows) {
		return Message{}, ErrNotFound
	} else if err != nil {
		return Message{}, fmt.Errorf("read message: %w", err)
	}
	m.ID, m.State, m.PartsSent = formatID([16]byte(id)), stateOf(kind), int(sent.Int64)
	if retryOf != nil {
		m.RetryOf = formatID([16]byte(retryOf))
	}
	m.AcceptedAt, m.ExpiresAt = gateway.At(fromMS(accepted)), gateway.At(fromMS(expires))
	m.NotBefore, m.RetryAt = timeOf(notBefore), timeOf(retryAt)
	if body != "" {
		m.Message.Message = json.RawMessage(body)
	}
	if metadata.Valid {
		m.Metadata = json.RawMessage(metadata.String)
	}
	if warnings.Valid {
		if err := json.Unmarshal([]byte(warnings.String), &m.Warnings); err != nil {
			return Message{}, fmt.Errorf("read message: %w", err)
		}
	}
	if cuts.Valid {
		if err := json.Unmarshal([]byte(cuts.String), &m.Cuts); err != nil {
			return Message{}, fmt.Errorf("read message: %w", err)
		}
	}
	if m.By, err = authorOf(author); err != nil {
		return Message{}, err
	}
	m.Outcome, err = outcomeOf(outcome)
	return m, err
}

func authorOf(text sql.NullString) (*gateway.By, error) {
	if !text.Valid {
		return nil, nil
	}
	by := new(gateway.By)
	if err := json.Unmarshal([]byte(text.String), by); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return by, nil
}

// Message returns the message with this id as it is now, or ErrNotFound.
func (s *Store) Message(ctx context.Context, id string) (Message, error) {
	raw, err := parseID(id)
	if err != nil {
		return Message{}, ErrNotFound
	}
	return scanMessage(s.row(ctx, messageQuery+` WHERE m.id = $1`, raw[:]))
}

// Load is Message by Seq.
func (s *Store) Load(ctx context.Context, seq int64) (Message, error) {
	return scanMessage(s.row(ctx, messageQuery+` WHERE m.seq = $1`, seq))
}

// Attempts returns the attempts of the message with this id, oldest first. A
// message that is sending has one more, of which no line tells yet.
func (s *Store) Attempts(ctx context.Context, id string) ([]gateway.Attempt, error) {
	m, err := s.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := s.rows(ctx, `SELECT attempt FROM feed WHERE seq = $1 AND attempt IS NOT NULL ORDER BY cursor`, m.Seq)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	defer rows.Close()
	attempts := []gateway.Attempt{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("read attempts: %w", err)
		}
		a, err := parseAttempt(text)
		if err != nil {
			return nil, err
		}
		attempts = append(attempts, a)
	}
	return attempts, rows.Err()
}

// ids are those of messages, in the order in which they are given, also within a
// millisecond: a batch is repeated by its ids, the oldest first.
type ids struct {
	mu sync.Mutex // guards all below
	at int64      // the millisecond of the latest
	n  uint16     // how many it had before that
}

func (i *ids) next(now time.Time) [16]byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := ms(now); at != i.at {
		i.at, i.n = at, 0
	} else if i.n < 1<<12-1 {
		i.n++
	}
	return newID(now, i.n)
}

// newID makes a UUIDv7 with n, of 12 bits, as its counter (RFC 9562, 6.2).
func newID(now time.Time, n uint16) (id [16]byte) {
	rand.Read(id[8:])
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(ms(now)))
	copy(id[:6], stamp[2:])
	id[6], id[7] = byte(n>>8)|0x70, byte(n)
	id[8] = id[8]&0x3f | 0x80
	return id
}

const idPrefix = "msg_"

func formatID(id [16]byte) string {
	b := make([]byte, 0, len(idPrefix)+36)
	b = append(b, idPrefix...)
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return string(b)
}

// parseID accepts what formatID makes, nothing else.
func parseID(text string) (id [16]byte, err error) {
	digits := strings.ReplaceAll(strings.TrimPrefix(text, idPrefix), "-", "")
	if len(digits) == 32 {
		_, err = hex.Decode(id[:], []byte(digits))
	}
	if err != nil || formatID(id) != text {
		return id, fmt.Errorf("%.60q is not the id of a message", text)
	}
	return id, nil
}

const newest = 1<<63 - 1

func formatCursor(n int64) string { return strconv.FormatInt(n, 10) }

func parseCursor(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || formatCursor(n) != text {
		return 0, ErrCursor
	}
	return n, nil
}

func stateOf(kind string) gateway.State {
	if kind == "message.accepted" {
		return gateway.Queued
	}
	return gateway.State(strings.TrimPrefix(kind, "message."))
}

// encode is JSON as it goes out: &, < and > as themselves.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// textOf is v's JSON as a column has it, NULL for a nil pointer.
func textOf[T any](v *T) (any, error) {
	if v == nil {
		return nil, nil
	}
	text, err := encode(v)
	return string(text), err
}

func outcomeOf(text sql.NullString) (*gateway.Outcome, error) {
	if !text.Valid {
		return nil, nil
	}
	o := new(gateway.Outcome)
	if err := json.Unmarshal([]byte(text.String), o); err != nil {
		return nil, fmt.Errorf("read outcome: %w", err)
	}
	return o, nil
}

func nullable(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}

func msOf(t *gateway.Time) any {
	if t == nil || t.IsZero() {
		return nil
	}
	return ms(t.Time)
}

func timeOf(n sql.NullInt64) *gateway.Time {
	if !n.Valid {
		return nil
	}
	t := gateway.At(fromMS(n.Int64))
	return &t
}
