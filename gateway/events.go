package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// EventOptions choose what [Client.Events] yields. The zero value is all that
// happens from now on.
type EventOptions struct {
	Cursor    string   // go on after the entry with this cursor
	FromStart bool     // without a Cursor: from the oldest entry that is kept
	Accounts  []string // none: all that the key is for
	OpenID    string   // of one follower
	Types     []string // none: all
	// Silence is how long a stream may be without a sign of life before it is taken
	// for dead; default 45 s, three of the gateway's.
	Silence time.Duration
}

// ResetType is the Type of an entry that says: entries are missing before it, since the
// cursor was older than what the feed keeps. Read the lists anew.
const ResetType = "reset"

const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
	maxEntry   = 16 << 20
)

// Events yields the feed as it grows, until the loop or ctx ends. A connection that
// breaks is made anew after the last entry seen, so that none is missing or double;
// meanwhile nothing is yielded. An error is yielded once, at the end: the gateway
// refused ([*Problem]), or could not be reached the first time.
func (c *Client) Events(ctx context.Context, o EventOptions) iter.Seq2[FeedEntry, error] {
	return func(yield func(FeedEntry, error) bool) {
		at := place{cursor: o.Cursor, known: o.Cursor != "" || o.FromStart}
		for pause, ever := firstPause, false; ; pause = min(2*pause, maxPause) {
			met, err := c.follow(ctx, o, &at, func(e FeedEntry) bool {
				pause = firstPause
				return yield(e, nil)
			})
			var p *Problem
			switch ever = ever || met; {
			case err == nil || ctx.Err() != nil:
				return
			case !ever, errors.As(err, &p) && p.Status < http.StatusInternalServerError:
				yield(FeedEntry{}, err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause/2 + rand.N(pause/2)):
			}
		}
	}
}

// A place is how far a reader has come.
type place struct {
	cursor string
	known  bool // else: from now on
}

// follow reads one stream. met: the gateway answered. A nil error means that the
// reader has had enough.
func (c *Client) follow(ctx context.Context, o EventOptions, at *place, yield func(FeedEntry) bool) (met bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := o.Silence
	if silence <= 0 {
		silence = 45 * time.Second
	}
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("no sign of life for %v", silence)) })
	defer watch.Stop()

	q := url.Values{"account": o.Accounts, "type": o.Types}
	set(q, "openid", o.OpenID)
	if at.known {
		q.Set("cursor", at.cursor)
	}
	r := request{method: "GET", path: "/v1/events", query: q, accept: "text/event-stream"}
	res, err := c.do(ctx, r)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEntry)
	var id, event, data string
	placed := false // by an id, also an empty one: the place before the first entry
	for lines.Scan() {
		watch.Reset(silence)
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != "" {
				e := FeedEntry{Cursor: id, Type: event}
				if event != ResetType && json.Unmarshal([]byte(data), &e) != nil {
					return true, c.failed(r, errors.New("an entry of the stream is not JSON"))
				}
				if !yield(e) {
					return true, nil
				}
			}
			if placed {
				*at = place{id, true}
			}
			event, data = "", ""
		case name == "id":
			id, placed = value, true
		case name == "event":
			event = value
		case name == "data":
			if data != "" {
				data += "\n"
			}
			data += value
		}
	}
	err = lines.Err()
	switch cause := context.Cause(ctx); {
	case cause != nil:
		err = cause
	case err == nil:
		err = errors.New("the stream ended")
	}
	return true, c.failed(r, err)
}
