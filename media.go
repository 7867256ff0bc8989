package kefu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A MediaKind is what a file is to WeChat.
type MediaKind string

const (
	MediaImage MediaKind = "image"
	MediaVoice MediaKind = "voice"
	MediaVideo MediaKind = "video"
	MediaThumb MediaKind = "thumb" // the cover of a video, a song or an article
)

// A TemporaryID names media that WeChat keeps for [MediaLife]. Convert it to a
// [MediaID] to send it.
type TemporaryID string

// MediaLife is how long WeChat keeps temporary media.
const MediaLife = 72 * time.Hour

// Media is what [Client.Upload] stored.
type Media struct {
	Kind      MediaKind
	ID        TemporaryID
	CreatedAt time.Time // WeChat's clock; the id is dead [MediaLife] later (40007)
}

// A FileError is a file that was not sent because WeChat would refuse it. It
// unwraps to [ErrMediaInvalid].
type FileError struct {
	Name   string
	Kind   MediaKind
	Code   int // WeChat's errcode for it
	Reason string
	Zh     string
	Source string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s as %s: %s (WeChat: %d; source: %s)", e.Name, e.Kind, e.Reason, e.Code, e.Source)
}

// Unwrap returns [ErrMediaInvalid].
func (e *FileError) Unwrap() error { return ErrMediaInvalid }

// Upload stores a picture, voice, video or cover for three days. The file is
// read whole (at most 10 MB) and checked against the rows of [MediaLimits] for
// size and format before it leaves; what is unfit is a [*FileError]. Its own
// name travels along; only the last element of the path.
//
// Source: facts of /cgi-bin/media/upload.
func (c *Client) Upload(ctx context.Context, kind MediaKind, name string, file io.Reader) (Media, error) {
	res, err := upload[struct {
		Type         MediaKind   `json:"type"`
		MediaID      TemporaryID `json:"media_id"`
		ThumbMediaID TemporaryID `json:"thumb_media_id"` // of thumbs
		CreatedAt    int64       `json:"created_at"`
	}](ctx, c, "upload", "/cgi-bin/media/upload", kind, name, file, nil)
	if err != nil {
		return Media{}, err
	}
	m := Media{Kind: kind, ID: res.MediaID, CreatedAt: time.Unix(res.CreatedAt, 0)}
	if m.ID == "" {
		m.ID = res.ThumbMediaID
	}
	if m.ID == "" {
		return Media{}, &TransportError{Op: "media/upload", Status: http.StatusOK, class: ErrUnknownOutcome, Err: errors.New("an answer without media_id")}
	}
	return m, nil
}

// UploadImage stores a picture (jpg or png, up to 1 MB) for good and returns its
// URL, for [Article].PicURL or the content of an article. It has no media id.
// Videos and songs are refused (40005).
//
// Source: facts of /cgi-bin/media/uploadimg.
func (c *Client) UploadImage(ctx context.Context, name string, file io.Reader) (string, error) {
	res, err := upload[struct {
		URL string `json:"url"`
	}](ctx, c, "uploadimg", "/cgi-bin/media/uploadimg", MediaImage, name, file, nil)
	if err == nil && res.URL == "" {
		err = &TransportError{Op: "media/uploadimg", Status: http.StatusOK, class: ErrUnknownOutcome, Err: errors.New("an answer without url")}
	}
	return res.URL, err
}

// A Download is what [Client.Download] found: the bytes, or for a video the URL
// from which to fetch them.
type Download struct {
	ContentType string
	Filename    string        // as WeChat names it, without folders; may be ""
	Body        io.ReadCloser // close it; nil if there is a VideoURL
	VideoURL    string
}

// Download gets temporary media, also what a follower sent. WeChat answers with
// the bytes, for videos with a URL, for a dead id with 40007. The time that a file may
// take, see [FileTimeout], goes on until Body is read and closed.
//
// Source: facts of /cgi-bin/media/get.
func (c *Client) Download(ctx context.Context, id TemporaryID) (*Download, error) {
	r := &request{path: "/cgi-bin/media/get", patience: FileTimeout, query: url.Values{"media_id": {string(id)}}.Encode()}
	return withToken(ctx, c, r, downloaded)
}

func downloaded(ctx context.Context, end *endpoint, r *request) (*Download, error) {
	res, cancel, err := end.do(ctx, r)
	if err != nil {
		return nil, err
	}
	body := &download{request: r, body: res.Body, cancel: cancel}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode == http.StatusOK && kind != "application/json" && kind != "text/plain" {
		_, disposition, _ := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
		return &Download{ContentType: kind, Filename: plainName(disposition["filename"]), Body: body}, nil
	}
	answer, readErr := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err := errors.Join(readErr, body.Close()); err != nil {
		return nil, &TransportError{Op: r.op(), Status: res.StatusCode, class: ErrUnknownOutcome, Err: r.clean(err)}
	}
	if err := outcome(r, res.StatusCode, answer); err != nil {
		return nil, err
	}
	var video struct {
		VideoURL string `json:"video_url"`
	}
	if err := json.Unmarshal(answer, &video); err != nil || video.VideoURL == "" {
		return nil, &TransportError{Op: r.op(), Status: res.StatusCode, class: ErrUnknownOutcome, Err: errors.New("an answer without video_url")}
	}
	return &Download{ContentType: "video/mp4", VideoURL: video.VideoURL}, nil
}

