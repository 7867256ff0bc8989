package assets

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"io"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
)

// Pictures that messages name by URL are shown to people by way of the gateway: their
// browsers ask no foreign server for anything.
const (
	maxPicture    = 2 << 20          // bytes; of what was fetched for a message, [MaxFile]
	mostPictures  = 4                // fetched at once
	pictureTime   = 10 * time.Second // for one, and for its turn
	pictureRoom   = 8 << 20          // bytes of pictures that are kept in memory
	pictureLife   = 24 * time.Hour   // as long as browsers keep them
	pictureAgain  = time.Minute      // after this a URL that led to none is asked once more, and a site that could not be reached
	pictureWeight = 512              // bytes that a picture takes besides its own
)

// Picture opens a picture that a message of the account, accepted then, names by URL:
// the file that was fetched for the message if there is one, else what the URL leads to
// now. Errors: a [*kefu.FileError] that says why there is nothing to show, a
// [*gateway.Problem] overloaded while too many are fetched, and those of the store.
func (l *Library) Picture(ctx context.Context, account string, accepted time.Time, url string) (format string, body io.ReadSeeker, err error) {
	l.setUp()
	a, err := l.fetchedFor(ctx, account, accepted, url)
	switch {
	case err == nil && !drawable(a.Format):
		return "", nil, noPicture(textOfFormat(a.Format, drawn))
	case err == nil:
		body, err = l.Open(ctx, a)
		return a.Format, body, err
	case !errors.Is(err, store.ErrNotFound):
		return "", nil, err
	}
	p, ok := l.pictures.get(url, l.Now())
	if !ok {
		p, err = l.pictureFlights.do(ctx, url, func() (picture, error) {
			if p, ok := l.pictures.get(url, l.Now()); ok {
				return p, nil // whom we have just missed
			}
			return l.fetchPicture(ctx, url)
		})
		if err != nil {
			return "", nil, err
		}
	}
	if p.unfit != nil {
		return "", nil, p.unfit
	}
	return p.format, bytes.NewReader(p.bytes), nil
}

// fetchedFor is the asset that was made of a URL when the message was sent.
func (l *Library) fetchedFor(ctx context.Context, account string, accepted time.Time, url string) (gateway.Asset, error) {
	hash, err := l.Store.Fetched(ctx, account, url, accepted.Add(-freshURL))
	if err != nil {
		return gateway.Asset{}, err
	}
	return l.Store.Asset(ctx, account, hash)
}

// fetchPicture gets what a URL leads to. Others may wait for it, so it goes on when the
// caller leaves.
func (l *Library) fetchPicture(ctx context.Context, url string) (picture, error) {
	ctx = context.WithoutCancel(ctx)
	full := time.NewTimer(l.pictureTime)
	defer full.Stop()
	select {
	case l.pictureFetches <- struct{}{}:
		defer func() { <-l.pictureFetches }()
	case <-full.C:
		return picture{}, &gateway.Problem{Code: gateway.Overloaded}
	}
	site := siteOf(url)
	if down, ok := l.pictures.get(site, l.Now()); ok {
		return down, nil
	}
	p := picture{url: url, at: l.Now()}
	var reached atomic.Bool
	b, err := l.readPicture(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }}), url)
	if err == nil {
		var f file
		if f, err = look(bytes.NewReader(b), int64(len(b))); err == nil && drawable(f.format) {
			p.format, p.bytes = f.format, b
		} else if err == nil {
			p.unfit = noPicture(textOfFormat(f.format, drawn))
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, egress.ErrForbidden):
		p.unfit = noPicture("its URL is not one that the gateway goes to", "网关不访问它的 URL")
	case errors.Is(err, egress.ErrTooLarge):
		p.unfit = noPicture(textOfMost(maxPicture))
	case errors.Is(err, kefu.ErrMediaInvalid):
		p.unfit = noPicture("its URL leads to nothing", "它的 URL 没有指向任何内容")
	default: // what exactly failed is nothing to tell everybody
		p.unfit = noPicture("its URL gave no picture in time", "没有及时从它的 URL 取到图片")
		if !reached.Load() { // a browser has few connections; its other pictures must not hold them all
			l.pictures.put(picture{url: site, at: l.Now(), unfit: p.unfit})
		}
	}
	l.pictures.put(p)
	return p, nil
}

// siteOf is under what a site that can't be reached is kept; no URL of a picture is like it.
func siteOf(picture string) string {
	u, err := url.Parse(picture)
	if err != nil {
		return ""
	}
	return "//" + u.Host
}

func (l *Library) readPicture(ctx context.Context, url string) ([]byte, error) {
	body, err := get(ctx, l.pictureWeb, url)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// drawn are the formats that every browser draws and that can't hold a script, as SVG can.
var drawn = []string{"jpg", "png", "gif", "webp", "bmp"}

func drawable(format string) bool { return slices.Contains(drawn, format) }

func noPicture(en, zh string) *kefu.FileError {
	return &kefu.FileError{Name: "the picture", Kind: kefu.MediaImage, Code: 40005, Reason: en, Zh: zh, Source: "gateway"}
}

// A picture is what a URL led to.
type picture struct {
	url    string
	at     time.Time
	format string
	bytes  []byte
	unfit  *kefu.FileError // why there is none to show
}

func (p picture) weight() int { return pictureWeight + len(p.url) + len(p.bytes) }

func (p picture) over(now time.Time) bool {
	if p.unfit != nil {
		return now.Sub(p.at) >= pictureAgain
	}
	return now.Sub(p.at) >= pictureLife
}

// pictures are the latest, up to [pictureRoom].
type pictures struct {
	mu     sync.Mutex               // guards all below
	byURL  map[string]*list.Element // of latest
	latest list.List                // of picture, the one used last at its front
	weight int
}

func (s *pictures) get(url string, now time.Time) (picture, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byURL[url]
	if e == nil {
		return picture{}, false
	}
	p := e.Value.(picture)
	if p.over(now) {
		s.drop(e)
		return picture{}, false
	}
	s.latest.MoveToFront(e)
	return p, true
}

func (s *pictures) put(p picture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byURL[p.url]; e != nil {
		s.drop(e)
	}
	if s.byURL == nil {
		s.byURL = map[string]*list.Element{}
	}
	s.byURL[p.url] = s.latest.PushFront(p)
	for s.weight += p.weight(); s.weight > pictureRoom; {
		s.drop(s.latest.Back())
	}
}

func (s *pictures) drop(e *list.Element) {
	p := s.latest.Remove(e).(picture)
	delete(s.byURL, p.url)
	s.weight -= p.weight()
}
