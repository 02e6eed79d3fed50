package sandbox

import (
	"bytes"
	"encoding/binary"
	"os"
	"reflect"
	"testing"
)

// parcelled is a message in its frame, made of bare numbers.
type parcelled struct{ parcel }

func (p *parcelled) of(numbers ...int64) []byte {
	for _, n := range numbers {
		p.number(n)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p.b))), p.b...)
}

// Each field of a mount reaches the gateway, but for the reason.
func TestMountsTravel(t *testing.T) {
	shared := []byte("a certificate")
	want := []Mount{{}, {Kind: KindFile, Target: "/a", Data: shared}, {Kind: KindOver, Target: "/b", Data: shared}, {Target: "/c", Data: []byte("own")}}
	for field := range reflect.TypeFor[Mount]().Fields() {
		if field.Name == "Why" {
			continue
		}
		m := Mount{Kind: field.Name}
		switch v := reflect.ValueOf(&m).Elem().FieldByIndex(field.Index); v.Kind() {
		case reflect.String:
			v.SetString("of " + field.Name)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int64:
			v.SetInt(-1 << 40)
		case reflect.Uint32:
			v.SetUint(1<<32 - 1)
		case reflect.Slice:
			v.SetBytes([]byte("\x00\xff"))
		default:
			t.Fatalf("%s is a %v", field.Name, v.Kind())
		}
		want = append(want, m)
	}
	f, err := packMounts(want)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(contentOf(t, f), shared); n != 1 {
		t.Errorf("a content that two mounts share is there %d times", n)
	}
	got, err := unpackMounts(f)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d mounts of %d, %v", len(got), len(want), err)
	}
	for i := range want {
		if len(got[i].Data) == 0 && len(want[i].Data) == 0 {
			got[i].Data, want[i].Data = nil, nil
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("sent %+v, came as %+v", want[i], got[i])
		}
	}
}

func contentOf(t *testing.T, f *os.File) []byte {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, info.Size())
	if _, err := f.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	return all
}

// What is cut, or names what is not there, is no list of mounts.
func TestBrokenParcels(t *testing.T) {
	f, err := packMounts([]Mount{{Kind: KindFile, Target: "/a", Data: []byte("content")}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := contentOf(t, f)
	for n := range whole {
		if mounts, err := unpackMounts(memfileOf(t, whole[:n])); err == nil {
			t.Errorf("the first %d bytes of %d were taken: %+v", n, len(whole), mounts)
		}
	}
	if _, err := unpackMounts(memfileOf(t, append(binary.NativeEndian.AppendUint64(nil, 1<<63), whole[8:]...))); err == nil {
		t.Error("a description beyond the end was taken")
	}
}

func memfileOf(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := memfile("test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// FuzzMountsTravel holds that the gateway acts on the very bytes that were planned: a name need not be UTF-8.
func FuzzMountsTravel(f *testing.F) {
	f.Add("/p/s\xff/.env", "/p/s\uFFFD/.env", []byte("\xfe"))
	f.Add("", "/", []byte{})
	f.Fuzz(func(t *testing.T, source, target string, data []byte) {
		want := []Mount{{Kind: KindBind, Source: source, Target: target, Data: data}, {Kind: KindPin, Target: source}}
		file, err := packMounts(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpackMounts(file)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%+v, %v", got, err)
		}
		for i := range want {
			if got[i].Kind != want[i].Kind || got[i].Source != want[i].Source || got[i].Target != want[i].Target || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Errorf("sent %+v, came as %+v", want[i], got[i])
			}
		}
	})
}
