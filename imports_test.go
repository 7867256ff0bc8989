package kefu_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// Arrows point to words. A package may import what stands beside its name and the
// standard library, nothing else; cmd/kefu alone may import all.
var mayImport = map[string][]string{
	"kefu":                    {},
	"kefu/callback":           {"kefu"},
	"kefu/kefutest":           {"kefu", "kefu/callback"},
	"kefu/gateway":            {"kefu", "kefu/callback"},
	"kefu/internal/ledger":    {"kefu", "kefu/gateway"},
	"kefu/internal/longtext":  {},
	"kefu/internal/bilingual": {},
	"kefu/internal/assets":    {"kefu", "kefu/gateway", "kefu/internal/bilingual", "kefu/internal/egress", "kefu/internal/store"},
	"kefu/internal/egress":    {},
	"kefu/internal/gate":      {},
	"kefu/internal/door":      {"kefu", "kefu/gateway", "kefu/internal/egress"},
	"kefu/internal/tokens":    {"kefu", "kefu/gateway", "kefu/internal/bilingual", "kefu/internal/store"},
	"kefu/internal/store":     {"kefu", "kefu/gateway", "kefu/internal/failpoint", "modernc.org/sqlite", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgconn", "github.com/jackc/pgx/v5/stdlib"},
	"kefu/internal/pgtest":    {},
	"kefu/internal/journal":   {},
	"kefu/internal/dispatch":  {"kefu", "kefu/callback", "kefu/gateway", "kefu/internal/bilingual", "kefu/internal/failpoint", "kefu/internal/ledger", "kefu/internal/store", "golang.org/x/time/rate"},
	"kefu/internal/server":    {"kefu", "kefu/callback", "kefu/gateway", "kefu/internal/bilingual", "kefu/internal/egress", "kefu/internal/longtext"},
	"kefu/internal/webhook":   {"kefu", "kefu/gateway", "kefu/internal/bilingual", "kefu/internal/egress", "kefu/internal/store"},
	"kefu/internal/desk":      {"kefu", "kefu/gateway", "kefu/internal/store", "golang.org/x/crypto/argon2"},
	"kefu/internal/console":   {},
	"kefu/cmd/kefu":           nil,

	"kefu/internal/failpoint":  {},
	"kefu/examples/webhook/go": {},
	"kefu/examples/bot":        {"kefu", "kefu/gateway"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/kefu-go/"
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s has no row: say what it may import", name)
		}
		if name == "kefu/cmd/kefu" {
			continue
		}
	imports:
		for _, i := range p.Imports {
			if first, _, _ := strings.Cut(i, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			for _, a := range allowed {
				if i == module+a || i == a {
					continue imports
				}
			}
			t.Errorf("%s imports %s", name, i)
		}
	}
	if seen < len(mayImport) {
		t.Errorf("%d packages seen, %d have a row", seen, len(mayImport))
	}
}
