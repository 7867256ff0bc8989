package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/officialaccount"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/officialaccount/customerservice"
	"github.com/silenceper/wechat/v2/officialaccount/draft"
	"github.com/silenceper/wechat/v2/officialaccount/freepublish"
	"github.com/silenceper/wechat/v2/officialaccount/material"
	"github.com/silenceper/wechat/v2/officialaccount/message"
	"github.com/silenceper/wechat/v2/util"
	"github.com/sirupsen/logrus"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// The first foreign client: github.com/silenceper/wechat/v2 as it is published. It
// is told another host by its own SetURIModifier, which is of the whole process:
// no test here runs in parallel to another.

const weixin = "https://api.weixin.qq.com"

// A wire is the way between silenceper and the simulator; it keeps what went out.
type wire struct {
	mu     sync.Mutex // guards bodies
	bodies map[string][]string
	way    http.RoundTripper // default: Go's
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.mu.Lock()
		w.bodies[r.URL.Path] = append(w.bodies[r.URL.Path], string(body))
		w.mu.Unlock()
	}
	if w.way != nil {
		return w.way.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (w *wire) sent(path string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.bodies[path])
}

// silenceper points the library at s until the test ends. It reads kf_id and
// publish_id as numbers alone, which the simulator has as a setting.
func silenceper(s *sim) *wire {
	s.put(object{"number_ids": true})
	w := &wire{bodies: map[string][]string{}}
	util.SetURIModifier(func(uri string) string { return strings.Replace(uri, weixin, s.URL, 1) })
	util.DefaultHTTPClient = &http.Client{Transport: w, Timeout: 20 * time.Second}
	logrus.SetOutput(io.Discard)
	s.t.Cleanup(func() {
		util.SetURIModifier(nil)
		util.DefaultHTTPClient = http.DefaultClient
		logrus.SetOutput(os.Stderr)
	})
	return w
}

// appSecret is what the library has as the AppSecret; through a door of the gateway it is
// a key.
var appSecret = kefutest.DefaultAccount.Secret.Reveal()

// official is the library's view of the simulator's account, with a cache of its own.
func official(stable bool) *officialaccount.OfficialAccount {
	a := kefutest.DefaultAccount
	return officialaccount.NewOfficialAccount(&config.Config{
		AppID: a.AppID, AppSecret: appSecret, Token: a.Token.Reveal(), EncodingAESKey: a.AESKey.Reveal(),
		Cache: cache.NewMemory(), UseStableAK: stable,
	})
}

func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

func TestSilenceperTokens(t *testing.T) {
	s := startSim(t)
	silenceper(s)
	first, second := official(false), official(false)
	token := must[string](t, "token")(first.GetAccessToken())
	if again := must[string](t, "token")(first.GetAccessToken()); again != token {
		t.Error("the library's cache gave another token within its life")
	}
	if other := must[string](t, "token")(second.GetAccessToken()); other == token {
		t.Error("/cgi-bin/token gave the same token twice")
	}
	works := func(oa *officialaccount.OfficialAccount) error { _, err := oa.GetBasic().GetCallbackIP(); return err }
	if err := works(first); err != nil {
		t.Errorf("the superseded token, within 5 minutes: %v", err)
	}

	stable, twin := official(true), official(true)
	token = must[string](t, "stable token")(stable.GetAccessToken())
	if other := must[string](t, "stable token")(twin.GetAccessToken()); other != token {
		t.Error("/cgi-bin/stable_token gave two tokens within five minutes")
	}

	s.advance(5 * time.Minute)
	wantCode(t, "the superseded token, after 5 minutes", works(first), 40001)
	for name, oa := range map[string]*officialaccount.OfficialAccount{"the latest token": second, "the stable token": stable} {
		if err := works(oa); err != nil {
			t.Errorf("%s, after 5 minutes: %v", name, err)
		}
	}
	s.advance(2 * time.Hour)
	wantCode(t, "a token after two hours", works(stable), 42001)

	wrong := officialaccount.NewOfficialAccount(&config.Config{
		AppID: kefutest.DefaultAccount.AppID, AppSecret: strings.Repeat("0", 32), Cache: cache.NewMemory(),
	})
	_, err := wrong.GetAccessToken()
	wantCode(t, "a wrong secret", err, 40001)
}

