package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/assets"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// withMedia restarts the rig's gateway with something that gets media to WeChat.
func (r *rig) withMedia(media func(*store.Store) dispatch.Media) {
	r.stop()
	r.media = media
	r.start()
}

// library is the real one.
func (r *rig) library() *assets.Library {
	var lib *assets.Library
	r.withMedia(func(s *store.Store) dispatch.Media {
		lib = &assets.Library{Store: s, Client: func(string) *kefu.Client { return r.wechat.Client() }}
		return lib
	})
	return lib
}

// A slowMedia gets media to WeChat in its own time. It says what it was asked for by
// the names of files, "file:NAME".
type slowMedia struct {
	mu      sync.Mutex
	asked   []string
	at, top int // how many at once
	takes   func(name string) time.Duration
	fails   func(name string) error
	renews  func(body json.RawMessage) (json.RawMessage, error)
}

func (s *slowMedia) Resolve(ctx context.Context, _ *kefu.Client, _ string, _ time.Time, body json.RawMessage) (json.RawMessage, error) {
	_, name, _ := strings.Cut(string(body), "file:")
	name, _, _ = strings.Cut(name, `"`)
	s.mu.Lock()
	s.asked = append(s.asked, name)
	s.at++
	s.top = max(s.top, s.at)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.at--
		s.mu.Unlock()
	}()
	if s.takes != nil {
		select {
		case <-time.After(s.takes(name)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if s.fails != nil {
		if err := s.fails(name); err != nil {
			return nil, err
		}
	}
	return bytes.Replace(body, []byte("file:"+name), []byte("id-"+name), 1), nil
}

func (s *slowMedia) Renew(_ context.Context, _ *kefu.Client, _ string, body json.RawMessage) (json.RawMessage, error) {
	if s.renews != nil {
		return s.renews(body)
	}
	return nil, errors.New("not here")
}

func picture(id string) func(*gateway.Submission) {
	return func(s *gateway.Submission) {
		s.MsgType, s.Message = "image", json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"image","image":{"media_id":%q}}`, s.OpenID, id))
	}
}

// sent is what the follower got: texts, and ids of pictures.
func (r *rig) sent(openid string) string {
	var all []string
	for _, s := range r.wechat.Sent(openid) {
		switch b := s.Message.Body.(type) {
		case kefu.Text:
			all = append(all, b.Content)
		case kefu.Image:
			all = append(all, string(b.MediaID))
		}
	}
	return strings.Join(all, " ")
}

// keepPicture keeps a picture, and returns its asset's id.
func (r *rig) keepPicture(lib *assets.Library) string {
	r.t.Helper()
	var file bytes.Buffer
	_ = png.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8)))
	a, err := lib.Keep(r.t.Context(), appid, &file)
	if err != nil {
		r.t.Fatal(err)
	}
	return a.ID
}

func newMediaRig(t *testing.T, m *slowMedia) *rig {
	r := newRig(t, nil)
	if err := r.wechat.SetState(`{"accept_any_id":true}`); err != nil {
		t.Fatal(err)
	}
	r.withMedia(func(*store.Store) dispatch.Media { return m })
	return r
}

func TestAssetsInMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		kept := r.keepPicture(r.library())
		r.wechat.UserSends("oA")
		id := r.accept("oA", "", picture(kept))
		settle()
		r.want("the picture", id, gateway.Sent)
		if got := r.sent("oA"); got == "" || strings.Contains(got, "asset:") {
			t.Errorf("the follower got %q", got)
		}
		m, err := r.store.Message(t.Context(), id)
		if err != nil || !strings.Contains(string(m.Message.Message), kept) || m.Attempts != 1 {
			t.Errorf("kept is %s after %d attempts, %v; want what the sender wrote", m.Message.Message, m.Attempts, err)
		}
	})
}

// forget has WeChat lose all media, which the gateway can't know.
func (r *rig) forget() {
	r.t.Helper()
	if err := r.wechat.SetState(`{"media":{}}`); err != nil {
		r.t.Fatal(err)
	}
}

// WeChat refuses an id before its time: the file is uploaded anew and the message sent
// once more. The follower sees one message, however many wait for the same file.
func TestRefusedMediaAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		lib := r.library()
		keep := func(encode func(*bytes.Buffer)) string {
			var file bytes.Buffer
			encode(&file)
			a, err := lib.Keep(t.Context(), appid, &file)
			if err != nil {
				t.Fatal(err)
			}
			return a.ID
		}
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		photo := keep(func(b *bytes.Buffer) { _ = png.Encode(b, img) })
		cover := keep(func(b *bytes.Buffer) { _ = jpeg.Encode(b, img, nil) })
		music := func(id string) func(*gateway.Submission) {
			return func(s *gateway.Submission) {
				s.MsgType, s.Message = "music", json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"music","music":{"title":"t","description":"d","musicurl":"http://a/","hqmusicurl":"http://a/","thumb_media_id":%q}}`, s.OpenID, id))
			}
		}
		var ids []string
		for i := range 20 {
			openid := fmt.Sprint("o", i)
			r.wechat.UserSends(openid)
			r.accept(openid, "", picture(photo))
			r.accept(openid, "", music(cover))
			settle()
		}
		uploads := func() (n int) {
			for _, q := range r.wechat.Requests() {
				if q.Path == "/cgi-bin/media/upload" {
					n++
				}
			}
			return n
		}
		if n := uploads(); n != 2 {
			t.Errorf("%d uploads at first, want 2", n)
		}
		r.forget()
		for i := range 20 {
			openid := fmt.Sprint("o", i)
			ids = append(ids, r.accept(openid, "", picture(photo)), r.accept(openid, "", music(cover)), r.accept(openid, "after"))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i, id := range ids {
			r.want(fmt.Sprint("message ", i), id, gateway.Sent)
		}
		for i := range 20 {
			if n := len(r.wechat.Sent(fmt.Sprint("o", i))); n != 5 {
				t.Errorf("a follower sees %d messages, want 5", n)
			}
		}
		if n := uploads(); n != 4 {
			t.Errorf("%d uploads in the end, want 4", n)
		}
		first, err := r.store.Attempts(t.Context(), ids[0])
		if err != nil || len(first) != 2 || first[0].ErrCode != 40007 || first[1].Outcome != "sent" {
			t.Errorf("attempts of the first: %+v, %v", first, err)
		}

		// An id that the gateway has uploaded is renewed, too; of another it has no file.
		r.wechat.UserSends("oRaw")
		known := r.sent("o0")
		known = known[strings.LastIndex(strings.TrimSuffix(known, " after"), " ")+1:]
		known = strings.TrimSuffix(known, " after")
		r.forget()
		raw := r.accept("oRaw", "", picture(known))
		stranger := r.accept("oRaw", "", picture("nobody-knows-this"))
		settle()
		r.want("an id of the gateway's", raw, gateway.Sent)
		r.want("a stranger's", stranger, gateway.Failed)
		m, _ := r.store.Message(t.Context(), stranger)
		if o := m.Outcome; o == nil || o.ErrCode != 40007 || !strings.Contains(o.Reason, "POST /v1/assets") || m.Attempts != 1 {
			t.Errorf("%d attempts, %+v", m.Attempts, m.Outcome)
		}
	})
}

