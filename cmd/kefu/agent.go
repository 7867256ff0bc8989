package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) agentCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "agent", Short: "The people at the console · 工作台的客服",
		Example: "  kefu agent add man --display 小满\n  kefu agent list", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.agentAddCommand(e), p.agentListCommand(e), p.agentLinkCommand(e), p.agentTOTPOffCommand(e), p.agentRemoveCommand(e))
	return cmd
}

func (p *program) agentAddCommand(e *entrance) *cobra.Command {
	var r gateway.AgentRequest
	var asJSON, password bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add an agent and print a link that signs them in once · 添加客服，并给出一次性登录链接",
		Example: "  kefu agent add man --display 小满 --role agent\n  kefu agent add lead --role lead --password < password.txt", Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			if password {
				line, err := bufio.NewReader(io.LimitReader(p.stdin, 1024)).ReadString('\n')
				if r.Password = strings.TrimRight(line, "\r\n"); r.Password == "" {
					return usagef("--password reads the password from standard input, and there is none (%v)", "--password 从标准输入读口令，但没有读到（%v）", err)
				}
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			a, err := c.AddAgent(cmd.Context(), r)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(a)
			}
			p.say("%s is there as %s", "已添加 %s，角色 %s", a.Name, a.Role)
			return p.printLink(cmd, c, a.ID)
		},
	}
	fs := cmd.Flags()
	fs.StringVar((*string)(&r.Role), "role", "agent", "agent: answers; lead: and the team's replies; admin: everything; viewer: reads")
	fs.StringVar(&r.Display, "display", "", "the name that others see (default: NAME)")
	fs.StringArrayVar(&r.Accounts, "account", nil, "appid that they answer for; may be repeated (default: all)")
	fs.BoolVar(&password, "password", false, "read a password from standard input")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printLink makes a one-time link and prints it whole.
func (p *program) printLink(cmd *cobra.Command, c *caller, id string) error {
	l, err := c.AgentLink(cmd.Context(), id)
	if err != nil {
		return c.explained(err)
	}
	p.say("this link signs them in once, until %s:", "下面的链接只能登录一次，%s 前有效：", stamp(l.ExpiresAt))
	_, err = fmt.Fprintln(p.stdout, strings.TrimSuffix(c.BaseURL, "/")+"/console#link="+l.Link)
	return err
}

func (p *program) agentListCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List agents · 列出客服", Example: "  kefu agent list --json", Args: arguments(),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, _ []string) error {
			all, err := c.Agents(cmd.Context())
			if err != nil {
				return c.explained(err)
			}
			return show(p, paging{asJSON: asJSON}, gateway.Page[gateway.Agent]{Items: all}, func(row func(...any)) {
				row("ID", "NAME", "ROLE", "ACCOUNTS", "2FA", "DISPLAY")
				for _, a := range all {
					row(a.ID, inert(a.Name), a.Role, cmp.Or(strings.Join(a.Accounts, ","), "all"), a.TOTP, inert(a.Display))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) agentLinkCommand(e *entrance) *cobra.Command {
	return &cobra.Command{
		Use: "link ID", Short: "Make a link that signs an agent in once · 生成一次性登录链接", Example: "  kefu agent link agent_…", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			return p.printLink(cmd, c, args[0])
		}),
	}
}

func (p *program) agentTOTPOffCommand(e *entrance) *cobra.Command {
	return &cobra.Command{
		Use: "totp-off ID", Short: "Take off an agent's second factor, which was lost; they are signed out · 取消客服丢失的两步验证，并使其退出登录", Example: "  kefu agent totp-off agent_…", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			a, err := c.PutAgent(cmd.Context(), args[0], gateway.AgentRequest{TOTP: new(bool)})
			if err != nil {
				return c.explained(err)
			}
			p.say("%s signs in without a second factor now", "%s 现在登录不需要两步验证", inert(a.Name))
			return nil
		}),
	}
}

func (p *program) agentRemoveCommand(e *entrance) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Forget an agent; their conversations are nobody's · 删除客服，其会话回到待认领", Example: "  kefu agent remove agent_…", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			if err := c.DeleteAgent(cmd.Context(), args[0]); err != nil {
				return c.explained(err)
			}
			p.say("%s is gone", "%s 已删除", args[0])
			return nil
		}),
	}
}
