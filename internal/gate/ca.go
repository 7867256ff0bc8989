// Package gate is how programs that know one address alone, https://api.weixin.qq.com,
// reach a gateway or a simulator: a proxy that answers for that host itself, a listener
// that has its certificate, and the local CA behind both.
//
// The CA is made on the machine, signs for that host alone (its own certificate says so,
// and clients hold it to that), ends after 90 days, and is given to the programs that
// need it, never to the system's store.
package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Host is the one that is answered for.
const Host = "api.weixin.qq.com"

// Life is how long a CA is good.
const Life = 90 * 24 * time.Hour

const leafLife = 7 * 24 * time.Hour

// A CA signs for [Host]. Open it with [Open].
type CA struct {
	PEM  []byte // the certificate, for programs to trust
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu   sync.Mutex // guards leaf
	leaf *tls.Certificate
}

// Format prints no more than what it is: it has a key.
func (c *CA) Format(f fmt.State, _ rune) { fmt.Fprint(f, "gate.CA") }

// ErrOver: the CA is older than [Life].
var ErrOver = errors.New("the CA is over")

// KeyFile is where the key of a CA is whose certificate is in file.
func KeyFile(file string) string { return strings.TrimSuffix(file, ".pem") + ".key" }

// Open reads the CA whose certificate is in file, or makes it if there is none. Errors:
// [ErrOver]; a key that others on the machine can read.
func Open(file string, now time.Time) (*CA, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Make(file, now)
	} else if err != nil {
		return nil, err
	}
	info, err := os.Stat(KeyFile(file))
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others on this machine: chmod 600 it, or make another CA", KeyFile(file))
	}
	keyText, err := os.ReadFile(KeyFile(file))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, keyText)
	if err != nil {
		return nil, fmt.Errorf("%s and its key don't belong together: %w", file, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not a CA of kefu", file)
	}
	c := &CA{PEM: text, cert: pair.Leaf, key: key}
	if !now.Before(c.cert.NotAfter) {
		return nil, ErrOver
	}
	return c, nil
}

// Make makes a CA and writes it, in place of one that is there.
func Make(file string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	_, v4, _ := net.ParseCIDR("0.0.0.0/0")
	_, v6, _ := net.ParseCIDR("::/0")
	der, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Kefu local CA for " + Host}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(Life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{Host}, ExcludedIPRanges: []*net.IPNet{v4, v6},
	}, nil, key, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &CA{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert: cert, key: key}
	// The key first: a certificate without one would be found and not made again.
	if err := write(KeyFile(file), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, err
	}
	return c, write(file, c.PEM, 0o644)
}

// write makes the file anew, so that neither the mode of an old one nor a link counts.
func write(file string, text []byte, mode fs.FileMode) error {
	_ = os.Remove(file + ".new")
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// sign makes a certificate; without a parent it signs itself.
func sign(t, parent *x509.Certificate, of, by *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	if t.SerialNumber = serial; parent == nil {
		parent = t
	}
	return x509.CreateCertificate(rand.Reader, t, parent, of.Public(), by)
}

// TLS is a server's settings that answer for [Host].
func (c *CA) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate(time.Now()) },
	}
}

// certificate is the one in use, or a new one in its last day.
func (c *CA) certificate(now time.Time) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaf != nil && now.Before(c.leaf.Leaf.NotAfter.Add(-24*time.Hour)) {
		return c.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	end := now.Add(leafLife)
	if end.After(c.cert.NotAfter) {
		end = c.cert.NotAfter
	}
	der, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: Host}, DNSNames: []string{Host}, NotBefore: now.Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, c.cert, key, c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c.leaf = &tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: key, Leaf: leaf}
	return c.leaf, nil
}
