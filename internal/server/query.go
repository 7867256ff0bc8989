package server

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

func (c *call) query() url.Values { return c.URL.Query() }

// limit is how many entries a page may have.
func (c *call) limit() (int, error) {
	const most, usual = 1000, 50
	v := c.query().Get("limit")
	if v == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return 0, invalid(gateway.InvalidRequest, wrong("query.limit", "must-range", 1, most))
	}
	return n, nil
}

// wait is how long the caller wants to wait for a message's end.
func (c *call) wait() (time.Duration, error) {
	v := c.query().Get("wait")
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > time.Minute {
		return 0, invalid(gateway.InvalidRequest, wrong("query.wait", "must-duration"))
	}
	return d, nil
}

// filter is which messages a list has.
func (c *call) filter() (gateway.MessageFilter, error) {
	accounts, err := c.scope()
	if err != nil {
		return gateway.MessageFilter{}, err
	}
	q := c.query()
	f := gateway.MessageFilter{Accounts: accounts, OpenID: q.Get("openid"), State: gateway.State(q.Get("state"))}
	bad := oneOf("query.state", f.State, gateway.States()...)
	if v := q.Get("errcode"); v != "" {
		if f.ErrCode, err = strconv.Atoi(v); err != nil {
			bad = append(bad, wrong("query.errcode", "must-number"))
		}
	}
	for name, t := range map[string]*time.Time{"since": &f.From, "until": &f.To} {
		if v := q.Get(name); v != "" {
			if *t, err = time.Parse(time.RFC3339Nano, v); err != nil {
				bad = append(bad, wrong("query."+name, "must-time"))
			}
		}
	}
	for name := range q {
		if member, ok := strings.CutPrefix(name, "metadata."); ok {
			if f.Metadata == nil {
				f.Metadata = map[string]string{}
			}
			f.Metadata[member] = q.Get(name)
		}
	}
	return f, invalid(gateway.InvalidRequest, bad...)
}
