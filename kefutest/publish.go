package kefutest

import (
	"bytes"
	"encoding/json"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
	ID        string  `json:"publish_id"`
	MsgDataID string  `json:"msg_data_id"`
	Done      stamp   `json:"done"`
	Status    int     `json:"publish_status"` // at its end
	Article   article `json:"article"`        // as it was when it appeared
}

// An article is what is published under one article_id: the articles of a draft.
// In a state document the id alone stands for one that only messages know.
type article struct {
	ID    string        `json:"article_id"`
	From  stamp         `json:"from,omitzero"` // when it appears
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
		Done:      stamp(end),
		Status:    l.rules.PublishEnds,
		Article:   article{ID: newID(), From: stamp(end)},
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
		gone.GoneAt = stamp(end)
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
	case now.Before(time.Time(job.Done)):
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
	if a.deleted() || now.Before(time.Time(a.From)) {
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
	c.later(time.Time(job.Done), func() {
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
