package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// PutAccount makes or replaces an account and appends entries to the feed. Its
// Secret, Token and AESKey are sealed; one that is empty keeps what is stored.
func (s *Store) PutAccount(ctx context.Context, now time.Time, a gateway.Account, entries ...Entry) error {
	settings, err := encode(a)
	if err != nil {
		return fmt.Errorf("put account: %w", err)
	}
	secret, token, aesKey := s.sealed(a.AppID, "secret", a.Secret), s.sealed(a.AppID, "token", a.Token), s.sealed(a.AppID, "aes_key", a.AESKey)
	return s.write(ctx, now, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO accounts (appid, settings, secret, token, aes_key) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (appid) DO UPDATE SET settings = excluded.settings, secret = coalesce(excluded.secret, accounts.secret),
				token = coalesce(excluded.token, accounts.token), aes_key = coalesce(excluded.aes_key, accounts.aes_key)`,
			a.AppID, string(settings), secret, token, aesKey); err != nil {
			return err
		}
		return t.append(now, entries)
	})
}

// sealed is a secret as its column has it, NULL for an empty one.
func (s *Store) sealed(appid, column string, secret kefu.Secret) any {
	if secret == "" {
		return nil
	}
	return s.seals.seal(secret, appid+" "+column)
}

const accountQuery = `SELECT appid, settings, secret, token, aes_key FROM accounts`

func (s *Store) scanAccount(row scanner) (a gateway.Account, err error) {
	var appid, settings string
	var secret, token, aesKey []byte
	if err := row.Scan(&appid, &settings, &secret, &token, &aesKey); errors.Is(err, sql.ErrNoRows) {
		return a, ErrNotFound
	} else if err != nil {
		return a, fmt.Errorf("read account: %w", err)
	}
	if err := json.Unmarshal([]byte(settings), &a); err != nil {
		return a, fmt.Errorf("read account %s: %w", appid, err)
	}
	a.AppID = appid
	if a.Secret, err = s.seals.open(secret, appid+" secret"); err != nil {
		return a, err
	}
	if a.Token, err = s.seals.open(token, appid+" token"); err != nil {
		return a, err
	}
	a.AESKey, err = s.seals.open(aesKey, appid+" aes_key")
	return a, err
}

// Account returns an account with its secrets, or ErrNotFound.
func (s *Store) Account(ctx context.Context, appid string) (gateway.Account, error) {
	return s.scanAccount(s.row(ctx, accountQuery+` WHERE appid = $1`, appid))
}

// Accounts returns every account with its secrets, in order of appid.
func (s *Store) Accounts(ctx context.Context) ([]gateway.Account, error) {
	rows, err := s.rows(ctx, accountQuery+` ORDER BY appid`)
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	defer rows.Close()
	accounts := []gateway.Account{}
	for rows.Next() {
		a, err := s.scanAccount(rows)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	return accounts, rows.Err()
}

// DeleteAccount forgets an account, its token and its standing; its messages stay.
// ErrNotFound if there is none.
func (s *Store) DeleteAccount(ctx context.Context, now time.Time, appid string) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`DELETE FROM accounts WHERE appid = $1`, appid)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err == nil {
			_, err = t.exec(`DELETE FROM tokens WHERE appid = $1`, appid)
		}
		if err == nil {
			_, err = t.exec(`DELETE FROM standings WHERE appid = $1`, appid)
		}
		return err
	})
}

// ErrRevoked is the ErrNotFound of a key that was revoked: it does not come back.
var ErrRevoked = fmt.Errorf("%w: this key was revoked; make another", ErrNotFound)

// PutKey keeps a new key of which the text is k.Key; only its SHA-256 is stored.
// An ID is made if there is none. If the text is stored already, the stored key
// stays as it is and is returned, or ErrRevoked. What is returned has no Key.
func (s *Store) PutKey(ctx context.Context, now time.Time, k gateway.Key) (gateway.Key, error) {
	if k.ID == "" {
		k.ID = "key_" + rand.Text()
	}
	accounts, err := encode(k.Accounts)
	if err != nil {
		return gateway.Key{}, err
	}
	hash := sha256.Sum256([]byte(k.Key))
	k.Key, k.CreatedAt = "", gateway.At(now)
	stored := k
	err = s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`INSERT INTO keys (id, hash, name, role, accounts, paths, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (hash) DO NOTHING`, k.ID, hash[:], k.Name, string(k.Role), string(accounts), k.Paths, ms(now))
		if err != nil || n > 0 {
			return err
		}
		stored, err = scanKey(t.row(keyQuery+` WHERE hash = $1`, hash[:]))
		return err
	})
	if err != nil {
		return gateway.Key{}, err
	}
	return stored, nil
}

const keyQuery = `SELECT id, name, role, accounts, paths, created_at, revoked_at FROM keys`

func scanKey(row scanner) (k gateway.Key, err error) {
	var accounts string
	var created int64
	var revoked sql.NullInt64
	if err := row.Scan(&k.ID, &k.Name, &k.Role, &accounts, &k.Paths, &created, &revoked); errors.Is(err, sql.ErrNoRows) {
		return k, ErrNotFound
	} else if err != nil {
		return k, fmt.Errorf("read key: %w", err)
	}
	if revoked.Valid {
		return gateway.Key{}, ErrRevoked
	}
	k.CreatedAt = gateway.At(fromMS(created))
	if err := json.Unmarshal([]byte(accounts), &k.Accounts); err != nil {
		return k, fmt.Errorf("read key: %w", err)
	}
	return k, nil
}

// FindKey returns the key with this text, ErrRevoked if it was revoked, or ErrNotFound
// if it was never stored: only that one may still be somebody's by other means.
func (s *Store) FindKey(ctx context.Context, text string) (gateway.Key, error) {
	hash := sha256.Sum256([]byte(text))
	return scanKey(s.row(ctx, keyQuery+` WHERE hash = $1`, hash[:]))
}

// Key returns the key with this ID, or ErrNotFound, also if it was revoked.
func (s *Store) Key(ctx context.Context, id string) (gateway.Key, error) {
	return scanKey(s.row(ctx, keyQuery+` WHERE id = $1 AND revoked_at IS NULL`, id))
}

// Keys returns the keys that were not revoked, oldest first.
func (s *Store) Keys(ctx context.Context) ([]gateway.Key, error) {
	rows, err := s.rows(ctx, keyQuery+` WHERE revoked_at IS NULL ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer rows.Close()
	keys := []gateway.Key{}
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// RevokeKey ends a key, or returns ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, now time.Time, id string) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, ms(now), id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}
