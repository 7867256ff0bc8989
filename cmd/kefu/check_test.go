package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An intruder stands before a server of the demo: it answers itself, or lets the
// request through, changed or not.
type intruder func(w http.ResponseWriter, r *http.Request, next http.Handler)

// on lets an intruder see only requests to a path (or, ending in "*", below it).
func on(method, path string, do intruder) intruder {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		below, is := strings.CutSuffix(path, "*")
		if r.Method == method && (r.URL.Path == path || is && strings.HasPrefix(r.URL.Path, below)) {
			do(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// says answers without doing anything.
func says(status int, body string) intruder {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// asks changes the request.
func asks(old, new string) intruder {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		body = bytes.ReplaceAll(body, []byte(old), []byte(new))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	}
}

// answers changes the answer.
func answers(old, new string) intruder {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte(old), []byte(new)))
	}
}

// once lets the first request through, and the others to do.
func once(do intruder) intruder {
	seen := make(chan bool, 1)
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case seen <- true:
			next.ServeHTTP(w, r)
		default:
			do(w, r, next)
		}
	}
}

const (
	sendPath = "/cgi-bin/message/custom/send"
	yes      = `{"errcode":0,"errmsg":"ok"}`
)

// swallowed says yes to each message and delivers none.
var swallowed = on("POST", sendPath, says(200, yes))

