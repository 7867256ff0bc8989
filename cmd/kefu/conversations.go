package main

import (
	"fmt"
	"slices"
	"strings"

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
	cmd.AddCommand(p.conversationsListCommand(e), p.conversationsShowCommand(e), p.conversationsHandoverCommand(e), p.conversationsExportCommand(e), p.conversationsEraseCommand(e))
	return cmd
}

func (p *program) conversationsListCommand(e *entrance) *cobra.Command {
	var g paging
	var accounts []string
	cmd := &cobra.Command{
		Use: "list", Short: "List conversations, the latest first · 列出会话，最近的在前",
		Example: "  kefu conversations list --json", Args: arguments(),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, _ []string) error {
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
		}),
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
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
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
					who := "follower"
					if !strings.HasPrefix(v.Type, "follower.") { // a note, a hand-over
						who = "-"
					}
					row(stamp(v.At), who, "-", v.Type, inert(said(v.Data)))
				}
			})
		}),
	}
	g.flags(cmd.Flags())
	cmd.Flags().StringVar(&account, "account", "", "appid (default: the only account)")
	return cmd
}

func (p *program) conversationsHandoverCommand(e *entrance) *cobra.Command {
	var account string
	var h gateway.Handover
	var asJSON bool
	cmd := &cobra.Command{
		Use: "handover OPENID HANDLER", Short: "Say who answers a follower: bot, agent, kf or none · 指定由谁接待",
		Long: "Say who answers a follower from now on: bot (webhooks that answer), agent (the console), kf (WeChat's own customer service), none.\n" +
			"指定此后由谁接待：bot（能回复的 webhook）、agent（工作台）、kf（微信自己的客服）、none（无人）。",
		Example: "  kefu conversations handover oUser1 bot\n  kefu conversations handover oUser1 kf --kf xiaowei@shop", Args: arguments("OPENID", "HANDLER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			h.Handler = gateway.Handler(args[1])
			if !slices.Contains(gateway.Handlers(), h.Handler) {
				return usagef("nobody is called %q", "没有 %q 这种接待方", args[1]).then("HANDLER is bot, agent, kf or none", "HANDLER 是 bot、agent、kf 或 none")
			}
			if h.KfAccount != "" && h.Handler != gateway.ByKf {
				return usagef("--kf is for kf alone", "--kf 只用于 kf")
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			appid, err := c.theAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			now, err := c.Handover(cmd.Context(), appid, args[0], h)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(now)
			}
			_, err = fmt.Fprintf(p.stdout, "%s: %s\n", inert(args[0]), now.Handler)
			return err
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "appid (default: the only account)")
	cmd.Flags().StringVar(&h.KfAccount, "kf", "", "of kf: for this worker alone, NAME@ACCOUNT")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) conversationsExportCommand(e *entrance) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "export OPENID", Short: "Print all that is kept of a follower · 导出与某个粉丝有关的全部数据",
		Long: "Print all that is kept of a follower, oldest first, a line of JSON each: what is known of the windows, our messages with their attempts, what the follower did. Needs an admin key.\n" +
			"导出与某个粉丝有关的全部数据，最早的在前，每行一个 JSON：窗口账本、我方消息与每次投递、粉丝的操作。需要 admin 密钥。",
		Example: "  kefu conversations export oUser1", Args: arguments("OPENID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			appid, err := c.theAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			if err := c.Export(cmd.Context(), appid, args[0], p.stdout); err != nil {
				return c.explained(err)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&account, "account", "", "appid, also of an account that is gone (default: the only account)")
	return cmd
}

func (p *program) conversationsEraseCommand(e *entrance) *cobra.Command {
	var account string
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use: "erase OPENID", Short: "Erase all that is kept of a follower, for good · 永久删除与某个粉丝有关的全部数据",
		Long: "Erase all that is kept of a follower, for good: messages, attempts, what the follower did, what is known of the windows. What waits is canceled, what is on its way is waited for. Only the SHA-256 of the openid stays, so that a backup can be told to erase it, too. Needs an admin key.\n" +
			"永久删除与某个粉丝有关的全部数据：消息、投递记录、粉丝的操作、窗口账本。等待中的消息会取消，在途的等它结束。只留下 openid 的 SHA-256，供恢复备份后再次删除。需要 admin 密钥。",
		Example: "  kefu conversations erase oUser1 --yes", Args: arguments("OPENID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usagef("this can't be undone", "此操作无法撤销").then("add --yes", "加上 --yes 即执行")
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			appid, err := c.theAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			gone, err := c.Erase(cmd.Context(), appid, args[0])
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(gone)
			}
			_, err = fmt.Fprintf(p.stdout, "erased %d messages and %d other lines; sha256 %s\n", gone.Messages, gone.Lines, gone.Hash)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&account, "account", "", "appid, also of an account that is gone (default: the only account)")
	fs.BoolVar(&yes, "yes", false, "really erase")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
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
	return fmt.Sprintf("window open by %s, %s, until %s", opener(w), left(w.Remaining), stamp(*w.ClosesAt))
}

// opener is the trigger of the bucket that the next send takes from; "" if there is none.
func opener(w gateway.Window) (t kefu.Trigger) {
	if w.OpenedBy != nil {
		t = *w.OpenedBy
	}
	return t
}

// left is how many messages may still go; nil: no limit.
func left(n *int) string {
	if n == nil {
		return "no limit"
	}
	return fmt.Sprintf("%d left", *n)
}
