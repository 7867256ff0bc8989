package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The page runs under its policy, which lets nothing in that a follower wrote: its
// own script and style by their hashes, no others, and no way to make HTML of text.
func TestLiveListPage(t *testing.T) {
	h := withLiveList(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", http.StatusOK},
		{"HEAD", "/", http.StatusOK},
		{"POST", "/", http.StatusTeapot},
		{"GET", "/v1/messages", http.StatusTeapot},
		{"GET", "/livelist.html", http.StatusTeapot},
	} {
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, nil)); rec.Code != tt.status {
			t.Errorf("%s %s: HTTP %d, want %d", tt.method, tt.path, rec.Code, tt.status)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	policy, page := rec.Header().Get("Content-Security-Policy"), rec.Body.String()
	if !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.Contains(policy, "; connect-src 'self'; ") || strings.Count(policy, "'sha256-") != 2 || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if n := strings.Count(page, "<script") + strings.Count(page, "<style"); n != 2 {
		t.Errorf("%d scripts and styles, want the 2 of which the policy has the hash", n)
	}
	for _, way := range []string{
		"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "DOMParser", "style=", "javascript:",
		"http://", "https://", " onclick", " onload", " onerror", "localStorage",
	} {
		if strings.Contains(page, way) {
			t.Errorf("the page has %q", way)
		}
	}
}
