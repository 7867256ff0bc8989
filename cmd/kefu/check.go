package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// A step is one thing that `demo --check` tries, with a follower of its own: to.
// It returns what it saw on the follower's side, or why that is not what had to be
// seen. A nil error without looking would be a lie.
type step struct {
	name string
	run  func(ctx context.Context, d *demo, to string) (seen string, err error)
}

// steps are all that is tried: the kinds of messages, then what surrounds them,
// then the article of the beginning with its rules and its mistakes, all by the SDK
// alone; at last the gateway.
func steps() []step {
	var all []step
	for _, k := range kinds() {
		all = append(all, step{k.name, func(ctx context.Context, d *demo, to string) (string, error) {
			return k.arrives(ctx, &d.party, to, func(m kefu.Message) error {
				_, err := d.client.Send(ctx, m)
				return err
			})
		}})
	}
	all = append(all,
		step{"typing", checkTyping},
		step{"menu-tap", checkMenuTap},
		step{"window", checkWindow},
		step{"allowance", checkAllowance},
		step{"retry", checkRetry},
		step{"lost-answer", checkLostAnswer},
		step{"dead-token", checkDeadToken},
		step{"image-back", checkImageBack},
		step{"picture-url", checkPictureURL},
		step{"callback-url", checkCallbackURL},
		step{"callback-passive", checkPassiveReply},
		step{"callback-answer", checkAnswer},
		step{"callback-forged", checkForgery},
		step{"card-rule", checkCardRule},
		step{"six-triggers", checkSixTriggers},
		step{"eight-articles", checkEightArticles},
		step{"no-access-token", checkNoAccessToken},
		step{"trailing-comma", checkTrailingComma},
		step{"video-without-thumb", checkVideoWithoutThumb},
		step{"uploadimg-video", checkUploadimgVideo},
	)
	return append(append(all, gatewaySteps()...), assetSteps()...)
}

// checkTime is how long a check may take; on a quiet machine it takes some seconds.
const checkTime = time.Minute

// check tries the steps and prints a row of what each saw.
func (d *demo) check(ctx context.Context, steps []step) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	failed := 0
	for _, s := range steps {
		seen, err := s.run(ctx, d, "oCheck-"+s.name)
		mark := d.paint(d.stdout, green, "✓")
		if err != nil {
			mark, seen = d.paint(d.stdout, red, "✗"), err.Error()
			failed++
		}
		if _, err := fmt.Fprintf(d.stdout, "%s %-23s %s\n", mark, s.name, oneLine(seen)); err != nil {
			return err
		}
	}
	took := time.Since(began).Round(time.Millisecond)
	if failed > 0 {
		return failf("%d of %d steps failed, in %v", "%d 步失败，共 %d 步，用时 %v", failed, len(steps), took).
			then("the rows with ✗ say what was seen instead", "看带 ✗ 的行")
	}
	d.say("%d of %[1]d steps seen, in %[2]v", "%d 步全部看到，用时 %v", len(steps), took)
	return nil
}

func oneLine(s string) string {
	const most = 110
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// ---- what the follower's side shows, read through the control plane ----

type receivedMessage struct {
	Raw string `json:"raw"`
}

type chatLine struct {
	Dir     string          `json:"dir"`
	Message json.RawMessage `json:"message"`
	KF      *struct {
		Nickname string `json:"nickname"`
	} `json:"kf"`
	Preview *struct {
		Title string `json:"title"`
	} `json:"preview"`
}

type seenRequest struct {
	Path    string `json:"path"`
	OpenID  string `json:"openid"`
	ErrCode int    `json:"errcode"`
	Status  int    `json:"status"`
}

type seenFollower struct {
	Typing bool   `json:"typing"`
	Window window `json:"window"`
}

// read decodes what a GET of the control plane answers.
func read[T any](ctx context.Context, d *party, path string) (v T, err error) {
	answer, err := d.control.call(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(answer, &v)
	}
	return v, err
}

func (d *party) messages(ctx context.Context, to string) ([]receivedMessage, error) {
	l, err := read[list[receivedMessage]](ctx, d, "messages?to="+to)
	return l.Items, err
}

// contents are the texts that the follower received.
func (d *party) contents(ctx context.Context, to string) (texts []string, err error) {
	messages, err := d.messages(ctx, to)
	for _, got := range messages {
		m, err := kefu.ParseMessage([]byte(got.Raw))
		if err != nil {
			return nil, err
		}
		t, _ := m.Body.(kefu.Text)
		texts = append(texts, t.Content)
	}
	return texts, err
}

// sends are the errcodes with which the sends to the follower were answered.
func (d *party) sends(ctx context.Context, to string) (codes []int, err error) {
	l, err := read[list[seenRequest]](ctx, d, "requests")
	for _, r := range l.Items {
		if r.OpenID == to && r.Path == "/cgi-bin/message/custom/send" {
			codes = append(codes, r.ErrCode)
		}
	}
	return codes, err
}

func (d *party) advance(ctx context.Context, by string) error {
	_, err := d.control.call(ctx, http.MethodPost, "clock", map[string]string{"advance": by})
	return err
}

func (d *party) act(ctx context.Context, openid, action string) (done, error) {
	r, _, err := d.control.act(ctx, openid, action, nil)
	return r, err
}

func (d *party) text(ctx context.Context, to, content string) error {
	_, err := d.client.Send(ctx, kefu.Message{To: to, Body: kefu.Text{Content: content}})
	return err
}

// want compares.
func want[T any](what string, got, want T) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("%s: got %v, want %v", what, got, want)
}

// wantCode holds an error against the errcode that WeChat has to refuse with.
func wantCode(what string, err error, code int) error {
	var refused *kefu.Error
	if errors.As(err, &refused) && refused.Code == code {
		return nil
	}
	return fmt.Errorf("%s: got %v, want errcode %d", what, err, code)
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// ---- the kinds of messages ----
