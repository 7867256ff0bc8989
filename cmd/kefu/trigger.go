package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// defaultSim is where `kefu sim` listens unless told otherwise.
const defaultSim = "127.0.0.1:7700"

func (p *program) triggerCommand() *cobra.Command {
	c := &controlPlane{}
	var key string
	var fields []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "trigger ACTION OPENID", Short: "Let a follower of the simulator do something · 让模拟器的粉丝做一个动作",
		Long: "Let a follower of the simulator do something: it opens the window and pushes the callback.\n" +
			"让模拟器的粉丝做一个动作：打开窗口并推送回调。\n\nActions: " + strings.Join(kefutest.Actions(), ", "),
		Example:   "  kefu trigger text oUser1 --field content=你好\n  kefu trigger subscribe oUser1 --field scene=shop7",
		ValidArgs: kefutest.Actions(), Args: arguments("ACTION", "OPENID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(kefutest.Actions(), args[0]) {
				return usagef("there is no action %q", "没有动作 %q", args[0]).
					then("there are "+strings.Join(kefutest.Actions(), ", "), "可选："+strings.Join(kefutest.Actions(), "、"))
			}
			body, err := parseFields(fields)
			if err != nil {
				return err
			}
			c.Key = kefu.Secret(cmp.Or(key, p.env["KEFU_SIM_KEY"]))
			d, answer, err := c.act(cmd.Context(), args[1], args[0], body)
			switch {
			case err != nil:
			case asJSON:
				_, err = fmt.Fprintf(p.stdout, "%s\n", inertJSON(bytes.TrimSpace(answer)))
			default:
				for line := range strings.Lines(d.String()) {
					if _, err = fmt.Fprintln(p.stdout, inert(strings.TrimSuffix(line, "\n"))); err != nil {
						break
					}
				}
			}
			return err
		},
	}
	fs := cmd.Flags()
	addressFlag(fs, &c.base, "sim", cmp.Or(p.env["KEFU_SIM"], "http://"+defaultSim), "the simulator (KEFU_SIM)")
	fs.StringVar(&key, "sim-key", "", "its key, if it has one (better: KEFU_SIM_KEY)")
	fs.StringVar(&c.account, "account", "", "appid (default: the simulator's first)")
	fs.StringArrayVar(&fields, "field", nil, "a detail of the action, NAME=VALUE; may be repeated")
	fs.BoolVar(&asJSON, "json", false, "print the simulator's answer as JSON")
	return cmd
}

// details are what the actions take (the contract, section 6).
var details = []string{"content", "media_id", "lat", "lon", "label", "title", "description", "url", "key", "result", "scene", "id"}

// parseFields makes the body of an action. A name that no action knows is refused:
// the simulator would pass over it.
func parseFields(fields []string) (any, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	body := map[string]string{}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			return nil, usagef("--field %q is not of the form NAME=VALUE", "--field %q 的格式应为 名=值", f)
		}
		if !slices.Contains(details, name) {
			return nil, usagef("no action has a field %q", "没有动作有 %q 这一项", name).
				then("there are "+strings.Join(details, ", "), "可选："+strings.Join(details, "、"))
		}
		if _, err := strconv.ParseFloat(value, 64); err != nil && (name == "lat" || name == "lon") {
			return nil, usagef("--field %q is not in degrees", "--field %q 不是度数", f)
		}
		body[name] = value
	}
	return body, nil
}

// String is the window and what the callback answered; below it, a line for each
// trigger that holds the window open.
func (d done) String() string {
	var event *struct{ CreateTime int64 }
	_ = json.Unmarshal(d.Event, &event) // a payment pushes none
	var last time.Time
	for _, k := range d.Window.Buckets {
		if k.OpenedAt.After(last) && (event == nil || k.OpenedAt.Unix() == event.CreateTime) {
			last = k.OpenedAt
		}
	}
	var b strings.Builder
	b.WriteString(d.Window.String() + d.answer())
	for _, k := range d.Window.Buckets {
		most := "no limit"
		if k.Max != nil {
			most = fmt.Sprintf("%d at most", *k.Max)
		}
		fmt.Fprintf(&b, "\n  %s: %s, until %s", plainLine(string(k.Trigger)), most, k.ClosesAt.UTC().Format(time.RFC3339))
		if k.OpenedAt.Equal(last) {
			b.WriteString(", opened now")
		}
	}
	return b.String()
}

func (d done) answer() string {
	if len(d.Deliveries) == 0 {
		return "; no callback"
	}
	var s string
	last := d.Deliveries[len(d.Deliveries)-1]
	switch {
	case last.Status == 0:
		s += fmt.Sprintf("; callback not answered in %d tries", len(d.Deliveries))
	default:
		s += fmt.Sprintf("; callback answered HTTP %d at try %d", last.Status, len(d.Deliveries))
	}
	if len(last.Reply) > 0 {
		s += " with " + plainLine(string(last.Reply))
	}
	return s
}
