package assets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// A rig is a library with the simulator as its WeChat.
type rig struct {
	*Library
	t      *testing.T
	wechat *kefutest.WeChat
	client *kefu.Client
}

const appid = "wx5eed2a76cc560001"

func newRig(t *testing.T) *rig {
	r := &rig{t: t, wechat: kefutest.New()} // in a bubble both have its time
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "kefu.db"), store.Options{SecretKey: "0123456789abcdef0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	r.client = r.wechat.Client()
	r.Library = &Library{
		Store: s, Log: slog.New(slog.DiscardHandler),
		Client: func(account string) *kefu.Client {
			if account != appid {
				return nil
			}
			return r.client
		},
	}
	return r
}

func (r *rig) close() {
	r.wechat.Close()
	if err := r.Store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) keep(file []byte) gateway.Asset {
	r.t.Helper()
	a, err := r.Keep(r.t.Context(), appid, bytes.NewReader(file))
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) resolve(body string) string {
	r.t.Helper()
	out, err := r.Resolve(r.t.Context(), r.client, appid, r.wechat.Now(), json.RawMessage(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// uploads counts what reached WeChat.
func (r *rig) uploads() (n int) {
	for _, q := range r.wechat.Requests() {
		if strings.HasPrefix(q.Path, "/cgi-bin/media/upload") && q.ErrCode == 0 {
			n++
		}
	}
	return n
}

func image1(id string) string {
	return fmt.Sprintf(`{"touser":"o","msgtype":"image","image":{"media_id":%q}}`, id)
}

// idIn is the media id of a body.
func idIn(t *testing.T, body string) string {
	t.Helper()
	var m struct {
		Image struct {
			ID string `json:"media_id"`
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.Image.ID == "" {
		t.Fatalf("%s: %v", body, err)
	}
	return m.Image.ID
}

func TestKeep(t *testing.T) {
	r := newRig(t)
	defer r.close()
	a := r.keep(pngOf(640, 320))
	if a.Width != 640 || a.Format != "png" || len(a.Kinds) != 2 || a.Account != appid {
		t.Errorf("%+v", a)
	}
	body, err := r.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(body); err != nil || !bytes.Equal(b, pngOf(640, 320)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for _, tt := range []struct {
		name string
		file io.Reader
		want error
	}{
		{"a page", strings.NewReader("<html>"), kefu.ErrMediaInvalid},
		{"nothing", strings.NewReader(""), kefu.ErrMediaInvalid},
		{"larger than anything", bytes.NewReader(sized(pngOf(8, 8), MaxFile+1)), egress.ErrTooLarge},
		{"broken off", io.MultiReader(bytes.NewReader(pngOf(9, 9)), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	} {
		if _, err := r.Keep(t.Context(), appid, tt.file); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	r.Room = 1
	if _, err := r.Keep(t.Context(), appid, bytes.NewReader(pngOf(3, 3))); !errors.Is(err, store.ErrNoRoom) {
		t.Errorf("no room: %v", err)
	}
	if n, err := r.Store.SweepContents(t.Context(), r.wechat.Now().Add(24*time.Hour)); n != 0 || err != nil {
		t.Errorf("%d files stay behind, %v", n, err)
	}
}

// All members of all kinds become ids that WeChat takes; what is not the gateway's
// stays, to the byte.
func TestResolve(t *testing.T) {
	r := newRig(t)
	defer r.close()
	png, jpg, amr, mp4 := r.keep(pngOf(640, 320)).ID, r.keep(jpgOf(520, 416)).ID, r.keep(amrOf(9)).ID, r.keep(mp4Of(1, false)).ID
	r.wechat.UserSends("o")
	if err := r.wechat.SetState(`{"mini_programs":["wxmini"]}`); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		image1(png), image1(jpg),
		`{"touser":"o","msgtype":"voice","voice":{"media_id":"` + amr + `"}}`,
		`{"touser":"o","msgtype":"video","video":{"media_id":"` + mp4 + `","thumb_media_id":"` + jpg + `","title":"<导览> & more","description":"d"},"later":1}`,
		`{"touser":"o","msgtype":"music","music":{"musicurl":"http://a/","hqmusicurl":"http://a/","title":"t","description":"d","thumb_media_id":"` + jpg + `"}}`,
	} {
		out := r.resolve(body)
		if strings.Contains(out, "asset:") || strings.Contains(out, `\u003c`) || strings.Contains(body, "later") && !strings.Contains(out, `"later":1`) {
			t.Errorf("%s", out)
		}
		if _, err := r.client.SendJSON(t.Context(), []byte(out)); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	}
	r.wechat.UserSends("o") // five more
	page := r.resolve(`{"touser":"o","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","appid":"wxmini","pagepath":"p","thumb_media_id":"` + png + `"}}`)
	if _, err := r.client.SendJSON(t.Context(), []byte(page)); err != nil {
		t.Errorf("%s: %v", page, err)
	}
	if n := r.uploads(); n != 5 { // the jpg as an image and as a cover
		t.Errorf("%d uploads, want 5", n)
	}
	for _, body := range []string{
		image1("a-plain-id"), ` {"msgtype":"image", "touser":"o","image":{"media_id":"a-plain-id", "more":1.0}}`,
		`{"touser":"o","msgtype":"mpnews","mpnews":{"media_id":"draft"}}`, `{"touser":"o","msgtype":"text","text":{"content":"asset:1"}}`,
	} {
		if out := r.resolve(body); out != body {
			t.Errorf("%s became %s", body, out)
		}
	}
	for name, body := range map[string]string{
		"no such asset": image1(gateway.AssetID([32]byte{1})), "a broken id": image1("asset:1"), "another kind": image1(amr),
	} {
		if out, err := r.Resolve(t.Context(), r.client, appid, r.wechat.Now(), json.RawMessage(body)); !errors.Is(err, kefu.ErrMediaInvalid) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
}

// An id is used for two days and a half, also if nobody needs it for long; what
// nobody needs is never uploaded again.
func TestRenewalBeforeWeChatForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		body := image1(r.keep(pngOf(8, 8)).ID)
		first := r.resolve(body)
		for _, tt := range []struct {
			name    string
			after   time.Duration // the step before
			uploads int
		}{
			{"at once", 0, 1},
			{"a millisecond before", renewAfter - time.Millisecond, 1},
			{"then", time.Millisecond, 2},
			{"soon after", time.Hour, 2},
			{"after a month unused", 30 * 24 * time.Hour, 3},
		} {
			time.Sleep(tt.after)
			out := r.resolve(body)
			if n := r.uploads(); n != tt.uploads {
				t.Errorf("%s: %d uploads, want %d", tt.name, n, tt.uploads)
			}
			r.wechat.UserSends("o")
			if _, err := r.client.SendJSON(t.Context(), []byte(out)); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if again := r.resolve(first); again == first { // a plain id that was the gateway's
			t.Error("an id that is dead by now is sent")
		}
		if n := r.uploads(); n != 3 {
			t.Errorf("%d uploads in the end", n)
		}
	})
}

// However many need the same file at the same time: one upload.
func TestUploadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		body := image1(r.keep(pngOf(8, 8)).ID)
		r.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/media/upload", Every: 1, Delay: kefutest.Duration(3 * time.Second)})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { r.resolve(body) })
		}
		all.Wait()
		if n := r.uploads(); n != 1 {
			t.Errorf("%d uploads, want 1", n)
		}
		sent := r.resolve(body)
		for range 100 {
			all.Go(func() {
				if _, err := r.Renew(t.Context(), r.client, appid, json.RawMessage(sent)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := r.uploads(); n != 2 {
			t.Errorf("%d uploads after all were renewed, want 2", n)
		}
	})
}

// A failure is everybody's, and nobody's for ever.
func TestAFailedUploadIsTriedAgain(t *testing.T) {
	r := newRig(t)
	defer r.close()
	body := json.RawMessage(image1(r.keep(pngOf(8, 8)).ID))
	mend := r.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/media/upload", Every: 1, ErrCode: -1})
	if _, err := r.Resolve(t.Context(), r.client, appid, r.wechat.Now(), body); !errors.Is(err, kefu.ErrBusy) {
		t.Errorf("busy: %v", err)
	}
	mend()
	if _, err := r.Resolve(t.Context(), r.client, appid, r.wechat.Now(), body); err != nil {
		t.Error(err)
	}
}

func TestRenew(t *testing.T) {
	r := newRig(t)
	defer r.close()
	sent := r.resolve(image1(r.keep(pngOf(8, 8)).ID))
	out, err := r.Renew(t.Context(), r.client, appid, json.RawMessage(sent))
	if err != nil || idIn(t, string(out)) == idIn(t, sent) {
		t.Errorf("%s, %v", out, err)
	}
	again, err := r.Renew(t.Context(), r.client, appid, json.RawMessage(sent)) // another message with the old id
	if err != nil || !bytes.Equal(again, out) {
		t.Errorf("%s, %v; want what the first got, %s", again, err, out)
	}
	if _, err := r.Renew(t.Context(), r.client, appid, json.RawMessage(image1("nobody-knows"))); !errors.Is(err, ErrNotOurs) || !errors.Is(err, kefu.ErrMediaInvalid) {
		t.Errorf("an id that is not the gateway's: %v", err)
	}
	if n := r.uploads(); n != 2 {
		t.Errorf("%d uploads, want 2", n)
	}
}

func TestURLForGood(t *testing.T) {
	r := newRig(t)
	defer r.close()
	a := r.keep(jpgOf(640, 320))
	r.Now = r.wechat.Now
	first, err := r.URL(t.Context(), a)
	if err != nil || !strings.HasPrefix(first, "http") {
		t.Fatalf("%q, %v", first, err)
	}
	r.wechat.Advance(100 * 24 * time.Hour)
	if again, err := r.URL(t.Context(), a); again != first || err != nil {
		t.Errorf("%q, %v; want %q", again, err, first)
	}
	if _, err := r.URL(t.Context(), r.keep(amrOf(3))); !errors.Is(err, kefu.ErrMediaInvalid) {
		t.Errorf("a voice: %v", err)
	}
}

func TestCheck(t *testing.T) {
	r := newRig(t)
	defer r.close()
	png, amr := r.keep(pngOf(8, 8)).ID, r.keep(amrOf(3)).ID
	var unfit *kefu.FileError
	for _, tt := range []struct {
		name string
		ref  gateway.MediaRef
		want string // "", "unfit" or "none"
	}{
		{"fits", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: png}, ""},
		{"a voice as an image", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: amr}, "unfit"},
		{"a png as a cover", gateway.MediaRef{Member: "thumb_media_id", Kind: kefu.MediaThumb, ID: png}, "unfit"},
		{"nobody's", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: gateway.AssetID([32]byte{})}, "none"},
		{"broken", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: "asset:x"}, "none"},
		{"an article of an asset", gateway.MediaRef{Member: "media_id", Kind: "news", ID: png}, "unfit"},
		{"an article of a URL", gateway.MediaRef{Member: "media_id", Kind: "news", ID: "https://a.test/"}, "unfit"},
		{"a URL", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: "https://a.test/b.png"}, ""},
		{"a URL of this machine", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: "http://127.0.0.1/b.png"}, "unfit"},
		{"a plain id", gateway.MediaRef{Member: "media_id", Kind: kefu.MediaImage, ID: "x"}, ""},
	} {
		err := r.Check(t.Context(), appid, tt.ref)
		got := ""
		switch {
		case errors.As(err, &unfit):
			if got = "unfit"; unfit.Reason == "" || unfit.Zh == "" {
				t.Errorf("%s: no reason", tt.name)
			}
		case errors.Is(err, store.ErrNotFound):
			got = "none"
		case err != nil:
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := r.Check(t.Context(), "wxother", gateway.MediaRef{Kind: kefu.MediaImage, ID: png}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another account's: %v", err)
	}
}

// URLs: fetched once, kept, and what fails is for good or for now.
func TestURLs(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, r.wechat.Now
	var asked atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		if q.Header.Get("Accept-Encoding") != "" || q.Header.Get("Authorization") != "" || q.Header.Get("Cookie") != "" {
			t.Errorf("the site is told %v", q.Header)
		}
		switch q.URL.Path {
		case "/a.png":
			w.Header().Set("Content-Type", "text/html") // nobody believes it
			w.Write(pngOf(8, int(asked.Load())))        // another each time
		case "/moved":
			http.Redirect(w, q, "/a.png", http.StatusFound)
		case "/page":
			w.Write([]byte("<html>"))
		case "/large":
			w.Write(sized(pngOf(8, 8), MaxFile+1))
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/short":
			w.Header().Set("Content-Length", "1000")
			w.Write(pngOf(8, 8)[:20])
		case "/metadata":
			http.Redirect(w, q, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		default:
			http.NotFound(w, q)
		}
	}))
	defer site.Close()

	accepted := r.wechat.Now()
	resolve := func(path string, accepted time.Time) (string, error) {
		out, err := r.Resolve(t.Context(), r.client, appid, accepted, json.RawMessage(image1(site.URL+path)))
		return string(out), err
	}
	first, err := resolve("/a.png", accepted)
	if err != nil {
		t.Fatal(err)
	}
	r.wechat.Advance(time.Hour)
	if again, err := resolve("/a.png", accepted); again != first || err != nil || asked.Load() != 1 {
		t.Errorf("a retry of the same message: %s, %v, %d fetches; want %s", again, err, asked.Load(), first)
	}
	if later, err := resolve("/a.png", r.wechat.Now()); later == first || err != nil {
		t.Errorf("a message an hour later: %s, %v", later, err)
	}
	if again, err := resolve("/a.png", accepted); again != first || err != nil {
		t.Errorf("the first message, after the URL leads elsewhere: %s, %v", again, err)
	}
	if _, err := resolve("/moved", accepted); err != nil {
		t.Errorf("moved: %v", err)
	}
	host := site.Listener.Addr().(*net.TCPAddr).IP.String()
	for path, final := range map[string]bool{"/page": true, "/large": true, "/gone": true, "/metadata": true, "/busy": false, "/short": false} {
		out, err := resolve(path+"?token=hunter2", accepted)
		if err == nil || errors.Is(err, kefu.ErrMediaInvalid) != final || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %s, %v; want for good: %v", path, out, err, final)
		} else if strings.Contains(err.Error(), host) || strings.Contains(err.Error(), "169.254") {
			t.Errorf("%s: the sender learns an address: %v", path, err)
		}
	}
	down := "http://" + site.Listener.Addr().String()
	site.Close()
	if _, err := r.Resolve(t.Context(), r.client, appid, accepted, json.RawMessage(image1(down+"/b.png"))); err == nil || errors.Is(err, kefu.ErrMediaInvalid) || strings.Contains(err.Error(), host) {
		t.Errorf("a site that is down: %v, want an error that may pass", err)
	}
	strict := newRig(t)
	defer strict.close()
	var logged bytes.Buffer
	strict.Log = slog.New(slog.NewTextHandler(&logged, nil))
	inside := strings.Replace(down, host, "localhost", 1) // a name, of which Check can't know
	_, err = strict.Resolve(t.Context(), r.client, appid, accepted, json.RawMessage(image1(inside+"/b.png")))
	if !errors.Is(err, kefu.ErrMediaInvalid) || strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), host) {
		t.Errorf("without AllowPrivate: %v", err)
	}
	if !strings.Contains(logged.String(), "--allow-private") || strings.Contains(logged.String(), "b.png") {
		t.Errorf("the operator learns %q", logged.String())
	}
}

