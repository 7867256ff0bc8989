package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// What WeChat answers, to the byte, read off a socket without an HTTP client that
// would smooth it.

// A socket is one connection to the simulator.
type socket struct {
	t *testing.T
	net.Conn
	r    *bufio.Reader
	read bytes.Buffer // all bytes that came
}

func dial(t *testing.T, base string) *socket {
	t.Helper()
	u := must[*url.URL](t, base)(url.Parse(base))
	s := &socket{t: t, Conn: must[net.Conn](t, "dial")(net.Dial("tcp", u.Host))}
	s.r = bufio.NewReader(io.TeeReader(s.Conn, &s.read))
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *socket) write(method, path, contentType, body string) {
	s.t.Helper()
	request := method + " " + path + " HTTP/1.1\r\nHost: api.weixin.qq.com\r\n"
	if method == "POST" {
		request += fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
	}
	if _, err := io.WriteString(s, request+"\r\n"+body); err != nil {
		s.t.Fatal(err)
	}
}

// exchange makes a request and returns the answer: its head parsed, its body as it
// stood on the wire.
func (s *socket) exchange(method, path, contentType, body string) (*http.Response, string) {
	s.t.Helper()
	s.SetDeadline(time.Now().Add(10 * time.Second))
	s.read.Reset()
	s.write(method, path, contentType, body)
	res := must[*http.Response](s.t, path)(http.ReadResponse(s.r, nil))
	defer res.Body.Close()
	got := string(must[[]byte](s.t, path)(io.ReadAll(res.Body)))
	_, onWire, _ := strings.Cut(s.read.String(), "\r\n\r\n")
	if res.ContentLength != int64(len(got)) || onWire != got {
		s.t.Errorf("%s: Content-Length %d, body %.60q, on the wire %.60q", path, res.ContentLength, got, onWire)
	}
	return res, got
}

const (
	jsonType = "application/json"
	sendPath = "/cgi-bin/message/custom/send?access_token="
	oneID    = `[A-Za-z0-9_-]+`
	rid      = ` rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}`
)

