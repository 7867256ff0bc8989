package kefu

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Violation is one limit that a message breaks. It names the field, the limit,
// what was found and who says so.
type Violation struct {
	Location string `json:"location"` // "message.news.articles[1].title"
	Message  string `json:"message"`  // in English
	Zh       string `json:"-"`        // the same in Chinese
	Rule     string `json:"rule"`     // "required", "max_bytes", "max_items", "kf_account", "utf8", "type" or "card"
	Limit    int    `json:"limit,omitempty"`
	Actual   int    `json:"actual,omitempty"` // bytes or items
	Warn     bool   `json:"-"`                // sources differ: the message is sent all the same
	Code     int    `json:"errcode"`          // WeChat's errcode for it
	Source   string `json:"source"`
}

func (v Violation) String() string { return v.Location + " " + v.Message }

// An InvalidError is a message that was not sent because WeChat would refuse it.
// It unwraps to [ErrBadRequest].
type InvalidError struct {
	Violations []Violation // at least one
}

func (e *InvalidError) Error() string {
	var all []string
	for _, v := range e.Violations {
		all = append(all, fmt.Sprintf("%s (WeChat: %d; source: %s)", v, v.Code, v.Source))
	}
	return "invalid message: " + strings.Join(all, "; ")
}

// Unwrap returns [ErrBadRequest].
func (e *InvalidError) Unwrap() error { return ErrBadRequest }

// Check holds m against the limits of r. What WeChat certainly refuses comes in
// refused; where sources differ about a limit, in warned.
func (m Message) Check(r *Rules) (refused, warned []Violation) { return m.check(new(codec), r) }

func (m *Message) check(c *codec, r *Rules) (refused, warned []Violation) {
	c.mode, c.limits, c.place = checking, r.limitsOf("*"), append(c.place[:0], "message."...)
	c.frame = frame{at: len(c.place)}
	m.walk(c)
	if m.Body == nil || m.Body.MsgType() == "" {
		c.found = append(c.found, Violation{Location: "message.msgtype", Rule: "required", Code: 40008,
			Message: "is missing", Zh: "缺少", Source: "api_sendcustommessage"})
	} else if raw, ok := rawBody(m.Body); ok {
		if slices.Contains([]string{"touser", "msgtype", "customservice", "aimsgcontext", "businessid"}, raw.Type) {
			c.found = append(c.found, Violation{Location: "message.msgtype", Rule: "type", Code: 40008,
				Message: "is the name of another member", Zh: "与其他字段同名", Source: "api_sendcustommessage"})
		}
		if !json.Valid(raw.JSON) {
			c.found = append(c.found, Violation{Location: "message." + raw.Type, Rule: "type", Code: 47001,
				Message: "is missing or not JSON", Zh: "缺少，或不是 JSON", Source: "api_sendcustommessage"})
		}
	} else {
		c.limits = r.limitsOf(m.Body.MsgType())
		m.walkBody(c)
	}
	for _, v := range c.found {
		if v.Warn {
			warned = append(warned, v)
		} else {
			refused = append(refused, v)
		}
	}
	return refused, warned
}

// limitsOf returns the rows of a msgtype; the table keeps them together.
func (r *Rules) limitsOf(msgtype string) []Limit {
	for i := range r.Limits {
		if r.Limits[i].MsgType == msgtype {
			j := i + 1
			for j < len(r.Limits) && r.Limits[j].MsgType == msgtype {
				j++
			}
			return r.Limits[i:j]
		}
	}
	return nil
}

var kfAccount = regexp.MustCompile(`^[A-Za-z0-9_]{1,10}@[A-Za-z0-9_-]{1,30}$`)

// check holds one member against its limits; size is in bytes or items.
func (c *codec) check(key string, empty bool, size int, value string) {
	if !utf8.ValidString(value) { // sent, it would arrive as ����
		at := 0
		for at < len(value) {
			if r, n := utf8.DecodeRuneInString(value[at:]); r == utf8.RuneError && n == 1 {
				break
			} else {
				at += n
			}
		}
		c.found = append(c.found, Violation{
			Location: c.location(key), Rule: "utf8", Code: 47001, Actual: at, Source: "RFC 8259: JSON is UTF-8",
			Message: fmt.Sprintf("is not UTF-8 from byte %d on; is it GBK?", at),
			Zh:      fmt.Sprintf("从第 %d 字节起不是 UTF-8；是 GBK 吗？", at),
		})
	}
	for i := range c.limits {
		l := &c.limits[i]
		if !l.names(c.field, key) {
			continue
		}
		v := Violation{Rule: l.Rule, Warn: l.Warn, Code: l.Code, Source: l.Source, Actual: size}
		switch {
		case l.Rule == "required" && empty:
			v.Message, v.Zh = "is missing", "缺少"
		case l.Rule == "max_bytes" && size > l.Max:
			v.Limit = l.Max
			v.Message = fmt.Sprintf("has %d bytes of UTF-8, at most %d go", size, l.Max)
			v.Zh = fmt.Sprintf("有 %d 字节（UTF-8），最多 %d", size, l.Max)
		case l.Rule == "max_items" && size > l.Max:
			v.Limit = l.Max
			v.Message = fmt.Sprintf("has %d items, at most %d go", size, l.Max)
			v.Zh = fmt.Sprintf("有 %d 条，最多 %d", size, l.Max)
		case l.Rule == "kf_account" && !empty && !kfAccount.MatchString(value):
			v.Message = "is not of the form prefix@wechat-id (up to 10 letters, digits or _, then up to 30)"
			v.Zh = "格式应为 前缀@微信号（前缀最多 10 个字母、数字或下划线，后缀最多 30）"
		default:
			continue
		}
		v.Location = c.location(key)
		c.found = append(c.found, v)
	}
}

// names reports whether l is about the member key of the body, or of the object
// outer in it.
func (l *Limit) names(outer, key string) bool {
	if outer == "" {
		return l.Field == key
	}
	return len(l.Field) == len(outer)+1+len(key) && l.Field[:len(outer)] == outer && l.Field[len(outer)+1:] == key
}
