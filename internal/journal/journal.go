// Package journal is for tests that look into a log while it is written.
package journal

import (
	"bytes"
	"sync"
)

// A Journal is what a process or several goroutines have written so far. It is safe for
// concurrent use; the zero value is empty.
type Journal struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements [io.Writer]; it never fails.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// Bytes returns a copy of all that was written.
func (j *Journal) Bytes() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.b.Bytes())
}

// String is [Journal.Bytes] as a text.
func (j *Journal) String() string { return string(j.Bytes()) }
