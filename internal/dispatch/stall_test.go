package dispatch_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// The mark that goes before a post may take long. What must not leave any more by then
// does not: here the file is locked, in real time, until the message has expired.
func TestNothingLeavesAfterALongCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 })
	defer r.close()
	r.wechat.UserSends("oUser1")
	first := r.accept("oUser1", "first")
	for r.state(first) != gateway.Sent {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	second := r.accept("oUser1", "second", func(s *gateway.Submission) { s.ExpiresAt = gateway.At(began.Add(1800 * time.Millisecond)) }) // its turn is in a second

	other, err := sql.Open("sqlite", "file:"+r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(began.Add(2700 * time.Millisecond)))
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !r.state(second).Final() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	r.want("its time was over before its mark was kept", second, gateway.Expired)
	if got := r.received("oUser1"); got != "first" {
		t.Errorf("the follower has %q", got)
	}
}
