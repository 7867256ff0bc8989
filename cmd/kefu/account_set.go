package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu/gateway"
)

func (p *program) accountSetCommand(e *entrance) *cobra.Command {
	var appid string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "set NAME=VALUE …", Short: "Change settings of an account · 修改公众号的设置",
		Long: "Change settings of an account, by the names that they have in the API: callback_forward, passive, door.mode, door.park, ai_label, keep_free,\n" +
			"expires_after, … An empty value goes back to the default; times may be 48h. Windows and allowances: kefu account rules.\n" +
			"按 API 中的名称修改设置；值为空则恢复默认；时间可写 48h。窗口与条数见 kefu account rules。",
		Example: "  kefu account set callback_forward=https://shop.example/wechat passive=false\n  kefu account set door.mode=queued door.park=true ai_label=true --account wx0123456789abcdef",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return arguments("NAME=VALUE")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := parseSettings(args)
			if err != nil {
				return err
			}
			c, err := e.open(cmd.Context(), p)
			if err != nil {
				return err
			}
			if appid, err = c.theAccount(cmd.Context(), appid); err != nil {
				return err
			}
			a, err := c.Account(cmd.Context(), appid)
			if err != nil {
				return c.explained(err)
			}
			for _, s := range settings {
				if a, err = s.in(a); err != nil {
					return err
				}
			}
			if a, err = c.PutAccount(cmd.Context(), a); err != nil {
				return c.explained(err)
			}
			if asJSON {
				return p.json(a)
			}
			members, err := membersOf(a)
			if err != nil {
				return err
			}
			return table(p.stdout, func(row func(...any)) {
				for _, s := range settings {
					value := members[s.path[0]]
					if len(s.path) == 2 {
						inner, _ := value.(map[string]any)
						value = inner[s.path[1]]
					}
					if value == nil || value == "" {
						value = "default"
					}
					row(strings.Join(s.path, "."), inert(fmt.Sprint(value)))
				}
			})
		},
	}
	cmd.Flags().StringVar(&appid, "account", "", "appid (default: the only account)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the account as JSON")
	return cmd
}

// A setting is a member of an account, or of one of its objects, and what it becomes.
type setting struct {
	path  []string
	value string // "": its default
}

// notSet are members that are not set like this, and how else they are.
var notSet = map[string]text{
	"appid":    {"an account keeps its appid", "公众号的 appid 不能修改"},
	"rules":    {"see: kefu account rules --set", "见 kefu account rules --set"},
	"state":    {"see: kefu account pause, resume", "见 kefu account pause、resume"},
	"because":  {"see: kefu account pause --because", "见 kefu account pause --because"},
	"standing": {"it is what the gateway tells", "这是网关给出的状态"},
}

// settable are the names of settings, those of objects with a dot.
func settable() (names []string) {
	var walk func(t reflect.Type, before string)
	walk = func(t reflect.Type, before string) {
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if _, no := notSet[name]; no || name == "-" {
				continue
			}
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(inner, name+".")
				continue
			}
			names = append(names, before+name)
		}
	}
	walk(reflect.TypeFor[gateway.Account](), "")
	return names
}

func parseSettings(args []string) (all []setting, err error) {
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("%q is not of the form NAME=VALUE", "%q 的格式应为 NAME=VALUE", arg).then("for example passive=false", "例如 passive=false")
		}
		if how, no := notSet[name]; no {
			return nil, usagef("%s is not set like this", "不能这样设置 %s", name).then(how.en, how.zh)
		}
		if names := settable(); !slices.Contains(names, name) {
			return nil, usagef("an account has no setting %q", "公众号没有设置 %q", name).then("there are "+strings.Join(names, ", "), "可选："+strings.Join(names, "、"))
		}
		all = append(all, setting{strings.Split(name, "."), value})
	}
	return all, nil
}

func membersOf(a gateway.Account) (members map[string]any, err error) {
	b, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal(b, &members)
	}
	return members, err
}

// in is a with the setting: its value is JSON, a string, or a duration where seconds are
// wanted, whichever the setting takes.
func (s setting) in(a gateway.Account) (gateway.Account, error) {
	readings := []any{json.RawMessage(s.value), s.value}
	if d, err := time.ParseDuration(s.value); err == nil {
		readings = append(readings, int64(d/time.Second))
	}
	for _, value := range readings {
		members, err := membersOf(a)
		if err != nil {
			return a, err
		}
		inside := members
		if len(s.path) == 2 {
			inner, _ := members[s.path[0]].(map[string]any)
			inside = maps.Clone(inner)
			if inside == nil {
				inside = map[string]any{}
			}
			members[s.path[0]] = inside
		}
		if inside[s.path[len(s.path)-1]] = value; s.value == "" {
			delete(inside, s.path[len(s.path)-1])
		}
		b, err := json.Marshal(members)
		if err != nil {
			continue // the value is no JSON
		}
		var changed gateway.Account
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if d.Decode(&changed) == nil {
			return changed, nil
		}
	}
	return a, usagef("%s does not take %q", "%s 不能是 %q", strings.Join(s.path, "."), s.value)
}
