package kefutest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
)

// A wire speaks to a WeChat as a program in any language does.
type wire struct {
	t     *testing.T
	w     *WeChat
	token string
}

func newWire(t *testing.T, accounts ...Account) *wire {
	x := &wire{t: t, w: New(accounts...)}
	t.Cleanup(x.w.Close)
	x.logIn()
	return x
}

// logIn gets a new token.
func (x *wire) logIn() {
	x.t.Helper()
	var out struct {
		AccessToken string `json:"access_token"`
	}
	x.token = ""
	x.get(&out, "/cgi-bin/token?grant_type=client_credential&appid="+DefaultAccount.AppID+"&secret="+DefaultAccount.Secret.Reveal())
	x.token = out.AccessToken
}

// do makes a request to a path of the API, with the token, or to a URL.
func (x *wire) do(method, url, contentType string, body []byte) (*http.Response, []byte) {
	x.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = x.w.URL + url
		if x.token != "" && strings.Contains(url, "?") {
			url += "&access_token=" + x.token
		} else if x.token != "" {
			url += "?access_token=" + x.token
		}
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	res, err := x.w.Transport().RoundTrip(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return res, answer
}

// read decodes an answer into out, unless out is nil, and returns its errcode.
func (x *wire) read(out any, answer []byte) (errcode int) {
	x.t.Helper()
	var e struct{ ErrCode int }
	if err := json.Unmarshal(answer, &e); err != nil {
		x.t.Fatalf("%v in %q", err, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			x.t.Fatalf("%v in %q", err, answer)
		}
	}
	return e.ErrCode
}

func (x *wire) get(out any, path string) (errcode int) {
	x.t.Helper()
	_, answer := x.do(http.MethodGet, path, "", nil)
	return x.read(out, answer)
}

func (x *wire) post(out any, path, body string) (errcode int) {
	x.t.Helper()
	_, answer := x.do(http.MethodPost, path, "application/json", []byte(body))
	return x.read(out, answer)
}

// upload posts a form with a file, and fields given as name, value pairs.
func (x *wire) upload(out any, path, part, filename string, data []byte, fields ...string) (errcode int) {
	x.t.Helper()
	contentType, body := form(part, filename, data, fields...)
	_, answer := x.do(http.MethodPost, path, contentType, body)
	return x.read(out, answer)
}

func form(part, filename string, data []byte, fields ...string) (contentType string, body []byte) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		m.WriteField(fields[i], fields[i+1])
	}
	switch {
	case part == "":
	case filename == "":
		m.WriteField(part, string(data))
	default:
		w, _ := m.CreateFormFile(part, filename)
		w.Write(data)
	}
	m.Close()
	return m.FormDataContentType(), b.Bytes()
}

// mediaID uploads a file and returns its id.
func (x *wire) mediaID(path, filename string, data []byte, fields ...string) string {
	x.t.Helper()
	var out struct {
		MediaID      string `json:"media_id"`
		ThumbMediaID string `json:"thumb_media_id"`
	}
	if code := x.upload(&out, path, "media", filename, data, fields...); code != 0 {
		x.t.Fatalf("%s of %s: errcode %d", path, filename, code)
	}
	return out.MediaID + out.ThumbMediaID
}

