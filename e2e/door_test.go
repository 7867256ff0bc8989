package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/silenceper/wechat/v2/util"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// atDoor starts a gateway between programs and s, which begins after it, and makes a door
// key. Its account's callbacks come in the mode, and go on to forward.
func atDoor(t *testing.T, mode, forward string, flags ...string) (p *process, s *sim, key string) {
	t.Helper()
	p = newProcess(t, "")
	s = startSim(t, "--callback", p.url()+"/callback/{appid}", "--mode", mode)
	p.env = append(p.env, "KEFU_API_BASE="+s.URL)
	p.args = append([]string{"--allow-private"}, flags...)
	p.start()
	t.Cleanup(func() {
		p.kill()
		for _, secret := range []string{key, kefutest.DefaultAccount.Secret.Reveal(), "access_token="} {
			if strings.Contains(p.errs.String(), secret) {
				t.Errorf("the gateway's log has a secret")
			}
		}
	})
	var k gateway.Key
	p.api2(t, "POST", "/v1/keys", gateway.KeyRequest{Role: gateway.Door, Paths: gateway.AllPaths, Name: "an SDK"}, &k)
	appid := kefutest.DefaultAccount.AppID
	p.api2(t, "PUT", "/v1/accounts/"+appid, map[string]any{"mode": mode, "callback_forward": forward}, nil)
	return p, s, k.Key
}

// api2 is one call of the gateway's API that must work.
func (p *process) api2(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, p.url()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatal(err)
		}
	}
}

// throughDoor points silenceper at the gateway, with a key as its AppSecret.
func throughDoor(t *testing.T, p *process, s *sim, key string) *wire {
	out := silenceper(s)
	util.SetURIModifier(func(uri string) string { return strings.Replace(uri, weixin, p.url(), 1) })
	was := appSecret
	appSecret = key
	t.Cleanup(func() { appSecret = was })
	return out
}

// silenceper, unmodified, sends every kind it knows through the gateway.
func TestSilenceperThroughTheDoor(t *testing.T) {
	p, s, key := atDoor(t, "secure", "")
	out := throughDoor(t, p, s, key)
	posted, got := sendsEveryKind(t, s, out), s.raw("oUser1")
	if len(got) != len(posted) {
		t.Fatalf("%d messages arrived of %d", len(got), len(posted))
	}
	for i := range got {
		var a, b any
		if json.Unmarshal([]byte(got[i]), &a) != nil || json.Unmarshal([]byte(posted[i]), &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("the follower received\n%s\nand silenceper posted\n%s", got[i], posted[i])
		}
	}
}

// With the CA and a proxy, or a name that leads to the TLS listener as hosts or DNS have
// it do, the library believes that it speaks to WeChat.
func TestSilenceperThroughTheDoorsOtherWays(t *testing.T) {
	for _, tt := range []struct {
		name, flag string
		way        func(addr string) *http.Transport
	}{
		{"proxy", "--proxy-addr", func(addr string) *http.Transport {
			return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})}
		}},
		{"TLS", "--tls-addr", func(addr string) *http.Transport {
			return &http.Transport{DialContext: func(ctx context.Context, network, asked string) (net.Conn, error) {
				if asked != "api.weixin.qq.com:443" {
					return nil, fmt.Errorf("it dials %s", asked)
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr, ca := l.Addr().String(), filepath.Join(t.TempDir(), "ca.pem")
			l.Close()
			p, s, key := atDoor(t, "secure", "", tt.flag, addr, "--ca", ca)
			out := throughDoor(t, p, s, key)
			util.SetURIModifier(nil)
			text, err := os.ReadFile(ca)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(text)
			way := tt.way(addr)
			way.TLSClientConfig = &tls.Config{RootCAs: roots}
			t.Cleanup(way.CloseIdleConnections)
			out.way = way
			if posted := sendsEveryKind(t, s, out); len(s.raw("oUser1")) != len(posted) {
				t.Errorf("%d messages arrived of %d", len(s.raw("oUser1")), len(posted))
			}
		})
	}
}

// What followers do arrives at silenceper through the relay as what it was, and what it
// answers stands on their phones.
func TestSilenceperBehindTheRelay(t *testing.T) {
	for _, mode := range []string{"plain", "secure"} {
		t.Run(mode, func(t *testing.T) {
			d := newDoor(t)
			p, s, key := atDoor(t, mode, d.URL+"/callback")
			throughDoor(t, p, s, key)
			if !s.verify() {
				t.Error("WeChat's URL check failed")
			}
			receives(t, s, d)
			answers(t, s, d)
			var page gateway.Page[gateway.TimelineEntry]
			p.api2(t, "GET", "/v1/conversations/"+kefutest.DefaultAccount.AppID+"/oReader0/timeline", nil, &page)
			if len(page.Items) != 2 || page.Items[0].Type != "conversation.answered" || !strings.Contains(string(page.Items[0].Data), "您好") {
				t.Errorf("the timeline: %+v", page.Items)
			}
		})
	}
}

// co-wechat-api, unmodified, sends what it knows through the gateway. Its package is
// where make test-clients has put it, or in KEFU_NODE_MODULES.
func TestCoWechatAPIThroughTheDoor(t *testing.T) {
	modules := os.Getenv("KEFU_NODE_MODULES")
	if modules == "" {
		modules = filepath.Join("testdata", "node", "node_modules")
	}
	if _, err := os.Stat(filepath.Join(modules, "co-wechat-api")); err != nil {
		t.Skip("co-wechat-api is not installed: make test-clients does that")
	}
	script, err := filepath.Abs(filepath.Join("testdata", "node", "co-wechat-api.js"))
	if err != nil {
		t.Fatal(err)
	}
	modules, _ = filepath.Abs(modules)
	p, s, key := atDoor(t, "secure", "")
	picture := file(t, "a.jpg", photo())
	const to = "oUser1"
	s.put(object{"cards": []object{{"card_id": "pCARD", "title": "满减券"}}})
	p.api2(t, "PUT", "/v1/accounts/"+kefutest.DefaultAccount.AppID, object{"rules": object{"user_message": object{"max": 20, "seconds": 172800}}}, nil)
	s.put(object{"rules": object{"user_message": object{"max": 20, "seconds": 172800}}})
	s.act(to, "text", nil)
	cmd := exec.CommandContext(t.Context(), "node", script, p.url(), kefutest.DefaultAccount.AppID, to, picture, file(t, "a.amr", speech()), file(t, "a.mp4", film()))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "KEFU_DOOR_KEY="+key)
	outcome, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, outcome)
	}
	var kinds []string
	for _, raw := range s.raw(to) {
		var m struct{ MsgType string }
		_ = json.Unmarshal([]byte(raw), &m)
		kinds = append(kinds, m.MsgType)
	}
	if want := "[text image voice video music news wxcard]"; fmt.Sprint(kinds) != want {
		t.Errorf("arrived: %v\n%s", kinds, outcome)
	}
}
