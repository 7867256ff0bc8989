package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kefu-go/kefu"
)

// A failure is an error of this program: what happened and what to do next.
type failure struct {
	code  int // exit code
	what  text
	next  text
	cause error // may be nil
}

func (f *failure) Error() string { return f.what.en }
func (f *failure) Unwrap() error { return f.cause }

func failf(en, zh string, args ...any) *failure {
	return &failure{code: exitFailed, what: text{fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)}}
}

func usagef(en, zh string, args ...any) *failure {
	f := failf(en, zh, args...)
	f.code = exitUsage
	return f
}

// then says what to do about f.
func (f *failure) then(en, zh string) *failure {
	f.next = text{en, zh}
	return f
}

// exitCode is how the program ends after err.
func exitCode(err error) int {
	var f *failure
	var refused *kefu.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &refused):
		return exitRefused
	case errors.Is(err, kefu.ErrUnknownOutcome):
		return exitUnknown
	}
	return exitFailed
}

// complain explains err to people and returns the exit code.
func (p *program) complain(err error) int {
	if err == nil {
		return exitDone
	}
	what, lines := explain(err, p.lang())
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", p.paint(p.stderr, red, "kefu:"), plainLine(what))
	for _, l := range lines {
		if l.label != next.en && l.label != next.zh { // those are ours, and may show examples
			l.text = plainLine(l.text)
		}
		for i, line := range strings.Split(l.text, "\n") {
			if i == 0 {
				line = l.label + " " + line
			}
			fmt.Fprintf(&b, "  %s\n", inert(line))
		}
	}
	fmt.Fprint(p.stderr, b.String())
	return exitCode(err)
}

// plainLine is foreign text that can't look like another line of ours.
func plainLine(s string) string { return inert(strings.ReplaceAll(s, "\n", "; ")) }

// unposted is err of a call on the way to a message, such as an upload: whatever
// became of that call, no message was posted.
func unposted(err error) error {
	var lost *kefu.TransportError
	if !errors.As(err, &lost) || !errors.Is(err, kefu.ErrUnknownOutcome) {
		return err
	}
	f := failf("%s failed; no message was posted", "%s 失败；没有发送任何消息", lost.Op).
		then("trying again is safe: at worst a file is stored twice", "可以重试：最多重复存一份文件")
	f.cause = before{lost.Err}
	return f
}

// before is what went wrong before the post.
type before struct{ error }

func (b before) Unwrap() []error { return []error{kefu.ErrNotDelivered, b.error} }

func adviceOf(c kefu.Class) text { return text{c.Advice("en"), c.Advice("zh")} }

// notFound reports whether a server answered that it has no such call: not WeChat's.
func notFound(err error) bool {
	var lost *kefu.TransportError
	for errors.As(err, &lost) {
		// the token call's status is only in the words of the call that wanted it
		if lost.Status == http.StatusNotFound || strings.Contains(lost.Err.Error(), "HTTP 404 ") {
			return true
		}
		err = lost.Err
	}
	return false
}

// syntaxZh says the common faults of JSON in Chinese.
func syntaxZh(err error) string {
	s := err.Error()
	for _, known := range []text{
		{"it is empty", "内容是空的"},
		{"not UTF-8", "不是 UTF-8；是不是 GBK？"},
		{"a comma with nothing after it", "逗号后面没有内容"},
		{"unexpected end of JSON input", "JSON 没有写完"},
		{"after top-level value", "JSON 结束之后还有内容"},
		{"looking for beginning of object key string", "这里应是带双引号的成员名"},
		{"after object key:value pair", "成员之间缺逗号，或缺右花括号"},
		{"after object key", "成员名后缺冒号"},
		{"after array element", "元素之间缺逗号，或缺右方括号"},
		{"looking for beginning of value", "这里应是一个值"},
		{"in string literal", "字符串里有未转义的控制字符"},
	} {
		if strings.Contains(s, known.en) {
			return known.zh
		}
	}
	return s
}

type labelled struct{ label, text string }

// The labels of an explanation, made equally wide by hand.
var (
	why  = text{"why   ", "原因  "}
	next = text{"next  ", "下一步"}
)

