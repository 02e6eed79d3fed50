package selftest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue: names are names, stand once, and each area and each kind of control has some.
func TestCatalogue(t *testing.T) {
	seen, areas, controls := map[string]bool{}, map[string]int{}, map[string]int{}
	for _, a := range catalogue() {
		if seen[a.name] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(a.name) || a.why == "" || a.do == nil {
			t.Errorf("%s/%s: the name stands twice or is none, or something is missing", a.area, a.name)
		}
		seen[a.name] = true
		areas[a.area]++
		controls[a.control]++
	}
	for _, area := range []string{files, processes, kernel, network, door, terminal, sessions} {
		if areas[area] < 8 {
			t.Errorf("%s has %d attempts", area, areas[area])
		}
	}
	if len(areas) != 7 || len(controls) != 3 || len(seen) < 80 {
		t.Errorf("%v, %v", areas, controls)
	}
}

func TestJudge(t *testing.T) {
	done, refused, unready := &line{Done: true}, &line{Error: "no"}, &line{Unready: true, Error: "late"}
	for _, tt := range []struct {
		name           string
		tried, control *line
		want           string
	}{
		{"stopped", refused, done, Stopped},
		{"escaped", done, done, Escaped},
		{"escaped, whatever the control says", done, refused, Escaped},
		{"escaped without a control", done, nil, Escaped},
		{"control failed", refused, refused, Inconclusive},
		{"control not tried", refused, unready, Inconclusive},
		{"control without an answer", refused, nil, Inconclusive},
		{"not tried", unready, done, Inconclusive},
		{"without an answer", nil, done, Inconclusive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := func(l *line) map[string]line {
				if l == nil {
					return map[string]line{}
				}
				return map[string]line{"a": *l}
			}
			r := judge([]attempt{{name: "a", area: files, control: outside, why: "x"}}, answers(tt.tried), answers(tt.control))
			if got := r.Attempts[0].Result; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if r.Holds() != (tt.want == Stopped) || r.Stopped+r.Escaped+r.Inconclusive != 1 {
				t.Errorf("the sums are wrong: %+v", r)
			}
		})
	}
	if new(Report).Holds() {
		t.Error("a report of nothing holds")
	}
}

// TestOne: an attempt that cannot be made is one that nobody has made.
func TestOne(t *testing.T) {
	if l := one(roleOutside, "no-such-attempt", target{}); l.Done || !l.Unready {
		t.Errorf("%+v", l)
	}
	if l := one(roleOutside, "home-netrc", target{Home: t.TempDir()}); l.Done || l.Unready || !strings.Contains(l.Error, "no such file") {
		t.Errorf("%+v", l)
	}
}

func sample() *Report {
	return judge([]attempt{
		{name: "a", area: files, control: outside, why: "<keys> & \x1b[2J"}, {name: "b", area: files, control: other, why: "y"},
		{name: "c", area: door, control: namespace, why: "z"},
	}, map[string]line{"a": {Done: true}, "b": {Error: "refused"}, "c": {Error: "refused"}},
		map[string]line{"a": {Done: true}, "b": {Done: true}, "c": {Error: "none here"}})
}

// TestJSON holds version 1 of what scripts read.
func TestJSON(t *testing.T) {
	got, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"attempts":[` +
		`{"name":"a","area":"files","result":"escaped","control":"outside: succeeded","detail":"won: \u003ckeys\u003e \u0026 \u001b[2J"},` +
		`{"name":"b","area":"files","result":"stopped","control":"other: succeeded","detail":"refused"},` +
		`{"name":"c","area":"door","result":"inconclusive","control":"namespace: none here","detail":"refused"}],` +
		`"stopped":1,"escaped":1,"inconclusive":1}`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if a := fmt.Sprint(sample().Areas()); a != "[{files 1 1 0 0} {door 0 0 1 0}]" {
		t.Error(a)
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var back junitSuite
	if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatalf("%v\n%s", err, b.Bytes())
	}
	if back.Tests != 3 || back.Failures != 1 || back.Errors != 1 || back.Cases[0].Failure == nil || back.Cases[1].Failure != nil ||
		back.Cases[1].Error != nil || back.Cases[2].Error == nil || back.Cases[2].Class != "agentjail.door" {
		t.Errorf("%s", b.Bytes())
	}
}

// TestSARIF holds what SARIF 2.1.0 asks of the parts that are there: which keys an object has, that they are of their kinds, and URIs.
func TestSARIF(t *testing.T) {
	files := map[string]string{"claude": "claude", "./my profile%.toml": "./my%20profile%25.toml", "/a b/ü\xff#?.toml": "file:///a%20b/%C3%BC%FF%23%3F.toml",
		"a:b/c.toml": "./a:b/c.toml", "../\"<x>[\n].toml": "../%22%3Cx%3E%5B%0A%5D.toml"}
	profiles := slices.Sorted(maps.Keys(files))
	text, err := json.Marshal(sample().SARIF(profiles, "v1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	type message struct {
		Text string `json:"text"`
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name    string `json:"name"`
					Version string `json:"version"`
					Rules   []struct {
						ID   string  `json:"id"`
						Name string  `json:"name"`
						Help message `json:"shortDescription"`
					} `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			Results []struct {
				RuleID    string  `json:"ruleId"`
				RuleIndex int     `json:"ruleIndex"`
				Kind      string  `json:"kind"`
				Level     string  `json:"level"`
				Message   message `json:"message"`
				Locations []struct {
					Physical struct {
						Artifact struct {
							URI string `json:"uri"`
						} `json:"artifactLocation"`
					} `json:"physicalLocation"`
				} `json:"locations"`
			} `json:"results"`
		} `json:"runs"`
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&log); err != nil {
		t.Fatal(err)
	}
	driver := log.Runs[0].Tool.Driver
	if log.Version != "2.1.0" || log.Schema == "" || driver.Name != "agentjail selftest" || driver.Version != "v1.2.3" {
		t.Errorf("%s", text)
	}
	var kinds []string
	for i, r := range log.Runs[0].Results {
		kinds = append(kinds, r.Kind+" "+r.Level)
		if r.RuleIndex != i || driver.Rules[i].ID != r.RuleID || driver.Rules[i].Help.Text == "" || r.Message.Text == "" || len(r.Locations) != len(profiles) {
			t.Errorf("result %d: %+v", i, r)
		}
		for at, l := range r.Locations {
			got := l.Physical.Artifact.URI
			u, err := url.Parse(got)
			if err != nil || got != files[profiles[at]] || strings.TrimPrefix(u.Path, "./") != strings.TrimPrefix(profiles[at], "./") {
				t.Errorf("%q is %q (%v), want %q", profiles[at], got, err, files[profiles[at]])
			}
		}
	}
	if want := []string{"fail error", "pass none", "open none"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
}
