// Package assets keeps files for messages: known by their content, checked by their
// bytes, uploaded to WeChat when they are needed and again before it forgets them.
//
//	a, err := lib.Keep(ctx, account, body)                  // an asset; the same bytes are the same
//	body, err = lib.Resolve(ctx, client, account, at, body) // "asset:…" and URLs become media ids
//	body, err = lib.Renew(ctx, client, account, body)       // WeChat did not know one of them
//
// Bytes stand in the store, in chunks: a backup, PostgreSQL and a failover have them.
// A file is read and written in pieces, but for an upload to WeChat, where the SDK
// holds it (10 MB at most); there are few of those at once.
package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
)

const (
	// MaxFile is the most bytes that an asset can have: what WeChat takes at most.
	MaxFile = 10 << 20
	// DefaultRoom is how many bytes of assets an account may have.
	DefaultRoom = 4 << 30

	// renewAfter is the age at which a media id is not used any more: half a day
	// before WeChat forgets it, so that it outlives every retry.
	renewAfter = kefu.MediaLife - 12*time.Hour
	// freshURL is how long before a message was accepted a fetch of its URL may lie:
	// a thousand messages with the same URL are one fetch.
	freshURL = 10 * time.Minute

	mostUploads = 4  // at once; each holds a file, twice
	mostFetches = 32 // of URLs, at once; each holds a chunk
	fetchTime   = 30 * time.Second
)

// A Library is the assets of all accounts. Store and Client are required; set the
// fields before the first use. It is safe for concurrent use.
type Library struct {
	Store  *store.Store
	Client func(appid string) *kefu.Client // the way to WeChat; nil for an account that there is not
	Egress egress.Options                  // of URLs in messages; MaxBody, Redirects and Timeout are set here
	Room   int64                           // bytes of assets per account; default [DefaultRoom]
	Now    func() time.Time                // default [time.Now]; another may jump
	Log    *slog.Logger                    // default [slog.Default]

	once  sync.Once
	jumps bool         // Now is not the real time
	web   *http.Client // for URLs in messages

	inboundWeb *http.Client // for the URLs of videos that followers sent

	uploads chan struct{} // has one for each under way
	fetches chan struct{}
	flights flights[string]

	pictureTime    time.Duration // of tests; default [pictureTime]
	pictureWeb     *http.Client  // for pictures that are shown
	pictureFetches chan struct{}
	pictureFlights flights[picture]
	pictures       pictures

	rooms rooms
}

func (l *Library) setUp() {
	l.once.Do(func() {
		if l.jumps = l.Now != nil; !l.jumps {
			l.Now = time.Now
		}
		if l.Log == nil {
			l.Log = slog.Default()
		}
		if l.Room == 0 {
			l.Room = DefaultRoom
		}
		o := l.Egress
		o.Redirects, o.MaxBody, o.Timeout = 3, MaxFile, fetchTime
		l.web = egress.Client(o)
		o.MaxBody, o.Timeout = maxInboundFile, kefu.FileTimeout
		l.inboundWeb = egress.Client(o)
		if l.pictureTime == 0 {
			l.pictureTime = pictureTime
		}
		o.MaxBody, o.Timeout = maxPicture, l.pictureTime
		l.pictureWeb = egress.Client(o)
		l.pictureFetches = make(chan struct{}, mostPictures)
		l.uploads, l.fetches = make(chan struct{}, mostUploads), make(chan struct{}, mostFetches)
	})
}

// Keep makes an asset of a file, or returns the one that the account has of the same
// bytes. Until it returns nil nothing of the file is an asset. Errors: a
// [*kefu.FileError] for what WeChat takes nowhere, [store.ErrNoRoom],
// [egress.ErrTooLarge] for more than [MaxFile], and those of r and the store.
func (l *Library) Keep(ctx context.Context, account string, r io.Reader) (gateway.Asset, error) {
	return l.keep(ctx, account, r, MaxFile, store.ByHand)
}