// download is the body of an answer, whose errors show no token.
type download struct {
	request *request
	body    io.ReadCloser
	cancel  context.CancelFunc
}

func (d *download) Read(b []byte) (int, error) {
	n, err := d.body.Read(b)
	if err != nil && err != io.EOF {
		err = d.request.clean(err)
	}
	return n, err
}

func (d *download) Close() error {
	defer d.cancel()
	return d.body.Close()
}

// plainName is the last element of a file name that somebody else chose, or "" if
// nothing is left of it.
func plainName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return -1
	}, name)
	name = name[strings.LastIndexAny(name, `/\\`)+1:]
	if name == "." || name == ".." {
		return ""
	}
	return name
}

// upload checks a file and posts it as the form's part "media".
func upload[Res any](ctx context.Context, c *Client, call, path string, kind MediaKind, name string, file io.Reader, fields map[string]string) (Res, error) {
	var res Res
	data, err := readMedia(call, kind, name, file)
	if err != nil {
		return res, err
	}
	body, contentType := form(name, data, fields)
	r := &request{path: path, body: body, contentType: contentType, patience: FileTimeout}
	if call != "uploadimg" {
		r.query = url.Values{"type": {string(kind)}}.Encode()
	}
	answer, err := c.call(ctx, r)
	return decodeAnswer[Res](path, answer, err)
}

func readMedia(call string, kind MediaKind, name string, file io.Reader) ([]byte, error) {
	limit, ok := mediaLimit(call, kind)
	if !ok {
		return nil, &FileError{Name: name, Kind: kind, Code: 40004, Reason: "no such kind; there are image, voice, video, thumb", Zh: "没有这种类型；可选 image、voice、video、thumb", Source: "media/upload"}
	}
	data, err := io.ReadAll(io.LimitReader(file, limit.MaxBytes+1))
	if err != nil {
		return nil, &TransportError{Op: "media/" + call, Err: fmt.Errorf("read %s: %w", name, err), class: ErrNotDelivered}
	}
	return data, checkFile(limit, name, data)
}

func checkFile(limit MediaLimit, name string, data []byte) error {
	e := &FileError{Name: filepath.Base(name), Kind: limit.Kind, Source: limit.Source}
	format := formatOf(data)
	switch {
	case len(data) == 0:
		e.Code, e.Reason, e.Zh = 44001, "the file is empty", "文件为空"
	case format == "" || !slices.Contains(limit.Formats, format):
		e.Code = limit.CodeFormat
		found := format
		if found == "" {
			found = "unknown"
		}
		e.Reason = fmt.Sprintf("format %s; %s takes %s", found, limit.Call, strings.Join(limit.Formats, ", "))
		e.Zh = fmt.Sprintf("格式为 %s；只收 %s", found, strings.Join(limit.Formats, "、"))
	case int64(len(data)) > limit.MaxBytes:
		e.Code = limit.CodeSize
		e.Reason = fmt.Sprintf("more than %d bytes", limit.MaxBytes)
		e.Zh = fmt.Sprintf("超过 %d 字节", limit.MaxBytes)
	default:
		return nil
	}
	return e
}

// formatOf tells a file's format by its first bytes; its name is not believed.
func formatOf(b []byte) string {
	has := func(at int, magic string) bool {
		return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
	}
	switch {
	case has(0, "\xFF\xD8\xFF"):
		return "jpg"
	case has(0, "\x89PNG\r\n\x1a\n"):
		return "png"
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return "gif"
	case has(0, "BM"):
		return "bmp"
	case has(0, "#!AMR"):
		return "amr"
	case has(0, "ID3"), len(b) > 1 && b[0] == 0xFF && b[1]&0xE6 == 0xE2: // an MPEG frame, layer III
		return "mp3"
	case has(0, "RIFF") && has(8, "WAVE"):
		return "wav"
	case has(0, "\x30\x26\xB2\x75\x8E\x66\xCF\x11"):
		return "wma"
	case has(4, "ftyp"):
		return "mp4"
	}
	return ""
}

// form is a multipart body with the file as its part "media".
func form(name string, data []byte, fields map[string]string) (body []byte, contentType string) {
	var b bytes.Buffer
	b.Grow(len(data) + 1024)
	w := multipart.NewWriter(&b) // a bytes.Buffer: its errors can't happen
	part, _ := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition("media", filepath.Base(name))},
		"Content-Type":        {http.DetectContentType(data)},
	})
	_, _ = part.Write(data)
	for k, v := range fields {
		_ = w.WriteField(k, v)
	}
	_ = w.Close()
	return b.Bytes(), w.FormDataContentType()
}
