package server

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The description of the API as a page: /docs is openapi.json for people, made of
// nothing else, so that it can't say anything different.

//go:embed reference.html
var referenceHTML string

// A description is as much of openapi.json as the page shows.
type description struct {
	Info       struct{ Title, Version, Description string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]shape }
}

type operation struct {
	ID         string `json:"operationId"`
	Summary    string
	Roles      []string `json:"x-roles"`
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                shape
	}
	RequestBody *struct {
		Required bool
		Content  map[string]content
	}
	Responses map[string]struct {
		Description string
		Content     map[string]content
	}
}

type content struct{ Schema shape }

type shape struct {
	Ref         string `json:"$ref"`
	Type        string
	Format      string
	Description string
	Enum        []string
	AnyOf       []shape
	Items       *shape
	Properties  map[string]shape
	Required    []string
	Others      values `json:"additionalProperties"`
}

// values are what members of any name have; nil: none are listed.
type values struct{ Of *shape }

// UnmarshalJSON implements [json.Unmarshaler]: it may be false.
func (v *values) UnmarshalJSON(b []byte) error {
	if string(b) == "false" {
		return nil
	}
	return json.Unmarshal(b, &v.Of)
}

// Name is the name of the shape that is referred to.
func (s shape) Name() string { return path.Base(s.Ref) }

// Needs reports whether a member is always there.
func (s shape) Needs(member string) bool { return slices.Contains(s.Required, member) }

// A listed is a call on the page.
type listed struct {
	Method, Path string
	operation
}

// A chapter is the calls about one thing.
type chapter struct {
	Name  string
	Calls []listed
}

func (d description) chapters() (all []chapter) {
	order := []string{"get", "post", "put", "delete"}
	byName := map[string][]listed{}
	for _, p := range slices.Sorted(maps.Keys(d.Paths)) {
		name := "/"
		if rest, ok := strings.CutPrefix(p, "/v1/"); ok {
			name, _, _ = strings.Cut(rest, "/")
		}
		methods := slices.SortedFunc(maps.Keys(d.Paths[p]), func(a, b string) int {
			return cmp.Compare(slices.Index(order, a), slices.Index(order, b))
		})
		for _, m := range methods {
			byName[name] = append(byName[name], listed{strings.ToUpper(m), p, d.Paths[p][m]})
		}
	}
	first := []string{"messages", "conversations", "triggers", "assets", "events"} // what most come for
	names := slices.SortedFunc(maps.Keys(byName), func(a, b string) int {
		rank := func(name string) int {
			if i := slices.Index(first, name); i >= 0 {
				return i
			}
			if name == "/" {
				return len(first) + 1
			}
			return len(first)
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	for _, name := range names {
		all = append(all, chapter{name, byName[name]})
	}
	return all
}

// referenceWords are the headings; what a call and a member mean is said in English, as
// in openapi.json.
var referenceWords = map[string]text{
	"title":    {"Kefu: the API of the gateway", "Kefu：网关 API"},
	"key":      {"A call has the header Authorization: Bearer kf_…, unless it needs no key.", "除注明无需密钥的以外，每次调用都带上 Authorization: Bearer kf_…。"},
	"machine":  {"For programs:", "供程序读取："},
	"english":  {"", "标题以外的说明为英文，与 openapi.json 一致。"},
	"contents": {"Contents", "目录"},
	"calls":    {"Calls", "调用"},
	"shapes":   {"Shapes", "数据结构"},
	"other":    {"others", "其他"},
	"roles":    {"Roles", "角色"},
	"nobody":   {"needs no key", "无需密钥"},
	"params":   {"Parameters", "参数"},
	"body":     {"Body", "请求体"},
	"optional": {"may be left out", "可省略"},
	"answers":  {"Answers", "应答"},
	"required": {"required", "必填"},
	"star":     {"* required in a body, always there in an answer", "* 在请求体中必填，在应答中始终存在"},
	"nothing":  {"no body", "无内容"},
}

// A reference is the page in one language.
type reference struct{ html, policy string }

var inline = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)

// InlinePolicy is the Content-Security-Policy of a page that may use the scripts and
// styles that stand in it, by their hashes, and what more allows besides; it stands in
// no frame.
func InlinePolicy(page, more string) string {
	policy := "default-src 'none'"
	for _, m := range inline.FindAllStringSubmatch(page, -1) {
		sum := sha256.Sum256([]byte(m[2]))
		policy += "; " + m[1] + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return policy + "; " + more + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// references are the page by language, made when the first is asked for.
var references = sync.OnceValue(func() map[string]reference {
	var d description
	if err := json.Unmarshal(openAPI, &d); err != nil {
		panic(err) // it is our own
	}
	page := template.Must(template.New("reference").Parse(referenceHTML))
	all := map[string]reference{}
	for lang, tag := range map[string]string{"en": "en", "zh": "zh-CN"} {
		words := map[string]string{}
		for name, t := range referenceWords {
			words[name] = t.in(lang)
		}
		var b bytes.Buffer
		if err := page.Execute(&b, struct {
			Lang string
			T    map[string]string
			description
			Chapters []chapter
			Shapes   map[string]shape
		}{tag, words, d, d.chapters(), d.Components.Schemas}); err != nil {
			panic(err)
		}
		r := reference{html: b.String()}
		r.policy = InlinePolicy(r.html, "")
		all[lang] = r
	}
	return all
})

func (s *Server) getReference(c *call) (int, any, error) {
	page := references()[c.lang]
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", c.lang)
	h.Set("Vary", "Accept-Language")
	h.Set("Content-Security-Policy", page.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	_, _ = io.WriteString(c.w, page.html) // a reader that has gone
	return 0, nil, nil
}
