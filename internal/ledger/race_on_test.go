//go:build race

package ledger

const race = true