// What WeChat refuses twice is not sent a third time.
func TestMediaAreRenewedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		kept := r.keepPicture(r.library())
		r.wechat.UserSends("oA")
		r.wechat.Fail(kefutest.Fault{ErrCode: 40007, Next: 5})
		id := r.accept("oA", "", picture(kept))
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want("refused twice", id, gateway.Failed)
		if m, _ := r.store.Message(t.Context(), id); m.Attempts != 2 {
			t.Errorf("%d attempts, want 2", m.Attempts)
		}
	})
}

// A renewal that failed for now, as one of a store that is down, was none.
func TestARenewalThatFailedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewals := 0
		r := newMediaRig(t, &slowMedia{renews: func(body json.RawMessage) (json.RawMessage, error) {
			if renewals++; renewals == 1 {
				return nil, errors.New("the database is being started anew")
			}
			return body, nil
		}})
		defer r.close()
		r.wechat.UserSends("oA")
		r.wechat.Fail(kefutest.Fault{ErrCode: 40007, Next: 2})
		id := r.accept("oA", "", picture("file:a"))
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want("renewed at the second try", id, gateway.Sent)
		if renewals != 2 {
			t.Errorf("%d renewals, want 2", renewals)
		}
	})
}

// A slow URL delays its own follower, in order, and nobody else.
func TestSlowMediaDelayTheirFollowerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{takes: func(name string) time.Duration {
			if name == "slow" {
				return time.Minute
			}
			return 0
		}}
		r := newMediaRig(t, m)
		defer r.close()
		for _, openid := range []string{"oA", "oB"} {
			r.wechat.UserSends(openid)
			r.accept(openid, "1")
		}
		slow := r.accept("oA", "", picture("file:slow"))
		r.accept("oA", "2")
		r.accept("oB", "", picture("file:quick"))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		r.want("the slow one", slow, gateway.Queued)
		if a, b := r.sent("oA"), r.sent("oB"); a != "1" || b != "1 id-quick" {
			t.Errorf("after half a minute %q and %q", a, b)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if a := r.sent("oA"); a != "1 id-slow 2" {
			t.Errorf("in the end %q", a)
		}
		if !slices.Equal(m.asked, []string{"slow", "quick"}) && !slices.Equal(m.asked, []string{"quick", "slow"}) {
			t.Errorf("asked for %v", m.asked)
		}
	})
}

