package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A pointer names the key file of the gateway on a port, to this user alone, until that
// ends; those of gateways that were killed go when the next one starts.
func TestPointer(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	keyFile := filepath.Join(home, "kefu.db.key")
	if err := writePrivately(keyFile, "kf_0"); err != nil {
		t.Fatal(err)
	}
	leavePointer("7601", filepath.Join(home, "gone.key")) // killed
	take := leavePointer("7600", keyFile)
	if got := readPointer(pointerOf("7600")); got != keyFile {
		t.Errorf("%q, want %q", got, keyFile)
	}
	for path, mode := range map[string]os.FileMode{pointerOf("7600"): 0o600, filepath.Dir(pointerOf("7600")): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %o", path, info.Mode(), err, mode)
		}
	}
	if got := readPointer(pointerOf("7601")); got != "" {
		t.Errorf("a pointer to %q is left", got)
	}
	if err := os.Chmod(pointerOf("7600"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readPointer(pointerOf("7600")); got != "" {
		t.Errorf("a pointer that others may read was taken: %q", got)
	}

	again := leavePointer("7600", filepath.Join(home, "other.key")) // the port's next gateway
	take()
	if got := readPointer(pointerOf("7600")); got != filepath.Join(home, "other.key") {
		t.Errorf("the first gateway took the second's: %q", got)
	}
	again()
	if _, err := os.Stat(pointerOf("7600")); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	leavePointer("7600", keyFile)()
	if got := readPointer(pointerOf("7600")); got != "" {
		t.Errorf("without a home: %q", got)
	}
}
