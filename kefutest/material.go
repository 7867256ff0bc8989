package kefutest

import (
	"bytes"
	"encoding/json"
	"html"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
)

// addMaterial keeps data as permanent material. Pictures get a URL of their own.
func (l *library) addMaterial(now time.Time, kind kefu.MediaKind, name, title, intro string, data []byte) (*mediaFile, int) {
	format, code := checkFile("material", kind, data)
	if code != 0 {
		return nil, code
	}
	f := &mediaFile{
		Kind: kind, Name: name, Title: title, Intro: intro, Created: now, Permanent: true, Data: data,
		id: newID(), format: format,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.room(kind) {
		return nil, 45034
	}
	if kind == kefu.MediaVideo {
		l.serve(f, "/vweixinp/", ".mp4")
	}
	if kind == kefu.MediaImage || kind == kefu.MediaThumb {
		l.servePicture(f)
	}
	l.bytes += len(data)
	l.files[f.id] = f
	l.shelf = append(l.shelf, f.id)
	return f, 0
}

// materialCount counts permanent material by the four kinds that WeChat shows.
type materialCount struct {
	Voice int `json:"voice_count"`
	Video int `json:"video_count"`
	Image int `json:"image_count"` // thumbs too
	News  int `json:"news_count"`
}

func (l *library) countMaterial() materialCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count()
}

func (l *library) count() (c materialCount) {
	for _, id := range l.shelf {
		switch l.shelfKind(id) {
		case kefu.MediaVoice:
			c.Voice++
		case kefu.MediaVideo:
			c.Video++
		case kefu.MediaImage:
			c.Image++
		case mediaNews:
			c.News++
		}
	}
	return c
}

// shelfKind is under which of the four kinds a permanent id is listed.
func (l *library) shelfKind(id string) kefu.MediaKind {
	f, ok := l.files[id]
	switch {
	case !ok:
		return mediaNews
	case f.Kind == kefu.MediaThumb:
		return kefu.MediaImage
	}
	return f.Kind
}

func (l *library) room(kind kefu.MediaKind) bool {
	c := l.count()
	switch kind {
	case kefu.MediaVoice:
		return c.Voice < l.rules.MostFiles
	case kefu.MediaVideo:
		return c.Video < l.rules.MostFiles
	}
	return c.Image+c.News < l.rules.MostPictures
}

// material returns what stands under a permanent id: a file or news.
func (l *library) material(id string) (*mediaFile, *newsItem, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == "" {
		return nil, nil, 41006
	}
	if f := l.files[id]; f != nil && f.Permanent && f.Data != nil {
		return f, nil, 0
	}
	if n := l.news[id]; n != nil && !n.Draft {
		return nil, n, 0
	}
	return nil, nil, 40007
}

// deleteMaterial takes a permanent id away. Its URL goes on serving the picture,
// as WeChat's do.
func (l *library) deleteMaterial(id string) int {
	_, news, code := l.material(id)
	if code != 0 {
		return code
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if news != nil {
		delete(l.news, id)
		l.shelf = slices.DeleteFunc(l.shelf, func(on string) bool { return on == id })
		return 0
	}
	if f := l.files[id]; f != nil {
		l.drop(id)
		if f.Path != "" {
			l.served[f.Path] = f
		}
	}
	return 0
}

// listMaterial returns a page of the permanent ids of kind, newest first, and how
// many there are.
func (l *library) listMaterial(kind kefu.MediaKind, offset, count int) (ids []string, total, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case kind != kefu.MediaImage && kind != kefu.MediaVoice && kind != kefu.MediaVideo && kind != mediaNews:
		return nil, 0, 40004
	case offset < 0, count < 1, count > 20:
		return nil, 0, 40097
	}
	for _, id := range slices.Backward(l.shelf) {
		if l.shelfKind(id) == kind {
			ids = append(ids, id)
		}
	}
	total = len(ids)
	ids = ids[min(offset, total):]
	return ids[:min(count, len(ids))], total, 0
}

