package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A fileTaker takes the files of a message: WeChat itself, or the gateway.
type fileTaker interface {
	// take stores a file and returns what stands in a message for it: a media id that
	// lives for three days, or the id of an asset.
	take(ctx context.Context, kind kefu.MediaKind, name string) (kefu.MediaID, error)
	// picture stores a picture for good and returns its URL.
	picture(ctx context.Context, name string) (string, error)
}

// wechatFiles go to WeChat itself.
type wechatFiles struct{ *kefu.Client }

func (w wechatFiles) take(ctx context.Context, kind kefu.MediaKind, name string) (kefu.MediaID, error) {
	m, err := w.upload(ctx, kind, name)
	return kefu.MediaID(m.ID), err
}

func (w wechatFiles) upload(ctx context.Context, kind kefu.MediaKind, name string) (kefu.Media, error) {
	f, err := open(name)
	if err != nil {
		return kefu.Media{}, err
	}
	defer f.Close()
	m, err := w.Upload(ctx, kind, filepath.Base(name), f)
	return m, unposted(err)
}

func (w wechatFiles) picture(ctx context.Context, name string) (string, error) {
	f, err := open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	url, err := w.UploadImage(ctx, filepath.Base(name), f)
	return url, unposted(err)
}

// gatewayFiles become assets of the gateway.
type gatewayFiles struct {
	*caller
	account string
}

func (g gatewayFiles) take(ctx context.Context, kind kefu.MediaKind, name string) (kefu.MediaID, error) {
	a, err := g.asset(ctx, name)
	if err == nil {
		err = fits(a, kind, name)
	}
	return kefu.MediaID(a.ID), err
}

// fits refuses an asset that can't be what it is wanted for; "" is anything.
func fits(a gateway.Asset, kind kefu.MediaKind, name string) error {
	if kind == "" || slices.Contains(a.Kinds, kind) {
		return nil
	}
	f := failf("%s can't be sent as %s", "%s 不能作为 %s 发送", name, kind)
	for _, l := range kefu.MediaLimits() {
		if l.Call == "upload" && l.Kind == kind {
			f = failf("%s can't be sent as %s: WeChat takes %s of at most %d KiB", "%s 不能作为 %s 发送：微信只收 %s，不超过 %d KiB", name, kind, strings.Join(l.Formats, ", "), l.MaxBytes>>10)
		}
	}
	return f.then("choose another file; this one can be: "+kindList(a), "换一个文件；此文件可以作为："+kindList(a))
}

func kindList(a gateway.Asset) string {
	var all []string
	for _, k := range a.Kinds {
		all = append(all, inert(string(k)))
	}
	return strings.Join(all, ", ")
}

func (g gatewayFiles) asset(ctx context.Context, name string) (gateway.Asset, error) {
	f, err := open(name)
	if err != nil {
		return gateway.Asset{}, err
	}
	defer f.Close()
	a, err := g.AddAsset(ctx, g.account, f)
	return a, g.explained(err)
}

func (g gatewayFiles) picture(ctx context.Context, name string) (string, error) {
	a, err := g.asset(ctx, name)
	if err == nil {
		a, err = g.AssetURL(ctx, g.account, a.ID)
		err = g.explained(err)
	}
	return a.URL, err
}

// mediaID is the id given, or that of the file, stored now.
func mediaID(ctx context.Context, to fileTaker, kind kefu.MediaKind, id string, args []string) (kefu.MediaID, error) {
	if len(args) == 0 {
		return kefu.MediaID(id), nil
	}
	return to.take(ctx, kind, args[0])
}

// thumbID is the media id of a cover. What can't be an id or exists as a file is
// stored now.
func thumbID(ctx context.Context, to fileTaker, kind kefu.MediaKind, thumb string) (kefu.MediaID, error) {
	if plainID.MatchString(thumb) || strings.HasPrefix(thumb, "asset:") || isURL(thumb) {
		if _, err := os.Stat(thumb); err != nil {
			return kefu.MediaID(thumb), nil
		}
	}
	if thumb == "" {
		return "", nil
	}
	return to.take(ctx, kind, thumb)
}

// picture replaces the name of a file by the URL of the picture, stored now.
func picture(ctx context.Context, to fileTaker, pic *string) (err error) {
	if *pic != "" && !isURL(*pic) {
		*pic, err = to.picture(ctx, *pic)
	}
	return err
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }
