package sandbox

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/agentjail/agentjail/netns/egress"
)

// maxTrustStore bounds a bundle; Mozilla's is 220 kB. Bytes.
const maxTrustStore = 8 << 20

// trusted is the session's certificate authority, and on their way the stores that hold it: their contents take longer to make than
// the gateway takes to start, and less than it needs for the tree, so they follow when that stands (Mount.Late).
type trusted struct {
	ca     *egress.CA
	mounts []Mount // of the stores, without contents
	filled <-chan filled
}

// filled are the same mounts with their contents.
type filled struct {
	mounts []Mount
	err    error
}

// trusted makes the session's authority, and has its stores made on a goroutine.
func (p *Plan) trusted(h *Host) (t trusted, err error) {
	if t.ca, err = egress.NewCA(time.Now()); err != nil {
		return t, err
	}
	inJail := tree{mounts: p.Mounts}
	for _, s := range p.Trust {
		m := Mount{Kind: KindOver, Target: s.Target, Mode: 0o444, Why: s.Why, Late: true}
		if inJail.own(s.Target) {
			m.Kind = KindFile
		}
		t.mounts = append(t.mounts, m)
	}
	done := make(chan filled, 1)
	go func() {
		f := filled{mounts: slices.Clone(t.mounts)}
		f.err = p.fillTrustStores(h, t.ca, f.mounts)
		done <- f
	}()
	t.filled = done
	return t, nil
}

// fillTrustStores makes the contents of the plan's stores of certificate authorities, with the session's CA in them.
func (p *Plan) fillTrustStores(h *Host, ca *egress.CA, mounts []Mount) error {
	added := [][]byte{ca.PEM()}
	for _, r := range p.Net.Policy.Allow {
		if len(r.UpstreamCA) > 0 {
			added = append(added, r.UpstreamCA)
		}
	}
	made := make(map[TrustStore][]byte) // several come of one bundle
	read := make(map[string][]byte)
	bundle := func(source string) ([]byte, error) {
		if data, ok := read[source]; ok {
			return data, nil
		}
		data, err := h.FS.ReadFile(source, maxTrustStore)
		if err == nil {
			read[source] = data
		}
		return data, err
	}
	for i, s := range p.Trust {
		key := TrustStore{Format: s.Format, Source: s.Source}
		if s.Format == "pkcs12" {
			key.Source = ""
		}
		data, ok := made[key]
		if !ok {
			var err error
			if data, err = p.trustStore(bundle, s, bytes.Join(added, []byte("\n"))); err != nil {
				return fmt.Errorf("certificates of %s: %w", s.Target, err)
			}
			made[key] = data
		}
		mounts[i].Data = data
	}
	return nil
}

// trustStore is the content of one store. bundle reads a file of the host.
func (p *Plan) trustStore(bundle func(source string) ([]byte, error), s TrustStore, added []byte) ([]byte, error) {
	if s.Format == "pkcs12" {
		return p.javaStore(bundle, added)
	}
	if s.Source == "" {
		return added, nil
	}
	data, err := bundle(s.Source)
	if err != nil {
		return nil, err
	}
	return slices.Concat(data, []byte("\n"), added), nil
}

// javaStore is Java's. Its authorities are the system's PEM bundle: the host's own file may be in Java's older format, which nothing
// but Java reads.
func (p *Plan) javaStore(bundle func(source string) ([]byte, error), added []byte) ([]byte, error) {
	var all [][]byte
	for _, s := range p.Trust {
		if s.Format == "pem" && s.Source != "" {
			data, err := bundle(s.Source)
			if err != nil {
				return nil, err
			}
			all = certificates(data)
			break
		}
	}
	return pkcs12(append(all, certificates(added)...))
}

// certificates gives what is between a PEM bundle's armour, which may hold anything else beside (RFC 7468, 5).
func certificates(bundle []byte) (all [][]byte) {
	begin, end := []byte("-----BEGIN CERTIFICATE-----"), []byte("-----END CERTIFICATE-----")
	for {
		_, rest, ok := bytes.Cut(bundle, begin)
		if !ok {
			return all
		}
		body, after, ok := bytes.Cut(rest, end)
		if !ok {
			return all
		}
		der := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
		if n, err := base64.StdEncoding.Decode(der, body); err == nil { // it passes over ends of lines
			all = append(all, der[:n])
		}
		bundle = after
	}
}

// pkcs12 is a store without a password (RFC 7292), which Java reads whatever password it is told (JDK-8076190; measured with 17). go-pkcs12,
// to whose bytes a test holds these, reads and writes all of the format and takes 4 ms for 140 certificates, of a launch's 30; this takes 1.
func pkcs12(certificates [][]byte) ([]byte, error) {
	type builder = cryptobyte.Builder
	explicit := asn1.Tag(0).ContextSpecific().Constructed()
	content := func(b *builder, inside func(*builder)) { // ContentInfo of type data
		b.AddASN1(asn1.SEQUENCE, func(b *builder) {
			b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 7, 1})
			b.AddASN1(explicit, func(b *builder) {
				b.AddASN1(asn1.OCTET_STRING, func(b *builder) { b.AddASN1(asn1.SEQUENCE, inside) })
			})
		})
	}
	attribute := func(b *builder, id []int, value func(*builder)) {
		b.AddASN1(asn1.SEQUENCE, func(b *builder) {
			b.AddASN1ObjectIdentifier(id)
			b.AddASN1(asn1.SET, value)
		})
	}
	bag := func(b *builder, certificate []byte, name string) {
		b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 12, 10, 1, 3}) // certBag
		b.AddASN1(explicit, func(b *builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *builder) {
				b.AddASN1ObjectIdentifier([]int{1, 2, 840, 113549, 1, 9, 22, 1}) // x509Certificate
				b.AddASN1(explicit, func(b *builder) { b.AddASN1OctetString(certificate) })
			})
		})
		b.AddASN1(asn1.SET, func(b *builder) {
			attribute(b, []int{1, 2, 840, 113549, 1, 9, 20}, func(b *builder) { // friendlyName
				b.AddASN1(asn1.Tag(30), func(b *builder) { // BMPString
					for _, r := range name {
						b.AddUint16(uint16(r))
					}
				})
			})
			// Java takes for an authority what says for which use: any (ORACLE_TrustedKeyUsage, anyExtendedKeyUsage).
			attribute(b, []int{2, 16, 840, 1, 113894, 746875, 1, 1}, func(b *builder) { b.AddASN1ObjectIdentifier([]int{2, 5, 29, 37, 0}) })
		})
	}
	size := 1 << 10
	for _, c := range certificates {
		size += len(c) + 100
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddASN1(asn1.SEQUENCE, func(b *builder) {
		b.AddASN1Int64(3)
		content(b, func(b *builder) { // AuthenticatedSafe
			content(b, func(b *builder) { // SafeContents
				for i, c := range certificates {
					b.AddASN1(asn1.SEQUENCE, func(b *builder) { bag(b, c, strconv.Itoa(i)) })
				}
			})
		})
	})
	return b.Bytes()
}
