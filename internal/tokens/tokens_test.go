package tokens

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// memory is a store that can be down.
type memory struct {
	mu   sync.Mutex
	kept map[string]kefu.Token
	down bool
}

func (m *memory) Token(_ context.Context, appid string) (kefu.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return kefu.Token{}, errors.New("down")
	}
	return m.kept[appid], nil
}

func (m *memory) SwapToken(_ context.Context, _ time.Time, appid string, old kefu.Secret, tok kefu.Token) (kefu.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return kefu.Token{}, errors.New("down")
	}
	if m.kept[appid].Value == old {
		m.kept[appid] = tok
	}
	return m.kept[appid], nil
}

func fetches(w *kefutest.WeChat) (n int) {
	for _, r := range w.Requests() {
		if strings.Contains(r.Path, "token") {
			n++
		}
	}
	return n
}

func TestOneTokenAcrossRestarts(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	m := &memory{kept: map[string]kefu.Token{}}
	start := func() kefu.TokenSource {
		c := &Center{Store: m, HTTP: wechat.Client().HTTP, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		src := c.Source(kefutest.DefaultAccount.AppID, kefutest.DefaultAccount.Secret)
		if again := c.Source(kefutest.DefaultAccount.AppID, kefutest.DefaultAccount.Secret); again != src {
			t.Error("two sources for one account")
		}
		return src
	}
	first, err := start().Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := start().Token(t.Context())
	if err != nil || again.Value != first.Value || fetches(wechat) != 1 {
		t.Errorf("after a restart: another token %v, %d fetches, %v", again.Value != first.Value, fetches(wechat), err)
	}
	wechat.ExpireTokens()
	src := start()
	dead, err := src.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := src.(kefu.Refresher).Refresh(t.Context(), dead)
	if err != nil || fresh.Value == dead.Value || m.kept[kefutest.DefaultAccount.AppID].Value != fresh.Value {
		t.Errorf("a dead kept token is not replaced: %v", err)
	}
	m.kept[kefutest.DefaultAccount.AppID] = kefu.Token{Value: "old", Expiry: time.Now().Add(-time.Second)}
	if tok, err := start().Token(t.Context()); err != nil || tok.Value == "old" {
		t.Error("an expired token is used", err)
	}
}

func TestAStoreThatIsDownStopsNothing(t *testing.T) {
	wechat := kefutest.New()
	defer wechat.Close()
	c := &Center{Store: &memory{down: true}, HTTP: wechat.Client().HTTP, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	src := c.Source(kefutest.DefaultAccount.AppID, kefutest.DefaultAccount.Secret)
	for range 3 {
		if _, err := src.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := fetches(wechat); n != 1 {
		t.Errorf("%d fetches", n)
	}
}
