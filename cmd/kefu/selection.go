package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

// mostAtOnce is how many messages one call of the gateway takes.
const mostAtOnce = 1000

// selecting makes of a command for one message one for many: several ids, or all that
// a filter chooses, of which it first says how many there are.
func (p *program) selecting(e *entrance, one *cobra.Command, filter string, do func(*gateway.Client, context.Context, gateway.Selection) (gateway.Selected, error)) *cobra.Command {
	var f filtering
	var account string
	var yes bool
	name := one.Name()
	single := one.RunE
	one.Use = name + " [ID…]"
	one.Example += fmt.Sprintf("\n  kefu messages %s %s\n  kefu messages %[1]s %[2]s --yes", name, filter)
	one.Args = cobra.ArbitraryArgs
	one.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := f.read(); err != nil {
			return err
		}
		s := gateway.Selection{
			Account: account, OpenID: f.OpenID, State: f.State, ErrCode: f.ErrCode, Since: f.since.at(), Until: f.until.at(), Metadata: f.Metadata,
		}
		filtered := account != "" || f.OpenID != "" || f.State != "" || f.ErrCode != 0 || s.Since != nil || s.Until != nil || len(f.Metadata) > 0
		switch {
		case len(ids) == 0 && !filtered:
			return usagef("%s takes ids, or flags that choose messages", "%s 需要 ID，或用于选择消息的选项", cmd.CommandPath()).
				then("for example:\n"+cmd.Example, "例如：\n"+cmd.Example)
		case len(ids) > 0 && filtered:
			return usagef("ids choose by themselves: leave --to, --state and their like out", "已给出 ID，请去掉 --to、--state 等选项")
		case len(ids) == 1:
			return single(cmd, ids)
		case cmd.Flags().Changed("idempotency-key"):
			return usagef("--idempotency-key is for one message", "--idempotency-key 只用于一条消息").
				then("leave it out: of many, each is repeated once however often you call", "请去掉它：多条消息时，每条只会重发一次，可以放心重复执行")
		}
		c, err := e.open(cmd.Context(), p)
		if err != nil {
			return err
		}
		s.DryRun = len(ids) == 0 && !yes
		total := gateway.Selected{Counts: map[string]int{}, IDs: map[string][]string{}, DryRun: s.DryRun}
		for {
			if s.IDs = ids; len(ids) > mostAtOnce {
				s.IDs, ids = ids[:mostAtOnce], ids[mostAtOnce:]
			} else {
				ids = nil
			}
			got, err := do(c.Client, cmd.Context(), s)
			if err != nil {
				return c.explained(err)
			}
			for outcome, some := range got.IDs {
				total.Counts[outcome] += len(some)
				total.IDs[outcome] = append(total.IDs[outcome], some...)
			}
			if got.Made != nil && total.Made == nil {
				total.Made = map[string]string{}
			}
			maps.Copy(total.Made, got.Made)
			if s.Cursor = got.Next; got.Next == "" && len(ids) == 0 {
				break
			}
		}
		return p.reportSelected(total, cmd)
	}
	fs := one.Flags()
	f.flags(fs)
	fs.StringVar(&account, "account", "", "appid")
	fs.BoolVar(&yes, "yes", false, "do it; without it a filter only says which messages it chooses")
	return one
}

// did are the outcomes that were asked for.
var did = []string{"canceled", "called-off", "retried", "joined"}

// reportSelected prints what became of many messages. It is an error if something else
// became of one.
func (p *program) reportSelected(s gateway.Selected, cmd *cobra.Command) error {
	all, not := 0, 0
	for outcome, n := range s.Counts {
		if all += n; !slices.Contains(did, outcome) && !s.DryRun {
			not += n
		}
	}
	if err := p.printSelected(s, cmd); err != nil || not == 0 {
		return err
	}
	return failf("%d of %d were left as they are", "%[2]d 条中有 %[1]d 条未变", not, all).
		then("see why in the outcome beside each id", "原因见各 ID 旁的 OUTCOME")
}

func (p *program) printSelected(s gateway.Selected, cmd *cobra.Command) error {
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return p.json(s)
	}
	if len(s.Counts) == 0 {
		p.say("there are none", "没有")
		return nil
	}
	err := table(p.stdout, func(row func(...any)) {
		row("ID", "OUTCOME", "NEW")
		for _, outcome := range slices.Sorted(maps.Keys(s.IDs)) {
			shown := outcome
			if s.DryRun {
				shown = "would be: " + outcome
			}
			for _, id := range s.IDs[outcome] {
				row(inert(id), inert(shown), inert(s.Made[id]))
			}
		}
	})
	for _, outcome := range slices.Sorted(maps.Keys(s.Counts)) {
		p.say("%s: %d", "%s：%d", outcome, s.Counts[outcome])
	}
	if s.DryRun {
		p.say("nothing was done yet; add --yes", "尚未执行；加上 --yes 即执行")
	}
	return err
}
