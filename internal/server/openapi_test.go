package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

var update = flag.Bool("update", false, "write openapi.json and testdata anew")

// openapi.json says what the routes and the types say, to the letter.
func TestOpenAPI(t *testing.T) {
	want := encodeIndented(t, describe(t))
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(openAPI, want) {
		t.Error("openapi.json is not what routes.go and the types say; run go test ./internal/server -run OpenAPI -update and look at the difference")
	}
}

// Every route and every reference of the description is there, and every code of a
// problem is one.
func TestOpenAPIHoldsTogether(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes() {
		op, _ := at(doc, "paths", rt.path, strings.ToLower(rt.method)).(map[string]any)
		if op == nil {
			t.Errorf("%s %s is not described", rt.method, rt.path)
		}
		for _, code := range strings.Fields(rt.codes) {
			if statuses[code] == 0 {
				t.Errorf("%s %s: no code %q", rt.method, rt.path, code)
			}
		}
		for _, name := range strings.Fields(rt.params) {
			if name != "*" && !slices.ContainsFunc(params, func(p param) bool { return p.name == name }) {
				t.Errorf("%s %s: no param %q", rt.method, rt.path, name)
			}
		}
	}
	by := map[any]string{}
	for path, ops := range doc["paths"].(map[string]any) {
		for method, op := range ops.(map[string]any) {
			id := at(op, "operationId")
			if by[id] != "" {
				t.Errorf("%s is %s and %s %s", id, by[id], method, path)
			}
			by[id] = method + " " + path
		}
	}
	for ref := range refs(doc) {
		if at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	for _, secret := range []string{"secret", "token", "aes_key"} {
		if at(doc, "components", "schemas", "Account", "properties", secret) != nil {
			t.Errorf("an account that is read has %s", secret)
		}
	}
}

// describe makes the description out of routes and types.
func describe(t testing.TB) map[string]any {
	d := describer{schemas: map[string]any{}, docs: docs(t)}
	paths := map[string]any{}
	for _, rt := range routes() {
		ops, _ := paths[rt.path].(map[string]any)
		if ops == nil {
			ops = map[string]any{}
			paths[rt.path] = ops
		}
		ops[strings.ToLower(rt.method)] = d.operation(rt)
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Kefu", "version": "1",
			"description": "Keeps WeChat customer-service messages and delivers them. A 2xx means that what was sent is on disk. Lists are pages: next is the cursor of the following one. Errors are problems (RFC 9457) with a stable code, in the language of Accept-Language (en, zh).",
			"license":     map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{map[string]any{"url": gateway.DefaultURL}},
		"security":   []any{map[string]any{"key": []any{}}},
		"paths":      paths,
		"components": map[string]any{"schemas": d.schemas, "securitySchemes": map[string]any{"key": map[string]any{"type": "http", "scheme": "bearer", "description": "a key of the gateway, kf_…"}}},
	}
}

type describer struct {
	schemas map[string]any
	docs    map[string]string // of "Type" and "Type.Field"
}

// twoMethods names the calls that are one function by two methods.
var twoMethods = map[string]string{"GET callback": "checkCallback", "POST callback": "receiveCallback", "POST putTags": "postTags"}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func (d *describer) operation(rt route) map[string]any {
	name := runtime.FuncForPC(reflect.ValueOf(rt.do).Pointer()).Name()
	name = name[strings.LastIndexByte(name, '.')+1:]
	if other := twoMethods[rt.method+" "+name]; other != "" {
		name = other
	}
	op := map[string]any{"operationId": name, "summary": rt.says}
	isPublic := slices.Equal(rt.access, public)
	if isPublic {
		op["security"] = []any{}
	} else {
		op["x-roles"] = rt.access
	}
	var ps []any
	for _, m := range pathParam.FindAllStringSubmatch(rt.path, -1) {
		ps = append(ps, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, name := range strings.Fields(rt.params) {
		for _, p := range params {
			if p.name == name {
				one := map[string]any{"name": p.name, "in": p.in, "description": p.says, "schema": d.schema(reflect.TypeOf(p.value))}
				if strings.HasSuffix(p.name, ".*") {
					one["name"] = strings.TrimSuffix(p.name, ".*") + ".{member}"
				}
				ps = append(ps, one)
			}
		}
	}
	if ps != nil {
		op["parameters"] = ps
	}
	if rt.in != nil {
		op["requestBody"] = map[string]any{"required": !strings.HasSuffix(rt.path, "/typing"), "content": map[string]any{"application/json": map[string]any{"schema": d.ref(reflect.TypeOf(rt.in))}}}
	}
	if rt.raw != "" {
		content := map[string]any{}
		for _, media := range strings.Fields(rt.raw) {
			content[media] = map[string]any{"schema": map[string]any{"type": "string", "format": "binary"}}
			if media == "multipart/form-data" {
				content[media] = map[string]any{"schema": map[string]any{"type": "object", "properties": map[string]any{"file": map[string]any{"type": "string", "format": "binary"}}}}
			}
		}
		op["requestBody"] = map[string]any{"required": true, "content": content}
	}
	answers := map[string]any{}
	for status, v := range rt.out {
		a := map[string]any{"description": http.StatusText(status)}
		content := map[string]any{}
		if v != nil {
			media := rt.media
			if media == "" {
				media = "application/json"
			}
			content[media] = map[string]any{"schema": d.ref(reflect.TypeOf(v))}
		}
		for media, v := range rt.others {
			content[media] = map[string]any{"schema": d.ref(reflect.TypeOf(v))}
		}
		if len(content) > 0 {
			a["content"] = content
		}
		if status == 200 && strings.Contains(rt.params, "Idempotency-Key") {
			a["headers"] = map[string]any{"Idempotency-Replayed": map[string]any{"description": "true: the key was used before, this is its message", "schema": map[string]any{"type": "string"}}}
		}
		answers[strconv.Itoa(status)] = a
	}
	byStatus := map[int][]string{}
	for _, code := range codesOf(rt) {
		byStatus[statuses[code]] = append(byStatus[statuses[code]], code)
	}
	for status, codes := range byStatus {
		if answers[strconv.Itoa(status)] == nil {
			answers[strconv.Itoa(status)] = map[string]any{"description": strings.Join(codes, ", "),
				"content": map[string]any{"application/problem+json": map[string]any{"schema": d.ref(reflect.TypeFor[gateway.Problem]())}}}
		}
	}
	op["responses"] = answers
	return op
}

// codesOf is every code of a problem that a route may answer, in order.
func codesOf(rt route) []string {
	codes := append(strings.Fields(rt.codes), gateway.Internal, gateway.Overloaded)
	if !slices.Equal(rt.access, public) {
		codes = append(codes, gateway.Unauthorized, gateway.Forbidden)
	}
	if rt.params != "*" {
		codes = append(codes, gateway.InvalidRequest)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// enums are the types of which every value is known.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[gateway.State]():       names(gateway.States()),
	reflect.TypeFor[gateway.WhenClosed]():  {"park", "fail", "try"},
	reflect.TypeFor[gateway.OnUnknown]():   {"hold", "resend"},
	reflect.TypeFor[gateway.Priority]():    {"human", "normal", "bulk"},
	reflect.TypeFor[gateway.Source]():      {"api", "cli", "console", "door", "webhook", "bot"},
	reflect.TypeFor[gateway.WindowState](): {"open", "closed", "unknown"},
	reflect.TypeFor[gateway.WindowCode]():  {"opened", "used-up", "answered", "unfollowed", "over", "never-seen", "elsewhere", "removed"},
	reflect.TypeFor[gateway.Role]():        {"admin", "send", "read", "door"},
	reflect.TypeFor[gateway.TokenState]():  {"live", "none", "expired", "refused"},
	reflect.TypeFor[gateway.TokenAction](): {"fetched", "supplied", "revealed", "contested", "low", "spent", "waits"},
	reflect.TypeFor[kefu.Trigger]():        append(names(kefu.Triggers()), "unfollow"),
	reflect.TypeFor[callback.Mode]():       {"plain", "compat", "secure"},
}

func names[T ~string](of []T) (out []string) {
	for _, v := range of {
		out = append(out, string(v))
	}
	return out
}

// name is a type's name in the description: "Message", "MessagePage".
func name(t reflect.Type) string {
	n := t.Name()
	if inner, ok := strings.CutPrefix(n, "Page["); ok {
		return strings.TrimSuffix(inner[strings.LastIndexByte(inner, '.')+1:], "]") + "Page"
	}
	return strings.ToUpper(n[:1]) + n[1:]
}

// ref is schema, by reference where the type has a name.
func (d *describer) ref(t reflect.Type) any {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[gateway.Time]() {
		return d.schema(t)
	}
	n := name(t)
	if _, ok := d.schemas[n]; !ok {
		d.schemas[n] = nil // a type may hold itself
		d.schemas[n] = d.object(t)
	}
	return map[string]any{"$ref": "#/components/schemas/" + n}
}

func (d *describer) schema(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[gateway.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t == reflect.TypeFor[kefu.Secret]():
		return map[string]any{"type": "string", "writeOnly": true}
	case enums[t] != nil:
		return map[string]any{"type": "string", "enum": enums[t]}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.ref(t.Elem())
	case reflect.Struct:
		return d.ref(t)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": d.ref(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": d.ref(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return map[string]any{"type": "object"}
		}
		s := map[string]any{"type": "object", "additionalProperties": d.ref(t.Elem())}
		if enums[t.Key()] != nil {
			s["propertyNames"] = d.schema(t.Key())
		}
		return s
	}
	panic(fmt.Sprintf("no schema for %v", t))
}

func (d *describer) object(t reflect.Type) any {
	properties, required := map[string]any{}, []string{}
	isRequest := strings.HasSuffix(t.Name(), "equest") || t == reflect.TypeFor[gateway.Resolution]() || t == reflect.TypeFor[gateway.Batch]()
	for _, f := range reflect.VisibleFields(t) {
		member, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if member == "" || member == "-" {
			continue
		}
		optional := strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero")
		s := d.ref(f.Type)
		if f.Type == reflect.TypeFor[gateway.Role]() && strings.HasPrefix(t.Name(), "Agent") {
			s = map[string]any{"type": "string", "enum": []string{"agent", "lead", "admin", "viewer"}} // of keys there are others
		}
		if f.Type.Kind() == reflect.Pointer && !optional {
			s = map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
		}
		if m, ok := s.(map[string]any); ok {
			if text := d.docs[t.Name()+"."+f.Name]; text != "" && m["$ref"] == nil {
				m["description"] = text
			}
			if member == "message" && f.Type == reflect.TypeFor[json.RawMessage]() {
				m["type"] = "object"
				m["examples"] = []any{map[string]any{"touser": "oFollower", "msgtype": "text", "text": map[string]any{"content": "你好"}}}
			}
			if member == "metadata" {
				m["type"] = "object"
			}
		}
		properties[member] = s
		if !optional && t != reflect.TypeFor[accountRequest]() {
			required = append(required, member)
		}
	}
	o := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	if isRequest {
		o["additionalProperties"] = false
	}
	if text := d.docs[t.Name()]; text != "" {
		o["description"] = text
	}
	return o
}

// docs are the comments of the types, which are the descriptions.
func docs(t testing.TB) map[string]string {
	out := map[string]string{}
	for _, dir := range []string{"../../gateway", "../..", "."} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), dir+"/"+file.Name(), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				decl, ok := n.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range decl.Specs {
					ts, ok := spec.(*ast.TypeSpec)
					if !ok {
						continue
					}
					st, ok := ts.Type.(*ast.StructType)
					if !ok || out[ts.Name.Name] != "" {
						continue
					}
					out[ts.Name.Name] = comment(decl.Doc)
					for _, f := range st.Fields.List {
						for _, n := range f.Names {
							text := comment(f.Doc)
							if text == "" {
								text = comment(f.Comment)
							}
							out[ts.Name.Name+"."+n.Name] = text
						}
					}
				}
				return false
			})
		}
	}
	return out
}

