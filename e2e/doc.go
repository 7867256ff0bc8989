// Package e2e looks at Kefu from outside: the real binary as a process, an SDK
// that knows nothing of it, raw bytes on a socket, a real browser, a foreign Go
// module. It is a module of its own so that what it needs stays out of the root
// go.mod.
//
//	go test -race .                          # everything
//	go test -run '^$' -bench . -count 6 .    # the figures, each beside its peer
//	KEFU_SHOTS=shots go test -run Shots .    # pictures of the pages
//
// It needs Go and Chromium; "make test" in the root installs what is missing. With
// npm it also checks the console's accessibility.
package e2e
