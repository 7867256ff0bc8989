package store

import (
	"context"
	"time"

	"github.com/kefu-go/kefu/internal/failpoint"
)

// The views (listing, said, conversations.last_cursor) are what lists and a start
// need and the way of a message does not. They are written from the feed, by the
// writer between transactions, in slices: under load many lines of a message
// become one write, and whatever was done before the last slice costs a start
// nothing, however long the history.
const (
	viewSlice = 2048                   // lines in one step
	viewAfter = 100 * time.Millisecond // a line waits no longer than this, unless the writer is busy
	viewWait  = time.Second            // nobody waits longer for a view to catch up
)

// spoken are the lines that one of the two sides said or did; a timeline has also
// what the team did, which is in timeline. What else there is about a follower, and
// of no message, is about: an index of the feed, which has the same words.
const (
	spoken   = `('message.accepted', 'follower.message', 'follower.event')`
	timeline = `('message.accepted', 'follower.message', 'follower.event', 'conversation.note', 'conversation.changed', 'conversation.answered')`
	about    = `openid = $1 AND account = $2 AND seq IS NULL AND openid IS NOT NULL AND type NOT IN ` + timeline
)

// viewDue reports whether it is the view's turn.
func (w *writer) viewDue(closing bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := w.cursor - w.viewed
	return behind > 0 && w.health == nil &&
		(closing || behind >= viewSlice || w.wanted > w.viewed || time.Since(w.since) >= viewAfter)
}

// view reads the next slice of the feed into the views.
func (w *writer) view() {
	if err := w.viewStep(); err != nil {
		w.report(err)
	}
}

func (w *writer) viewStep() (err error) {
	t, err := w.begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.rollback(t)
		}
	}()
	failpoint.Here("view.before")
	from := t.viewed
	t.viewed = min(t.cursor, from+viewSlice)
	for _, q := range viewQueries {
		if err := t.put(q, from, t.viewed); err != nil {
			return err
		}
	}
	if err := t.commit(); err != nil {
		return err
	}
	w.publish(false, t.head)
	return nil
}

// viewQueries take the lines after $1 up to $2 into the views.
var viewQueries = []string{
	`INSERT INTO listing (seq, account, number, state, errcode)
	SELECT f.seq, f.account, f.number, CASE f.type WHEN 'message.accepted' THEN 'queued' ELSE substr(f.type, 9) END, f.errcode
	FROM (SELECT DISTINCT seq FROM feed WHERE cursor > $1 AND cursor <= $2 AND seq IS NOT NULL) AS touched
	JOIN feed f ON f.cursor = (SELECT max(cursor) FROM feed WHERE seq = touched.seq)
	WHERE true
	ON CONFLICT (seq) DO UPDATE SET number = excluded.number, state = excluded.state, errcode = excluded.errcode
	WHERE listing.state <> excluded.state OR listing.number <> excluded.number OR listing.errcode <> excluded.errcode`,

	`INSERT INTO conversations (openid, account, last_cursor, heard, heard_last, answered, waiting)
	SELECT openid, account, max(cursor), count(their), coalesce(max(their), 0), max(answered),
		coalesce(min(CASE WHEN their > answered THEN their END), 0)
	FROM (SELECT openid, account, cursor, CASE WHEN type = 'follower.message' THEN cursor END AS their,
			max(CASE WHEN type = 'message.accepted' THEN cursor ELSE 0 END) OVER (PARTITION BY openid, account) AS answered
		FROM feed WHERE cursor > $1 AND cursor <= $2 AND openid IS NOT NULL AND type IN ` + spoken + `) AS slice
	GROUP BY openid, account
	ON CONFLICT (openid, account) DO UPDATE SET last_cursor = excluded.last_cursor, heard = conversations.heard + excluded.heard,
		heard_last = CASE WHEN excluded.heard_last > 0 THEN excluded.heard_last ELSE conversations.heard_last END,
		answered = CASE WHEN excluded.answered > 0 THEN excluded.answered ELSE conversations.answered END,
		waiting = CASE WHEN excluded.answered > 0 OR conversations.waiting = 0 THEN excluded.waiting ELSE conversations.waiting END`,

	`INSERT INTO said (conversation, cursor)
	SELECT c.id, f.cursor FROM feed f JOIN conversations c ON c.openid = f.openid AND c.account = f.account
	WHERE f.cursor > $1 AND f.cursor <= $2 AND f.type IN ` + timeline + `
	ORDER BY c.id, f.cursor`,
}

// settle waits until the views have read all that was committed when it was
// called. While the store can't be written, or after a second, it makes do with
// what they have.
func (w *writer) settle(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, viewWait)
	defer cancel()
	w.settleWholly(limited) // what keeps them from it shows elsewhere
	return ctx.Err()
}

// settleWholly is settle for those who must not miss a line: it waits as long as it
// takes, and returns [ErrUnavailable] where the store can't be written.
func (w *writer) settleWholly(ctx context.Context) error {
	w.mu.Lock()
	target := w.cursor
	w.mu.Unlock()
	for {
		w.mu.Lock()
		enough, health, closed, seen := w.viewed >= target, w.health, w.closed, w.seen
		w.wanted = max(w.wanted, target)
		w.mu.Unlock()
		switch {
		case enough:
			return nil
		case health != nil:
			return health
		case closed:
			return ErrClosed
		}
		w.nudge()
		select {
		case <-seen:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