// Whatever a step claims to have seen, it must miss when that does not happen.
// Each row breaks one thing between the program and what it looks at.
var sabotages = []struct {
	step, server, what string
	intruder           intruder
}{
	{"text", "sim", "the message is accepted and not delivered", swallowed},
	{"text", "sim", "another text arrives", on("POST", sendPath, asks("第二行", "第三行"))},
	{"text", "sim", "& arrives escaped", on("GET", "/_sim/messages", answers(`&b=2`, `\\u0026b=2`))},
	{"image", "sim", "the message is accepted and not delivered", swallowed},
	{"image", "sim", "another picture arrives", on("POST", "/cgi-bin/media/upload", answers(`"media_id":"`, `"media_id":"x`))},
	{"voice", "sim", "the message is accepted and not delivered", swallowed},
	{"video", "sim", "the message is accepted and not delivered", swallowed},
	{"video", "sim", "it arrives without its title", on("POST", sendPath, asks("导览", ""))},
	{"music", "sim", "the message is accepted and not delivered", swallowed},
	{"music", "sim", "the song is another", on("POST", sendPath, asks("/song.wav", "/other.wav"))},
	{"news", "sim", "the message is accepted and not delivered", swallowed},
	{"news", "sim", "the picture's URL is lost", on("POST", sendPath, asks(`"picurl"`, `"pic"`))},
	{"mpnews", "sim", "the message is accepted and not delivered", swallowed},
	{"mpnews", "sim", "another draft is stored", on("POST", "/cgi-bin/draft/add", asks("草稿里的文章", "别的文章"))},
	{"mpnewsarticle", "sim", "the message is accepted and not delivered", swallowed},
	{"mpnewsarticle", "sim", "the publication fails", on("POST", "/cgi-bin/freepublish/get", answers(`"publish_status":0`, `"publish_status":4`))},
	{"msgmenu", "sim", "the message is accepted and not delivered", swallowed},
	{"msgmenu", "sim", "an item has another id", on("POST", sendPath, asks(`"102"`, `"103"`))},
	{"wxcard", "sim", "the message is accepted and not delivered", swallowed},
	{"wxcard", "sim", "the phone shows another card", on("GET", "/_sim/chat", answers("满 100 减 20", "满 100 减 2"))},
	{"miniprogrampage", "sim", "the message is accepted and not delivered", swallowed},
	{"kf-account", "sim", "nobody signs", on("POST", sendPath, asks("customservice", "custom"))},
	{"kf-account", "sim", "the phone shows another name", on("GET", "/_sim/chat", answers("小微", "小红"))},
	{"ai-label", "sim", "the label is lost", on("POST", sendPath, asks(`"is_ai_msg":1`, `"is_ai_msg":0`))},
	{"typing", "sim", "typing is accepted and not shown", on("POST", "/cgi-bin/message/custom/typing", says(200, yes))},
	{"typing", "sim", "it does not end", on("POST", "/cgi-bin/message/custom/typing", asks("CancelTyping", "Typing"))},
	{"menu-tap", "callback", "the callback is not received", on("POST", "/callback/*", says(200, "success"))},
	{"menu-tap", "sim", "the tap opens the window of a message", on("POST", "/_sim/followers/*", answers(`"menu"`, `"user_message"`))},
	{"window", "sim", "it does not close", on("POST", "/_sim/clock", says(200, "{}"))},
	{"window", "sim", "it does not open again", on("POST", "/_sim/followers/*", once(says(200, "{}")))},
	{"allowance", "sim", "it has no end", on("POST", sendPath, answers("45047", "0"))},
	{"allowance", "sim", "it is another", on("POST", "/_sim/followers/*", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		next.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "http://127.0.0.1"+strings.Replace(r.URL.RequestURI(), "/text", "/click", 1), nil))
	})},
	{"retry", "sim", "nothing has to be retried", on("POST", "/_sim/faults", says(200, "{}"))},
	{"retry", "sim", "WeChat stays busy", on("POST", "/_sim/faults", asks(`"next":2`, `"next":3`))},
	{"lost-answer", "sim", "the answer is not lost", on("POST", "/_sim/faults", says(200, "{}"))},
	{"lost-answer", "sim", "the message is lost", on("POST", "/_sim/faults", asks("after", "before"))},
	{"dead-token", "sim", "the token lives", on("POST", "/_sim/clock", says(200, "{}"))},
	{"dead-token", "sim", "no new token is to be had", on("POST", "/cgi-bin/stable_token", once(says(200, `{"errcode":-1,"errmsg":""}`)))},
	{"image-back", "sim", "other bytes come back", on("GET", "/cgi-bin/media/get", answers("IEND", "IENd"))},
	{"picture-url", "sim", "the URL serves other bytes", on("GET", "/mmbiz_png/*", answers("IEND", "IENd"))},
	{"picture-url", "sim", "the URL serves nothing", on("GET", "/mmbiz_png/*", says(404, ""))},
	{"callback-url", "callback", "the callback does not echo", on("GET", "/callback/*", says(200, "ok"))},
	{"callback-passive", "callback", "the callback is down", on("POST", "/callback/*", says(500, ""))},
	{"callback-passive", "callback", "the answer is lost", on("POST", "/callback/*", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		_, _ = io.WriteString(w, "success")
	})},
	{"callback-passive", "sim", "the mode is not secure", on("GET", "/_sim/accounts", answers("secure", "plain"))},
	{"callback-answer", "callback", "the callback is not received", on("POST", "/callback/*", says(200, "success"))},
	{"callback-answer", "sim", "the answer is accepted and not delivered", swallowed},
	{"callback-forged", "callback", "forgeries are taken", on("POST", "/callback/*", says(200, "success"))},
	{"card-rule", "sim", "the look-up is wrong", on("POST", "/card/get", answers(`"use_custom_code":true`, `"use_custom_code":false`))},
	{"card-rule", "sim", "WeChat takes any card", on("POST", sendPath, answers("40158", "0"))},
	{"six-triggers", "sim", "the rules are today's", on("PUT", "/_sim/state", says(200, "{}"))},
	{"six-triggers", "sim", "windows close too early", on("POST", "/_sim/clock", asks("47h59m", "48h"))},
	{"six-triggers", "sim", "windows do not close", on("POST", "/_sim/clock", asks(`"1m"`, `"1s"`))},
	{"eight-articles", "sim", "the ninth is answered", on("POST", sendPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "one too many") {
			says(200, `{"errcode":45008,"errmsg":""}`)(w, r, next)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})},
	{"eight-articles", "sim", "eight are too many", on("PUT", "/_sim/state", says(200, "{}"))},
	{"no-access-token", "sim", "WeChat finds the token in the path", on("POST", sendPath+"*", says(200, yes))},
	{"trailing-comma", "sim", "WeChat forgives the comma", on("POST", sendPath, asks(`},}`, `}}`))},
	{"video-without-thumb", "sim", "the message is accepted and not delivered", swallowed},
	{"video-without-thumb", "sim", "WeChat refuses it", on("POST", sendPath, says(200, `{"errcode":41006,"errmsg":""}`))},
	{"uploadimg-video", "sim", "WeChat takes a video", on("POST", "/cgi-bin/media/uploadimg", says(200, `{"url":"http://a/"}`))},

	{"gateway-text", "sim", "another text arrives", on("POST", sendPath, asks("第二行", "第三行"))},
	{"gateway-text", "gateway", "the gateway says sent and does nothing", on("POST", "/v1/messages", says(200, `{"id":"msg_1","state":"sent"}`))},
	{"gateway-text", "gateway", "the gateway changes the text", on("POST", "/v1/messages", asks("第二行", "第三行"))},
	{"gateway-kf-account", "sim", "nobody signs", on("POST", sendPath, asks("customservice", "custom"))},
	{"gateway-callback", "gateway", "the callback is not kept", on("POST", "/callback/*", says(200, "success"))},
	{"gateway-callback", "gateway", "the window is another", on("GET", "/v1/conversations/*", answers(`"user_message"`, `"menu"`))},
	{"gateway-forged", "gateway", "forgeries are taken", on("POST", "/callback/*", says(200, "success"))},
	{"gateway-window", "sim", "it does not close", on("POST", "/_sim/clock", says(200, "{}"))},
	{"gateway-window", "sim", "it does not open again", on("POST", "/_sim/followers/*", once(says(200, "{}")))},
	{"gateway-window", "gateway", "it is not foreseen", on("POST", "/v1/messages", asks(`"when_closed":"fail"`, `"when_closed":"try"`))},
	{"gateway-parked", "sim", "the window does not close", on("POST", "/_sim/clock", says(200, "{}"))},
	{"gateway-parked", "sim", "nothing leaves", on("POST", "/_sim/followers/*", once(says(200, "{}")))},
	{"gateway-parked", "sim", "another order arrives", on("GET", "/_sim/messages", answers(`\"content\":\"2\"`, `\"content\":\"3\"`))},
	{"gateway-parked", "gateway", "the answer waits as well", on("POST", "/v1/messages", asks(`"priority":"human"`, `"priority":"bulk"`))},
	{"gateway-parked", "gateway", "none stay", on("GET", "/v1/messages", answers(`"parked"`, `"sent"`))},
	{"gateway-long-text", "gateway", "the parts are not planned", on("POST", "/v1/messages", asks(`"when_closed":"fail"`, `"when_closed":"try"`))},
	{"gateway-long-text", "gateway", "nothing is cut", on("POST", "/v1/messages", asks(`"long_text":"split"`, `"long_text":"refuse"`))},
	{"gateway-long-text", "sim", "another order arrives", on("GET", "/_sim/messages", answers(`\"content\":\"2长`, `\"content\":\"3长`))},
	{"gateway-bulk", "gateway", "bulk takes what is kept", on("POST", "/v1/messages", asks(`"priority":"bulk"`, `"priority":"human"`))},
	{"gateway-bulk", "gateway", "the answer is bulk", on("POST", "/v1/messages", asks(`"priority":"human"`, `"priority":"bulk"`))},
	{"gateway-resend", "gateway", "it is not resent", on("POST", "/v1/messages", asks(`"on_unknown":"resend"`, `"on_unknown":"hold"`))},
	{"gateway-resend", "sim", "the answer is not lost", on("POST", "/_sim/faults", says(200, "{}"))},
	{"gateway-resend", "sim", "no time passes", on("POST", "/_sim/clock", says(200, "{}"))},
	{"gateway-retry", "sim", "nothing has to be retried", on("POST", "/_sim/faults", says(200, "{}"))},
	{"gateway-retry", "sim", "WeChat stays busy", on("POST", "/_sim/faults", asks(`"next":2`, `"next":3`))},
	{"gateway-quota", "sim", "the quota is not used up", on("POST", "/_sim/faults", says(200, "{}"))},
	{"gateway-quota", "sim", "midnight does not come", on("POST", "/_sim/clock", says(200, "{}"))},
	{"gateway-quota", "sim", "the second is tried too", on("POST", "/_sim/faults", asks("45009", "-1"))},
	{"gateway-quota", "gateway", "nobody says why", on("GET", "/v1/conversations/*", answers("45009", "soon"))},
	{"gateway-paused", "sim", "nothing is wrong", on("POST", "/_sim/faults", says(200, "{}"))},
	{"gateway-paused", "sim", "it is one message's fault", on("POST", "/_sim/faults", asks("48001", "65401"))},
	{"gateway-paused", "gateway", "the check resumes nothing", on("POST", "/v1/accounts/*", says(200, `{"ok":true}`))},
	{"gateway-lost-answer", "sim", "the answer is not lost", on("POST", "/_sim/faults", says(200, "{}"))},
	{"gateway-lost-answer", "sim", "the message is lost", on("POST", "/_sim/faults", asks("after", "before"))},
	{"gateway-repeat", "gateway", "the key is not looked at", on("POST", "/v1/messages", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Idempotency-Key")
		next.ServeHTTP(w, r)
	})},
	{"gateway-image-back", "sim", "other bytes come back", on("GET", "/cgi-bin/media/get", answers("IEND", "IENd"))},
	{"gateway-image-back", "sim", "another picture arrives", on("POST", sendPath, asks(`"media_id":"`, `"media_id":"x`))},
	{"gateway-media-renewed", "sim", "WeChat forgets nothing", on("PUT", "/_sim/state", says(200, "{}"))},
	{"gateway-media-renewed", "sim", "no time passes", on("POST", "/_sim/clock", says(200, "{}"))},
	{"gateway-media-renewed", "sim", "uploads are refused", on("POST", "/cgi-bin/media/upload", says(200, `{"errcode":40005,"errmsg":""}`))},
	{"gateway-media-renewed", "sim", "the cover is another", on("POST", sendPath, asks(`"thumb_media_id":"`, `"thumb_media_id":"x`))},
	{"gateway-media-renewed", "sim", "the follower gets none", swallowed},
	{"gateway-media-renewed", "gateway", "another file is kept", on("POST", "/v1/assets", asks("mp42", "mp41"))},
	{"gateway-media-url", "callback", "the URL leads nowhere", on("GET", "/hills.png", says(404, ""))},
	{"gateway-media-url", "callback", "another picture is there", on("GET", "/hills.png", answers("IEND", "IENd"))},
	{"gateway-media-url", "callback", "a page is there", on("GET", "/hills.png", says(200, "<html>"))},
	{"gateway-media-url", "sim", "the follower gets none", swallowed},
	{"gateway-inbound", "sim", "WeChat does not give it out", on("GET", "/cgi-bin/media/get", says(200, `{"errcode":40007,"errmsg":""}`))},
	{"gateway-inbound", "gateway", "the timeline does not show it", on("GET", "/v1/conversations/*", answers(`"asset"`, `"assets"`))},
	{"gateway-inbound", "gateway", "it is not there", on("GET", "/v1/assets/*", says(404, ""))},
	{"gateway-inbound", "gateway", "other bytes are there", on("GET", "/v1/assets/*", says(200, "\xff\xd8\xff"))},
	{"gateway-list", "gateway", "the page is not there", on("GET", "/", says(404, ""))},
}

