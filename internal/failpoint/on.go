//go:build failpoint

package failpoint

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	wanted, times = chosen()
	passed        atomic.Int64
)

func chosen() (name string, times int64) {
	name, after, _ := strings.Cut(os.Getenv("KEFU_FAILPOINT"), ":")
	times, err := strconv.ParseInt(after, 10, 64)
	if err != nil {
		times = 1
	}
	return name, times
}

// Here kills the process if it is the place that KEFU_FAILPOINT names, and it was
// passed as often as that says.
func Here(name string) {
	if !slices.Contains(Names, name) {
		panic("failpoint: no place " + name)
	}
	if name != wanted || passed.Add(1) != times {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until the signal is there
}
