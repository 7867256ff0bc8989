package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kefu-go/kefu"
)

// sealer encrypts secrets (AES-256-GCM). What is sealed for one place, an appid
// and a column, opens nowhere else.
type sealer struct {
	aead   cipher.AEAD
	derive func(purpose string) ([]byte, error) // holds the key, where fmt can't read it
}

const shortestKey = 32

func newSealer(key kefu.Secret) (sealer, error) {
	if len(key) < shortestKey {
		return sealer{}, fmt.Errorf("the secret key has %d characters; it needs at least %d", len(key), shortestKey)
	}
	k, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "kefu store", 32)
	if err != nil {
		return sealer{}, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead, func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "kefu "+purpose, 32)
	}}, err
}

// seal returns nil for an empty secret.
func (s sealer) seal(secret kefu.Secret, place string) []byte {
	if secret == "" {
		return nil
	}
	return s.aead.Seal(nil, nil, []byte(secret.Reveal()), []byte(place))
}

func (s sealer) open(sealed []byte, place string) (kefu.Secret, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	text, err := s.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return "", fmt.Errorf("open the sealed %s: %w", place, err)
	}
	return kefu.Secret(text), nil
}

// Derive returns 32 secret bytes for one purpose, the same for every process that
// opens this database.
func (s *Store) Derive(purpose string) ([]byte, error) {
	return s.seals.derive(purpose)
}

// secretFile returns the key in the file, making it if fresh.
func secretFile(path string, fresh bool) (kefu.Secret, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return kefu.Secret(strings.TrimSpace(string(text))), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the secret key: %w", err)
	}
	if !fresh {
		return "", fmt.Errorf("%s is missing: the database was sealed with its key; put the file back or give the key", path)
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	key := hex.EncodeToString(raw)
	if err := writeDurably(path, key+"\n"); err != nil {
		return "", fmt.Errorf("write the secret key: %w", err)
	}
	return kefu.Secret(key), nil
}

// writeDurably makes a file that survives a power cut as a whole or not at all.
func writeDurably(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // folders can't be synced there
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
