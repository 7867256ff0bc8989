package server

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

const (
	mostPictures = 32                       // on their way to those who asked, at once
	cachePicture = "private, max-age=86400" // what a URL leads to may change
)

// getPicture shows what a message names by URL: the console may load nothing from
// elsewhere, and who looks at a message tells no foreign server so.
func (s *Server) getPicture(c *call) (int, any, error) {
	m, err := c.message()
	if err != nil {
		return 0, nil, err
	}
	url := pictureIn(m, c.PathValue("n"))
	if url == "" || s.Assets == nil {
		return 0, nil, refuse(gateway.NotFound).because("no-picture")
	}
	if s.pictures.Add(1) > mostPictures {
		s.pictures.Add(-1)
		return 0, nil, refuse(gateway.Overloaded).because("many-pictures")
	}
	defer s.pictures.Add(-1)
	format, bytes, err := s.Assets.Picture(c.Context(), m.Account, m.AcceptedAt.Time, url)
	var unfit *kefu.FileError
	switch {
	case errors.As(err, &unfit):
		return 0, nil, refuse(gateway.NotFound).because("unfit-picture", text{unfit.Reason, unfit.Zh})
	case s.has(err, gateway.Overloaded):
		return 0, nil, refuse(gateway.Overloaded).because("many-pictures")
	case err != nil:
		return 0, nil, err
	}
	h := c.w.Header()
	harmless(h, format)
	h.Set("Cache-Control", cachePicture)
	http.ServeContent(unhurriedly(c.w), c.Request, "", time.Time{}, bytes)
	return 0, nil, nil
}

// pictureIn is the URL of a message's nth picture, or "". Of news it is the nth
// article's; other kinds have one place for a picture.
func pictureIn(m gateway.Message, nth string) string {
	n, err := strconv.Atoi(nth)
	var said kefu.Message
	if err != nil || strconv.Itoa(n) != nth || said.UnmarshalJSON(m.Message) != nil {
		return ""
	}
	var places []string
	switch b := said.Body.(type) {
	case kefu.News:
		for _, a := range b.Articles {
			places = append(places, a.PicURL)
		}
	case kefu.Link:
		places = []string{b.ThumbURL}
	case kefu.Image:
		places = []string{string(b.MediaID)}
	case kefu.Video:
		places = []string{string(b.ThumbMediaID)}
	case kefu.Music:
		places = []string{string(b.ThumbMediaID)}
	case kefu.MiniProgramPage:
		places = []string{string(b.ThumbMediaID)}
	}
	if n < 1 || n > len(places) {
		return ""
	}
	if url := places[n-1]; strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://") {
		return url
	}
	return "" // an asset, or what WeChat alone has
}

// pictureAnswers are the media types of pictures.
func pictureAnswers() map[string]any {
	all := map[string]any{}
	for _, t := range assetTypes {
		if strings.HasPrefix(t, "image/") {
			all[t] = ""
		}
	}
	return all
}