// Whatever goes through the gateway has to arrive.
func init() {
	for _, k := range kinds() {
		sabotages = append(sabotages, sabotages[0])
		s := &sabotages[len(sabotages)-1]
		s.step, s.what, s.intruder = "gateway-"+k.name, "WeChat accepts the message and does not deliver it", swallowed
	}
}

// checkOnly runs one step of the check in a world of its own.
func checkOnly(t *testing.T, s step, meddle func(string, http.Handler) http.Handler) (exit int, stdout string) {
	t.Helper()
	var out, talk bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &talk, env: map[string]string{}, meddle: meddle}
	d, err := p.startDemo(t.Context(), anyPort, anyPort)
	if err != nil {
		t.Fatal(err)
	}
	exit = p.complain(d.check(t.Context(), []step{s}))
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	return exit, out.String() + talk.String()
}

func TestCheckStepsStandAlone(t *testing.T) {
	for _, s := range steps() {
		t.Run(s.name, func(t *testing.T) {
			if exit, out := checkOnly(t, s, nil); exit != exitDone || !strings.Contains(out, "\n✓ "+s.name+" ") {
				t.Errorf("exit %d\n%s", exit, out)
			}
		})
	}
}

func TestCheckNoticesSabotage(t *testing.T) {
	broken := map[string]int{}
	for _, tt := range sabotages {
		broken[tt.step]++
	}
	for _, s := range steps() {
		if broken[s.name] == 0 {
			t.Errorf("nothing breaks the step %s: it may be unable to fail", s.name)
		}
	}
	for _, tt := range sabotages {
		t.Run(tt.step+": "+tt.what, func(t *testing.T) {
			t.Parallel()
			met := false
			meddle := func(server string, h http.Handler) http.Handler {
				if server != tt.server {
					return h
				}
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.intruder(w, r, h) })
			}
			for _, s := range steps() {
				if s.name != tt.step {
					continue
				}
				met = true
				if exit, out := checkOnly(t, s, meddle); exit != exitFailed || !strings.Contains(out, "\n✗ "+s.name+" ") {
					t.Errorf("exit %d\n%s", exit, out)
				}
			}
			if !met {
				t.Error("there is no such step")
			}
		})
	}
}

