package server

import (
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// What two admins edit at once: the second one is told, and nothing is overwritten. A
// revision is the same in a list, alone and as ETag, and changes with what an admin
// changes alone.
func TestEditedByTwo(t *testing.T) {
	w := newWorld(t)
	hook := read[gateway.Webhook](t, w.do(adminKey, "POST", "/v1/webhooks", `{"url":"https://example.com/a","name":"一"}`))
	for _, tt := range []struct{ list, path, name, renamed, other string }{
		{"/v1/accounts", "/v1/accounts/wxshop", "", `{"name":"甲"}`, `{"name":"乙"}`},
		{"/v1/webhooks", "/v1/webhooks/" + hook.ID, "一", `{"url":"https://example.com/a","name":"甲"}`, `{"url":"https://example.com/a","name":"乙"}`},
	} {
		type edited struct{ Name, Revision string }
		put := func(body, match string) (int, edited, string) {
			a := w.do(adminKey, "PUT", tt.path, body, "If-Match: "+match) // "": none
			if a.StatusCode != 200 {
				return a.StatusCode, edited{}, read[gateway.Problem](t, a).Code
			}
			return a.StatusCode, read[edited](t, a), a.Header.Get("ETag")
		}
		now := func() edited {
			alone := w.do(adminKey, "GET", tt.path, "")
			e := read[edited](t, alone)
			listed := string(w.do(adminKey, "GET", tt.list, "").body)
			if e.Revision == "" || alone.Header.Get("ETag") != `"`+e.Revision+`"` || !strings.Contains(listed, `"revision":"`+e.Revision+`"`) {
				t.Errorf("%s: revision %q, ETag %s, listed %s", tt.path, e.Revision, alone.Header.Get("ETag"), listed)
			}
			return e
		}
		before := now()
		if again := now(); again != before {
			t.Errorf("%s: %+v, then %+v", tt.path, before, again)
		}
		status, first, tag := put(tt.renamed, `"`+before.Revision+`"`)
		if status != 200 || first.Name != "甲" || first.Revision == before.Revision || tag != `"`+first.Revision+`"` || now() != first {
			t.Errorf("%s: the first: %d %+v %s", tt.path, status, first, tag)
		}
		for _, row := range []struct {
			match  string
			status int
		}{
			{`"` + before.Revision + `"`, 412},
			{first.Revision, 412},               // no entity tag
			{`W/"` + first.Revision + `"`, 412}, // a weak one never matches
			{`""`, 412},
			{`"` + strings.ToUpper(first.Revision) + `x"`, 412},
			{`"x", "` + first.Revision + `"`, 200},
			{"*", 200},
			{"", 200},
		} {
			put(tt.renamed, "")
			status, _, code := put(tt.other, row.match)
			if status != row.status || status == 412 && code != gateway.PreconditionFailed {
				t.Errorf("%s, If-Match %q: %d %s, want %d", tt.path, row.match, status, code, row.status)
			}
			if got := now().Name; (got == "乙") != (status == 200) {
				t.Errorf("%s, If-Match %q: the name is %s after %d", tt.path, row.match, got, status)
			}
		}
	}
	// A pause is a change, too: nobody resumes an account by renaming it.
	running := read[gateway.Account](t, w.do(adminKey, "GET", "/v1/accounts/wxshop", ""))
	w.do(adminKey, "POST", "/v1/accounts/wxshop/pause", `{"because":"假日"}`)
	if a := w.do(adminKey, "PUT", "/v1/accounts/wxshop", `{"name":"甲","state":"active"}`, `If-Match: "`+running.Revision+`"`); a.StatusCode != 412 || w.accounts["wxshop"].State != "paused" {
		t.Errorf("%d %s, the account is %s", a.StatusCode, a.body, w.accounts["wxshop"].State)
	}
	if a := w.do(adminKey, "PUT", "/v1/accounts/wxnew9", `{"secret":"s"}`, "If-Match: *"); a.StatusCode != 412 {
		t.Errorf("what isn't there matches: %d %s", a.StatusCode, a.body)
	}
}
