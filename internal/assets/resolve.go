package assets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
)

// Check says, at acceptance, why a reference in a message can't be had:
// [store.ErrNotFound], a [*kefu.FileError], or nil. A plain media id always passes: the gateway can't know all that WeChat has.
func (l *Library) Check(ctx context.Context, account string, r gateway.MediaRef) error {
	switch {
	case !r.IsAsset() && !r.IsURL():
		return nil
	case r.Kind == "news":
		return Fits(gateway.Asset{}, r.Kind)
	case r.IsURL():
		if err := egress.Check(r.ID, l.Egress); err != nil {
			return &kefu.FileError{Name: "the URL", Kind: r.Kind, Code: 40007, Reason: err.Error(), Zh: "网关不访问这个 URL：" + err.Error(), Source: "gateway"}
		}
		return nil
	}
	a, err := l.Asset(ctx, []string{account}, r.ID)
	if err != nil {
		return err
	}
	if e := Fits(a, r.Kind); e != nil {
		return e
	}
	return nil
}

// Resolve returns a message's body with the media ids that WeChat has now in place of
// assets, URLs, and ids of the gateway's that are about to be forgotten. A URL is
// fetched once per message, however often this is called: what it leads to is kept as
// an asset. Where nothing is to be replaced it returns body itself.
//
// An error that is [kefu.ErrMediaInvalid] is for good; all others may pass.
func (l *Library) Resolve(ctx context.Context, wechat *kefu.Client, account string, accepted time.Time, body json.RawMessage) (json.RawMessage, error) {
	l.setUp()
	return swap(body, func(r gateway.MediaRef) (string, error) {
		switch {
		case r.IsURL():
			hash, err := l.fetched(ctx, account, accepted, r)
			if err != nil {
				return "", err
			}
			id, err := l.current(ctx, wechat, account, hash, r.Kind)
			if errors.Is(err, store.ErrNotFound) { // in this moment
				err = errors.New("what the URL led to was deleted; it is fetched again")
			}
			return id, about(r, err)
		case r.IsAsset():
			hash, ok := gateway.ParseAssetID(r.ID)
			if !ok {
				return "", fmt.Errorf("%w: %s is no asset's id", kefu.ErrMediaInvalid, r.Member)
			}
			return l.named(ctx, wechat, account, hash, r)
		}
		m, err := l.Store.Media(ctx, account, r.ID)
		if errors.Is(err, store.ErrNotFound) {
			return r.ID, nil // WeChat may know it
		} else if err != nil || !m.Dead && l.Now().Sub(m.At) < renewAfter {
			return r.ID, err
		}
		return l.named(ctx, wechat, account, m.Hash, r)
	})
}

// ErrNotOurs: WeChat refused a media id of which the gateway has no file.
var ErrNotOurs = fmt.Errorf("%w: the gateway has no file to this media id; send the file as an asset (POST /v1/assets), which renews itself", kefu.ErrMediaInvalid)

// Renew returns a body, as it was sent, with new media ids in place of those that
// WeChat refused. Who asks for the same at the same time shares one upload. Error:
// ErrNotOurs if it has no id of the gateway's, else as Resolve.
func (l *Library) Renew(ctx context.Context, wechat *kefu.Client, account string, body json.RawMessage) (json.RawMessage, error) {
	l.setUp()
	renewed := false
	body, err := swap(body, func(r gateway.MediaRef) (string, error) {
		m, err := l.Store.Media(ctx, account, r.ID)
		if errors.Is(err, store.ErrNotFound) {
			return r.ID, nil
		} else if err != nil {
			return "", err
		}
		if err := l.Store.BuryMedia(ctx, l.Now(), account, r.ID); err != nil {
			return "", err
		}
		renewed = true
		return l.named(ctx, wechat, account, m.Hash, r)
	})
	if err == nil && !renewed {
		err = ErrNotOurs
	}
	return body, err
}

// named is current, with an error that says which member it is about.
func (l *Library) named(ctx context.Context, wechat *kefu.Client, account string, hash [32]byte, r gateway.MediaRef) (string, error) {
	id, err := l.current(ctx, wechat, account, hash, r.Kind)
	return id, about(r, err)
}

// about is an error of current with the member that it is about.
func about(r gateway.MediaRef, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %s: the asset is gone", kefu.ErrMediaInvalid, r.Member)
	} else if err != nil {
		return fmt.Errorf("%s: %w", r.Member, err)
	}
	return nil
}

