package kefutest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

var noon = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)

// padded fills a file up to size, as real ones are, with bytes that are no text.
func padded(data []byte, size int) []byte {
	return append(bytes.Clone(data), bytes.Repeat([]byte{0xff}, size-len(data))...)
}

func TestCheckFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		call string
		kind kefu.MediaKind
		data []byte
		want int
	}{
		{"an image may be a jpg", "upload", "image", jpgFile(), 0},
		{"an image may be a png", "upload", "image", pngFile(), 0},
		{"an image may be a gif", "upload", "image", gifFile(), 0},
		{"a temporary image may not be a bmp", "upload", "image", bmpFile(), 40005},
		{"a permanent image may be a bmp", "material", "image", bmpFile(), 0},
		{"a type that does not exist", "upload", "file", pngFile(), 40004},
		{"no type", "upload", "", pngFile(), 40004},
		{"news is not a file", "upload", "news", pngFile(), 40004},
		{"an empty file", "upload", "image", nil, 44001},
		{"a file of 5 bytes", "upload", "image", pngFile()[:5], 40006},
		{"6 bytes are looked at", "upload", "image", pngFile()[:6], 40005},
		{"a web page is no image", "upload", "image", []byte("<html><script>alert(1)</script>"), 40005},
		{"an image of 10 MB", "upload", "image", padded(pngFile(), 10<<20), 0},
		{"an image of 10 MB and a byte", "upload", "image", padded(pngFile(), 10<<20+1), 40009},
		{"a voice may be an amr", "upload", "voice", amrFile(1), 0},
		{"a voice may be an mp3", "upload", "voice", mp3File(1), 0},
		{"a temporary voice may not be a wav", "upload", "voice", wavFile(1), 40005},
		{"a permanent voice may be a wav", "material", "voice", wavFile(1), 0},
		{"a permanent voice may be a wma", "material", "voice", wmaFile(time.Second), 0},
		{"a voice of 2 MB", "upload", "voice", padded(amrFile(1), 2<<20), 45007}, // the padding is sound too
		{"a short voice of 2 MB", "upload", "voice", padded(append(amrFile(1), 0x4c), 2<<20), 0},
		{"a short voice of 2 MB and a byte", "upload", "voice", padded(append(amrFile(1), 0x4c), 2<<20+1), 40010},
		{"an amr of 60 s", "upload", "voice", amrFile(3000), 0},
		{"an amr of 60 s and a frame", "upload", "voice", amrFile(3001), 45007},
		{"an mp3 of 60 s", "upload", "voice", mp3File(2500), 0},
		{"an mp3 of 60 s and a frame", "upload", "voice", mp3File(2501), 45007},
		{"a permanent wav of 60 s", "material", "voice", wavFile(60), 0},
		{"a permanent wav of 61 s", "material", "voice", wavFile(61), 45007},
		{"a permanent wma of 60 s", "material", "voice", wmaFile(time.Minute), 0},
		{"a permanent wma over 60 s", "material", "voice", wmaFile(time.Minute + 100), 45007},
		{"a video is an mp4", "upload", "video", mp4File("isom"), 0},
		{"a video is not a QuickTime film", "upload", "video", mp4File("qt  "), 40005},
		{"a video of 10 MB", "upload", "video", padded(mp4File("isom"), 10<<20), 0},
		{"a video of 10 MB and a byte", "upload", "video", padded(mp4File("isom"), 10<<20+1), 40011},
		{"a thumb is a jpg", "upload", "thumb", jpgFile(), 0},
		{"a thumb is not a png", "upload", "thumb", pngFile(), 40005},
		{"a thumb of 64 KB", "upload", "thumb", padded(jpgFile(), 64<<10), 0},
		{"a thumb of 64 KB and a byte", "upload", "thumb", padded(jpgFile(), 64<<10+1), 40012},
		{"uploadimg of 1 MB", "uploadimg", "image", padded(jpgFile(), 1<<20), 0},
		{"uploadimg of 1 MB and a byte", "uploadimg", "image", padded(jpgFile(), 1<<20+1), 40009},
		{"uploadimg of a gif", "uploadimg", "image", gifFile(), 40005},
		{"uploadimg of a video, as the article's tool was used", "uploadimg", "image", padded(mp4File("isom"), 2<<20), 40005},
		{"uploadimg of music", "uploadimg", "image", mp3File(10), 40005},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := checkFile(tt.call, tt.kind, tt.data); got != tt.want {
				t.Errorf("errcode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMediaLife(t *testing.T) {
	const life = 3 * 24 * time.Hour
	l := newLibrary()
	temporary, _ := l.upload(noon, kefu.MediaImage, "a.png", pngFile())
	permanent, _ := l.addMaterial(noon, kefu.MediaImage, "a.png", "", "", pngFile())
	for _, tt := range []struct {
		name  string
		id    string
		after time.Duration
		want  int
	}{
		{"new", temporary.id, 0, 0},
		{"last nanosecond", temporary.id, life - 1, 0},
		{"three days", temporary.id, life, 40007},
		{"permanent after a year", permanent.id, 365 * 24 * time.Hour, 0},
		{"unknown", "nobody's", 0, 40007},
		{"missing", "", 0, 41006},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := noon.Add(tt.after)
			if _, got := l.lookUp(now, tt.id); got != tt.want {
				t.Errorf("media/get: errcode %d, want %d", got, tt.want)
			}
			if got := l.checkMedia(now, tt.id, kefu.MediaImage); got != tt.want {
				t.Errorf("in a message: errcode %d, want %d", got, tt.want)
			}
		})
	}
}

