package kefutest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
)

// addMaterial keeps data as permanent material. Pictures get a URL of their own.
func (l *library) addMaterial(now time.Time, kind kefu.MediaKind, name, title, intro string, data []byte) (*mediaFile, int) {
	format, code := checkFile("material", kind, data)
	if code != 0 {
		return nil, code
	}
	f := &mediaFile{
		Kind: kind, Name: name, Title: title, Intro: intro, Created: stamp(now), Permanent: true, Data: data,
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

// mediaID reads {"media_id"}.
func (c *call) mediaID() (id string, errcode int) {
	var in struct {
		MediaID string `json:"media_id"`
	}
	errcode = c.decode(&in)
	return in.MediaID, errcode
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
			items = append(items, item{MediaID: id, Content: &content, UpdateTime: time.Time(news.Created).Unix()})
			continue
		}
		listed := item{MediaID: id, Name: f.Name, UpdateTime: time.Time(f.Created).Unix()}
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
