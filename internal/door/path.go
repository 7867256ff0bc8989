package door

import (
	"net/url"
	"path"
	"strings"
)

// Paths that the door answers itself.
const (
	tokenPath       = "/cgi-bin/token"
	stableTokenPath = "/cgi-bin/stable_token"
	sendPath        = "/cgi-bin/message/custom/send"
	typingPath      = "/cgi-bin/message/custom/typing"
)

// messagePaths are what a key may call unless it is for all.
var messagePaths = []string{"/cgi-bin/message/custom/", "/cgi-bin/media/", "/cgi-bin/customservice/", "/customservice/"}

// clean is the path that WeChat gets if it is passed on, and the same as it is matched:
// WeChat may not care for the case of letters, so that the door doesn't either. It is
// false for a path of which two readers could make two: with encoded slashes or dots, or
// other bytes than a path of WeChat has.
func clean(u *url.URL) (passed, matched string, ok bool) {
	escaped := u.EscapedPath()
	if escaped == "" || escaped[0] != '/' || strings.IndexFunc(escaped, foreign) >= 0 {
		return "", "", false
	}
	passed = path.Clean(escaped)
	return passed, strings.ToLower(passed), true
}

func foreign(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '/' || r == '.' || r == '_' || r == '-')
}

// withSecret are paths that take the AppSecret or hand out what opens more than the
// door: no key may call them.
var withSecret = []string{tokenPath, stableTokenPath, "/cgi-bin/clear_quota/v2", "/cgi-bin/component/", "/sns/"}

// allowed reports whether a key may call a clean path.
func allowed(paths, p string) bool {
	if begins(p, withSecret) || strings.HasPrefix(p, "/_") { // a simulator's own affairs
		return false
	}
	return paths == "all" || begins(p, messagePaths)
}

func begins(p string, with []string) bool {
	for _, w := range with {
		if p == w || strings.HasSuffix(w, "/") && strings.HasPrefix(p, w) {
			return true
		}
	}
	return false
}
