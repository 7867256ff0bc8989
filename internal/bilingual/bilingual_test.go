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
