package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// What a raw call may cost.
const (
	rawTime     = 20 * time.Second
	maxRawQuery = 20       // members
	maxRawText  = 1024     // bytes of one
	maxRaw      = 1 << 20  // of an answer
	rawHeld     = 32 << 20 // of an asset on its way, with the form around it, and of the answer
)

// postRaw makes one call of WeChat's API with the account's token, or has a simulated
// WeChat answer it.
func (s *Server) postRaw(c *call) (int, any, error) {
	var in gateway.RawCall
	if err := c.body(&in); err != nil {
		return 0, nil, err
	}
	account, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	if in.Target == "" {
		in.Target = gateway.ToWeChat
	}
	if in.Method == "" {
		in.Method = http.MethodPost
	}
	var bad []field
	bad = append(bad, oneOf("target", in.Target, gateway.ToWeChat, gateway.ToSimulator)...)
	bad = append(bad, oneOf("method", in.Method, http.MethodGet, http.MethodPost)...)
	if len(in.Query) > maxRawQuery {
		bad = append(bad, wrong("query", "max-items", len(in.Query), maxRawQuery))
	}
	query := url.Values{}
	for name, value := range in.Query {
		switch {
		case len(name)+len(value) > maxRawText:
			bad = append(bad, wrong("query."+name, "max-bytes", len(name)+len(value), maxRawText))
		case strings.EqualFold(name, "access_token"):
			bad = append(bad, wrong("query."+name, "raw-token"))
		}
		query.Set(name, value)
	}
	if in.Asset != "" && len(in.Body) > 0 {
		bad = append(bad, wrong("body", "raw-body"))
	}
	var way http.RoundTripper
	if s.Raw != nil {
		way = s.Raw(account.AppID, in.Path, c.key.Role == gateway.Admin, in.Target == gateway.ToSimulator)
	}
	if way == nil {
		bad = append(bad, wrong("path", "raw-path"))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	body, kind := []byte(in.Body), "application/json"
	if in.Asset != "" {
		if err := c.hold(rawHeld); err != nil {
			return 0, nil, err
		}
		if body, kind, err = s.formOf(c.Context(), account.AppID, in.Asset); err != nil {
			return 0, nil, err
		}
	}
	if in.Target == gateway.ToWeChat {
		if err := c.record("wechat.call", account.AppID, in.Method+" "+in.Path); err != nil {
			return 0, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(c.Context(), rawTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, in.Method, "http://wechat"+in.Path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("path", "raw-path"))
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", kind)
	}
	began := time.Now()
	res, err := way.RoundTrip(r)
	var known *gateway.Problem
	switch {
	case errors.As(err, &known), kefu.ClassOf(err) != "":
		return 0, nil, err
	case err != nil:
		s.Log.WarnContext(c.Context(), "a raw call was not answered", "path", in.Path, "err", fmt.Sprintf("%T", err))
		return 0, nil, &gateway.Problem{Code: gateway.Unreachable}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxRaw+1))
	if err != nil {
		return 0, nil, &gateway.Problem{Code: gateway.Unreachable}
	}
	return http.StatusOK, c.rawAnswer(in, res, answer, time.Since(began)), nil
}

// rawAnswer shows what was answered, with the errcode explained in the caller's language.
func (c *call) rawAnswer(in gateway.RawCall, res *http.Response, answer []byte, took time.Duration) gateway.RawAnswer {
	out := gateway.RawAnswer{Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), TookMS: took.Milliseconds()}
	var said struct{ ErrCode int }
	switch {
	case len(answer) > maxRaw:
		out.Cut = true
	case json.Valid(answer):
		out.Body = answer
		_ = json.Unmarshal(answer, &said) // a list has no errcode
		out.ErrCode = said.ErrCode
	default:
		out.Data = base64.StdEncoding.EncodeToString(answer)
	}
	if e := kefu.Explain(strings.TrimPrefix(in.Path, "/cgi-bin/"), out.ErrCode); out.ErrCode != 0 {
		out.Meaning, out.Advice = e.Meaning(c.lang), e.Advice(c.lang)
	}
	return out
}

// formOf is an asset as the form that WeChat takes files in.
func (s *Server) formOf(ctx context.Context, appid, id string) (body []byte, contentType string, err error) {
	if s.Assets == nil {
		return nil, "", refuse(gateway.NotFound)
	}
	a, err := s.Assets.Asset(ctx, []string{appid}, id)
	if err != nil {
		return nil, "", err
	}
	file, err := s.Assets.Open(ctx, a)
	if err != nil {
		return nil, "", err
	}
	if closer, ok := file.(io.Closer); ok {
		defer closer.Close()
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreatePart(map[string][]string{
		"Content-Disposition": {`form-data; name="media"; filename="file.` + a.Format + `"`},
		"Content-Type":        {"application/octet-stream"},
	})
	if err == nil {
		_, err = io.Copy(part, io.LimitReader(file, maxAsset+1))
	}
	err = errors.Join(err, form.Close())
	return b.Bytes(), form.FormDataContentType(), err
}