// receive has the store keep what a follower sends, as the dispatcher does.
func (r *rig) receive(files ...store.InboundMedia) {
	r.t.Helper()
	if _, err := r.Store.Receive(r.t.Context(), r.wechat.Now(), store.Callback{
		Entry: store.Entry{Account: appid, OpenID: "o", Type: "follower.message", Data: json.RawMessage(`{}`)}, Media: files,
	}); err != nil {
		r.t.Fatal(err)
	}
}

// upload puts a file to WeChat behind the library's back: a follower's.
func (r *rig) theirs(kind kefu.MediaKind, file []byte) store.InboundMedia {
	r.t.Helper()
	m, err := r.wechat.Client().Upload(r.t.Context(), kind, "a", bytes.NewReader(file))
	if err != nil {
		r.t.Fatal(err)
	}
	return store.InboundMedia{MediaID: string(m.ID), Kind: kind}
}

func (r *rig) entries() (all []InboundEntry) {
	r.t.Helper()
	feed, _, err := r.Store.Feed(r.t.Context(), "", 1000, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range feed {
		if e.Type == "follower.media" {
			var one InboundEntry
			if err := json.Unmarshal(e.Data, &one); err != nil {
				r.t.Fatal(err)
			}
			all = append(all, one)
		}
	}
	return all
}

func TestInbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() {
			r.Run(ctx)
			close(ended)
		}()
		defer func() {
			stop()
			<-ended
		}()
		picture := r.theirs(kefu.MediaImage, pngOf(640, 320))
		r.receive(picture, r.theirs(kefu.MediaVideo, mp4Of(3, true)))
		r.receive(store.InboundMedia{MediaID: "nobody's", Kind: kefu.MediaVoice})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		var assets []string
		for _, e := range r.entries() {
			if e.Asset == "" {
				t.Errorf("given up at once: %+v", e)
			}
			assets = append(assets, e.Asset)
		}
		if len(assets) != 2 {
			t.Fatalf("%v are here, want the picture and the video", r.entries())
		}
		m, err := r.Store.Media(t.Context(), appid, picture.MediaID)
		if err != nil || m.Kind != kefu.MediaImage {
			t.Errorf("the picture's id: %+v, %v", m, err)
		}
		a, err := r.Store.Asset(t.Context(), appid, m.Hash)
		if err != nil || a.Width != 640 {
			t.Errorf("the picture: %+v, %v", a, err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if all := r.entries(); len(all) != 3 || all[2].Because == "" || all[2].Asset != "" {
			t.Errorf("an id that WeChat does not know: %+v, want it given up", all)
		}
		before := len(r.wechat.Requests())
		time.Sleep(24 * time.Hour)
		if after := len(r.wechat.Requests()); after != before {
			t.Errorf("%d requests with nothing to fetch", after-before)
		}
	})
}