// Many slow URLs of one account are got a few at a time, and hold neither slots nor
// another account's.
func TestSlowMediaAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{takes: func(string) time.Duration { return time.Minute }}
		r := newMediaRig(t, m)
		defer r.close()
		var ids []string
		for i := range 100 {
			openid := fmt.Sprint("o", i)
			r.wechat.UserSends(openid)
			ids = append(ids, r.accept(openid, "", picture("file:"+openid)))
		}
		r.wechat.UserSends("oText")
		text := r.accept("oText", "hi")
		time.Sleep(time.Second)
		synctest.Wait()
		r.want("a text", text, gateway.Sent)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, id := range ids {
			r.want("a picture", id, gateway.Sent)
		}
		if m.top != 32 {
			t.Errorf("%d at once, want 32", m.top)
		}
	})
}

func TestMediaThatCannotBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		m := &slowMedia{fails: func(name string) error {
			switch {
			case name == "bad":
				return fmt.Errorf("%w: it answers HTTP 404", kefu.ErrMediaInvalid)
			case broken.Load():
				return errors.New("it answers HTTP 503")
			}
			return nil
		}}
		r := newMediaRig(t, m)
		defer r.close()
		r.wechat.UserSends("oA")
		bad := r.accept("oA", "", picture("file:bad"))
		passing := r.accept("oA", "", picture("file:later"))
		after := r.accept("oA", "after")
		settle()
		r.want("for good", bad, gateway.Failed)
		msg, _ := r.store.Message(t.Context(), bad)
		if o := msg.Outcome; o == nil || o.Class != kefu.ErrMediaInvalid || !strings.Contains(o.Reason, "HTTP 404") || o.Advice == "" || msg.Attempts != 0 {
			t.Errorf("%d attempts, %+v", msg.Attempts, msg.Outcome)
		}
		r.want("for now", passing, gateway.Queued)
		r.want("behind it", after, gateway.Queued)
		msg, _ = r.store.Message(t.Context(), passing)
		if o := msg.Outcome; msg.RetryAt == nil || o == nil || o.Class != kefu.ErrNotDelivered || !strings.Contains(o.Reason, "HTTP 503") {
			t.Errorf("retry at %v, %+v", msg.RetryAt, msg.Outcome)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(m.asked); n < 8 || n > 200 {
			t.Errorf("%d tries in ten minutes", n)
		}
		r.stop() // nothing of it is lost
		r.start()
		broken.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.want("once it can be had", passing, gateway.Sent)
		if got := r.sent("oA"); got != "id-later after" {
			t.Errorf("the follower got %q", got)
		}

		broken.Store(true)
		r.wechat.UserSends("oA")
		over := r.accept("oA", "", picture("file:never"), func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(time.Hour)) })
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		r.want("never", over, gateway.Expired)
	})
}

