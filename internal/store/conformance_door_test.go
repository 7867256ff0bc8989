package store

import (
	"bytes"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// A door key's paths are kept, it is found by its id until it is revoked, and what is
// derived for one purpose is the same after a restart and nothing for another.
func doorKeysKeepTheirPaths(t *testing.T, open func() *Store) {
	s := open()
	kept, err := s.PutKey(t.Context(), noon, gateway.Key{Role: gateway.Door, Paths: gateway.AllPaths, Key: "kf_door"})
	ok(t, err)
	same(t, kept.Paths, gateway.AllPaths)
	door := must(s.Derive("door"))(t)
	ok(t, s.Close())

	s = open()
	same(t, must(s.Key(t.Context(), kept.ID))(t), kept)
	same(t, must(s.FindKey(t.Context(), "kf_door"))(t), kept)
	if again, other := must(s.Derive("door"))(t), must(s.Derive("window"))(t); !bytes.Equal(door, again) || bytes.Equal(door, other) || len(door) != 32 {
		t.Errorf("derived %x, then %x, and %x for another purpose", door, again, other)
	}
	ok(t, s.RevokeKey(t.Context(), noon, kept.ID))
	_, err = s.Key(t.Context(), kept.ID)
	wants(t, err, ErrNotFound)
	_, err = s.Key(t.Context(), "key_nobody")
	wants(t, err, ErrNotFound)
}
