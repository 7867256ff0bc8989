package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) messagesCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "messages", Short: "The messages that the gateway has kept · 网关收下的消息",
		Example: "  kefu messages list --state failed", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.messagesListCommand(e), p.messagesShowCommand(e), p.messagesCancelCommand(e), p.messagesRetryCommand(e), p.messagesResolveCommand(e))
	return cmd
}

// A paging is which part of a list is wanted.
type paging struct {
	cursor string
	limit  int
	asJSON bool
}

func (g *paging) flags(fs *pflag.FlagSet) {
	fs.StringVar(&g.cursor, "cursor", "", "go on where a page ended")
	fs.IntVar(&g.limit, "limit", 50, "most on a page, up to 1,000")
	fs.BoolVar(&g.asJSON, "json", false, "print JSON")
}

// show prints a page: as JSON, or as a table with where it goes on said to people.
func show[T any](p *program, g paging, page gateway.Page[T], rows func(row func(cells ...any))) error {
	if page.Items == nil {
		page.Items = []T{}
	}
	if g.asJSON {
		return p.json(page)
	}
	if len(page.Items) == 0 {
		p.say("there are none", "没有")
		return nil
	}
	if err := table(p.stdout, rows); err != nil {
		return err
	}
	if page.Next != "" {
		p.say("there are more: --cursor %s", "还有更多：--cursor %s", page.Next)
	}
	return nil
}

// A filtering is which messages are meant.
type filtering struct {
	gateway.MessageFilter
	since, until moment
	metadata     []string
}

func (f *filtering) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.OpenID, "to", "", "openid of the follower")
	fs.StringVar((*string)(&f.State), "state", "", "queued, parked, sending, sent, failed, unknown, expired or canceled")
	fs.IntVar(&f.ErrCode, "errcode", 0, "of the outcome")
	fs.Var(&f.since, "since", "accepted at or after: RFC 3339, or a duration from now such as -2h")
	fs.Var(&f.until, "until", "accepted before")
	fs.StringArrayVar(&f.metadata, "metadata", nil, "a member of its metadata, NAME=VALUE; may be repeated")
}

// read completes the filter from its flags.
func (f *filtering) read() error {
	if f.State != "" && !slices.Contains(gateway.States(), f.State) {
		return usagef("there is no state %q", "没有状态 %q", f.State).then(fmt.Sprint("there are ", gateway.States()), fmt.Sprint("可选：", gateway.States()))
	}
	f.From, f.To, f.Metadata = f.since.Time, f.until.Time, map[string]string{}
	for _, pair := range f.metadata {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return usagef("--metadata %q is not of the form NAME=VALUE", "--metadata %q 的格式应为 名=值", pair)
		}
		f.Metadata[name] = value
	}
	return nil
}

func (p *program) messagesListCommand(e *entrance) *cobra.Command {
	var f filtering
	var g paging
	cmd := &cobra.Command{
		Use: "list", Short: "List messages, newest first · 列出消息，最新的在前",
		Example: "  kefu messages list --to oUser1\n  kefu messages list --state failed --since -24h --json", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.read(); err != nil {
				return err
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			page, err := c.Messages(cmd.Context(), f.MessageFilter, g.cursor, g.limit)
			if err != nil {
				return c.explained(err)
			}
			return show(p, g, page, func(row func(...any)) {
				row("ID", "STATE", "TYPE", "OPENID", "ACCEPTED", "OUTCOME")
				for _, m := range page.Items {
					row(m.ID, m.State, m.MsgType, inert(m.OpenID), stamp(m.AcceptedAt), outcomeLine(m))
				}
			})
		},
	}
	fs := cmd.Flags()
	g.flags(fs)
	fs.StringArrayVar(&f.Accounts, "account", nil, "appid; may be repeated")
	f.flags(fs)
	return cmd
}

// outcomeLine is how the last attempt ended, in a few words.
func outcomeLine(m gateway.Message) string {
	var words []string
	if o := m.Outcome; o != nil {
		if o.ErrCode != 0 {
			words = append(words, fmt.Sprintf("errcode %d", o.ErrCode))
		}
		words = append(words, string(o.Class), o.Reason)
	}
	if m.RetryAt != nil && m.State == gateway.Queued {
		words = append(words, "again at "+stamp(*m.RetryAt))
	}
	if m.RetryAt != nil && m.State == gateway.Unknown {
		words = append(words, "to be resent at "+stamp(*m.RetryAt))
	}
	if m.Parts > 0 {
		words = append(words, fmt.Sprintf("%d of %d parts sent", m.PartsSent, m.Parts))
	}
	if m.PossibleDuplicate {
		words = append(words, "possible duplicate")
	}
	return inert(strings.Join(nonEmpty(words), ", "))
}

