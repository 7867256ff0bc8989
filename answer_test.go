package kefu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
)

// Whatever WeChat answers, or what stands between: a message counts as sent with
// errcode 0 alone, as refused with another errcode or a status that says so, and all
// else is unknown. No answer has the token shown, and none makes a client ask more
// than twice.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		`{"errcode":0,"errmsg":"ok"}`, `{"errcode":0}`, ` {"errcode":-0}`, `{"errcode":"0"}`, `{"errcode":0.0}`, `{"errcode":1e0}`, `{"errcode":null}`,
		`{"errcode":45015,"errmsg":"response out of time limit or subscription is canceled rid: 5eed"}`, `{"errcode":40001,"errmsg":"5eedtoken"}`,
		`{"errcode":4294967296}`, `{"errcode":-1,"errmsg":7}`, `{"errcode":45015,"errcode":0}`, `{"ErrCode":0}`, `{}`, `[]`, `null`, `0`, ``,
		`<html>5eedtoken</html>`, "\xef\xbb\xbf{\"errcode\":0}", `{"errcode":0}{`, `{"a":` + strings.Repeat(`[`, 20_000), "\x00\xff",
	} {
		for _, status := range []int{200, 302, 404, 408, 502} {
			f.Add(status, []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, status int, answer []byte) {
		if status < 200 || status > 599 { // net/http gives out no others
			return
		}
		const token = "5eedtoken"
		posts := 0
		c := &kefu.Client{Tokens: kefu.StaticToken(token), HTTP: &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
			posts++
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer)), Request: r}, nil
		})}}
		_, err := c.Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hi"}})
		var object map[string]json.RawMessage
		_ = json.Unmarshal(answer, &object)
		errcode, noErrcode := strconv.ParseInt(string(object["errcode"]), 10, 32)
		var refused *kefu.Error
		var transport *kefu.TransportError
		switch {
		case err == nil:
			if noErrcode != nil || errcode != 0 {
				t.Fatalf("%d %q counts as sent", status, answer)
			}
		case errors.As(err, &refused):
			if noErrcode != nil || int64(refused.Code) != errcode || errcode == 0 {
				t.Fatalf("%d %q is %v", status, answer, err)
			}
		case errors.As(err, &transport):
			sure := status >= 300 && status < 500 && status != http.StatusRequestTimeout
			if len(answer) < 1000 && noErrcode == nil || errors.Is(err, kefu.ErrNotDelivered) != sure || errors.Is(err, kefu.ErrUnknownOutcome) == sure {
				t.Fatalf("%d %q is %v", status, answer, err)
			}
		default:
			t.Fatalf("%d %q is %T: %v", status, answer, err, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Fatalf("the token is shown: %v", err)
		}
		if posts > 2 {
			t.Fatalf("%d posts for %d %q", posts, status, answer)
		}
	})
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
