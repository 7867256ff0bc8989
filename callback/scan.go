package callback

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A push is read by a scanner of its own, about six times as fast as encoding/xml
// (BenchmarkParse). It takes what WeChat sends: elements, text, CDATA, the
// predefined entities and character references. It passes over attributes,
// comments and processing instructions, and refuses document types, so that there
// is nothing to expand. FuzzXML holds it against encoding/xml.
const (
	maxDepth = 32   // of elements inside each other
	maxNodes = 4096 // elements in all
)

// A node is an element of XML or a member of a JSON object.
type node struct {
	name   string
	text   string // of a leaf
	parent int    // index of the node around it; the root has -1
	cdata  bool   // text has come out of a CDATA section
	branch bool   // has nodes inside: the text between them says nothing
}

// A document is a push in reading order, the root first: all that is inside a
// node follows it directly. An element of a JSON array is a node with the
// array's name, as in XML a list repeats its element.
type document []node

// usual is room for the nodes of most pushes.
const usual = 8

// scan reads a push in either form.
func scan(body string) (document, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("callback: a body of %d bytes; the limit is %d", len(body), maxBody)
	}
	if !utf8.ValidString(body) {
		body = strings.ToValidUTF8(body, "\uFFFD") // a damaged character is no reason to lose a message
	}
	switch body = trimSpace(body); {
	case body == "":
		return nil, errors.New("callback: the body is empty")
	case isJSON(body):
		return scanJSON(body)
	}
	return scanXML(body)
}

func isJSON(body string) bool { return strings.HasPrefix(trimSpace(body), "{") }

func scanXML(body string) (document, error) {
	x := xmlScan{d: make(document, 0, usual), open: -1}
	for s := body; s != ""; {
		at, fault := len(body)-len(s), ""
		switch {
		case s[0] != '<':
			text := s
			if i := strings.IndexByte(s, '<'); i >= 0 {
				text = s[:i]
			}
			s = s[len(text):]
			fault = x.text(unescape(newlines(text)), false)
		case strings.HasPrefix(s, "</"):
			name, rest, ended := strings.Cut(s[len("</"):], ">")
			if s, fault = rest, x.end(name); !ended {
				fault = "an end tag without end"
			}
		case strings.HasPrefix(s, "<![CDATA["):
			text, rest, ended := strings.Cut(s[len("<![CDATA["):], "]]>")
			if s, fault = rest, x.text(newlines(text), true); !ended {
				fault = "a CDATA section without end"
			}
		case strings.HasPrefix(s, "<!--"):
			_, rest, ended := strings.Cut(s[len("<!--"):], "-->")
			if s = rest; !ended {
				fault = "a comment without end"
			}
		case strings.HasPrefix(s, "<?"):
			_, rest, ended := strings.Cut(s, "?>")
			if s = rest; !ended {
				fault = "an instruction without end"
			}
		case strings.HasPrefix(s, "<!"):
			fault = "a document type, which WeChat never sends,"
		default:
			name, rest, empty := startTag(s[len("<"):])
			if s, fault = rest, x.start(name); empty && fault == "" {
				fault = x.end(name)
			}
		}
		if fault != "" {
			return nil, fmt.Errorf("callback: not the XML of a push: %s at byte %d", fault, at)
		}
	}
	if x.open >= 0 || len(x.d) == 0 {
		return nil, errors.New("callback: not the XML of a push: it ends too early")
	}
	return x.d, nil
}

// An xmlScan is how far a document has been read. Its methods return what is
// wrong, "" for nothing.
type xmlScan struct {
	d      document
	open   int    // the innermost open element, -1 outside the root
	depth  int    // how many are open
	joined []byte // text of the open element, while it consists of several pieces
}

