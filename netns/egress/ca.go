package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"
)

const (
	// The jail's trust store has the certificate from its start, whatever the clock does then: it may stand at 1970 and be set right, or be
	// set back, and a session may last for weeks. Nothing but this process has the key, so a long life costs nothing.
	caBackdate = 20 * 365 * 24 * time.Hour

	leafLifetime = 24 * time.Hour
	leafBackdate = time.Hour // a jail may run with a clock of its own (faketime); an hour of slack costs nothing in a key that is this young
	leafRest     = time.Hour // of its life, at the end of which another is made

	maxLeaves = 256 // a wildcard rule lets the jail name hosts without end
)

// CA signs the certificates with which the door answers TLS itself. It belongs to one session: the key is made when the session
// starts, is never written anywhere and is gone with the process, and only the jail's trust store holds the certificate. It is
// safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	now  func() time.Time // the wall clock: certificates go by it, and it may jump either way

	mu      sync.Mutex
	leafKey *ecdsa.PrivateKey // one for all leaves, made with the first: most sessions never need any
	leaves  map[string]*tls.Certificate
	order   []string // the hosts of leaves, oldest first
}

// NewCA makes a P-256 key and a certificate that is valid from 20 years ago and without an end (RFC 5280 section 4.1.2.5). It costs about
// 0.1 ms.
func NewCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make session CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	// The serial stands in the name, so that a client with the certificates of two sessions never takes one for the other.
	id := serial.Bytes()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "agentjail session " + hex.EncodeToString(id[:min(4, len(id))])},
		NotBefore:             now.Add(-caBackdate),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign session CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse session CA: %w", err)
	}
	return &CA{
		cert:   cert,
		key:    key,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		now:    time.Now,
		leaves: map[string]*tls.Certificate{},
	}, nil
}

// PEM gives the certificate for the jail's trust store, never the key.
func (c *CA) PEM() []byte { return append([]byte(nil), c.pem...) }

// Leaf gives a certificate for one host, which is canonical (see Canonical), and keeps the newest 256. It is valid now: one that the clock
// has left behind, by its course or by a jump, is made anew.
func (c *CA) Leaf(host string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	old, known := c.leaves[host]
	if known && now.After(old.Leaf.NotBefore) && now.Before(old.Leaf.NotAfter.Add(-leafRest)) {
		return old, nil
	}
	leaf, err := c.sign(host, now)
	if err != nil {
		return nil, err
	}
	c.leaves[host] = leaf
	if known {
		return leaf, nil
	}
	if len(c.order) >= maxLeaves {
		delete(c.leaves, c.order[0])
		c.order = c.order[1:]
	}
	c.order = append(c.order, host)
	return leaf, nil
}

// sign makes the leaf: a server certificate (RFC 5280 section 4.2.1.12) for exactly the one DNS name.
func (c *CA) sign(host string, now time.Time) (*tls.Certificate, error) {
	if c.leafKey == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make leaf key: %w", err)
		}
		c.leafKey = key
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              []string{host},
		NotBefore:             now.Add(-leafBackdate),
		NotAfter:              now.Add(leafLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(host) <= 64 { // ub-common-name (RFC 5280 appendix A.1); clients judge the DNS name, people read this one
		template.Subject.CommonName = host
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, c.leafKey.Public(), c.key)
	if err != nil {
		return nil, fmt.Errorf("sign leaf for %q: %w", host, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse leaf for %q: %w", host, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.cert.Raw}, PrivateKey: c.leafKey, Leaf: leaf}, nil
}

// newSerial gives 127 random bits: positive and at most 20 octets (RFC 5280 section 4.1.2.2).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}
