package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A call without an answer ends after callTime, or after its wait and callTime.
const callTime = 30 * time.Second

// assetTime is what a file may take besides.
const assetTime = 5 * time.Minute

// maxAnswer is the largest answer that is read. A page ends at about 4 MiB, and a batch's
// results are of what 8 MiB held.
const maxAnswer = 64 << 20

// neverFollow: a redirected POST would become a GET, and its answer look like success.
func neverFollow(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

var plain = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 60 * time.Second, ForceAttemptHTTP2: true}}

// A request is one call.
type request struct {
	method, path string
	query        url.Values
	in           any           // the body; nil: none
	raw          io.Reader     // a body that is not JSON
	wait         time.Duration // for a message's end
	longer       time.Duration // that the gateway may take besides
	key          string        // idempotency key
	match        string        // the revision that is replaced; "": any
	accept       string        // media type of the answer; "": JSON
	also         int           // a status besides 2xx that is no problem
}

type none struct{}

// path joins segments, each escaped.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

func set(q url.Values, name, v string) {
	if v != "" {
		q.Set(name, v)
	}
}

func paged(q url.Values, cursor string, limit int) url.Values {
	set(q, "cursor", cursor)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// call alone sends what has one answer.
func call[T any](ctx context.Context, c *Client, r request) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime+r.wait+r.longer)
	defer cancel()
	if r.wait > 0 {
		r.query = url.Values{"wait": {r.wait.String()}}
	}
	res, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return out, c.failed(r, err)
	case len(body) == 0 && res.StatusCode/100 == 2:
		return out, nil
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, c.failed(r, fmt.Errorf("the answer is not the gateway's: %w", err))
	}
	return out, nil
}

// message is call for what answers with a message. Something else that answers with JSON
// has kept none.
func (c *Client) message(ctx context.Context, r request) (Message, error) {
	m, err := call[Message](ctx, c, r)
	if err == nil && m.ID == "" {
		err = c.failed(r, errors.New("the answer is no message"))
	}
	return m, err
}

// do sends r and returns an answer that is no problem.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.in != nil {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.in); err != nil {
			return nil, fmt.Errorf("gateway: the request is not JSON: %w", err)
		}
		body = &b
	} else if r.raw != nil {
		body = r.raw
	}
	target := c.base() + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, c.failed(r, err)
	}
	h := req.Header
	h.Set("Authorization", "Bearer "+c.Key.Reveal())
	switch {
	case r.raw != nil:
		h.Set("Content-Type", "application/octet-stream")
	case body != nil:
		h.Set("Content-Type", "application/json")
	}
	if c.Language != "" {
		h.Set("Accept-Language", c.Language)
	}
	if c.Source != "" {
		h.Set("Kefu-Source", string(c.Source))
	}
	if r.key != "" {
		h.Set("Idempotency-Key", r.key)
	}
	if r.match != "" {
		h.Set("If-Match", `"`+r.match+`"`)
	}
	if r.accept != "" {
		h.Set("Accept", r.accept)
	}
	once := *cmp.Or(c.HTTP, plain)
	once.CheckRedirect = neverFollow
	res, err := once.Do(req)
	if err != nil {
		return nil, c.failed(r, err)
	}
	if res.StatusCode/100 == 2 || res.StatusCode == r.also {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.problem(r, res)
}

// problem reads what the gateway says is wrong.
func (c *Client) problem(r request, res *http.Response) error {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if to, err := res.Location(); err == nil && res.StatusCode/100 == 3 {
		return fmt.Errorf("gateway: %s at %s: HTTP %s to %s://%s, which is not followed; make that the base URL", r.method, c.base(), res.Status, to.Scheme, to.Host)
	}
	p := new(Problem)
	if kind != "application/problem+json" || json.Unmarshal(body, p) != nil || p.Code == "" {
		return c.failed(r, fmt.Errorf("HTTP %s, which is not a gateway's answer", res.Status))
	}
	return p
}

// failed is an error without an answer. It names the address and not the query,
// where somebody's data may be.
func (c *Client) failed(r request, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("gateway: %s at %s: %w; is `kefu serve` running there?", r.method, c.base(), err)
}

func (c *Client) base() string { return strings.TrimSuffix(cmp.Or(c.BaseURL, DefaultURL), "/") }
