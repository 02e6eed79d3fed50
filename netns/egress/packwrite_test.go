package egress

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// testPack writes packs, also such as git would not.
type testPack struct {
	objects bytes.Buffer
	n       uint32
	stored  *zlib.Writer
}

// entry adds an object and gives its offset. say is the size that it claims, base what stands in front of a delta.
func (p *testPack) entry(kind byte, say uint64, base, text []byte) int64 {
	at := int64(12 + p.objects.Len())
	c := kind<<4 | byte(say&15)
	if say >>= 4; say > 0 {
		p.objects.WriteByte(c | 0x80)
		p.objects.Write(binary.AppendUvarint(nil, say))
	} else {
		p.objects.WriteByte(c)
	}
	p.objects.Write(base)
	z := p.stored
	switch {
	case len(text) > 32:
		z = zlib.NewWriter(&p.objects)
	case z == nil:
		z, _ = zlib.NewWriterLevel(&p.objects, zlib.NoCompression) // many of them are made, and this one is quick to make
		p.stored = z
	default:
		z.Reset(&p.objects)
	}
	_, _ = z.Write(text)
	_ = z.Close()
	p.n++
	return at
}

func (p *testPack) add(kind byte, text []byte) int64 {
	return p.entry(kind, uint64(len(text)), nil, text)
}

func (p *testPack) bytes() []byte {
	head := binary.BigEndian.AppendUint32(append([]byte("PACK"), 0, 0, 0, 2), p.n)
	pack := append(head, p.objects.Bytes()...)
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}

// commitOn gives a commit's text and its id.
func commitOn(message string, parents ...string) (text []byte, id string) {
	var b strings.Builder
	b.WriteString("tree " + idA + "\n")
	for _, p := range parents {
		b.WriteString("parent " + p + "\n")
	}
	b.WriteString("author a <a@example.com> 1 +0000\ncommitter a <a@example.com> 1 +0000\n\n" + message)
	text = []byte(b.String())
	sum := sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text))
	return text, hex.EncodeToString(sum[:])
}

// offsetBack writes how far back the base of an OFS_DELTA is.
func offsetBack(n int64) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{0x80 | byte(n&0x7f)}, out...)
	}
	return out
}

// deltaTo gives a delta that copies the base's first bytes n times and adds text.
func deltaTo(base []byte, first, n int, text []byte) []byte {
	d := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(base))), uint64(first*n+len(text)))
	for range n {
		d = append(d, 0xb0, byte(first), byte(first>>8)) // from 0, two bytes of length
	}
	for len(text) > 0 {
		piece := text[:min(len(text), 127)]
		d = append(append(d, byte(len(piece))), piece...)
		text = text[len(piece):]
	}
	return d
}

func unhexed(t *testing.T, id string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
