package sandbox

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// Java's store is what a library that knows all of the format would write, to the byte.
func TestJavaStoreAsTheLibrary(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{0, 1, 11, 999} {
		var certificates [][]byte
		var entries []gopkcs12.TrustStoreEntry
		for i := range n {
			der := make([]byte, 1+i*7%2000) // the length of lengths changes at 128 and 256
			rnd.Read(der)
			certificates = append(certificates, der)
			entries = append(entries, gopkcs12.TrustStoreEntry{Cert: &x509.Certificate{Raw: der}, FriendlyName: strconv.Itoa(i)})
		}
		got, err := pkcs12(certificates)
		if err != nil {
			t.Fatal(err)
		}
		want, err := gopkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("of %d certificates: %d bytes, and the library's %d are others", n, len(got), len(want))
		}
	}
}

// A bundle's certificates are those that encoding/pem finds, whatever stands around them.
func TestCertificatesOfABundle(t *testing.T) {
	block := func(text string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)})
	}
	tests := map[string][]byte{
		"none":            nil,
		"two":             slices.Concat(block("one"), block("two")),
		"text around":     slices.Concat([]byte("# Subject: a - b\n"), block("one"), []byte("\n\nand\r\n"), block("two"), []byte("end")),
		"ends of lines":   bytes.ReplaceAll(block(string(make([]byte, 200))), []byte("\n"), []byte("\r\n")),
		"cut":             slices.Concat(block("one"), block("two")[:30]),
		"broken":          slices.Concat([]byte("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"), block("two")),
		"no end of lines": bytes.TrimSuffix(block("one"), []byte("\n")),
	}
	for name, bundle := range tests {
		t.Run(name, func(t *testing.T) {
			var want [][]byte
			for b, rest := pem.Decode(bundle); b != nil; b, rest = pem.Decode(rest) {
				want = append(want, b.Bytes)
			}
			if got := certificates(bundle); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
	if got := certificates(slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("k")}), block("one"))); len(got) != 1 {
		t.Errorf("%q: a key that lies in a bundle is no certificate", got)
	}
}

// The gateway takes late contents for the files they are meant for, or none.
func TestLateContents(t *testing.T) {
	file := func(target, content string) Mount { return Mount{Target: target, Data: []byte(content), Late: true} }
	tests := map[string]struct {
		sent []Mount
		want string // "": an error
	}{
		"as planned":         {[]Mount{file("/a", "one"), file("/b", "two")}, "onetwo"},
		"in another order":   {[]Mount{file("/b", "two"), file("/a", "one")}, ""},
		"one is missing":     {[]Mount{file("/a", "one")}, ""},
		"another's contents": {[]Mount{file("/a", "one"), file("/c", "two")}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			launcher, gateway := channels(t)
			parcel, err := packMounts(test.sent)
			if err != nil {
				t.Fatal(err)
			}
			defer parcel.Close()
			if err := launcher.send(&message{GatewayLate: true}, parcel); err != nil {
				t.Fatal(err)
			}
			a := &assembler{mounts: []Mount{{Target: "/x"}, file("/a", ""), file("/b", "")}}
			got := make(map[int]string)
			for _, i := range []int{1, 2} {
				f, err := os.Create(filepath.Join(t.TempDir(), "late"))
				if err != nil {
					t.Fatal(err)
				}
				got[i] = f.Name()
				if err := a.write(i, f); err != nil {
					t.Fatal(err)
				}
			}
			err = a.fill(gateway)
			one, err1 := os.ReadFile(got[1])
			two, err2 := os.ReadFile(got[2])
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if (err == nil) != (test.want != "") || err == nil && string(one)+string(two) != test.want {
				t.Errorf("%q and %q, %v", one, two, err)
			}
		})
	}
	launcher, gateway := channels(t)
	launcher.Close()
	if err := (&assembler{mounts: make([]Mount, 1), late: []lateFile{{}}}).fill(gateway); err == nil {
		t.Error("a launcher that is gone left a store empty")
	}
}