// What is decided about a message while its media are on their way stands.
func TestCanceledWhileItsMediaAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{takes: func(string) time.Duration { return time.Minute }}
		r := newMediaRig(t, m)
		defer r.close()
		r.wechat.UserSends("oA")
		id := r.accept("oA", "", picture("file:a"))
		next := r.accept("oA", "next")
		settle()
		if _, err := r.d.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		settle()
		r.want("behind it", next, gateway.Sent)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.want("it", id, gateway.Canceled)
		if got := r.sent("oA"); got != "next" {
			t.Errorf("the follower got %q", got)
		}
	})
}

// A stop does not wait for slow media, and the next start gets them again.
func TestStopWhileMediaAreOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{takes: func(string) time.Duration { return 100 * time.Second }}
		r := newMediaRig(t, m)
		defer r.close()
		r.wechat.UserSends("oA")
		id := r.accept("oA", "", picture("file:a"))
		settle()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		r.start()
		time.Sleep(101 * time.Second)
		synctest.Wait()
		r.want("it", id, gateway.Sent)
	})
}

// A parked message's media are looked at again when it comes out: days may have passed.
func TestParkedMediaAreLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{}
		r := newMediaRig(t, m)
		defer r.close()
		r.wechat.Clicks("oA", "k") // 3 in a minute
		time.Sleep(2 * time.Minute)
		id := r.accept("oA", "", picture("file:a"))
		settle()
		r.want("it", id, gateway.Parked)
		if len(m.asked) != 0 {
			t.Errorf("got to WeChat in vain: %v", m.asked)
		}
		time.Sleep(40 * time.Hour)
		r.wechat.UserSends("oA")
		settle()
		r.want("let out", id, gateway.Sent)
		if got := r.sent("oA"); got != "id-a" || len(m.asked) != 1 {
			t.Errorf("the follower got %q, asked for %v", got, m.asked)
		}
	})
}

// What a follower sends is noted to be fetched in the commit that keeps their message.
func TestFollowersFilesAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		ctx := t.Context()
		for _, e := range []callback.Event{
			callback.ImageMessage{Header: callback.Header{FromUserName: "oA", MsgType: "image", MsgID: 1}, MediaID: "i"},
			callback.VoiceMessage{Header: callback.Header{FromUserName: "oA", MsgType: "voice", MsgID: 2}, MediaID: "v", MediaID16K: "v16"},
			callback.VideoMessage{Header: callback.Header{FromUserName: "oA", MsgType: "shortvideo", MsgID: 3}, MediaID: "m", ThumbMediaID: "t"},
			callback.ImageMessage{Header: callback.Header{FromUserName: "oA", MsgType: "image", MsgID: 4}, MediaID: strings.Repeat("x", 10_000)},
			callback.TextMessage{Header: callback.Header{FromUserName: "oA", MsgType: "text", MsgID: 5}, Content: "hi"},
		} {
			if _, err := r.d.Receive(ctx, appid, e); err != nil {
				t.Fatal(err)
			}
		}
		due, err := r.store.DueInbound(ctx, time.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range due {
			got = append(got, string(m.Kind)+" "+m.MediaID)
		}
		if want := []string{"image i", "voice v", "video m", "thumb t"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// A paused account calls WeChat for nothing, for media neither.
func TestMediaOfAPausedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		kept := r.keepPicture(r.library())
		r.wechat.UserSends("oA")
		r.wechat.UserSends("oB")
		mend := r.wechat.Fail(kefutest.Fault{Path: "stable_token", ErrCode: 40164, Every: 1})
		r.accept("oB", "text")
		settle()
		id := r.accept("oA", "", picture(kept))
		time.Sleep(time.Hour)
		if n := r.tokenCalls(); n != 1 {
			t.Errorf("%d calls for a token in an hour of pause, want the one that brought it", n)
		}
		if m := r.message(id); m.State != gateway.Queued || m.RetryAt != nil {
			t.Errorf("%s, to be tried again at %v", m.State, m.RetryAt)
		}
		mend()
		if err := r.d.Resume(t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		settle()
		r.want("resumed", id, gateway.Sent)
	})
}

