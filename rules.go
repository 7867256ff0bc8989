package kefu

import (
	"embed"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The rules are data: rules/*.tsv, one fact a row, each with its source and the
// date at which it was read. Nothing below knows a number.
//
//go:embed rules/*.tsv
var ruleFiles embed.FS

// DefaultProfile is the set of rules in force unless another is named.
const DefaultProfile = "service_current"

// Rules say what WeChat permits to one account: how many messages each trigger
// allows and for how long, and the limits of each field. Take a set with [RulesFor]
// and change the copy where an account is known to differ.
type Rules struct {
	Profile    string                // service_current, subscription_current, legacy_2021 or legacy_48h
	Allowances map[Trigger]Allowance // a missing trigger allows nothing
	Articles   int                   // most articles in a news message; what is checked is its row in Limits
	// OverArticles is what WeChat does above Articles: the errcode 45008, or 0
	// for no answer at all, as the article reports of its time.
	OverArticles int
	Limits       []Limit // of message fields
	Zh, En       string  // what kind of account these rules are for
	Source       string
}

// A Limit is one rule about one field of a message.
type Limit struct {
	MsgType string // or "*" for the envelope
	Field   string // path below the body, "articles.title"
	Rule    string // "required", "max_bytes" (UTF-8 bytes, not runes), "max_items" or "kf_account" (its form)
	Max     int
	Warn    bool // sources differ: the message is sent all the same
	Code    int  // the errcode with which WeChat refuses
	Source  string
	Date    string
}

// A MediaLimit is what one call takes of one kind of file.
type MediaLimit struct {
	Call       string    // "upload", "uploadimg" or "material"
	Kind       MediaKind // image, voice, video or thumb
	MaxBytes   int64
	Formats    []string      // "jpg", "png", "gif", "bmp", "amr", "mp3", "wma", "wav", "mp4"
	MaxLength  time.Duration // of voices; 0 for no limit
	CodeSize   int           // errcode for a file too large
	CodeFormat int           // errcode for another format
	Source     string
	Date       string
}

// Profiles names the sets of rules, the default first.
func Profiles() []string { return slices.Clone(tables().order) }

// RulesFor returns a copy of the named profile's rules; "" is [DefaultProfile].
// An unknown name is an error that lists the known ones.
func RulesFor(profile string) (Rules, error) {
	if profile == "" {
		profile = DefaultProfile
	}
	r, ok := tables().profiles[profile]
	if !ok {
		return Rules{}, fmt.Errorf("kefu: no profile %q; there are %s", profile, strings.Join(tables().order, ", "))
	}
	return r.Clone(), nil
}

// Clone returns a copy that shares nothing with r.
func (r Rules) Clone() Rules {
	r.Allowances = maps.Clone(r.Allowances)
	r.Limits = slices.Clone(r.Limits)
	return r
}

// MediaLimits returns the rows of the media table.
func MediaLimits() []MediaLimit { return slices.Clone(tables().media) }

// AllowanceSource returns where the allowance that profile gives for t was read,
// and on which day ("2026-11-23"); two empty strings if it gives none.
func AllowanceSource(profile string, t Trigger) (source, date string) {
	for row := range rows("windows") {
		if row["profile"] == profile && row["trigger"] == string(t) {
			return row["source"], row["date"]
		}
	}
	return "", ""
}

// A DailyQuota is how often a call may be made on one day in Beijing.
type DailyQuota struct {
	Call   string // "message/custom/send"
	Max    int
	Source string
	Date   string
}

// DailyLimit returns the daily quota of a call; a zero Max if none is known.
// WeChat raises it for accounts with many followers: quota/get tells the real one.
func DailyLimit(call string) DailyQuota { return tables().daily[call] }

func mediaLimit(call string, kind MediaKind) (MediaLimit, bool) {
	for _, m := range tables().media {
		if m.Call == call && m.Kind == kind {
			return m, true
		}
	}
	return MediaLimit{}, false
}

// A TokenLimit is how often WeChat gives an account a token in a day, which begins
// at midnight in Beijing.
type TokenLimit struct {
	Call   string        // "fetch", or "force": stable_token with force_refresh
	Max    int           // calls a day
	Gap    time.Duration // between two of them; 0: none
	Source string
	Date   string
}

// TokenLimits returns the rows of the table of token calls.
func TokenLimits() []TokenLimit { return slices.Clone(tables().tokens) }

type ruleTables struct {
	order    []string
	profiles map[string]Rules
	media    []MediaLimit
	daily    map[string]DailyQuota
	tokens   []TokenLimit
}

var tables = sync.OnceValue(func() ruleTables {
	t := ruleTables{profiles: map[string]Rules{}, daily: map[string]DailyQuota{}}
	var limits []Limit
	for row := range rows("limits") {
		limits = append(limits, Limit{
			MsgType: row["msgtype"], Field: row["field"], Rule: row["rule"], Max: number(row["limit"]),
			Warn: row["level"] == "warn", Code: number(row["errcode"]), Source: row["source"], Date: row["date"],
		})
	}
	for row := range rows("profiles") {
		r := Rules{
			Profile: row["profile"], Allowances: map[Trigger]Allowance{}, Articles: number(row["articles"]),
			OverArticles: number(row["over"]), Limits: slices.Clone(limits), Zh: row["zh"], En: row["en"], Source: row["source"],
		}
		for i, l := range r.Limits {
			if l.Rule == "max_items" && l.Max == 0 { // "profile" in the table
				r.Limits[i].Max = r.Articles
			}
		}
		t.order = append(t.order, r.Profile)
		t.profiles[r.Profile] = r
	}
	for row := range rows("windows") {
		a := Allowance{Max: number(row["max"]), For: time.Duration(number(row["seconds"])) * time.Second}
		if row["max"] == "unlimited" {
			a.Max = Unlimited
		}
		t.profiles[row["profile"]].Allowances[Trigger(row["trigger"])] = a
	}
	for row := range rows("media") {
		t.media = append(t.media, MediaLimit{
			Call: row["call"], Kind: MediaKind(row["kind"]), MaxBytes: int64(number(row["max_bytes"])),
			Formats: strings.Split(row["formats"], ","), MaxLength: time.Duration(number(row["max_seconds"])) * time.Second,
			CodeSize: number(row["code_size"]), CodeFormat: number(row["code_format"]), Source: row["source"], Date: row["date"],
		})
	}
	for row := range rows("quotas") {
		t.daily[row["call"]] = DailyQuota{Call: row["call"], Max: number(row["daily"]), Source: row["source"], Date: row["date"]}
	}
	for row := range rows("tokens") {
		t.tokens = append(t.tokens, TokenLimit{
			Call: row["call"], Max: number(row["max"]), Gap: time.Duration(number(row["gap_seconds"])) * time.Second,
			Source: row["source"], Date: row["date"],
		})
	}
	return t
})

// number reads a cell; a word ("profile", "silence", "unlimited") and an empty
// cell are 0.
func number(cell string) int {
	n, _ := strconv.Atoi(cell)
	return n
}

// rows yields each row of rules/name.tsv by column name.
func rows(name string) iter.Seq[map[string]string] {
	text, err := ruleFiles.ReadFile("rules/" + name + ".tsv")
	if err != nil {
		panic(err) // the file is part of the package
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	head := strings.Split(lines[0], "\t")
	return func(yield func(map[string]string) bool) {
		for _, line := range lines[1:] {
			row := make(map[string]string, len(head))
			for i, cell := range strings.Split(line, "\t") {
				row[head[i]] = cell
			}
			if !yield(row) {
				return
			}
		}
	}
}