// swap replaces the references in a body. Where nothing changes, the body is the same.
func swap(body json.RawMessage, by func(gateway.MediaRef) (string, error)) (json.RawMessage, error) {
	var m kefu.Message
	if err := m.UnmarshalJSON(body); err != nil {
		return nil, fmt.Errorf("%w: the message can't be read: %w", kefu.ErrMediaInvalid, err)
	}
	var failed error
	changed := false
	m.Body = gateway.SwapMedia(m.Body, func(r gateway.MediaRef) string {
		if failed != nil {
			return r.ID
		}
		id, err := by(r)
		if err != nil {
			failed = err
			return r.ID
		}
		changed = changed || id != r.ID
		return id
	})
	if failed != nil || !changed {
		return body, failed
	}
	return m.AppendJSON(nil), nil
}

// fetched is the asset to which a URL leads.
func (l *Library) fetched(ctx context.Context, account string, accepted time.Time, r gateway.MediaRef) (hash [32]byte, err error) {
	since := accepted.Add(-freshURL)
	hash, err = l.Store.Fetched(ctx, account, r.ID, since)
	if !errors.Is(err, store.ErrNotFound) {
		return hash, err
	}
	id, err := l.flights.do(ctx, account+" "+r.ID, func() (string, error) {
		if hash, err := l.Store.Fetched(ctx, account, r.ID, since); !errors.Is(err, store.ErrNotFound) {
			return gateway.AssetID(hash), err
		}
		a, err := l.fetch(ctx, account, r.ID)
		if err != nil {
			return "", fmt.Errorf("%s: the URL: %w", r.Member, err)
		}
		hash, _ := gateway.ParseAssetID(a.ID)
		return a.ID, l.Store.PutFetched(ctx, l.Now(), account, r.ID, hash)
	})
	hash, _ = gateway.ParseAssetID(id)
	return hash, err
}

// fetch makes an asset of what a URL leads to.
func (l *Library) fetch(ctx context.Context, account, url string) (gateway.Asset, error) {
	select {
	case l.fetches <- struct{}{}:
		defer func() { <-l.fetches }()
	case <-ctx.Done():
		return gateway.Asset{}, ctx.Err()
	}
	body, err := get(ctx, l.web, url)
	if err != nil {
		return gateway.Asset{}, l.told(account, err)
	}
	defer body.Close()
	a, err := l.keep(ctx, account, onTheWay{body}, MaxFile, store.FromURL)
	if errors.Is(err, egress.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", kefu.ErrMediaInvalid, err)
	}
	return a, l.told(account, err)
}

// told is what a sender is told of an error of fetch. What exactly failed on the way is
// for the log: it would tell where the names of a network lead, and what is there.
func (l *Library) told(account string, err error) error {
	var way *wayError
	if !errors.As(err, &way) || errors.Is(err, egress.ErrTooLarge) {
		return err
	}
	l.Log.Warn("what a message names by URL can't be fetched", "account", account, "error", way.err)
	if errors.Is(err, egress.ErrForbidden) {
		return fmt.Errorf("%w: it is not one that the gateway goes to", kefu.ErrMediaInvalid)
	}
	return errors.New("it gave no file in time")
}

// A wayError is what failed on the way to a URL and back.
type wayError struct{ err error }

func (e *wayError) Error() string { return e.err.Error() }
func (e *wayError) Unwrap() error { return e.err }

// onTheWay is an answer's body, whose errors are of the way.
type onTheWay struct{ body io.Reader }

// Read implements [io.Reader].
func (o onTheWay) Read(b []byte) (int, error) {
	n, err := o.body.Read(b)
	if err != nil && err != io.EOF {
		err = &wayError{err}
	}
	return n, err
}

// get opens what a URL leads to. An error that is [kefu.ErrMediaInvalid] is for good.
func get(ctx context.Context, web *http.Client, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", kefu.ErrMediaInvalid)
	}
	req.Header.Set("User-Agent", "kefu")
	req.Header.Set("Accept", "image/*, audio/*, video/*")
	res, err := web.Do(req)
	if err != nil {
		err = &wayError{egress.WithoutURL(err)}
		if errors.Is(err, egress.ErrForbidden) || errors.Is(err, egress.ErrTooLarge) {
			err = fmt.Errorf("%w: %w", kefu.ErrMediaInvalid, err)
		}
		return nil, err
	}
	switch status := res.StatusCode; {
	case status == http.StatusOK:
		return res.Body, nil
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		res.Body.Close()
		return nil, fmt.Errorf("it answers HTTP %d", status)
	default:
		res.Body.Close()
		return nil, fmt.Errorf("%w: it answers HTTP %d", kefu.ErrMediaInvalid, status)
	}
}
