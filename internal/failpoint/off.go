//go:build !failpoint

package failpoint

// Here is a place at which nothing happens.
func Here(string) {}
