package profiles

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a profile with few different values, so that two of them often agree and often do not.
func sample(r *rand.Rand, name string) *Profile {
	p := &Profile{Name: name}
	fill(r, reflect.ValueOf(p).Elem(), name)
	p.Name = name
	return Merge(nil, p) // a list of a file may name a value twice; what is merged does not
}

func fill(r *rand.Rand, v reflect.Value, why string) {
	if i, ok := v.Addr().Interface().(*Item); ok {
		if r.IntN(3) > 0 {
			*i = Item{Value: fmt.Sprint(r.IntN(4)), Why: why}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), why)
		}
		if f := v.FieldByName("Why"); f.IsValid() {
			f.SetString(why)
		}
	case reflect.Slice:
		for range r.IntN(4) {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(r, e, why)
			v.Set(reflect.Append(v, e))
		}
	case reflect.String:
		v.SetString(fmt.Sprint(r.IntN(4)))
	case reflect.Int:
		v.SetInt(r.Int64N(3))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	default:
		panic(v.Kind().String())
	}
}

func TestMergeLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	law := func(name string, want, got *Profile) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s: %s", name, d)
		}
	}
	for range 500 {
		a, b, c := sample(r, "a"), sample(r, "b"), sample(r, "c")
		before := Merge(a, nil)
		law("associative", Merge(Merge(a, b), c), Merge(a, Merge(b, c)))
		law("nothing on the right", a, Merge(a, &Profile{}))
		law("nothing on the left", a, Merge(&Profile{}, a))
		law("nil", a, Merge(nil, Merge(a, nil)))
		law("idempotent", a, withName(Merge(a, a), "a"))
		m := Merge(a, b)
		for i := range m.Net.Rules {
			m.Net.Rules[i].Host = "changed"
			for j := range m.Net.Rules[i].Ports {
				m.Net.Rules[i].Ports[j] = -1
			}
		}
		for i := range m.FS.Read {
			m.FS.Read[i].Value = "changed"
		}
		law("the arguments are not changed", before, a)
	}
}

func TestMerge(t *testing.T) {
	base := &Profile{
		Name: "a", Net: Net{Mode: Item{"none", "a"}, Allow: []Item{{"x", "a"}, {"y", "a"}}, Deny: []Item{{"d", "a"}}},
		Limits: Limits{Pids: Item{"5", "a"}, Wall: Item{"1h", "a"}},
		Env:    Env{Set: []EnvSet{{"A", "1", "a"}, {"B", "1", "a"}}},
	}
	over := &Profile{
		Name: "b", Net: Net{Mode: Item{"door", "b"}, Allow: []Item{{"y", "b"}, {"z", "b"}}},
		Limits: Limits{Pids: Item{"6", "b"}},
		Env:    Env{Set: []EnvSet{{"A", "2", "b"}}},
	}
	want := &Profile{
		Name: "a+b", Net: Net{Mode: Item{"door", "b"}, Allow: []Item{{"x", "a"}, {"y", "a"}, {"z", "b"}}, Deny: []Item{{"d", "a"}}},
		Limits: Limits{Pids: Item{"6", "b"}, Wall: Item{"1h", "a"}},
		Env:    Env{Set: []EnvSet{{"A", "2", "b"}, {"B", "1", "a"}}},
	}
	if d := cmp.Diff(want, Merge(base, over)); d != "" {
		t.Error(d)
	}
}

// TestMergeTakesEveryField: a field that Merge forgets would be lost without a word.
func TestMergeTakesEveryField(t *testing.T) {
	var full Profile
	setAll(reflect.ValueOf(&full).Elem())
	if d := cmp.Diff(&full, Merge(&full, nil)); d != "" {
		t.Error("base: ", d)
	}
	if d := cmp.Diff(&full, Merge(nil, &full)); d != "" {
		t.Error("over: ", d)
	}
}

// setAll gives every field a value, and every list one entry.
func setAll(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			setAll(v.Field(i))
		}
	case reflect.Slice:
		e := reflect.New(v.Type().Elem()).Elem()
		setAll(e)
		v.Set(reflect.Append(v, e))
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Kind().String())
	}
}