func (p *program) messagesShowCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a message and its attempts · 查看一条消息和每次尝试",
		Example: "  kefu messages show msg_01a20a3c-2508-7249-a857-a3e114310cae", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			m, err := c.Message(cmd.Context(), args[0])
			if err != nil {
				return c.explained(err)
			}
			attempts, err := c.Attempts(cmd.Context(), args[0])
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(struct {
					Message  gateway.Message   `json:"message"`
					Attempts []gateway.Attempt `json:"attempts"`
				}{m, append([]gateway.Attempt{}, attempts...)})
			}
			return table(p.stdout, func(row func(...any)) {
				row("id", m.ID)
				row("state", m.State)
				row("account", m.Account)
				row("to", inert(m.OpenID))
				row("accepted", stamp(m.AcceptedAt))
				row("expires", stamp(m.ExpiresAt))
				row("source", m.Source)
				if m.RetryOf != "" {
					row("retry of", m.RetryOf)
				}
				if len(m.Metadata) > 0 {
					row("metadata", inert(string(m.Metadata)))
				}
				if line := outcomeLine(m); line != "" {
					row("outcome", line)
				}
				if m.Outcome != nil && m.Outcome.Advice != "" {
					row("next", inert(m.Outcome.Advice))
				}
				row(m.MsgType, inert(said(m.Message)))
				for _, a := range attempts {
					line := fmt.Sprintf("%s at %s, took %d ms", a.Outcome, stamp(a.At), a.TookMS)
					if a.Part > 0 {
						line = fmt.Sprintf("part %d: %s", a.Part, line)
					}
					if a.ErrCode != 0 {
						line += fmt.Sprintf(", errcode %d %s", a.ErrCode, a.ErrMsg)
					}
					if a.Allowance != nil {
						line += fmt.Sprintf(", %d of %d left", a.Allowance.Left, a.Allowance.Max)
					}
					row(fmt.Sprint("attempt ", a.N), inert(line))
				}
				if m.Window != nil {
					row("window", windowLine(*m.Window))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// said is the content of a message or of a push: its text, else its JSON.
func said(message json.RawMessage) string {
	var m struct {
		MsgType string
		Text    *struct{ Content string }
		Push    *struct{ MsgType, Event, EventKey, Content string }
	}
	if json.Unmarshal(message, &m) == nil {
		switch {
		case m.MsgType == "text" && m.Text != nil:
			return m.Text.Content
		case m.Push != nil && m.Push.MsgType == "text":
			return m.Push.Content
		case m.Push != nil && m.Push.Event != "":
			return strings.TrimSpace(m.Push.Event + " " + m.Push.EventKey)
		}
	}
	return string(message)
}

// acting is a command that does something to one message and prints it.
func (p *program) acting(e *entrance, use, en, zh string, args []string, do func(*cobra.Command, *caller, []string) (gateway.Message, error)) *cobra.Command {
	var asJSON bool
	name, _, _ := strings.Cut(use, " ")
	example := "  kefu messages " + name + " msg_01a20a3c-2508-7249-a857-a3e114310cae"
	if len(args) > 1 {
		example += " sent"
	}
	cmd := &cobra.Command{
		Use: use, Short: en + " · " + zh, Example: example, Args: arguments(args...),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			m, err := do(cmd, c, args)
			if err != nil {
				return c.explained(err)
			}
			return p.reportMessage(m, false, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the message as JSON")
	return cmd
}

func (p *program) messagesCancelCommand(e *entrance) *cobra.Command {
	one := p.acting(e, "cancel ID", "Cancel messages that are queued or parked", "取消排队或暂存的消息", []string{"ID"},
		func(cmd *cobra.Command, c *caller, args []string) (gateway.Message, error) {
			return c.Cancel(cmd.Context(), args[0])
		})
	return p.selecting(e, one, "--to oUser1", (*gateway.Client).CancelAll)
}

func (p *program) messagesRetryCommand(e *entrance) *cobra.Command {
	var o gateway.SendOptions
	one := p.acting(e, "retry ID", "Send messages once more that failed, expired, were canceled or are unknown", "把失败、过期、取消或未知的消息再发一次", []string{"ID"},
		func(cmd *cobra.Command, c *caller, args []string) (gateway.Message, error) {
			return c.Retry(cmd.Context(), args[0], o)
		})
	one.Flags().StringVar(&o.IdempotencyKey, "idempotency-key", "", "of one message: makes a repeat of this command answer the same message")
	return p.selecting(e, one, "--state failed --since -24h", (*gateway.Client).RetryAll)
}

func (p *program) messagesResolveCommand(e *entrance) *cobra.Command {
	return p.acting(e, "resolve ID sent|failed", "Say what became of an unknown message", "说明未知的消息到底如何", []string{"ID", "sent|failed"},
		func(cmd *cobra.Command, c *caller, args []string) (gateway.Message, error) {
			return c.Resolve(cmd.Context(), args[0], gateway.State(args[1]))
		})
}
