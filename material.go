package kefu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A PermanentID names material or a draft that WeChat keeps until it is deleted.
// Convert it to a [MediaID] to send it.
type PermanentID string

// Material is what [Client.AddMaterial] stored.
type Material struct {
	ID  PermanentID `json:"media_id"`
	URL string      `json:"url,omitempty"` // of images
}

// VideoDescription goes with a permanent video.
type VideoDescription struct {
	Title        string `json:"title"`
	Introduction string `json:"introduction"`
}

// AddMaterial stores a file for good. It is checked like [Client.Upload];
// description is for videos and may be zero otherwise. An account holds 100,000
// pictures and articles, and 1,000 of the other kinds.
//
// Source: facts of /cgi-bin/material/add_material.
func (c *Client) AddMaterial(ctx context.Context, kind MediaKind, name string, file io.Reader, description VideoDescription) (Material, error) {
	var fields map[string]string
	if kind == MediaVideo {
		text, err := marshal(description)
		if err != nil {
			return Material{}, err
		}
		fields = map[string]string{"description": string(text)}
	}
	m, err := upload[Material](ctx, c, "material", "/cgi-bin/material/add_material", kind, name, file, fields)
	return m, needID("/cgi-bin/material/add_material", string(m.ID), err)
}

// A DraftArticle is an article of the account, as in its editor; not to be
// confused with the [Article] of a news message, which opens a foreign page.
type DraftArticle struct {
	Title            string      `json:"title"`
	ThumbMediaID     PermanentID `json:"thumb_media_id"` // the cover; temporary ids are refused (40007)
	Author           string      `json:"author,omitempty"`
	Digest           string      `json:"digest,omitempty"` // default: the start of the content
	Content          string      `json:"content"`          // HTML; pictures by URLs of [Client.UploadImage]
	ContentSourceURL string      `json:"content_source_url,omitempty"`
	// ShowCoverPic puts the cover at the head of the article. It belongs to
	// [Client.AddNews]; drafts show covers by their own rules and ignore it.
	ShowCoverPic       Bit `json:"show_cover_pic"`
	NeedOpenComment    Bit `json:"need_open_comment"`
	OnlyFansCanComment Bit `json:"only_fans_can_comment"`
}

// A Bit is a yes or no that WeChat writes as 1 or 0.
type Bit bool

// MarshalJSON writes 1 or 0.
func (b Bit) MarshalJSON() ([]byte, error) {
	if b {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// UnmarshalJSON reads 1 or 0, true or false.
func (b *Bit) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "1", "true":
		*b = true
	case "0", "false", "null":
		*b = false
	default:
		return fmt.Errorf("want 0 or 1, got %s", excerpt(data))
	}
	return nil
}

// AddDraft stores articles as a draft. Its id can be sent as [MPNews] and
// published with [Client.Publish].
//
// Source: facts of /cgi-bin/draft/add.
func (c *Client) AddDraft(ctx context.Context, articles ...DraftArticle) (PermanentID, error) {
	return c.addArticles(ctx, "/cgi-bin/draft/add", articles)
}

// AddNews stores articles as old permanent material, which can be sent as
// [MPNews]. WeChat has withdrawn the call in favour of [Client.AddDraft].
//
// Source: facts of /cgi-bin/material/add_news.
func (c *Client) AddNews(ctx context.Context, articles ...DraftArticle) (PermanentID, error) {
	return c.addArticles(ctx, "/cgi-bin/material/add_news", articles)
}

func (c *Client) addArticles(ctx context.Context, path string, articles []DraftArticle) (PermanentID, error) {
	m, err := post[Material](ctx, c, path, struct {
		Articles []DraftArticle `json:"articles"`
	}{articles})
	return m.ID, needID(path, string(m.ID), err)
}