// WeChat is away for two days and a half: everything is here in the end.
func TestInboundIsTriedUntilWeChatForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() {
			r.Run(ctx)
			close(ended)
		}()
		defer func() {
			stop()
			<-ended
		}()
		kept := r.theirs(kefu.MediaImage, pngOf(1, 1))
		mend := r.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/media/get", Every: 1, ErrCode: -1})
		r.receive(kept)
		time.Sleep(60 * time.Hour)
		tries := len(r.wechat.Requests())
		mend()
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if all := r.entries(); len(all) != 1 || all[0].Asset == "" {
			t.Errorf("after %d tries: %+v", tries, all)
		}
		if tries > 150 {
			t.Errorf("%d tries in 60 h", tries)
		}
		r.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/media/get", Every: 1, ErrCode: -1})
		r.receive(r.theirs(kefu.MediaImage, pngOf(2, 2)))
		time.Sleep(kefu.MediaLife + time.Hour)
		synctest.Wait()
		if all := r.entries(); len(all) != 2 || all[1].Asset != "" || all[1].Because == "" {
			t.Errorf("what WeChat has forgotten by now: %+v", all)
		}
	})
}

// Whatever the pauses, the last try comes right before WeChat forgets the file.
func TestTheLastTryIsLate(t *testing.T) {
	m := store.InboundMedia{At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Tries: 50}
	forgets := m.At.Add(kefu.MediaLife)
	for _, tt := range []struct {
		before   time.Duration // WeChat forgets
		from, to time.Duration // before that the next try comes; 0: none
	}{
		{10 * time.Hour, 9*time.Hour + 31*time.Minute, 9 * time.Hour},
		{lastMargin + 10*time.Minute, lastMargin, lastMargin},
		{lastMargin + time.Millisecond, lastMargin, lastMargin},
		{lastMargin, 0, 0},
		{time.Minute, 0, 0},
	} {
		next := again(m, forgets.Add(-tt.before), kefu.ErrNotDelivered)
		if left := forgets.Sub(next); tt.from == 0 && !next.IsZero() || tt.from != 0 && (left > tt.from || left < tt.to) {
			t.Errorf("%v before WeChat forgets the next try is %v before; want %v to %v", tt.before, left, tt.from, tt.to)
		}
	}
}