// What stands in line for its media is looked at when its turn comes: it may be canceled
// by then, or its account paused.
func TestMediaInLineAreLookedAtAtTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{takes: func(string) time.Duration { return time.Minute }}
		r := newMediaRig(t, m)
		defer r.close()
		ids := map[string]string{}
		for i := range 40 { // 32 at once
			openid := fmt.Sprintf("o%02d", i)
			r.wechat.UserSends(openid)
			ids[openid] = r.accept(openid, "", picture("file:"+openid))
		}
		settle()
		asked := slices.Clone(m.asked)
		var inLine []string
		for openid := range ids {
			if !slices.Contains(asked, openid) {
				inLine = append(inLine, openid)
			}
		}
		if len(inLine) != 8 {
			t.Fatalf("%d stand in line", len(inLine))
		}
		if _, err := r.d.Cancel(t.Context(), ids[inLine[0]]); err != nil {
			t.Fatal(err)
		}
		if err := r.d.Pause(t.Context(), appid, "for the test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		settle()
		if n := len(m.asked); n != 32 {
			t.Errorf("%d asked for, want the 32 that were on their way", n)
		}
		if err := r.d.Resume(t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		settle()
		for openid, id := range ids {
			if openid == inLine[0] {
				r.want("canceled in line", id, gateway.Canceled)
			} else {
				r.want("resumed", id, gateway.Sent)
			}
		}
		if slices.Contains(m.asked, inLine[0]) {
			t.Error("what was canceled is asked for")
		}
	})
}

// What may have arrived stays unknown though its media can't be had for its resend.
func TestMediaOfAResend(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
	}{{"for good", fmt.Errorf("%w: gone", kefu.ErrMediaInvalid)}, {"for now", errors.New("it answers HTTP 503")}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				r := newMediaRig(t, &slowMedia{fails: func(string) error {
					if broken.Load() {
						return tt.err
					}
					return nil
				}})
				defer r.close()
				r.wechat.UserSends("oUser1")
				r.wechat.Fail(kefutest.DropReply)
				id := r.accept("oUser1", "", picture("file:a"), resend)
				behind := r.accept("oUser1", "behind")
				settle()
				r.want("the answer was lost", id, gateway.Unknown)
				broken.Store(true)
				time.Sleep(61 * time.Second)
				r.want("behind it", behind, gateway.Sent)
				time.Sleep(49 * time.Hour)
				if m := r.message(id); m.State != gateway.Unknown || m.RetryAt != nil || m.Resent || m.Attempts != 1 {
					t.Errorf("%s after %d attempts: %+v", m.State, m.Attempts, m.Outcome)
				}
				if got := r.sent("oUser1"); got != "id-a behind" {
					t.Errorf("the follower got %q", got)
				}
			})
		})
	}
}
