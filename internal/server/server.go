// Package server is how HTTP comes into the gateway: the API under /v1, WeChat's
// callbacks, the feed, health. It authorises, reads, checks and answers; what
// happens is decided behind [Engine], what is remembered behind [Store]. routes.go
// has every route on one page.
package server

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

// A Server answers HTTP. Engine, Store, Tokens and Webhooks are required; set the fields
// before the first use and leave them then.
type Server struct {
	Engine   Engine
	Store    Store
	Tokens   Tokens
	Webhooks Webhooks
	Assets   Assets // default: none; then messages name media ids alone
	// Desk is the team at the console; nil: there is none, and its calls find nothing.
	Desk Desk
	// Console serves the page under /console/; nil: there is none.
	Console http.Handler
	// Door serves WeChat's own paths (/cgi-bin/, /customservice/) beside the API; it
	// authorises by itself. Default: none.
	Door http.Handler
	// Raw is the way of one call of WeChat's API with the account's token, to WeChat or to
	// a simulated one; nil for a path that may not be called so. all is for an admin.
	// Default: none may.
	Raw func(appid, path string, all, simulated bool) http.RoundTripper
	// Proxies are the networks of reverse proxies before the gateway, whose X-Forwarded-For
	// tells who calls. Default: none; then the header is ignored.
	Proxies []netip.Prefix
	// Forward hands pushes on to the callbacks that accounts name; it must refuse
	// addresses that may not be called and follow no redirect. Default: none is handed on.
	Forward *http.Client
	// Key is an admin key that is valid besides the stored ones (KEFU_API_KEY); if
	// it is stored too, the stored role counts, and once revoked it opens nothing.
	// Default: none.
	Key kefu.Secret
	// Explain turns an error of Engine or Store that is no problem yet into one, of
	// which only the Code need be set; nil for what it doesn't know. Default: none.
	Explain func(error) *gateway.Problem
	Now     func() time.Time // default [time.Now]
	Log     *slog.Logger     // default [slog.Default]; sees no secret and no whole openid
	// Heartbeat is the pause after which a silent stream of the feed shows that it
	// lives, and its key is looked at again; default 15 s.
	Heartbeat time.Duration

	once       sync.Once
	mux        *http.ServeMux
	callbacks  *http.ServeMux
	closing    context.Context // ends by Close
	close      context.CancelFunc
	held       atomic.Int64 // bytes of request bodies in memory
	streams    atomic.Int64 // of the feed
	ownStreams tally        // of the feed, by key or agent
	pictures   atomic.Int64 // on their way out
	receivers  sync.Map     // appid → receiver
	relaying   atomic.Int64 // pushes that are being handed on
}

// Handler serves everything: the API, callbacks, health. What it doesn't know is a
// problem, too.
func (s *Server) Handler() http.Handler {
	s.once.Do(s.setUp)
	if s.Door == nil {
		return s.mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/cgi-bin/") || strings.HasPrefix(r.URL.Path, "/customservice/") {
			s.Door.ServeHTTP(w, r)
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

// Callbacks serves /callback/{appid} alone, for a listener that the world can reach.
func (s *Server) Callbacks() http.Handler {
	s.once.Do(s.setUp)
	return s.callbacks
}

// Close ends the streams of the feed and answers whoever waits, so that a graceful
// stop of the listener need not wait for them. Other requests are served as before.
func (s *Server) Close() {
	s.once.Do(s.setUp)
	s.close()
}

// HTTP is a listener's settings under which slow and greedy clients hold little: the
// size of headers, and times for them, for a body and for an answer. They hold for
// whatever h does, also for a body that it does not read, which net/http waits for, and
// for a redirect. What takes longer (a wait, a stream, a file) sets times of its own.
func HTTP(h http.Handler) *http.Server {
	bounded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.ContentLength != 0 {
			_ = rc.SetReadDeadline(time.Now().Add(readTime))
		}
		if r.ProtoMajor == 1 { // of HTTP/2 it would end a call that only waits, not a write
			_ = rc.SetWriteDeadline(time.Now().Add(writeTime))
		}
		h.ServeHTTP(w, r)
	})
	return &http.Server{Handler: bounded, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10}
}