// A shop that sends another picture by URL with each message never fills its room with
// them; what was uploaded and what followers sent stays, and people hear of it in time.
func TestURLsDoNotFillTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		n := 0
		r.setUp()
		r.web = &http.Client{Transport: roundTrip(func(*http.Request) *http.Response {
			n++
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(sized(pngOf(8, n), 1000)))}
		})}
		r.Room = 20_000
		photo := r.keep(sized(pngOf(1, 1), 6000))
		send := func(times int) {
			t.Helper()
			for range times {
				r.resolve(image1(fmt.Sprintf("https://example.com/%d.png", n)))
				time.Sleep(time.Hour)
			}
		}
		send(50)
		used, err := r.Store.AssetTotals(t.Context())
		if err != nil || used[appid] >= r.Room*fullFrom/100 {
			t.Errorf("%d bytes of %d, %v", used[appid], r.Room, err)
		}
		if notes := r.Notes(t.Context(), "en", nil); len(notes) > 0 {
			t.Errorf("people are told of what passes by itself: %v", notes)
		}
		r.keep(sized(pngOf(2, 2), 10_000))
		if notes := r.Notes(t.Context(), "zh", nil); len(notes) != 1 || !strings.Contains(notes[0], appid+"：素材已占用") {
			t.Errorf("people are told %v", notes)
		}
		if _, err := r.Asset(t.Context(), nil, photo.ID); err != nil {
			t.Error(err)
		}
		if _, err := r.Keep(t.Context(), appid, bytes.NewReader(sized(pngOf(3, 3), 5000))); !errors.Is(err, store.ErrNoRoom) || !strings.Contains(err.Error(), "--asset-room") {
			t.Errorf("what does not fit: %v", err)
		}
	})
}

