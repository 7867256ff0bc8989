package gateway

import (
	"encoding/hex"
	"strings"

	"github.com/kefu-go/kefu"
)

// An Asset is a file that the gateway keeps for an account, known by its content:
// the same bytes are the same asset. Its ID stands in messages where a media id
// does; the gateway uploads it to WeChat when it is needed, and again before WeChat
// forgets it.
type Asset struct {
	ID      string `json:"id"` // "asset:" and the SHA-256 in hex
	Account string `json:"account"`
	// Kinds are what it can be in a message (image, voice, video, thumb), and "url"
	// if it can be had as a picture's URL.
	Kinds      []kefu.MediaKind `json:"kinds"`
	Bytes      int64            `json:"bytes"`
	SHA256     string           `json:"sha256"`
	Format     string           `json:"format"`          // jpg, png, gif, amr, mp3 or mp4
	Width      int              `json:"width,omitempty"` // of pictures and videos, in pixels
	Height     int              `json:"height,omitempty"`
	DurationMS int64            `json:"duration_ms,omitempty"` // of voices and videos
	CreatedAt  Time             `json:"created_at"`
	// URL is a picture's address at WeChat, which never ends (uploadimg); only where
	// it was asked for.
	URL string `json:"url,omitempty"`
}

// AsURL is the kind of an asset that can be had as a picture's URL.
const AsURL kefu.MediaKind = "url"

const assetScheme = "asset:"

// AssetID is the id of what has this SHA-256.
func AssetID(hash [32]byte) string { return assetScheme + hex.EncodeToString(hash[:]) }

// ParseAssetID reads an asset's id, with or without "asset:" before it.
func ParseAssetID(id string) (hash [32]byte, ok bool) {
	text := strings.TrimPrefix(id, assetScheme)
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(hash) || text != strings.ToLower(text) {
		return hash, false
	}
	return [32]byte(b), true
}

// A MediaRef is a member of a message's body that names media.
type MediaRef struct {
	Member string         // "media_id" or "thumb_media_id"
	Kind   kefu.MediaKind // what it has to be; "news" for an article's
	ID     string         // a media id, the id of an asset, or a URL
}

// IsAsset reports whether it names an asset of the gateway.
func (r MediaRef) IsAsset() bool { return strings.HasPrefix(r.ID, assetScheme) }

// IsURL reports whether it is a URL, which the gateway fetches.
func (r MediaRef) IsURL() bool {
	return strings.HasPrefix(r.ID, "http://") || strings.HasPrefix(r.ID, "https://")
}

// MediaRefs are a body's members that name media and are not empty.
func MediaRefs(b kefu.Body) (refs []MediaRef) {
	SwapMedia(b, func(r MediaRef) string {
		refs = append(refs, r)
		return r.ID
	})
	return refs
}

// SwapMedia returns b with the ids that swap gives for its members that name media
// and are not empty.
func SwapMedia(b kefu.Body, swap func(MediaRef) string) kefu.Body {
	put := func(id *kefu.MediaID, member string, kind kefu.MediaKind) {
		if *id != "" {
			*id = kefu.MediaID(swap(MediaRef{member, kind, string(*id)}))
		}
	}
	const whole, thumb = "media_id", "thumb_media_id"
	switch b := b.(type) {
	case kefu.Image:
		put(&b.MediaID, whole, kefu.MediaImage)
		return b
	case kefu.Voice:
		put(&b.MediaID, whole, kefu.MediaVoice)
		return b
	case kefu.Video:
		put(&b.MediaID, whole, kefu.MediaVideo)
		put(&b.ThumbMediaID, thumb, kefu.MediaThumb)
		return b
	case kefu.Music:
		put(&b.ThumbMediaID, thumb, kefu.MediaThumb)
		return b
	case kefu.MPNews:
		put(&b.MediaID, whole, "news")
		return b
	case kefu.MiniProgramPage: // its page asks for the id of an image
		put(&b.ThumbMediaID, thumb, kefu.MediaImage)
		return b
	}
	return b
}
