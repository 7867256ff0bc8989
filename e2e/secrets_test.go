package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A vault has the secrets of a run, by name, and finds them again.
type vault struct {
	mu      sync.Mutex // guards secrets
	secrets map[string]string
}

func (v *vault) add(name, secret string) string {
	if len(secret) < 8 {
		panic("no secret: " + name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[name] = secret
	return secret
}

// forms are the shapes in which a secret may stand somewhere.
func forms(secret string) []string {
	key := strings.TrimPrefix(strings.TrimPrefix(secret, "whsec_"), "kf_")
	return []string{
		key, url.QueryEscape(key), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
	}
}

// hits names the secrets that stand in text.
func (v *vault) hits(text []byte, but ...string) (names []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, secret := range v.secrets {
		if !slices.Contains(but, name) && slices.ContainsFunc(forms(secret), func(f string) bool { return bytes.Contains(text, []byte(f)) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A front stands before the simulator: it notes access tokens, and breaks.
type front struct {
	*httptest.Server
	mode atomic.Value // "": passes; "cut", "garbage" (a page with the URL in it), "500", "hang"
}

func newFront(t *testing.T, v *vault, sim string) *front {
	to, err := url.Parse(sim)
	if err != nil {
		t.Fatal(err)
	}
	f := new(front)
	f.mode.Store("")
	pass := httputil.NewSingleHostReverseProxy(to)
	pass.ModifyResponse = func(res *http.Response) error {
		body, err := io.ReadAll(res.Body)
		var said struct {
			AccessToken string `json:"access_token"`
		}
		if json.Unmarshal(body, &said) == nil && said.AccessToken != "" {
			v.add("access token "+said.AccessToken[:6], said.AccessToken)
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
		return err
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch f.mode.Load() {
		case "cut":
			panic(http.ErrAbortHandler)
		case "garbage":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<html>The page %s was not found. %s", r.URL, body)
		case "500":
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"error":%q,"sent":%q}`, r.URL, body)
		case "hang":
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
		default:
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { f.CloseClientConnections() })
	return f
}

// Every secret of a gateway goes every way that a caller, WeChat, a webhook or a model can
// have it go, also where they fail; and then stands in no log, answer, page, feed, audit or
// database file. What gives a secret away on purpose gives that one alone.
func TestNoSecretLeaks(t *testing.T) {
	v := &vault{secrets: map[string]string{}}
	const appid, second = "wxca7a0000000000001", "wxca7a0000000000002"
	secret := v.add("AppSecret", "ca7a5ec7e70000000000000000000001")
	token := v.add("callback token", "canarycallbacktoken")
	aes := v.add("AES key", "CanaryCanaryCanaryCanaryCanaryCanaryCanary0")
	admin := v.add("API key", "kf_canaryapikey0123456789abcdef0123456789")
	sealing := v.add("sealing key", "canary sealing key of this very test")

	p := newProcess(t, "")
	s := startSim(t, "--app", strings.Join([]string{appid, secret, token, aes}, ":"), "--callback", p.url()+"/callback/{appid}", "--mode", "secure")
	f := newFront(t, v, s.URL)
	p.env = []string{
		"KEFU_API_KEY=" + admin, "KEFU_API_BASE=" + f.URL, "KEFU_SECRET_KEY=" + sealing, "GORACE=atexit_sleep_ms=0",
		"KEFU_ACCOUNT=" + strings.Join([]string{appid, secret, token, aes}, ":"),
	}
	p.args = []string{"--allow-private"}
	dir := filepath.Dir(strings.TrimPrefix(p.db, "sqlite:"))
	p.start()
	defer func() { p.kill() }()

	cookie := ""
	// ask makes a call, looks for secrets in the answer but for those that it gives, and
	// returns it.
	ask := func(method, path, key, body string, gives ...string) (answer []byte, header http.Header, status int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.url()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		} else if cookie != "" {
			req.Header.Set("Cookie", "kefu_session="+cookie)
		}
		if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, nil, 0
		}
		defer res.Body.Close()
		answer, _ = io.ReadAll(res.Body)
		if names := v.hits(answer, gives...); len(names) > 0 {
			t.Errorf("%s %s: %s shows %q: %s", method, path, res.Status, names, answer)
		}
		return answer, res.Header, res.StatusCode
	}
	into := func(answer []byte, to any) {
		t.Helper()
		if err := json.Unmarshal(answer, to); err != nil {
			t.Fatalf("%v: %s", err, answer)
		}
	}
	message := func(account, openid, text string) string {
		return fmt.Sprintf(`{"account":%q,"message":{"touser":%q,"msgtype":"text","text":{"content":%q}}}`, account, openid, text)
	}

	// Keys, accounts, tokens; and what is wrong with them.
	var door gateway.Key
	answer, _, _ := ask("POST", "/v1/keys", admin, `{"role":"door","paths":"all"}`)
	into(answer, &door)
	v.add("door key", door.Key)
	answer, _, _ = ask("POST", "/v1/keys", admin, `{"role":"read"}`)
	var reader gateway.Key
	into(answer, &reader)
	v.add("read key", reader.Key)
	wrongKey := v.add("a key with a slip", "kf_canaryapikeY0123456789abcdef0123456789")
	otherSecret := v.add("another AppSecret", "ca7a5ec7e70000000000000000000002")
	supplied := v.add("supplied access token", "canary_supplied_access_token_0123456789")
	for _, c := range [][4]string{
		{"GET", "/v1/keys", wrongKey, ""}, {"GET", "/v1/keys", "Bearer " + admin, ""}, {"GET", "/v1/messages?key=" + admin, "", ""}, {"GET", "/" + admin, admin, ""},
		{"POST", "/v1/keys", reader.Key, `{}`}, {"POST", "/v1/keys", admin, `{"role":"` + door.Key + `"}`},
		{"POST", "/v1/accounts", admin, `{"appid":"` + second + `","secret":"` + otherSecret + `","token":"` + token + `","aes_key":"` + aes + `"`},
		{"POST", "/v1/accounts", admin, `{"appid":"` + second + `","secret":["` + otherSecret + `"]}`},
		{"POST", "/v1/accounts", admin, `{"appid":"` + second + `","secret":"` + otherSecret + `","secrets":"` + otherSecret + `"}`},
		{"POST", "/v1/accounts", admin, `{"appid":"` + second + `","secret":"` + otherSecret + `","aes_key":"` + aes + `x"}`},
		{"POST", "/v1/accounts", admin, `{"appid":"` + second + `","secret":"` + otherSecret + `"}`},
		{"POST", "/v1/accounts/" + second + "/check", admin, ""}, // WeChat refuses it
		{"PUT", "/v1/accounts/" + second, admin, `{"token_source":"supplied"}`},
		{"PUT", "/v1/accounts/" + second + "/token", admin, `{"access_token":"` + supplied + `","expires_in":-1}`},
		{"PUT", "/v1/accounts/" + second + "/token", admin, `{"access_token":"` + supplied + `","expires_in":7000}`},
		{"POST", "/v1/messages?wait=500ms", admin, message(second, "oUser1", "x")},
		{"POST", "/v1/accounts/" + appid + "/check", admin, ""},
	} {
		ask(c[0], c[1], c[2], c[3])
	}
	ask("POST", "/v1/accounts/"+second+"/token/reveal", admin, "", "supplied access token")

	// The desk.
	password := v.add("password", "canary battery staple")
	var agent gateway.Agent
	answer, _, _ = ask("POST", "/v1/agents", admin, `{"name":"xiaowei","role":"admin","password":"`+password+`"}`)
	into(answer, &agent)
	ask("POST", "/v1/agents", admin, `{"name":"short","password":"`+password+strings.Repeat("x", 300)+`"}`)
	ask("POST", "/v1/agents", admin, `{"name":"broken","password":"`+password+`",}`)
	var link gateway.AgentLink
	answer, _, _ = ask("POST", "/v1/agents/"+agent.ID+"/link", admin, "")
	into(answer, &link)
	v.add("one-time link", link.Link)
	for _, body := range []string{
		`{"name":"xiaowei","password":"` + password + ` "}`, `{"name":"` + password + `","password":"xiaowei"}`, // in the wrong field
		`{"name":"nobody","password":"` + password + `"}`, `{"link":"` + link.Link + `"}`, `{"link":"` + link.Link + `"}`, // once, and again
		`{"name":"xiaowei","password":"` + password + `"}`,
	} {
		_, header, status := ask("POST", "/v1/session", "", body)
		if set := header.Get("Set-Cookie"); status == 200 {
			_, set, _ = strings.Cut(set, "kefu_session=")
			cookie, _, _ = strings.Cut(set, ";")
			v.add("session "+cookie[:4], cookie)
		}
	}
	if cookie == "" {
		t.Fatal("nobody signed in")
	}
	var offer gateway.TOTPOffer
	answer, _, _ = ask("POST", "/v1/session/totp", "", "{}")
	into(answer, &offer)
	v.add("TOTP secret", offer.Secret)
	ask("PUT", "/v1/session/totp", "", `{"password":"`+password+`","code":"000000"}`)
	ask("PUT", "/v1/session/password", "", `{"old":"`+password+`x","new":"`+password+`"}`)
	cookie += "x"
	ask("GET", "/v1/session", "", "")
	cookie = strings.TrimSuffix(cookie, "x")

	// Webhooks, the relay and the bot, each before a server that repeats what it got.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(500)
		w.Write(dump)
	}))
	defer echo.Close()
	inURL := "canaryinaurl0123456789"
	var hook gateway.Webhook
	for _, to := range []string{echo.URL + "/hook?token=" + inURL, "http://127.0.0.1:1024/hook?token=" + inURL, "http://user:" + inURL + "@127.0.0.1:1024/", "http://nowhere.invalid/?token=" + inURL} {
		if answer, _, status := ask("POST", "/v1/webhooks", admin, `{"url":"`+to+`","types":["*"],"schedule":[0,1]}`); status == 201 {
			into(answer, &hook)
			v.add("webhook secret "+hook.ID, hook.Secret)
			answer, _, _ = ask("POST", "/v1/webhooks/"+hook.ID+"/rotate", admin, `{"overlap":3600}`)
			into(answer, &hook)
			v.add("rotated webhook secret "+hook.ID, hook.Secret)
			ask("POST", "/v1/webhooks/"+hook.ID+"/test", admin, "")
		}
	}
	v.add("secret in a URL", inURL) // from here on: whoever may list webhooks sees their URLs
	ask("PUT", "/v1/accounts/"+appid, admin, `{"callback_forward":"`+echo.URL+`/?token=`+inURL+`","mode":"secure"}`, "secret in a URL")

	openAI := v.add("OpenAI key", "sk-canary-0123456789abcdef")
	proxyPassword := v.add("proxy password", "canaryproxypassword")
	cli := func(env []string, stdin string, gives []string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), p.bin, args...)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(strings.ToLower(e), "http") }),
			append([]string{"KEFU_URL=" + p.url(), "KEFU_API_KEY=" + admin, "GORACE=atexit_sleep_ms=0"}, env...)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.WaitDelay = 5 * time.Second
		out, _ := cmd.CombinedOutput()
		if names := v.hits(out, gives...); len(names) > 0 {
			t.Errorf("kefu %s shows %q: %s", strings.Join(args, " "), names, out)
		}
	}
	account := strings.Join([]string{appid, secret, token, aes}, ":")
	direct := []string{"send", "text", "hi", "--to", "oUser1", "--direct", "--api-base"}
	cli([]string{"KEFU_ACCOUNT=" + account}, "", nil, append(direct, "http://127.0.0.1:1")...)
	cli([]string{"KEFU_ACCOUNT=" + account}, "", nil, append(direct, echo.URL)...)
	cli(nil, account, nil, "account", "add", "-")
	cli(nil, account+":"+account, nil, "account", "add", "-")
	cli([]string{"KEFU_API_KEY=" + wrongKey}, "", nil, "account", "list", "--json")
	cli(nil, "", nil, "token", "show", "--account", appid)
	cli([]string{"KEFU_SECRET_KEY=" + sealing, "KEFU_API_KEY=kf_canary", "KEFU_ACCOUNT=" + secret}, "", nil, "serve", "--addr", "127.0.0.1:0", "--db", "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	cli([]string{"KEFU_SECRET_KEY=another", "KEFU_ACCOUNT=" + account}, "", nil, "serve", "--addr", "127.0.0.1:0", "--db", "sqlite:/nowhere/x.db")
	cli([]string{"KEFU_DB=postgres://kefu:" + proxyPassword + "@127.0.0.1:1/kefu?sslmode=disable"}, "", nil, "serve", "--addr", "127.0.0.1:0")
	bots := []func() string{}
	for _, way := range [][2]string{{"NO_PROXY=*", echo.URL + "/v1"}, {"HTTP_PROXY=http://user:" + proxyPassword + "@127.0.0.1:1", "http://model.invalid/v1"}} {
		cmd := exec.CommandContext(t.Context(), p.bin, "bot", "--gateway", p.url(), "--model", "m", "--openai-base", way[1], "--think", "1s")
		cmd.Env = append(os.Environ(), "KEFU_API_KEY="+admin, "KEFU_OPENAI_KEY="+openAI, "GORACE=atexit_sleep_ms=0", way[0])
		out := newLines()
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		says := func(words string) {
			for end := time.Now().Add(patience); !strings.Contains(out.String(), words) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			}
		}
		bots = append(bots, func() string {
			says("the model did not answer")
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			return out.String()
		})
		says(`"webhook"`)
	}
	s.act("oUser1", "text", object{"content": "你好"})

	// The door.
	for _, c := range [][4]string{
		{"GET", "/cgi-bin/token?grant_type=client_credential&appid=" + appid + "&secret=" + secret, "", ""}, // the real one
		{"GET", "/cgi-bin/token?grant_type=client_credential&appid=" + second + "&secret=" + wrongKey, "", ""},
		{"POST", "/cgi-bin/stable_token", "", `{"grant_type":"client_credential","appid":"` + appid + `","secret":"` + secret + `"`},
	} {
		ask(c[0], c[1], c[2], c[3])
	}
	answer, _, _ = ask("GET", "/cgi-bin/token?grant_type=client_credential&appid="+appid+"&secret="+door.Key, "", "")
	var got struct {
		AccessToken string `json:"access_token"`
	}
	into(answer, &got)
	doorToken := v.add("door token", got.AccessToken)
	send := `{"touser":"oUser1","msgtype":"text","text":{"content":"hi"}}`
	throughAll := func() {
		for _, c := range [][4]string{
			{"POST", "/cgi-bin/message/custom/send?access_token=" + doorToken, "", send}, {"POST", "/cgi-bin/message/custom/send?access_token=" + doorToken + "x", "", send},
			{"POST", "/cgi-bin/message/custom/send?access_token=" + doorToken, "", send[1:]}, {"GET", "/cgi-bin/getcallbackip?access_token=" + doorToken, "", ""},
			{"POST", "/cgi-bin/message/custom/typing?access_token=" + doorToken, "", `{"touser":"oUser1","command":"Typing"}`},
			{"GET", "/cgi-bin/media/get?media_id=x&access_token=" + doorToken, "", ""}, {"GET", "/cgi-bin/../x?access_token=" + doorToken, "", ""},
			{"POST", "/v1/messages?wait=500ms", admin, message(appid, "oUser1", "hi")}, {"POST", "/v1/accounts/" + appid + "/check", admin, ""},
			{"POST", "/v1/conversations/" + appid + "/oUser1/typing", admin, `{}`},
		} {
			ask(c[0], c[1], c[2], c[3])
		}
	}
	throughAll()
	for _, q := range []string{"", "?signature=x&timestamp=1&nonce=n", "?msg_signature=x&timestamp=" + fmt.Sprint(time.Now().Unix()) + "&nonce=n&encrypt_type=aes&token=" + token} {
		ask("POST", "/callback/"+appid+q, "", "<xml><ToUserName>x</ToUserName><Encrypt>"+aes+"</Encrypt></xml>")
		ask("GET", "/callback/"+appid+q, "", "")
	}
	for _, mode := range []string{"garbage", "500", "cut"} {
		f.mode.Store(mode)
		throughAll()
	}
	f.mode.Store("")
	ask("POST", "/v1/accounts/"+appid+"/resume", admin, "", "secret in a URL")
	ask("POST", "/v1/accounts/"+appid+"/token/renew", admin, "{}")

	// What is to be seen of it all.
	look := func(gives ...string) {
		t.Helper()
		gives = append(gives, "secret in a URL")
		for _, path := range []string{
			"/", "/console", "/openapi.json", "/docs", "/metrics", "/healthz", "/readyz", "/v1/events?cursor=&limit=1000", "/v1/audit?limit=1000", "/v1/accounts", "/v1/accounts/" + appid,
			"/v1/accounts/" + appid + "/token", "/v1/accounts/" + appid + "/token/events", "/v1/accounts/" + second + "/token/events", "/v1/keys", "/v1/webhooks", "/v1/agents", "/v1/messages?limit=1000",
			"/v1/conversations", "/v1/conversations/" + appid + "/oUser1", "/v1/conversations/" + appid + "/oUser1/timeline?limit=1000", "/v1/conversations/" + appid + "/oUser1/export", "/v1/callbacks", "/v1/health/series",
		} {
			ask("GET", path, admin, "", gives...)
		}
		var hooks gateway.Page[gateway.Webhook]
		answer, _, _ := ask("GET", "/v1/webhooks", admin, "", gives...)
		into(answer, &hooks)
		for _, h := range hooks.Items {
			ask("GET", "/v1/webhooks/"+h.ID+"/attempts?limit=1000", admin, "", gives[:len(gives)-1]...)
		}
		var messages gateway.Page[gateway.Message]
		answer, _, _ = ask("GET", "/v1/messages?limit=1000", admin, "", gives...)
		into(answer, &messages)
		for _, m := range messages.Items {
			ask("GET", "/v1/messages/"+m.ID+"/attempts", admin, "", gives...)
		}
	}
	look()
	for _, end := range bots {
		if log := end(); len(v.hits([]byte(log))) > 0 || !strings.Contains(log, "the model did not answer") {
			t.Errorf("kefu bot shows %q: %s", v.hits([]byte(log)), log)
		}
	}

	// The dump of a process that is ended while it waits for WeChat.
	f.mode.Store("hang")
	var waiting sync.WaitGroup
	for i := range 4 {
		waiting.Go(func() { ask("POST", "/v1/messages?wait=5s", admin, message(appid, fmt.Sprint("oHang", i), "hi")) })
	}
	time.Sleep(300 * time.Millisecond)
	p.cmd.Process.Signal(syscall.SIGQUIT)
	<-p.gone
	waiting.Wait()
	if !bytes.Contains(p.errs.Bytes(), []byte("SIGQUIT")) {
		t.Errorf("no dump: %s", p.errs.String())
	}
	f.mode.Store("")
	f.Close() // from now on WeChat is nowhere
	p.start()
	ask("POST", "/v1/accounts/"+appid+"/check", admin, "")
	ask("POST", "/v1/messages?wait=1s", admin, message(appid, "oUser2", "hi"))
	look()
	if names := v.hits(p.errs.Bytes()); len(names) > 0 {
		t.Errorf("the gateway's log shows %q:\n%s", names, p.errs.String())
	}
	files := func(gives ...string) (names []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, "kefu.db*"))
		if err != nil || len(all) < 2 {
			t.Fatal(all, err)
		}
		for _, file := range all {
			if strings.HasSuffix(file, ".key") { // the first key, for the CLI of this machine
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, v.hits(b, gives...)...)
		}
		return names
	}
	if names := files("secret in a URL"); len(names) > 0 {
		t.Errorf("the database's files show %q", names)
	}
	t.Logf("%d secrets, %d bytes of log", len(v.secrets), len(p.errs.Bytes()))

	// A secret that somebody writes to a follower is in all of these: the search finds it.
	planted := v.add("planted", "canary that is planted, not sealed")
	if answer, _, status := ask("POST", "/v1/messages", admin, message(appid, "oUser1", planted), "planted"); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
	if names := files("secret in a URL"); !slices.Contains(names, "planted") {
		t.Error("the search does not find what is in the database")
	}
	if answer, _, _ := ask("GET", "/v1/events?cursor=&limit=1000", admin, "", "planted", "secret in a URL"); len(v.hits(answer)) == 0 {
		t.Error("the search does not find what is in the feed")
	}
	for name, secret := range v.secrets {
		for _, form := range forms(secret) {
			if !slices.Contains(v.hits([]byte(`{"x":"`+form+`"}`)), name) {
				t.Errorf("%s is not found as %s", name, form)
			}
		}
	}
}
