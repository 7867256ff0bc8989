package e2e

import (
	"bytes"
	"sync"
)

// A journal is what a process has written so far; it may be read while it writes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// Bytes returns a copy.
func (j *journal) Bytes() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.b.Bytes())
}

func (j *journal) String() string { return string(j.Bytes()) }

func (j *journal) Len() int { return len(j.Bytes()) }
