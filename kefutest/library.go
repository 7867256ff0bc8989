package kefutest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A library is what one account has stored with WeChat: temporary media and
// permanent material, the pictures of uploadimg, drafts, published articles. It
// keeps no clock: whoever asks says what time it is. Its methods answer with an
// errcode, 0 for yes. What it holds is never changed, only replaced, so what it
// hands out stays as it was.
type library struct {
	mu       sync.Mutex            // guards all below
	files    map[string]*mediaFile // by media id
	shelf    []string              // media ids of permanent files and news, oldest first
	served   map[string]*mediaFile // what has a URL, by its path
	news     map[string]*newsItem  // drafts and news material, by media id
	jobs     map[string]*publishJob
	articles map[string]*article // published or registered, by article_id
	pages    map[string]*newsArticle
	bytes    int // in files
	rules    libraryRules
}

// libraryRules are what the sources leave open or a test may want otherwise.
type libraryRules struct {
	AcceptAnyID   bool          // as the account is set
	MediaLife     time.Duration // of temporary media
	NewsWithdrawn bool          // material/add_news answers 45106, as it does since 2022-02-28
	PublishTakes  time.Duration // from freepublish/submit to the end of its job
	PublishEnds   int           // publish_status of the jobs to come: 0, or 2 to 4 for a failure
	MostPictures  int           // permanent images and news together
	MostFiles     int           // permanent voices, and videos, each
}

func newLibrary() *library {
	return &library{
		files:    map[string]*mediaFile{},
		served:   map[string]*mediaFile{},
		news:     map[string]*newsItem{},
		jobs:     map[string]*publishJob{},
		articles: map[string]*article{},
		pages:    map[string]*newsArticle{},
		rules: libraryRules{
			MediaLife:    3 * 24 * time.Hour,
			PublishTakes: 100 * time.Millisecond,
			MostPictures: 100_000,
			MostFiles:    1000,
		},
	}
}

// A libraryState is a library in a state document. In one that is put, a nil
// member leaves what it is about as it is.
type libraryState struct {
	Media        map[string]*mediaFile `json:"media"`    // by media id
	Pictures     []*mediaFile          `json:"pictures"` // have a URL and no media id
	News         []*newsItem           `json:"news"`     // drafts and news material
	Articles     []*article            `json:"articles"`
	Publications []*publishJob         `json:"publications"`

	MediaLife     *Duration `json:"media_life"`     // "72h"
	NewsWithdrawn *bool     `json:"news_withdrawn"` // material/add_news answers 45106
	PublishTakes  *Duration `json:"publish_takes"`  // "100ms"
	PublishEnds   *int      `json:"publish_ends"`   // publish_status of the jobs to come: 0, or 2 to 4
}

// get returns all of the library.
func (l *library) get() libraryState {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rules
	life, takes := Duration(r.MediaLife), Duration(r.PublishTakes)
	s := libraryState{
		Media:        maps.Clone(l.files),
		Pictures:     []*mediaFile{},
		News:         sorted(l.news),
		Articles:     sorted(l.articles),
		Publications: sorted(l.jobs),
		MediaLife:    &life, NewsWithdrawn: &r.NewsWithdrawn, PublishTakes: &takes, PublishEnds: &r.PublishEnds,
	}
	for _, f := range sorted(l.served) {
		if l.files[f.id] != f {
			s.Pictures = append(s.Pictures, f)
		}
	}
	return s
}

func sorted[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// put replaces what s names. On an error nothing is changed.
func (l *library) put(s libraryState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rules
	if s.MediaLife != nil {
		r.MediaLife = time.Duration(*s.MediaLife)
	}
	if s.PublishTakes != nil {
		r.PublishTakes = time.Duration(*s.PublishTakes)
	}
	if r.MediaLife < 0 || r.PublishTakes < 0 {
		return errors.New("media_life and publish_takes are durations such as \"72h\" and \"100ms\", not below 0")
	}
	if s.PublishEnds != nil {
		if r.PublishEnds = *s.PublishEnds; r.PublishEnds < published || r.PublishEnds > notApproved || r.PublishEnds == publishing {
			return fmt.Errorf("publish_ends: %d is not the end of a publication; those are 0, 2, 3 and 4", r.PublishEnds)
		}
	}
	if s.NewsWithdrawn != nil {
		r.NewsWithdrawn = *s.NewsWithdrawn
	}
	for id, f := range s.Media {
		if f == nil || !slices.Contains(mediaKinds, f.Kind) {
			return fmt.Errorf("media %q: the kind must be one of %v", id, mediaKinds)
		}
	}
	l.rules = r
	if s.Media != nil {
		maps.DeleteFunc(l.served, func(_ string, f *mediaFile) bool { return l.files[f.id] == f })
		l.files, l.bytes = map[string]*mediaFile{}, 0
		for id, f := range s.Media {
			f.id, f.format = id, fileFormat(f.Data)
			l.files[id] = f
			l.bytes += len(f.Data)
			if f.Path != "" {
				l.served[f.Path] = f
			}
		}
	}
	if s.Pictures != nil {
		maps.DeleteFunc(l.served, func(_ string, f *mediaFile) bool { return l.files[f.id] != f })
		for _, f := range s.Pictures {
			if f != nil && f.Path != "" {
				f.format = fileFormat(f.Data)
				l.served[f.Path] = f
			}
		}
	}
	for _, n := range s.News {
		if n != nil {
			paged(n.Articles)
		}
	}
	for _, a := range s.Articles {
		if a != nil {
			paged(a.Items)
		}
	}
	if s.News != nil {
		l.news = byID(s.News, func(n *newsItem) string { return n.ID })
	}
	if s.Articles != nil {
		l.articles = byID(s.Articles, func(a *article) string { return a.ID })
	}
	if s.Publications != nil {
		l.jobs = byID(s.Publications, func(j *publishJob) string { return j.ID })
	}
	l.index()
	return nil
}

// index makes what follows from the rest: the shelf and the pages.
func (l *library) index() {
	l.shelf, l.pages = nil, map[string]*newsArticle{}
	age := map[string]time.Time{}
	for id, f := range l.files {
		if f.Permanent && f.Data != nil {
			age[id] = time.Time(f.Created)
		}
	}
	for id, n := range l.news {
		if !n.Draft {
			age[id] = time.Time(n.Created)
		}
		l.open(n.Articles)
	}
	for _, a := range l.articles {
		l.open(a.Items)
	}
	l.shelf = slices.SortedFunc(maps.Keys(age), func(a, b string) int {
		return cmp.Or(age[a].Compare(age[b]), cmp.Compare(a, b))
	})
}

// paged gives a page to each article of a state document that has none of ours.
func paged(articles []newsArticle) {
	for i, a := range articles {
		if !strings.HasPrefix(a.URL, "/s/") {
			articles[i].URL = newPage()
		}
	}
}

// open makes the pages of articles reachable.
func (l *library) open(articles []newsArticle) {
	for i := range articles {
		l.pages[articles[i].URL] = &articles[i]
	}
}

func byID[V any](list []*V, id func(*V) string) map[string]*V {
	m := map[string]*V{}
	for _, v := range list {
		if v != nil {
			m[id(v)] = v
		}
	}
	return m
}
