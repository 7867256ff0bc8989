package assets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

var (
	webpHead = []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f")
	bmpHead  = append([]byte("BM\x1a\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x00\x00\x0c\x00\x00\x00"), make([]byte, 8)...)
)

// picture opens a picture of a message that is accepted now.
func (r *rig) picture(url string) (format string, content []byte, err error) {
	format, body, err := r.Picture(context.Background(), appid, r.Now(), url)
	if err == nil {
		content, err = io.ReadAll(body)
	}
	return format, content, err
}

// What a URL leads to is shown if its bytes are a picture's, whatever it calls itself.
func TestPicture(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, r.wechat.Now
	files := map[string][]byte{
		"/a.jpg": jpgOf(8, 8), "/a.png": pngOf(8, 8), "/a.gif": gifOf(8, 8), "/a.webp": webpHead, "/a.bmp": bmpHead,
		"/largest.png": sized(pngOf(8, 8), maxPicture), "/larger.png": sized(pngOf(8, 8), maxPicture+1),
		"/a.svg":      []byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="owned()"/>`),
		"/b.svg":      []byte("\ufeff<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
		"/c.svg":      []byte("\n <!-- GIF89a --><svg/>"),
		"/page":       []byte("<!doctype html><script>owned()</script>"),
		"/a.mp3":      mp3Of(10),
		"/a.mp4":      mp4Of(1, false),
		"/broken.png": pngOf(8, 8)[:12],
		"/empty":      nil,
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Cookie") != "" || q.Header.Get("Authorization") != "" || q.Header.Get("Referer") != "" {
			t.Errorf("the site is told %v", q.Header)
		}
		w.Header().Set("Content-Type", "image/png") // nobody believes it
		switch file, ok := files[q.URL.Path]; {
		case ok:
			w.Write(file)
		case q.URL.Path == "/unannounced":
			w.(http.Flusher).Flush()
			w.Write(files["/larger.png"])
		case q.URL.Path == "/moved":
			http.Redirect(w, q, "/a.png", http.StatusFound)
		case q.URL.Path == "/metadata":
			http.Redirect(w, q, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case q.URL.Path == "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(files["/a.png"])
		default:
			http.NotFound(w, q)
		}
	}))
	defer site.Close()
	for _, tt := range []struct {
		path, format, why string
	}{
		{"/a.jpg", "jpg", ""}, {"/a.png", "png", ""}, {"/a.gif", "gif", ""}, {"/a.webp", "webp", ""}, {"/a.bmp", "bmp", ""},
		{"/largest.png", "png", ""}, {"/moved", "png", ""},
		{"/larger.png", "", "more than 2097152 bytes"}, {"/unannounced", "", "more than 2097152 bytes"},
		{"/a.svg", "", "it is a text"}, {"/b.svg", "", "nobody knows its format"}, {"/c.svg", "", "nobody knows its format"}, {"/page", "", "it is a text"},
		{"/a.mp3", "", "it is mp3"}, {"/a.mp4", "", "it is mp4"}, {"/broken.png", "", "nobody knows"}, {"/empty", "", "nobody knows"},
		{"/metadata", "", "not one that the gateway goes to"}, {"/gone", "", "leads to nothing"}, {"/busy", "", "no picture in time"},
	} {
		format, content, err := r.picture(site.URL + tt.path + "?token=hunter2")
		var unfit *kefu.FileError
		switch {
		case tt.why == "":
			if want := files[strings.Replace(tt.path, "moved", "a.png", 1)]; err != nil || format != tt.format || !bytes.Equal(content, want) {
				t.Errorf("%s: %s, %d bytes, %v", tt.path, format, len(content), err)
			}
		case !errors.As(err, &unfit) || !strings.Contains(unfit.Reason, tt.why) || unfit.Zh == "" || strings.Contains(unfit.Reason+unfit.Zh, "hunter2"):
			t.Errorf("%s: %s, %v; want %s", tt.path, format, err, tt.why)
		}
	}

	strict := newRig(t)
	defer strict.close()
	strict.Now = time.Now
	var asked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	for _, url := range []string{inside.URL + "/a.png", strings.Replace(inside.URL, "127.0.0.1", "localhost", 1), "file:///etc/passwd", "http://[::1]/a.png"} {
		var unfit *kefu.FileError
		if _, _, err := strict.picture(url); !errors.As(err, &unfit) || asked.Load() > 0 {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A picture is kept for a day, and that there is none for a minute: a thread that is drawn
// again and again is one question to the site.
func TestPicturesAreKept(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, r.wechat.Now
	var asked atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if asked.Add(1); q.URL.Path == "/a.png" {
			w.Write(pngOf(8, 8))
		}
	}))
	defer site.Close()
	for _, tt := range []struct {
		path string
		life time.Duration
	}{{"/a.png", pictureLife}, {"/none", pictureAgain}} {
		asked.Store(0)
		for i, step := range []struct {
			wait  time.Duration
			asked int32
		}{{0, 1}, {0, 1}, {tt.life - time.Second, 1}, {2 * time.Second, 2}} {
			r.wechat.Advance(step.wait)
			if _, _, err := r.picture(site.URL + tt.path); (err == nil) != (tt.path == "/a.png") || asked.Load() != step.asked {
				t.Errorf("%s, step %d: %v, asked %d times, want %d", tt.path, i, err, asked.Load(), step.asked)
			}
		}
	}
}

// A site that can't be reached costs one wait, not one for each of its pictures.
func TestPicturesOfASiteThatIsDown(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, r.wechat.Now
	var asked atomic.Int32
	serve := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if asked.Add(1); q.URL.Path == "/busy" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		w.Write(pngOf(8, 8))
	})
	site, other := httptest.NewServer(serve), httptest.NewServer(serve)
	defer other.Close()
	address := site.Listener.Addr().String()
	site.Close()
	if _, _, err := r.picture(site.URL + "/1"); err == nil {
		t.Error("a picture of a site that is down")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := &httptest.Server{Listener: l, Config: &http.Server{Handler: serve}}
	again.Start()
	defer again.Close()
	for _, tt := range []struct {
		name, url string
		wait      time.Duration
		asked     int32
		ok        bool
	}{
		{"another of it, within a minute", site.URL + "/2", 0, 0, false},
		{"one of another site", other.URL + "/1", 0, 1, true},
		{"another of it, after a minute", site.URL + "/2", pictureAgain, 1, true},
		{"one that its site does not give", site.URL + "/busy", 0, 1, false},
		{"another of a site that answers", site.URL + "/3", 0, 1, true},
	} {
		asked.Store(0)
		r.wechat.Advance(tt.wait)
		if _, _, err := r.picture(tt.url); (err == nil) != tt.ok || asked.Load() != tt.asked {
			t.Errorf("%s: %v, asked %d times", tt.name, err, asked.Load())
		}
	}
}

// What is in memory has its limit; what nobody has looked at for longest goes first.
func TestPicturesHaveLimitedRoom(t *testing.T) {
	var s pictures
	now := time.Now()
	one := make([]byte, pictureRoom/4-pictureWeight-1) // with its URL a quarter
	for _, url := range []string{"a", "b", "c", "d"} {
		s.put(picture{url: url, at: now, bytes: one})
	}
	s.get("a", now)
	s.put(picture{url: "e", at: now, bytes: one})
	s.put(picture{url: "e", at: now, bytes: one}) // again: it takes no more
	var kept []string
	for _, url := range []string{"a", "b", "c", "d", "e"} {
		if _, ok := s.get(url, now); ok {
			kept = append(kept, url)
		}
	}
	if !slices.Equal(kept, []string{"a", "c", "d", "e"}) || s.weight != pictureRoom || len(s.byURL) != 4 {
		t.Errorf("%v, %d bytes", kept, s.weight)
	}
}

// A few are fetched at once, whoever asks; the same one once.
func TestPicturesAtOnce(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, time.Now
	var now, most, asked atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		w.Write(pngOf(8, 8))
	}))
	defer site.Close()
	var all sync.WaitGroup
	for i := range 6 * mostPictures {
		all.Go(func() {
			if _, _, err := r.picture(fmt.Sprint(site.URL, "/", i%(2*mostPictures))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > mostPictures || asked.Load() != 2*mostPictures {
		t.Errorf("%d at once, %d in all; want %d, %d", most.Load(), asked.Load(), mostPictures, 2*mostPictures)
	}
}

// A site that never answers has its time, and those who wait for their turn have theirs.
func TestPicturesTakeLimitedTime(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now, r.pictureTime = true, time.Now, 200*time.Millisecond
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Write(pngOf(8, 8)[:20])
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	}))
	defer site.Close()
	var unfit *kefu.FileError
	if _, _, err := r.picture(site.URL); !errors.As(err, &unfit) || !strings.Contains(unfit.Reason, "in time") {
		t.Errorf("%v", err)
	}
	for range mostPictures {
		r.pictureFetches <- struct{}{}
	}
	var p *gateway.Problem
	if _, _, err := r.picture(site.URL + "/2"); !errors.As(err, &p) || p.Code != gateway.Overloaded {
		t.Errorf("no turn came: %v", err)
	}
	<-r.pictureFetches
	if _, _, err := r.picture(site.URL + "/2"); !errors.As(err, &unfit) {
		t.Errorf("that none came is kept: %v", err)
	}
}

// A message's image by URL is shown as it was sent, also when the URL leads elsewhere by
// now, and however large.
func TestPictureThatWasSent(t *testing.T) {
	r := newRig(t)
	defer r.close()
	r.Egress.AllowPrivate, r.Now = true, r.wechat.Now
	sent := sized(pngOf(8, 8), maxPicture+1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { w.Write(sent) }))
	defer site.Close()
	r.resolve(image1(site.URL))
	accepted := r.wechat.Now()
	site.Close()
	r.wechat.Advance(24 * time.Hour)
	format, body, err := r.Picture(t.Context(), appid, accepted, site.URL)
	if err != nil || format != "png" {
		t.Fatalf("%s, %v", format, err)
	}
	if b, err := io.ReadAll(body); err != nil || !bytes.Equal(b, sent) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	var unfit *kefu.FileError
	if _, _, err := r.Picture(t.Context(), "wxother", accepted, site.URL); !errors.As(err, &unfit) {
		t.Errorf("another account's: %v", err)
	}
}
