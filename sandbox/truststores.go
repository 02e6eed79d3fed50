package sandbox

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/agentjail/agentjail/netns/egress"
)

// maxTrustStore bounds a bundle; Mozilla's is 220 kB. Bytes.
const maxTrustStore = 8 << 20

// trusted is the session's certificate authority, and the plan's mounts with the stores that hold it.
type trusted struct {
	ca     *egress.CA
	mounts []Mount
	err    error
}

// trusted makes the session's authority and its stores on a goroutine: Java's format alone takes 5 ms, in which the gateway starts.
func (p *Plan) trusted(h *Host) <-chan trusted {
	done := make(chan trusted, 1)
	go func() {
		var t trusted
		if t.ca, t.err = egress.NewCA(time.Now()); t.err == nil {
			t.mounts, t.err = p.withTrustStores(h, t.ca)
		}
		done <- t
	}()
	return done
}

// withTrustStores gives the plan's mounts and, after them, the stores of certificate authorities with the session's CA in them. They
// are made now because the CA is.
func (p *Plan) withTrustStores(h *Host, ca *egress.CA) ([]Mount, error) {
	added := [][]byte{ca.PEM()}
	for _, r := range p.Net.Policy.Allow {
		if len(r.UpstreamCA) > 0 {
			added = append(added, r.UpstreamCA)
		}
	}
	mounts := slices.Clip(p.Mounts)
	t := tree{mounts: p.Mounts}
	made := make(map[TrustStore][]byte) // several come of one bundle
	for _, s := range p.Trust {
		key := TrustStore{Format: s.Format, Source: s.Source}
		if s.Format == "pkcs12" {
			key.Source = ""
		}
		data, ok := made[key]
		if !ok {
			var err error
			if data, err = p.trustStore(h, s, bytes.Join(added, []byte("\n"))); err != nil {
				return nil, fmt.Errorf("certificates of %s: %w", s.Target, err)
			}
			made[key] = data
		}
		kind := KindOver
		if t.own(s.Target) {
			kind = KindFile
		}
		mounts = append(mounts, Mount{Kind: kind, Target: s.Target, Data: data, Mode: 0o444, Why: s.Why})
	}
	return mounts, nil
}

// trustStore is the content of one store.
func (p *Plan) trustStore(h *Host, s TrustStore, added []byte) ([]byte, error) {
	if s.Format == "pkcs12" {
		return p.javaStore(h, added)
	}
	if s.Source == "" {
		return added, nil
	}
	data, err := h.FS.ReadFile(s.Source, maxTrustStore)
	if err != nil {
		return nil, err
	}
	return slices.Concat(data, []byte("\n"), added), nil
}

// javaStore is Java's: a PKCS#12 file without a password, which Java reads whatever password it is told (JDK-8076190; measured with 17).
// Its authorities are the system's PEM bundle: the host's own file may be in Java's older format, which nothing but Java reads.
func (p *Plan) javaStore(h *Host, added []byte) ([]byte, error) {
	var entries []pkcs12.TrustStoreEntry
	add := func(bundle []byte) {
		for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
			// Only Raw is read, and parsing 140 certificates would cost every run 5 ms.
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: &x509.Certificate{Raw: block.Bytes}, FriendlyName: strconv.Itoa(len(entries))})
		}
	}
	for _, s := range p.Trust {
		if s.Format == "pem" && s.Source != "" {
			data, err := h.FS.ReadFile(s.Source, maxTrustStore)
			if err != nil {
				return nil, err
			}
			add(data)
			break
		}
	}
	add(added)
	return pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
}
