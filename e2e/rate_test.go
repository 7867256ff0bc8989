package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu/internal/pgtest"
	"github.com/kefu-go/kefu/kefutest"
)

// BenchmarkGateway measures how many messages a second reach followers: posted
// straight to the simulator, and through the gateway, which keeps each with fsync
// before it answers and delivers it in order. Simulator, gateway and the 64
// producers share the machine. State the ratio of the two from one run:
//
//	go test -run '^$' -bench Gateway -benchtime 20000x -count 3 .
func BenchmarkGateway(b *testing.B) {
	const followers, producers = 1000, 64
	wechat := kefutest.NewServer()
	defer wechat.Close()
	const open = `{"rules":{"user_message":{"max":null,"seconds":172800}}}`
	if err := wechat.SetState(open); err != nil {
		b.Fatal(err)
	}
	p := newProcess(b, wechat.URL)
	if os.Getenv("KEFU_BENCH") == "postgres" {
		server := pgtest.Start(b)
		p.on(server.Via(server.TCP(), "public"))
	}
	p.start()
	defer p.kill()
	put(b, p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, open)
	for i := range followers {
		wechat.UserSends(fmt.Sprintf("oFollower%04d", i))
		put(b, p.url()+"/v1/triggers", fmt.Sprintf(`{"openid":"oFollower%04d","trigger":"user_message"}`, i))
	}
	var tok struct {
		AccessToken string `json:"access_token"`
	}
	res, err := http.Get(fmt.Sprintf("%s/cgi-bin/token?grant_type=client_credential&appid=%s&secret=%s", wechat.URL, kefutest.DefaultAccount.AppID, kefutest.DefaultAccount.Secret.Reveal()))
	if err != nil {
		b.Fatal(err)
	}
	err = json.NewDecoder(res.Body).Decode(&tok)
	res.Body.Close()
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: producers}}
	text := strings.Repeat("您好，您的订单已发货 ", 10)
	posts := func(b *testing.B, url string, body func(i int64) string) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range producers {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					req, _ := http.NewRequest("POST", url, strings.NewReader(body(i)))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", "Bearer "+apiKey)
					res, err := client.Do(req)
					if err != nil {
						b.Error(err)
						return
					}
					answer, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode >= 300 || strings.Contains(string(answer), `"errcode":4`) {
						b.Errorf("%s %s", res.Status, answer)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	message := func(i int64) string {
		return fmt.Sprintf(`{"touser":"oFollower%04d","msgtype":"text","text":{"content":%q}}`, i%followers, text)
	}
	b.Run("direct", func(b *testing.B) {
		posts(b, wechat.URL+"/cgi-bin/message/custom/send?access_token="+tok.AccessToken, message)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("gateway", func(b *testing.B) {
		before := len(wechat.Sent())
		posts(b, p.url()+"/v1/messages", func(i int64) string { return `{"message":` + message(i) + `}` })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepted/s")
		for len(wechat.Sent())-before < b.N {
			time.Sleep(100 * time.Millisecond) // looking costs the simulator time
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
}