var (
	codeIn = regexp.MustCompile(`errcode=(-?\d+)`)
	ridIn  = regexp.MustCompile(` rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)
)

// wantCode checks the errcode in one of the library's own errors, of either of its
// two kinds, and WeChat's request id behind the errmsg.
func wantCode(t *testing.T, what string, err error, want int) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted, want errcode %d", what, want)
		return
	}
	code, msg := -2, err.Error()
	var common *util.CommonError
	if errors.As(err, &common) {
		code = int(common.ErrCode)
	} else if m := codeIn.FindStringSubmatch(msg); m != nil {
		code, _ = strconv.Atoi(m[1])
	}
	if code != want || !ridIn.MatchString(msg) {
		t.Errorf("%s: %v, want errcode %d and a rid", what, err, want)
	}
}

// Files small enough to be read here, real enough for whoever looks at their first
// bytes.
func photo() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for y := range 200 { // a hill in the evening
		for x := range 320 {
			c := color.RGBA{250 - uint8(y/2), 190 - uint8(y/3), 120 + uint8(y/3), 255}
			if (x-160)*(x-160)/200+150 < y+40 {
				c = color.RGBA{46, 94, 78, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err) // into memory
	}
	return b.Bytes()
}

func speech() []byte { return append([]byte("#!AMR\n"), bytes.Repeat([]byte{0x7c}, 50)...) }

func film() []byte {
	return []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08mdat")
}

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// library holds an id of every sort, made through silenceper.
type library struct {
	image, voice, video, thumb, news, article string
}

func (l *library) fill(t *testing.T, oa *officialaccount.OfficialAccount) {
	t.Helper()
	m := oa.GetMaterial()
	upload := func(kind material.MediaType, name string, data []byte) material.Media {
		t.Helper()
		got := must[material.Media](t, "upload "+string(kind))(m.MediaUpload(kind, file(t, name, data)))
		if got.Type != kind || got.CreatedAt == 0 {
			t.Errorf("upload %s: type %q, created at %d", kind, got.Type, got.CreatedAt)
		}
		return got
	}
	l.image = upload(material.MediaTypeImage, "a.jpg", photo()).MediaID
	l.voice = upload(material.MediaTypeVoice, "a.amr", speech()).MediaID
	l.video = upload(material.MediaTypeVideo, "a.mp4", film()).MediaID
	l.thumb = upload(material.MediaTypeThumb, "a.jpg", photo()).ThumbMediaID

	cover, url, err := m.AddMaterial(material.MediaTypeImage, file(t, "cover.jpg", photo()))
	if err != nil || cover == "" || url == "" {
		t.Fatalf("permanent picture: id %q, url %q: %v", cover, url, err)
	}
	articles := []*draft.Article{{Title: "新茶上市 <今日>", Author: "小微", Content: "<p>正文</p>", ThumbMediaID: cover, ShowCoverPic: 1}}
	l.news = must[string](t, "draft")(oa.GetDraft().AddDraft(articles))
	submitted := must[string](t, "draft to publish")(oa.GetDraft().AddDraft(articles))
	job := must[int64](t, "publish")(oa.GetFreePublish().Publish(submitted))
	l.article = finished(t, oa, job).ArticleID
}

// finished waits for the end of a publication.
func finished(t *testing.T, oa *officialaccount.OfficialAccount, job int64) freepublish.PublishStatusList {
	t.Helper()
	for range 200 {
		state := must[freepublish.PublishStatusList](t, "publication")(oa.GetFreePublish().SelectStatus(job))
		if state.PublishStatus != freepublish.PublishStatusPublishing {
			if state.PublishID != job || state.ArticleID == "" || state.ArticleDetail.Count != 1 || len(state.ArticleDetail.Items) != 1 {
				t.Fatalf("publication %d: %+v", job, state)
			}
			return state
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the publication does not end")
	panic("not reached")
}

func TestSilenceperSendsEveryKind(t *testing.T) {
	s := startSim(t)
	out := silenceper(s)
	if posted := sendsEveryKind(t, s, out); !slices.Equal(s.raw("oUser1"), posted) {
		t.Errorf("the follower received\n%q\nand silenceper posted\n%q", s.raw("oUser1"), posted)
	}
}

// sendsEveryKind sends oUser1 one of each, and returns what the library has posted.
func sendsEveryKind(t *testing.T, s *sim, out *wire) []string {
	t.Helper()
	oa := official(true)
	var ids library
	ids.fill(t, oa)
	s.put(object{"cards": []object{{"card_id": "pCARD", "title": "满减券"}}, "mini_programs": []string{"wx5eed2a76cc560002"}})

	const to = "oUser1"
	text := message.NewCustomerTextMessage(to, "您好 & <a href=\"https://example.com/?a=1&b=2\">看看</a>\n第二行 😀")
	messages := []*message.CustomerMessage{
		text,
		message.NewCustomerImgMessage(to, ids.image),
		message.NewCustomerVoiceMessage(to, ids.voice),
		{ToUser: to, Msgtype: "video", Video: &message.MediaVideo{MediaID: ids.video, ThumbMediaID: ids.thumb, Title: "标题", Description: "说明"}},
		{ToUser: to, Msgtype: "music", Music: &message.MediaMusic{Title: "茉莉花", Description: "民歌", Musicurl: "https://example.com/a.mp3",
			Hqmusicurl: "https://example.com/hq.mp3", ThumbMediaID: ids.thumb}},
		{ToUser: to, Msgtype: "news", News: &message.MediaNews{Articles: []message.MediaArticles{
			{Title: "Happy Day", Description: "真的很开心", URL: "https://example.com/", Picurl: "https://example.com/a.png"}}}},
		{ToUser: to, Msgtype: "mpnews", Mpnews: &message.MediaResource{MediaID: ids.news}},
		{ToUser: to, Msgtype: "mpnewsarticle", Mpnewsarticle: &message.MediaArticle{ArticleID: ids.article}},
		{ToUser: to, Msgtype: "msgmenu", Msgmenu: &message.MediaMsgmenu{HeadContent: "您满意吗？",
			List: []message.MsgmenuItem{{ID: "101", Content: "满意"}, {ID: "102", Content: "不满意"}}, TailContent: "谢谢"}},
		{ToUser: to, Msgtype: "wxcard", Wxcard: &message.MediaWxcard{CardID: "pCARD"}},
		message.NewCustomerMiniprogrampageMessage(to, "看看", "wx5eed2a76cc560002", "pages/index/index?x=1", ids.thumb),
	}
	for _, m := range messages {
		s.act(to, "text", object{"content": "再发一条"}) // five messages are allowed after it, again
		if err := oa.GetCustomerMessageManager().Send(m); err != nil {
			t.Errorf("%s: %v", m.Msgtype, err)
		}
	}

	posted := out.sent("/cgi-bin/message/custom/send")
	var kinds []string
	for _, raw := range posted {
		m, err := kefu.ParseMessage([]byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		kinds = append(kinds, m.Body.MsgType())
		if _, unknown := m.Body.(kefu.Raw); unknown || len(m.Extra) > 0 {
			t.Errorf("the SDK does not know all of silenceper's %s", raw)
		}
	}
	known := slices.DeleteFunc(kefu.MsgTypes(), func(kind string) bool { return kind == "link" }) // of mini programs
	if !slices.Equal(kinds, known) {
		t.Errorf("sent %v, want every kind there is: %v", kinds, known)
	}
	return posted
}

func TestSilenceperIsRefused(t *testing.T) {
	s := startSim(t)
	silenceper(s)
	oa := official(true)
	send := func(m *message.CustomerMessage) error { return oa.GetCustomerMessageManager().Send(m) }
	hello := message.NewCustomerTextMessage("oUser1", "您好")

	wantCode(t, "a follower who was never seen", send(hello), 45015)
	s.act("oUser1", "text", nil)
	for n := range 5 {
		if err := send(hello); err != nil {
			t.Errorf("message %d of 5: %v", n+1, err)
		}
	}
	wantCode(t, "the sixth message", send(hello), 45047)
	s.act("oUser1", "text", nil)
	for _, tt := range []struct {
		name string
		m    *message.CustomerMessage
		want int
	}{
		{"two articles", &message.CustomerMessage{ToUser: "oUser1", Msgtype: "news",
			News: &message.MediaNews{Articles: make([]message.MediaArticles, 2)}}, 45008},
		{"an id of nobody", message.NewCustomerTextMessage("nobody", "您好"), 40003},
		{"no text", message.NewCustomerTextMessage("oUser1", ""), 44004},
		{"2049 bytes", message.NewCustomerTextMessage("oUser1", strings.Repeat("好", 683)), 45002},
		{"a medium that does not exist", message.NewCustomerImgMessage("oUser1", "MEDIA_ID"), 40007},
		{"a kind that does not exist", &message.CustomerMessage{ToUser: "oUser1", Msgtype: "letter"}, 40008},
	} {
		wantCode(t, tt.name, send(tt.m), tt.want)
	}
	s.advance(48*time.Hour - time.Minute)
	wantCode(t, "the token that silenceper's own clock still trusts", send(hello), 42001)
	oa = official(true)
	if err := send(hello); err != nil {
		t.Errorf("a minute before the 48 hours are over: %v", err)
	}
	s.advance(time.Minute)
	wantCode(t, "after 48 hours", send(hello), 45015)
	s.act("oUser1", "unsubscribe", nil)
	wantCode(t, "one who unfollowed", send(hello), 45015)
}

func TestSilenceperTyping(t *testing.T) {
	s := startSim(t)
	silenceper(s)
	desk := customerservice.NewCustomerServiceManager(official(true).GetContext())
	s.act("oUser1", "subscribe", nil)
	wantCode(t, "typing to one who follows and never wrote", desk.SendTypingStatus("oUser1", customerservice.Typing), 45080)
	s.act("oUser1", "text", nil)
	for _, status := range []customerservice.TypingStatus{customerservice.Typing, customerservice.CancelTyping, customerservice.Typing} {
		if err := desk.SendTypingStatus("oUser1", status); err != nil {
			t.Errorf("%s: %v", status, err)
		}
	}
	wantCode(t, "typing twice", desk.SendTypingStatus("oUser1", customerservice.Typing), 45081)
	wantCode(t, "a command that does not exist", desk.SendTypingStatus("oUser1", "Thinking"), 45072)
	s.advance(31 * time.Second)
	wantCode(t, "typing 31 s after the last message", desk.SendTypingStatus("oUser1", customerservice.Typing), 45080)
}

func TestSilenceperMedia(t *testing.T) {
	s := startSim(t)
	silenceper(s)
	oa := official(true)
	m := oa.GetMaterial()
	get := func(id string) (int, string, []byte) {
		t.Helper()
		url := must[string](t, "media URL")(m.GetMediaURL(id)) // not modified by the library
		res := must[*http.Response](t, "media")(http.Get(strings.Replace(url, weixin, s.URL, 1)))
		defer res.Body.Close()
		return res.StatusCode, res.Header.Get("Content-Type"), must[[]byte](t, "media")(io.ReadAll(res.Body))
	}
	for _, tt := range []struct {
		kind        material.MediaType
		name        string
		data        []byte
		contentType string
	}{
		{material.MediaTypeImage, "a.jpg", photo(), "image/jpeg"},
		{material.MediaTypeVoice, "a.amr", speech(), "audio/amr"},
		{material.MediaTypeThumb, "a.jpg", photo(), "image/jpeg"},
	} {
		up := must[material.Media](t, string(tt.kind))(m.MediaUploadFromReader(tt.kind, tt.name, bytes.NewReader(tt.data)))
		status, contentType, got := get(cmp.Or(up.MediaID, up.ThumbMediaID))
		if status != 200 || contentType != tt.contentType || !bytes.Equal(got, tt.data) {
			t.Errorf("%s came back as HTTP %d, %s, %d bytes, want %s and the %d that went up", tt.kind, status, contentType, len(got), tt.contentType, len(tt.data))
		}
	}
	video := must[material.Media](t, "video")(m.MediaUpload(material.MediaTypeVideo, file(t, "a.mp4", film())))
	_, _, answer := get(video.MediaID)
	var where struct {
		URL string `json:"video_url"`
	}
	if err := json.Unmarshal(answer, &where); err != nil || where.URL == "" {
		t.Fatalf("a video came back as %s", answer)
	}
	if got := fetch(t, where.URL); !bytes.Equal(got, film()) {
		t.Errorf("at video_url: %q", got)
	}

	_, err := m.MediaUpload(material.MediaTypeVoice, file(t, "b.amr", photo()))
	wantCode(t, "a picture as voice", err, 40005)
	_, err = m.ImageUpload(file(t, "c.jpg", film()))
	wantCode(t, "a video through uploadimg", err, 40005)
	shown := must[string](t, "uploadimg")(m.ImageUpload(file(t, "d.jpg", photo())))
	if got := fetch(t, shown); !bytes.Equal(got, photo()) {
		t.Errorf("at the URL of uploadimg: %d bytes", len(got))
	}

	s.advance(72 * time.Hour)
	oa = official(true) // the old token is dead
	s.act("oUser1", "text", nil)
	wantCode(t, "a video after three days", oa.GetCustomerMessageManager().Send(&message.CustomerMessage{
		ToUser: "oUser1", Msgtype: "video", Video: &message.MediaVideo{MediaID: video.MediaID}}), 40007)
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	res := must[*http.Response](t, url)(http.Get(url))
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("%s: HTTP %d", url, res.StatusCode)
	}
	return must[[]byte](t, url)(io.ReadAll(res.Body))
}

func TestSilenceperMaterial(t *testing.T) {
	s := startSim(t)
	silenceper(s)
	oa := official(true)
	m := oa.GetMaterial()
	cover, _, err := m.AddMaterial(material.MediaTypeImage, file(t, "cover.jpg", photo()))
	if err != nil {
		t.Fatal(err)
	}
	film, _, err := m.AddVideo(file(t, "a.mp4", film()), "标题", "说明")
	if err != nil {
		t.Fatal(err)
	}
	news := must[string](t, "add_news")(m.AddNews([]*material.Article{
		{Title: "标题", ThumbMediaID: cover, Author: "作者", Digest: "摘要", ShowCoverPic: 1, Content: "<p>正文</p>", ContentSourceURL: "https://example.com/"}}))

	count := must[material.ResMaterialCount](t, "count")(m.GetMaterialCount())
	if count.ImageCount != 1 || count.VideoCount != 1 || count.NewsCount != 1 || count.VoiceCount != 0 {
		t.Errorf("count %+v, want a picture, a video and news", count)
	}
	for kind, want := range map[material.PermanentMaterialType]string{"image": cover, "video": film, "news": news} {
		list := must[material.ArticleList](t, "list")(m.BatchGetMaterial(kind, 0, 20))
		if list.TotalCount != 1 || list.ItemCount != 1 || list.Item[0].MediaID != want {
			t.Errorf("list of %s: %+v", kind, list)
		}
	}
	articles := must[[]*material.Article](t, "get_material")(m.GetNews(news))
	if len(articles) != 1 || articles[0].Title != "标题" || articles[0].Digest != "摘要" || articles[0].ShowCoverPic != 1 ||
		articles[0].ThumbMediaID != cover || !strings.HasPrefix(articles[0].URL, s.URL) {
		t.Errorf("news came back as %+v", articles)
	}

	// The library has no call for a video's title; WeChat's own tells whether it arrived.
	token := must[string](t, "token")(oa.GetAccessToken())
	answer := must[[]byte](t, "get_material")(util.PostJSON(weixin+"/cgi-bin/material/get_material?access_token="+token, object{"media_id": film}))
	var video struct {
		Title, Description string
		DownURL            string `json:"down_url"`
	}
	if err := json.Unmarshal(answer, &video); err != nil || video.Title != "标题" || video.Description != "说明" || video.DownURL == "" {
		t.Errorf("a permanent video is told as %s; want the title and introduction that silenceper sent with it", answer)
	}

	published := oa.GetFreePublish()
	box := must[string](t, "draft")(oa.GetDraft().AddDraft([]*draft.Article{{Title: "草稿", Content: "<p>正文</p>", ThumbMediaID: cover}}))
	if got := must[[]*draft.Article](t, "draft")(oa.GetDraft().GetDraft(box)); len(got) != 1 || got[0].Title != "草稿" {
		t.Errorf("the draft came back as %+v", got)
	}
	done := finished(t, oa, must[int64](t, "publish")(published.Publish(box)))
	if page := fetch(t, done.ArticleDetail.Items[0].ArticleURL); !bytes.Contains(page, []byte("<p>正文</p>")) {
		t.Errorf("the article's page: %s", page)
	}
	if got := must[[]freepublish.Article](t, "article")(published.First(done.ArticleID)); len(got) != 1 || got[0].Title != "草稿" || got[0].IsDeleted {
		t.Errorf("the article came back as %+v", got)
	}
	_, err = oa.GetDraft().GetDraft(box)
	wantCode(t, "a draft that is published", err, 40007)
	if err := published.Delete(done.ArticleID, 0); err != nil {
		t.Error(err)
	}
	s.act("oUser1", "text", nil)
	wantCode(t, "an article that is deleted", oa.GetCustomerMessageManager().Send(&message.CustomerMessage{
		ToUser: "oUser1", Msgtype: "mpnewsarticle", Mpnewsarticle: &message.MediaArticle{ArticleID: done.ArticleID}}), 53600)

	for _, id := range []string{film, news} {
		if err := m.DeleteMaterial(id); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, "material that is deleted", m.DeleteMaterial(news), 40007)
}

func TestSilenceperKFAccounts(t *testing.T) {
	s := startSim(t)
	s.put(object{"kf_accounts": []object{}}) // without the simulator's own
	silenceper(s)
	desk := customerservice.NewCustomerServiceManager(official(true).GetContext())
	const name = "xiaowei@demo"
	for _, step := range []struct {
		what string
		err  error
	}{
		{"add", desk.Add(name, "小微")},
		{"update", desk.Update(name, "小薇")},
		{"picture", desk.UploadHeadImg(name, file(t, "face.jpg", photo()))},
		{"invite", desk.InviteBind(name, "wx_xiaowei")},
	} {
		if step.err != nil {
			t.Errorf("%s: %v", step.what, step.err)
		}
	}
	wantCode(t, "add again", desk.Add(name, "小微"), 65406)
	wantCode(t, "update of nobody", desk.Update("nobody@demo", "小微"), 65401)

	list := must[[]*customerservice.KeFuInfo](t, "list")(desk.List())
	if len(list) != 1 || list[0].KfAccount != name || list[0].KfNick != "小薇" || list[0].KfID == 0 || list[0].InviteStatus != "waiting" ||
		list[0].InviteWX != "wx_xiaowei" || list[0].InviteExpTime == 0 {
		t.Errorf("list: %+v", list)
	}
	if got := fetch(t, list[0].KfHeadImgURL); !bytes.Equal(got, photo()) {
		t.Errorf("the picture has %d bytes", len(got))
	}
	if online := must[[]*customerservice.KeFuOnlineInfo](t, "on line")(desk.OnlineList()); len(online) != 0 {
		t.Errorf("on line before anybody accepted: %+v", online)
	}
	s.put(object{"kf_accounts": []object{{"kf_account": name, "nickname": "小薇"}}}) // as if accepted
	online := must[[]*customerservice.KeFuOnlineInfo](t, "on line")(desk.OnlineList())
	if len(online) != 1 || online[0].KfAccount != name || online[0].Status != 1 || online[0].KfID == 0 {
		t.Errorf("on line: %+v", online)
	}
	if err := desk.Delete(name); err != nil {
		t.Error(err)
	}
	wantCode(t, "delete again", desk.Delete(name), 65401)
}

// A door is silenceper's callback server. It keeps what came in and answers as
// reply says.
type door struct {
	*httptest.Server
	t   *testing.T
	got chan *message.MixMessage

	mu    sync.Mutex // guards reply
	reply func(*message.MixMessage) *message.Reply
}

func newDoor(t *testing.T) *door {
	oa := official(true)
	d := &door{t: t, got: make(chan *message.MixMessage, 100)}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server := oa.GetServer(r, w)
		server.SetMessageHandler(func(m *message.MixMessage) *message.Reply {
			d.got <- m
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.reply(m)
		})
		if err := server.Serve(); err != nil {
			t.Errorf("silenceper refused a callback: %v", err)
			http.Error(w, "refused", http.StatusInternalServerError)
			return
		}
		if err := server.Send(); err != nil {
			t.Errorf("silenceper could not answer: %v", err)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *door) answer(r *message.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reply = func(*message.MixMessage) *message.Reply { return r }
}

func TestSilenceperCallbacks(t *testing.T) {
	for _, mode := range []string{"plain", "compat", "secure"} {
		t.Run(mode, func(t *testing.T) {
			d := newDoor(t)
			s := startSim(t, "--callback", d.URL+"/callback", "--mode", mode)
			silenceper(s)
			if !s.verify() {
				t.Error("silenceper did not pass WeChat's URL check")
			}
			receives(t, s, d)
			answers(t, s, d)
			hearsOfPublication(t, d)
		})
	}
}

// receives: what a follower does arrives at silenceper as what it was.
func receives(t *testing.T, s *sim, d *door) {
	d.answer(&message.Reply{MsgType: message.MsgTypeText, MsgData: message.NewText("收到")})
	for _, tt := range []struct {
		action  string
		with    object
		arrived func(*message.MixMessage) bool
	}{
		{"subscribe", object{"scene": "123"}, func(m *message.MixMessage) bool {
			return m.Event == message.EventSubscribe && m.EventKey == "qrscene_123" && m.Ticket != ""
		}},
		{"text", object{"content": "在吗 & <b>]]></b>"}, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeText && m.Content == "在吗 & <b>]]></b>" && m.BizMsgMenuID == 0
		}},
		{"menu-tap", object{"id": "101", "content": "满意"}, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeText && m.Content == "满意" && m.BizMsgMenuID == 101
		}},
		{"image", nil, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeImage && m.MediaID != "" && strings.HasPrefix(m.PicURL, s.URL)
		}},
		{"voice", nil, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeVoice && m.MediaID != "" && m.Format == "amr"
		}},
		{"video", nil, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeVideo && m.MediaID != "" && m.ThumbMediaID != ""
		}},
		{"location", object{"lat": 39.9, "lon": 116.4, "label": "北京"}, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeLocation && m.LocationX == 39.9 && m.LocationY == 116.4 && m.Label == "北京" && m.Scale == 20
		}},
		{"link", object{"title": "标题", "url": "https://example.com/?a=1&b=2"}, func(m *message.MixMessage) bool {
			return m.MsgType == message.MsgTypeLink && m.Title == "标题" && m.URL == "https://example.com/?a=1&b=2"
		}},
		{"click", object{"key": "HELP"}, func(m *message.MixMessage) bool { return m.Event == message.EventClick && m.EventKey == "HELP" }},
		{"view", object{"key": "https://example.com/"}, func(m *message.MixMessage) bool {
			return m.Event == message.EventView && m.EventKey == "https://example.com/" && m.MenuID != ""
		}},
		{"scancode_push", object{"key": "SCAN", "result": "1"}, func(m *message.MixMessage) bool {
			return m.Event == message.EventScancodePush && m.EventKey == "SCAN" && m.ScanCodeInfo.ScanResult == "1"
		}},
		{"scancode_waitmsg", object{"key": "SCAN", "result": "2"}, func(m *message.MixMessage) bool {
			return m.Event == message.EventScancodeWaitmsg && m.ScanCodeInfo.ScanType == "qrcode" && m.ScanCodeInfo.ScanResult == "2"
		}},
		{"scan", object{"scene": "9"}, func(m *message.MixMessage) bool {
			return m.Event == message.EventScan && m.EventKey == "9" && m.Ticket != ""
		}},
		{"unsubscribe", nil, func(m *message.MixMessage) bool { return m.Event == message.EventUnsubscribe }},
	} {
		done := s.act("oUser1", tt.action, tt.with)
		if len(done.Deliveries) != 1 || done.Deliveries[0].Status != 200 {
			t.Errorf("%s: deliveries %s, want one that was answered", tt.action, done.Deliveries)
		}
		m := <-d.got
		isMessage := m.MsgType != message.MsgTypeEvent
		if !tt.arrived(m) || m.FromUserName != "oUser1" || m.ToUserName == "" || m.CreateTime == 0 || isMessage != (m.MsgID != 0) {
			t.Errorf("%s arrived as %+v", tt.action, m)
		}
	}
	for _, name := range []string{"pay", "rights"} { // WeChat pushes neither
		if done := s.act("oUser1", name, nil); len(done.Deliveries) != 0 || len(d.got) != 0 {
			t.Errorf("%s was pushed", name)
		}
	}
}

// answers: what silenceper answers to a callback stands on the follower's phone.
func answers(t *testing.T, s *sim, d *door) {
	var ids library
	d.answer(nil)
	ids.fill(t, official(true))
	for len(d.got) < 1 {
		time.Sleep(10 * time.Millisecond) // the end of ids' publication is pushed, too
	}
	<-d.got
	transfer := func(to string) *message.Reply {
		return &message.Reply{MsgType: message.MsgTypeTransfer, MsgData: message.NewTransferCustomer(to)}
	}
	for i, tt := range []struct {
		name string
		r    *message.Reply
		want string // the answer as a customer message, without touser; "" for none
	}{
		{"text", &message.Reply{MsgType: message.MsgTypeText, MsgData: message.NewText("您好 & <a href=\"https://example.com/\">看看</a>")},
			`{"msgtype":"text","text":{"content":"您好 & <a href=\"https://example.com/\">看看</a>"}}`},
		{"image", &message.Reply{MsgType: message.MsgTypeImage, MsgData: message.NewImage(ids.image)},
			`{"msgtype":"image","image":{"media_id":"` + ids.image + `"}}`},
		{"voice", &message.Reply{MsgType: message.MsgTypeVoice, MsgData: message.NewVoice(ids.voice)},
			`{"msgtype":"voice","voice":{"media_id":"` + ids.voice + `"}}`},
		{"video", &message.Reply{MsgType: message.MsgTypeVideo, MsgData: message.NewVideo(ids.video, "标题", "说明")},
			`{"msgtype":"video","video":{"media_id":"` + ids.video + `","title":"标题","description":"说明"}}`},
		{"music", &message.Reply{MsgType: message.MsgTypeMusic, MsgData: message.NewMusic("茉莉花", "民歌", "https://example.com/a.mp3", "", ids.thumb)},
			`{"msgtype":"music","music":{"title":"茉莉花","description":"民歌","musicurl":"https://example.com/a.mp3","hqmusicurl":"","thumb_media_id":"` + ids.thumb + `"}}`},
		{"news", &message.Reply{MsgType: message.MsgTypeNews, MsgData: message.NewNews([]*message.Article{
			message.NewArticle("标题", "说明", "https://example.com/a.png", "https://example.com/")})},
			`{"msgtype":"news","news":{"articles":[{"title":"标题","description":"说明","url":"https://example.com/","picurl":"https://example.com/a.png"}]}}`},
		{"handed to the desk", transfer(""), `{"msgtype":"transfer_customer_service","transfer_customer_service":{"kf_account":""}}`},
		{"handed to one of the desk", transfer("xiaowei@demo"),
			`{"msgtype":"transfer_customer_service","transfer_customer_service":{"kf_account":"xiaowei@demo"}}`},
	} {
		d.answer(tt.r)
		openid := fmt.Sprintf("oReader%d", i)
		done := s.act(openid, "text", nil)
		<-d.got
		if len(done.Deliveries) != 1 || !sameJSON(done.Deliveries[0].Reply, tt.want, openid) {
			t.Errorf("%s: deliveries %s, want the answer %s", tt.name, done.Deliveries, tt.want)
		}
		chat := s.chat(openid)
		last := chat[len(chat)-1]
		if len(chat) != 2 || chat[0].State != "answered" {
			t.Errorf("%s: the chat is %s", tt.name, chat)
		} else if last.Kind != "transfer_customer_service" && (last.Dir != "passive" || !sameJSON(last.Message, tt.want, openid)) {
			t.Errorf("%s: on the phone stands %s %s", tt.name, last.Dir, last.Message)
		}
		if got := s.raw(openid); len(got) != 0 {
			t.Errorf("%s: an answer counts as customer messages: %q", tt.name, got)
		}
	}

	// No answer is an answer. In the modes with a cipher silenceper seals it: an
	// envelope around no byte, where WeChat's page says that the empty answer and
	// "success" need none.
	d.answer(nil)
	done := s.act("oSilent", "text", nil)
	<-d.got
	if chat := s.chat("oSilent"); len(done.Deliveries) != 1 || done.Deliveries[0].Reply != nil || len(chat) != 1 || chat[0].State != "answered" {
		t.Errorf("nothing said: deliveries %s, chat %s; want one delivery and a phone that shows nothing", done.Deliveries, chat)
	}
}

func sameJSON(got json.RawMessage, want, openid string) bool {
	var a, b map[string]any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	b["touser"] = openid
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// hearsOfPublication: PUBLISHJOBFINISH reaches silenceper, typed.
func hearsOfPublication(t *testing.T, d *door) {
	d.answer(nil)
	oa := official(true)
	cover, _, err := oa.GetMaterial().AddMaterial(material.MediaTypeImage, file(t, "cover.jpg", photo()))
	if err != nil {
		t.Fatal(err)
	}
	box := must[string](t, "draft")(oa.GetDraft().AddDraft([]*draft.Article{{Title: "草稿", Content: "<p>正文</p>", ThumbMediaID: cover}}))
	job := must[int64](t, "publish")(oa.GetFreePublish().Publish(box))
	want := finished(t, oa, job)
	select {
	case m := <-d.got:
		info := m.PublishEventInfo
		if m.Event != message.EventPublishJobFinish || info.PublishID != job || info.PublishStatus != freepublish.PublishStatusSuccess ||
			info.ArticleID != want.ArticleID || info.ArticleDetail.Count != 1 || len(info.ArticleDetail.Item) != 1 {
			t.Errorf("it arrived as %+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was pushed")
	}
}
