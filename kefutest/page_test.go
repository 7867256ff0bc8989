package kefutest

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readPage returns a file of the phone page.
func readPage(t *testing.T, name string) string {
	t.Helper()
	b, err := fs.ReadFile(page, "page/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The page works under its Content-Security-Policy and makes nodes of what others
// wrote, never HTML.
func TestPageIsSafeByForm(t *testing.T) {
	for _, tt := range []struct{ name, file, never string }{
		{"no script in the markup", "index.html", `<script(?:\s[^>]*)?>[^<]|\son\w+=|javascript:`},
		{"no style in the markup", "index.html", `<style|\sstyle=`},
		{"nothing loaded from elsewhere", "index.html", `(?:src|href)="(?:https?:)?//`},
		{"nothing loaded by the style", "page.css", `@import|url\(|expression`},
		{"foreign text is never parsed", "page.js", `innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc`},
		{"no code is made of text", "page.js", `\beval\(|new Function|setTimeout\(["'\x60]|import\((?:[^"]|"[^.])`},
		{"no style attribute is written", "page.js", `cssText|setAttribute\("style"|\bstyle:`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if found := regexp.MustCompile(tt.never).FindString(readPage(t, tt.file)); found != "" {
				t.Errorf("%s has %q", tt.file, found)
			}
		})
	}
}

// Every string is there in Chinese and English, with the same blanks to fill in,
// and every name that the markup or the script uses is in the catalogue.
func TestPageWords(t *testing.T) {
	script, markup := readPage(t, "page.js"), readPage(t, "index.html")
	catalogue, rest, found := strings.Cut(script, "\n};\n")
	if !found {
		t.Fatal("page.js has no catalogue of words")
	}
	blanks := func(s string) string {
		return strings.Join(slices.Sorted(slices.Values(regexp.MustCompile(`\{\w+\}`).FindAllString(s, -1))), "")
	}
	han := regexp.MustCompile(`\p{Han}`)
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  (\w+): \["([^"]+)", "([^"]+)"\],$`).FindAllStringSubmatch(catalogue, -1) {
		key, zh, en := m[1], m[2], m[3]
		if known[key] {
			t.Errorf("%s is there twice", key)
		}
		known[key] = true
		if blanks(zh) != blanks(en) {
			t.Errorf("%s: %q and %q have different blanks", key, zh, en)
		}
		if han.MatchString(en) && key != "other_lang" {
			t.Errorf("%s: the English is %q", key, en)
		}
	}
	if entries := strings.Count(catalogue, "\n  ") - strings.Count(catalogue, "\n  //"); entries != len(known) {
		t.Errorf("%d entries, of which %d have a Chinese and an English string", entries, len(known))
	}
	if found := han.FindString(rest); found != "" {
		t.Errorf("page.js has %q outside the catalogue", found)
	}
	used := regexp.MustCompile(`data-t(?:-label|-hint)?="(\w+)"`).FindAllStringSubmatch(markup, -1)
	used = append(used, regexp.MustCompile(`\bt\("(\w+)"[,)]`).FindAllStringSubmatch(rest, -1)...)
	for _, m := range used {
		if !known[m[1]] {
			t.Errorf("no word %q in the catalogue", m[1])
		}
	}
	for _, trigger := range triggerNames() {
		if !known[trigger] {
			t.Errorf("no word for the trigger %s", trigger)
		}
	}
}

// The script draws every msgtype of an official account.
func TestPageDrawsEveryKind(t *testing.T) {
	_, script, _ := strings.Cut(readPage(t, "page.js"), "const bodies = {")
	drawn, _, _ := strings.Cut(script, "\n};")
	for _, kind := range append(officialTypes, miniProgramTypes...) {
		if !regexp.MustCompile(`(?m)^  ` + kind + `[:,]`).MatchString(drawn) {
			t.Errorf("page.js does not draw %s", kind)
		}
	}
}

// The script finds each element by its id, and each icon.
func TestPageHasWhatItsScriptLooksFor(t *testing.T) {
	script, markup := readPage(t, "page.js"), readPage(t, "index.html")
	for _, m := range regexp.MustCompile(`\bbyId\("([\w-]+)"\)`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(markup, `id="`+m[1]+`"`) {
			t.Errorf("index.html has no element %q", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\bicon\("(\w+)"|icon: "(\w+)"`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(markup, `id="i-`+m[1]+m[2]+`"`) {
			t.Errorf("index.html has no icon %q", m[1]+m[2])
		}
	}
}
