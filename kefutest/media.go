package kefutest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// mediaNews is the kind of a draft's or a news material's media id, the one that
// mpnews takes.
const mediaNews kefu.MediaKind = "news"

var mediaKinds = []kefu.MediaKind{kefu.MediaImage, kefu.MediaVoice, kefu.MediaVideo, kefu.MediaThumb, mediaNews}

// A mediaFile is one medium. In a state document its kind alone stands for a media id
// that is good for messages and has no bytes.
type mediaFile struct {
	Kind      kefu.MediaKind `json:"kind"`
	Name      string         `json:"name,omitempty"`         // as uploaded
	Title     string         `json:"title,omitempty"`        // of a permanent video
	Intro     string         `json:"introduction,omitempty"` // of a permanent video
	Path      string         `json:"path,omitempty"`         // where it is served, if it has a URL
	Created   stamp          `json:"created"`
	Permanent bool           `json:"permanent"`
	Data      []byte         `json:"data"`

	id, format string
}

// MarshalJSON implements [json.Marshaler].
func (f mediaFile) MarshalJSON() ([]byte, error) {
	if f.Data == nil {
		return encode(f.Kind), nil
	}
	type plain mediaFile // without this method
	return encode(plain(f)), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *mediaFile) UnmarshalJSON(b []byte) error {
	*f = mediaFile{Permanent: true}
	if json.Unmarshal(b, &f.Kind) == nil {
		return nil
	}
	type plain mediaFile // without this method
	return json.Unmarshal(b, (*plain)(f))
}

func (f *mediaFile) contentType() string { return contentType(f.format) }

// largestUpload is the most that an upload may weigh as a whole: above it nobody
// looks what it is (45001). It leaves room for a file above its own limit, which
// has a code of its own, and for the form around it.
const largestUpload = 16 << 20

// smallestFile: WeCom's page on media wants more than 5 bytes of every file. That
// 40006, unexplained in the list of media/upload, is the code for it is our reading.
const smallestFile = 6

// checkFile decides whether WeChat takes data as a file of kind through call
// ("upload", "uploadimg" or "material"), and names its format.
func checkFile(call string, kind kefu.MediaKind, data []byte) (format string, code int) {
	limits := kefu.MediaLimits()
	i := slices.IndexFunc(limits, func(l kefu.MediaLimit) bool { return l.Call == call && l.Kind == kind })
	if i < 0 {
		return "", 40004
	}
	limit, format := limits[i], fileFormat(data)
	switch {
	case len(data) == 0:
		return "", 44001
	case len(data) < smallestFile:
		return "", 40006
	case !slices.Contains(limit.Formats, format):
		return "", limit.CodeFormat
	case int64(len(data)) > limit.MaxBytes:
		return "", limit.CodeSize
	case limit.MaxLength > 0 && playTime(format, data) > limit.MaxLength:
		return "", 45007
	}
	return format, 0
}

// upload keeps data as temporary media.
func (l *library) upload(now time.Time, kind kefu.MediaKind, name string, data []byte) (*mediaFile, int) {
	format, code := checkFile("upload", kind, data)
	if code != 0 {
		return nil, code
	}
	f := &mediaFile{Kind: kind, Name: name, Created: stamp(now), Data: data, id: newID(), format: format}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now, len(data))
	if kind == kefu.MediaVideo {
		l.serve(f, "/vweixinp/", ".mp4")
	}
	l.files[f.id] = f
	return f, 0
}

// remembered is how many bytes of dead media a library keeps for its followers'
// phones, which go on showing them.
const remembered = 256 << 20

// forget makes room for more bytes: dead media go when there are too many.
func (l *library) forget(now time.Time, more int) {
	if l.bytes += more; l.bytes <= remembered {
		return
	}
	for id, f := range l.files {
		if !l.alive(f, now) {
			l.drop(id)
		}
	}
}

func (l *library) drop(id string) {
	f := l.files[id]
	l.bytes -= len(f.Data)
	delete(l.files, id)
	delete(l.served, f.Path)
	l.shelf = slices.DeleteFunc(l.shelf, func(on string) bool { return on == id })
}

// uploadImage keeps a picture for use by its URL. It has no media id and no end.
func (l *library) uploadImage(now time.Time, data []byte) (*mediaFile, int) {
	format, code := checkFile("uploadimg", kefu.MediaImage, data)
	if code != 0 {
		return nil, code
	}
	return l.keepPicture(now, format, data), 0
}

func (l *library) keepPicture(now time.Time, format string, data []byte) *mediaFile {
	f := &mediaFile{Kind: kefu.MediaImage, Created: stamp(now), Permanent: true, Data: data, format: format}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servePicture(f)
	return f
}

// servePicture gives f the kind of path that WeChat's pictures have.
func (l *library) servePicture(f *mediaFile) {
	l.serve(f, "/mmbiz_"+f.format+"/", "/0")
}

// lookUp returns the file with id if it is alive at now. What was registered or
// is accepted unseen has no file.
func (l *library) lookUp(now time.Time, id string) (*mediaFile, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[id]
	switch {
	case id == "":
		return nil, 41006
	case f == nil, f.Data == nil, !l.alive(f, now):
		return nil, 40007
	}
	return f, 0
}

// shown returns the bytes under a media id for the pages of the simulator, dead
// or alive: a follower's phone keeps what it got.
func (l *library) shown(id string) (*mediaFile, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[id]
	return f, f != nil && f.Data != nil
}

// at returns the file that is served at a URL path.
func (l *library) at(path string) (*mediaFile, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.served[path]
	return f, f != nil
}

