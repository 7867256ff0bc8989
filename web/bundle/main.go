// Command bundle makes the console's script and style from web/src, and the decoder of
// WeChat's voices for the simulator's phone page, under names without hashes: what it
// writes is committed, so that nobody needs Node to build or run Kefu. `go generate ./...`
// runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// A page is an entry and the folder of the package that embeds what is made of it.
type page struct{ entry, out string }

func main() {
	err := build(page{"console", "../../internal/console/dist"})
	if err == nil {
		err = decoder("../../kefutest/page/amr.js")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// decoder writes the decoder as one module, which the phone page loads when a voice is
// played there.
func decoder(out string) error {
	r := api.Build(api.BuildOptions{
		EntryPoints: []string{"../src/desk/amr.ts"}, Outfile: out, Bundle: true, Format: api.FormatESModule, Write: true,
		MinifySyntax: true, MinifyWhitespace: true, MinifyIdentifiers: true, Tsconfig: "../tsconfig.json",
		Target: api.ES2022, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelWarning,
	})
	if len(r.Errors) > 0 {
		return fmt.Errorf("%s: %d errors", out, len(r.Errors))
	}
	return nil
}

func build(p page) error {
	r := api.Build(api.BuildOptions{
		EntryPoints: []string{"../src/" + p.entry + ".tsx", "../src/" + p.entry + ".css"},
		Outdir:      p.out, Bundle: true, Splitting: true, Format: api.FormatESModule,
		MinifySyntax: true, MinifyWhitespace: true, MinifyIdentifiers: true,
		JSX: api.JSXAutomatic, JSXImportSource: "preact", Tsconfig: "../tsconfig.json",
		Target: api.ES2022, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
		EntryNames: "[name]", ChunkNames: "[name]", LogLevel: api.LogLevelWarning,
	})
	if len(r.Errors) > 0 {
		return fmt.Errorf("%s: %d errors", p.entry, len(r.Errors))
	}
	if err := os.RemoveAll(p.out); err != nil {
		return err
	}
	for _, f := range r.OutputFiles {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.Path, f.Contents, 0o644); err != nil {
			return err
		}
	}
	return nil
}