// keep is Keep with another limit. What no sender brought need not fit a message.
func (l *Library) keep(ctx context.Context, account string, r io.Reader, most int64, from store.Origin) (_ gateway.Asset, err error) {
	l.setUp()
	u := l.Store.NewUpload(ctx, l.Now)
	defer func() {
		if err != nil {
			u.Drop()
		}
	}()
	if _, err := io.Copy(u, io.LimitReader(r, most+1)); err != nil {
		return gateway.Asset{}, err
	}
	if u.Size() > most {
		return gateway.Asset{}, fmt.Errorf("%w: more than %d bytes", egress.ErrTooLarge, most)
	}
	bytes, err := u.Bytes()
	if err != nil {
		return gateway.Asset{}, err
	}
	f, err := look(bytes, u.Size())
	if err != nil {
		return gateway.Asset{}, err
	}
	kinds := f.kinds()
	if from != store.FromFollower && len(kinds) == 0 {
		return gateway.Asset{}, f.unfit()
	}
	if err := l.makeRoom(ctx, account, u.Size()); err != nil {
		return gateway.Asset{}, err
	}
	return u.Keep(gateway.Asset{
		Account: account, Kinds: slices.Concat([]kefu.MediaKind{}, kinds), Format: f.format, Width: f.width, Height: f.height, DurationMS: f.length.Milliseconds(),
	}, from, l.Room)
}

// Asset finds an asset of one of the accounts, none: of any. Error:
// [store.ErrNotFound], also for what is no asset's id.
func (l *Library) Asset(ctx context.Context, accounts []string, id string) (gateway.Asset, error) {
	hash, ok := gateway.ParseAssetID(id)
	if !ok {
		return gateway.Asset{}, store.ErrNotFound
	}
	return l.Store.AssetOf(ctx, accounts, hash)
}

// List is a page of the assets of some accounts, none: of any; the latest first. Error:
// [store.ErrCursor].
func (l *Library) List(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[gateway.Asset], error) {
	return l.Store.Assets(ctx, accounts, cursor, limit)
}

// Delete forgets an account's asset, unless messages that wait need it: then it returns
// some of their ids and does nothing. One that is accepted in this very moment fails at its
// turn and says why. Error: [store.ErrNotFound].
func (l *Library) Delete(ctx context.Context, account, id string) (needed []string, err error) {
	hash, ok := gateway.ParseAssetID(id)
	if !ok {
		return nil, store.ErrNotFound
	}
	if _, err := l.Store.Asset(ctx, account, hash); err != nil {
		return nil, err
	}
	if needed, err = l.Store.NeedAsset(ctx, account, hash); err != nil || len(needed) > 0 {
		return needed, err
	}
	l.setUp()
	return nil, l.Store.DeleteAsset(ctx, l.Now(), account, hash)
}

// Open returns the bytes of an asset. ctx is of all reads.
func (l *Library) Open(ctx context.Context, a gateway.Asset) (io.ReadSeeker, error) {
	hash, _ := gateway.ParseAssetID(a.ID)
	return l.Store.OpenAsset(ctx, a.Account, hash)
}

// URL returns the address at which WeChat serves a picture for good, uploading it
// the first time it is asked for. Errors: a [*kefu.FileError], and those of an upload.
func (l *Library) URL(ctx context.Context, a gateway.Asset) (string, error) {
	l.setUp()
	hash, _ := gateway.ParseAssetID(a.ID)
	wechat := l.Client(a.Account)
	if wechat == nil {
		return "", &gateway.Problem{Code: gateway.UnknownAccount}
	}
	return l.current(ctx, wechat, a.Account, hash, gateway.AsURL)
}