// The whole command ends with 1 when anything is wrong, and with 0 soon.
func TestDemoCheckExitCode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		meddle func(string, http.Handler) http.Handler
		exit   int
	}{
		{"all is well", nil, exitDone},
		{"uploads are down", func(_ string, h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				on("POST", "/cgi-bin/media/*", says(503, "down"))(w, r, h)
			})
		}, exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, talk bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &talk, env: map[string]string{}, meddle: tt.meddle}
			began := time.Now()
			if exit := p.run(t.Context(), []string{"demo", "--check"}); exit != tt.exit {
				t.Errorf("exit %d, want %d\n%s%s", exit, tt.exit, &out, &talk)
			}
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("it took %v, more than 10 s", took)
			}
		})
	}
}

// A simulator that hangs does not hang the check: it ends when its time is up.
func TestCheckEndsInTime(t *testing.T) {
	var out, talk bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &talk, env: map[string]string{}}
	p.meddle = func(string, http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
	}
	d, err := p.startDemo(t.Context(), anyPort, anyPort)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	exit := p.complain(errors.Join(d.check(ctx, steps()), d.stop()))
	if took := time.Since(began); exit != exitFailed || took > 5*time.Second {
		t.Errorf("exit %d after %v, want %d after 200 ms\n%s", exit, took, exitFailed, &out)
	}
	if n := strings.Count(out.String(), "\n✗ "); n != len(steps()) {
		t.Errorf("%d steps failed, want all %d\n%s", n, len(steps()), &out)
	}
}
