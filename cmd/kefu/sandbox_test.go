package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// upload is the answer to a picture of so many bytes.
func (s *sandbox) upload(t *testing.T, size int) (mediaID string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, _ := form.CreateFormFile("media", "a.png")
	part.Write(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, size)...))
	form.Close()
	return s.call(t, "POST", "media/upload?type=image", form.FormDataContentType(), &b).MediaID
}

type triedAnswer struct {
	ErrCode int    `json:"errcode"`
	MediaID string `json:"media_id"`
}

func (s *sandbox) call(t *testing.T, method, path, kind string, body io.Reader) (a triedAnswer) {
	t.Helper()
	r, _ := http.NewRequest(method, "http://wechat/cgi-bin/"+path, body)
	r.Header.Set("Content-Type", kind)
	res, err := s.way("wx5eed2a76cc560001").RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	_ = json.Unmarshal(b, &a) // a picture is none
	return a
}

// What is tried is remembered up to so many calls, and so many bytes.
func TestSandboxBeginsAnew(t *testing.T) {
	for name, until := range map[string]func(s *sandbox){
		"after many calls": func(s *sandbox) {
			for range mostTried {
				s.call(t, "GET", "getcallbackip", "", nil)
			}
		},
		"after many bytes": func(s *sandbox) {
			for range mostTriedBytes >> 23 {
				s.upload(t, 8<<20)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s sandbox
			defer s.Close()
			id := s.upload(t, 1000)
			known := func() bool { return s.call(t, "GET", "media/get?media_id="+id, "", nil).ErrCode == 0 }
			if !known() {
				t.Error("it forgot at once")
			}
			until(&s)
			if known() || s.now.bytes > mostTriedBytes || s.now.calls > mostTried {
				t.Errorf("it remembers %d bytes of %d calls", s.now.bytes, s.now.calls)
			}
		})
	}
}

// A call that is on its way when the sandbox begins anew, or ends, is answered, and its
// simulator ends then.
func TestSandboxLetsCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sandbox
		first, wechat := s.enter("wx5eed2a76cc560001", 0)
		answered := func() bool {
			r, _ := http.NewRequest("GET", "http://wechat/cgi-bin/getcallbackip?access_token=none", nil)
			res, err := wechat.Transport().RoundTrip(r)
			if err != nil {
				return false
			}
			var a triedAnswer
			err = json.NewDecoder(res.Body).Decode(&a)
			return err == nil && (a.ErrCode == 40001 || a.ErrCode == 40014)
		}
		for s.now == first {
			s.call(t, "POST", "message/custom/send", "application/json", strings.NewReader(`{}`))
		}
		s.Close()
		synctest.Wait()
		if s.now != nil || !answered() {
			t.Error("it did not wait")
		}
		first.running.Done()
		synctest.Wait()
		if answered() {
			t.Error("it goes on")
		}
	})
}
