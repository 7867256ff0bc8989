package dispatch

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// A standing is how an account stands with WeChat: whether its next post may
// leave, how fast they may follow each other, and how many went today. It is
// plain data with pure transitions; what has happened comes in as arguments.
//
// A stop of whatever kind ends with a trial: one post at a time, until one is
// answered. So a reason that has not gone costs one call, not one per lane.
type standing struct {
	kept

	// Of this process alone.
	trial  bool      // one post at a time
	onWay  bool      // that post
	next   time.Time // nothing before
	stops  int       // in a row; the pause doubles with each
	silent []string  // followers in a row whose posts got no answer of WeChat's
	meter  meter
}

// kept is what of a standing is stored.
type kept struct {
	Held   gateway.Time `json:"held_until,omitzero"` // the daily quota is used up until then
	Slow   slowdown     `json:"slow,omitzero"`
	Config bool         `json:"config,omitempty"` // paused because of its set-up; a check that passes resumes it
	Day    string       `json:"day,omitempty"`    // in Beijing; the two below are of it
	Used   int          `json:"used,omitempty"`   // posts of customer messages
	Warned bool         `json:"warned,omitempty"` // that the quota is nearly used up
}

const (
	mostSilent  = 5 // lanes in a row without an answer, then WeChat can't be reached
	firstStop   = time.Second
	longestStop = time.Minute
	quotaNews   = 0.8 // of the daily quota, from where on it is said
)

// A pass is the permission for one post.
type pass struct{ trial bool }

// stopped reports whether nothing may leave at now, and until when.
func (s *standing) stopped(now time.Time) (until time.Time, yes bool) {
	until = later(s.Held.Time, s.next)
	return until, now.Before(until)
}

// ask takes the permission for a post. Without ok: not before until.
func (s *standing) ask(now time.Time) (p pass, until time.Time, ok bool) {
	if until, yes := s.stopped(now); yes {
		return pass{}, until, false
	}
	if s.trial && s.onWay {
		return pass{}, now.Add(time.Second), false
	}
	s.onWay = s.trial
	return pass{trial: s.trial}, time.Time{}, true
}