// A newsItem is one to eight articles under one media id: a draft, or material of
// the old add_news.
type newsItem struct {
	ID       string        `json:"media_id"`
	Draft    bool          `json:"draft"`
	Created  time.Time     `json:"created"`
	GoneAt   time.Time     `json:"gone_at,omitzero"` // when its publication takes it out of the drafts
	Articles []newsArticle `json:"articles"`
}

func (n *newsItem) gone(now time.Time) bool {
	return !n.GoneAt.IsZero() && !now.Before(n.GoneAt)
}

// A newsArticle is one article as the account wrote it, and its page.
type newsArticle struct {
	Type             string          `json:"article_type,omitempty"`
	Title            string          `json:"title"`
	Author           string          `json:"author"`
	Digest           string          `json:"digest"`
	Content          string          `json:"content"`
	ContentSourceURL string          `json:"content_source_url"`
	ThumbMediaID     string          `json:"thumb_media_id"`
	ShowCoverPic     looseFlag       `json:"show_cover_pic"`
	OpenComment      looseFlag       `json:"need_open_comment"`
	FansComment      looseFlag       `json:"only_fans_can_comment"`
	ImageInfo        json.RawMessage `json:"image_info,omitempty"` // of article_type newspic
	URL              string          `json:"url,omitempty"`        // path of its page; whole in an answer
	ThumbURL         string          `json:"thumb_url,omitempty"`
	Deleted          bool            `json:"is_deleted"`
}

// A looseFlag is 0 or 1; client libraries also send "1", true and "true".
type looseFlag int

// UnmarshalJSON implements [json.Unmarshaler].
func (f *looseFlag) UnmarshalJSON(b []byte) error {
	*f = 0
	if s := strings.ToLower(strings.Trim(string(b), `"`)); s == "1" || s == "true" {
		*f = 1
	}
	return nil
}

// coverID is the media id of the article's cover; of a picture article, of its
// first picture.
func (n *newsArticle) coverID() string {
	if n.Type != "newspic" {
		return n.ThumbMediaID
	}
	var info struct {
		List []struct {
			ID string `json:"image_media_id"`
		} `json:"image_list"`
	}
	if json.Unmarshal(n.ImageInfo, &info) != nil || len(info.List) == 0 {
		return ""
	}
	return info.List[0].ID
}

// What an article may have, in characters; the content in bytes. WeChat's page says
// "under 20,000 characters, under 1 MB" of the content; of the others sources name
// several numbers, and these are the largest, so that nothing is refused here that
// WeChat may take.
const (
	mostArticles = 8
	longTitle    = 64
	longAuthor   = 16
	longDigest   = 128
	longContent  = 1 << 20
)

// addNews keeps articles as a draft or, the old way, as news material.
func (l *library) addNews(now time.Time, draft bool, articles []newsArticle) (*newsItem, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !draft && l.rules.NewsWithdrawn:
		return nil, 45106
	case len(articles) == 0:
		return nil, 44003
	case len(articles) > mostArticles:
		return nil, 45008
	case !draft && !l.room(mediaNews):
		return nil, 45034
	}
	for _, a := range articles {
		if code := l.checkArticle(&a); code != 0 {
			return nil, code
		}
	}
	n := &newsItem{ID: newID(), Draft: draft, Created: now}
	for _, a := range articles {
		if a.Digest == "" && len(articles) == 1 {
			a.Digest = firstWords(a.Content)
		}
		a.URL, a.ThumbURL, a.Deleted = newPage(), "", false // not the caller's to say
		n.Articles = append(n.Articles, a)
	}
	l.open(n.Articles)
	l.news[n.ID] = n
	if !draft {
		l.shelf = append(l.shelf, n.ID)
	}
	return n, 0
}

func (l *library) checkArticle(a *newsArticle) int {
	switch {
	case a.Title == "":
		return 40227
	case utf8.RuneCountInString(a.Title) > longTitle:
		return 45003
	case utf8.RuneCountInString(a.Author) > longAuthor:
		return 45110
	case utf8.RuneCountInString(a.Digest) > longDigest:
		return 45004
	case a.Content == "":
		return 44004
	case len(a.Content) > longContent:
		return 45002
	}
	cover := l.files[a.coverID()]
	if !l.rules.AcceptAnyID && (cover == nil || !cover.Permanent || cover.Kind != kefu.MediaImage && cover.Kind != kefu.MediaThumb) {
		return 40007
	}
	return 0
}

