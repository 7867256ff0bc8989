package console

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What an agent waits for: the scripts that the page loads, and not the decoder of
// voices, which is loaded when one is played.
func TestScriptIsSmall(t *testing.T) {
	const most = 100 << 10
	sum := 0
	scripts, err := fs.Glob(files, "dist/*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range scripts {
		if strings.HasPrefix(filepath.Base(name), "amr") {
			continue
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(b)
		_ = z.Close()
		sum += packed.Len()
	}
	if t.Logf("%d bytes", sum); sum > most {
		t.Errorf("the scripts are %d bytes after gzip, want at most %d", sum, most)
	}
}

// What is committed is what the sources make. It takes esbuild from the module cache
// or a proxy; without both there is nothing to compare with.
func TestBundleIsFresh(t *testing.T) {
	root := t.TempDir()
	for _, part := range []string{"web", "internal/console/dist"} {
		if err := os.CopyFS(filepath.Join(root, part), os.DirFS(filepath.Join("../..", part))); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "-C", "../../web/bundle", "mod", "download").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: esbuild can't be had: %s", out)
	}
	if out, err := exec.Command("go", "-C", filepath.Join(root, "web/bundle"), "run", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made := os.DirFS(filepath.Join(root, "internal/console/dist"))
	for _, dir := range []fs.FS{made, must(fs.Sub(files, "dist"))} {
		entries, err := fs.ReadDir(dir, ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			fresh, _ := fs.ReadFile(made, e.Name())
			if here, _ := fs.ReadFile(files, "dist/"+e.Name()); !bytes.Equal(here, fresh) {
				t.Errorf("%s is not what web/src makes: go generate ./...", e.Name())
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Each word is there in both languages, with the same gaps, and each that the page
// asks for is there.
func TestWords(t *testing.T) {
	read := func(lang string) (words map[string]string) {
		t.Helper()
		b, err := os.ReadFile("../../web/src/words/" + lang + ".json")
		if err == nil {
			err = json.Unmarshal(b, &words)
		}
		if err != nil {
			t.Fatal(err)
		}
		return words
	}
	zh, en := read("zh"), read("en")
	gap := regexp.MustCompile(`\{\w+\}`)
	gaps := func(s string) []string {
		all := gap.FindAllString(s, -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	for key := range zh {
		if _, ok := en[key]; !ok {
			t.Errorf("%s: not in English", key)
		} else if z, e := gaps(zh[key]), gaps(en[key]); !slices.Equal(z, e) && !strings.Contains(en[key], "|") {
			t.Errorf("%s: %v in Chinese, %v in English", key, z, e)
		}
		if strings.Count(zh[key], "|") > 0 || strings.Count(en[key], "|") > 1 {
			t.Errorf("%s: one|many is for English", key)
		}
	}
	for key := range en {
		if _, ok := zh[key]; !ok {
			t.Errorf("%s: not in Chinese", key)
		}
	}
	asked := regexp.MustCompile(`\bt\(\s*'([^']+)'`)
	either := regexp.MustCompile(`\bt\([^()'` + "`" + `]*\? '([\w.-]+)' : '([\w.-]+)'`)
	patterned := regexp.MustCompile("\\bt\\(`([^`$]+)\\$")
	if err := filepath.WalkDir("../../web/src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".ts") && !strings.HasSuffix(path, ".tsx") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, re := range []*regexp.Regexp{asked, either} {
			for _, m := range re.FindAllStringSubmatch(string(b), -1) {
				for _, key := range m[1:] {
					if _, ok := zh[key]; !ok {
						t.Errorf("%s asks for %q, which is not there", path, key)
					}
				}
			}
		}
		for _, m := range patterned.FindAllStringSubmatch(string(b), -1) {
			found := false
			for key := range zh {
				found = found || strings.HasPrefix(key, m[1])
			}
			if !found {
				t.Errorf("%s asks for %s…, and there is none", path, m[1])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// What is asked for by a value.
	for prefix, values := range map[string]string{
		"state.":    "queued parked sending sent failed unknown expired canceled",
		"trigger.":  "user_message menu follow scan payment rights unfollow",
		"handler.":  "none bot agent kf",
		"role.":     "agent lead admin viewer",
		"view.":     "mine unassigned waiting closing all",
		"attempt.":  "sent refused not-delivered unknown",
		"handover.": "bot agent kf",
	} {
		for _, v := range strings.Fields(values) {
			if _, ok := zh[prefix+v]; !ok {
				t.Errorf("%s%s is not there", prefix, v)
			}
		}
	}
}

// Each of the page's own addresses is the page, under the strict policy.
func TestPage(t *testing.T) {
	for path, kind := range map[string]string{
		"/console": "text/html", "/console/c/wx1/oFollower": "text/html", "/console/dist/console.js": "text/javascript", "/console/dist/console.css": "text/css", "/console/favicon.svg": "image/svg+xml",
	} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		for _, word := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, word) || strings.Contains(got, "'unsafe-inline'") || strings.Contains(got, "'unsafe-eval'") {
				t.Errorf("%s: policy %q", path, got)
			}
		}
	}
}

// Scripts come compressed to whoever takes that, as themselves to others, and not at
// all to who has them.
func TestCompressed(t *testing.T) {
	h := Handler()
	get := func(header, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/console/dist/console.js", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	plain := get("Accept-Encoding", "identity")
	for _, codings := range []string{"gzip", "deflate, gzip;q=0.5, br", "br, gzip; q=1.0"} {
		w := get("Accept-Encoding", codings)
		z, err := gzip.NewReader(w.Body)
		if w.Header().Get("Content-Encoding") != "gzip" || err != nil {
			t.Fatalf("%s: not compressed: %v", codings, err)
		}
		if got := must(io.ReadAll(z)); !bytes.Equal(got, plain.Body.Bytes()) {
			t.Errorf("%s: what comes out is another script", codings)
		}
		if again := get("If-None-Match", w.Header().Get("ETag")); again.Code == http.StatusNotModified {
			t.Error("the tag of the compressed script is that of the plain one")
		}
	}
	for _, codings := range []string{"", "gzip;q=0", "gzip; q=0.0", "br", "xgzip"} {
		if w := get("Accept-Encoding", codings); w.Header().Get("Content-Encoding") != "" || !bytes.Equal(w.Body.Bytes(), plain.Body.Bytes()) {
			t.Errorf("%q: %s", codings, w.Header().Get("Content-Encoding"))
		}
	}
	if w := get("If-None-Match", plain.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("it is sent again: %d", w.Code)
	}
	if w := httptest.NewRecorder(); true {
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/console/dist/none.js", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("a script that there is not: %d", w.Code)
		}
	}
}
