package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
)

// A rulesDocument is a profile's tables in JSON.
type rulesDocument struct {
	Profile  string       `json:"profile"`
	Profiles []string     `json:"profiles"` // all there are
	Zh       string       `json:"zh"`
	En       string       `json:"en"`
	Windows  []windowRule `json:"windows"`
	Articles articlesRule `json:"articles"`
	Limits   []limitRule  `json:"limits"`
	Media    []mediaRule  `json:"media"`
	Daily    []dailyRule  `json:"daily"`
}

type dailyRule struct {
	Call   string `json:"call"`
	Max    int    `json:"max"` // calls a day in Beijing
	Source string `json:"source"`
	Date   string `json:"date"`
}

type windowRule struct {
	Trigger kefu.Trigger `json:"trigger"`
	Max     *int         `json:"max"` // null: no limit
	Seconds int64        `json:"seconds"`
	Source  string       `json:"source"`
	Date    string       `json:"date"`
}

type articlesRule struct {
	Max    int    `json:"max"`
	Over   *int   `json:"over"` // errcode above; null: no answer at all
	Source string `json:"source"`
}

type limitRule struct {
	MsgType string `json:"msgtype"` // "*": the envelope
	Field   string `json:"field"`
	Rule    string `json:"rule"`
	Max     int    `json:"max,omitempty"`
	Level   string `json:"level"` // refuse, or warn where sources differ
	ErrCode int    `json:"errcode"`
	Source  string `json:"source"`
	Date    string `json:"date"`
}

type mediaRule struct {
	Call       string         `json:"call"`
	Kind       kefu.MediaKind `json:"kind"`
	MaxBytes   int64          `json:"max_bytes"`
	Formats    []string       `json:"formats"`
	MaxSeconds int64          `json:"max_seconds,omitempty"`
	CodeSize   int            `json:"errcode_size"`
	CodeFormat int            `json:"errcode_format"`
	Source     string         `json:"source"`
	Date       string         `json:"date"`
}

func documentOf(r kefu.Rules) rulesDocument {
	d := rulesDocument{
		Profile: r.Profile, Profiles: kefu.Profiles(), Zh: r.Zh, En: r.En,
		Articles: articlesRule{Max: r.Articles, Source: r.Source},
	}
	if r.OverArticles != 0 {
		d.Articles.Over = &r.OverArticles
	}
	for _, t := range kefu.Triggers() {
		a, ok := r.Allowances[t]
		if !ok {
			continue
		}
		w := windowRule{Trigger: t, Seconds: int64(a.For / time.Second)}
		if a.Max != kefu.Unlimited {
			w.Max = &a.Max
		}
		w.Source, w.Date = kefu.AllowanceSource(r.Profile, t)
		d.Windows = append(d.Windows, w)
	}
	for _, l := range r.Limits {
		level := "refuse"
		if l.Warn {
			level = "warn"
		}
		d.Limits = append(d.Limits, limitRule{l.MsgType, l.Field, l.Rule, l.Max, level, l.Code, l.Source, l.Date})
	}
	for _, m := range kefu.MediaLimits() {
		d.Media = append(d.Media, mediaRule{
			m.Call, m.Kind, m.MaxBytes, m.Formats, int64(m.MaxLength / time.Second), m.CodeSize, m.CodeFormat, m.Source, m.Date,
		})
	}
	if q := kefu.DailyLimit("message/custom/send"); q.Max > 0 {
		d.Daily = append(d.Daily, dailyRule(q))
	}
	return d
}

func (p *program) rulesCommand() *cobra.Command {
	var profile string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "rules", Short: "Windows, allowances and limits, each with its source · 窗口、条数与各项限制",
		Example: "  kefu rules\n  kefu rules --profile legacy_48h --json", Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			r, err := kefu.RulesFor(profile)
			if err != nil {
				profiles := kefu.Profiles()
				return usagef("there is no profile %q", "没有规则集 %q", profile).
					then("there are "+strings.Join(profiles, ", "), "可选："+strings.Join(profiles, "、"))
			}
			if asJSON {
				return p.json(documentOf(r))
			}
			return p.printRules(documentOf(r))
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "", strings.Join(kefu.Profiles(), ", "))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) printRules(d rulesDocument) error {
	fmt.Fprintf(p.stdout, "%s: %s\n\n", d.Profile, text{d.En, d.Zh}.in(p.lang()))
	return table(p.stdout, func(row func(...any)) {
		row("WINDOW", "MESSAGES", "FOR", "SOURCE")
		for _, w := range d.Windows {
			most := "no limit"
			if w.Max != nil {
				most = strconv.Itoa(*w.Max)
			}
			row(w.Trigger, most, short(time.Duration(w.Seconds)*time.Second), w.Source+", "+w.Date)
		}
		row()
		row("ARTICLES", "MOST", "ABOVE", "SOURCE")
		over := "no answer"
		if d.Articles.Over != nil {
			over = strconv.Itoa(*d.Articles.Over)
		}
		row("news, mpnews", d.Articles.Max, over, d.Articles.Source)
		row()
		row("FIELD", "LIMIT", "ELSE", "SOURCE")
		for _, l := range d.Limits {
			limit := l.Rule
			if l.Max > 0 {
				limit = fmt.Sprintf("%s %d", l.Rule, l.Max)
			}
			otherwise := strconv.Itoa(l.ErrCode)
			if l.Level == "warn" {
				otherwise += ", only warned"
			}
			row(l.MsgType+"."+l.Field, limit, otherwise, l.Source+", "+l.Date)
		}
		row()
		row("MEDIA", "LIMIT", "ELSE", "SOURCE")
		for _, m := range d.Media {
			limit := fmt.Sprintf("%d bytes of %s", m.MaxBytes, strings.Join(m.Formats, ", "))
			if m.MaxSeconds > 0 {
				limit += fmt.Sprintf(", %d s", m.MaxSeconds)
			}
			row(m.Call+" "+string(m.Kind), limit, fmt.Sprintf("%d, %d", m.CodeSize, m.CodeFormat), m.Source+", "+m.Date)
		}
		row()
		row("CALL", "A DAY", "ELSE", "SOURCE")
		for _, q := range d.Daily {
			row(q.Call, q.Max, 45009, q.Source+", "+q.Date)
		}
	})
}

// short is a duration without its zeros: "48h", "1m".
func short(d time.Duration) string {
	s := strings.TrimSuffix(d.String(), "0s")
	if s = strings.TrimSuffix(s, "0m"); s == "" {
		return "0s"
	}
	return s
}
