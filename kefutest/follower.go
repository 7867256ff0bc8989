package kefutest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// A follower is a person who follows, or followed, the account.
type follower struct {
	openID      string
	Following   bool
	BlockedBy   string // "account" or "follower"; "" by nobody
	Refuses     bool   // messages of the account, in the phone's settings
	Minor       bool   // whom WeChat protects
	buckets     buckets
	because     string    // why the window is closed, if it is
	lastMessage time.Time // to or from them
	typingUntil time.Time
	chat        []*Line // oldest first
}

// window is the permission to write to them.
func (f *follower) window(now time.Time) Window {
	w := f.buckets.window(now, f.because)
	if w.State == "closed" && len(f.buckets) > 0 {
		last := slices.MaxFunc(f.buckets, func(a, b Bucket) int { return a.ClosesAt.Compare(b.ClosesAt) })
		w.Because = fmt.Sprintf("the window of %s closed at %s", last.Trigger, stamp(last.ClosesAt))
	}
	return w
}

// Details say more about an action. What is left out has a plausible value. In JSON
// the names are content, media_id, lat, lon, label, title, description, url, key,
// result, scene and id.
type Details struct {
	Content     string   // of text, menu-tap
	MediaID     string   // of image, voice, video; default: a new medium
	Lat, Lon    *float64 // of location
	Label       string   // of location
	Title       string   // of link
	Description string   // of link
	URL         string   // of link
	Key         string   // of click, view (a URL), scancode_push, scancode_waitmsg
	Result      string   // of scancode_push, scancode_waitmsg: what was scanned
	Scene       string   // of scan, subscribe: the QR code's
	ID          string   // of menu-tap: the item of a msgmenu
}

// UnmarshalJSON implements [json.Unmarshaler]. Numbers may be in quotes, and other
// values without; unknown members are passed over.
func (d *Details) UnmarshalJSON(b []byte) error {
	var in parts
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*d = Details{
		Content: in.text("content"), MediaID: in.text("media_id"), Label: in.text("label"), Title: in.text("title"),
		Description: in.text("description"), URL: in.text("url"), Key: in.text("key"), Result: in.text("result"),
		Scene: in.text("scene"), ID: in.text("id"),
	}
	for name, degrees := range map[string]**float64{"lat": &d.Lat, "lon": &d.Lon} {
		if v, err := strconv.ParseFloat(in.text(name), 64); err == nil {
			*degrees = &v
		}
	}
	return nil
}

// An Action is what came of something that a follower did.
type Action struct {
	Event      json.RawMessage // what was pushed, in WeChat's JSON; nil if WeChat pushes nothing
	Window     Window          // after the callback was answered or given up
	Deliveries []Delivery      // of the push; none without a callback
}

// MarshalJSON implements [json.Marshaler].
func (a Action) MarshalJSON() ([]byte, error) {
	if a.Deliveries == nil {
		a.Deliveries = []Delivery{}
	}
	return encode(struct {
		Event      json.RawMessage `json:"event"`
		Window     Window          `json:"window"`
		Deliveries []Delivery      `json:"deliveries"`
	}{a.Event, a.Window, a.Deliveries}), nil
}

// UserSends makes the follower write: one message for each text, or one of a
// greeting. It returns what came of the last.
//
// Like every verb it makes the follower if there is none, opens the window that the
// act opens, pushes the callback and returns when that was answered or given up. An
// openid has letters, digits, "_" and "-"; the verbs panic on another.
func (w *WeChat) UserSends(openid string, text ...string) (a Action) {
	for _, content := range text {
		a = w.must(openid, "text", Details{Content: content})
	}
	if len(text) == 0 {
		a = w.must(openid, "text", Details{})
	}
	return a
}

// Follows makes the follower follow the account, with a scene by its QR code.
func (w *WeChat) Follows(openid string, scene ...string) Action {
	return w.must(openid, "subscribe", Details{Scene: strings.Join(scene, "")})
}