func TestUploadAnswer(t *testing.T) {
	x := newWire(t)
	for kind, want := range map[string]string{
		"image": `^\{"type":"image","media_id":"[\w-]{64}","created_at":\d{10}\}$`,
		"thumb": `^\{"type":"thumb","thumb_media_id":"[\w-]{64}","created_at":\d{10}\}$`,
	} {
		contentType, body := form("media", "a.jpg", jpgFile())
		res, answer := x.do(http.MethodPost, "/cgi-bin/media/upload?type="+kind, contentType, body)
		if !regexp.MustCompile(want).Match(answer) {
			t.Errorf("%s: %s", kind, answer)
		}
		if got := res.Header.Get("Content-Type"); got != jsonAnswer {
			t.Errorf("%s: Content-Type %s", kind, got)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	x := newWire(t)
	asForm := func(part, filename string, data []byte) func() (string, []byte) {
		return func() (string, []byte) { return form(part, filename, data) }
	}
	for _, tt := range []struct {
		name  string
		query string
		form  func() (contentType string, body []byte)
		want  int
	}{
		{"a picture", "type=image", asForm("media", "a.png", pngFile()), 0},
		{"whatever its name says", "type=image", asForm("media", "a.mp3", pngFile()), 0},
		{"no type", "", asForm("media", "a.png", pngFile()), 40004},
		{"an unknown type", "type=file", asForm("media", "a.png", pngFile()), 40004},
		{"another format than its name says", "type=image", asForm("media", "a.png", mp4File("isom")), 40005},
		{"a few bytes", "type=image", asForm("media", "a.png", []byte("\x89PNG")), 40006},
		{"an image too large", "type=image", asForm("media", "a.png", padded(pngFile(), 10<<20+1)), 40009},
		{"a voice too large", "type=voice", asForm("media", "a.amr", padded(append(amrFile(1), 0x4c), 2<<20+1)), 40010},
		{"a video too large", "type=video", asForm("media", "a.mp4", padded(mp4File("isom"), 10<<20+1)), 40011},
		{"a thumb too large", "type=thumb", asForm("media", "a.jpg", padded(jpgFile(), 64<<10+1)), 40012},
		{"an upload too large to be looked at", "type=image", asForm("media", "a.png", padded(pngFile(), largestUpload)), 45001},
		{"a voice too long", "type=voice", asForm("media", "a.amr", amrFile(3001)), 45007},
		{"an empty file", "type=image", asForm("media", "a.png", nil), 44001},
		{"a part of another name", "type=image", asForm("file", "a.png", pngFile()), 41005},
		{"a part without filename", "type=image", asForm("media", "", pngFile()), 41005},
		{"a form without file", "type=image", asForm("", "", nil), 41005},
		{"no form", "type=image", func() (string, []byte) { return "application/json", []byte(`{}`) }, 41005},
		{"no boundary", "type=image", func() (string, []byte) { return "multipart/form-data", nil }, 41005},
		{"a form that breaks off", "type=image", func() (string, []byte) {
			contentType, body := form("media", "a.png", pngFile())
			return contentType, body[:len(body)/2]
		}, 41005},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contentType, body := tt.form()
			_, answer := x.do(http.MethodPost, "/cgi-bin/media/upload?"+tt.query, contentType, body)
			if got := x.read(nil, answer); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMediaRoundTrip(t *testing.T) {
	x := newWire(t)
	for _, tt := range []struct {
		kind, filename string
		data           []byte
		contentType    string
		extension      string
	}{
		{"image", "a.jpg", jpgFile(), "image/jpeg", ".jpg"},
		{"image", "a.png", pngFile(), "image/png", ".png"},
		{"image", "a.gif", gifFile(), "image/gif", ".gif"},
		{"voice", "a.amr", amrFile(5), "audio/amr", ".amr"},
		{"voice", "a.mp3", mp3File(5), "audio/mpeg", ".mp3"},
		{"thumb", "a.jpg", jpgFile(), "image/jpeg", ".jpg"},
	} {
		t.Run(tt.kind+" "+tt.filename, func(t *testing.T) {
			id := x.mediaID("/cgi-bin/media/upload?type="+tt.kind, tt.filename, tt.data)
			res, answer := x.do(http.MethodGet, "/cgi-bin/media/get?media_id="+id, "", nil)
			if !bytes.Equal(answer, tt.data) {
				t.Errorf("other bytes than were uploaded: %d, not %d", len(answer), len(tt.data))
			}
			for name, want := range map[string]string{
				"Content-Type":           tt.contentType,
				"X-Content-Type-Options": "nosniff",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got, want := res.Header.Get("Content-Disposition"), fmt.Sprintf(`attachment; filename="%s%s"`, id, tt.extension); got != want {
				t.Errorf("Content-Disposition: %s, want %s", got, want)
			}
		})
	}
	t.Run("a video comes as a URL", func(t *testing.T) {
		id := x.mediaID("/cgi-bin/media/upload?type=video", "a.mp4", mp4File("isom"))
		var out struct {
			VideoURL string `json:"video_url"`
		}
		x.get(&out, "/cgi-bin/media/get?media_id="+id)
		res, answer := x.do(http.MethodGet, out.VideoURL, "", nil)
		if !bytes.Equal(answer, mp4File("isom")) || res.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("at %q: %s of %d bytes", out.VideoURL, res.Header.Get("Content-Type"), len(answer))
		}
	})
}

func TestGetMediaRefusals(t *testing.T) {
	x := newWire(t)
	for path, want := range map[string]int{
		"/cgi-bin/media/get?media_id=MEDIA_ID": 40007,
		"/cgi-bin/media/get?media_id=":         41006,
	} {
		res, answer := x.do(http.MethodGet, path, "", nil)
		if got := x.read(nil, answer); got != want || !strings.Contains(string(answer), " rid: ") {
			t.Errorf("%s: %s, want %d", path, answer, want)
		}
		if got := res.Header.Get("Content-Type"); got != jsonAnswer {
			t.Errorf("%s: Content-Type %s", path, got)
		}
	}
	if got := x.post(nil, "/cgi-bin/media/get?media_id=M", "{}"); got != 43001 {
		t.Errorf("POST to media/get: errcode %d, want 43001", got)
	}
	if got := x.get(nil, "/cgi-bin/media/upload?type=image"); got != 43002 {
		t.Errorf("GET of media/upload: errcode %d, want 43002", got)
	}
}

// Three days by the simulator's clock, whether they pass or are jumped over.
func TestMediaDiesAfterThreeDays(t *testing.T) {
	const life = 3 * 24 * time.Hour
	for _, tt := range []struct {
		name string
		wait func(*WeChat, time.Duration)
	}{
		{"time passes", func(_ *WeChat, d time.Duration) { time.Sleep(d) }},
		{"the clock jumps", func(w *WeChat, d time.Duration) { w.Advance(d) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newWire(t)
				client := x.w.Client()
				x.w.UserSends("oUser1")
				id := x.mediaID("/cgi-bin/media/upload?type=image", "a.png", pngFile())
				tt.wait(x.w, life-1)
				x.w.UserSends("oUser1")
				image := kefu.Message{To: "oUser1", Body: kefu.Image{MediaID: kefu.MediaID(id)}}
				if _, err := client.Send(t.Context(), image); err != nil {
					t.Errorf("last nanosecond: %v", err)
				}
				tt.wait(x.w, 1)
				if _, err := client.Send(t.Context(), image); kefu.ClassOf(err) != kefu.ErrMediaInvalid {
					t.Errorf("after three days: %v", err)
				}
			})
		})
	}
}

func TestUploadImageIsServed(t *testing.T) {
	wechat := NewServer()
	defer wechat.Close()
	x := &wire{t: t, w: wechat}
	for _, tt := range []struct {
		part, filename string
		data           []byte
		path           string
		contentType    string
	}{
		{"media", "a.jpg", jpgFile(), `^/mmbiz_jpg/[\w-]{32}/0$`, "image/jpeg"},
		{"media", "a.png", pngFile(), `^/mmbiz_png/[\w-]{32}/0$`, "image/png"},
		{"buffer", "a.png", pngFile(), `^/mmbiz_png/[\w-]{32}/0$`, "image/png"},
	} {
		x.logIn()
		var out struct{ URL string }
		if code := x.upload(&out, "/cgi-bin/media/uploadimg", tt.part, tt.filename, tt.data); code != 0 {
			t.Errorf("errcode %d", code)
			continue
		}
		path, ours := strings.CutPrefix(out.URL, wechat.URL)
		if !ours || !regexp.MustCompile(tt.path).MatchString(path) {
			t.Errorf("url %s", out.URL)
		}
		wechat.Advance(30 * 24 * time.Hour) // it has no end
		res, err := http.Get(out.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !bytes.Equal(got, tt.data) || res.Header.Get("Content-Type") != tt.contentType || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s serves %d bytes as %v", out.URL, len(got), res.Header)
		}
	}
	x.logIn()
	for _, tt := range []struct {
		name string
		data []byte
		want int
	}{
		{"a video", mp4File("isom"), 40005},
		{"music", mp3File(10), 40005},
		{"a gif", gifFile(), 40005},
		{"1 MB and a byte", padded(jpgFile(), 1<<20+1), 40009},
		{"nothing", nil, 44001},
	} {
		if got := x.upload(nil, "/cgi-bin/media/uploadimg", "media", "a.jpg", tt.data); got != tt.want {
			t.Errorf("uploadimg of %s: errcode %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Whatever a file holds, no browser is told to run it.
func TestHostileFiles(t *testing.T) {
	const script = "<script>alert(1)</script>"
	x := newWire(t)
	image := x.mediaID("/cgi-bin/media/upload?type=image", `a".html`, []byte("GIF89a"+script))
	video := x.mediaID("/cgi-bin/media/upload?type=video", "a.svg", append(mp4File("isom"), script...))
	voice := x.mediaID(addMaterialPath+"voice", "a.html", append(amrFile(1), script...))
	for _, id := range []string{"html", "svg", `"quoted"; filename=a.html`} {
		data := []byte(script)
		if id == "svg" {
			data = []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
		}
		state, _ := json.Marshal(map[string]any{"media": map[string]any{id: map[string]any{"kind": "image", "permanent": true, "data": data}}})
		restored := newLibrary()
		var s libraryState
		if err := json.Unmarshal(state, &s); err != nil {
			t.Fatal(err)
		}
		if err := restored.put(s); err != nil {
			t.Fatal(err)
		}
		harmless(t, id, restored, id, "application/octet-stream")
	}
	harmless(t, "an image", x.w.account.library, image, "image/gif")
	harmless(t, "a video", x.w.account.library, video, "video/mp4")
	harmless(t, "a voice", x.w.account.library, voice, "audio/amr")
}

func harmless(t *testing.T, name string, l *library, id, contentType string) {
	t.Helper()
	f, ok := l.shown(id)
	if !ok {
		t.Fatalf("%s: no bytes", name)
	}
	shown, _ := l.media(id)
	for way, r := range map[string]reply{"shown": shown, "downloaded": f.download()} {
		if r.header.Get("Content-Type") != contentType || r.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s, %s: %v", name, way, r.header)
		}
	}
	if got := shown.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "sandbox; default-src 'none'") {
		t.Errorf("%s: policy %q", name, got)
	}
	disposition, params, err := mime.ParseMediaType(f.download().header.Get("Content-Disposition"))
	if err != nil || disposition != "attachment" || len(params) != 1 {
		t.Errorf("%s: Content-Disposition %q", name, f.download().header.Get("Content-Disposition"))
	}
}

func TestMediaQuotas(t *testing.T) {
	x := newWire(t, Account{DailyLimits: map[string]int{"/cgi-bin/media/upload": 1}})
	if code := x.upload(nil, "/cgi-bin/media/upload?type=image", "media", "a.png", pngFile()); code != 0 {
		t.Errorf("first: errcode %d", code)
	}
	if code := x.upload(nil, "/cgi-bin/media/upload?type=image", "media", "a.png", pngFile()); code != 45009 {
		t.Errorf("second: errcode %d, want 45009", code)
	}
	for path, want := range map[string]int{
		"/cgi-bin/media/upload": 100_000, "/cgi-bin/media/get": 200_000, "/cgi-bin/media/uploadimg": 0,
		"/cgi-bin/draft/add": 1000, "/cgi-bin/draft/get": 500,
		"/cgi-bin/freepublish/submit": 100, "/cgi-bin/freepublish/get": 100, "/cgi-bin/freepublish/delete": 10,
	} {
		if got := x.w.routes[path].daily; got != want {
			t.Errorf("%s: %d a day, want %d", path, got, want)
		}
	}
}
