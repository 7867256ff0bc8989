package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/internal/egress"
)

// A controlPlane is the way to a simulator's /_sim/ calls.
type controlPlane struct {
	base    string // "http://127.0.0.1:7700"
	account string // appid; "" for the first
	Key     kefu.Secret
}

// mostControl is far more than a simulator's chat of a day.
const mostControl = 64 << 20

// call makes a call below /_sim/ and returns the JSON that it answers. in is sent
// as JSON unless it is nil.
func (c *controlPlane) call(ctx context.Context, method, path string, in any) (json.RawMessage, error) {
	base, _, _ := strings.Cut(c.base, "?")
	u, err := url.Parse(strings.TrimRight(base, "/") + "/_sim/" + path)
	if err != nil || !isAddress(base) {
		return nil, usagef("%q is not the address of a simulator", "%q 不是模拟器的地址", hostOf(c.base)).then("for example http://127.0.0.1:7700", "例如 http://127.0.0.1:7700")
	}
	if q := u.Query(); c.account != "" {
		q.Set("account", c.account)
		u.RawQuery = q.Encode()
	}
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := encode(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key.Reveal())
	}
	res, err := plainHTTP.Do(req)
	if err != nil {
		f := failf("no simulator answers at %s", "%s 没有模拟器应答", hostOf(c.base)).then("start one with: kefu sim; or name its address with --sim", "用 kefu sim 启动一个，或用 --sim 指定地址")
		f.cause = egress.WithoutURL(err)
		return nil, f
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostControl+1))
	if err != nil || len(answer) > mostControl {
		return nil, failf("the simulator's answer broke off", "模拟器的应答中断")
	}
	if res.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		_ = json.Unmarshal(answer, &problem) // else only the status tells
		return nil, failf("the simulator refuses it (HTTP %d): %s", "模拟器拒绝（HTTP %d）：%s", res.StatusCode, cmp.Or(problem.Detail, http.StatusText(res.StatusCode)))
	}
	if !json.Valid(answer) {
		return nil, failf("what answers at %s is not a simulator", "%s 应答的不是模拟器", hostOf(c.base))
	}
	return answer, nil
}

// A window as the control plane shows it.
type window struct {
	State     string       `json:"state"`
	Remaining *int         `json:"remaining"` // nil: no limit
	ClosesAt  time.Time    `json:"closes_at"`
	OpenedBy  kefu.Trigger `json:"opened_by"`
	Buckets   []struct {
		Trigger  kefu.Trigger `json:"trigger"`
		Max      *int         `json:"max"`
		OpenedAt time.Time    `json:"opened_at"`
		ClosesAt time.Time    `json:"closes_at"`
	} `json:"buckets"`
}

func (w window) String() string {
	if w.State != "open" {
		return "window " + plainLine(w.State)
	}
	left := "no limit"
	if w.Remaining != nil {
		left = fmt.Sprintf("%d left", *w.Remaining)
	}
	return fmt.Sprintf("window open by %s, %s, until %s", plainLine(string(w.OpenedBy)), left, w.ClosesAt.UTC().Format(time.RFC3339))
}

// A done is what came of a follower's action.
type done struct {
	Event      json.RawMessage `json:"event"`
	Window     window          `json:"window"`
	Deliveries []struct {
		Status int             `json:"status"`
		TookMS float64         `json:"took_ms"`
		Reply  json.RawMessage `json:"reply"`
	} `json:"deliveries"`
}

func (c *controlPlane) act(ctx context.Context, openid, action string, details any) (done, json.RawMessage, error) {
	answer, err := c.call(ctx, http.MethodPost, "followers/"+url.PathEscape(openid)+"/"+url.PathEscape(action), details)
	if err != nil {
		return done{}, nil, err
	}
	var d done
	if err := json.Unmarshal(answer, &d); err != nil {
		return done{}, nil, failf("the simulator answers in a form of another version", "模拟器的应答属于另一个版本")
	}
	return d, answer, nil
}