func (l *library) alive(f *mediaFile, now time.Time) bool {
	return f.Permanent || now.Sub(time.Time(f.Created)) < l.rules.MediaLife
}

// checkMedia decides whether the media id can stand, at now, where a message
// wants one of kind: image, voice, video or thumb, or "news" (mpnews).
func (l *library) checkMedia(now time.Time, id string, kind kefu.MediaKind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, isFile := l.files[id]
	n, isNews := l.news[id]
	switch {
	case id == "":
		return 41006
	case l.rules.AcceptAnyID:
		return 0
	case isFile && !l.alive(f, now), isNews && n.gone(now), !isFile && !isNews:
		return 40007
	case isNews && kind == mediaNews, isFile && f.Kind == kind:
		return 0
	case isFile && kind == kefu.MediaThumb && f.Kind == kefu.MediaImage:
		return 0 // the page on miniprogrampage asks for the id of an image as its cover
	}
	return 40121
}

// serve gives f a URL path that cannot be guessed.
func (l *library) serve(f *mediaFile, before, after string) {
	f.Path = before + newID()[:32] + after
	l.served[f.Path] = f
}

// newID makes an id of the form and length of a media id of today.
func newID() string {
	var b [48]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

var mediaRoutes = []route{
	{path: "/cgi-bin/media/upload", method: http.MethodPost, daily: 100_000, maxBody: largestUpload, tooLarge: 45001, handle: uploadMedia},
	{path: "/cgi-bin/media/get", method: http.MethodGet, daily: 200_000, handle: getMedia},
	{path: "/cgi-bin/media/uploadimg", method: http.MethodPost, maxBody: largestUpload, tooLarge: 45001, handle: uploadImage},
}

func uploadMedia(c *call) reply {
	form := c.form("media")
	if form.code != 0 {
		return refuse(form.code)
	}
	kind := kefu.MediaKind(c.query.Get("type"))
	f, code := c.library.upload(c.now, kind, form.name, form.data)
	if code != 0 {
		return refuse(code)
	}
	out := struct {
		Type         kefu.MediaKind `json:"type"`
		MediaID      string         `json:"media_id,omitempty"`
		ThumbMediaID string         `json:"thumb_media_id,omitempty"`
		CreatedAt    int64          `json:"created_at"`
	}{Type: kind, CreatedAt: c.now.Unix()}
	if kind == kefu.MediaThumb {
		out.ThumbMediaID = f.id
	} else {
		out.MediaID = f.id
	}
	return answer(out)
}

func uploadImage(c *call) reply {
	// The call began as the cards' "upload logo", with a part named buffer.
	form := c.form("media", "buffer")
	if form.code != 0 {
		return refuse(form.code)
	}
	f, code := c.library.uploadImage(c.now, form.data)
	if code != 0 {
		return refuse(code)
	}
	return answer(map[string]string{"url": c.base + f.Path})
}

func getMedia(c *call) reply {
	f, code := c.library.lookUp(c.now, c.query.Get("media_id"))
	switch {
	case code != 0:
		return refuse(code)
	case f.Kind == kefu.MediaVideo:
		return answer(map[string]string{"video_url": c.base + f.Path})
	}
	return f.download()
}

// download answers with the file itself, as WeChat does. It is foreign bytes: no
// browser may take it for anything but what its first bytes say.
func (f *mediaFile) download() reply {
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			return '_' // an id that was registered may be anything
		}
		return r
	}, f.id)
	return file(f.Data, "Content-Type", f.contentType(), "X-Content-Type-Options", "nosniff",
		"Content-Disposition", `attachment; filename="`+name+"."+f.format+`"`)
}

// show answers with the file for a page to show.
func (f *mediaFile) show() reply {
	return file(f.Data, "Content-Type", f.contentType(), "X-Content-Type-Options", "nosniff",
		"Content-Security-Policy", "sandbox; default-src 'none'")
}

// visit answers a GET of what has a URL: a picture, a video or the page of an
// article. origin is "http://host", where the simulator is. found is false for a
// path that leads nowhere.
func (l *library) visit(now time.Time, origin, path string) (page reply, found bool) {
	if f, found := l.at(path); found {
		return f.show(), true
	}
	html, found := l.articlePage(now, path)
	return file(html, "Content-Type", "text/html; charset=utf-8", "X-Content-Type-Options", "nosniff",
		"Content-Security-Policy", sandboxed(origin), "Referrer-Policy", "no-referrer"), found
}

// media answers with the bytes under a media id, dead or alive, for the pages of
// the simulator.
func (l *library) media(id string) (bytes reply, found bool) {
	f, found := l.shown(id)
	if !found {
		return reply{}, false
	}
	return f.show(), true
}

// A formFile is the file in a multipart form, and the form's text fields.
type formFile struct {
	name   string
	data   []byte
	fields map[string]string
	code   int // 41005: the form has no file
}

// form reads the body as a form with the file in a part of one of these names. A
// part without a filename is no file to WeChat.
func (c *call) form(parts ...string) formFile {
	form := formFile{code: 41005, fields: map[string]string{}}
	kind, params, err := mime.ParseMediaType(c.contentType)
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return form
	}
	for r := multipart.NewReader(bytes.NewReader(c.body), params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err != nil {
			return form
		}
		data, err := io.ReadAll(part)
		switch {
		case err != nil: // the form broke off
			return form
		case part.FileName() != "" && slices.Contains(parts, part.FormName()):
			form.name, form.data, form.code = part.FileName(), data, 0
		default: // silenceper gives its fields file names, too
			form.fields[part.FormName()] = string(data)
		}
	}
}