func (x *xmlScan) start(name string) string {
	switch {
	case name == "":
		return "a broken tag"
	case x.open < 0 && len(x.d) > 0:
		return "a second root"
	case x.depth == maxDepth:
		return "one element too deep"
	case len(x.d) == maxNodes:
		return "one element too many"
	}
	if x.open >= 0 {
		x.d[x.open].branch = true
	}
	x.d = append(x.d, node{name: name, parent: x.open})
	x.open, x.depth, x.joined = len(x.d)-1, x.depth+1, x.joined[:0]
	return ""
}

func (x *xmlScan) end(name string) string {
	if x.open < 0 || name != x.d[x.open].name && strings.TrimRight(name, space) != x.d[x.open].name {
		return "an end tag that ends nothing"
	}
	n := &x.d[x.open]
	if len(x.joined) > 0 {
		n.text, x.joined = string(x.joined), x.joined[:0]
	}
	x.open, x.depth = n.parent, x.depth-1
	return ""
}

// text appends to the open element's text. WeChat puts spaces and line ends
// around some CDATA sections: those are not part of it.
func (x *xmlScan) text(text string, cdata bool) string {
	blank := trimSpace(text) == ""
	if x.open < 0 {
		if blank {
			return ""
		}
		return "text outside the root"
	}
	n := &x.d[x.open]
	switch {
	case n.branch, !cdata && n.cdata && blank:
		return ""
	case n.text == "", cdata && !n.cdata && trimSpace(n.text) == "" && trimSpace(string(x.joined)) == "":
		n.text, x.joined = text, x.joined[:0]
	default:
		if len(x.joined) == 0 {
			x.joined = append(x.joined, n.text...)
		}
		x.joined = append(x.joined, text...)
	}
	n.cdata = n.cdata || cdata
	return ""
}

// startTag splits what follows a "<". The name is empty if this is no tag.
func startTag(s string) (name, after string, empty bool) {
	end := strings.IndexAny(s, "> \t\r\n/<")
	if end <= 0 {
		return "", "", false
	}
	name = s[:end]
	for quote := byte(0); end < len(s); end++ { // past the attributes
		switch c := s[end]; {
		case c == quote:
			quote = 0
		case quote != 0:
		case c == '"', c == '\'':
			quote = c
		case c == '<':
			return "", "", false
		case c == '>':
			return name, s[end+1:], s[end-1] == '/'
		}
	}
	return "", "", false
}

const space = " \t\r\n"

func trimSpace(s string) string { return strings.Trim(s, space) }

// newlines turns CR and CR LF into LF, as XML prescribes.
func newlines(s string) string {
	if strings.IndexByte(s, '\r') < 0 {
		return s
	}
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
}

// unescape resolves what stands for one character. What it does not know stays
// as it is.
func unescape(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for s = s[i:]; s != ""; {
		end := strings.IndexAny(s[1:], "&;") + 1 // of "&name"
		if r, ok := reference(s[1:max(end, 1)]); ok && s[0] == '&' && s[end] == ';' {
			b, s = utf8.AppendRune(b, r), s[end+1:]
			continue
		}
		if end == 0 { // no reference can follow: without this a lone & costs the square of the length
			return string(append(b, s...))
		}
		if s[end] == ';' {
			end++
		}
		b, s = append(b, s[:end]...), s[end:]
	}
	return string(b)
}

// reference returns the character for the name in "&name;".
func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if !ok || err != nil || n > unicode.MaxRune {
		return 0, false
	}
	return rune(n), n >= ' ' || n == '\t' || n == '\n' || n == '\r'
}

func scanJSON(body string) (document, error) {
	if b := []byte(body); !json.Valid(b) {
		var none json.RawMessage
		return nil, fmt.Errorf("callback: not the JSON of a push: %w", json.Unmarshal(b, &none))
	}
	j := jsonScan{rest: body, d: make(document, 0, usual)}
	if fault := j.value("xml", -1, 0); fault != "" {
		return nil, fmt.Errorf("callback: not the JSON of a push: %s at byte %d", fault, len(body)-len(j.rest))
	}
	return j.d, nil
}

