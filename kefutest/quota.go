package kefutest

import (
	"cmp"
	"net/http"
	"time"
)

// A usage is how many calls were made on a day and in a minute.
type usage struct {
	Day    string `json:"day"`
	Count  int    `json:"count"`
	Minute int64  `json:"minute"` // since 1970
	InMin  int    `json:"in_minute"`
}

// beijing is where WeChat's day begins; it has had no summer time since 1991.
var beijing = time.FixedZone("CST", 8*60*60)

func quotaDay(t time.Time) string { return t.In(beijing).Format(time.DateOnly) }

// dailyLimit is how many calls of rt a day the account may make; 0: any number.
func (a *account) dailyLimit(rt *route) int {
	if most, ok := a.DailyLimits[rt.path]; ok {
		return most
	}
	return rt.daily
}

// count takes one call of rt from the account's quotas, or tells which is spent.
func (a *account) count(now time.Time, rt *route) (errcode int) {
	u := a.usage(now, rt.path)
	if minute := now.Unix() / 60; u.Minute != minute {
		u.Minute, u.InMin = minute, 0
	}
	if most := a.dailyLimit(rt); most > 0 && u.Count >= most {
		return 45009
	}
	if most := cmp.Or(a.MinuteLimit, rt.minute); most > 0 && u.InMin >= most {
		return 45011
	}
	u.Count++
	u.InMin++
	return 0
}

func (a *account) usage(now time.Time, path string) *usage {
	u := a.used[path]
	if u == nil {
		u = &usage{}
		a.used[path] = u
	}
	if day := quotaDay(now); u.Day != day {
		u.Day, u.Count = day, 0
	}
	return u
}

// resetsPerMonth is how often an account's quotas can be cleared.
const resetsPerMonth = 10

var quotaRoutes = []route{
	{path: "/cgi-bin/clear_quota", method: http.MethodPost, handle: clearQuota},
	{path: "/cgi-bin/clear_quota/v2", method: http.MethodPost, open: true, handle: clearQuotaV2},
	{path: "/cgi-bin/openapi/quota/get", method: http.MethodPost, handle: getQuota},
	{path: "/cgi-bin/openapi/rid/get", method: http.MethodPost, handle: getRID},
	{path: "/cgi-bin/getcallbackip", method: http.MethodGet, handle: ipList},
	{path: "/cgi-bin/get_api_domain_ip", method: http.MethodGet, handle: ipList},
}

// clearQuota sets every daily count to 0.
func clearQuota(c *call) reply {
	var in struct{ AppID string }
	switch code := c.decode(&in); {
	case code != 0:
		return refuse(code)
	case in.AppID != c.AppID:
		return refuse(40013)
	}
	return c.clearQuota()
}

// clearQuotaV2 is for when the quota of the token call is spent, too. WeChat's page
// says body and its example query: both are read.
func clearQuotaV2(c *call) reply {
	in := struct{ AppID, AppSecret string }{c.query.Get("appid"), c.query.Get("appsecret")}
	if in.AppID == "" && in.AppSecret == "" {
		if code := c.decode(&in); code != 0 {
			return refuse(code)
		}
	}
	if code, msg := c.authenticate(credentials{"client_credential", in.AppID, in.AppSecret}); code != 0 {
		return reply{code: code, msg: msg}
	}
	return c.clearQuota()
}

func (c *call) clearQuota() reply {
	month := quotaDay(c.now)[:len("2026-01")]
	if c.resets.Day != month {
		c.resets = usage{Day: month}
	}
	if c.resets.Count >= resetsPerMonth {
		return refuse(48006)
	}
	c.resets.Count++
	clear(c.used)
	return ok
}

func getQuota(c *call) reply {
	var in struct {
		CgiPath string `json:"cgi_path"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	rt := c.sim.routes[in.CgiPath]
	switch {
	case in.CgiPath == "" || in.CgiPath[0] != '/':
		return refuse(76003)
	case rt == nil:
		return refuse(76021)
	}
	type quota struct {
		DailyLimit int `json:"daily_limit"`
		Used       int `json:"used"`
		Remain     int `json:"remain"`
	}
	type rate struct {
		CallCount     int `json:"call_count"`
		RefreshSecond int `json:"refresh_second"`
	}
	limit, used := c.dailyLimit(rt), c.usage(c.now, rt.path).Count
	out := struct {
		ErrCode int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
		Quota   quota  `json:"quota"`
		Rate    *rate  `json:"rate_limit,omitempty"`
	}{ErrMsg: "ok", Quota: quota{limit, used, max(limit-used, 0)}}
	if most := cmp.Or(c.MinuteLimit, rt.minute); most > 0 {
		out.Rate = &rate{most, 60}
	}
	return answer(out)
}

// ipList: WeChat calls from here, and its API is here.
func ipList(*call) reply {
	return answer(struct {
		IPList []string `json:"ip_list"`
	}{[]string{"127.0.0.1"}})
}
