package kefutest

import (
	"encoding/json"
	"html"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
)

// A newsItem is one to eight articles under one media id: a draft, or material of
// the old add_news.
type newsItem struct {
	ID       string        `json:"media_id"`
	Draft    bool          `json:"draft"`
	Created  stamp         `json:"created"`
	GoneAt   stamp         `json:"gone_at,omitzero"` // when its publication takes it out of the drafts
	Articles []newsArticle `json:"articles"`
}

func (n *newsItem) gone(now time.Time) bool {
	at := time.Time(n.GoneAt)
	return !at.IsZero() && !now.Before(at)
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
	n := &newsItem{ID: newID(), Draft: draft, Created: stamp(now)}
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

// largestNews is room for the most articles with the longest content, escaped.
const largestNews = 2 * mostArticles * longContent

func addNews(c *call) reply { return c.addArticles(false) }

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

// A newsAnswer is news as get_material, draft/get and batchget_material tell it.
type newsAnswer struct {
	NewsItem   []newsArticle `json:"news_item"`
	CreateTime int64         `json:"create_time"`
	UpdateTime int64         `json:"update_time"`
}

func (c *call) tell(n *newsItem) newsAnswer {
	created := time.Time(n.Created).Unix()
	return newsAnswer{c.library.newsOf(c.base, n), created, created}
}

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
