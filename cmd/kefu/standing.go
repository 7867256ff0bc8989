package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
)

// standingOf is an account's state, and why nothing of it leaves if that is so.
func standingOf(a gateway.Account) string {
	why := a.Because
	if s := a.Standing; s != nil && a.State == "active" && s.Because != "" {
		if why = s.Because; s.Until != nil {
			why += " until " + s.Until.Format(time.RFC3339)
		}
	}
	return strings.TrimSpace(a.State + " " + inert(why))
}

func (p *program) accountPauseCommand(e *entrance) *cobra.Command {
	var because string
	cmd := p.accountTurnCommand(e, &cobra.Command{
		Use: "pause [APPID]", Short: "Send nothing of an account; messages and callbacks are kept · 暂停公众号的发送（消息与回调照常保存）",
		Example: "  kefu account pause --because holidays",
	}, func(ctx context.Context, c *gateway.Client, appid string) (gateway.Account, error) {
		return c.PauseAccount(ctx, appid, because)
	})
	cmd.Flags().StringVar(&because, "because", "", "why, for people")
	return cmd
}

func (p *program) accountResumeCommand(e *entrance) *cobra.Command {
	return p.accountTurnCommand(e, &cobra.Command{
		Use: "resume [APPID]", Short: "Send again: ends a pause, a wait for the quota, a slow-down · 恢复公众号的发送（暂停、额度、限速）",
		Example: "  kefu account resume",
	}, func(ctx context.Context, c *gateway.Client, appid string) (gateway.Account, error) {
		return c.ResumeAccount(ctx, appid)
	})
}

// accountTurnCommand completes a command that changes how an account stands.
func (p *program) accountTurnCommand(e *entrance, cmd *cobra.Command, turn func(context.Context, *gateway.Client, string) (gateway.Account, error)) *cobra.Command {
	var asJSON bool
	cmd.Args = oneOrNone("APPID")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := e.open(cmd.Context(), p)
		if err != nil {
			return err
		}
		appid, err := c.theAccount(cmd.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		a, err := turn(cmd.Context(), c.Client, appid)
		if err != nil {
			return c.explained(err)
		}
		if asJSON {
			return p.json(a)
		}
		_, err = fmt.Fprintf(p.stdout, "%s: %s\n", a.AppID, standingOf(a))
		return err
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the account as JSON")
	return cmd
}

func (p *program) accountShowCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show [APPID]", Short: "Show how an account stands, and what becomes of failures · 查看公众号的状态与重试策略",
		Example: "  kefu account show", Args: oneOrNone("APPID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			appid, err := c.theAccount(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			a, err := c.Account(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(a)
			}
			return p.printStanding(a)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the account as JSON")
	return cmd
}

// doorOf says how the door answers a send.
func doorOf(d *gateway.DoorSettings) string {
	var s gateway.DoorSettings
	if d != nil {
		s = *d
	}
	answer := "answers as WeChat does, or -1 after 2.5 s"
	if s.Mode == gateway.DoorQueued {
		answer = "answers 0 once the message is kept"
	}
	if s.Park {
		return answer + "; keeps what finds the window closed"
	}
	return answer + "; refuses what finds the window closed"
}

func (p *program) printStanding(a gateway.Account) error {
	retries, err := dispatch.RetriesOf(a)
	if err != nil {
		return failf("the gateway has tries that this kefu does not know", "网关的重试设置是这个 kefu 不认识的")
	}
	return table(p.stdout, func(row func(...any)) {
		row("ACCOUNT", a.AppID, inert(a.Name))
		row("STATE", standingOf(a))
		speed := "no limit"
		if a.Rate > 0 {
			speed = fmt.Sprintf("%g a second", a.Rate)
		}
		if s := a.Standing; s != nil {
			if s.Rate > 0 {
				speed += fmt.Sprintf(", now %.3g: WeChat said too fast", s.Rate)
			}
			row("TODAY", fmt.Sprintf("%d of %d", s.UsedToday, s.Daily))
		}
		row("RATE", speed)
		calls := fmt.Sprintf("%s mode, %s", a.Mode, a.Callbacks)
		if a.CallbackForward != "" {
			calls += ", handed on to " + hostOf(a.CallbackForward)
			if a.Passive != nil && !*a.Passive {
				calls += " (its answers are not passed back)"
			}
		}
		row("CALLBACKS", inert(calls))
		row("DOOR", doorOf(a.Door))
		row()
		row("CLASS", "TRIES", "PAUSES")
		for _, class := range []kefu.Class{kefu.ErrNotDelivered, kefu.ErrToken, kefu.ErrRateLimited, kefu.ErrBusy} {
			r := retries[class]
			tries := "until it expires"
			if r.Tries > 0 {
				tries = strconv.Itoa(r.Tries)
			}
			note := ""
			switch {
			case class == kefu.ErrBusy && a.Busy == "unknown":
				tries, note = "1", "; then it is unknown"
			case class == kefu.ErrRateLimited:
				note = "; the account slows down"
			}
			row(class, tries, short(r.First)+" to "+short(r.Most)+note)
		}
		row(kefu.ErrQuotaExhausted, "until it expires", "45009: the account waits for midnight in Beijing; others: 1 try")
		row(kefu.ErrMediaInvalid, "2", "renewed once, if the gateway has the file")
		row(kefu.ErrAccountConfig, "until it expires", "the account is paused until a check passes")
		row("all others", "1", "")
	})
}
