package e2e

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/kefutest"
)

//go:embed desk_scale.sql
var deskScaleSQL string

// What the console may take, whatever there is to show.
const (
	mostRows   = 100       // rows of the list and lines of the thread in the document
	mostHeap   = 150 << 20 // bytes of the script's heap, after a collection
	longTask   = 50 * time.Millisecond
	firstPaint = 500 * time.Millisecond
)

// crowd puts conversations of five messages each into the database of a stopped
// gateway, and one of long.
func crowd(t *testing.T, p *process, followers, long int) {
	t.Helper()
	p.write(t, deskScaleSQL, "$followers", strconv.Itoa(followers), "$long", strconv.Itoa(long))
}

// write runs statements on the database of a stopped gateway; names in them are replaced,
// $account and $now (ms) among them.
func (p *process) write(t *testing.T, statements string, names ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(p.db, "sqlite:")+"?_pragma=synchronous(off)&_pragma=temp_store(memory)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	text := strings.NewReplacer(append(names, "$account", kefutest.DefaultAccount.AppID, "$now", strconv.FormatInt(time.Now().UnixMilli(), 10))...).Replace(statements)
	for _, q := range strings.Split(text, ";\n") {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%.80s: %v", q, err)
		}
	}
}

// The console with 10,000 conversations and 50,000 messages: few of them are in the
// document at a time, the heap stays small, and scrolling does not stutter while
// followers write. By default a tenth of it, and nothing is timed; the figures are
// logged:
//
//	KEFU_LONG=1 go test -run DeskScale -v .
func TestDeskScale(t *testing.T) {
	followers, long := figures(1_000, 10_000), figures(120, 2_000)
	o := openOffice(t)
	o.p.kill()
	crowd(t, o.p, followers, long)
	o.p.start()
	s := o.sit("ann")
	s.until(fmt.Sprintf(`document.querySelector('.rows [role=listitem]')?.ariaSetSize === "%d"`, followers+1))
	timed := func(what string, took, most time.Duration, more string) {
		t.Helper()
		t.Logf("%s: %v%s (load %s)", what, took.Round(time.Millisecond), more, load())
		if took > most && os.Getenv("KEFU_LONG") != "" {
			t.Errorf("%s: %v, more than %v", what, took, most)
		}
	}
	s.again() // as on every day but the first, with the script in the browser's cache or compiled again
	s.until(fmt.Sprintf(`document.querySelector('.rows [role=listitem]')?.ariaSetSize === "%d"`, followers+1))
	timed("first paint", s.paint(), firstPaint, "")

	const lines = `document.querySelectorAll('a.cr, .log .m, .log .ev, .log .day').length`
	most := 0
	tasks := s.trace()
	s.frames(lines, &most, `const l = document.querySelector('.rows')`, fmt.Sprintf(`l.scrollTop += %d`, figures(2000, 300)), `l.scrollTop + l.clientHeight >= l.scrollHeight - 1`, func(i int) {
		if i%10 == 0 {
			o.wechat.UserSends(fmt.Sprintf("oFollower%06d", i*37%followers), fmt.Sprintf("还在吗 %d", i))
		}
	})
	busy, told := tasks()
	timed("the list is scrolled and followers write: the longest task", busy, longTask, told)
	s.js(`document.querySelector('.rows').scrollTop = 0`)

	s.js(`{ const el = document.querySelector('#search'); el.focus(); document.execCommand('insertText', false, 'oLong') }`)
	s.open("oLong")
	s.js(`{ const el = document.querySelector('#search'); el.value = ''; el.dispatchEvent(new Event('input', {bubbles: true})) }`)
	s.heard("在吗")
	tasks = s.trace()
	// From frame to frame each line moves as far as was scrolled, also when older ones come.
	s.js(`window.jumps = []; window.places = () => new Map([...document.querySelectorAll('.log .m')].map((m) => [m.dataset.id ?? m.dataset.cursor, m.getBoundingClientRect().top]))`)
	s.frames(lines, &most, `const l = document.querySelector('.scroll'); let before = new Map(), was = 0`,
		strings.Replace(`{ const now = places(); for (const [id, top] of now) if (before.has(id)) { if (Math.abs(top - before.get(id) - was) > 2) jumps.push([id, top - before.get(id), was]); break } before = now; was = Math.min(STEP, l.scrollHeight - l.clientHeight + l.scrollTop); l.scrollTop -= was }`, "STEP", strconv.Itoa(figures(240, 120)), 1),
		`document.querySelectorAll('.log .lnk').length === 0 && l.scrollHeight - l.clientHeight + l.scrollTop < 1 && document.querySelector('.log .m').textContent.includes('订单 ')`, nil)
	if jumps := eval[[]any](s.phone, `jumps`); len(jumps) > 0 {
		t.Errorf("the thread jumped %d times, first %v", len(jumps), jumps[0])
	}
	busy, told = tasks()
	timed("the thread is scrolled to its beginning: the longest task", busy, longTask, told)
	t.Logf("%d conversations, %d messages: at most %d rows and lines in the document", followers+1, followers*5+long, most)
	if most > mostRows {
		t.Errorf("%d rows and lines in the document, more than %d", most, mostRows)
	}
	heap := s.heap()
	t.Logf("heap: %.1f MB after a collection", float64(heap)/(1<<20))
	if heap > mostHeap {
		t.Errorf("%d bytes of heap, more than %d", heap, mostHeap)
	}
}