func TestCheckMediaKind(t *testing.T) {
	l := newLibrary()
	id := map[string]string{}
	for kind, data := range map[kefu.MediaKind][]byte{
		kefu.MediaImage: pngFile(), kefu.MediaVoice: amrFile(1), kefu.MediaVideo: mp4File("isom"), kefu.MediaThumb: jpgFile(),
	} {
		f, _ := l.upload(noon, kind, "", data)
		p, _ := l.addMaterial(noon, kind, "", "", "", data)
		id[string(kind)], id["permanent "+string(kind)] = f.id, p.id
	}
	draft, code := l.addNews(noon, true, []newsArticle{{Title: "t", Content: "c", ThumbMediaID: id["permanent image"]}})
	if code != 0 {
		t.Fatalf("draft/add: errcode %d", code)
	}
	id["draft"] = draft.ID
	for _, tt := range []struct {
		has   string
		wants kefu.MediaKind
		code  int
	}{
		{"image", kefu.MediaImage, 0},
		{"permanent image", kefu.MediaImage, 0},
		{"voice", kefu.MediaVoice, 0},
		{"permanent voice", kefu.MediaVoice, 0},
		{"video", kefu.MediaVideo, 0},
		{"permanent video", kefu.MediaVideo, 0},
		{"thumb", kefu.MediaThumb, 0},
		{"permanent thumb", kefu.MediaThumb, 0},
		{"image", kefu.MediaThumb, 0}, // a cover may be an image
		{"thumb", kefu.MediaImage, 40121},
		{"voice", kefu.MediaImage, 40121},
		{"image", kefu.MediaVoice, 40121},
		{"image", kefu.MediaVideo, 40121},
		{"permanent voice", kefu.MediaThumb, 40121},
		{"image", mediaNews, 40121},
		{"draft", mediaNews, 0},
		{"draft", kefu.MediaImage, 40121},
	} {
		t.Run(tt.has+" as "+string(tt.wants), func(t *testing.T) {
			if got := l.checkMedia(noon, id[tt.has], tt.wants); got != tt.code {
				t.Errorf("errcode %d, want %d", got, tt.code)
			}
		})
	}
	l.rules.AcceptAnyID = true
	if got := l.checkMedia(noon, "MEDIA_ID", kefu.MediaVoice); got != 0 {
		t.Errorf("with accept_any_id: errcode %d", got)
	}
	if got := l.checkMedia(noon, "", kefu.MediaVoice); got != 41006 {
		t.Errorf("no id with accept_any_id: errcode %d, want 41006", got)
	}
}

