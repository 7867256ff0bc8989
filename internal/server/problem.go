package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A refusal is a problem before it is put into a language.
type refusal struct {
	code         string
	detail       string // its name in details; "": that of code
	args         []any
	fields       []field
	line, column int
	message      *gateway.Message
}

// A field is a member that is wrong, and why.
type field struct {
	location string
	why      string // in details
	args     []any
	limit    int
	actual   int
	source   string
	said     *text // what another table says, in place of why
}

func (r *refusal) Error() string { return r.code }

func refuse(code string, args ...any) *refusal { return &refusal{code: code, args: args} }

// because gives a more particular detail than the code's own.
func (r *refusal) because(name string, args ...any) *refusal {
	r.detail, r.args = name, args
	return r
}

// invalid refuses a request for its members; nil if there are none.
func invalid(code string, fields ...field) error {
	if len(fields) == 0 {
		return nil
	}
	return &refusal{code: code, fields: fields}
}

func wrong(location, why string, args ...any) field {
	return field{location: location, why: why, args: args}
}

// inState refuses what can't be done to a message as it is.
func inState(code string, m gateway.Message) *refusal {
	return &refusal{code: code, args: []any{string(m.State)}, message: &m}
}

// violations are the limits that a message breaks, as fields.
func violations(vs []kefu.Violation) []field {
	fields := make([]field, len(vs))
	for i, v := range vs {
		fields[i] = field{location: v.Location, said: &text{v.Message, v.Zh}, limit: v.Limit, actual: v.Actual, source: v.Source}
	}
	return fields
}

// problem makes of any error what the caller is told. What the caller can't have
// caused comes back as a fault, for the log.
func (s *Server) problem(err error, lang string) (p gateway.Problem, fault error) {
	var (
		r       *refusal
		given   *gateway.Problem
		syntax  *kefu.SyntaxError
		broken  *kefu.InvalidError
		refused *kefu.Error
		unfit   *kefu.FileError
	)
	switch {
	case errors.As(err, &r):
	case errors.As(err, &given):
		p = *given
		p.Errors = slices.Clone(p.Errors)
		for i, e := range p.Errors {
			if p.Code == gateway.InvalidMessage && e.Message == "" { // found at acceptance: the parts of a long text
				p.Errors[i].Message = details["too-many-parts"].in(lang, e.Actual, e.Limit)
			}
		}
	case errors.As(err, &syntax):
		r = &refusal{code: gateway.InvalidJSON, args: []any{syntax.Line, syntax.Column, syntax.Err}, line: syntax.Line, column: syntax.Column}
	case errors.As(err, &broken):
		r = &refusal{code: gateway.InvalidMessage, fields: violations(broken.Violations)}
	case errors.As(err, &unfit):
		r = &refusal{code: gateway.InvalidAsset, args: []any{text{unfit.Reason, unfit.Zh}}}
		p.ErrCode = unfit.Code
	case errors.As(err, &refused): // whatever the errcode: window-closed is what the gateway foresees
		p = gateway.Problem{Code: gateway.Refused, ErrCode: refused.Code, ErrMsg: refused.Msg, RID: refused.RID}
	case errors.Is(err, kefu.ErrWindowClosed):
		p = gateway.Problem{Code: gateway.WindowIsClosed}
	case errors.Is(err, kefu.ErrAllowanceSpent):
		p = gateway.Problem{Code: gateway.AllowanceSpent}
	case kefu.ClassOf(err) != "": // a call passed on to WeChat that got no answer
		p, fault = gateway.Problem{Code: gateway.Unreachable, Class: kefu.ClassOf(err)}, err
	default:
		if s.Explain != nil {
			if known := s.Explain(err); known != nil {
				p = *known
				break
			}
		}
		p, fault = gateway.Problem{Code: gateway.Overloaded}, err
		if errors.Is(err, context.Canceled) {
			fault = nil // the caller went away
		}
	}
	if r != nil {
		code := p.ErrCode
		p = r.in(lang)
		p.ErrCode = code
	}
	op := ""
	if refused != nil {
		op = refused.Op
	}
	return fillIn(p, lang, op), fault
}

// in puts r into a language.
func (r *refusal) in(lang string) gateway.Problem {
	p := gateway.Problem{Code: r.code, Line: r.line, Column: r.column, Message: r.message}
	if len(r.args) > 0 || r.detail != "" {
		name := r.detail
		if name == "" {
			name = r.code
		}
		args := make([]any, len(r.args))
		for i, a := range r.args {
			if args[i] = a; isText(a) {
				args[i] = a.(text).in(lang)
			}
		}
		p.Detail = details[name].in(lang, args...)
	}
	for _, f := range r.fields {
		e := gateway.FieldError{Location: f.location, Limit: f.limit, Actual: f.actual, Source: f.source}
		if f.said != nil {
			e.Message = f.said.in(lang)
		} else {
			e.Message = details[f.why].in(lang, f.args...)
		}
		p.Errors = append(p.Errors, e)
	}
	return p
}

func isText(v any) bool {
	_, ok := v.(text)
	return ok
}

// fillIn adds what the tables know of p's code and errcode. op is the call of WeChat's
// that answered with it, if one did: 40001 is of a token, or of the AppSecret.
func fillIn(p gateway.Problem, lang, op string) gateway.Problem {
	if p.Status = statuses[p.Code]; p.Status == 0 {
		p.Code, p.Status = gateway.Internal, http.StatusInternalServerError
	}
	p.Title = titles[p.Code].in(lang)
	if p.Message != nil {
		m := *p.Message
		m.Outcome = told(m.Outcome, lang)
		p.Message = &m
	}
	if p.ErrCode == 0 {
		p.ErrCode = errcodes[p.Code]
	}
	if p.ErrCode != 0 {
		x := kefu.Explain(op, p.ErrCode)
		p.Class, p.Advice, p.Help = x.Class, x.Advice(lang), x.Meaning(lang)
		if p.Code == gateway.Refused && p.Detail == "" {
			p.Detail = details[gateway.Refused].in(lang, p.ErrCode, p.ErrMsg)
		}
	}
	if p.Detail == "" {
		if d := details[p.Code]; !strings.Contains(d.en, "%") {
			p.Detail = d.in(lang)
		} else if p.Message != nil {
			p.Detail = d.in(lang, string(p.Message.State))
		}
	}
	return p
}

// errcodes are what WeChat would have answered.
var errcodes = map[string]int{gateway.WindowIsClosed: 45015, gateway.AllowanceSpent: 45047}
