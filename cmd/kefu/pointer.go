package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// The gateway on a port leaves word, for the other commands of the same user, of the
// file that has its key: of the path, never of the key.

// pointerOf is where it is left; "" if this user has no folder for such things.
func pointerOf(port string) string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "kefu", "gateway-"+port)
}

// leavePointer leaves word until take is called. Where that is not possible, as for a
// user without a home, the other commands have to be told the key.
func leavePointer(port, keyFile string) (take func()) {
	pointer := pointerOf(port)
	keyFile, err := filepath.Abs(keyFile)
	if pointer == "" || err != nil || os.MkdirAll(filepath.Dir(pointer), 0o700) != nil {
		return func() {}
	}
	others, _ := filepath.Glob(pointerOf("*")) // the pattern is well formed, unless the folder's name is not
	for _, other := range others {
		if _, err := os.Stat(readPointer(other)); os.IsNotExist(err) { // of a gateway that was killed
			_ = os.Remove(other)
		}
	}
	_ = writePrivately(pointer, keyFile)
	return func() {
		if readPointer(pointer) == keyFile { // nobody else has the port since
			_ = os.Remove(pointer)
		}
	}
}

// readPointer is the path in a pointer, "" if there is none that only this user can read.
func readPointer(pointer string) string { return strings.TrimSpace(readPrivate(pointer, 4<<10)) }

// readPrivate is what is in a file that only this user can read and that is not larger
// than most; "" if there is none.
func readPrivate(path string, most int64) string {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 || info.Size() > most {
		return ""
	}
	b, _ := os.ReadFile(path)
	return string(b)
}

// writePrivately makes the file anew, so that neither the mode of an old one nor a link
// shows it to others.
func writePrivately(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".kefu-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