// Dead media go only when there is no room for them: phones go on showing them.
func TestForgetDeadMedia(t *testing.T) {
	l := newLibrary()
	video := padded(mp4File("isom"), 10<<20)
	first, _ := l.upload(noon, kefu.MediaVideo, "", video)
	later := noon.Add(4 * 24 * time.Hour)
	for range remembered/len(video) - 1 {
		l.upload(later, kefu.MediaVideo, "", video)
	}
	if _, ok := l.shown(first.id); !ok {
		t.Error("forgotten although there was room")
	}
	l.upload(later, kefu.MediaVideo, "", video)
	if _, ok := l.shown(first.id); ok {
		t.Error("dead and kept although there was no room")
	}
}

func TestMaterialRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind kefu.MediaKind
		data []byte
		most int
	}{
		{"voices", kefu.MediaVoice, amrFile(1), 1000},
		{"videos", kefu.MediaVideo, mp4File("isom"), 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLibrary()
			for i := range tt.most {
				if _, code := l.addMaterial(noon, tt.kind, "", "", "", tt.data); code != 0 {
					t.Fatalf("%d: errcode %d", i+1, code)
				}
			}
			if _, code := l.addMaterial(noon, tt.kind, "", "", "", tt.data); code != 45034 {
				t.Errorf("one more: errcode %d, want 45034", code)
			}
			if _, code := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile()); code != 0 {
				t.Errorf("an image has room of its own: errcode %d", code)
			}
		})
	}
	t.Run("pictures and news together", func(t *testing.T) {
		l := newLibrary()
		l.rules.MostPictures = 3
		image, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile())
		l.addMaterial(noon, kefu.MediaThumb, "", "", "", jpgFile())
		news := []newsArticle{{Title: "t", Content: "c", ThumbMediaID: image.id}}
		if _, code := l.addNews(noon, false, news); code != 0 {
			t.Fatalf("third: errcode %d", code)
		}
		if _, code := l.addNews(noon, false, news); code != 45034 {
			t.Errorf("fourth: errcode %d, want 45034", code)
		}
		if _, code := l.addNews(noon, true, news); code != 0 {
			t.Errorf("a draft is no material: errcode %d", code)
		}
	})
}