// A jsonScan walks through JSON that is known to be valid.
type jsonScan struct {
	rest string
	d    document
}

// value reads the next value as a node of that name. It returns what is wrong.
func (j *jsonScan) value(name string, parent, depth int) (fault string) {
	kind := j.peek()
	switch {
	case depth == maxDepth && (kind == '{' || kind == '['):
		return "one value too deep"
	case len(j.d) == maxNodes:
		return "one value too many"
	case kind == '[':
		return j.inside(']', name, parent, depth)
	}
	j.d = append(j.d, node{name: name, parent: parent})
	n := &j.d[len(j.d)-1]
	switch kind {
	case '{':
		return j.inside('}', "", len(j.d)-1, depth)
	case '"':
		n.text = j.string()
	default:
		i := strings.IndexAny(j.rest, ",]}"+space)
		if kind != 'n' { // null
			n.text = j.rest[:i]
		}
		j.rest = j.rest[i:]
	}
	return ""
}

// inside reads what is in an object, or in an array of that name.
func (j *jsonScan) inside(end byte, name string, parent, depth int) (fault string) {
	for j.rest = j.rest[1:]; fault == ""; {
		switch c := j.peek(); {
		case c == ',':
			j.rest = j.rest[1:]
		case c == end:
			j.rest = j.rest[1:]
			return ""
		default:
			if end == '}' {
				name = j.string()
				j.peek()
				j.rest = j.rest[1:] // the colon
			}
			fault = j.value(name, parent, depth+1)
		}
	}
	return fault
}

// peek returns what comes after the space.
func (j *jsonScan) peek() byte {
	for strings.IndexByte(space, j.rest[0]) >= 0 {
		j.rest = j.rest[1:]
	}
	return j.rest[0]
}

func (j *jsonScan) string() string {
	end, escaped := 1, false
	for ; j.rest[end] != '"'; end++ {
		if j.rest[end] == '\\' {
			end, escaped = end+1, true
		}
	}
	quoted := j.rest[:end+1]
	if j.rest = j.rest[end+1:]; !escaped {
		return quoted[1:end]
	}
	var text string
	json.Unmarshal([]byte(quoted), &text) // it is valid
	return text
}

// text returns the text at the path below the root, the last one if there are
// several, "" if there is none. Names compare case-insensitively: WeChat writes
// both MsgId and MsgID.
func (d document) text(path ...string) string {
	for i := len(d) - 1; i > 0; i-- {
		if d.is(i, path) {
			return d[i].text
		}
	}
	return ""
}

func (d document) is(i int, path []string) bool {
	for k := len(path) - 1; k >= 0; k-- {
		if i <= 0 || !same(d[i].name, path[k]) {
			return false
		}
		i = d[i].parent
	}
	return i == 0
}

func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

func (d document) int(path ...string) int64 { return integer(d.text(path...)) }

func (d document) float(path ...string) float64 {
	f, err := strconv.ParseFloat(trimSpace(d.text(path...)), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0 // neither has a form in JSON
	}
	return f
}

func (d document) bool(path ...string) bool { return d.int(path...) != 0 || d.text(path...) == "true" }

// time reads seconds since 1970. Outside the years that RFC 3339 can write it is
// the zero time.
func (d document) time(path ...string) time.Time {
	const year10000 = 253402300800
	n := d.int(path...)
	if n <= 0 || n >= year10000 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// integer reads a number; what is none is 0.
func integer(s string) int64 {
	n, err := strconv.ParseInt(trimSpace(s), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// every yields each node of that name, at any depth.
func (d document) every(name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 1; i < len(d); i++ {
			if same(d[i].name, name) && !yield(i) {
				return
			}
		}
	}
}

// child returns the text of the node of that name directly inside node i.
func (d document) child(i int, name string) (text string) {
	for k := i + 1; k < len(d) && d[k].parent >= i; k++ {
		if d[k].parent == i && same(d[k].name, name) {
			text = d[k].text
		}
	}
	return text
}