// Unfollows makes the follower unfollow the account: every window closes.
func (w *WeChat) Unfollows(openid string) Action {
	return w.must(openid, "unsubscribe", Details{})
}

// Clicks makes the follower tap a click entry of the account's menu.
func (w *WeChat) Clicks(openid, key string) Action {
	return w.must(openid, "click", Details{Key: key})
}

// Scans makes the follower scan a QR code of the account.
func (w *WeChat) Scans(openid, scene string) Action {
	return w.must(openid, "scan", Details{Scene: scene})
}

// Pays makes the follower pay the account. WeChat opens a window, if the profile has
// one for it, and pushes nothing.
func (w *WeChat) Pays(openid string) Action { return w.must(openid, "pay", Details{}) }

// Does makes the follower do anything that followers do; see [Actions].
func (w *WeChat) Does(openid, action string, with Details) (Action, error) {
	return w.act(w.account, openid, action, with)
}

func (w *WeChat) must(openid, action string, with Details) Action {
	a, err := w.Does(openid, action, with)
	if err != nil {
		panic(fmt.Errorf("kefutest: %w", err))
	}
	return a
}

// Window returns the permission to write to the follower.
func (w *WeChat) Window(openid string) Window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.account.followers[openid]; f != nil {
		return f.window(w.now())
	}
	return Window{State: "closed", Because: neverSeen}
}

const neverSeen = "no trigger yet"

// Actions returns the names of all that a follower can do, as in the control plane
// and in [WeChat.Does].
func Actions() []string { return slices.Sorted(maps.Keys(actions)) }

// An act is what an action does: what it opens, and what is pushed of it.
type act struct {
	opens func(*account, Details) kefu.Trigger
	// push returns the push from MsgType on. nil: WeChat pushes nothing.
	push func(p *platform, a *account, d Details) fields
}

// actions are all that a follower can do. Which opens what: the facts about windows,
// from WeChat's page of the same name.
var actions = map[string]act{
	"subscribe": {
		opens: func(a *account, d Details) kefu.Trigger {
			if d.Scene != "" {
				return a.ScanFollow
			}
			return kefu.Follow
		},
		push: func(_ *platform, _ *account, d Details) fields {
			if d.Scene == "" {
				return pushed("subscribe", field{"EventKey", ""})
			}
			return pushed("subscribe", field{"EventKey", "qrscene_" + d.Scene}, field{"Ticket", ticket(d.Scene)})
		},
	},
	"unsubscribe": {
		opens: opens(kefu.Unfollow),
		push: func(*platform, *account, Details) fields {
			return pushed("unsubscribe", field{"EventKey", ""})
		},
	},
	"text": message("text", func(_ *platform, _ *account, d Details) fields {
		return fields{{"Content", cmp.Or(d.Content, "你好")}}
	}),
	"menu-tap": {
		opens: func(a *account, _ Details) kefu.Trigger { return a.MenuTap },
		push: func(p *platform, _ *account, d Details) fields {
			return fields{{"MsgType", "text"}, {"Content", cmp.Or(d.Content, "满意")}, {"MsgId", p.msgIDs + p.nextID()}, {"bizmsgmenuid", cmp.Or(d.ID, "101")}}
		},
	},
	"image": message("image", func(p *platform, a *account, d Details) fields {
		url, id := p.photo(a, d.MediaID)
		return fields{{"PicUrl", url}, {"MediaId", id}}
	}),
	"voice": message("voice", func(p *platform, a *account, d Details) fields {
		id, format := p.recording(a, d.MediaID, kefu.MediaVoice)
		return fields{{"MediaId", id}, {"Format", format}}
	}),
	"video": message("video", func(p *platform, a *account, d Details) fields {
		id, _ := p.recording(a, d.MediaID, kefu.MediaVideo)
		_, thumb := p.photo(a, "")
		return fields{{"MediaId", id}, {"ThumbMediaId", thumb}}
	}),
	"location": message("location", func(_ *platform, _ *account, d Details) fields {
		lat, lon := 23.134521, 113.358803
		if d.Lat != nil {
			lat = *d.Lat
		}
		if d.Lon != nil {
			lon = *d.Lon
		}
		return fields{{"Location_X", lat}, {"Location_Y", lon}, {"Scale", int64(20)}, {"Label", cmp.Or(d.Label, "广州市海珠区新港中路397号")}}
	}),
	"link": message("link", func(_ *platform, _ *account, d Details) fields {
		return fields{
			{"Title", cmp.Or(d.Title, "公众平台官网链接")}, {"Description", cmp.Or(d.Description, "公众平台官网链接")},
			{"Url", cmp.Or(d.URL, "https://mp.weixin.qq.com/")},
		}
	}),
	"click": {
		opens: opens(kefu.Menu),
		push: func(_ *platform, _ *account, d Details) fields {
			return pushed("CLICK", field{"EventKey", cmp.Or(d.Key, "V1001_HELLO")})
		},
	},
	"view": {
		opens: opens(""),
		push: func(_ *platform, _ *account, d Details) fields {
			return pushed("VIEW", field{"EventKey", cmp.Or(d.Key, d.URL, "https://example.com/")}, field{"MenuId", int64(410418124)})
		},
	},
	"scancode_push":    scancode("scancode_push"),
	"scancode_waitmsg": scancode("scancode_waitmsg"),
	"scan": {
		opens: opens(kefu.Scan),
		push: func(_ *platform, _ *account, d Details) fields {
			scene := cmp.Or(d.Scene, "123")
			return pushed("SCAN", field{"EventKey", scene}, field{"Ticket", ticket(scene)})
		},
	},
	"pay":    {opens: opens(kefu.Payment)},
	"rights": {opens: opens(kefu.Rights)},
}