// Fits says why an asset can't be of a kind in a message, or nil.
func Fits(a gateway.Asset, kind kefu.MediaKind) *kefu.FileError {
	if slices.Contains(a.Kinds, kind) {
		return nil
	}
	call := "upload"
	if kind == gateway.AsURL {
		call, kind = "uploadimg", kefu.MediaImage
	}
	f := file{format: a.Format, size: a.Bytes, length: time.Duration(a.DurationMS) * time.Millisecond}
	for _, rule := range kefu.MediaLimits() {
		if rule.Call == call && rule.Kind == kind {
			return f.against(rule)
		}
	}
	return &kefu.FileError{Name: "the file", Kind: kind, Code: 40121, Reason: "a file can't be this", Zh: "文件不能用在这里", Source: "message/custom/send"}
}

// current returns an id under which WeChat has the asset as that kind, uploading it
// if there is none that is young enough. Whoever needs the same at the same time
// shares one upload.
func (l *Library) current(ctx context.Context, wechat *kefu.Client, account string, hash [32]byte, kind kefu.MediaKind) (string, error) {
	if id, err := l.uploaded(ctx, account, hash, kind); err == nil || !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	return l.flights.do(ctx, fmt.Sprintf("%s %x %s", account, hash, kind), func() (string, error) {
		if id, err := l.uploaded(ctx, account, hash, kind); err == nil || !errors.Is(err, store.ErrNotFound) {
			return id, err // by whom we have just missed
		}
		return l.upload(ctx, wechat, account, hash, kind)
	})
}

// uploaded is the id of an upload before, or [store.ErrNotFound].
func (l *Library) uploaded(ctx context.Context, account string, hash [32]byte, kind kefu.MediaKind) (string, error) {
	m, err := l.Store.MediaOf(ctx, account, hash, kind)
	if err == nil && kind != gateway.AsURL && l.Now().Sub(m.At) >= renewAfter {
		err = store.ErrNotFound
	}
	return m.ID, err
}

func (l *Library) upload(ctx context.Context, wechat *kefu.Client, account string, hash [32]byte, kind kefu.MediaKind) (string, error) {
	a, err := l.Store.Asset(ctx, account, hash)
	if err != nil {
		return "", fmt.Errorf("the asset of a media id: %w", err)
	}
	if e := Fits(a, kind); e != nil {
		return "", e
	}
	select {
	case l.uploads <- struct{}{}:
		defer func() { <-l.uploads }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	body, err := l.Open(ctx, a)
	if err != nil {
		return "", err
	}
	m := store.MediaID{Account: account, Hash: hash, Kind: kind, At: l.Now()} // before: WeChat's three days begin later
	name := a.SHA256[:16] + "." + a.Format
	if kind == gateway.AsURL {
		m.ID, err = wechat.UploadImage(ctx, name, body)
	} else {
		var up kefu.Media
		up, err = wechat.Upload(ctx, kind, name, body)
		m.ID = string(up.ID)
	}
	if err != nil {
		return "", err
	}
	if err := l.Store.PutMedia(ctx, l.Now(), m); err != nil { // it is there all the same
		l.Log.Error("a media id can't be kept; the file is uploaded again when it is needed", "account", account, "error", err)
	}
	return m.ID, nil
}

// flights lets all who want the same thing at the same time wait for one who gets it.
type flights[T any] struct {
	mu sync.Mutex // guards on
	on map[string]*flight[T]
}

type flight[T any] struct {
	done chan struct{}
	got  T
	err  error
}

// do runs get, or waits for the run with the same key that is under way.
func (f *flights[T]) do(ctx context.Context, key string, get func() (T, error)) (T, error) {
	f.mu.Lock()
	if other := f.on[key]; other != nil {
		f.mu.Unlock()
		select {
		case <-other.done:
			return other.got, other.err
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
	if f.on == nil {
		f.on = map[string]*flight[T]{}
	}
	mine := &flight[T]{done: make(chan struct{})}
	f.on[key] = mine
	f.mu.Unlock()
	mine.err = errors.New("the one who got it for all panicked")
	defer func() {
		f.mu.Lock()
		delete(f.on, key)
		f.mu.Unlock()
		close(mine.done)
	}()
	mine.got, mine.err = get()
	return mine.got, mine.err
}
