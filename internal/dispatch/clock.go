package dispatch

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// A clock measures how far WeChat's clock is ahead of ours, from the Date of its
// answers on their way through. CreateTime of callbacks is by WeChat's clock.
type clock struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex // guards all below
	last []time.Duration
	at   int // where the next goes
}

const (
	dates      = 20              // of which the median counts
	offsetNews = 5 * time.Second // from here on an operator should know
)

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err == nil && res != nil {
		if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			c.note(date.Add(500 * time.Millisecond).Sub(c.now())) // Date is cut to seconds
		}
	}
	return res, err
}

func (c *clock) note(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) < dates {
		c.last = append(c.last, ahead)
		return
	}
	c.last[c.at] = ahead
	c.at = (c.at + 1) % dates
}

// offset is how far WeChat's clock is ahead; below a second, which Date can't
// tell, it is 0.
func (c *clock) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.last))
	if median := sorted[len(sorted)/2]; median.Abs() >= time.Second {
		return median.Round(time.Second)
	}
	return 0
}
