package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	endian "encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/gateway"
)

// authenticator is what an app shows for the secret: RFC 6238.
func authenticator(t *testing.T, secret string) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimSpace(secret))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	endian.Write(mac, endian.BigEndian, time.Now().Unix()/30)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	return fmt.Sprintf("%06d", endian.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// An agent turns the second factor on, by the password and a code; when the authenticator
// is lost an admin takes it off, and the password alone opens again.
func TestDeskLostSecondFactor(t *testing.T) {
	o := openOffice(t)
	const password = "correct horse"
	a, err := o.boss.AddAgent(t.Context(), gateway.AgentRequest{Name: "bob", Display: "bob", Role: gateway.Answers, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	o.agents["bob"] = a.ID
	o.link("boss", gateway.Admin)
	signIn := func() int {
		t.Helper()
		res, err := http.Post(o.p.url()+"/v1/session", "application/json", strings.NewReader(quote(object{"name": "bob", "password": password})))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}

	bob := o.sit("bob")
	bob.expect("401") // once the session has ended
	bob.turnTo("me", ".settings")
	bob.press(".tile", "Turn on")
	bob.until(`!!document.querySelector('.tile pre')`)
	secret, err := chromedp.Run(bob.ctx, chromedp.Evaluate[string](`document.querySelector('.tile pre').textContent`))
	if err != nil {
		t.Fatal(err)
	}
	bob.js(`{ const f = document.querySelector('.tile pre').closest('form');
		f.querySelector('[name=password]').value = ` + quote(password) + `; f.querySelector('[name=code]').value = ` + quote(authenticator(t, secret)) + `;
		f.querySelector('[type=submit]').click() }`)
	bob.until(`document.querySelector('main').textContent.includes('Turn off')`)
	if status := signIn(); status != http.StatusUnauthorized {
		t.Errorf("the password alone, with a second factor: %d", status)
	}

	boss := o.sit("boss")
	boss.turnTo("agents", "tbody tr")
	row := `[...document.querySelectorAll('tbody tr')].find((r) => r.textContent.includes('bob'))`
	boss.until(row + `?.textContent.includes('On')`)
	boss.js(row + `.querySelector('.menu .ib').click()`)
	boss.press("[role=menu]", "Edit")
	boss.press("dialog", "Take off")
	boss.until(`!document.querySelector('dialog') && ` + row + `?.textContent.includes('Off')`)
	boss.until(`document.querySelector('main').textContent.includes('second factor off')`)
	bob.until(`!!document.querySelector('form [name=password]') && !document.querySelector('.settings')`)
	if status := signIn(); status != http.StatusOK {
		t.Errorf("the password alone, after it was taken off: %d", status)
	}
}