func TestAnswersToTheByte(t *testing.T) {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	wechat.UserSends("oUser1")
	s := dial(t, wechat.URL)
	a := kefutest.DefaultAccount

	ask := "/cgi-bin/token?grant_type=client_credential&appid=" + a.AppID + "&secret=" + a.Secret.Reveal()
	_, answer := s.exchange("GET", ask, "", "")
	shape := regexp.MustCompile(`^\{"access_token":"(` + oneID + `)","expires_in":7200\}$`)
	if !shape.MatchString(answer) {
		t.Fatalf("the token call answered %q, want %s", answer, shape)
	}
	token := shape.FindStringSubmatch(answer)[1]

	hello := `{"touser":"oUser1","msgtype":"text","text":{"content":"您好"}}`
	form := func(name, data string) (contentType, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part := must[io.Writer](t, name)(w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="media"; filename="` + name + `"`}, "Content-Type": {"application/octet-stream"}}))
		io.WriteString(part, data)
		w.Close()
		return w.FormDataContentType(), b.String()
	}
	picture, pictureForm := form("a.jpg", string(photo()))
	films, filmForm := form("a.mp4", string(film()))
	for _, tt := range []struct {
		name                            string
		method, path, contentType, body string
		want                            string // a pattern for the whole body
	}{
		{"a stable token", "POST", "/cgi-bin/stable_token", jsonType,
			`{"grant_type":"client_credential","appid":"` + a.AppID + `","secret":"` + a.Secret.Reveal() + `"}`,
			`\{"access_token":"` + oneID + `","expires_in":7200\}`},
		{"a message", "POST", sendPath + token, jsonType, hello, `\{"errcode":0,"errmsg":"ok"\}`},
		{"whatever its Content-Type", "POST", sendPath + token, "text/plain", hello, `\{"errcode":0,"errmsg":"ok"\}`},
		{"typing", "POST", "/cgi-bin/message/custom/typing?access_token=" + token, jsonType,
			`{"touser":"oUser1","command":"Typing"}`, `\{"errcode":0,"errmsg":"ok"\}`},
		{"a picture", "POST", "/cgi-bin/media/upload?type=image&access_token=" + token, picture, pictureForm,
			`\{"type":"image","media_id":"` + oneID + `","created_at":\d{10}\}`},
		{"a thumb has an id of its own", "POST", "/cgi-bin/media/upload?type=thumb&access_token=" + token, picture, pictureForm,
			`\{"type":"thumb","thumb_media_id":"` + oneID + `","created_at":\d{10}\}`},
		{"a picture with a URL and no id", "POST", "/cgi-bin/media/uploadimg?access_token=" + token, picture, pictureForm,
			`\{"url":"http://[^"<>&\\]+"\}`},
		{"the article's video through uploadimg", "POST", "/cgi-bin/media/uploadimg?access_token=" + token, films, filmForm,
			`\{"errcode":40005,"errmsg":"invalid file type` + rid + `"\}`},
		{"no such medium", "GET", "/cgi-bin/media/get?media_id=MEDIA_ID&access_token=" + token, "", "",
			`\{"errcode":40007,"errmsg":"invalid media_id` + rid + `"\}`},
		{"the article's URL without ?access_token=", "POST", "/cgi-bin/message/custom/send" + token, jsonType, hello,
			`\{"errcode":41001,"errmsg":"access_token missing` + rid + `"\}`},
		{"the article's trailing comma", "POST", sendPath + token, jsonType,
			`{"touser":"oUser1","msgtype":"wxcard","wxcard":{"card_id":"123dsdajkasd231jhksad",}}`,
			`\{"errcode":47001,"errmsg":"data format error` + rid + `"\}`},
		{"a GET where a POST belongs", "GET", sendPath + token, "", "", `\{"errcode":43002,"errmsg":"require POST method` + rid + `"\}`},
		{"a token that is none", "POST", sendPath + "nonsense", jsonType, hello, `\{"errcode":400(14|01),"errmsg":"[^"]+` + rid + `"\}`},
		{"one whom nothing reaches", "POST", sendPath + token, jsonType, strings.Replace(hello, "oUser1", "oNobody", 1),
			`\{"errcode":45015,"errmsg":"response out of time limit or subscription is canceled` + rid + `"\}`},
	} {
		res, got := s.exchange(tt.method, tt.path, tt.contentType, tt.body)
		if !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
			t.Errorf("%s: answered %q, want %s", tt.name, got, tt.want)
		}
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json; encoding=utf-8" {
			t.Errorf("%s: HTTP %s, %s", tt.name, res.Status, res.Header.Get("Content-Type"))
		}
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
			t.Errorf("%s: Date %q", tt.name, res.Header.Get("Date"))
		}
	}
	if got := len(wechat.Sent("oUser1")); got != 2 {
		t.Errorf("the follower received %d messages, want 2", got)
	}

	upload := func(kind, contentType, body string) string {
		_, answer := s.exchange("POST", "/cgi-bin/media/upload?type="+kind+"&access_token="+token, contentType, body)
		return regexp.MustCompile(`media_id":"(` + oneID + `)`).FindStringSubmatch(answer)[1]
	}
	id := upload("image", picture, pictureForm)
	res, got := s.exchange("GET", "/cgi-bin/media/get?access_token="+token+"&media_id="+id, "", "")
	if got != string(photo()) || res.Header.Get("Content-Type") != "image/jpeg" ||
		res.Header.Get("Content-Disposition") != `attachment; filename="`+id+`.jpg"` {
		t.Errorf("a picture came back as %v with %d bytes", res.Header, len(got))
	}
	id = upload("video", films, filmForm)
	if _, got := s.exchange("GET", "/cgi-bin/media/get?access_token="+token+"&media_id="+id, "", ""); !regexp.MustCompile(`^\{"video_url":"http://[^"\\]+"\}$`).MatchString(got) {
		t.Errorf("a video came back as %q", got)
	}

	if err := wechat.SetState(`{"allow_ips":["10.0.0.1"]}`); err != nil {
		t.Fatal(err)
	}
	_, got = s.exchange("GET", ask, "", "")
	want := `^\{"errcode":40164,"errmsg":"invalid ip 127\.0\.0\.1 ipv6 ::ffff:127\.0\.0\.1, not in whitelist` + rid + `"\}$`
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("an address off the list: answered %q, want %s", got, want)
	}
}

// Where WeChat says nothing, no byte comes.
func TestSilenceOnTheWire(t *testing.T) {
	const hello = `{"touser":"oUser1","msgtype":"text","text":{"content":"您好"}}`
	for _, tt := range []struct {
		name     string
		body     string
		fault    kefutest.Failure // nil: the connection stays open, mute
		received int
	}{
		{"the answer is lost", hello, kefutest.DropReply, 1},
		{"the request is lost", hello, kefutest.DropRequest, 0},
		{"nine articles in the article's day",
			`{"touser":"oUser1","msgtype":"news","news":{"articles":[` + strings.Repeat(`{"title":"标题"},`, 8) + `{"title":"标题"}]}}`, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wechat := kefutest.NewServer(kefutest.Account{Profile: "legacy_48h"})
			defer wechat.Close()
			wechat.UserSends("oUser1")
			token := must[kefu.Token](t, "token")(wechat.Client().Tokens.Token(t.Context()))
			s := dial(t, wechat.URL)
			s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if tt.fault != nil {
				wechat.Fail(tt.fault)
				s.SetReadDeadline(time.Now().Add(10 * time.Second))
			}
			s.write("POST", sendPath+token.Value.Reveal(), jsonType, tt.body)
			got, err := io.ReadAll(s.r)
			if mute := errors.Is(err, os.ErrDeadlineExceeded); len(got) > 0 || mute != (tt.fault == nil) {
				t.Errorf("read %q, %v", got, err)
			}
			if got := len(wechat.Sent()); got != tt.received {
				t.Errorf("the follower received %d messages, want %d", got, tt.received)
			}
		})
	}
}
