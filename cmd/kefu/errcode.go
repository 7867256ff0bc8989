package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
)

// An errcodeLine is an errcode as a listing shows it.
type errcodeLine struct {
	Code     int        `json:"errcode"`
	Op       string     `json:"op,omitempty"` // the calls for which it means this; "" for all
	Class    kefu.Class `json:"class"`
	Zh       string     `json:"zh"`
	En       string     `json:"en"`
	AdviceZh string     `json:"advice_zh"`
	AdviceEn string     `json:"advice_en"`
}

func lineOf(op string, x kefu.Explanation) errcodeLine {
	return errcodeLine{x.Code, op, x.Class, x.Zh, x.En, x.AdviceZh, x.AdviceEn}
}

// linesOf is what a code means: twice where it means something else to the calls
// that give tokens.
func linesOf(x kefu.Explanation) []errcodeLine {
	lines := []errcodeLine{lineOf("", x)}
	if y := kefu.Explain("token", x.Code); y != x {
		lines = append(lines, lineOf("token", y))
	}
	return lines
}

func (p *program) errcodeCommand() *cobra.Command {
	var class string
	var asJSON, busy bool
	cmd := &cobra.Command{
		Use: "errcode [CODE]", Short: "What an errcode means and what to do about it · 查返回码",
		Example: "  kefu errcode 45015\n  kefu errcode --class window-closed",
		RunE: func(_ *cobra.Command, args []string) error {
			if busy {
				args = append(args, "-1")
			}
			if len(args) > 1 || len(args) == 1 && class != "" {
				return usagef("it takes one CODE, or --class, or nothing", "需要一个返回码，或 --class，或什么都不要")
			}
			if len(args) == 1 {
				code, err := strconv.Atoi(args[0])
				if err != nil {
					return usagef("%q is not an errcode", "%q 不是返回码", args[0]).then("errcodes are numbers, such as 45015", "返回码是数字，例如 45015")
				}
				return p.errcode(code, asJSON)
			}
			return p.errcodes(kefu.Class(class), asJSON)
		},
	}
	cmd.Flags().StringVar(&class, "class", "", "list the codes of this class")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&busy, "busy", "1", false, "the code -1")
	_ = cmd.Flags().MarkHidden("busy") // so that "errcode -1" is no flag
	return cmd
}

func (p *program) errcode(code int, asJSON bool) error {
	x := kefu.Explain("", code)
	if !x.Known {
		return failf("errcode %d is in no table of this version", "返回码 %d 不在这个版本的表中", code).then(x.AdviceEn, x.AdviceZh)
	}
	lines := linesOf(x)
	if asJSON {
		return p.json(list[errcodeLine]{Items: lines})
	}
	for i, l := range lines {
		if i > 0 {
			fmt.Fprintf(p.stdout, "\n%d %s (token, stable_token)\n", l.Code, l.Class)
		} else {
			fmt.Fprintf(p.stdout, "%d %s\n", l.Code, cmp.Or(l.Class, "ok"))
		}
		for _, s := range []text{{l.En, l.Zh}, {l.AdviceEn, l.AdviceZh}} {
			both := []string{s.en, s.zh}
			if p.lang() == "zh" {
				slices.Reverse(both)
			}
			for _, line := range both {
				if line != "" {
					fmt.Fprintf(p.stdout, "  %s\n", line)
				}
			}
		}
	}
	return nil
}

func (p *program) errcodes(class kefu.Class, asJSON bool) error {
	var lines []errcodeLine
	classes := map[string]bool{}
	for _, x := range kefu.Codes() {
		for _, l := range linesOf(x) {
			if l.Class != "" {
				classes[string(l.Class)] = true
			}
			if class == "" || l.Class == class {
				lines = append(lines, l)
			}
		}
	}
	if class != "" && !classes[string(class)] {
		var names []string
		for name := range classes {
			names = append(names, name)
		}
		slices.Sort(names)
		return usagef("there is no class %q", "没有类别 %q", class).then("there are "+strings.Join(names, ", "), "可选："+strings.Join(names, "、"))
	}
	if asJSON {
		return p.json(list[errcodeLine]{Items: lines})
	}
	return table(p.stdout, func(row func(...any)) {
		for _, l := range lines {
			row(l.Code, cmp.Or(string(l.Class), "ok"), cmp.Or(l.Op, "-"), text{l.En, l.Zh}.in(p.lang()))
		}
	})
}