func TestArticleRules(t *testing.T) {
	l := newLibrary()
	cover, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile())
	thumb, _ := l.addMaterial(noon, kefu.MediaThumb, "", "", "", jpgFile())
	voice, _ := l.addMaterial(noon, kefu.MediaVoice, "", "", "", amrFile(1))
	temporary, _ := l.upload(noon, kefu.MediaThumb, "", jpgFile())
	good := newsArticle{Title: "标题", Author: "作者", Digest: "摘要", Content: "<p>正文</p>", ThumbMediaID: cover.id}
	but := func(change func(*newsArticle)) []newsArticle {
		a := good
		change(&a)
		return []newsArticle{a}
	}
	for _, tt := range []struct {
		name     string
		articles []newsArticle
		want     int
	}{
		{"a full article", []newsArticle{good}, 0},
		{"its cover may be a thumb", but(func(a *newsArticle) { a.ThumbMediaID = thumb.id }), 0},
		{"no articles", nil, 44003},
		{"eight articles", []newsArticle{good, good, good, good, good, good, good, good}, 0},
		{"nine articles", []newsArticle{good, good, good, good, good, good, good, good, good}, 45008},
		{"no title", but(func(a *newsArticle) { a.Title = "" }), 40227},
		{"a title of 64 characters", but(func(a *newsArticle) { a.Title = strings.Repeat("题", 64) }), 0},
		{"a title of 65 characters", but(func(a *newsArticle) { a.Title = strings.Repeat("题", 65) }), 45003},
		{"an author of 16 characters", but(func(a *newsArticle) { a.Author = strings.Repeat("者", 16) }), 0},
		{"an author of 17 characters", but(func(a *newsArticle) { a.Author = strings.Repeat("者", 17) }), 45110},
		{"a digest of 128 characters", but(func(a *newsArticle) { a.Digest = strings.Repeat("摘", 128) }), 0},
		{"a digest of 129 characters", but(func(a *newsArticle) { a.Digest = strings.Repeat("摘", 129) }), 45004},
		{"no content", but(func(a *newsArticle) { a.Content = "" }), 44004},
		{"a content of 1 MB", but(func(a *newsArticle) { a.Content = strings.Repeat("x", 1<<20) }), 0},
		{"a content of 1 MB and a byte", but(func(a *newsArticle) { a.Content = strings.Repeat("x", 1<<20+1) }), 45002},
		{"no cover", but(func(a *newsArticle) { a.ThumbMediaID = "" }), 40007},
		{"a temporary cover", but(func(a *newsArticle) { a.ThumbMediaID = temporary.id }), 40007},
		{"a voice as cover", but(func(a *newsArticle) { a.ThumbMediaID = voice.id }), 40007},
		{"a picture article's first picture is its cover", but(func(a *newsArticle) {
			a.Type, a.ThumbMediaID = "newspic", ""
			a.ImageInfo = fmt.Appendf(nil, `{"image_list":[{"image_media_id":%q}]}`, cover.id)
		}), 0},
		{"a picture article without pictures", but(func(a *newsArticle) { a.Type = "newspic" }), 40007},
	} {
		for _, draft := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, draft %v", tt.name, draft), func(t *testing.T) {
				if _, got := l.addNews(noon, draft, tt.articles); got != tt.want {
					t.Errorf("errcode %d, want %d", got, tt.want)
				}
			})
		}
	}
	l.rules.NewsWithdrawn = true
	if _, got := l.addNews(noon, false, []newsArticle{good}); got != 45106 {
		t.Errorf("add_news withdrawn: errcode %d, want 45106", got)
	}
	if _, got := l.addNews(noon, true, []newsArticle{good}); got != 0 {
		t.Errorf("draft/add beside a withdrawn add_news: errcode %d", got)
	}
}

func TestFirstWords(t *testing.T) {
	for content, want := range map[string]string{
		"<p>你好，<b>世界</b></p>":     "你好， 世界",
		"a &amp; b &lt;c&gt;":     "a & b <c>",
		strings.Repeat("字", 55):   strings.Repeat("字", 54),
		"<p>an unfinished tag <b": "an unfinished tag",
		"":                        "",
	} {
		if got := firstWords(content); got != want {
			t.Errorf("firstWords(%q) = %q, want %q", content, got, want)
		}
	}
}

