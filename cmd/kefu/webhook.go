package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) webhookCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "webhook", Short: "Where the gateway calls with what happens · 网关向哪里推送事件",
		Example: "  kefu webhook list", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.webhookAddCommand(e), p.webhookListCommand(e), p.webhookShowCommand(e), p.webhookTestCommand(e),
		p.webhookReplayCommand(e), p.webhookRotateCommand(e), p.webhookDeleteCommand(e))
	return cmd
}

func (p *program) webhookAddCommand(e *entrance) *cobra.Command {
	var r gateway.WebhookRequest
	var timeout time.Duration
	var noAnswers, asJSON bool
	cmd := &cobra.Command{
		Use: "add URL", Short: "Add a webhook; its secret is printed this once · 添加 webhook，密钥只显示这一次",
		Example: "  kefu webhook add https://shop.example/kefu\n  kefu webhook add https://bot.example/ --type follower.message --typing", Args: arguments("URL"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			r.URL = args[0]
			r.Timeout = gateway.Seconds(timeout / time.Second)
			if noAnswers {
				r.Answers = new(bool)
			}
			w, err := c.AddWebhook(cmd.Context(), r)
			if err != nil {
				return c.explained(err)
			}
			for _, warning := range w.Warnings {
				p.say("warning: %s", "警告：%s", inert(warning))
			}
			if asJSON {
				return p.json(w)
			}
			p.say("%s; this is its secret, which the gateway can't show again", "%s；以下是它的密钥，网关无法再次显示", w.ID)
			_, err = fmt.Fprintln(p.stdout, w.Secret)
			return err
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&r.Name, "name", "", "for people")
	fs.StringArrayVar(&r.Types, "type", nil, "of events: follower.message, message.*, *; may be repeated (default: follower.*)")
	fs.StringArrayVar(&r.Accounts, "account", nil, "appid that it is for; may be repeated (default: all)")
	fs.BoolVar(&noAnswers, "no-answers", false, "take no messages from its responses")
	fs.BoolVar(&r.Typing, "typing", false, "show the follower “typing…” while it thinks")
	fs.DurationVar(&timeout, "timeout", 15*time.Second, "of one try, up to 30s")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) webhookListCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List webhooks · 列出 webhook", Example: "  kefu webhook list --json", Args: arguments(),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, _ []string) error {
			all, err := c.Webhooks(cmd.Context())
			if err != nil {
				return c.explained(err)
			}
			return show(p, paging{asJSON: asJSON}, gateway.Page[gateway.Webhook]{Items: all}, func(row func(...any)) {
				row("ID", "STATE", "TYPES", "ACCOUNTS", "URL")
				for _, w := range all {
					row(w.ID, webhookState(w), strings.Join(w.Types, ","), cmp.Or(strings.Join(w.Accounts, ","), "all"), hostOf(w.URL))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the whole URLs")
	return cmd
}

// webhookState is how an endpoint is, in a few words.
func webhookState(w gateway.Webhook) string {
	switch {
	case !w.Enabled:
		return "disabled"
	case w.FailingSince != nil:
		return "failing since " + stamp(*w.FailingSince)
	}
	return "enabled"
}

func (p *program) webhookShowCommand(e *entrance) *cobra.Command {
	var g paging
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a webhook's tries, newest first · 查看 webhook 的投递记录，最新的在前",
		Example: "  kefu webhook show wh_0123456789abcdef", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			w, err := c.Webhook(cmd.Context(), args[0])
			if err != nil {
				return c.explained(err)
			}
			page, err := c.WebhookAttempts(cmd.Context(), args[0], g.cursor, g.limit)
			if err != nil {
				return c.explained(err)
			}
			if !g.asJSON {
				p.say("%s is %s; it has read up to %s", "%s：%s；已读到 %s", w.ID, strings.Join(nonEmpty([]string{webhookState(w), inert(w.Because)}), ": "), w.Cursor)
			}
			return show(p, g, page, func(row func(...any)) {
				row("AT", "EVENT", "TYPE", "TRY", "OUTCOME", "TOOK", "WHAT")
				for _, a := range page.Items {
					row(stamp(a.At), a.WebhookID, a.Type, a.N, a.Outcome, fmt.Sprintf("%d ms", a.TookMS), tryLine(a))
				}
			})
		}),
	}
	g.flags(cmd.Flags())
	return cmd
}

