package kefu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// A Sender sends with several tries: the article's send service, in its true
// form. It stops at success and at every error for which another try is useless
// (a closed window, a bad request) or a risk (an unknown outcome).
type Sender struct {
	Client *Client
	Tries  int // most posts of one message; default 3
	// Wait returns the pause after try n (from 1); default: up to 1 s, 2 s, 4 s,
	// … 60 s at random (full jitter).
	Wait func(n int) time.Duration
	// RetryUnknown also repeats what may have arrived. The follower may then see
	// the message more than once.
	RetryUnknown bool
	Log          *slog.Logger // one line an attempt; default slog.Default()
}

// Retryable reports whether the same request may succeed a little later and a repeat
// is safe, or asked for by WeChat: it was not reached, or asks to slow down, or is busy
// (-1, after which few have arrived twice). A dead token is not in it: [Client.Send] has
// refreshed it already.
func Retryable(err error) bool {
	switch ClassOf(err) {
	case ErrBusy, ErrRateLimited, ErrNotDelivered:
		return true
	}
	return false
}

// Send posts m until WeChat accepts it, Tries are used up, or another try makes
// no sense, and returns the last answer.
func (s *Sender) Send(ctx context.Context, m Message) (Response, error) {
	tries, log := s.Tries, s.Log
	if tries <= 0 {
		tries = 3
	}
	if log == nil {
		log = slog.Default()
	}
	var lost error // an earlier try may have arrived, whatever the later ones say
	for n := 1; ; n++ {
		began := time.Now()
		res, err := s.Client.Send(ctx, m)
		attrs := []slog.Attr{
			slog.Int("try", n), slog.String("to", shortOpenID(m.To)), slog.Duration("took", time.Since(began).Round(time.Microsecond)),
			slog.Int("errcode", res.ErrCode), slog.String("errmsg", res.ErrMsg),
		}
		if m.Body != nil {
			attrs = append(attrs, slog.String("msgtype", m.Body.MsgType()))
		}
		if err == nil {
			log.LogAttrs(ctx, slog.LevelInfo, "customer message accepted", attrs...)
			return res, nil
		}
		again := n < tries && ctx.Err() == nil && (Retryable(err) || s.RetryUnknown && errors.Is(err, ErrUnknownOutcome))
		log.LogAttrs(ctx, slog.LevelWarn, "customer message not accepted", append(attrs,
			slog.String("class", string(ClassOf(err))), slog.Bool("again", again), slog.String("error", err.Error()))...)
		if lost == nil && errors.Is(err, ErrUnknownOutcome) {
			lost = err
		}
		if !again || sleep(ctx, s.wait(n)) != nil {
			if lost != nil && !errors.Is(err, ErrUnknownOutcome) {
				err = &TransportError{Op: "message/custom/send", class: ErrUnknownOutcome, Err: fmt.Errorf("an earlier try may have arrived: %w", opaque{lost, err})}
			}
			return res, err
		}
	}
}

// opaque shows two errors without the class of either.
type opaque struct{ first, last error }

func (o opaque) Error() string { return o.first.Error() + "; then " + o.last.Error() }

func (s *Sender) wait(n int) time.Duration {
	if s.Wait != nil {
		return s.Wait(n)
	}
	return rand.N(min(time.Second<<min(n-1, 6), time.Minute)) + time.Millisecond
}
