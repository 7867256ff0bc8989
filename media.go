package kefu

// A MediaKind is what a file is to WeChat.
type MediaKind string

const (
	MediaImage MediaKind = "image"
	MediaVoice MediaKind = "voice"
	MediaVideo MediaKind = "video"
	MediaThumb MediaKind = "thumb" // the cover of a video or a song
)