// still reports whether p is good, and if not until when to wait: the account may
// have been stopped since.
func (s *standing) still(p pass, now time.Time) (until time.Time, ok bool) {
	switch {
	case now.Before(s.Held.Time):
		return s.Held.Time, false
	case p.trial || !s.trial:
		return time.Time{}, true
	}
	return later(s.next, now.Add(time.Second)), false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// unused gives back a pass with which nothing was posted.
func (s *standing) unused(p pass) {
	if p.trial {
		s.onWay = false
	}
}

// posted counts a post that leaves now. warn: it is the one with which the daily
// quota is nearly used up.
func (s *standing) posted(now time.Time, daily int) (warn bool) {
	s.meter = s.meter.count(now)
	if day := dayInBeijing(now); s.Day != day {
		s.Day, s.Used, s.Warned = day, 0, false
	}
	s.Used++
	warn = !s.Warned && float64(s.Used) >= quotaNews*float64(daily)
	s.Warned = s.Warned || warn
	return warn
}

// A change is what a result did to a standing.
type change struct {
	held   bool // the quota is used up
	slowed bool
	lost   bool // WeChat can't be reached
	open   bool // a trial ended well: all may go
	pause  bool // WeChat refuses the account as it is set up
	quota  bool // the daily quota is nearly used up
}

// learn takes in the result of a post to a follower, made with p. top is the
// account's own rate, 0 for none; midnight is when WeChat's next day begins.
func (s *standing) learn(now, midnight time.Time, p pass, openid string, top float64, result error) (c change) {
	s.unused(p)
	switch code := errcode(result); {
	case vain(result): // says nothing of WeChat's sends
	case code == dailyQuota:
		s.Held, s.trial, s.stops, s.next = gateway.Time{Time: later(s.Held.Time, midnight)}, true, 0, time.Time{}
		c.held = true
	case tooFast(result):
		if p.trial || !s.trial { // else it was on its way at the old speed
			s.Slow = s.Slow.slower(now, cmp.Or(top, s.meter.rate(now)))
			s.stop(now)
			c.slowed = true
		}
	case silent(result):
		if !slices.Contains(s.silent, openid) {
			s.silent = append(s.silent[:len(s.silent):len(s.silent)], openid)
		}
		if p.trial || !s.trial && len(s.silent) >= mostSilent {
			c.lost = !p.trial
			s.stop(now)
		}
	default:
		s.silent = nil
		if p.trial {
			s.trial, s.stops, s.next = false, 0, time.Time{}
			c.open = true
		}
	}
	return c
}

// stop has nothing posted for a while, and then one at a time.
func (s *standing) stop(now time.Time) {
	pause := longestStop
	if s.stops < 6 {
		pause = firstStop << s.stops
	}
	s.trial, s.next = true, now.Add(pause)
	s.stops++
}

// resume ends whatever stops the account, but with a trial.
func (s *standing) resume() {
	s.Held, s.Slow, s.Config = gateway.Time{}, slowdown{}, false
	s.trial, s.next, s.stops, s.silent = true, time.Time{}, 0, nil
}

// because says why nothing leaves at now, and until when; "" if it does.
func (s *standing) because(now time.Time, lang string) (why string, until time.Time) {
	switch {
	case now.Before(s.Held.Time):
		return bilingual.In(lang, "the daily quota of the account is used up (45009)", "公众号今天的发送次数已用完（45009）"), s.Held.Time
	case s.trial && len(s.silent) > 0:
		return bilingual.In(lang, "WeChat can't be reached", "连不上微信"), s.next
	case now.Before(s.next):
		return bilingual.In(lang, "WeChat said too fast (45011)", "微信提示发送太快（45011）"), s.next
	}
	return "", time.Time{}
}

// dailyQuota is WeChat's "reach max api daily quota limit".
const dailyQuota = 45009

// errcode is WeChat's errcode in err, or 0.
func errcode(err error) int {
	var refused *kefu.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}

// tooFast reports whether WeChat asked for fewer calls a minute.
func tooFast(err error) bool {
	var t *kefu.TransportError
	return kefu.ClassOf(err) == kefu.ErrRateLimited || errors.As(err, &t) && t.Status == 429
}

// vain reports whether a post did not start for want of an access token that WeChat did
// not give, or that nobody tries to get now: the source of tokens has its own moment for
// that.
func vain(err error) bool {
	var wait interface{ Vain() time.Time }
	var refused *kefu.Error // of the token's call: the post's own would have its class
	return errors.As(err, &wait) || kefu.ClassOf(err) == kefu.ErrNotDelivered && errors.As(err, &refused)
}

// silent reports whether a result is no answer of WeChat's API at all: no
// connection, a lost answer, or a page of something in between.
func silent(err error) bool {
	var refused *kefu.Error
	return err != nil && !errors.As(err, &refused) && (kefu.ClassOf(err) == kefu.ErrNotDelivered || kefu.ClassOf(err) == kefu.ErrUnknownOutcome || kefu.ClassOf(err) == "")
}

// A slowdown is the speed at which an account may go after WeChat said "too fast":
// half of what it had, and then a tenth more every ten seconds until it has all
// back.
type slowdown struct {
	From float64   `json:"from,omitempty"` // posts a second before the first refusal
	Rate float64   `json:"rate,omitempty"` // at At
	At   time.Time `json:"at,omitzero"`
}

const (
	slowest  = 1 // post a second, or what it had if that was less
	recovery = 10 * time.Second
	portion  = 10 // of From comes back with each
)

// rate is the speed at now, in posts a second; 0: no slow-down any more.
func (s slowdown) rate(now time.Time) float64 {
	if s.From == 0 {
		return 0
	}
	r := s.Rate + s.From/portion*float64(max(0, now.Sub(s.At))/recovery)
	if r >= s.From {
		return 0
	}
	return r
}

// slower is s after a refusal at now; had is the speed of an account that was not
// slowed down.
func (s slowdown) slower(now time.Time, had float64) slowdown {
	if r := s.rate(now); r > 0 {
		had = r
	} else {
		s.From = had
	}
	return slowdown{From: s.From, Rate: max(had/2, min(slowest, s.From*0.99)), At: now}
}

// A meter tells how many posts a second there were lately.
type meter struct {
	second  int64
	n, last int // in that second, in the one before
}

func (m meter) count(now time.Time) meter {
	switch second := now.Unix(); {
	case second == m.second+1:
		m = meter{second, 0, m.n}
	case second != m.second:
		m = meter{second, 0, 0}
	}
	m.n++
	return m
}

func (m meter) rate(now time.Time) float64 {
	switch now.Unix() - m.second {
	case 0:
		return float64(max(m.n, m.last, 1))
	case 1:
		return float64(max(m.n, 1))
	}
	return 1
}

// beijing is where WeChat's quota day begins. (No summer time since 1991.)
var beijing = time.FixedZone("Beijing", 8*3600)

func dayInBeijing(now time.Time) string { return now.In(beijing).Format(time.DateOnly) }

func midnightInBeijing(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, beijing).UTC()
}

// quotaEnds is when to try again after 45009 at now. ahead is how far WeChat's
// clock is ahead of ours. In the first ten minutes of a day its counts may not
// have begun anew yet: then it is a minute, and not a whole day.
func quotaEnds(now time.Time, ahead time.Duration) time.Time {
	there := now.Add(ahead)
	if there.Add(-10*time.Minute).In(beijing).Day() != there.In(beijing).Day() {
		return now.Add(time.Minute)
	}
	return midnightInBeijing(there).Add(-ahead)
}

// line is a change as health and the log say it.
func (s *standing) line(appid string, now time.Time, lang string) string {
	why, until := s.because(now, lang)
	switch r := s.Slow.rate(now); {
	case why != "" && !until.IsZero():
		return bilingual.In(lang, "account %s posts nothing until %s: %s", "公众号 %s 暂停发送，到 %s 为止：%s", appid, until.UTC().Format(time.RFC3339), why)
	case why != "":
		return bilingual.In(lang, "account %s posts nothing: %s", "公众号 %s 暂停发送：%s", appid, why)
	case r > 0:
		return bilingual.In(lang, "account %s is slowed down to %.3g posts a second, since WeChat said too fast (45011)", "公众号 %s 已降速到每秒 %.3g 条，因为微信提示发送太快（45011）", appid, r)
	}
	return ""
}
