package callback

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestScanXML(t *testing.T) {
	for _, tt := range []struct {
		name, body, want string // "" for an error, else the text of <a>
	}{
		{"text", `<xml><a>1</a></xml>`, "1"},
		{"CDATA", `<xml><a><![CDATA[<b>&amp;]]></a></xml>`, "<b>&amp;"},
		{"space around CDATA goes", "<xml><a>\n <![CDATA[ x ]]>\t\n</a></xml>", " x "},
		{"space without CDATA stays", "<xml><a> x </a></xml>", " x "},
		{"CDATA split in two", `<xml><a><![CDATA[x]]]]><![CDATA[>y]]></a></xml>`, "x]]>y"},
		{"text after CDATA", `<xml><a><![CDATA[x]]>y</a></xml>`, "xy"},
		{"predefined entities", `<xml><a>&lt;&gt;&amp;&apos;&quot;</a></xml>`, `<>&'"`},
		{"character references", `<xml><a>&#65;&#x4f60;&#10;</a></xml>`, "A你\n"},
		{"an entity is not expanded", `<xml><a>&lol; &#0; & &;&amp</a></xml>`, "&lol; &#0; & &;&amp"},
		{"an ampersand hides no entity", `<xml><a>&&amp;</a></xml>`, "&&"},
		{"CR LF and CR are LF", "<xml><a>1\r\n2\r3<![CDATA[\r\n]]></a></xml>", "1\n2\n3\n"},
		{"a written CR stays", "<xml><a>x&#13;</a></xml>", "x\r"},
		{"declaration, comments, attributes", `<?xml version="1.0"?><!-- > --><xml v="1>2" w='"'><a b = "/">x<!-- y -->z</a></xml> <!-- -->`, "xz"},
		{"an empty element before it", `<xml><b/><c /><a>x</a ></xml>`, "x"},
		{"the last one counts", `<xml><a>1</a><a>2</a></xml>`, "2"},
		{"names compare case-insensitively", `<xml><A>x</A></xml>`, "x"},
		{"a damaged character is marked", "<xml><a>x\xff</a></xml>", "x\uFFFD"},
		{"space around the root", "\r\n\t <xml><a>x</a></xml>\n", "x"},

		{"document type", `<!DOCTYPE xml [<!ENTITY lol "x">]><xml><a>&lol;</a></xml>`, ""},
		{"document type inside", `<xml><!DOCTYPE x><a>x</a></xml>`, ""},
		{"empty", ``, ""},
		{"only space", " \n", ""},
		{"no root", `<!-- -->`, ""},
		{"two roots", `<xml><a>x</a></xml><xml/>`, ""},
		{"text before the root", `x<xml><a>x</a></xml>`, ""},
		{"text after the root", `<xml><a>x</a></xml>x`, ""},
		{"CDATA after the root", `<xml><a>x</a></xml><![CDATA[x]]>`, ""},
		{"not closed", `<xml><a>x</a>`, ""},
		{"wrong end", `<xml><a>x</b></xml>`, ""},
		{"end without begin", `</xml>`, ""},
		{"one end too many", `<xml><a>x</a></xml></xml>`, ""},
		{"CDATA without end", `<xml><a><![CDATA[x</a></xml>`, ""},
		{"comment without end", `<xml><a>x</a></xml><!-- `, ""},
		{"instruction without end", `<?xml <xml><a>x</a></xml>`, ""},
		{"tag without end", `<xml><a>x</a></xml`, ""},
		{"tag without name", `<xml>< a>x</a></xml>`, ""},
		{"a tag in a tag", `<xml><a <b>>x</a></xml>`, ""},
		{"neither XML nor JSON", `hello`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := scan(tt.body)
			if got := d.text("a"); got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestScanJSON(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"string", `{"a":"x"}`, "x"},
		{"number with 64 bits", `{"a":9223372036854775807}`, "9223372036854775807"},
		{"boolean", `{"a":true}`, "true"},
		{"escapes", `{"a":"\u4f60\n\""}`, "你\n\""},
		{"the last one counts", `{"a":1,"a":2}`, "2"},
		{"the last of a list", `{"a":["1","2"]}`, "2"},
		{"a list of lists", `{"a":[["1"],["2"]]}`, "2"},
		{"other things around it", ` {"b":{"a":0},"a":"x","c":[{"a":1}]} `, "x"},

		{"not closed", `{"a":"x"`, ""},
		{"two objects", `{"a":"x"}{}`, ""},
		{"trailing comma", `{"a":"x",}`, ""},
		{"wrong bracket", `{"a":["x"}`, ""},
		{"a list", `[{"a":"x"}]`, ""},
		{"no colon", `{"a" "x"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := scan(tt.body)
			if got := d.text("a"); got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// What is one too large, too deep or too many is refused, what is just at the
// limit is not.
func TestScanLimits(t *testing.T) {
	nest := func(n int, open, shut string) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	for _, tt := range []struct {
		name     string
		at, over string
	}{
		{"bytes of XML", "<xml>" + strings.Repeat(" ", maxBody-11) + "</xml>", "<xml>" + strings.Repeat(" ", maxBody-10) + "</xml>"},
		{"bytes of JSON", "{" + strings.Repeat(" ", maxBody-2) + "}", "{" + strings.Repeat(" ", maxBody-1) + "}"},
		{"depth of XML", nest(maxDepth, "<a>", "</a>"), nest(maxDepth+1, "<a>", "</a>")},
		{"depth of JSON", nest(maxDepth-1, `{"a":`, "}")[:5*(maxDepth-1)] + "{}" + strings.Repeat("}", maxDepth-1), nest(maxDepth, `{"a":`, "}")[:5*maxDepth] + "{}" + strings.Repeat("}", maxDepth)},
		{"elements", "<xml>" + strings.Repeat("<a/>", maxNodes-1) + "</xml>", "<xml>" + strings.Repeat("<a/>", maxNodes) + "</xml>"},
		{"values", `{"a":[0` + strings.Repeat(",0", maxNodes-2) + "]}", `{"a":[0` + strings.Repeat(",0", maxNodes-1) + "]}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := scan(tt.at); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if _, err := scan(tt.over); err == nil {
				t.Error("over the limit: no error")
			}
		})
	}
}

// samples are WeChat's own pushes, by file name.
func samples(t testing.TB, patterns ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range patterns {
		files, err := filepath.Glob("../testdata/samples/" + p)
		if err != nil || len(files) == 0 {
			t.Fatalf("no samples %s: %v", p, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(f)] = string(text)
		}
	}
	return all
}

// byEncodingXML reads with encoding/xml. It reports false for what is not of the
// family: more or less than one root, text outside it, name spaces, a document
// type, more than our limits.
func byEncodingXML(body string) (document, bool) {
	dec := xml.NewDecoder(strings.NewReader(body))
	var d document
	open, depth, roots := -1, 0, 0
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return d, roots == 1 && open < 0
		}
		if err != nil {
			return nil, false
		}
		switch token := token.(type) {
		case xml.StartElement:
			if open < 0 {
				roots++
			}
			if depth++; token.Name.Space != "" || depth > maxDepth || len(d) == maxNodes {
				return nil, false
			}
			d = append(d, node{name: token.Name.Local, parent: open})
			open = len(d) - 1
		case xml.EndElement:
			open, depth = d[open].parent, depth-1
		case xml.CharData:
			if open >= 0 {
				d[open].text += string(token)
			} else if strings.TrimSpace(string(token)) != "" {
				return nil, false
			}
		case xml.Directive:
			return nil, false
		}
	}
}

// Whenever encoding/xml takes a document of the family, the scanner does, with
// the same elements and the same text, but for the space beside CDATA.
func FuzzXML(f *testing.F) {
	for _, body := range samples(f, "msg_*.xml", "event_*.xml", "envelope_*.xml", "reply_*.xml") {
		f.Add(body)
	}
	for _, body := range []string{
		`<?xml version="1.0" encoding="UTF-8"?><xml a="1>2"><a>&lt;&#x4f60;&#13;</a><!-- x --><b/></xml>`,
		"<xml><a>\r\n <![CDATA[ x ]]> </a><a>1<![CDATA[]]>2</a><c> \r </c></xml> ",
		`<xml><a><![CDATA[]]]]><![CDATA[>]]></a><b>x<?y z?>w<!---->v</b></xml>`,
		`<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>`,
		`<a><a><a>&amp;&&;</a></a></a>`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := scan(body)
		want, ok := byEncodingXML(body)
		if !ok || len(body) > maxBody {
			return
		}
		if err != nil {
			t.Fatalf("encoding/xml takes what the scanner refuses: %v", err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d elements, want %d", len(got), len(want))
		}
		// Texts in which CDATA and other text meet differ by space alone.
		bare := func(s string) string { return s }
		if strings.Contains(body, "<![CDATA[") {
			bare = func(s string) string {
				return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < 256 && strings.IndexByte(space, byte(r)) >= 0 }), "")
			}
		}
		for i := range got {
			if got[i].branch { // the text between elements is nobody's
				got[i].text, want[i].text = "", ""
			}
			if got[i].name != want[i].name || got[i].parent != want[i].parent || bare(got[i].text) != bare(want[i].text) {
				t.Errorf("element %d: %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

// byEncodingJSON reads with encoding/json. It reports false for what is not one
// object within our limits.
func byEncodingJSON(body string) (d document, ok bool) {
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if !json.Valid([]byte(body)) {
		return nil, false
	}
	var value func(name string, parent, depth int) bool
	value = func(name string, parent, depth int) bool {
		token := must(dec.Token())
		if token != json.Delim('[') {
			if d = append(d, node{name: name, parent: parent}); len(d) > maxNodes {
				return false
			}
		}
		n := len(d) - 1
		switch token := token.(type) {
		case string:
			d[n].text = token
		case json.Number:
			d[n].text = token.String()
		case bool:
			d[n].text = strconv.FormatBool(token)
		case json.Delim:
			if token == '{' {
				parent = n
			}
			for depth < maxDepth && dec.More() {
				if token == '{' {
					name = must(dec.Token()).(string)
				}
				if !value(name, parent, depth+1) {
					return false
				}
			}
			return depth < maxDepth && must(dec.Token()) != nil
		}
		return true
	}
	return d, value("xml", -1, 0) && d != nil
}

// The scanner takes what encoding/json takes, no more and no less, with the same
// members and the same text.
func FuzzJSON(f *testing.F) {
	for _, body := range samples(f, "push_*.json", "envelope_*.json") {
		f.Add(body)
	}
	f.Add(`{"MsgId":"9223372036854775807","a":[1,{"b":null},[]],"c":true,"d":{"e":"\ud800\\\""}, "":{}}`)
	f.Add(`{"a":"x"}{}`)
	f.Add(`{"a":[}`)
	f.Add("{\"\":\"\xff\xff\"}")
	f.Fuzz(func(t *testing.T, body string) {
		if !isJSON(body) || len(body) > maxBody {
			return
		}
		got, err := scan(body)
		// encoding/json marks each damaged byte, the scanner each damaged run.
		want, ok := byEncodingJSON(strings.ToValidUTF8(body, "\uFFFD"))
		if ok != (err == nil) {
			t.Fatalf("encoding/json takes it: %v, the scanner: %v", ok, err)
		}
		if ok && !slices.Equal(got, want) {
			t.Errorf("%+v, want\n%+v", got, want)
		}
	})
}

// A text in very many pieces costs no more than its length.
func TestManyPieces(t *testing.T) {
	body := "<xml><a>" + strings.Repeat("x<!---->", 30000) + "</a></xml>"
	allocs := testing.AllocsPerRun(1, func() {
		if d, err := scan(body); err != nil || len(d.text("a")) != 30000 {
			t.Fatal(err)
		}
	})
	if allocs > 100 {
		t.Errorf("%.0f allocations", allocs)
	}
}

// A push in JSON is the push in XML by other means: of each XML sample the JSON
// form gives the same event.
func TestBothFormsGiveTheSameEvent(t *testing.T) {
	for name, body := range samples(t, "msg_*.xml", "event_*.xml") {
		d, err := scan(body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		inJSON := string(must(json.Marshal(d.tree(0))))
		if got, want := bare(t, inJSON), bare(t, body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
}

// tree is what encoding/json makes an object of.
func (d document) tree(i int) any {
	object := map[string]any{}
	for k := i + 1; k < len(d) && d[k].parent >= i; k++ {
		if n := d[k]; n.parent == i {
			if _, err := strconv.ParseInt(n.text, 10, 64); err == nil && n.name != "Location_X" {
				object[n.name] = json.Number(n.text)
			} else {
				object[n.name] = d.tree(k)
			}
		}
	}
	if len(object) == 0 {
		return d[i].text
	}
	return object
}

// bare parses and takes the body out of the header.
func bare(t *testing.T, body string) Event {
	t.Helper()
	e, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return withHeader(e, func(h *Header) { h.body = "" })
}

// withHeader returns a copy of e with its header changed.
func withHeader(e Event, change func(*Header)) Event {
	copy := reflect.New(reflect.TypeOf(e)).Elem()
	copy.Set(reflect.ValueOf(e))
	change(copy.FieldByName("Header").Addr().Interface().(*Header))
	return copy.Interface().(Event)
}

// A lone & used to cost the square of the length: this would not end.
func TestLoneAmpersandIsCheap(t *testing.T) {
	long := "&" + strings.Repeat("a", 16<<20)
	if got := unescape(long); got != long {
		t.Errorf("%d bytes became %d", len(long), len(got))
	}
}