// explain says what happened, why, and what to do next. Refusals with an errcode
// come in both languages, for people who ask each other about them.
func explain(err error, lang string) (what string, lines []labelled) {
	add := func(label, t text, langs ...string) {
		if len(langs) == 0 {
			langs = []string{lang}
		}
		for _, l := range langs {
			if s := t.in(l); s != "" {
				lines = append(lines, labelled{label.in(l), s})
			}
		}
	}
	both := []string{"en", "zh"}
	if lang == "zh" {
		both = []string{"zh", "en"}
	}
	var (
		f       *failure
		refused *kefu.Error
		invalid *kefu.InvalidError
		syntax  *kefu.SyntaxError
		file    *kefu.FileError
		lost    *kefu.TransportError
	)
	switch {
	case errors.As(err, &f):
		what = f.what.in(lang)
		if f.cause != nil {
			add(why, same(f.cause.Error()))
		}
		add(next, f.next)
	case errors.As(err, &refused):
		x := refused.Explain()
		advice := text{x.AdviceEn, x.AdviceZh}
		if kefu.ClassOf(err) == kefu.ErrNotDelivered { // the token was refused, and what needs it never left
			advice = adviceOf(kefu.ErrNotDelivered)
		}
		what = text{
			fmt.Sprintf("WeChat refused %s: errcode %d (%s)", refused.Op, refused.Code, x.Class),
			fmt.Sprintf("微信拒绝了 %s：errcode %d（%s）", refused.Op, refused.Code, x.Class),
		}.in(lang)
		lines = append(lines, labelled{"errmsg", refused.Msg})
		if refused.RID != "" {
			lines = append(lines, labelled{"rid   ", refused.RID})
		}
		for _, l := range both {
			add(why, text{x.En, x.Zh}, l)
			add(next, advice, l)
		}
	case errors.As(err, &invalid):
		what = text{"not sent: WeChat would refuse the message", "未发送：微信会拒绝这条消息"}.in(lang)
		for _, v := range invalid.Violations {
			add(why, text{fmt.Sprintf("%s %s (errcode %d; source: %s)", v.Location, v.Message, v.Code, v.Source),
				fmt.Sprintf("%s %s（errcode %d；来源：%s）", v.Location, v.Zh, v.Code, v.Source)})
		}
		add(next, text{"correct it, or let WeChat judge with --no-check", "改正后再发，或用 --no-check 交给微信判断"})
	case errors.As(err, &syntax):
		what = text{
			fmt.Sprintf("not sent: this is not JSON, at line %d, column %d", syntax.Line, syntax.Column),
			fmt.Sprintf("未发送：第 %d 行第 %d 列不是 JSON", syntax.Line, syntax.Column),
		}.in(lang)
		add(why, text{syntax.Err.Error(), syntaxZh(syntax.Err)})
		add(next, text{"correct it; WeChat would answer 47001 (see for yourself with --no-check)", "改正后再发；微信会答 47001（可用 --no-check 一试）"})
	case errors.As(err, &file):
		what = text{
			fmt.Sprintf("not uploaded: WeChat would refuse %s as %s: errcode %d", file.Name, file.Kind, file.Code),
			fmt.Sprintf("未上传：微信会拒绝 %s（%s）：errcode %d", file.Name, file.Kind, file.Code),
		}.in(lang)
		add(why, text{file.Reason + " (source: " + file.Source + ")", file.Zh + "（来源：" + file.Source + "）"})
		x := kefu.Explain("", file.Code)
		add(next, text{x.AdviceEn, x.AdviceZh})
	case errors.As(err, &lost) && errors.Is(err, kefu.ErrUnknownOutcome):
		what = text{lost.Op + ": nobody can tell whether WeChat accepted it", lost.Op + "：不知道微信是否收下"}.in(lang)
		add(why, same(lost.Err.Error()))
		add(next, adviceOf(kefu.ErrUnknownOutcome))
	case errors.As(err, &lost):
		what = text{lost.Op + ": not delivered", lost.Op + "：没有送达微信"}.in(lang)
		add(why, same(lost.Err.Error()))
		if notFound(err) {
			add(next, text{"that is not WeChat's API: check --api-base", "那里不是微信接口：检查 --api-base"})
			break
		}
		add(next, adviceOf(kefu.ErrNotDelivered))
	default:
		what = err.Error()
	}
	return what, lines
}