// newPage makes the path of an article's page.
func newPage() string { return "/s/" + newID()[:22] }

// firstWords is the digest WeChat makes of an article without one: the first 54
// characters of its text.
func firstWords(content string) string {
	var text strings.Builder
	for content != "" {
		before, tag, _ := strings.Cut(content, "<")
		text.WriteString(before)
		_, content, _ = strings.Cut(tag, ">")
		text.WriteByte(' ')
	}
	words := []rune(strings.Join(strings.Fields(html.UnescapeString(text.String())), " "))
	return string(words[:min(54, len(words))])
}

// draftItem returns the draft with id that still is one at now.
func (l *library) draftItem(now time.Time, id string) (*newsItem, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.news[id]
	switch {
	case id == "":
		return nil, 41006
	case n == nil || !n.Draft || n.gone(now):
		return nil, 40007
	}
	return n, 0
}

func (l *library) deleteDraft(now time.Time, id string) int {
	if _, code := l.draftItem(now, id); code != 0 {
		return code
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.news, id)
	return 0
}

// How a publication ends: publish_status of freepublish/get.
const (
	published     = 0
	publishing    = 1
	notOriginal   = 2
	publishFailed = 3
	notApproved   = 4
	allDeleted    = 5
)

// A publishJob is what freepublish/submit starts. What it does at its end is laid
// down at its start, so that every look at it needs only the time.
type publishJob struct {
	ID        string    `json:"publish_id"`
	MsgDataID string    `json:"msg_data_id"`
	Done      time.Time `json:"done"`
	Status    int       `json:"publish_status"` // at its end
	Article   article   `json:"article"`        // as it was when it appeared
}

// An article is what is published under one article_id: the articles of a draft.
// In a state document the id alone stands for one that only messages know.
type article struct {
	ID    string        `json:"article_id"`
	From  time.Time     `json:"from,omitzero"` // when it appears
	Items []newsArticle `json:"news_item"`
}

