//go:build race

package e2e

// A binary under test is built as its tests are.
var buildFlags = []string{"-race"}
