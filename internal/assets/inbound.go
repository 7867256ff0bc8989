package assets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
)

// What followers send lives at WeChat for three days. The commit that keeps their
// message also notes its files; here they are fetched, and tried again until they
// are here or WeChat has forgotten them. A callback never waits for that.
const (
	mostInbound    = 4        // fetched at once
	maxInboundFile = 32 << 20 // larger ones are given up
	firstPause     = 10 * time.Second
	longestPause   = time.Hour
	unknownTries   = 3                // of an id that WeChat says it does not know
	lastMargin     = 15 * time.Minute // before WeChat forgets a file: the last try

	sweepEvery = time.Hour
)

// Run fetches what followers send, and sweeps what broken uploads leave, until ctx
// ends.
func (l *Library) Run(ctx context.Context) {
	l.setUp()
	var swept time.Time
	for ctx.Err() == nil {
		changed := l.Store.Changed()
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			l.sweep(ctx)
		}
		if l.fetchInbound(ctx) {
			continue // there may be more
		}
		wait(ctx, l.untilDue(ctx), changed)
		wait(ctx, 100*time.Millisecond, nil)
	}
}

// untilDue is how long nothing has to be fetched unless something comes.
func (l *Library) untilDue(ctx context.Context) time.Duration {
	next, err := l.Store.NextInbound(ctx)
	switch {
	case err != nil || l.jumps && !next.IsZero():
		return time.Second
	case next.IsZero():
		return sweepEvery
	}
	return min(max(next.Sub(l.Now()), 0), sweepEvery)
}

func wait(ctx context.Context, d time.Duration, or <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-or:
	case <-t.C:
	}
}

func (l *Library) sweep(ctx context.Context) {
	for _, forget := range []func(context.Context, time.Time) (int, error){l.Store.SweepContents, l.Store.PruneMedia} {
		for ctx.Err() == nil {
			if n, err := forget(ctx, l.Now()); n == 0 || err != nil {
				break // a failure shows elsewhere, and in an hour there is another try
			}
		}
	}
}

// fetchInbound fetches some of what is due. It reports whether it did anything.
func (l *Library) fetchInbound(ctx context.Context) bool {
	due, err := l.Store.DueInbound(ctx, l.Now(), mostInbound)
	if err != nil {
		if ctx.Err() == nil {
			l.Log.Error("what followers sent can't be looked up", "error", err)
		}
		return false
	}
	var all sync.WaitGroup
	for _, m := range due {
		all.Go(func() {
			if err := l.takeIn(ctx, m); err != nil && ctx.Err() == nil {
				l.Log.Error("what came of a follower's file can't be kept", "account", m.Account, "error", err)
				wait(ctx, time.Second, nil)
			}
		})
	}
	all.Wait()
	return len(due) > 0
}

// takeIn fetches one file and keeps what came of it.
func (l *Library) takeIn(ctx context.Context, m store.InboundMedia) error {
	a, err := l.download(ctx, m)
	if ctx.Err() != nil {
		return nil // stopped; it is still due
	}
	now := l.Now()
	entry := InboundEntry{MediaID: m.MediaID, Kind: m.Kind, Asset: a.ID}
	var hash *[32]byte
	if err == nil {
		sum, _ := gateway.ParseAssetID(a.ID)
		hash = &sum
	} else {
		if retry := again(m, now, err); !retry.IsZero() {
			return l.Store.RetryInbound(ctx, now, m, retry, err.Error())
		}
		entry.Because = err.Error()
		l.Log.Warn("a follower's file was given up", "account", m.Account, "kind", m.Kind, "error", err)
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	return l.Store.EndInbound(ctx, now, m, hash, entry.Because, store.Entry{Account: m.Account, OpenID: m.OpenID, Type: "follower.media", Data: data})
}

// An InboundEntry is the data of the feed's "follower.media": what became of a file
// that a follower sent.
type InboundEntry struct {
	MediaID string         `json:"media_id"` // as in the follower's message
	Kind    kefu.MediaKind `json:"kind"`
	Asset   string         `json:"asset,omitempty"`   // the id
	Because string         `json:"because,omitempty"` // why there is none
}

// again is when a fetch that failed is tried next; zero: never. Nothing is given up
// for a reason that may pass before WeChat has forgotten the file.
func again(m store.InboundMedia, now time.Time, err error) time.Time {
	pause := firstPause
	for range m.Tries {
		pause = min(2*pause, longestPause)
	}
	next := now.Add(pause/2 + rand.N(pause/2))
	last := m.At.Add(kefu.MediaLife - lastMargin)
	if next.After(last) && now.Before(last) {
		next = last
	}
	switch {
	case errors.Is(err, egress.ErrTooLarge), errors.Is(err, egress.ErrForbidden),
		errors.Is(err, kefu.ErrMediaInvalid) && m.Tries+1 >= unknownTries,
		next.After(last):
		return time.Time{}
	}
	return next
}

// download makes an asset of what WeChat has under a media id.
func (l *Library) download(ctx context.Context, m store.InboundMedia) (gateway.Asset, error) {
	client := l.Client(m.Account)
	if client == nil {
		return gateway.Asset{}, fmt.Errorf("%w: the account was removed from the gateway", kefu.ErrMediaInvalid)
	}
	got, err := client.Download(ctx, kefu.TemporaryID(m.MediaID))
	if err != nil {
		return gateway.Asset{}, err
	}
	body := got.Body
	if got.VideoURL != "" {
		if body, err = get(ctx, l.webFor(client, got.VideoURL), got.VideoURL); err != nil {
			return gateway.Asset{}, fmt.Errorf("the video's URL: %w", err)
		}
	}
	defer body.Close()
	return l.keep(ctx, m.Account, struct{ io.Reader }{body}, maxInboundFile, store.FromFollower)
}

// webFor is the way to a video: to WeChat's own host, whatever its address is in a
// test, else to public addresses alone.
func (l *Library) webFor(c *kefu.Client, video string) *http.Client {
	base, err := url.Parse(c.BaseURL)
	if at, err2 := url.Parse(video); err == nil && err2 == nil && c.BaseURL != "" && at.Host == base.Host {
		return &http.Client{Transport: c.HTTP.Transport, Timeout: kefu.FileTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return l.inboundWeb
}