// frames runs a step in each frame of the page until it is done; it counts in each,
// and keeps the most. beside runs beside it, again and again.
func (s *seat) frames(count string, most *int, first, step, done string, beside func(i int)) {
	s.t.Helper()
	s.js(`window.most = 0; window.over = false; { ` + first + `; const frame = () => { most = Math.max(most, ` + count + `); if (` + done + `) over = true; else { ` + step + `; requestAnimationFrame(frame) } }; frame() }`)
	for i, end := 0, time.Now().Add(10*patience); !eval[bool](s.phone, `over`); i++ {
		if time.Now().After(end) {
			s.t.Fatal("scrolling has no end")
		}
		if beside != nil {
			beside(i)
		}
		time.Sleep(20 * time.Millisecond)
	}
	*most = max(*most, eval[int](s.phone, `most`))
}

// trace records what the page's main thread does; the function that it returns ends
// that, and tells the longest task: the CPU time that it took, because on a busy machine
// the other is that of whoever else was running, and the other one besides.
func (s *seat) trace() func() (cpu time.Duration, told string) {
	s.t.Helper()
	type event struct {
		Name     string
		PID, TID int
		TS       float64
		Dur      float64 // µs
		TDur     *float64
		Args     struct{ Name string }
	}
	var mu sync.Mutex // guards all
	var all []event
	done := make(chan struct{}, 1)
	if err := chromedp.Listen(s.ctx, func(ev any) {
		switch ev := ev.(type) {
		case *tracing.EventDataCollected:
			mu.Lock()
			defer mu.Unlock()
			for _, v := range ev.Value {
				var e event
				if json.Unmarshal(v, &e) == nil && (e.Dur > 0 || e.Name == "thread_name") {
					all = append(all, e)
				}
			}
		case *tracing.EventTracingComplete:
			select {
			case done <- struct{}{}:
			default:
			}
		}
	}); err != nil {
		s.t.Fatal(err)
	}
	s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{
			IncludedCategories: []string{"devtools.timeline", "disabled-by-default-devtools.timeline"}, ExcludedCategories: []string{"*"}}})
		return err
	}))
	return func() (time.Duration, string) {
		s.t.Helper()
		s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, tracing.End, cdp.Empty{})
			return err
		}))
		select {
		case <-done:
		case <-time.After(patience):
			s.t.Fatal("the trace has no end")
		}
		mu.Lock()
		defer mu.Unlock()
		main := map[[2]int]bool{}
		for _, e := range all {
			if e.Name == "thread_name" && e.Args.Name == "CrRendererMain" {
				main[[2]int{e.PID, e.TID}] = true
			}
		}
		var longest, wall event
		n, over := 0, 0
		for _, e := range all {
			if !main[[2]int{e.PID, e.TID}] || e.Name != "RunTask" {
				continue
			}
			if e.TDur == nil {
				s.t.Fatal("the trace has no CPU times")
			}
			n++
			if *e.TDur > 50_000 {
				over++
			}
			if longest.TDur == nil || *e.TDur > *longest.TDur {
				longest = e
			}
			if e.Dur > wall.Dur {
				wall = e
			}
		}
		if n == 0 {
			s.t.Fatal("no tasks in the trace")
		}
		us := func(v float64) time.Duration { return time.Duration(v * float64(time.Microsecond)) }
		return us(*longest.TDur), fmt.Sprintf(" of CPU, %v by the clock; %d of %d tasks over 50 ms of CPU", us(wall.Dur).Round(time.Millisecond), over, n)
	}
}

// paint is when the page first showed something, from the beginning of its loading.
func (s *seat) paint() time.Duration {
	s.t.Helper()
	s.until(`performance.getEntriesByName('first-contentful-paint').length > 0`)
	return time.Duration(eval[float64](s.phone, `performance.getEntriesByName('first-contentful-paint')[0].startTime`) * float64(time.Millisecond))
}

// heap is how many bytes of the script's heap are in use after a collection.
func (s *seat) heap() int64 {
	s.t.Helper()
	var used int64
	s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			return err
		}
		r, err := chromedp.Call(ctx, runtime.GetHeapUsage, cdp.Empty{})
		if err == nil {
			used = int64(r.UsedSize)
		}
		return err
	}))
	return used
}

// load is what else the machine does, where it tells.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Fields(string(b))[0]
}