func TestPublication(t *testing.T) {
	const takes = 100 * time.Millisecond
	const base = "http://sim.test"
	for _, tt := range []struct {
		name     string
		ends     int
		after    time.Duration
		status   int
		failed   []int
		article  int // errcode of mpnewsarticle
		draft    int // errcode of mpnews and draft/get
		urlCount int
	}{
		{"runs to the last nanosecond", published, takes - 1, publishing, []int{}, 53600, 0, 0},
		{"succeeds, and the draft leaves the draft box", published, takes, published, []int{}, 0, 40007, 2},
		{"fails the check of originality", notOriginal, takes, notOriginal, []int{1, 2}, 53600, 0, 0},
		{"fails", publishFailed, takes, publishFailed, []int{}, 53600, 0, 0},
		{"is not approved", notApproved, takes, notApproved, []int{1, 2}, 53600, 0, 0},
		{"fails after a while only", notApproved, 0, publishing, []int{}, 53600, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLibrary()
			l.rules.PublishEnds = tt.ends
			cover, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile())
			a := newsArticle{Title: "t", Content: "c", ThumbMediaID: cover.id}
			draft, _ := l.addNews(noon, true, []newsArticle{a, a})
			job, code := l.submit(noon, draft.ID)
			if code != 0 {
				t.Fatalf("submit: errcode %d", code)
			}
			now := noon.Add(tt.after)
			p, code := l.publication(now, base, job.ID)
			if code != 0 || p.Status != tt.status || !reflect.DeepEqual(p.FailIdx, tt.failed) {
				t.Errorf("publication: %+v, errcode %d", p, code)
			}
			urls := 0
			if p.Detail != nil {
				for _, item := range p.Detail.Item {
					if _, ok := l.articlePage(now, strings.TrimPrefix(item.URL, base)); ok {
						urls++
					}
				}
			}
			if urls != tt.urlCount {
				t.Errorf("%d pages, want %d", urls, tt.urlCount)
			}
			if got := l.checkArticleID(now, job.Article.ID); got != tt.article {
				t.Errorf("mpnewsarticle: errcode %d, want %d", got, tt.article)
			}
			if got := l.checkMedia(now, draft.ID, mediaNews); got != tt.draft {
				t.Errorf("mpnews: errcode %d, want %d", got, tt.draft)
			}
			if _, got := l.draftItem(now, draft.ID); got != tt.draft {
				t.Errorf("draft/get: errcode %d, want %d", got, tt.draft)
			}
		})
	}
	if _, code := newLibrary().publication(noon, base, "1"); code != 53502 {
		t.Errorf("an unknown publish_id: errcode %d, want 53502", code)
	}
	if _, code := newLibrary().submit(noon, "1"); code != 40007 {
		t.Errorf("an unknown draft: errcode %d, want 40007", code)
	}
}

func TestDeletePublished(t *testing.T) {
	l := newLibrary()
	cover, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile())
	a := newsArticle{Title: "t", Content: "c", ThumbMediaID: cover.id}
	draft, _ := l.addNews(noon, true, []newsArticle{a, a})
	job, _ := l.submit(noon, draft.ID)
	now := noon.Add(time.Minute)
	id := job.Article.ID
	before, _ := l.publishedNews(now, "", id)

	for _, tt := range []struct {
		name   string
		index  int
		code   int
		status int
		left   int
	}{
		{"no such article", 3, 40097, published, 2},
		{"the second", 2, 0, published, 1},
		{"all", 0, 0, allDeleted, 0},
		{"all again", 0, 53600, allDeleted, 0},
	} {
		if got := l.deleteArticle(now, id, tt.index); got != tt.code {
			t.Errorf("delete %s: errcode %d, want %d", tt.name, got, tt.code)
		}
		p, _ := l.publication(now, "", job.ID)
		left := 0
		for _, n := range before {
			if _, ok := l.articlePage(now, n.URL); ok {
				left++
			}
		}
		if p.Status != tt.status || left != tt.left {
			t.Errorf("after deleting %s: status %d, %d pages; want %d, %d", tt.name, p.Status, left, tt.status, tt.left)
		}
	}
	if got := l.checkArticleID(now, id); got != 53600 {
		t.Errorf("mpnewsarticle of a deleted article: errcode %d", got)
	}
}

