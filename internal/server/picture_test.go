package server

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// named is a message that was kept, of that kind.
func (w *world) named(kind, body string) gateway.Message {
	return w.add(gateway.Message{OpenID: "oFollower", MsgType: kind, Message: json.RawMessage(`{"touser":"oFollower","msgtype":"` + kind + `","` + kind + `":` + body + `}`)})
}

// Which picture of a message is which: each place that can have one counts, whether it has
// one or not, so that the nth article's is n.
func TestPictures(t *testing.T) {
	const a, b = "https://a.test/1.jpg", "http://b.test/2.png?x=1&y=2"
	for _, tt := range []struct {
		name, kind, body, n, url string
	}{
		{"the first of two articles", "news", `{"articles":[{"picurl":"` + a + `"},{"picurl":"` + b + `"}]}`, "1", a},
		{"the second", "news", `{"articles":[{"picurl":"` + a + `"},{"picurl":"` + b + `"}]}`, "2", b},
		{"no third", "news", `{"articles":[{"picurl":"` + a + `"},{"picurl":"` + b + `"}]}`, "3", ""},
		{"the second where the first has none", "news", `{"articles":[{"title":"t"},{"picurl":"` + b + `"}]}`, "2", b},
		{"an article without", "news", `{"articles":[{"title":"t"},{"picurl":"` + b + `"}]}`, "1", ""},
		{"no article", "news", `{"articles":[]}`, "1", ""},
		{"a link", "link", `{"url":"` + b + `","thumb_url":"` + a + `"}`, "1", a},
		{"an image by URL", "image", `{"media_id":"` + a + `"}`, "1", a},
		{"an image by asset", "image", `{"media_id":"` + shopAsset + `"}`, "1", ""},
		{"an image by media id", "image", `{"media_id":"MEDIA"}`, "1", ""},
		{"a video's cover, not the video", "video", `{"media_id":"` + b + `","thumb_media_id":"` + a + `"}`, "1", a},
		{"nothing more of a video", "video", `{"media_id":"` + b + `","thumb_media_id":"` + a + `"}`, "2", ""},
		{"a song's cover", "music", `{"musicurl":"` + b + `","thumb_media_id":"` + a + `"}`, "1", a},
		{"a mini program's cover", "miniprogrampage", `{"appid":"wx1","pagepath":"p","thumb_media_id":"` + a + `"}`, "1", a},
		{"a voice", "voice", `{"media_id":"` + a + `"}`, "1", ""},
		{"a text", "text", `{"content":"` + a + `"}`, "1", ""},
		{"a kind that nobody knows", "new", `{"picurl":"` + a + `"}`, "1", ""},
		{"another scheme", "news", `{"articles":[{"picurl":"javascript:alert(1)"}]}`, "1", ""},
		{"none before the first", "news", `{"articles":[{"picurl":"` + a + `"}]}`, "0", ""},
		{"counted backwards", "news", `{"articles":[{"picurl":"` + a + `"}]}`, "-1", ""},
		{"a number by another name", "news", `{"articles":[{"picurl":"` + a + `"}]}`, "+1", ""},
		{"no number", "news", `{"articles":[{"picurl":"` + a + `"}]}`, "first", ""},
	} {
		w := newWorld(t)
		m := w.named(tt.kind, tt.body)
		got := w.do(readKey, "GET", "/v1/messages/"+m.ID+"/pictures/"+tt.n, "")
		if tt.url == "" {
			if got.StatusCode != 404 || read[gateway.Problem](t, got).Code != gateway.NotFound {
				t.Errorf("%s: %d %s", tt.name, got.StatusCode, got.body)
			}
			continue
		}
		if got.StatusCode != 200 || string(got.body) != "\x89PNG "+tt.url {
			t.Errorf("%s: %d %q, want what %s has", tt.name, got.StatusCode, got.body, tt.url)
		}
		for name, want := range map[string]string{
			"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "private, max-age=86400",
		} {
			if v := got.Header.Get(name); v != want {
				t.Errorf("%s: %s: %q, want %q", tt.name, name, v, want)
			}
		}
	}
}

// Who may not see the message sees no picture of it, and nothing is fetched for them.
func TestPicturesOfOthers(t *testing.T) {
	w := newWorld(t)
	m := w.named("link", `{"url":"http://a.test/","thumb_url":"http://a.test/1.jpg"}`)
	w.Assets.(*depot).fetch = func(url string) error {
		t.Errorf("%s was fetched", url)
		return nil
	}
	for key, status := range map[string]int{otherKey: 404, doorKey: 403, "": 401} {
		if a := w.do(key, "GET", "/v1/messages/"+m.ID+"/pictures/1", ""); a.StatusCode != status {
			t.Errorf("%q: %d, want %d", key, a.StatusCode, status)
		}
	}
	if a := w.do(readKey, "GET", "/v1/messages/msg_99/pictures/1", ""); a.StatusCode != 404 {
		t.Errorf("of no message: %d", a.StatusCode)
	}
}

// What can't be shown says why in the caller's language, and repeats no URL.
func TestPicturesThatAreNone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		code   string
		en, zh string
		after  string
	}{
		{"no picture", &kefu.FileError{Reason: "it is a text", Zh: "格式为文本"}, 404, gateway.NotFound, "it is a text", "格式为文本", ""},
		{"too many at once", fault(gateway.Overloaded), 503, gateway.Overloaded, "Too many pictures", "图片太多", "1"},
		{"a store that fails", errors.New("disk full"), 503, gateway.Overloaded, "Repeat", "重试", "1"},
	} {
		w := newWorld(t)
		w.Assets.(*depot).fetch = func(string) error { return tt.err }
		m := w.named("link", `{"url":"http://a.test/","thumb_url":"http://a.test/?secret=hunter2"}`)
		for lang, said := range map[string]string{"en": tt.en, "zh": tt.zh} {
			a := w.do(readKey, "GET", "/v1/messages/"+m.ID+"/pictures/1", "", "Accept-Language: "+lang)
			p := read[gateway.Problem](t, a)
			if a.StatusCode != tt.status || p.Code != tt.code || !strings.Contains(p.Detail, said) || a.Header.Get("Retry-After") != tt.after || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v %s", tt.name, a.StatusCode, a.Header, a.body)
			}
			if strings.Contains(string(a.body)+w.logged.String(), "hunter2") {
				t.Errorf("%s: the URL is told", tt.name)
			}
		}
	}
}

// A limited number is on its way at once; the next is told when to come again.
func TestPicturesAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.named("link", `{"url":"http://a.test/","thumb_url":"http://a.test/1.jpg"}`)
	path := "/v1/messages/" + m.ID + "/pictures/1"
	under, goOn := make(chan struct{}), make(chan struct{})
	var fetched atomic.Int32
	w.Assets.(*depot).fetch = func(string) error {
		if fetched.Add(1) > mostPictures {
			return nil
		}
		under <- struct{}{}
		<-goOn
		return nil
	}
	var all sync.WaitGroup
	for range mostPictures {
		all.Go(func() {
			if a := w.do(readKey, "GET", path, ""); a.StatusCode != 200 {
				t.Errorf("one of %d: %d", mostPictures, a.StatusCode)
			}
		})
		<-under
	}
	a := w.do(readKey, "GET", path, "")
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %v", a.StatusCode, a.Header)
	}
	close(goOn)
	all.Wait()
	w.Assets.(*depot).fetch = nil
	if a := w.do(readKey, "GET", path, ""); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}
