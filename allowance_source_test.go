package kefu_test

import (
	"testing"

	"github.com/kefu-go/kefu"
)

func TestAllowanceSource(t *testing.T) {
	for _, profile := range kefu.Profiles() {
		r, err := kefu.RulesFor(profile)
		if err != nil {
			t.Fatal(err)
		}
		for _, trigger := range kefu.Triggers() {
			source, date := kefu.AllowanceSource(profile, trigger)
			if _, gives := r.Allowances[trigger]; gives != (source != "") || gives != (len(date) == len("2026-11-23")) {
				t.Errorf("%s, %s: an allowance: %v, its source %q of %q", profile, trigger, gives, source, date)
			}
		}
	}
	if source, _ := kefu.AllowanceSource("nosuch", kefu.Menu); source != "" {
		t.Errorf("an unknown profile has the source %q", source)
	}
}
