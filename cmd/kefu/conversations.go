package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func (p *program) conversationsCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "conversations", Short: "Followers, and what was said with them · 与粉丝的会话",
		Example: "  kefu conversations list", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.conversationsListCommand(e), p.conversationsShowCommand(e))
	return cmd
}

func (p *program) conversationsListCommand(e *entrance) *cobra.Command {
	var g paging
	var accounts []string
	cmd := &cobra.Command{
		Use: "list", Short: "List conversations, the latest first · 列出会话，最近的在前",
		Example: "  kefu conversations list --json", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			page, err := c.Conversations(cmd.Context(), accounts, g.cursor, g.limit)
			if err != nil {
				return c.explained(err)
			}
			return show(p, g, page, func(row func(...any)) {
				row("OPENID", "ACCOUNT", "LAST", "WINDOW")
				for _, v := range page.Items {
					w := ""
					if v.Window != nil {
						w = windowLine(*v.Window)
					}
					row(inert(v.OpenID), v.Account, stamp(v.LastAt), w)
				}
			})
		},
	}
	g.flags(cmd.Flags())
	cmd.Flags().StringArrayVar(&accounts, "account", nil, "appid; may be repeated")
	return cmd
}

func (p *program) conversationsShowCommand(e *entrance) *cobra.Command {
	var g paging
	var account string
	cmd := &cobra.Command{
		Use: "show OPENID", Short: "Show what was said, newest first · 查看往来，最新的在前",
		Example: "  kefu conversations show oUser1", Args: arguments("OPENID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			appid, err := c.theAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			page, err := c.Timeline(cmd.Context(), appid, args[0], g.cursor, g.limit)
			if err != nil {
				return c.explained(err)
			}
			return show(p, g, page, func(row func(...any)) {
				row("AT", "WHO", "STATE", "TYPE", "SAID")
				for _, v := range page.Items {
					if m := v.Message; m != nil {
						row(stamp(v.At), "account", m.State, m.MsgType, inert(said(m.Message)))
						continue
					}
					row(stamp(v.At), "follower", "-", v.Type, inert(said(v.Data)))
				}
			})
		},
	}
	g.flags(cmd.Flags())
	cmd.Flags().StringVar(&account, "account", "", "appid (default: the only account)")
	return cmd
}

func (p *program) windowCommand() *cobra.Command {
	e := new(entrance)
	var account, opened string
	var at moment
	var asJSON bool
	cmd := &cobra.Command{
		Use: "window OPENID", Short: "Whether a follower may be written to; or tell of a trigger · 粉丝的窗口，或告知一次触发",
		Long: "Show whether a follower may be written to. With --opened, tell the gateway of a trigger that WeChat doesn't push, or that was seen elsewhere.\n" +
			"查看能否给粉丝发消息。--opened 用来告知网关微信不推送的、或在别处看到的触发。",
		Example: "  kefu window oUser1\n  kefu window oUser1 --opened payment --at -5m", Args: arguments("OPENID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !at.IsZero() && opened == "" {
				return usagef("--at says when something was opened, but not what", "--at 说了时间，但没说触发").then("add --opened TRIGGER", "加上 --opened TRIGGER")
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			appid, err := c.theAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			if opened == "" {
				w, err := c.Window(cmd.Context(), appid, args[0])
				if err != nil {
					return c.explained(err)
				}
				return p.printWindow(w, w, asJSON)
			}
			done, err := c.Trigger(cmd.Context(), gateway.TriggerRequest{Account: appid, OpenID: args[0], Trigger: kefu.Trigger(opened), At: at.at()})
			if err != nil {
				return c.explained(err)
			}
			if !done.Opened {
				p.say("it opened nothing: a later trigger is known, or its time is over", "没有打开窗口：已有更晚的触发，或时间已过")
			}
			return p.printWindow(done, done.Window, asJSON)
		},
	}
	fs := cmd.Flags()
	e.flags(p, fs)
	fs.StringVar(&account, "account", "", "appid (default: the only account)")
	fs.StringVar(&opened, "opened", "", "a trigger: user_message, menu, follow, scan, payment, rights; unfollow closes")
	fs.Var(&at, "at", "when: RFC 3339, or a duration from now such as -5m (default: now)")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printWindow prints a window, as JSON what it came in.
func (p *program) printWindow(answer any, w gateway.Window, asJSON bool) error {
	if asJSON {
		return p.json(answer)
	}
	if _, err := fmt.Fprintln(p.stdout, inert(windowLine(w))); err != nil {
		return err
	}
	if w.Because != "" {
		fmt.Fprintln(p.stdout, "because", inert(w.Because))
	}
	return table(p.stdout, func(row func(...any)) {
		for _, b := range w.Buckets {
			row("  "+string(b.Trigger), left(b.Remaining), "opened "+stamp(b.OpenedAt), "until "+stamp(b.ClosesAt))
		}
	})
}

// windowLine is a window in one line.
func windowLine(w gateway.Window) string {
	if w.State != gateway.WindowOpen || w.ClosesAt == nil {
		return "window " + string(w.State)
	}
	return fmt.Sprintf("window open by %s, %s, until %s", w.OpenedBy, left(w.Remaining), stamp(*w.ClosesAt))
}

// left is how many messages may still go; nil: no limit.
func left(n *int) string {
	if n == nil {
		return "no limit"
	}
	return fmt.Sprintf("%d left", *n)
}
