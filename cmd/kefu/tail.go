package main

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) tailCommand() *cobra.Command {
	e := new(entrance)
	var o gateway.EventOptions
	var count int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow all that happens, one line each · 实时查看发生的一切",
		Example: "  kefu tail\n  kefu tail --type message.failed --json", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 0 {
				return usagef("--count is %d; it is 0, for no end, or more", "--count 是 %d；应为 0（不结束）或以上", count)
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			seen := 0
			for entry, err := range c.Events(cmd.Context(), o) {
				if err != nil {
					return c.explained(err)
				}
				if asJSON {
					err = p.json(entry)
				} else {
					_, err = fmt.Fprintln(p.stdout, feedLine(entry))
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
	fs.StringArrayVar(&o.Accounts, "account", nil, "appid; may be repeated")
	fs.StringVar(&o.OpenID, "openid", "", "of one follower alone")
	fs.StringArrayVar(&o.Types, "type", nil, "of entries, such as message.sent; may be repeated")
	fs.StringVar(&o.Cursor, "cursor", "", "go on after the entry with this cursor")
	fs.BoolVar(&o.FromStart, "from-start", false, "begin with the oldest entry that is kept, not with now")
	fs.IntVar(&count, "count", 0, "end after so many entries (default: never)")
	fs.BoolVar(&asJSON, "json", false, "print each entry as JSON")
	return cmd
}

// feedLine is an entry of the feed in one line.
func feedLine(e gateway.FeedEntry) string {
	var d struct {
		ID      string           `json:"id"`
		Message json.RawMessage  `json:"message"`
		Outcome *gateway.Outcome `json:"outcome"`
	}
	_ = json.Unmarshal(e.Data, &d) // what has another form is shown as it is
	detail := string(e.Data)
	switch {
	case d.ID != "":
		detail = d.ID
		if len(d.Message) > 0 {
			detail += " " + said(d.Message)
		}
		if d.Outcome != nil {
			detail += " " + outcomeLine(gateway.Message{Outcome: d.Outcome})
		}
	case e.Type == "follower.message" || e.Type == "follower.event":
		detail = said(e.Data)
	}
	return inert(fmt.Sprintf("%s %s %s %s %s", stamp(e.At), e.Type, e.Account, cmp.Or(e.OpenID, "-"), detail))
}
