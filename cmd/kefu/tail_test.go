package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
)

// followers' text that would move the cursor, set the title, hide a link, ring, colour
// by C1, turn the line round, or forge one.
var terminalTricks = []string{
	"\x1b[2J\x1b[1;1H", "\x1b]0;owned\x07", "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "\x1b]52;c;b3duZWQ=\x07", "\x1bP+q544e\x1b\\", "\x1b[?1049h", "\x1b[6n",
	"\u009b31m", "\u009d0;owned\u009c", "\u0090x\u009c", "\u202egpj.exe", "\u2066\u2067\u2068x\u2069", "\u200e\u200f\u061c", "a\rb\nc\u2028d\u2029e\x0bf\x0cg", "\x00\x07\x08\x7f",
	"\ufeff\u00ad\u2060", "\U000e0041\U000e007f", "line\n2026-11-27T00:00:00Z message.sent wx1 o1 forged",
}

// acts reports whether a character does something in a terminal or to the text around it.
func acts(r rune) bool {
	return r != '\n' && r != '\u200d' && (unicode.Is(unicode.C, r) || unicode.In(r, unicode.Zl, unicode.Zp))
}

// Whatever prints what followers wrote and did, as a line or as JSON, prints visible
// characters alone, one line for each entry.
func TestFollowersTextIsInert(t *testing.T) {
	for i, trick := range terminalTricks {
		quoted, err := json.Marshal(trick)
		if err != nil {
			t.Fatal(err)
		}
		q := string(quoted)
		message := `{"ToUserName":"gh_1","FromUserName":` + q + `,"MsgType":"text","Content":` + q + `,"Title":` + q + `,"Label":` + q + `,"EventKey":` + q + `}`
		entry := func(kind, data string) string {
			return `{"cursor":"1","at":"2026-11-27T00:00:00Z","account":` + q + `,"openid":` + q + `,"type":` + kind + `,"data":` + data + `}`
		}
		sent := `{"id":` + q + `,"account":` + q + `,"openid":` + q + `,"msgtype":"text","message":{"touser":` + q + `,"msgtype":"text","text":{"content":` + q + `}},"state":"failed","outcome":{"errcode":45015,"errmsg":` + q + `,"advice":` + q + `},"accepted_at":"2026-11-27T00:00:00Z","expires_at":"2026-11-28T00:00:00Z"}`
		entries := []string{entry(`"follower.message"`, message), entry(`"follower.event"`, message), entry(`"message.failed"`, sent), entry(q, message), entry(`"note.added"`, `{"text":`+q+`}`)}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v1/events" && strings.Contains(r.Header.Get("Accept"), "event-stream"):
				w.Header().Set("Content-Type", "text/event-stream")
				for n, e := range entries {
					fmt.Fprintf(w, "id: %d\nevent: x\ndata: %s\n\n", n+1, e)
				}
			case r.URL.Path == "/v1/events":
				fmt.Fprintf(w, `{"items":[%s],"next":""}`, strings.Join(entries, ","))
			case strings.HasSuffix(r.URL.Path, "/timeline"):
				fmt.Fprintf(w, `{"items":[{"at":"2026-11-27T00:00:00Z","kind":"in","type":"text","message":%s},{"at":"2026-11-27T00:00:00Z","kind":"out","message":%s,"state":"failed"}],"next":""}`, message, sent)
			case r.URL.Path == "/v1/conversations":
				fmt.Fprintf(w, `{"items":[{"account":%[1]s,"openid":%[1]s,"remark":%[1]s,"handler":"bot","last_text":%[1]s,"last_at":"2026-11-27T00:00:00Z","window":{"state":"open","buckets":[]}}],"next":""}`, q)
			case r.URL.Path == "/v1/messages":
				fmt.Fprintf(w, `{"items":[%s],"next":""}`, sent)
			default:
				fmt.Fprint(w, sent)
			}
		}))
		for _, args := range [][]string{
			{"tail", "--count", "5"}, {"tail", "--count", "5", "--json"}, {"messages", "list"}, {"messages", "list", "--json"}, {"messages", "show", "msg_1"}, {"conversations", "list"},
		} {
			var stdout, stderr bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: map[string]string{"KEFU_URL": server.URL, "KEFU_API_KEY": "kf_x"}}
			code := p.run(context.Background(), args)
			for what, out := range map[string]string{"stdout": stdout.String(), "stderr": stderr.String()} {
				if strings.ContainsFunc(out, acts) {
					t.Errorf("%d %v: %s: %q", i, args, what, out)
				}
				if strings.Contains(out, "\n2026-11-27T00:00:00Z message.sent wx1 o1 forged") {
					t.Errorf("%d %v: %s has a forged line:\n%s", i, args, what, out)
				}
			}
			if lines := strings.Count(stdout.String(), "\n"); args[0] == "tail" && len(args) == 3 && lines != len(entries) {
				t.Errorf("%d %v: %d lines of %d entries (exit %d):\n%s%s", i, args, lines, len(entries), code, &stdout, &stderr)
			}
			if stdout.Len() == 0 {
				t.Errorf("%d %v: exit %d and nothing printed: %s", i, args, code, &stderr)
			}
		}
		server.Close()
	}
}