func opens(t kefu.Trigger) func(*account, Details) kefu.Trigger {
	return func(*account, Details) kefu.Trigger { return t }
}

func message(msgtype string, rest func(*platform, *account, Details) fields) act {
	return act{opens(kefu.UserMessage), func(p *platform, a *account, d Details) fields {
		f := append(fields{{"MsgType", msgtype}}, rest(p, a, d)...)
		return append(f, field{"MsgId", p.msgIDs + p.nextID()})
	}}
}

func pushed(name string, rest ...field) fields {
	return append(fields{{"MsgType", "event"}, {"Event", name}}, rest...)
}

func scancode(name string) act {
	return act{opens(kefu.Menu), func(_ *platform, _ *account, d Details) fields {
		return pushed(name, field{"EventKey", cmp.Or(d.Key, "rselfmenu_0_0")}, field{"ScanCodeInfo", fields{
			{"ScanType", "qrcode"}, {"ScanResult", cmp.Or(d.Result, "https://example.com/qr")},
		}})
	}}
}

// ticket is of the form of a QR code's ticket, and always the same for a scene.
func ticket(scene string) string { return "gQ" + shortHash(scene) + shortHash("ticket"+scene) }

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// photo returns the picture that a follower sends: one of theirs in the library, or
// a new one.
func (p *platform) photo(a *account, id string) (url, mediaID string) {
	now := p.now()
	data := snapshot()
	if f, code := a.library.lookUp(now, id); code == 0 {
		data = f.Data
	}
	if id == "" {
		f, _ := a.library.upload(now, kefu.MediaImage, "photo.png", data)
		id = f.id
	}
	return p.url + a.library.keepPicture(now, fileFormat(data), data).Path, id
}

