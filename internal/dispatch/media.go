package dispatch

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// Media is the part of *assets.Library that dispatch needs. An error that is
// [kefu.ErrMediaInvalid] is for good; all others may pass.
type Media interface {
	// Resolve returns the body of a message with media ids that WeChat has in place of
	// what the sender named: assets, URLs. It may take minutes.
	Resolve(ctx context.Context, wechat *kefu.Client, account string, accepted time.Time, body json.RawMessage) (json.RawMessage, error)
	// Renew returns a body, as it was sent, with new media ids in place of those that
	// WeChat refused.
	Renew(ctx context.Context, wechat *kefu.Client, account string, sent json.RawMessage) (json.RawMessage, error)
}

const (
	mostReadied = 64               // messages whose media are got to WeChat at once
	mostOfOne   = 32               // of them, of one account
	readyTime   = 2 * time.Minute  // what one may take
	readyFor    = 10 * time.Minute // how long media ids are not looked at again
)

// namesMedia are the kinds of messages that name media.
var namesMedia = map[string]bool{"image": true, "voice": true, "video": true, "music": true, "miniprogrampage": true}

// files are the media of one item on their way to WeChat.
type files struct {
	readying bool            // on their way
	body     json.RawMessage // with the ids under which WeChat has them; nil: not yet
	at       time.Time       // when they were there
	fails    int             // times in a row that it failed
}

// ready returns the content of a message as it can be posted. If its media have to
// be got to WeChat first, ok is false: that is done off the lane, without a slot, and
// the lane is looked at again then. A slow URL delays its own follower alone.
func (d *Dispatcher) ready(l *lane, it *item, m store.Message, now time.Time) (body json.RawMessage, ok bool) {
	body = m.Message.Message
	if d.Media == nil || !namesMedia[m.MsgType] {
		return body, true
	}
	f := l.files[it.seq]
	switch {
	case f == nil:
		f = &files{}
		if l.files == nil {
			l.files = map[int64]*files{}
		}
		l.files[it.seq] = f
	case f.readying:
		return nil, false
	case f.body != nil && now.Sub(f.at) < readyFor:
		return f.body, true
	}
	f.readying = true
	d.readiers.add(l.account.appid, func() { d.getReady(l, it, f) }) // without the message: there may be a million
	return nil, false
}

// getReady gets an item's media to WeChat and keeps what came of it. The message is read
// when there is room for it: until then it may have been canceled, say, and the account
// stopped.
func (d *Dispatcher) getReady(l *lane, it *item, f *files) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	go func() {
		select {
		case <-d.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	l.account.mu.Lock()
	client := l.account.client
	l.account.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	over := func() bool { return d.stopping() || l.files[it.seq] != f }
	if over() {
		return
	}
	if _, stopped := l.account.stopped(d.Now()); stopped {
		f.readying = false
		d.poke(l) // it finds out until when
		return
	}
	m, err := d.message(ctx, l, it)
	if err != nil {
		f.readying = false
		if !d.stopping() {
			d.rest(l, "read a message", err)
		}
		return
	}
	l.mu.Unlock()
	body, err := d.Media.Resolve(ctx, client, l.account.appid, m.AcceptedAt.Time, m.Message.Message)
	l.mu.Lock()
	f.readying = false
	if over() {
		return
	}
	now := d.Now()
	if err == nil {
		f.body, f.at = body, now
		d.agenda.putBack(l) // else many would be made ready before the first of them leaves
		return
	}
	d.notReady(l, it, f, now, err)
	d.wakeAt(l)
	d.poke(l)
}

// forNow reports whether media may be had later that can't be had now.
func forNow(err error) bool {
	class := kefu.ClassOf(err)
	return class != kefu.ErrMediaInvalid && class != kefu.ErrBadRequest
}

// notReady keeps why an item's media can't be got to WeChat: for good, or for now. What
// waits for its resend has that called off in either case: it may have arrived.
func (d *Dispatcher) notReady(l *lane, it *item, f *files, now time.Time, err error) {
	if it.State() == gateway.Unknown {
		d.callOff(context.Background(), l, it, now)
		return
	}
	if !forNow(err) {
		out := &gateway.Outcome{Class: kefu.ErrMediaInvalid, Reason: "its media can't be sent: " + err.Error(), Advice: kefu.ErrMediaInvalid.Advice("")}
		d.move(context.Background(), l, it, now, store.Move{To: gateway.Failed, Outcome: out})
		return
	}
	l.account.mu.Lock()
	row, ok := l.account.tries[kefu.ErrNotDelivered]
	l.account.mu.Unlock()
	if !ok {
		row = DefaultRetries()[kefu.ErrNotDelivered]
	}
	f.fails++
	out := &gateway.Outcome{Class: kefu.ErrNotDelivered, Reason: "its media can't be had yet: " + err.Error(), Advice: kefu.ErrNotDelivered.Advice("")}
	retry := now.Add(Case{Tries: f.fails}.pause(row))
	if d.move(context.Background(), l, it, now, store.Move{To: gateway.Queued, RetryAt: retry, Outcome: out}) {
		l.files[it.seq] = f // it has not had its turn
	}
}

// readiers are the goroutines that get media to WeChat, and the lines before them: an
// account has at most half of them.
type readiers struct {
	mu   sync.Mutex // guards all below
	busy int
	line map[string]*readyLine // by account
	wait *sync.WaitGroup       // of those that run
}

type readyLine struct {
	busy int
	jobs []func()
}

// add has job run when there is room for it.
func (r *readiers) add(appid string, job func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line == nil {
		r.line = map[string]*readyLine{}
	}
	if r.line[appid] == nil {
		r.line[appid] = &readyLine{}
	}
	r.line[appid].jobs = append(r.line[appid].jobs, job)
	r.startLocked()
}

func (r *readiers) startLocked() {
	for appid, line := range r.line {
		for r.busy < mostReadied && line.busy < mostOfOne && len(line.jobs) > 0 {
			job := line.jobs[0]
			line.jobs = line.jobs[1:]
			r.busy++
			line.busy++
			r.wait.Go(func() {
				job()
				r.mu.Lock()
				defer r.mu.Unlock()
				r.busy--
				line.busy--
				r.startLocked()
			})
		}
		if line.busy == 0 && len(line.jobs) == 0 {
			delete(r.line, appid)
		}
	}
}

// close forgets what waits.
func (r *readiers) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.line {
		line.jobs = nil
	}
}

// filesOf are the files that came with what a follower sent. An id that is longer
// than WeChat's ever were is not looked for.
func filesOf(e callback.Event) (files []store.InboundMedia) {
	add := func(id string, kind kefu.MediaKind) {
		const longest = 512
		if id != "" && len(id) <= longest {
			files = append(files, store.InboundMedia{MediaID: id, Kind: kind})
		}
	}
	switch e := e.(type) {
	case callback.ImageMessage:
		add(e.MediaID, kefu.MediaImage)
	case callback.VoiceMessage:
		add(e.MediaID, kefu.MediaVoice)
	case callback.VideoMessage:
		add(e.MediaID, kefu.MediaVideo)
		add(e.ThumbMediaID, kefu.MediaThumb)
	}
	return files
}
