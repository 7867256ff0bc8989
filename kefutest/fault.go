package kefutest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
)

// A Failure is something that can go wrong with calls of WeChat's API: a [Fault], or
// in short an [ErrCode] or a [Drop].
type Failure interface{ fault() Fault }

// An ErrCode is a refusal: WeChat does nothing and answers with this errcode.
type ErrCode int

// A Drop is a connection that WeChat cuts instead of answering.
type Drop string

const (
	// DropRequest cuts before the call takes effect.
	DropRequest Drop = "before"
	// DropReply cuts after the call took effect: accepted, and the answer lost.
	DropReply Drop = "after"
)

// A Fault says which calls fail, and how. The JSON is that of the control plane.
//
// Which: calls of Path about To, of these every Every-th or each with Probability,
// and of these the next Next; without any of the three, the next one.
//
// How: at most one of ErrCode, Status and Drop, and a Delay, alone or besides.
type Fault struct {
	// Path is a call ("/cgi-bin/token", or "message/custom/send" for short), or all
	// below a path that ends in "*". Default: /cgi-bin/message/custom/send.
	Path string `json:"path"`
	To   string `json:"to,omitempty"` // the openid in touser; default: any

	Every       int     `json:"every,omitempty"`       // 3: the third, the sixth, …
	Probability float64 `json:"probability,omitempty"` // above 0, up to 1
	Seed        uint64  `json:"seed,omitempty"`        // of the draws: the same seed, the same calls
	Next        int     `json:"next,omitempty"`        // 2: two calls, then no more

	ErrCode ErrCode  `json:"errcode,omitempty"` // refused, nothing done
	ErrMsg  string   `json:"errmsg,omitempty"`  // of that refusal; default: what WeChat says
	Status  int      `json:"status,omitempty"`  // an HTTP status with a page that is not JSON, nothing done
	Drop    Drop     `json:"drop,omitempty"`
	Delay   Duration `json:"delay,omitempty"` // the call takes effect at once, the answer comes late
}

func (f Fault) fault() Fault   { return f }
func (c ErrCode) fault() Fault { return Fault{ErrCode: c} }
func (d Drop) fault() Fault    { return Fault{Drop: d} }

// Fail makes calls of the account fail; see [Fault]. A [Drop] or an [ErrCode] fails
// the next send:
//
//	wechat.Fail(kefutest.DropReply) // accepted, its answer lost
//
// Mend ends the fault. Fail panics if f does not say what goes wrong.
func (w *WeChat) Fail(f Failure) (mend func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	armed, err := w.arm(w.account, f.fault())
	if err != nil {
		panic(fmt.Errorf("kefutest: %w", err))
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.disarm(func(a *armedFault) bool { return a == armed })
	}
}

// An armedFault is a fault that waits for its calls.
type armedFault struct {
	Fault
	ID    serial `json:"id"`
	Calls int    `json:"calls"` // that it was about
	Hits  int    `json:"hits"`  // of these, that it failed

	account *account
	random  *rand.Rand
}

