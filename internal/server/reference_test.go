package server

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
)

// /docs says of each call what openapi.json says, in the headings of the reader's
// language, and runs and loads nothing.
func TestReference(t *testing.T) {
	w := newWorld(t)
	var d description
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	for lang, headings := range map[string]string{"en": "<h2>Calls</h2>", "zh": "<h2>调用</h2>"} {
		a := w.do("", "GET", "/docs", "", "Accept-Language: "+lang)
		page := string(a.body)
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, headings) || a.Header.Get("Content-Language") != lang {
			t.Errorf("%s: %d %v", lang, a.StatusCode, a.Header)
		}
		policy := a.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
			t.Errorf("policy %q", policy)
		}
		if bad := regexp.MustCompile(`<script|<link|<img|<iframe| style=| on\w+=|<no value>|ZgotmplZ`).FindString(page); bad != "" {
			t.Errorf("%s: the page has %q", lang, bad)
		}
		sections := map[string]string{}
		for _, s := range strings.Split(page, "<section ")[1:] {
			id := regexp.MustCompile(`id="([^"]+)"`).FindStringSubmatch(s)[1]
			if sections[id] != "" {
				t.Errorf("%s is there twice", id)
			}
			sections[id] = s
		}
		has := func(id string, all ...string) {
			t.Helper()
			for _, s := range all {
				if !strings.Contains(sections[id], s) {
					t.Errorf("%s: %s does not say %q:\n%s", lang, id, s, sections[id])
				}
			}
		}
		n := 0
		for path, ops := range d.Paths {
			for method, op := range ops {
				n++
				has(op.ID, ">"+strings.ToUpper(method)+"</span> <code>"+path+"</code>")
				for _, role := range op.Roles {
					has(op.ID, role)
				}
				for _, p := range op.Parameters {
					has(op.ID, "<code>"+p.Name+"</code>")
				}
				for status := range op.Responses {
					has(op.ID, "<code>"+status+"</code>")
				}
			}
		}
		if n != len(routes()) || len(sections) != n+len(d.Components.Schemas) {
			t.Errorf("%d calls, %d routes, %d sections", n, len(routes()), len(sections))
		}
		has("postMessage", "Idempotency-Key", "<code>when_closed</code>", "<code>message</code>*", `<a href="#Message">Message</a>`, "Accepted", "idempotency-mismatch", "application/problem&#43;json")
		has("getHealth", map[string]string{"en": "needs no key", "zh": "无需密钥"}[lang])
		has("Account", "<code>keep_free</code>*", "integer | null", `{…: <a href="#Allowance">Allowance</a>}`)
		for _, to := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if !strings.Contains(page, `id="`+to[1]+`"`) {
				t.Errorf("#%s leads nowhere", to[1])
			}
		}
		dec := xml.NewDecoder(strings.NewReader(page))
		dec.Strict, dec.AutoClose, dec.Entity = false, []string{"meta"}, xml.HTMLEntity
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", lang, err)
			}
		}
	}
}