// MarshalJSON implements [json.Marshaler].
func (a article) MarshalJSON() ([]byte, error) {
	if len(a.Items) == 0 {
		return encode(a.ID), nil
	}
	type plain article // without this method
	return encode(plain(a)), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (a *article) UnmarshalJSON(b []byte) error {
	*a = article{}
	if json.Unmarshal(b, &a.ID) == nil {
		return nil
	}
	type plain article // without this method
	return json.Unmarshal(b, (*plain)(a))
}

// submit starts the publication of a draft. If it succeeds, the draft leaves the
// draft box at its end, as the page of draft/add says.
func (l *library) submit(now time.Time, draftID string) (*publishJob, int) {
	n, code := l.draftItem(now, draftID)
	if code != 0 {
		return nil, code
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end := now.Add(l.rules.PublishTakes)
	job := &publishJob{
		ID:        strconv.Itoa(100000001 + len(l.jobs)),
		MsgDataID: strconv.FormatInt(2247483647+int64(len(l.jobs)), 10),
		Done:      end,
		Status:    l.rules.PublishEnds,
		Article:   article{ID: newID(), From: end},
	}
	for _, a := range n.Articles {
		a.URL = newPage()
		job.Article.Items = append(job.Article.Items, a)
	}
	l.jobs[job.ID] = job
	if job.Status == published {
		l.articles[job.Article.ID] = &job.Article
		l.open(job.Article.Items)
		gone := *n
		gone.GoneAt = end
		l.news[n.ID] = &gone
	}
	return job, 0
}

// A publication is the state of a publishJob, as freepublish/get and
// PUBLISHJOBFINISH tell it.
type publication struct {
	PublishID any            `json:"publish_id"`
	Status    int            `json:"publish_status"`
	ArticleID string         `json:"article_id,omitempty"`
	Detail    *publishDetail `json:"article_detail,omitempty"`
	FailIdx   []int          `json:"fail_idx"` // from 1; of statuses 2 and 4
}

type publishDetail struct {
	Count int           `json:"count"`
	Item  []publishItem `json:"item"`
}

type publishItem struct {
	Idx int    `json:"idx"` // from 1
	URL string `json:"article_url"`
}

// publication looks a job up at now; base is put before the articles' paths.
func (l *library) publication(now time.Time, base, publishID string) (publication, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	job := l.jobs[publishID]
	if job == nil {
		return publication{}, 53502
	}
	p := publication{PublishID: job.ID, Status: job.Status, FailIdx: []int{}}
	switch {
	case now.Before(job.Done):
		p.Status = publishing
	case job.Status == notOriginal, job.Status == notApproved:
		for i := range job.Article.Items {
			p.FailIdx = append(p.FailIdx, i+1)
		}
	case job.Status == published && l.articles[job.Article.ID].deleted():
		p.Status = allDeleted
	case job.Status == published:
		p.ArticleID, p.Detail = job.Article.ID, &publishDetail{Count: len(job.Article.Items)}
		for i, a := range job.Article.Items {
			p.Detail.Item = append(p.Detail.Item, publishItem{Idx: i + 1, URL: base + a.URL})
		}
	}
	return p, 0
}

// deleted reports whether nothing is left of a; one that is gone altogether is not
// of the account any more.
func (a *article) deleted() bool {
	return a == nil || len(a.Items) > 0 && !slices.ContainsFunc(a.Items, func(n newsArticle) bool { return !n.Deleted })
}

// checkArticleID decides whether mpnewsarticle can carry id at now.
func (l *library) checkArticleID(now time.Time, id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules.AcceptAnyID && id != "" {
		return 0
	}
	_, code := l.article(now, id)
	return code
}

func (l *library) article(now time.Time, id string) (*article, int) {
	a := l.articles[id]
	if a.deleted() || now.Before(a.From) {
		return nil, 53600
	}
	return a, 0
}

// publishedNews returns the articles under an article_id, the deleted ones marked.
func (l *library) publishedNews(now time.Time, base, id string) ([]newsArticle, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, code := l.article(now, id)
	if code != 0 {
		return nil, code
	}
	return l.told(base, a.Items), 0
}

// deleteArticle deletes the index-th article (from 1), or all for 0.
func (l *library) deleteArticle(now time.Time, id string, index int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, code := l.article(now, id)
	switch {
	case code != 0:
		return code
	case index < 0 || index > len(a.Items):
		return 40097
	}
	left := *a
	left.Items = nil
	for i, n := range a.Items {
		n.Deleted = n.Deleted || index == 0 || index == i+1
		left.Items = append(left.Items, n)
	}
	l.articles[id] = &left
	l.open(left.Items)
	return 0
}

// newsOf returns the articles of a draft or news material as an answer tells them.
func (l *library) newsOf(base string, n *newsItem) []newsArticle {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told(base, n.Articles)
}

func (l *library) told(base string, articles []newsArticle) []newsArticle {
	out := slices.Clone(articles)
	for i, a := range articles {
		out[i].URL = base + a.URL
		if cover := l.coverPath(&a); cover != "" {
			out[i].ThumbURL = base + cover
		}
	}
	return out
}

func (l *library) coverPath(a *newsArticle) string {
	if f := l.files[a.coverID()]; f != nil {
		return f.Path
	}
	return ""
}

// articleCard returns what the follower's phone draws for mpnews (a media id) or
// mpnewsarticle (an article_id): the first article, its cover and page as paths
// of the simulator.
func (l *library) articleCard(id string) (title, digest, coverURL, url string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var articles []newsArticle
	if n := l.news[id]; n != nil {
		articles = n.Articles
	} else if a := l.articles[id]; a != nil {
		articles = a.Items
	}
	if len(articles) == 0 {
		return "", "", "", "", false
	}
	a := &articles[0]
	return a.Title, a.Digest, l.coverPath(a), a.URL, true
}

// articlePage returns the page at path. Its content is whatever the account
// wrote: serve it only with [sandboxed].
func (l *library) articlePage(now time.Time, path string) (page []byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.pages[path]
	if a == nil || a.Deleted {
		return nil, false
	}
	var source string
	if strings.HasPrefix(a.ContentSourceURL, "https://") || strings.HasPrefix(a.ContentSourceURL, "http://") {
		source = a.ContentSourceURL
	}
	var b bytes.Buffer
	err := articleTemplate.Execute(&b, struct {
		*newsArticle
		Cover, Source string
		Body          template.HTML
	}{a, l.coverPath(a), source, template.HTML(a.Content)})
	return b.Bytes(), err == nil
}

// sandboxed is the Content-Security-Policy of everything that is made of foreign
// bytes: no script runs, no form is sent, no origin is shared with the simulator's
// own pages. Pictures come from the simulator and from nowhere else, as WeChat too
// drops those of other hosts; it is named by its origin, since "self" is nobody in a
// sandbox.
func sandboxed(origin string) string {
	_, host, _ := strings.Cut(origin, "://") // without a scheme: that of the page
	return "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src " + host + " data:; media-src " + host
}

var articleTemplate = template.Must(template.New("article").Parse(`<!doctype html>
<html lang="zh-CN">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{.Title}}</title>
<style>
body{max-width:677px;margin:0 auto;padding:20px 16px 48px;font:17px/1.6 system-ui,sans-serif;color:#222;overflow-wrap:anywhere}
h1{font-size:22px;line-height:1.4;margin:0 0 12px}
.by{color:#888;font-size:15px;margin:0 0 20px}
img{max-width:100%;height:auto}
.more{margin-top:32px;font-size:15px}
@media (prefers-color-scheme:dark){body{background:#191919;color:#ddd}a{color:#7d90b9}}
</style>
<h1>{{.Title}}</h1>
<p class="by">{{.Author}}</p>
{{if and .ShowCoverPic .Cover}}<p><img src="{{.Cover}}" alt=""></p>{{end}}
<article>{{.Body}}</article>
{{if .Source}}<p class="more"><a href="{{.Source}}" rel="noreferrer">阅读原文</a></p>{{end}}
</html>
`))

var materialRoutes = []route{
	{path: "/cgi-bin/material/add_material", method: http.MethodPost, maxBody: largestUpload, tooLarge: 45001, handle: addMaterial},
	{path: "/cgi-bin/material/add_news", method: http.MethodPost, maxBody: largestNews, handle: addNews},
	{path: "/cgi-bin/material/get_material", method: http.MethodPost, handle: getMaterial},
	{path: "/cgi-bin/material/del_material", method: http.MethodPost, handle: deleteMaterial},
	{path: "/cgi-bin/material/batchget_material", method: http.MethodPost, handle: listMaterial},
	{path: "/cgi-bin/material/get_materialcount", method: http.MethodGet, handle: countMaterial},
	{path: "/cgi-bin/draft/add", method: http.MethodPost, daily: 1000, maxBody: largestNews, handle: addDraft},
	{path: "/cgi-bin/draft/get", method: http.MethodPost, daily: 500, handle: getDraft},
	{path: "/cgi-bin/draft/delete", method: http.MethodPost, handle: deleteDraft},
	{path: "/cgi-bin/freepublish/submit", method: http.MethodPost, daily: 100, handle: submitDraft},
	{path: "/cgi-bin/freepublish/get", method: http.MethodPost, daily: 100, handle: getPublication},
	{path: "/cgi-bin/freepublish/getarticle", method: http.MethodPost, handle: getArticle},
	{path: "/cgi-bin/freepublish/delete", method: http.MethodPost, daily: 10, handle: deleteArticle},
}

// largestNews is room for the most articles with the longest content, escaped.
const largestNews = 2 * mostArticles * longContent

func addMaterial(c *call) reply {
	form := c.form("media")
	if form.code != 0 {
		return refuse(form.code)
	}
	var video struct {
		Title        string `json:"title"`
		Introduction string `json:"introduction"`
	}
	kind := kefu.MediaKind(c.query.Get("type"))
	if text := form.fields["description"]; kind == kefu.MediaVideo && text != "" && json.Unmarshal([]byte(text), &video) != nil {
		return refuse(47001)
	}
	f, code := c.library.addMaterial(c.now, kind, form.name, video.Title, video.Introduction, form.data)
	if code != 0 {
		return refuse(code)
	}
	out := struct {
		MediaID string `json:"media_id"`
		URL     string `json:"url,omitempty"`
	}{MediaID: f.id}
	if kind == kefu.MediaImage {
		out.URL = c.base + f.Path
	}
	return answer(out)
}

func addNews(c *call) reply  { return c.addArticles(false) }
func addDraft(c *call) reply { return c.addArticles(true) }

func (c *call) addArticles(draft bool) reply {
	var in struct {
		Articles []newsArticle `json:"articles"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	n, code := c.library.addNews(c.now, draft, in.Articles)
	if code != 0 {
		return refuse(code)
	}
	return answer(map[string]string{"media_id": n.ID})
}

// mediaID reads {"media_id"}.
func (c *call) mediaID() (id string, errcode int) {
	var in struct {
		MediaID string `json:"media_id"`
	}
	errcode = c.decode(&in)
	return in.MediaID, errcode
}

// A newsAnswer is news as get_material, draft/get and batchget_material tell it.
type newsAnswer struct {
	NewsItem   []newsArticle `json:"news_item"`
	CreateTime int64         `json:"create_time"`
	UpdateTime int64         `json:"update_time"`
}

func (c *call) tell(n *newsItem) newsAnswer {
	return newsAnswer{c.library.newsOf(c.base, n), n.Created.Unix(), n.Created.Unix()}
}

func getMaterial(c *call) reply {
	id, code := c.mediaID()
	if code != 0 {
		return refuse(code)
	}
	f, news, code := c.library.material(id)
	switch {
	case code != 0:
		return refuse(code)
	case news != nil:
		return answer(c.tell(news))
	case f.Kind == kefu.MediaVideo:
		return answer(map[string]string{"title": f.Title, "description": f.Intro, "down_url": c.base + f.Path})
	}
	return f.download()
}

func deleteMaterial(c *call) reply {
	id, code := c.mediaID()
	if code == 0 {
		code = c.library.deleteMaterial(id)
	}
	return refuse(code)
}

func listMaterial(c *call) reply {
	var in struct {
		Type   kefu.MediaKind `json:"type"`
		Offset int            `json:"offset"`
		Count  int            `json:"count"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	ids, total, code := c.library.listMaterial(in.Type, in.Offset, in.Count)
	if code != 0 {
		return refuse(code)
	}
	type item struct {
		MediaID    string      `json:"media_id"`
		Name       string      `json:"name,omitempty"`
		Content    *newsAnswer `json:"content,omitempty"`
		UpdateTime int64       `json:"update_time"`
		URL        string      `json:"url,omitempty"`
	}
	items := []item{}
	for _, id := range ids {
		f, news, _ := c.library.material(id)
		if news != nil {
			content := c.tell(news)
			items = append(items, item{MediaID: id, Content: &content, UpdateTime: news.Created.Unix()})
			continue
		}
		listed := item{MediaID: id, Name: f.Name, UpdateTime: f.Created.Unix()}
		if f.Path != "" {
			listed.URL = c.base + f.Path
		}
		items = append(items, listed)
	}
	return answer(struct {
		Item       []item `json:"item"`
		TotalCount int    `json:"total_count"`
		ItemCount  int    `json:"item_count"`
	}{items, total, len(items)})
}

func countMaterial(c *call) reply { return answer(c.library.countMaterial()) }

func getDraft(c *call) reply {
	id, code := c.mediaID()
	if code != 0 {
		return refuse(code)
	}
	n, code := c.library.draftItem(c.now, id)
	if code != 0 {
		return refuse(code)
	}
	return answer(c.tell(n))
}

func deleteDraft(c *call) reply {
	id, code := c.mediaID()
	if code == 0 {
		code = c.library.deleteDraft(c.now, id)
	}
	return refuse(code)
}

func submitDraft(c *call) reply {
	id, code := c.mediaID()
	if code != 0 {
		return refuse(code)
	}
	job, code := c.library.submit(c.now, id)
	if code != 0 {
		return refuse(code)
	}
	c.tellOfPublication(job)
	return answer(struct {
		ErrCode   int    `json:"errcode"`
		ErrMsg    string `json:"errmsg"`
		PublishID any    `json:"publish_id"`
		MsgDataID any    `json:"msg_data_id"`
	}{0, "ok", c.publishID(job.ID), c.publishID(job.MsgDataID)})
}

// massHelper is the openid from which WeChat pushes what came of a publication.
// Source: the page of PUBLISHJOBFINISH.
const massHelper = "mphelper"

// tellOfPublication pushes PUBLISHJOBFINISH at the end of the job.
func (c *call) tellOfPublication(job *publishJob) {
	sim, a, base := c.sim, c.account, c.base
	c.later(job.Done, func() {
		sim.mu.Lock()
		p, code := a.library.publication(sim.now(), base, job.ID)
		event := p.event(a.Format == "json")
		sim.mu.Unlock()
		if code == 0 { // else a reset forgot it
			sim.push(a, massHelper, event)
		}
	})
}

// event is what is pushed of p. What there can be several of is a list in JSON, and
// repeated in XML.
func (p publication) event(list bool) fields {
	info := fields{{"publish_id", p.PublishID}, {"publish_status", int64(p.Status)}}
	if p.Detail != nil {
		var items []fields
		for _, item := range p.Detail.Item {
			items = append(items, fields{{"idx", int64(item.Idx)}, {"article_url", item.URL}})
		}
		detail := fields{{"count", int64(p.Detail.Count)}}
		info = append(info, field{"article_id", p.ArticleID}, field{"article_detail", several(detail, list, "item", items)})
	}
	var failed []int64
	for _, idx := range p.FailIdx {
		failed = append(failed, int64(idx))
	}
	info = several(info, list, "fail_idx", failed)
	return fields{{"MsgType", "event"}, {"Event", "PUBLISHJOBFINISH"}, {"PublishEventInfo", info}}
}

func several[V any](f fields, list bool, name string, values []V) fields {
	if list && len(values) > 0 {
		return append(f, field{name, values})
	}
	for _, v := range values {
		f = append(f, field{name, v})
	}
	return f
}

func getPublication(c *call) reply {
	var in struct {
		PublishID looseID `json:"publish_id"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	p, code := c.library.publication(c.now, c.base, string(in.PublishID))
	if code != 0 {
		return refuse(code)
	}
	p.PublishID = c.publishID(string(in.PublishID))
	return answer(p)
}

// A looseID is a number in JSON, quoted or not: WeChat's page says string, and
// client libraries send both.
type looseID string

// UnmarshalJSON implements [json.Unmarshaler].
func (id *looseID) UnmarshalJSON(b []byte) error {
	*id = looseID(strings.Trim(string(b), `"`))
	return nil
}

func getArticle(c *call) reply {
	id, _, code := c.articleID()
	if code != 0 {
		return refuse(code)
	}
	articles, code := c.library.publishedNews(c.now, c.base, id)
	if code != 0 {
		return refuse(code)
	}
	return answer(struct {
		NewsItem []newsArticle `json:"news_item"`
	}{articles})
}

func deleteArticle(c *call) reply {
	id, index, code := c.articleID()
	if code == 0 {
		code = c.library.deleteArticle(c.now, id, index)
	}
	return refuse(code)
}

func (c *call) articleID() (id string, index, errcode int) {
	var in struct {
		ArticleID string `json:"article_id"`
		Index     int    `json:"index"`
	}
	errcode = c.decode(&in)
	return in.ArticleID, in.Index, errcode
}
