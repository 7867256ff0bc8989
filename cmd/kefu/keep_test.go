package main

import (
	"testing"
	"time"

	"github.com/kefu-go/kefu/internal/store"
)

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		keep, size, db string
		want           store.Retention
		ok             bool
	}{
		{"180d", "0", "sqlite:kefu.db", store.Retention{Age: 180 * day}, true},
		{"0", "0", "kefu.db", store.Retention{}, true},
		{"7d", "20GB", "kefu.db", store.Retention{Age: 7 * day, Size: 20e9}, true},
		{"168h", "500MiB", "kefu.db", store.Retention{Age: 7 * day, Size: 500 << 20}, true},
		{"720h", "0", "postgres://db/kefu", store.Retention{Age: 30 * day}, true},
		{"720h", "1GB", "postgres://db/kefu", store.Retention{}, false},
		{"6d", "0", "kefu.db", store.Retention{}, false},
		{"167h59m", "0", "kefu.db", store.Retention{}, false},
		{"-1d", "0", "kefu.db", store.Retention{}, false},
		{"999999999999d", "0", "kefu.db", store.Retention{}, false},
		{"", "0", "kefu.db", store.Retention{}, false},
		{"90", "0", "kefu.db", store.Retention{}, false},
		{"90d", "20", "kefu.db", store.Retention{}, false},
		{"90d", "-1GB", "kefu.db", store.Retention{}, false},
		{"90d", "9999999999999GB", "kefu.db", store.Retention{}, false},
		{"90d", "", "kefu.db", store.Retention{}, false},
	} {
		got, err := retention(tt.keep, tt.size, tt.db)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("--keep %q --keep-size %q --db %s: %+v, %v; want %+v", tt.keep, tt.size, tt.db, got, err, tt.want)
		}
	}
}
