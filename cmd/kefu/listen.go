package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/webhook"
)

func (p *program) listenCommand() *cobra.Command {
	e := new(entrance)
	var o gateway.EventOptions
	var r relay
	var types []string
	var secret string
	var count int
	cmd := &cobra.Command{
		Use: "listen", Short: "Forward events to a program on this machine, for development · 把事件转发到本机程序（开发用）",
		Long: "Forward events to a program on this machine as signed webhooks, without an endpoint that the gateway can reach.\n" +
			"把事件以带签名的 webhook 转发到本机程序，网关无须能访问它。\n\n" +
			"Each event is posted once, one after the other; what the response says is done, as with a webhook.\n" +
			"每个事件按顺序各转发一次；响应里的回复照常生效。",
		Example: "  kefu listen --forward-to http://127.0.0.1:3000/webhook", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u, err := url.Parse(r.to); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return usagef("--forward-to %q is not an address", "--forward-to %q 不是地址", hostOf(r.to)).
					then("for example --forward-to http://127.0.0.1:3000/webhook", "例如 --forward-to http://127.0.0.1:3000/webhook")
			}
			if count < 0 {
				return usagef("--count is %d; it is 0, for no end, or more", "--count 是 %d；应为 0（不结束）或以上", count)
			}
			given := cmp.Or(secret, p.env["KEFU_WEBHOOK_SECRET"])
			if r.secret = kefu.Secret(given); given == "" {
				r.secret = webhook.NewSecret()
			}
			if _, err := gateway.SignWebhook("", time.Now(), nil, r.secret); err != nil {
				return usagef("the secret is none: it is whsec_ and 24 to 64 bytes in base64", "密钥格式不对：应为 whsec_ 加 24 至 64 字节的 base64")
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			r.caller = c
			if given == "" {
				p.say("signed with the secret %s; keep it with KEFU_WEBHOOK_SECRET", "签名密钥 %s；可用 KEFU_WEBHOOK_SECRET 固定", r.secret.Reveal())
			}
			seen := 0
			for entry, err := range c.Events(cmd.Context(), o) {
				if err != nil {
					return c.explained(err)
				}
				if entry.Type == gateway.ResetType || !webhook.Matches(types, entry.Type) {
					continue
				}
				line := r.forward(cmd.Context(), entry)
				if cmd.Context().Err() != nil {
					return nil
				}
				if r.asJSON {
					err = p.json(line)
				} else {
					_, err = fmt.Fprintf(p.stdout, "%s %s %s %s %d ms %s\n", stamp(line.At), line.Type, inert(cmp.Or(line.OpenID, "-")), line.Outcome, line.TookMS, tryLine(line))
				}
				if err != nil {
					return err
				}
				if seen++; seen == count {
					return nil
				}
			}
			return nil // Ctrl-C
		},
	}
	fs := cmd.Flags()
	e.flags(p, fs)
	fs.StringVar(&r.to, "forward-to", "", "where events are posted")
	fs.StringVar(&secret, "secret", "", "what signs, whsec_… (better: KEFU_WEBHOOK_SECRET; default: a new one, which is printed)")
	fs.StringArrayVar(&types, "type", []string{"follower.*"}, "of events: follower.message, message.*, *; may be repeated")
	fs.StringArrayVar(&o.Accounts, "account", nil, "appid; may be repeated")
	fs.StringVar(&o.Cursor, "cursor", "", "go on after the event with this cursor")
	fs.BoolVar(&o.FromStart, "from-start", false, "begin with the oldest event that is kept, not with now")
	fs.DurationVar(&r.timeout, "timeout", 15*time.Second, "how long to wait for the program's answer")
	fs.IntVar(&count, "count", 0, "end after so many events (default: never)")
	fs.BoolVar(&r.asJSON, "json", false, "print JSON")
	return cmd
}

// A relay is a webhook in this process: what the gateway's own does, over its API.
type relay struct {
	*caller
	to      string
	secret  kefu.Secret
	timeout time.Duration
	asJSON  bool
}