// Publish begins to publish a draft and returns the job's id for
// [Client.Publication]. WeChat also tells the end by the event PUBLISHJOBFINISH.
// 100 a day.
//
// Source: facts of /cgi-bin/freepublish/submit.
func (c *Client) Publish(ctx context.Context, draft PermanentID) (publishID string, err error) {
	const path = "/cgi-bin/freepublish/submit"
	res, err := post[struct {
		PublishID flexID `json:"publish_id"`
	}](ctx, c, path, struct {
		MediaID PermanentID `json:"media_id"`
	}{draft})
	return string(res.PublishID), needID(path, string(res.PublishID), err)
}

// A PublishStatus is the state of a publishing job.
type PublishStatus int

const (
	Published          PublishStatus = 0
	Publishing         PublishStatus = 1
	PublishNotOriginal PublishStatus = 2 // failed the check for originality
	PublishFailed      PublishStatus = 3
	PublishRefused     PublishStatus = 4 // by the platform's review
	PublishDeleted     PublishStatus = 5 // the account deleted all of it
	PublishBanned      PublishStatus = 6 // the platform took all of it down
)

func (s PublishStatus) String() string {
	names := []string{"published", "publishing", "not original", "failed", "refused by review", "deleted", "banned"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int(s))
	}
	return names[s]
}

// A Publication is the state of a publishing job and, once it is published, its
// article.
type Publication struct {
	Status    PublishStatus
	ArticleID string   // what [MPNewsArticle] takes
	URLs      []string // of the articles, in their order
	Failed    []int    // places (from 1) of articles that failed
}

// Publication asks what became of a publishing job. An unknown id is 53502. An account
// may ask 100 times a day (45009); the event PUBLISHJOBFINISH tells it without asking.
// With an error the status is [Publishing].
//
// Source: facts of /cgi-bin/freepublish/get.
func (c *Client) Publication(ctx context.Context, publishID string) (Publication, error) {
	res, err := post[struct {
		Status    *PublishStatus `json:"publish_status"`
		ArticleID string         `json:"article_id"`
		Detail    struct {
			Items []struct {
				URL string `json:"article_url"`
			} `json:"item"`
		} `json:"article_detail"`
		Failed []int `json:"fail_idx"`
	}](ctx, c, "/cgi-bin/freepublish/get", struct {
		PublishID string `json:"publish_id"`
	}{publishID})
	if err == nil && res.Status == nil {
		err = &TransportError{Op: "freepublish/get", Status: http.StatusOK, class: ErrUnknownOutcome, Err: errors.New("an answer without publish_status")}
	}
	if err != nil {
		return Publication{Status: Publishing}, err
	}
	p := Publication{Status: *res.Status, ArticleID: res.ArticleID, Failed: res.Failed}
	for _, item := range res.Detail.Items {
		p.URLs = append(p.URLs, item.URL)
	}
	return p, nil
}

// WaitPublished asks until the job is not [Publishing] any more or ctx ends: every
// interval, or by default after 5 s, 10 s, 20 s, 40 s and then every minute, for an
// account may ask only 100 times a day, of all its jobs.
func (c *Client) WaitPublished(ctx context.Context, publishID string, every time.Duration) (Publication, error) {
	pause := func() time.Duration { return every }
	if every <= 0 {
		next := 5 * time.Second
		pause = func() (now time.Duration) {
			now, next = next, min(2*next, time.Minute)
			return now
		}
	}
	for {
		p, err := c.Publication(ctx, publishID)
		if err != nil || p.Status != Publishing {
			return p, err
		}
		if err := sleep(ctx, pause()); err != nil {
			return p, err
		}
	}
}

// flexID is an id that WeChat writes as a string in one place and as a number in
// another.
type flexID string

func (id *flexID) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(id))
	}
	*id = flexID(data)
	return nil
}

func needID(path, id string, err error) error {
	if err == nil && id == "" {
		return &TransportError{Op: opOf(path), Status: http.StatusOK, class: ErrUnknownOutcome, Err: errors.New("an answer without the id")}
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