// An article's content is foreign: its page escapes what is text, and its policy
// leaves nothing to what is markup.
func TestArticlePageIsHarmless(t *testing.T) {
	l := newLibrary()
	cover, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", pngFile())
	draft, code := l.addNews(noon, true, []newsArticle{{
		Title: "<script>1</script>", Author: `"><img src=x>`, Content: "<p>正文</p>", ShowCoverPic: 1,
		ContentSourceURL: "javascript:alert(3)", ThumbMediaID: cover.id,
	}})
	if code != 0 {
		t.Fatal(code)
	}
	page, ok := l.articlePage(noon, draft.Articles[0].URL)
	if !ok {
		t.Fatal("no page")
	}
	for _, never := range []string{"<script>1", "<img src=x", "javascript:"} {
		if bytes.Contains(page, []byte(never)) {
			t.Errorf("the page has %s", never)
		}
	}
	for _, want := range []string{"<p>正文</p>", `<img src="` + cover.Path + `"`} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page lacks %s", want)
		}
	}
	policy := sandboxed("http://127.0.0.1:7700")
	for _, want := range []string{"sandbox;", "default-src 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(policy, "allow-") || strings.Contains(policy, "script-src") {
		t.Errorf("the policy allows too much: %s", policy)
	}
}

// What get says, put restores, through JSON and whole.
func TestLibraryState(t *testing.T) {
	l := newLibrary()
	l.upload(noon, kefu.MediaVoice, "a.amr", amrFile(1))
	image, _ := l.addMaterial(noon, kefu.MediaImage, "b.png", "", "", pngFile())
	video, _ := l.addMaterial(noon.Add(1), kefu.MediaVideo, "c.mp4", "片名", "简介", mp4File("isom"))
	gone, _ := l.addMaterial(noon, kefu.MediaImage, "", "", "", jpgFile())
	l.deleteMaterial(gone.id)
	picture, _ := l.uploadImage(noon, jpgFile())
	a := newsArticle{Title: "t & <t>", Content: "<p>c</p>", ThumbMediaID: image.id}
	l.addNews(noon, false, []newsArticle{a})
	draft, _ := l.addNews(noon, true, []newsArticle{a, a})
	job, _ := l.submit(noon, draft.ID)
	l.rules.PublishEnds = notOriginal
	again, _ := l.addNews(noon, true, []newsArticle{a})
	failed, _ := l.submit(noon, again.ID)

	said, err := json.Marshal(l.get())
	if err != nil {
		t.Fatal(err)
	}
	var state libraryState
	if err := json.Unmarshal(said, &state); err != nil {
		t.Fatal(err)
	}
	restored := newLibrary()
	restored.uploadImage(noon, pngFile()) // to be replaced
	if err := restored.put(state); err != nil {
		t.Fatal(err)
	}
	if now, _ := json.Marshal(restored.get()); !bytes.Equal(now, said) {
		t.Errorf("restored:\n%s\nwas:\n%s", now, said)
	}
	for _, path := range []string{image.Path, video.Path, gone.Path, picture.Path} {
		if f, ok := restored.at(path); !ok || f.contentType() == "application/octet-stream" {
			t.Errorf("%s is not served as before", path)
		}
	}
	later := noon.Add(time.Hour)
	if code := restored.checkArticleID(later, job.Article.ID); code != 0 {
		t.Errorf("the article: errcode %d", code)
	}
	if p, _ := restored.publication(later, "", failed.ID); p.Status != notOriginal || len(p.FailIdx) != 1 {
		t.Errorf("the failed publication: %+v", p)
	}
	if c := restored.countMaterial(); c != (materialCount{Video: 1, Image: 1, News: 1}) {
		t.Errorf("material: %+v", c)
	}
	if ids, _, _ := restored.listMaterial(kefu.MediaVideo, 0, 20); len(ids) != 1 || ids[0] != video.id {
		t.Errorf("videos: %q", ids)
	}
}

