package dispatch

import (
	"net/http"
	"testing"
	"time"
)

// The median of the last twenty Dates, which a few odd ones don't move.
func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 300_000_000, time.UTC)
	ahead := time.Duration(0)
	c := &clock{now: func() time.Time { return now }, next: dated(func() *http.Response {
		return &http.Response{Header: http.Header{"Date": {now.Add(ahead).Format(http.TimeFormat)}}}
	})}
	post := func(n int) {
		for range n {
			if _, err := c.RoundTrip(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := c.offset(); got != 0 {
		t.Errorf("nothing heard: %v", got)
	}
	post(20)
	if got := c.offset(); got != 0 {
		t.Errorf("no offset: %v", got)
	}
	ahead = 90 * time.Second
	post(9)
	if got := c.offset(); got != 0 {
		t.Errorf("nine of twenty: %v", got)
	}
	post(11)
	if got := c.offset(); got != 90*time.Second {
		t.Errorf("all of twenty: %v", got)
	}
	ahead = -10 * time.Second
	post(20)
	if got := c.offset(); got != -10*time.Second {
		t.Errorf("behind: %v", got)
	}
}

type dated func() *http.Response

func (f dated) RoundTrip(*http.Request) (*http.Response, error) { return f(), nil }