var forwarding = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// forward posts an event and does what the response says.
func (r *relay) forward(ctx context.Context, e gateway.FeedEntry) gateway.WebhookAttempt {
	now := time.Now()
	a := gateway.WebhookAttempt{
		WebhookID: webhook.WebhookID("listen", e.Cursor), Cursor: e.Cursor, Type: e.Type, Account: e.Account, OpenID: e.OpenID, N: 1, At: gateway.At(now),
		Outcome: "given-up",
	}
	var handler gateway.Handler
	var window *gateway.Window
	if e.OpenID != "" {
		if conv, err := r.Conversation(ctx, e.Account, e.OpenID); err == nil {
			handler, window = conv.Handler, conv.Window
		}
	}
	body, err := webhook.Body(e, handler, window, false)
	if err == nil {
		a.Status, a.Answer, err = r.post(ctx, e, a.WebhookID, body, handler)
	}
	if a.TookMS = time.Since(now).Milliseconds(); err != nil {
		a.Error = egress.WithoutURL(err).Error()
	} else {
		a.Outcome = "delivered"
	}
	return a
}

func (r *relay) post(ctx context.Context, e gateway.FeedEntry, id string, body []byte, handler gateway.Handler) (int, *gateway.WebhookAnswer, error) {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := webhook.NewRequest(limited, r.to, id, time.Now(), body, r.secret)
	if err != nil {
		return 0, nil, err
	}
	res, err := forwarding.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return res.StatusCode, nil, fmt.Errorf("HTTP %d", res.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, webhook.MaxAnswer+1))
	if err != nil {
		return res.StatusCode, nil, err
	}
	return res.StatusCode, r.answer(ctx, e, id, res.Header.Get("Content-Type"), answer, handler), nil
}

// answer does what a response says, as far as the API takes it.
func (r *relay) answer(ctx context.Context, e gateway.FeedEntry, id, contentType string, body []byte, handler gateway.Handler) *gateway.WebhookAnswer {
	a, err := webhook.ParseAnswer(contentType, body)
	done := new(gateway.WebhookAnswer)
	switch {
	case err != nil:
		done.Refused = err.Error()
		return done
	case a == nil:
		return nil
	case !webhook.FromFollower(e.Type):
		done.Refused = "only follower.message and follower.event are answered"
		return done
	case !handler.BotMayAnswer():
		done.Refused = "the follower is handled by " + string(handler)
		return done
	}
	account, err := r.Account(ctx, e.Account)
	if err != nil {
		done.Refused = err.Error()
		return done
	}
	for i, m := range a.Messages {
		if err := r.say(ctx, e, account.AILabel, webhook.AnswerKey(id, i), m, done); err != nil {
			done.Refused = fmt.Sprintf("messages[%d]: %v", i, err)
			return done
		}
	}
	if a.Typing {
		done.Typing = r.Typing(ctx, e.Account, e.OpenID, true) == nil
	}
	if a.Handover != "" {
		if _, err := r.Handover(ctx, e.Account, e.OpenID, gateway.Handover{Handler: a.Handover}); err != nil {
			done.Refused = err.Error()
			return done
		}
		done.Handover = a.Handover
	}
	return done
}

func (r *relay) say(ctx context.Context, e gateway.FeedEntry, ai bool, key string, message json.RawMessage, done *gateway.WebhookAnswer) error {
	req, err := webhook.Request(message, e.Account, e.OpenID, ai)
	if err != nil {
		return err
	}
	m, err := r.Send(ctx, req, gateway.SendOptions{IdempotencyKey: key})
	var problem *gateway.Problem
	if errors.As(err, &problem) && problem.Code == gateway.IdempotencyMismatch {
		return nil // answered before, in other words
	} else if err != nil {
		return errors.New(strings.TrimSpace(err.Error()))
	}
	done.Messages = append(done.Messages, m.ID)
	return nil
}
