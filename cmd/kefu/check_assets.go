package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// assetSteps are what is tried with the gateway's files.
func assetSteps() []step {
	return []step{
		{"gateway-media-renewed", checkMediaRenewed},
		{"gateway-media-url", checkMediaURL},
		{"gateway-inbound", checkInbound},
	}
}

// gotMedia are the media ids of what the follower received last, by member.
func (d *party) gotMedia(ctx context.Context, to string) (ids map[string]string, count int, err error) {
	messages, err := d.messages(ctx, to)
	if err != nil || len(messages) == 0 {
		return nil, 0, err
	}
	m, err := kefu.ParseMessage([]byte(messages[len(messages)-1].Raw))
	ids = map[string]string{}
	for _, r := range gateway.MediaRefs(m.Body) {
		ids[r.Member] = r.ID
	}
	return ids, len(messages), err
}

// has downloads what WeChat has under a media id and holds it against the file.
func (d *party) has(ctx context.Context, id string, file []byte) error {
	got, err := d.client.Download(ctx, kefu.TemporaryID(id))
	if err != nil {
		return err
	}
	if got.VideoURL != "" {
		b, err := fetch(ctx, got.VideoURL)
		return errors.Join(err, want("the video's bytes", bytes.Equal(b, file), true))
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	return errors.Join(err, want("the bytes of "+got.ContentType, bytes.Equal(b, file), true))
}

// checkMediaRenewed sends a video with its cover three times: new, when WeChat's three
// days are over, and when WeChat has forgotten both although the gateway can't know.
func checkMediaRenewed(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	video, err := me.gateway.AddAsset(ctx, "", bytes.NewReader(sampleMP4()))
	if err != nil {
		return "", err
	}
	cover, err := me.gateway.AddAsset(ctx, "", bytes.NewReader(sampleJPG()))
	if err != nil {
		return "", err
	}
	message := kefu.Message{To: to, Body: kefu.Video{MediaID: kefu.MediaID(video.ID), ThumbMediaID: kefu.MediaID(cover.ID), Title: "导览"}}
	var seen []string
	for i, forgets := range []func() error{
		func() error { return nil },
		func() error { return me.advance(ctx, "72h") },
		func() error {
			_, err := me.control.call(ctx, http.MethodPut, "state", map[string]any{"media": map[string]any{}})
			return err
		},
	} {
		if err := errors.Join(forgets(), me.writes(ctx, to, "hi"), me.sent(ctx, message)); err != nil {
			return "", err
		}
		ids, n, err := me.gotMedia(ctx, to)
		if err == nil {
			err = errors.Join(want("messages received", n, i+1),
				me.has(ctx, ids["media_id"], sampleMP4()), me.has(ctx, ids["thumb_media_id"], sampleJPG()))
		}
		if err != nil {
			return "", err
		}
		for _, id := range ids {
			if slices.Contains(seen, id) {
				return "", fmt.Errorf("an id is used again: %s", id)
			}
			seen = append(seen, id)
		}
	}
	codes, err := me.sends(ctx, to)
	return "a video and its cover: new; renewed after 72 h; refused once with 40007, renewed, sent", errors.Join(err,
		want("errcodes answered", codes, []int{0, 0, 40007, 0}))
}

func checkMediaURL(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	if err := me.sent(ctx, kefu.Message{To: to, Body: kefu.Image{MediaID: kefu.MediaID(me.ownURL + "/hills.png")}}); err != nil {
		return "", err
	}
	ids, n, err := me.gotMedia(ctx, to)
	if err != nil {
		return "", err
	}
	return "the URL of a picture as media_id: fetched, uploaded, received", errors.Join(
		want("messages received", n, 1), me.has(ctx, ids["media_id"], samplePNG()))
}

func checkInbound(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if _, err := me.act(ctx, to, "image"); err != nil {
		return "", err
	}
	var entry gateway.TimelineEntry
	for deadline := time.Now().Add(patience); entry.Asset == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		page, err := me.gateway.Timeline(ctx, me.control.account, to, "", 0)
		if err != nil || len(page.Items) != 1 {
			return "", errors.Join(err, want("entries of the timeline", len(page.Items), 1))
		}
		entry = page.Items[0]
	}
	if err := want("an asset of the picture", entry.Asset != "", true); err != nil {
		return "", err
	}
	var told struct{ Push struct{ PicURL string } }
	if err := json.Unmarshal(entry.Data, &told); err != nil {
		return "", err
	}
	original, err := fetch(ctx, told.Push.PicURL)
	if err != nil {
		return "", err
	}
	if err := me.advance(ctx, "72h"); err != nil { // WeChat has forgotten it
		return "", err
	}
	body, err := me.gateway.AssetBytes(ctx, entry.Asset)
	if err != nil {
		return "", err
	}
	defer body.Close()
	kept, err := io.ReadAll(body)
	return "a picture that a follower sent is kept, and there after 72 h", errors.Join(err, want("its bytes", bytes.Equal(kept, original), true))
}