// recording returns the voice or video that a follower sends.
func (p *platform) recording(a *account, id string, kind kefu.MediaKind) (mediaID, format string) {
	now := p.now()
	if f, code := a.library.lookUp(now, id); code == 0 {
		return id, f.format
	}
	data, name := silence(), "voice.amr"
	if kind == kefu.MediaVideo {
		data, name = clip(), "video.mp4"
	}
	if id == "" {
		f, _ := a.library.upload(now, kind, name, data)
		id = f.id
	}
	return id, fileFormat(data)
}

// snapshot is a small picture, sky over grass.
func snapshot() []byte {
	img := image.NewPaletted(image.Rect(0, 0, 96, 72), color.Palette{color.RGBA{142, 197, 232, 255}, color.RGBA{122, 176, 92, 255}})
	for i := 96 * 44; i < len(img.Pix); i++ {
		img.Pix[i] = 1
	}
	var b bytes.Buffer
	png.Encode(&b, img) // into memory, which does not fail
	return b.Bytes()
}

// silence is a second of AMR: 50 frames without sound.
func silence() []byte {
	return append([]byte("#!AMR\n"), bytes.Repeat([]byte{0x7c}, 50)...)
}

// clip is the head of an MP4 file, which names its kind and shows nothing.
func clip() []byte {
	return []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08mdat")
}

const mostFollowers = 100_000

// act does what a follower of a does, and returns when its callback is done with.
// onEarth reports whether degrees, if given, are a number of at most that size.
func onEarth(degrees *float64, most float64) bool {
	return degrees == nil || *degrees >= -most && *degrees <= most // NaN is neither
}

func (p *platform) act(a *account, openid, name string, d Details) (Action, error) {
	doing, known := actions[name]
	switch {
	case !known:
		return Action{}, fmt.Errorf("no action %q; there are %s", name, strings.Join(Actions(), ", "))
	case !onEarth(d.Lat, 90) || !onEarth(d.Lon, 180):
		return Action{}, errors.New("lat and lon must be degrees on earth: -90 to 90, -180 to 180")
	case !openIDForm.MatchString(openid):
		return Action{}, fmt.Errorf("%q can't be an openid: 1 to 64 letters, digits, _ and -", openid)
	}
	if !p.enter() {
		return Action{}, p.ctx.Err()
	}
	defer p.running.Done()

	p.mu.Lock()
	f, err := a.follower(openid)
	if err != nil {
		p.mu.Unlock()
		return Action{}, err
	}
	now := p.now()
	a.open(f, now, doing.opens(a, d))
	if doing.push == nil {
		p.say(a, f, Line{At: now, Dir: In, Kind: name})
		defer p.mu.Unlock()
		return Action{Window: f.window(now)}, nil
	}
	content := doing.push(p, a, d)
	if content[0].value != "event" {
		f.lastMessage = now
	}
	line, out := p.compose(a, f, now, content)
	p.mu.Unlock()

	deliveries := p.deliver(a, f, line, out)
	p.mu.Lock()
	defer p.mu.Unlock()
	return Action{Event: out.json, Window: f.window(p.now()), Deliveries: deliveries}, nil
}

// follower returns the follower with that openid, and makes them if there is none.
// Whoever acts follows: one who had unfollowed does so again, without an event.
func (a *account) follower(openid string) (*follower, error) {
	f := a.followers[openid]
	if f == nil {
		if len(a.followers) >= mostFollowers {
			return nil, fmt.Errorf("the simulator has %d followers already, and takes no more", mostFollowers)
		}
		f = &follower{openID: openid, because: neverSeen}
		a.followers[openid] = f
	}
	f.Following = true
	return f, nil
}

// open opens what the trigger opens, or closes all for [kefu.Unfollow].
func (a *account) open(f *follower, now time.Time, t kefu.Trigger) {
	if t == kefu.Unfollow {
		f.Following, f.buckets, f.because = false, nil, "unfollowed at "+stamp(now).String()
		return
	}
	f.buckets = f.buckets.opened(now, t, a.limits.Allowances[t], a.Mixing)
}
