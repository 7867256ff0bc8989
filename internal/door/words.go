package door

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Errcodes of answers that are the door's own.
const (
	busy            = -1
	wrongToken      = 40001
	wrongGrant      = 40002
	noOpenID        = 40003
	noAccount       = 40013
	wrongSecret     = 40125
	badArgument     = 40035
	mediaInvalid    = 40007
	noToken         = 41001
	noAppID         = 41002
	noSecret        = 41004
	tokenOver       = 42001
	postWanted      = 43002
	windowClosed    = 45015
	allowanceSpent  = 45047
	wrongCommand    = 45072
	notJSON         = 47001
	unauthorizedAPI = 48001
)

// errmsgs are WeChat's texts.
var errmsgs = map[int]string{
	noOpenID: "invalid openid",
	busy:     "system error", wrongToken: "invalid credential, access_token is invalid or not latest", wrongGrant: "invalid grant_type",
	noAccount: "invalid appid", wrongSecret: "invalid appsecret", badArgument: "invalid parameter", mediaInvalid: "invalid media_id",
	noToken: "access_token missing", noAppID: "appid missing", noSecret: "appsecret missing", tokenOver: "access_token expired",
	postWanted: "require POST method", windowClosed: "response out of time limit or subscription is canceled",
	allowanceSpent: "out of response count limit", wrongCommand: "invalid command", notJSON: "data format error", unauthorizedAPI: "api unauthorized",
}

// Words are an answer as WeChat gives it.
type words struct {
	ErrCode int    `json:"errcode"`
	ErrMsg  string `json:"errmsg"`
}

var fine = &words{0, "ok"}

// refuse is WeChat's text for a code; because says what only the door knows.
func refuse(code int, because string) *words {
	msg := errmsgs[code]
	if msg == "" {
		msg = kefu.Explain("message/custom/send", code).En
	}
	if because != "" {
		msg += ": " + because
	}
	return &words{code, msg}
}

// wordsOf is an error in WeChat's words; a fault that the caller can't have caused is
// -1, and second.
func wordsOf(err error) (said *words, fault error) {
	var refused *kefu.Error
	var p *gateway.Problem
	switch {
	case errors.As(err, &refused):
		return &words{refused.Code, refused.Msg}, nil
	case errors.As(err, &p) && p.ErrCode != 0:
		return refuse(p.ErrCode, ""), nil
	case errors.As(err, &p) && p.Code == gateway.UnknownAccount:
		return refuse(noAccount, ""), nil
	case errors.As(err, &p) && p.Code == gateway.InvalidAsset:
		return refuse(mediaInvalid, p.Detail), nil
	case errors.As(err, &p) && p.Code == gateway.InvalidJSON:
		return refuse(notJSON, p.Detail), nil
	case errors.As(err, &p) && p.Status/100 == 4:
		because := p.Detail
		for _, e := range p.Errors {
			because = e.Location + " " + e.Message
			break
		}
		return refuse(badArgument, because), nil
	}
	return refuse(busy, ""), err
}

// outcome is what became of a message in WeChat's words.
func outcome(m gateway.Message) *words {
	switch {
	case m.State == gateway.Sent:
		return fine
	case m.State == gateway.Parked: // kept, as the account is set
		return fine
	case m.State == gateway.Failed && m.Outcome != nil && m.Outcome.ErrCode != 0:
		if m.Outcome.ErrMsg != "" {
			return &words{m.Outcome.ErrCode, m.Outcome.ErrMsg}
		}
		return refuse(m.Outcome.ErrCode, "")
	case m.State == gateway.Failed && m.Outcome != nil && m.Outcome.Class == kefu.ErrMediaInvalid:
		return refuse(mediaInvalid, m.Outcome.Reason)
	}
	return refuse(busy, "")
}

const jsonAnswer = "application/json; encoding=utf-8" // as WeChat has it

// answer writes v as WeChat would.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, path string, v any) error {
	said, _ := v.(*words)
	code := 0
	if said != nil {
		code = said.ErrCode
	}
	d.Log.LogAttrs(r.Context(), slog.LevelDebug, "door", slog.String("path", path), slog.Int("errcode", code))
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	h := w.Header()
	h.Set("Content-Type", jsonAnswer)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	_, err := w.Write(text)
	return errors.Join(err, http.NewResponseController(w).Flush())
}
