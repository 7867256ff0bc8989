package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) keyCommand() *cobra.Command {
	e := new(entrance)
	cmd := &cobra.Command{
		Use: "key", Short: "The keys of the gateway · 网关的 API 密钥",
		Example: "  kefu key list", Args: p.subcommand, Run: func(*cobra.Command, []string) {},
	}
	e.flags(p, cmd.PersistentFlags())
	cmd.AddCommand(p.keyCreateCommand(e), p.keyListCommand(e), p.keyRevokeCommand(e))
	return cmd
}

func (p *program) keyCreateCommand(e *entrance) *cobra.Command {
	var r gateway.KeyRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use: "create", Short: "Make a key; it is printed this once · 新建密钥，只显示这一次",
		Example: "  kefu key create --role send --name shop\n  kefu key create --role read --account wx0123456789abcdef\n  kefu key create --role door --account wx0123456789abcdef", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Role == "" {
				return usagef("it does not say what the key may do", "没有说明密钥能做什么").
					then("add --role admin, send, read or door", "加上 --role admin、send、read 或 door")
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			k, err := c.AddKey(cmd.Context(), r)
			if err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(k)
			}
			p.say("%s, which the gateway can't show again", "%s，网关无法再次显示", k.ID)
			_, err = fmt.Fprintln(p.stdout, k.Key)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar((*string)(&r.Role), "role", "", "admin: all; send: messages; read: GET only; door: WeChat's own paths only")
	fs.StringVar(&r.Name, "name", "", "for people")
	fs.StringArrayVar(&r.Accounts, "account", nil, "appid that it is for; may be repeated (default: all)")
	fs.StringVar(&r.Paths, "paths", "", "of a door key: messages (default: token, custom/*, media/*, customservice/*), or all")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) keyListCommand(e *entrance) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List keys, without their text · 列出密钥（不含内容）",
		Example: "  kefu key list --json", Args: arguments(),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, _ []string) error {
			all, err := c.Keys(cmd.Context())
			if err != nil {
				return c.explained(err)
			}
			return show(p, paging{asJSON: asJSON}, gateway.Page[gateway.Key]{Items: all}, func(row func(...any)) {
				row("ID", "ROLE", "ACCOUNTS", "CREATED", "NAME")
				for _, k := range all {
					row(k.ID, k.Role, cmp.Or(strings.Join(k.Accounts, ","), "all"), stamp(k.CreatedAt), inert(k.Name))
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) keyRevokeCommand(e *entrance) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a key · 吊销密钥", Example: "  kefu key revoke key_0123456789abcdef", Args: arguments("ID"),
		RunE: e.opened(p, func(cmd *cobra.Command, c *caller, args []string) error {
			if err := c.RevokeKey(cmd.Context(), args[0]); err != nil {
				return c.explained(err)
			}
			p.say("%s opens nothing any more", "%s 已失效", args[0])
			return nil
		}),
	}
}