// What a URL led to may go while a message with it waits: it is fetched again.
func TestAFileThatWentIsFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		r.setUp()
		r.web = &http.Client{Transport: roundTrip(func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(pngOf(8, 8)))}
		})}
		accepted := r.wechat.Now()
		for range 2 {
			if _, err := r.Resolve(t.Context(), r.client, appid, accepted, json.RawMessage(image1("https://example.com/a.png"))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
			if err := r.Store.MakeRoom(t.Context(), r.wechat.Now(), appid, 0); err != nil {
				t.Fatal(err)
			}
			if used, err := r.Store.AssetTotals(t.Context()); used[appid] != 0 || err != nil {
				t.Errorf("%d bytes, %v", used[appid], err)
			}
		}
	})
}

type roundTrip func(*http.Request) *http.Response

// RoundTrip implements [http.RoundTripper].
func (r roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return r(q), nil }

// A callback is kept and answered while the fetch of an earlier file hangs.
func TestInboundHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		go func() {
			r.Run(ctx)
			close(ended)
		}()
		r.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/media/get", Every: 1, Delay: kefutest.Duration(time.Hour)})
		for range 10 {
			began := time.Now()
			r.receive(r.theirs(kefu.MediaImage, pngOf(1, 1)))
			if took := time.Since(began); took > time.Second { // the store waits a moment for company
				t.Errorf("a callback took %v", took)
			}
			time.Sleep(time.Second)
		}
		stop()
		<-ended
		due, err := r.Store.DueInbound(t.Context(), r.wechat.Now(), 100)
		if err != nil || len(due) != 10 {
			t.Errorf("%d are due after a stop, %v; want all 10", len(due), err)
		}
	})
}
