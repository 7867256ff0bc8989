package kefutest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
)

// A Mixing says how the windows of several triggers combine.
type Mixing string

const (
	// SideBySide: each trigger has a bucket of its own; a send takes from the open
	// one that ends soonest and has some left.
	SideBySide Mixing = "side_by_side"
	// LatestWins: there is one bucket, of the latest trigger.
	LatestWins Mixing = "single_bucket_latest_wins"
	// MaxOfBoth: there is one bucket; a trigger leaves it the longer life and the
	// larger number.
	MaxOfBoth Mixing = "max_of_both"
)

// A Bucket is what one trigger permits, until it closes or is empty.
type Bucket struct {
	Trigger   kefu.Trigger
	Max       int // messages, or [kefu.Unlimited]
	Remaining int
	OpenedAt  time.Time
	ClosesAt  time.Time
}

func (b Bucket) open(now time.Time) bool { return now.Before(b.ClosesAt) }
func (b Bucket) empty() bool             { return b.Max != kefu.Unlimited && b.Remaining <= 0 }

// buckets are all that a follower's acts permit.
type buckets []Bucket

// opened returns the buckets after the trigger at now.
func (bs buckets) opened(now time.Time, t kefu.Trigger, a kefu.Allowance, mixing Mixing) buckets {
	if a.For <= 0 || a.Max == 0 {
		return bs
	}
	fresh := Bucket{t, a.Max, a.Max, now, now.Add(a.For)}
	switch mixing {
	case LatestWins:
		return buckets{fresh}
	case MaxOfBoth:
		for _, old := range bs {
			if !old.open(now) {
				continue
			}
			if old.ClosesAt.After(fresh.ClosesAt) {
				fresh.ClosesAt = old.ClosesAt
			}
			if old.Max == kefu.Unlimited || fresh.Max != kefu.Unlimited && old.Remaining > fresh.Remaining {
				fresh.Max, fresh.Remaining = old.Max, old.Remaining
			}
		}
		return buckets{fresh}
	}
	out := slices.DeleteFunc(slices.Clone(bs), func(b Bucket) bool { return b.Trigger == t || !b.open(now) })
	return append(out, fresh)
}

// next returns the index of the bucket from which a message at now is taken, and
// the errcode if there is none.
func (bs buckets) next(now time.Time) (i, errcode int) {
	i, errcode = -1, 45015
	for j, b := range bs {
		if !b.open(now) {
			continue
		}
		if errcode == 45015 {
			errcode = 45047
		}
		if !b.empty() && (i < 0 || b.ClosesAt.Before(bs[i].ClosesAt)) {
			i = j
		}
	}
	if i >= 0 {
		return i, 0
	}
	return -1, errcode
}

// A Window is the permission to write to a follower, as WeChat sees it.
type Window struct {
	State     string       // "open" or "closed"
	Remaining int          // messages left in all open buckets, or [kefu.Unlimited]
	ClosesAt  time.Time    // of the bucket that the next message is taken from; none left: of the last
	OpenedBy  kefu.Trigger // of that bucket
	Because   string       // why, in English
	Buckets   []Bucket     // the open ones
}

// window describes the permission at now. last is what happened when there is none.
func (bs buckets) window(now time.Time, last string) Window {
	w := Window{State: "closed", Because: last}
	at, _ := bs.next(now)
	for i, b := range bs {
		if !b.open(now) {
			continue
		}
		w.Buckets = append(w.Buckets, b)
		if b.Max == kefu.Unlimited {
			w.Remaining = kefu.Unlimited
		} else if w.Remaining != kefu.Unlimited {
			w.Remaining += b.Remaining
		}
		if i == at || at < 0 && !b.ClosesAt.Before(w.ClosesAt) {
			w.State, w.ClosesAt, w.OpenedBy = "open", b.ClosesAt, b.Trigger
		}
	}
	if at >= 0 {
		w.Because = fmt.Sprintf("%s at %s", bs[at].Trigger, stamp(bs[at].OpenedAt))
	} else if w.State == "open" {
		w.Because = "every allowance is used up"
	}
	return w
}

// MarshalJSON implements [json.Marshaler].
func (w Window) MarshalJSON() ([]byte, error) {
	out := struct {
		State     string        `json:"state"`
		Remaining *int          `json:"remaining"` // null: no limit
		ClosesAt  *stamp        `json:"closes_at"`
		OpenedBy  *kefu.Trigger `json:"opened_by"`
		Because   string        `json:"because"`
		Buckets   []Bucket      `json:"buckets"`
	}{State: w.State, Remaining: limited(w.Remaining), Because: w.Because, Buckets: append([]Bucket{}, w.Buckets...)}
	if w.State == "open" {
		out.ClosesAt, out.OpenedBy = (*stamp)(&w.ClosesAt), &w.OpenedBy
	}
	return encode(out), nil
}

// bucketJSON is a bucket as the contract shows it.
type bucketJSON struct {
	Trigger   kefu.Trigger `json:"trigger"`
	Max       *int         `json:"max"` // null: no limit
	Remaining *int         `json:"remaining"`
	OpenedAt  stamp        `json:"opened_at"`
	ClosesAt  stamp        `json:"closes_at"`
}

// MarshalJSON implements [json.Marshaler].
func (b Bucket) MarshalJSON() ([]byte, error) {
	out := bucketJSON{b.Trigger, limited(b.Max), &b.Remaining, stamp(b.OpenedAt), stamp(b.ClosesAt)}
	if out.Max == nil {
		out.Remaining = nil
	}
	return encode(out), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bucket) UnmarshalJSON(text []byte) error {
	var in bucketJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*b = Bucket{in.Trigger, kefu.Unlimited, kefu.Unlimited, time.Time(in.OpenedAt), time.Time(in.ClosesAt)}
	if in.Max != nil {
		b.Max, b.Remaining = *in.Max, *in.Max
		if in.Remaining != nil {
			b.Remaining = *in.Remaining
		}
	}
	return nil
}

// limited is n, or nil for no limit.
func limited(n int) *int {
	if n == kefu.Unlimited {
		return nil
	}
	return &n
}

// A stamp is a time as the contract writes it: RFC 3339, UTC, milliseconds.
type stamp time.Time

const stampForm = "2006-01-02T15:04:05.000Z"

func (t stamp) String() string               { return time.Time(t).UTC().Format(stampForm) }
func (t stamp) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON implements [json.Unmarshaler]. Any RFC 3339 time will do.
func (t *stamp) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*time.Time)(t)) }