// arm checks f and puts it in force. The caller holds mu.
func (p *platform) arm(a *account, f Fault) (*armedFault, error) {
	f.Path = cmp.Or(f.Path, "/cgi-bin/message/custom/send")
	if !strings.HasPrefix(f.Path, "/") && f.Path != "*" {
		f.Path = "/cgi-bin/" + f.Path
	}
	if f.Every == 0 && f.Probability == 0 && f.Next == 0 {
		f.Next = 1
	}
	set := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	switch how := set(f.ErrCode != 0) + set(f.Status != 0) + set(f.Drop != ""); {
	case how > 1:
		return nil, errors.New("a fault has one of errcode, status and drop, not more")
	case how == 0 && f.Delay == 0:
		return nil, errors.New("the fault does not say what goes wrong: errcode, status, drop or delay")
	case f.ErrMsg != "" && f.ErrCode == 0:
		return nil, errors.New("an errmsg goes with an errcode")
	case f.Drop != "" && f.Drop != DropRequest && f.Drop != DropReply:
		return nil, fmt.Errorf("no drop %q; there are before and after", f.Drop)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return nil, fmt.Errorf("no HTTP status %d; an answer has 200 to 599", f.Status)
	case f.Every < 0, f.Next < 0, f.Delay < 0, f.Probability < 0, f.Probability > 1:
		return nil, errors.New("every, next and delay are not negative, probability is 0 to 1")
	case f.Every > 0 && f.Probability > 0:
		return nil, errors.New("a fault has every or probability, not both")
	case !strings.HasSuffix(f.Path, "*") && p.routes[f.Path] == nil:
		return nil, fmt.Errorf("no call %s in the simulator", f.Path)
	case len(p.faults) >= mostFaults:
		return nil, fmt.Errorf("there are %d faults already; delete some", mostFaults)
	}
	armed := &armedFault{Fault: f, ID: serial(p.nextID()), account: a, random: rand.New(rand.NewPCG(f.Seed, 0))}
	p.faults = append(p.faults, armed)
	p.tell(event{Type: "fault", Account: a.AppID})
	return armed, nil
}

const mostFaults = 1000

// disarm removes faults. The caller holds mu.
func (p *platform) disarm(which func(*armedFault) bool) (removed int) {
	before := len(p.faults)
	p.faults = slices.DeleteFunc(p.faults, which)
	if removed = before - len(p.faults); removed > 0 {
		p.tell(event{Type: "fault"})
	}
	return removed
}

// fault returns the oldest fault that strikes this call. All that are about it
// count it. The caller holds mu.
func (p *platform) fault(c *call) (hit *Fault) {
	spent := false
	for _, f := range p.faults {
		if !f.about(c) {
			continue
		}
		f.Calls++
		if hit != nil || !f.strikes() {
			continue
		}
		f.Hits++
		hit, spent = &f.Fault, f.Next > 0 && f.Hits >= f.Next
	}
	if spent {
		p.disarm(func(f *armedFault) bool { return &f.Fault == hit })
	}
	return hit
}

func (f *armedFault) about(c *call) bool {
	if f.account != c.account {
		return false
	}
	if below, ok := strings.CutSuffix(f.Path, "*"); ok && !strings.HasPrefix(c.route.path, below) || !ok && f.Path != c.route.path {
		return false
	}
	return f.To == "" || f.To == c.openid()
}

func (f *armedFault) strikes() bool {
	switch {
	case f.Every > 0:
		return f.Calls%f.Every == 0
	case f.Probability > 0:
		return f.random.Float64() < f.Probability
	}
	return true
}

// openid is whom the call is about, if it says so.
func (c *call) openid() string {
	if id := c.query.Get("openid"); id != "" {
		return id
	}
	var in struct{ ToUser, OpenID string }
	_ = json.Unmarshal(c.body, &in) // what is not JSON is about nobody
	return cmp.Or(in.ToUser, in.OpenID)
}

// replaces reports whether the call does not take place.
func (f *Fault) replaces() bool { return f.ErrCode != 0 || f.Status != 0 || f.Drop == DropRequest }

func (f *Fault) reply() reply {
	switch {
	case f.ErrCode != 0:
		return reply{code: int(f.ErrCode), msg: f.ErrMsg}
	case f.Status != 0:
		page := fmt.Sprintf("<html><head><title>%d</title></head><body>%[1]d %s</body></html>\n", f.Status, http.StatusText(f.Status))
		r := file([]byte(page), "Content-Type", "text/html")
		r.status = f.Status
		return r
	}
	return ok
}

// A Duration is a [time.Duration] that is "1m30s" in JSON.
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	*d = Duration(t)
	return err
}

// knownCode reports whether an errcode is in WeChat's list.
func knownCode(code int) bool { return kefu.Explain("", code).Known }
