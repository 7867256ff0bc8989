//go:build !race

package dispatch_test

const race = false
