package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu/internal/store"
)

// defaultKeep is how long finished messages and the feed are kept unless told
// otherwise.
const defaultKeep = "180d"

// retention reads --keep and --keep-size.
func retention(keep, size, db string) (r store.Retention, err error) {
	if r.Age, err = parseKeep(keep); err != nil {
		return r, err
	}
	if r.Size, err = parseSize(size); err != nil {
		return r, err
	}
	if r.Size > 0 && strings.Contains(db, "://") {
		return r, usagef("--keep-size works with SQLite only", "--keep-size 只支持 SQLite").
			then("with PostgreSQL use --keep alone", "PostgreSQL 请只用 --keep")
	}
	return r, nil
}

// parseKeep reads an age: 180d, 720h, or 0 for ever.
func parseKeep(text string) (time.Duration, error) {
	wrong := func() error {
		return usagef("--keep %q is no age", "--keep %q 不是时长", text).then("180d, 720h, or 0 to keep everything", "例如 180d、720h；0 表示全部保留")
	}
	var age time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > int(math.MaxInt64/int64(24*time.Hour)) {
			return 0, wrong()
		}
		age = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if age, err = time.ParseDuration(text); err != nil || age < 0 {
			return 0, wrong()
		}
	}
	if age > 0 && age < store.LeastKept {
		return 0, usagef("--keep %s is too short", "--keep %s 太短", text).
			then("at least 7d: idempotency keys answer with their messages for so long", "至少 7d：幂等键在此期间要用原消息应答")
	}
	return age, nil
}

// parseSize reads a size: 20GB, 500MB (of 1,000), 20GiB, 500MiB (of 1,024), or 0 for no limit.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"GB", 1e9}, {"MB", 1e6}} {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit || n > 0 && unit == 1 {
		return 0, usagef("--keep-size %q is no size", "--keep-size %q 不是大小", text).then("20GB, 500MB, or 0 for no limit", "例如 20GB、500MB；0 表示不限")
	}
	return n * unit, nil
}