func TestPutState(t *testing.T) {
	for _, tt := range []struct {
		name string
		doc  string
		ok   func(*library) bool // nil: the document is refused
	}{
		{"a kind alone registers a media id for good", `{"media":{"M":"image"}}`, func(l *library) bool {
			return l.checkMedia(noon.Add(1e6*time.Hour), "M", kefu.MediaImage) == 0 && l.checkMedia(noon, "M", kefu.MediaVoice) == 40121
		}},
		{"a registered media id has no bytes to get", `{"media":{"M":"image"}}`, func(l *library) bool {
			_, code := l.lookUp(noon, "M")
			_, shown := l.media("M")
			return code == 40007 && !shown
		}},
		{"a media id may be of news", `{"media":{"N":"news"}}`, func(l *library) bool { return l.checkMedia(noon, "N", mediaNews) == 0 }},
		{"an article id alone is enough", `{"articles":["A"]}`, func(l *library) bool { return l.checkArticleID(noon, "A") == 0 }},
		{"an article with a title has a card", `{"articles":[{"article_id":"A","news_item":[{"title":"标题"}]}]}`, func(l *library) bool {
			title, _, _, _, ok := l.articleCard("A")
			return ok && title == "标题"
		}},
		{"an article gets a page of ours, whatever it says", `{"articles":[{"article_id":"A","news_item":[{"content":"正文","url":"javascript:alert(1)"}]}]}`, func(l *library) bool {
			_, _, _, url, _ := l.articleCard("A")
			page, ok := l.articlePage(noon, url)
			return ok && strings.HasPrefix(url, "/s/") && bytes.Contains(page, []byte("正文"))
		}},
		{"news too get pages of ours", `{"news":[{"media_id":"N","articles":[{"content":"正文","url":"//example.com/"}]}]}`, func(l *library) bool {
			_, _, _, url, ok := l.articleCard("N")
			return ok && strings.HasPrefix(url, "/s/")
		}},
		{"what is not named stays", `{"articles":["A"]}`, func(l *library) bool { return l.checkMedia(noon, "old", kefu.MediaImage) == 0 }},
		{"what is named is replaced", `{"media":{}}`, func(l *library) bool { return l.checkMedia(noon, "old", kefu.MediaImage) == 40007 }},
		{"null names nothing", `{"media":null}`, func(l *library) bool { return l.checkMedia(noon, "old", kefu.MediaImage) == 0 }},
		{"nulls in lists are passed over", `{"articles":[null],"news":[null],"pictures":[null],"publications":[null]}`, func(l *library) bool { return true }},
		{"the life of media", `{"media_life":"1h"}`, func(l *library) bool { return l.rules.MediaLife == time.Hour }},
		{"how long publishing takes", `{"publish_takes":"0s"}`, func(l *library) bool { return l.rules.PublishTakes == 0 }},
		{"how publishing ends", `{"publish_ends":4}`, func(l *library) bool { return l.rules.PublishEnds == notApproved }},
		{"add_news withdrawn", `{"news_withdrawn":true}`, func(l *library) bool { return l.rules.NewsWithdrawn }},
		{"an unknown kind", `{"media":{"M":"movie"}}`, nil},
		{"no kind", `{"media":{"M":null}}`, nil},
		{"no duration", `{"media_life":"three days"}`, nil},
		{"a negative duration", `{"publish_takes":"-1s"}`, nil},
		{"running is not an end", `{"publish_ends":1}`, nil},
		{"5 is not an end", `{"publish_ends":5}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLibrary()
			if err := l.put(libraryState{Media: map[string]*mediaFile{"old": {Kind: kefu.MediaImage, Permanent: true}}}); err != nil {
				t.Fatal(err)
			}
			was, _ := json.Marshal(l.get())
			var state libraryState
			err := json.Unmarshal([]byte(tt.doc), &state)
			if err == nil {
				err = l.put(state)
			}
			switch is, _ := json.Marshal(l.get()); {
			case tt.ok == nil && err == nil:
				t.Error("accepted")
			case tt.ok == nil && !bytes.Equal(is, was):
				t.Errorf("refused (%v), and yet changed", err)
			case tt.ok != nil && (err != nil || !tt.ok(l)):
				t.Errorf("not so; err %v", err)
			}
		})
	}
}