func (s *Server) setUp() {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Heartbeat <= 0 {
		s.Heartbeat = 15 * time.Second
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.mux, s.callbacks = s.register(routes()), s.register(callbackRoutes())
}

// Engine is the part of *dispatch.Dispatcher that the server needs: what changes
// something. It must be safe for concurrent use.
//
// Errors that the caller can do something about are a *[gateway.Problem] with its
// Code and what WeChat's words fill in, or become one by Server.Explain; the server
// adds status, title and detail in the caller's language. A refusal by WeChat may
// stay a *[kefu.Error]. Every other error is a fault: it is logged and answered 503
// overloaded.
type Engine interface {
	// Accept stores each submission in a commit of its own fate: one bad element
	// harms no other. It returns one result each, in order, when the commits are
	// durable. The end of ctx doesn't take a submission out of its commit. A replay
	// is found before Refused and the window are looked at; the same key twice in
	// one call, or while another call waits for its commit, joins. Problems:
	// unknown-account, idempotency-mismatch, window-closed and allowance-spent (with
	// errcode) for when_closed: fail, overloaded, and Refused itself.
	Accept(ctx context.Context, s []gateway.Submission) []gateway.Accepted

	// Await returns the message once it is final, unknown or parked, or as it is
	// when ctx ends. Problem: not-found.
	Await(ctx context.Context, id string) (gateway.Message, error)

	// Cancel ends what is queued or parked; what is canceled already, and what is
	// unknown and waits for its resend, is no error. Problems: not-found,
	// not-cancelable with Message.
	Cancel(ctx context.Context, id string) (gateway.Message, error)

	// Resolve says what became of an unknown message: as is Sent or Failed, which
	// gives the slot back. Problems: not-found, not-resolvable with Message; the
	// same answer twice is no error.
	Resolve(ctx context.Context, id string, as gateway.State) (gateway.Message, error)

	// Trigger opens (or, for Unfollow, closes) a window by something that WeChat
	// doesn't push. at is in whole seconds, and not more than 60 s ahead. opened is
	// false if at is not later than the bucket's opened_at, or its window over.
	// Problem: unknown-account.
	Trigger(ctx context.Context, account, openid string, t kefu.Trigger, at time.Time) (opened bool, w gateway.Window, err error)

	// Receive keeps a push and does what follows from it. A nil error means that it
	// is durable (or was seen before); after any other WeChat posts it again. The reply
	// is the passive one that belongs to it, or nil.
	Receive(ctx context.Context, account string, e callback.Event) (callback.Reply, error)

	// Answered keeps what the passive answer to a push said, for the timeline, unless the
	// push is gone: its follower was erased meanwhile. It takes nothing from an allowance.
	// Problem: unknown-account.
	Answered(ctx context.Context, account string, e callback.Event, said json.RawMessage) error

	// Window is cheap: it is asked for every message that is shown.
	Window(ctx context.Context, account, openid string) (gateway.Window, error)
	// Glance is the window and how many messages are parked; as cheap.
	Glance(ctx context.Context, account, openid string) (w gateway.Window, parked int, err error)

	// Handover says who answers a follower from now on; by says who says so. Problem:
	// unknown-account.
	Handover(ctx context.Context, account, openid string, to gateway.Handover, by string) (gateway.Handling, error)

	// Typing shows or ends "typing…". Problem: unknown-account; else WeChat's answer.
	Typing(ctx context.Context, account, openid string, on bool) error

	// Erase deletes all that is kept of a follower, also of an account that is gone,
	// and notes that by the hash of the openid. What waits is canceled, what is on its
	// way waited for.
	Erase(ctx context.Context, account, openid string) (gateway.Erased, error)

	// PutAccount makes or replaces an account. Its empty secrets keep those that are
	// stored. may, unless nil, is asked about what is there at that moment, the zero
	// Account if nothing is; its error ends the call. The result has no secrets.
	PutAccount(ctx context.Context, a gateway.Account, may func(now gateway.Account) error) (gateway.Account, error)
	// DeleteAccount forgets an account; its waiting messages fail. Problem:
	// unknown-account.
	DeleteAccount(ctx context.Context, appid string) error
	// CheckAccount asks WeChat for a token, and resumes an account that was paused
	// because WeChat refused it as it was set up. Problem: unknown-account; else
	// WeChat's answer.
	CheckAccount(ctx context.Context, appid, by string) error
	// Pause has nothing of the account posted; messages and callbacks are kept all
	// the same. Problem: unknown-account.
	Pause(ctx context.Context, appid, because string) error
	// Resume ends a pause, and the wait for a quota or a slow-down besides. Problem:
	// unknown-account.
	Resume(ctx context.Context, appid string) error
	// Standing is how the account stands with WeChat now, in words of the language ("zh" or
	// "en"); nil for an unknown one.
	Standing(appid, lang string) *gateway.Standing

	// Healthy says what an operator of some accounts (none: of all) should know (a clock
	// that is off, a paused account), and an error while messages can't be taken.
	Healthy(ctx context.Context, lang string, accounts []string) (notes []string, err error)
}

// Tokens is the part of *tokens.Center that the server needs. Its errors are as
// those of [Engine]; by is the id of the key that asks, which is on record before
// anything is done.
type Tokens interface {
	Status(ctx context.Context, appid string) (gateway.TokenStatus, error)
	// Supply takes a token from outside; nil: it is kept.
	Supply(ctx context.Context, appid, by string, value kefu.Secret, life time.Duration) error
	// Reveal returns the token. Problem: no-token; else WeChat's answer.
	Reveal(ctx context.Context, appid, by string) (kefu.Token, error)
	// Renew voids the token and gets another. Problem: no-token; else WeChat's answer.
	Renew(ctx context.Context, appid, by string) error
	// Forget drops what is known of an account.
	Forget(appid string)
	// Notes says what an operator of some accounts (none: of all) should know, in "zh" or
	// "en".
	Notes(lang string, accounts []string) []string
}

// Store is the part of *store.Store that the server needs: what reads, and keys. It
// must be safe for concurrent use. Its errors are as those of [Engine]: not-found
// for what isn't there, invalid-request for a cursor that it never gave out,
// cursor-gone for one before what is kept.
//
// Cursors are opaque, "" is the beginning; a Page's Next is "" at the end. limit is
// from 1 to 1,000. No accounts: all.
type Store interface {
	Message(ctx context.Context, id string) (gateway.Message, error) // never lags
	// Messages, newest first.
	Messages(ctx context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error)
	// OldestMessages, oldest first, are those that there were at the first page.
	OldestMessages(ctx context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error)
	// Attempts, oldest first.
	Attempts(ctx context.Context, id string) ([]gateway.Attempt, error)
	// Conversations, the one with the latest entry first.
	Conversations(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[gateway.Conversation], error)
	Conversation(ctx context.Context, account, openid string) (gateway.Conversation, error)
	// Timeline, newest first.
	Timeline(ctx context.Context, account, openid, cursor string, limit int) (gateway.Page[gateway.TimelineEntry], error)

	// Export yields all that is kept of a follower, oldest first.
	Export(ctx context.Context, account, openid string) iter.Seq2[gateway.Exported, error]
	// Erasures, the latest first.
	Erasures(ctx context.Context, accounts []string, limit int) ([]gateway.Erased, error)

	// Feed returns entries after the cursor, oldest first, and where to go on: the
	// next cursor moves also over entries of other accounts.
	Feed(ctx context.Context, cursor string, limit int, accounts []string) (entries []gateway.FeedEntry, next string, err error)
	// Head is the cursor of the newest entry.
	Head(ctx context.Context) (string, error)
	// Heard is what followers wrote and did, newest first. A page may be empty though
	// there is more.
	Heard(ctx context.Context, accounts []string, openid, cursor string, limit int) (gateway.Page[gateway.FeedEntry], error)
	// Series counts what the feed tells between two times, in steps.
	Series(ctx context.Context, from, to time.Time, step time.Duration, accounts []string) (gateway.Series, error)
	// Changed returns a channel that is closed when the feed next grows. Take it
	// before reading.
	Changed() <-chan struct{}

	Accounts(ctx context.Context) ([]gateway.Account, error)            // by appid, with their secrets
	Account(ctx context.Context, appid string) (gateway.Account, error) // the same; cheap: asked for every message and callback

	// TokenEvents are who did what to an account's token, newest first.
	TokenEvents(ctx context.Context, appid, cursor string, limit int) (gateway.Page[gateway.TokenEvent], error)

	PutKey(ctx context.Context, now time.Time, k gateway.Key) (gateway.Key, error) // keeps the SHA-256 of k.Key alone
	// FindKey looks a key up by its SHA-256; cheap: asked at every request. Problem:
	// not-found for one that was never stored, unauthorized for one that was revoked.
	FindKey(ctx context.Context, text string) (gateway.Key, error)
	Keys(ctx context.Context) ([]gateway.Key, error)               // oldest first, without their text
	RevokeKey(ctx context.Context, now time.Time, id string) error // opens nothing from then on

	Healthy() error // nil: it can be written
}