// tryLine is what came of a try, in a few words.
func tryLine(a gateway.WebhookAttempt) string {
	parts := []string{a.Error}
	if a.Error == "" && a.Status != 0 {
		parts = []string{fmt.Sprintf("HTTP %d", a.Status)}
	}
	if a.RetryAt != nil {
		parts = append(parts, "again at "+stamp(*a.RetryAt))
	}
	if a.Answer != nil {
		if n := len(a.Answer.Messages); n > 0 {
			parts = append(parts, fmt.Sprintf("answered with %d", n))
		}
		if a.Answer.Handover != "" {
			parts = append(parts, "handed to "+string(a.Answer.Handover))
		}
		if a.Answer.Refused != "" {
			parts = append(parts, "answer not taken: "+a.Answer.Refused)
		}
	}
	return inert(strings.Join(nonEmpty(parts), "; "))
}

func (p *program) webhookTestCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "test ID", Short: "Post a test event and tell what came of it · 推送一个测试事件",
		Example: "  kefu webhook test wh_0123456789abcdef", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			a, err := c.TestWebhook(cmd.Context(), args[0])
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				err = p.json(a)
			} else {
				_, err = fmt.Fprintf(p.stdout, "%s in %d ms: %s\n", a.Outcome, a.TookMS, tryLine(a))
			}
			if err == nil && a.Outcome != "delivered" {
				err = failf("the endpoint did not take the test event", "对方没有接收测试事件").
					then("it must answer with a status from 200 to 299 within its time-out", "对方须在超时前以 200 至 299 的状态码应答")
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) webhookReplayCommand(e *entrance) *cobra.Command {
	var r gateway.ReplayRequest
	var since moment
	var asJSON bool
	cmd := &cobra.Command{
		Use: "replay ID", Short: "Deliver events once more: one, a range, or since a time · 重新推送事件",
		Example: "  kefu webhook replay wh_0123456789abcdef --cursor 42\n  kefu webhook replay wh_0123456789abcdef --since -2h", Args: arguments("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Since = since.at()
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			replay, err := c.ReplayWebhook(cmd.Context(), args[0], r)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(replay)
			}
			p.say("events %s to %s are delivered once more", "将重新推送事件 %s 至 %s", replay.From, replay.To)
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&r.Cursor, "cursor", "", "the event with this cursor")
	fs.StringVar(&r.From, "from", "", "from the event with this cursor")
	fs.StringVar(&r.To, "to", "", "to the event with this cursor (default: the latest)")
	fs.Var(&since, "since", "not older than this: RFC 3339, or a duration from now such as -2h")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) webhookRotateCommand(e *entrance) *cobra.Command {
	var overlap time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Make a new secret; it is printed this once · 更换密钥，只显示这一次",
		Example: "  kefu webhook rotate wh_0123456789abcdef --overlap 1h", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			seconds := gateway.Seconds(overlap / time.Second)
			w, err := c.RotateWebhook(cmd.Context(), args[0], gateway.RotateRequest{Overlap: &seconds})
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(w)
			}
			p.say("the old secret signs besides this one for %v", "旧密钥在 %v 内仍与新密钥同时签名", overlap)
			_, err = fmt.Fprintln(p.stdout, w.Secret)
			return err
		}),
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret signs besides, up to 168h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) webhookDeleteCommand(e *entrance) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "End a webhook · 删除 webhook", Example: "  kefu webhook delete wh_0123456789abcdef", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			if err := c.DeleteWebhook(cmd.Context(), args[0]); err != nil {
				return c.explained(err)
			}
			p.say("%s is not called any more", "不再调用 %s", args[0])
			return nil
		}),
	}
}
