package bilingual

import "testing"

func TestIn(t *testing.T) {
	for _, tt := range []struct {
		lang string
		args []any
		want string
	}{
		{"zh", []any{3}, "3 条"},
		{"en", []any{3}, "3 messages"},
		{"", []any{3}, "3 messages"},
		{"de", nil, "%d messages"},
	} {
		if got := In(tt.lang, "%d messages", "%d 条", tt.args...); got != tt.want {
			t.Errorf("%q, %v: %q, want %q", tt.lang, tt.args, got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text   Text
		en, zh string
	}{
		{Both("%d messages", "%d 条", 3), "3 messages", "3 条"},
		{Both("100%", "百分百"), "100%", "百分百"},
		{Both("it said %q", "返回 %q", "a\x1eb"), `it said "a\x1eb"`, `返回 "a\x1eb"`},
		{Both("it said %s", "返回 %s", "a\x1eb"), "it said a b", "返回 a b"},
		{"as somebody typed it", "as somebody typed it", "as somebody typed it"},
		{"", "", ""},
	} {
		if en, zh := tt.text.In("en"), tt.text.In("zh"); en != tt.en || zh != tt.zh || tt.text.In("") != en {
			t.Errorf("%q: %q, %q", string(tt.text), en, zh)
		}
	}
}