var link = regexp.MustCompile(`\[\*?([A-Za-z.]+)\]`)

func comment(g *ast.CommentGroup) string {
	return link.ReplaceAllString(strings.Join(strings.Fields(g.Text()), " "), "$1")
}

func encodeIndented(t testing.TB, v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func at(v any, names ...string) any {
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

func refs(v any) map[string]bool {
	out := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == "$ref" {
				out[s] = true
			}
			maps.Copy(out, refs(e))
		}
	case []any:
		for _, e := range v {
			maps.Copy(out, refs(e))
		}
	}
	return out
}

// conforms says where a value is not as its schema in the description has it.
func conforms(doc map[string]any, schema, v any, where string) (bad []string) {
	s, _ := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return conforms(doc, at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), v, where)
	}
	if options, ok := s["anyOf"].([]any); ok {
		for _, o := range options {
			if len(conforms(doc, o, v, where)) == 0 {
				return nil
			}
		}
		return []string{where + " is none of those it may be"}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		bad = append(bad, fmt.Sprintf("%s is %v", where, v))
	}
	is := func(kind string, ok bool) {
		if s["type"] == kind && !ok {
			bad = append(bad, fmt.Sprintf("%s is %T and not %s", where, v, kind))
		}
	}
	switch v := v.(type) {
	case nil:
		if s["type"] != "null" && len(s) > 0 {
			bad = append(bad, where+" is null")
		}
	case string:
		is("object", false)
		is("array", false)
		is("integer", false)
		is("boolean", false)
		is("null", false)
		if s["format"] == "date-time" && !apiTime.MatchString(v) {
			bad = append(bad, where+" is "+v+", no time of the API")
		}
	case float64:
		is("string", false)
		is("object", false)
		is("integer", v == float64(int64(v)))
	case bool:
		is("boolean", true)
		is("string", false)
	case []any:
		is("object", false)
		for i, e := range v {
			bad = append(bad, conforms(doc, s["items"], e, fmt.Sprintf("%s[%d]", where, i))...)
		}
	case map[string]any:
		is("array", false)
		is("string", false)
		properties, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, r := range required {
			if _, ok := v[r.(string)]; !ok {
				bad = append(bad, where+" has no "+r.(string))
			}
		}
		for k, e := range v {
			if p, ok := properties[k]; ok {
				bad = append(bad, conforms(doc, p, e, where+"."+k)...)
			} else if properties != nil {
				bad = append(bad, where+" has "+k+", which is not described")
			}
		}
	}
	return bad
}

var apiTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
